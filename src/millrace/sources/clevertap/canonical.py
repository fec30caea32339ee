"""JSON text in one form, so that equal events have equal bytes. Number literals stay as received.

Keys are sorted by code point, separators are "," and ":", nothing is escaped that need not be. Of a key that occurs
twice in one object the last value counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Raw

# What msgspec hands to the hook (fractions, exponents, integers beyond 64 bits) it writes again letter by letter, and
# integers have one spelling only: all but this one. What stands before it is looked at last: a pattern that begins with
# letters is looked for ten times as fast.
_MINUS_ZERO = re.compile(rb"-0(?<![^:,\[\s]-0)(?![^,\]}\s])").search
_decode = msgspec.json.Decoder(float_hook=Raw).decode
_encode = msgspec.json.Encoder(order="sorted").encode

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode

# Keys of one shape: a struct looks for each that does not come where it is expected.
MOST_KEYS = 64

# Writes what a `Shape` read: the keys of its structs stand in their order, those of all dictionaries are sorted.
written = msgspec.json.Encoder(order="deterministic").encode


def canonical(raw: bytes) -> bytes:
    """The canonical bytes of one JSON value. Raises msgspec.DecodeError and RecursionError."""
    if has_minus_zero([raw]):
        return _piecewise(raw)
    try:
        return _encode(_decode(raw))
    except msgspec.ValidationError:  # an integer of thousands of digits
        return _piecewise(raw)


def has_minus_zero(raws: Iterable[Raw | bytes]) -> bool:
    """Whether some of these JSON values may have a number ``-0``; a day like 2026-01-05 is none."""
    return _MINUS_ZERO(b",".join(raws)) is not None


def all_canonical(raws: list[bytes]) -> list[bytes]:
    """The canonical bytes of each of many values."""
    encode, decode = _encode, _decode
    if not has_minus_zero(raws):
        with suppress(msgspec.ValidationError):
            return [encode(decode(raw)) for raw in raws]
    return [canonical(raw) for raw in raws]


class Shape:
    """Reads JSON objects that have mostly the same keys, for `written` to give them their canonical bytes.

    Keys that are known are fields of a struct in sorted order, so that neither are they made nor sorted again for each
    object. ``read`` raises msgspec.ValidationError for anything else; it must not be given a number ``-0``.
    """

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self.fit = True
        """Whether objects are read like this at all: keys may be too many, or not be such as a struct can have."""
        self.read: Callable[[Raw | bytes], Any] = self._reader()

    def learn(self, raws: Iterable[Raw | bytes]) -> bool:
        """The keys of these objects are known; False when there is nothing new to know, or some are no objects."""
        before = len(self._keys)
        try:
            self._keys.update(*map(_members, raws))
            self.fit &= len(self._keys) <= MOST_KEYS
            if self.fit and len(self._keys) > before:
                self.read = self._reader()
                return True
        except msgspec.MsgspecError:
            return False
        except ValueError:
            # The name of a field is written as it is, so that nothing may be escaped in it.
            self.fit = False
        return False

    def _reader(self) -> Callable[[Raw | bytes], Any]:
        names = {f"f{number}": key for number, key in enumerate(sorted(self._keys))}
        fields = [(name, Any, UNSET) for name in names]
        known = msgspec.defstruct("Known", fields, rename=names, gc=False, forbid_unknown_fields=True)
        return msgspec.json.Decoder(known, float_hook=Raw).decode


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
