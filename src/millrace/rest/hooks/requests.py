"""What a request says, and whether it can be kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import orjson

from millrace.connect.intake.frames import Kind
from millrace.data import json_text
from millrace.rest.envelope import REQUEST_ID
from millrace.rest.hooks.answers import Refused

HOOKS, TRACK = "/hooks/", "/track"

# As requests are counted: no token is in it (I7).
HOOKS_ROUTE = f"{HOOKS}{{token}}"

# What a sender may call a request, so that the same one is known again.
_IDS = ((b"idempotency-key", re.compile(r"[\x21-\x7e]{1,255}")), (b"x-request-id", REQUEST_ID))


def checked(kind: Kind, body: bytes) -> int:
    """How many events the body has. Raises Refused for what is no JSON or has none."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "INVALID_JSON", f"the body is no JSON: {error.msg} (character {error.pos})") from None
    if json_text.too_deep(body, payload):
        raise Refused(400, "INVALID_JSON", f"the body nests deeper than {json_text.DEEPEST} levels")
    if kind == "track":
        payload = payload.get("events") if isinstance(payload, dict) else payload
        if not isinstance(payload, list):
            raise Refused(400, "INVALID_PARAMETER", "the body has no array `events`")
        _each(payload, "event")
        for number, one in enumerate(payload):
            if not isinstance(one.get("name"), str) or not one["name"].strip():
                raise Refused(400, "INVALID_PARAMETER", f"event {number} has no `name`")
        return len(payload)
    if isinstance(payload, dict):
        return 1
    if not isinstance(payload, list):
        raise Refused(400, "INVALID_PARAMETER", "the body must be a JSON object or an array of objects")
    _each(payload, "item")
    return len(payload)


def _each(payload: Iterable[object], what: str) -> None:
    for number, one in enumerate(payload):
        if not isinstance(one, dict):
            raise Refused(400, "INVALID_PARAMETER", f"{what} {number} of the array is no object")


def name_of(rest: str) -> str | None:
    """The event name that a URL gives behind the token."""
    found = unquote(rest).strip("/ ")
    return found[:255] or None


def bearer(sent: Mapping[bytes, bytes]) -> str:
    """The token that a header carries; empty where none does."""
    scheme, _, token = sent.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def request_id(sent: Mapping[bytes, bytes]) -> str | None:
    """What the sender calls the request."""
    for name, form in _IDS:
        if name in sent and form.fullmatch(text := sent[name].decode("latin-1")):
            return text
    return None
