"""JSON text in one form, so that equal events have equal bytes. Number literals stay as received.

Keys are sorted by code point, separators are "," and ":", nothing is escaped that need not be. Of a key that occurs
twice in one object the last value counts.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

# What msgspec hands to the hook (fractions, exponents, integers beyond 64 bits) it writes again letter by letter, and
# integers have one spelling only: all but this one.
_MINUS_ZERO = re.compile(rb"(?<![^:,\[\s])-0(?![^,\]}\s])").search
_decode = msgspec.json.Decoder(float_hook=Raw).decode
_encode = msgspec.json.Encoder(order="sorted").encode

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode


def canonical(raw: bytes) -> bytes:
    """The canonical bytes of one JSON value. Raises msgspec.DecodeError and RecursionError."""
    if b"-0" in raw and _MINUS_ZERO(raw):
        return _piecewise(raw)
    return _encode(_decode(raw))


def all_canonical(raws: list[bytes]) -> list[bytes]:
    """The canonical bytes of each of many values."""
    encode, decode = _encode, _decode
    if b"-0" in b"\x00".join(raws):
        return [canonical(raw) for raw in raws]
    return [encode(decode(raw)) for raw in raws]


def _piecewise(raw: bytes) -> bytes:
    """The same, with every number taken as text."""
    first = raw[:1]
    if first == b"{":
        members = _members(raw)
        parts = [_encode(key) + b":" + _piecewise(bytes(members[key])) for key in sorted(members)]
        return b"{" + b",".join(parts) + b"}"
    if first == b"[":
        return b"[" + b",".join([_piecewise(bytes(element)) for element in _elements(raw)]) + b"]"
    return _encode(_decode(raw)) if first == b'"' else raw
