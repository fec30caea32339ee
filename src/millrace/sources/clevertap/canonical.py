"""JSON text in one form, so that equal events have equal bytes. Number literals stay as received.

Keys are sorted by code point, separators are "," and ":", nothing is escaped that need not be. Of a key that occurs
twice in one object the last value counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Raw

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode
_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.encode

_TRIED = 4  # patterns that are tried before the general way
_WIDEST = 256  # keys in one pattern
_WORTH = 4  # misses before a new pattern is made, so that a stray object costs no compilation
_PATIENCE = 64  # patterns made for one kind of object before it counts as patternless

# A value that stands in the canonical form already: a string without escapes, a number, true, false or null.
_PLAIN = rb'(?:"[^"\\]*+"|[-+.0-9A-Za-z]++)'
_FLAT = rb'\{(?:[^"\[\]{}]++|"[^"\\]*+")*+\}'
# An object of plain values, or a list of such objects and plain values; white space may be inside.
_NESTED = rb"(?:" + _FLAT + rb'|\[(?:[^"\[\]{}]++|"[^"\\]*+"|' + _FLAT + rb")*+\])"


def canonical(raw: bytes) -> bytes:
    """The canonical bytes of one JSON value. Raises msgspec.DecodeError and RecursionError."""
    first = raw[:1]
    if first == b"{":
        members = _members(raw)
        return (
            b"{" + b",".join([_encode(key) + b":" + canonical(bytes(members[key])) for key in sorted(members)]) + b"}"
        )
    if first == b"[":
        return b"[" + b",".join([canonical(bytes(element)) for element in _elements(raw)]) + b"]"
    if first == b'"' and b"\\" in raw:
        return _encode(_text(raw))
    return raw


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Fits objects with some of ``keys``, in this order, and takes them apart into members in sorted order.

    ``nested`` has, per member whose value may be an object or a list: its place, the length of its key and colon,
    and what brings the value into the canonical form.
    """

    keys: tuple[str, ...]
    fits: Callable[[bytes], Any]
    ordered: Callable[[Any], tuple[bytes | None, ...]]
    nested: tuple[tuple[int, int, Shapes], ...]

    def write(self, match: Any) -> bytes:
        members = self.ordered(match)
        if self.nested:
            changed = list(members)
            for place, start, shapes in self.nested:
                member = changed[place]
                if member is not None and member[start] in b"{[":
                    changed[place] = member[:start] + shapes.value(member[start:])
            members = changed
        return b"{" + b",".join(filter(None, members)) + b"}"


class Shapes:
    """`canonical` for many objects that mostly share their keys and the order of these, several times as fast.

    It learns which keys come in which order and makes patterns of it; an object that fits one needs no parser.
    Whatever fits none (escapes, white space, doubled keys, deep nesting) goes the general way.
    """

    def __init__(self) -> None:
        self._patterns: list[_Pattern] = []
        self._missed = 0
        self._made = 0
        self._nested: dict[str, Shapes] = {}

    def __call__(self, raw: bytes) -> bytes:
        for place, pattern in enumerate(self._patterns):
            match = pattern.fits(raw)
            if match:
                if place:
                    self._patterns.insert(0, self._patterns.pop(place))
                return pattern.write(match)
        if raw == b"{}":
            return raw
        if self._made < _PATIENCE and raw[:1] == b"{":
            self._missed += 1
            if self._missed >= _WORTH:
                self._missed = 0
                self._learn(_members(raw))
        return canonical(raw)

    def value(self, raw: bytes) -> bytes:
        """The canonical form of an object, or of a list of objects and other values."""
        if raw[:1] == b"[":
            elements = [bytes(element) for element in _elements(raw)]
            return b"[" + b",".join([self(each) if each[:1] == b"{" else canonical(each) for each in elements]) + b"]"
        return self(raw)

    def _learn(self, members: dict[str, Raw]) -> None:
        """Extends the pattern whose order of keys agrees, or makes a new one."""
        for key, value in members.items():
            if bytes(value)[:1] in (b"{", b"[") and key not in self._nested:
                self._nested[key] = Shapes()
        keys = tuple(members)
        for place, pattern in enumerate(self._patterns):
            merged = _merged(pattern.keys, keys)
            if merged is not None and len(merged) <= _WIDEST:
                del self._patterns[place]
                keys = merged
                break
        if len(keys) <= _WIDEST:
            self._made += 1
            self._patterns = [self._pattern(keys), *self._patterns[: _TRIED - 1]]

    def _pattern(self, keys: tuple[str, ...]) -> _Pattern:
        names = [_encode(key) + b":" for key in keys]
        values = [rb"(?:" + _PLAIN + rb"|" + _NESTED + rb")" if key in self._nested else _PLAIN for key in keys]
        parts = [rb"(?:(" + re.escape(name) + value + rb"),?)?+" for name, value in zip(names, values, strict=True)]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return _Pattern(
            keys,
            re.compile(rb"\{" + b"".join(parts) + rb"\}", re.DOTALL).fullmatch,
            itemgetter(*[at + 1 for at in order]) if len(keys) > 1 else _first,
            tuple(
                (place, len(names[at]), self._nested[keys[at]])
                for place, at in enumerate(order)
                if keys[at] in self._nested
            ),
        )


def _first(match: Any) -> tuple[bytes | None, ...]:
    return (match[1],)


def _merged(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...] | None:
    """The keys of both in an order that agrees with both; None when there is none."""
    places = {key: place for place, key in enumerate(left)}
    common = [places[key] for key in right if key in places]
    if not common or common != sorted(common):
        return None
    merged = list(left)
    at = 0
    for key in right:
        if key in places:
            at = merged.index(key) + 1
        else:
            merged.insert(at, key)
            at += 1
    return tuple(merged)
