"""Rows on their way through a chain: all of one event type and one schema, split where a field gets two types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.exact import of_type
from millrace.engine.steps import Output

# Which rows; None: all of them.
Where: TypeAlias = pa.BooleanArray | None


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of one event type. A null cell is a missing field.

    ``origin`` (int32, ascending): the row of the batch that each row is. ``key``: the fields that identify a row, by
    their present names. ``ours``: metadata of Millrace's own, which blocks hand on as it is; ``shown``: those of them
    that filters and formulas may read.
    """

    stream: str
    rows: pa.RecordBatch
    origin: pa.Array
    key: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()
    shown: frozenset[str] = frozenset()

    @property
    def fields(self) -> list[str]:
        """The event's own fields: those that blocks may change."""
        return [name for name in self.rows.schema.names if name not in self.ours]

    @property
    def visible(self) -> pa.RecordBatch:
        """What filters and formulas see."""
        if self.ours <= self.shown:
            return self.rows
        return self.rows.select([n for n in self.rows.schema.names if n not in self.ours or n in self.shown])

    def column(self, name: str) -> pa.Array | None:
        at = self.rows.schema.get_field_index(name)
        return self.rows.column(at) if at >= 0 else None

    def only(self, where: Where) -> Frame:
        """The rows of ``where`` alone."""
        if where is None:
            return self
        return replace(self, rows=self.rows.filter(where), origin=self.origin.filter(where))

    def parted(self, where: Where) -> tuple[Frame | None, Frame | None]:
        """The rows of ``where`` and the others; None in place of no rows."""
        found = narrowed(where, self.rows.num_rows)
        if found is None:
            return self, None
        if not found.true_count:
            return None, self
        return self.only(found), self.only(pc.invert(found))

    def without(self, name: str) -> Frame:
        """The rows without the field, if it is there."""
        if self.column(name) is None:
            return self
        return replace(self, rows=self.rows.select([n for n in self.rows.schema.names if n != name]))

    def cleared(self, name: str, where: Where = None) -> Frame:
        """The rows without the field in the rows of ``where``."""
        count = self.rows.num_rows if where is None else where.true_count
        return self.put(name, pa.nulls(count), where)[0].frame

    def put(self, name: str, values: pa.Array, where: Where = None) -> list[Piece]:
        """The rows of ``where`` have these values in the field, one for each of them; other rows are as they were.

        A new field stands at the end. Where old and new values cannot be in one column
        as they are, the rows come in two pieces.
        """
        old = self.column(name)
        where = narrowed(where, self.rows.num_rows)
        if where is None:
            if values.null_count == len(values):
                return [Piece(self.without(name))]
            return [Piece(self._set(name, values))]
        if values.null_count == len(values):
            if old is None:
                return [Piece(self)]
            values = pa.nulls(len(values), old.type)
        elif old is None or not pc.any(pc.and_not(old.is_valid(), where)).as_py():
            return [Piece(self._set(name, spread(values, where)))]
        common = _common(old.type, values.type)
        if common is not None:
            return [Piece(self._set(name, _merged(_cast(old, common), where, _cast(values, common))))]
        rest = pc.invert(where)
        return [Piece(self.only(rest), rest), Piece(self.only(where)._set(name, values), where)]

    def _set(self, name: str, values: pa.Array) -> Frame:
        at = self.rows.schema.get_field_index(name)
        if at >= 0:
            return replace(self, rows=self.rows.set_column(at, pa.field(name, values.type), values))
        end = self.rows.num_columns
        return replace(self, rows=self.rows.add_column(end, pa.field(name, values.type), values))


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a frame, and which they were in it."""

    frame: Frame
    where: Where = None


def put_all(frame: Frame, columns: Iterable[tuple[str, pa.Array, Where]]) -> list[Piece]:
    """Several fields put at once: each a name, a value for each row of the frame, and the rows that get theirs."""
    pieces = [Piece(frame)]
    for name, values, where in columns:
        split: list[Piece] = []
        for piece in pieces:
            mine = part_of(where, piece.where)
            cells = values if piece.where is None else values.filter(piece.where)
            for part in piece.frame.put(name, cells if mine is None else cells.filter(mine), mine):
                rows = piece.where if part.where is None else within(piece.where, part.where)
                split.append(Piece(part.frame, rows))
        pieces = split
    return pieces


def narrowed(where: Where, count: int) -> Where:
    """None instead of a mask that holds for every row."""
    return None if where is None or where.true_count == count else where


def both(a: Where, b: Where) -> Where:
    if a is None or b is None:
        return a if b is None else b
    return pc.and_(a, b)


def part_of(where: Where, rows: Where) -> Where:
    """A mask over all rows as a mask over ``rows`` alone."""
    return where if where is None or rows is None else where.filter(rows)


def within(where: Where, part: pa.BooleanArray) -> pa.BooleanArray:
    """A mask over the rows of ``where`` as a mask over all rows."""
    if where is None:
        return part
    mask = where.to_numpy(zero_copy_only=False)
    found = np.zeros(len(mask), bool)
    found[mask] = part.to_numpy(zero_copy_only=False)
    return pa.array(found)


def joined(frames: Iterable[Frame], stream: str, key: tuple[str, ...]) -> tuple[Output, ...]:
    """The rows of each event type together again, in the order of the input.

    ``stream`` and ``key``: those of the input. Where rows of an event type name their key differently, it has the key
    of the input; a new event type that lost fields of its key has none.
    """
    found: dict[str, list[Frame]] = {}
    for frame in frames:
        if frame.rows.num_rows:
            found.setdefault(frame.stream, []).append(frame)
    return tuple(_output(parts, stream, key) for parts in sorted(found.values(), key=_first))


def _first(parts: Sequence[Frame]) -> int:
    return min(part.origin[0].as_py() for part in parts)


def _output(parts: list[Frame], stream: str, key: tuple[str, ...]) -> Output:
    names = {part.key for part in parts}
    own = names.pop() if len(names) == 1 else key
    rows, origin = parts[0].rows, parts[0].origin
    if len(parts) > 1:
        origins = pa.concat_arrays([part.origin for part in parts])
        order = pc.sort_indices(origins)
        rows, origin = _together([part.rows for part in parts]).take(order), origins.take(order)
    if parts[0].stream != stream and not set(own) <= set(rows.schema.names):
        own = ()
    return Output(parts[0].stream, rows, origin, key=None if own == key else own)


def _together(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows one after the other, every column in the type that holds all of its values exactly."""
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    if not any(part.num_columns for part in parts):
        empty = pa.array([{}] * sum(part.num_rows for part in parts), pa.struct([]))
        return pa.RecordBatch.from_struct_array(empty)
    for name in dict.fromkeys(name for part in parts for name in part.schema.names):
        at = [part.schema.get_field_index(name) for part in parts]
        columns = [part.column(i) if i >= 0 else pa.nulls(part.num_rows) for part, i in zip(parts, at, strict=True)]
        wider = _meeting(columns)
        cells = [types.storage(cast(column, wider, strict=True).values) for column in columns]
        arrays.append(of_type(pa.concat_arrays(cells), wider))
        owner = next(part for part, i in zip(parts, at, strict=True) if i >= 0)
        fields.append(owner.schema.field(name).with_type(wider))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=parts[0].schema.metadata))


