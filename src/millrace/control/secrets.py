"""Secrets: sealed at rest, opened only to build a connector, and taken out of texts (I7)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from millrace.errors import EnvironmentProblem

HIDDEN = "***"


def new_key() -> bytes:
    """A key that seals: 32 random bytes in URL-safe base64."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key()


def seal(key: bytes, secrets: Mapping[str, Any]) -> bytes | None:
    """Secrets by the name of their setting, sealed together; None when there are none."""
    return _fernet(key).encrypt(json.dumps(dict(secrets)).encode()) if secrets else None


def unseal(key: bytes, sealed: bytes | None) -> dict[str, Any]:
    """The secrets again. Raises EnvironmentProblem "wrong_key" when another key sealed them."""
    if sealed is None:
        return {}
    from cryptography.fernet import InvalidToken

    try:
        return json.loads(_fernet(key).decrypt(sealed))
    except InvalidToken:
        raise EnvironmentProblem(
            "the saved secrets were sealed with another key",
            hint="Put back the file 'key' of this home (or MILLRACE_KEY), or give the secrets again.",
            code="wrong_key",
        ) from None


def texts(value: Any) -> list[str]:
    """All texts in a secret value, which may be a list or an object."""
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, (list, tuple)):
        return [text for part in value for text in texts(part)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


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


def _fernet(key: bytes) -> Any:
    from cryptography.fernet import Fernet

    try:
        return Fernet(key)
    except ValueError:
        raise EnvironmentProblem(
            "the key that seals secrets is not a key: it must be 32 bytes in URL-safe base64",
            hint="Put back the file 'key' of this home, or set MILLRACE_KEY to what it held.",
            code="wrong_key",
        ) from None
