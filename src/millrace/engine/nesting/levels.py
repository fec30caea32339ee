"""Nested values taken apart: scalars by their path, and the items of arrays as rows one level below.

Each value goes where its own kind leads, whatever stands at the same path in other rows: an object into the paths
below, an array into the level below, a scalar into the path itself. So it does not matter how rows are cut into
batches.
"""

from __future__ import annotations

from dataclasses import field
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.json_text import dumps
from millrace.data.rows import inferred
from millrace.data.writing import list_items
from millrace.engine.nesting.documents import Memory, loaded, typed
from millrace.engine.nesting.texts import as_text

# An object or array that lies deeper than this many others in its event stays JSON text (loading.md 12.2).
MOST_DEPTH = 10

Path: TypeAlias = tuple[str, ...]
Numbers: TypeAlias = npt.NDArray[np.int64]
Values: TypeAlias = list[Any]


@dataclass(slots=True)
class Level:
    """Rows of one event type: scalars by path, and the arrays at each path. The path ``()`` is the row itself."""

    count: int
    leaves: dict[Path, pa.Array] = field(default_factory=dict[Path, pa.Array])
    arrays: dict[Path, Items] = field(default_factory=lambda: dict[Path, Items]())


@dataclass(frozen=True, slots=True)
class Items:
    """The items of the arrays at one path: the row above that each belongs to (ascending), and the rows they make."""

    owner: Numbers
    level: Level


@dataclass(frozen=True, slots=True)
class Spreading:
    """Takes nested columns of one event type apart. With ``flat``, arrays become text and there is one level."""

    memory: Memory
    flat: bool = False

    def column(self, values: pa.Array, path: Path, level: Level, depth: int = 0) -> None:
        """The values of a logical type are in the level. ``depth``: the objects and arrays around them."""
        match types.kind(values.type) if not _untyped(values.type) else "STRUCT":
            case "JSON":
                self.texts(types.storage(values), path, level, depth)
            case "STRUCT" | "ARRAY":
                self.typed(values, path, level, depth)
            case _:
                _leaf(values, path, level)

    def texts(self, texts: pa.StringArray, path: Path, level: Level, depth: int) -> None:
        """The documents are in the level; the fast road where it is known to be exact."""
        if not self.flat:
            values = typed(texts, self.memory, path, MOST_DEPTH - depth)
            if values is not None:
                return self.typed(values, path, level, depth)
        return self.values(loaded(texts), path, level, depth)

    def typed(self, values: pa.Array, path: Path, level: Level, depth: int) -> None:
        if pa.types.is_struct(values.type) and depth < MOST_DEPTH:
            for number, part in enumerate(values.flatten()):
                self.typed(part, (*path, values.type.field(number).name), level, depth + 1)
        elif pa.types.is_list(values.type) and depth < MOST_DEPTH and not self.flat:
            if values.null_count < len(values):
                items = list_items(values)
                below = Level(len(items))
                self.typed(items, (), below, depth + 1)
                level.arrays[path] = Items(pc.list_parent_indices(values).to_numpy().astype(np.int64), below)
        elif types.is_nested(values.type):
            _leaf(as_text(values), path, level)
        elif types.is_json(values.type):
            self.texts(types.storage(values), path, level, depth)
        else:
            _leaf(values, path, level)

    def values(self, values: Values, path: Path, level: Level, depth: int) -> None:
        """The same for Python values: the exact road for everything that the fast one does not take."""
        kinds = set(map(type, values)) - {type(None)}
        objects, lists = dict in kinds and depth < MOST_DEPTH, list in kinds and depth < MOST_DEPTH and not self.flat
        if objects:
            dicts = values if kinds == {dict} else [value if type(value) is dict else None for value in values]
            for key in dict.fromkeys(chain.from_iterable(one for one in dicts if one)):
                parts = [None if one is None else one.get(key) for one in dicts]
                self.values(parts, (*path, key), level, depth + 1)
        if lists:
            arrays = [value if type(value) is list else () for value in values]
            items = list(chain.from_iterable(arrays))
            below = Level(len(items))
            self.values(items, (), below, depth + 1)
            level.arrays[path] = Items(np.repeat(np.arange(len(arrays)), [len(one) for one in arrays]), below)
        apart = {dict} if objects else set[type]()
        apart |= {list} if lists else set[type]()
        rest = values if not apart else [None if type(value) in apart else value for value in values]
        if {dict, list} & (kinds - apart):
            rest = [dumps(value) if isinstance(value, (dict, list)) else value for value in rest]
        if kinds - apart and (array := inferred(rest)) is not None:
            level.leaves[path] = array


def _leaf(values: pa.Array, path: Path, level: Level) -> None:
    if values.null_count < len(values):
        level.leaves[path] = values


def _untyped(type_: pa.DataType) -> bool:
    """A nested type with a part that has no type, because only nulls or nothing was seen there."""
    return types.is_nested(type_) and types.canonical(type_) == types.JSON
