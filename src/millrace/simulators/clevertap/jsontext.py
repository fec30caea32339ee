"""JSON with its numbers left as they were written, and the identity of an event record that is hashed from it."""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring
from typing import Any

import orjson

JSON = Any


class Literal(str):
    """A number in the form in which it was received."""

    __slots__ = ()


_exact = json.JSONDecoder(parse_int=Literal, parse_float=Literal, parse_constant=Literal)


def dumps(value: JSON) -> bytes:
    """Compact UTF-8 JSON. Bytes are taken as JSON already, so that a test can choose every literal.

    Integers of any size stay exact.
    """
    if isinstance(value, bytes):
        return value
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def exact(text: str, start: int = 0) -> tuple[JSON, int]:
    """The value that begins at ``start``, its numbers as `Literal`, and where its text ends."""
    return _exact.raw_decode(text, start)


def canonical(value: JSON) -> str:
    """Keys by code point, no spaces, nothing escaped that need not be, numbers as they were."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring(k)}:{canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value)


def event_id(event_name: str, object_id: str, ts: JSON, event_props: JSON, session_props: JSON) -> str:
    """What `__hevo_id` must be for this record: SHA-256 of the canonical text of these five, in hexadecimal.

    Props come from `exact`; ``ts`` is an int or a `Literal`; missing props are None.
    """
    record = {
        "event_name": event_name,
        "event_props": {} if event_props is None else event_props,
        "objectId": object_id,
        "session_props": {} if session_props is None else session_props,
        "ts": ts,
    }
    return hashlib.sha256(canonical(record).encode()).hexdigest()
