"""Secrets are taken out of texts that are shown or kept (I7). How they are sealed: `sealing`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"


def texts(value: Any) -> list[str]:
    """All texts in a secret value, which may be a list or an object; of a connection string its password too."""
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, (list, tuple)):
        return [text for part in value for text in texts(part)]
    if value is None or isinstance(value, bool):
        return []
    return [
        str(value),
        *(form for found in _INSIDE.findall(str(value)) for one in found for form in (one, unquote(one)) if one),
    ]


# `scheme://user:password@…` and `password=…`.
_INSIDE = re.compile(r"://[^/@\s:]*:([^/@\s]+)@|\bpassword\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s']+))")


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, in any of the forms in which they travel: plain, in a URL, in JSON, in base64.

    A secret of one or two characters is only taken out where it stands as a word of its own.
    """
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) > 2:
            text = text.replace(form, HIDDEN)
        else:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
    return text


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    if len(secret) > 2:
        encoded = secret.encode("utf-8", "surrogatepass")
        yield base64.b64encode(encoded).decode()
        yield base64.urlsafe_b64encode(encoded).decode()
        yield base64.b64encode(encoded).decode().rstrip("=")
