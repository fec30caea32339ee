"""Cursors as callers see them: text that means nothing to them."""

from __future__ import annotations

import base64
import binascii

from millrace.control.database.pages import bad_cursor


def sealed(cursor: str | None) -> str | None:
    """The cursor of a page for the way out."""
    return None if cursor is None else base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")


def opened(text: str | None) -> str | None:
    """The cursor that a caller brings back. Raises ConfigError "bad_cursor"."""
    if text is None or text == "":
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError, UnicodeDecodeError) as wrong:
        raise bad_cursor(text) from wrong
