"""Answers as one JSON document for one command, from the same dataclasses that the text is made from."""

from __future__ import annotations

import json

from millrace.control.answers import plain, rows

__all__ = ["encode", "plain", "rows"]


def encode(value: object) -> str:
    """One JSON document. Moments are ISO in UTC, exact decimals and bytes (base64) are text."""
    return json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False)
