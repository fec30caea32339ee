"""Names of what nested values become. Once given, a name stays: the pipeline's mappings keep them over restarts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field

import pyarrow as pa

from millrace.data import types
from millrace.data.dataclass import dataclass
from millrace.engine.nesting.documents import Memory
from millrace.engine.nesting.levels import Path

Pairs = tuple[tuple[str, str], ...]

# What an item is called that has no name of its own: a scalar, or an array, right inside an array.
VALUE = "value"
_ARRAY = "[]"
_TYPE = "{}"


@dataclass(slots=True)
class NestingState:
    """What has to be remembered between the batches of one pipeline.

    ``streams``: event types that a source or a step gives, whose names no array may take. ``names``: by event type,
    pairs of a path and the name of its field or, for an array, of its event type; `pairs` gives them back. A path is a
    JSON array of keys, with ``[]`` behind it for an array there; a single JSON string is a field of the event itself
    that had to give way to an earlier name. With ``{}`` behind it, the pair says which type a column of structs or
    lists had last, so that a batch in which a field never occurs does not change the column.
    """

    streams: set[str] = field(default_factory=set[str])
    names: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    memories: dict[str, Memory] = field(default_factory=dict[str, Memory])

    @staticmethod
    def of(streams: Iterable[str], names: Mapping[str, Iterable[tuple[str, str]]]) -> NestingState:
        return NestingState(set(streams), {stream: dict(pairs) for stream, pairs in names.items()})

    def pairs(self, stream: str) -> Pairs:
        """What was given a name in an event type, in the order in which it was."""
        return tuple(self.names.get(stream, {}).items())

    def memory(self, stream: str) -> Memory:
        return self.memories.setdefault(stream, Memory())

    def field(self, stream: str, path: Path, taken: Collection[str]) -> str:
        """The field for a scalar at a path; ``taken``: fields of the event itself."""
        return self._given(stream, _written(path), "_".join(path) or VALUE, taken)

    def own(self, stream: str, name: str, taken: Collection[str]) -> str:
        """The name of a field of the event itself: its own, unless that was given to a nested one before."""
        known = self.names.get(stream, {})
        place = json.dumps(name, ensure_ascii=False)
        if place in known or name in _fields(known):
            return self._given(stream, place, name, taken)
        return name

    def child(self, stream: str, path: Path) -> str:
        """The event type for the items of the arrays at a path."""
        known, place = self.names.setdefault(stream, {}), _written(path) + _ARRAY
        if place not in known:
            taken = {*self.streams, *self.names, *(name for names in self.names.values() for name in _arrays(names))}
            known[place] = _free(f"{stream}_{'_'.join(path) or VALUE}", taken)
            self.names.setdefault(known[place], {})
        return known[place]

    def type_of(self, stream: str, column: str) -> pa.DataType | None:
        """The type that a column of structs or lists had last."""
        known = self.names.get(stream, {}).get(_written((column,)) + _TYPE)
        return None if known is None else types.parse(known)

    def learn(self, stream: str, column: str, type_: pa.DataType) -> None:
        self.names.setdefault(stream, {})[_written((column,)) + _TYPE] = types.name(type_)

    def children(self, stream: str) -> dict[Path, str]:
        """Event types made of arrays of this one so far."""
        known = self.names.get(stream, {})
        return {
            tuple(json.loads(place.removesuffix(_ARRAY))): name
            for place, name in known.items()
            if place.endswith("]" + _ARRAY)
        }

    def _given(self, stream: str, place: str, wish: str, taken: Collection[str]) -> str:
        known = self.names.setdefault(stream, {})
        if place not in known:
            known[place] = _free(wish, {*taken, *_fields(known)})
        return known[place]


def _written(path: Path) -> str:
    return json.dumps(path, ensure_ascii=False, separators=(",", ":"))


def _fields(known: Mapping[str, str]) -> list[str]:
    return [name for place, name in known.items() if not place.endswith(("]" + _ARRAY, "]" + _TYPE))]


def _arrays(known: Mapping[str, str]) -> list[str]:
    return [name for place, name in known.items() if place.endswith("]" + _ARRAY)]


def _free(wish: str, taken: Collection[str]) -> str:
    """The wish, or where it is taken, with the first free of ``_1``, ``_2``, …"""
    name, number = wish, 0
    while name in taken:
        number += 1
        name = f"{wish}_{number}"
    return name