def _meeting(columns: Sequence[pa.Array]) -> pa.DataType:
    """DOUBLE for integers with floats if it holds all of them, else what the law of widening says."""
    seen = {types.canonical(column.type) for column in columns if column.null_count < len(column)}
    numbers = len(seen) > 1 and all(types.is_integer(type_) or types.is_float(type_) for type_ in seen)
    if numbers and all(cast(column, types.DOUBLE, strict=True).bad is None for column in columns):
        return types.DOUBLE
    return reduce(types.widen, seen or {types.canonical(column.type) for column in columns})


def _common(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The type in which values of both are what they are alone: say, to a formula that takes them as text."""
    if a == b:
        return a
    if (types.is_integer(a) and types.is_integer(b)) or (types.is_text(a) and types.is_text(b)):
        return types.widen(a, b)
    return None


def _cast(values: pa.Array, to: pa.DataType) -> pa.Array:
    return values if values.type == to else cast(values, to, strict=True).values


def spread(values: pa.Array, where: Where) -> pa.Array:
    """The values at the rows of ``where``, null elsewhere."""
    if where is None:
        return values
    mask = where.to_numpy(zero_copy_only=False)
    return values.take(pa.array(np.cumsum(mask, dtype=np.int64) - 1, mask=~mask))


def _merged(old: pa.Array, where: pa.BooleanArray, values: pa.Array) -> pa.Array:
    a, b = types.storage(old), types.storage(values)
    if not pa.types.is_nested(a.type):
        return of_type(pc.replace_with_mask(a, where, b), old.type)
    mask = where.to_numpy(zero_copy_only=False)
    places = np.where(mask, len(a) + np.cumsum(mask, dtype=np.int64) - 1, np.arange(len(a)))
    return pa.concat_arrays([a, b]).take(pa.array(places))
