"""Rows on their way through a chain: all of one event type and one schema, split where a field gets two types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.cast import cast
from millrace.data.columns import is_measured
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import of_type
from millrace.data.rows import meeting
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
        return self.put(name, pa.nulls(self.rows.num_rows), where) or self

    def put(self, name: str, values: pa.Array, where: Where = None, *, widen: bool = False) -> Frame | None:
        """The rows of ``where`` have these values in the field; others are as they were. A new field stands at the end.

        ``values``: one for each row of the frame. None where old and new values cannot be in one column as they are;
        with ``widen``, they become text where that is what they would become in a table.
        """
        old = self.column(name)
        where = narrowed(where, self.rows.num_rows)
        if where is None:
            return self.without(name) if values.null_count == len(values) else self._set(name, values)
        if not pc.any(pc.and_(where, values.is_valid())).as_py():
            return self if old is None else self._set(name, _merged(old, where, pa.nulls(len(old), old.type)))
        if old is None or not pc.any(pc.and_not(old.is_valid(), where)).as_py():
            return self._set(name, _merged(pa.nulls(len(values), values.type), where, values))
        common = _common(old.type, values.type)
        if common is None and widen and not (_is_number(old.type) and _is_number(values.type)):
            common = types.widen(types.canonical(old.type), types.canonical(values.type))
            common = common if common == types.VARCHAR else None
        if common is None:
            return None
        kept = cast(old, common, strict=True, measured=is_measured(self.rows.schema.field(name))).values
        return self._set(name, _merged(kept, where, _cast(values, common)))

    def _set(self, name: str, values: pa.Array) -> Frame:
        at = self.rows.schema.get_field_index(name)
        if at >= 0:
            return replace(self, rows=self.rows.set_column(at, pa.field(name, values.type), values))
        end = self.rows.num_columns
        return replace(self, rows=self.rows.add_column(end, pa.field(name, values.type), values))


# A field that is put: its name, a value for each row, and the rows that get theirs.
Put: TypeAlias = tuple[str, pa.Array, Where]


def put_all(frame: Frame, columns: Iterable[Put], *, widen: bool = False) -> list[Frame]:
    """Fields put at once. Rows are in one frame if they have the same of those that do not go into the old columns.

    A name may come several times, for rows that differ. ``widen``: as for `Frame.put`.
    """
    names: set[str] = set()
    apart: list[Put] = []
    later: list[Put] = []
    for name, values, where in columns:
        if name in names:
            later.append((name, values, where))
            continue
        names.add(name)
        found = frame.put(name, values, where, widen=widen)
        if found is None:
            apart.append((name, values, where))
        else:
            frame = found
    parts = _parts(frame, apart) if apart else [(frame, None)]
    if not later:
        return [part for part, _ in parts]
    return [
        after
        for part, rows in parts
        for after in put_all(part, later if rows is None else [_taken(one, rows) for one in later], widen=widen)
    ]


def _parts(frame: Frame, columns: list[Put]) -> list[tuple[Frame, pa.Array]]:
    """The frame in one part for each set of the columns that a row gets; and the rows of each part."""
    gets = np.stack([where.to_numpy(zero_copy_only=False) for _, _, where in columns if where is not None])
    codes = np.ascontiguousarray(np.packbits(gets, axis=0).T)
    _, first, group = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(group.reshape(-1)))
    found: list[tuple[Frame, pa.Array]] = []
    for number, end in enumerate(ends):
        rows = pa.array(order[ends[number - 1] if number else 0 : end])
        part = replace(frame, rows=frame.rows.take(rows), origin=frame.origin.take(rows))
        for has, (name, values, _) in zip(gets[:, first[number]], columns, strict=True):
            if has:
                part = part.put(name, values.take(rows)) or part
        found.append((part, rows))
    return found


def _taken(column: Put, rows: pa.Array) -> Put:
    name, values, where = column
    return name, values.take(rows), where if where is None else where.take(rows)


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
        owners = [
            part.schema.field(i) if i >= 0 else pa.field(name, pa.null()) for part, i in zip(parts, at, strict=True)
        ]
        cells = [
            types.storage(cast(column, wider, strict=True, measured=is_measured(owner)).values)
            for owner, column in zip(owners, columns, strict=True)
        ]
        arrays.append(of_type(pa.concat_arrays(cells), wider))
        first = next(owner for owner, i in zip(owners, at, strict=True) if i >= 0)
        fields.append(next((owner for owner in owners if is_measured(owner)), first).with_type(wider))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=parts[0].schema.metadata))


def _meeting(columns: Sequence[pa.Array]) -> pa.DataType:
    """The type in which the values of all meet; columns without a value have no say in it."""
    said = [column for column in columns if column.null_count < len(column)] or columns
    return meeting([_cast(column, types.canonical(column.type)) for column in said])


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


def _is_number(type_: pa.DataType) -> bool:
    return types.is_integer(type_) or types.is_float(type_) or types.is_decimal(type_)


def _merged(old: pa.Array, where: pa.BooleanArray, values: pa.Array) -> pa.Array:
    return of_type(pc.if_else(where, types.storage(values), types.storage(old)), old.type)
