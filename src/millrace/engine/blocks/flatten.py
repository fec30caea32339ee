"""Nested objects as fields of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from millrace.data import json_text, types
from millrace.data.compute import pc
from millrace.data.rows import to_batch
from millrace.engine.blocks.block import FieldBlock, Part, Passage, put_once
from millrace.engine.blocks.frame import Frame, Put, Where, both, narrowed, spread

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script


# An object with something in it.
_OBJECT = r"^\s*\{\s*[^}\s]"


class FlattenJsonSettings(Part):
    separator: str = Field(default="_", max_length=8, description="Between the names of field and key.")
    depth: int | None = Field(
        default=None, ge=1, le=100, description="How many levels are opened; all, where nothing is said."
    )
    keep_original: bool = Field(default=False, description="Whether the object itself stays too.")


class FlattenJson(FieldBlock):
    """An object becomes a field for each of its values: address.city is address_city. Arrays and empty objects stay.

    An event in which two values would have one name fails.
    """

    type: Literal["FLATTEN_JSON"]
    settings: FlattenJsonSettings = Field(default_factory=FlattenJsonSettings)

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        rest, one = frame, self.settings
        columns: list[Put] = []
        for name, where in self.targets(frame).items():
            column = frame.rows.column(name)
            is_object = narrowed(both(where, _objects(column)), frame.rows.num_rows)
            if is_object is not None and not is_object.true_count:
                continue
            columns += _opened(name, column, is_object, one.separator, one.depth)
            if not one.keep_original:
                rest = rest.cleared(name, is_object)
        told = "two values of the event would have one name."
        return put_once(self, rest, columns, told, passage)

    def explain(self, script: Script) -> None:
        one = self.settings
        script.line("opened, gone = [], []")
        with script.fields(self), script.block("if isinstance(value, dict) and value:"):
            script.line(
                f"opened += {script.uses('flattened')}(name, value, {script.literal(one.separator)}, {one.depth})"
            )
            if not one.keep_original:
                script.line("gone.append(name)")
        with script.block("for name in gone:"):
            script.line("del p[name]")
        script.line(f"{script.uses('put_new')}(p, opened)")


def _objects(column: pa.Array) -> pa.BooleanArray:
    """The rows with an object that has something in it."""
    if pa.types.is_struct(column.type):
        return column.is_valid()
    if types.is_json(column.type):
        return pc.match_substring_regex(column.storage, _OBJECT).fill_null(False)
    return pa.repeat(pa.scalar(False), len(column))


def _opened(name: str, column: pa.Array, where: Where, separator: str, depth: int | None) -> list[Put]:
    """The values of objects, ``depth`` levels below: a name comes once for each type of its values, with its rows."""
    if not pa.types.is_struct(column.type):
        found = _leaves(column if where is None else column.filter(where), name, separator, depth)
        return [(leaf, values, values.is_valid()) for leaf, values in ((n, spread(v, where)) for n, v in found)]
    columns: list[Put] = []
    below = None if depth is None else depth - 1
    for index, child in enumerate(column.flatten()):
        leaf = f"{name}{separator}{column.type.field(index).name}"
        has = child.is_valid() if where is None else pc.and_(where, child.is_valid())
        deeper = pc.and_(has, _objects(child)) if below != 0 else pa.repeat(pa.scalar(False), len(child))
        if deeper.true_count:
            columns += _opened(leaf, child, deeper, separator, below)
        columns.append((leaf, child, pc.and_not(has, deeper)))
    return columns


def _leaves(values: pa.Array, name: str, separator: str, depth: int | None) -> Iterator[tuple[str, pa.Array]]:
    """What JSON objects hold. Each distinct text is read once; values of one name and several types are several."""
    encoded = values.storage.dictionary_encode()
    count = len(encoded.dictionary)
    columns: dict[tuple[str, type, int], list[Any]] = {}
    for at, text in enumerate(encoded.dictionary.to_pylist()):
        for leaf, value in _ends(name, json_text.loads(text), separator, depth):
            if value is not None:
                _noted(columns, leaf, value, at, count)
    for (leaf, _, _), cells in columns.items():
        yield leaf, to_batch([{"cell": cell} for cell in cells], None).column(0).take(encoded.indices)


def _noted(columns: dict[tuple[str, type, int], list[Any]], leaf: str, value: Any, at: int, count: int) -> None:
    """The value is in the first column of its name and type that has none there: `put_once` tells of a second one."""
    number = 0
    while (column := columns.get((leaf, _kind(value), number))) is not None and column[at] is not None:
        number += 1
    if column is None:
        column = columns[leaf, _kind(value), number] = [None] * count
    column[at] = value


def _kind(value: Any) -> type:
    return dict if isinstance(value, list) else type(value)


def _ends(name: str, value: Any, separator: str, depth: int | None) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value or depth == 0:
        yield name, value
        return
    for key, below in value.items():  # pyright: ignore[reportUnknownVariableType] - any JSON
        yield from _ends(f"{name}{separator}{key}", below, separator, None if depth is None else depth - 1)
