"""The rows of a load, brought exactly into the columns of the table as it is; what does not fit is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.connect.destination import Load, Refusal, Table
from millrace.connect.sql.arrays import has_ends
from millrace.connect.sql.statements import GONE, Found
from millrace.data import types
from millrace.data.columns import EMPTY, UNCHANGED
from millrace.data.compute import pc
from millrace.data.numbers import integers

# Arrow keeps moments far outside the calendar, where databases have `infinity` or other years.
_DAYS = (date.min.toordinal() - date(1970, 1, 1).toordinal(), date.max.toordinal() - date(1970, 1, 1).toordinal())
_MICROS = tuple(
    int((moment - datetime(1970, 1, 1)).total_seconds()) * 1_000_000 for moment in (datetime.min, datetime.max)
)
PIECE = 65_536


class Incoming:
    """Reads a load's rows as often as asked, with the sequence in the column `meta.sequence`.

    Rows that cannot go in stay in the stream with NULL in place of the value; `refusals` names them after a whole
    reading, and the caller then publishes nothing. ``nul`` False: the system takes no NUL character in text; they are
    looked for only when ``thorough``, since it costs a pass over all text. ``nan`` False: its floats are finite.
    """

    def __init__(
        self,
        table: Table,
        load: Load,
        found: Mapping[str, Found],
        *,
        nul: bool = True,
        nan: bool = True,
        thorough: bool = False,
    ) -> None:
        self.table, self.load, self.found = table, load, found
        self.nul, self.nan, self.thorough = nul, nan, thorough
        self.deletes = table.meta.marked_deleted is not None
        # How many rows for arrays without items were left out of the last reading.
        self.empty = 0
        # What went wrong while rows were read: drivers that pull them report it only as words.
        self.failure: BaseException | None = None
        self._refused: dict[int, Refusal] = {}

    @property
    def refusals(self) -> list[Refusal]:
        return sorted(self._refused.values(), key=lambda refusal: refusal.row)

    @property
    def count(self) -> int:
        """Rows that the stream gives, all but those refused before, and those that are `empty`."""
        return self.load.rows.count - len(self.load.refused)

    def names(self) -> tuple[str, ...]:
        """Columns of the stream apart from the sequence."""
        own = (self.table.meta.op_type,) if self.deletes else ()
        if self.table.nest is not None and has_ends(self.table):
            own = (*own, self.table.nest.length)
        if UNCHANGED in self.load.rows.schema.names:
            own = (*own, UNCHANGED)
        return tuple(column.name for column in self.table.columns) + own

    def reader(self, columns: Sequence[str] | None = None, *, gone: bool = False) -> pa.RecordBatchReader:
        """The rows in ``columns`` and the sequence; with ``gone`` a column that says whether a row is a delete."""
        names = list(self.names() if columns is None else columns)
        fields = [pa.field(name, self._type(name)) for name in names]
        fields.append(pa.field(self.table.meta.sequence, pa.int64()))
        if gone:
            fields.append(pa.field(GONE, pa.bool_()))
        schema = pa.schema(fields)
        return pa.RecordBatchReader.from_batches(schema, self._watched(names, schema, gone))

    def _watched(self, names: list[str], schema: pa.Schema, gone: bool) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches(names, schema, gone)
        except Exception as error:
            self.failure = error
            raise

    def _type(self, name: str) -> pa.DataType:
        """The type in which a column's values go: the storage of that which the table has."""
        want = self._want(name)
        return want.storage_type if isinstance(want, types.TextType) else want

    def _want(self, name: str) -> pa.DataType:
        found = self.found.get(name)
        if found is not None and found.type is not None:
            return found.type
        if self.table.nest is not None and name == self.table.nest.length:
            return types.INTEGER
        return next((column.type for column in self.table.columns if column.name == name), types.VARCHAR)

    def _batches(self, names: list[str], schema: pa.Schema, gone: bool) -> Iterator[pa.RecordBatch]:
        first, self.empty = 0, 0
        refused = np.sort(np.fromiter(self.load.refused, np.int64, len(self.load.refused)))
        own = () if self.table.nest is None else (self.table.nest.length,)
        for whole in self.load.rows.reader({*names, self.table.meta.op_type, *own}):
            for start in range(0, whole.num_rows, PIECE):
                batch = whole.slice(start, PIECE)
                sequence = np.arange(first, first + batch.num_rows, dtype=np.int64)
                first += batch.num_rows
                if refused.size:
                    keep = ~np.isin(sequence, refused)
                    batch, sequence = batch.filter(pa.array(keep)), sequence[keep]
                batch, sequence = self._without_empty(batch, sequence)
                values = [self._column(batch, name, sequence) for name in names]
                values.append(integers(sequence))
                if gone:
                    values.append(self._gone(batch))
                yield pa.RecordBatch.from_arrays(values, schema=schema)

    def _without_empty(
        self, batch: pa.RecordBatch, sequence: np.ndarray[Any, Any]
    ) -> tuple[pa.RecordBatch, np.ndarray[Any, Any]]:
        """Rows for arrays without items go no further where the table has no use for them."""
        place = batch.schema.get_field_index(self.table.meta.op_type)
        if self.table.nest is None or has_ends(self.table) or place < 0:
            return batch, sequence
        keep = pc.fill_null(pc.not_equal(types.storage(batch.column(place)), EMPTY), True)
        kept = keep.to_numpy(zero_copy_only=False)
        self.empty += int(len(kept) - kept.sum())
        return batch.filter(keep), sequence[kept]

    def _gone(self, batch: pa.RecordBatch) -> pa.Array:
        if not self.deletes or self.table.meta.op_type not in batch.schema.names:
            return pa.repeat(pa.scalar(False), batch.num_rows)
        operations = types.storage(batch.column(self.table.meta.op_type))
        return pc.fill_null(pc.equal(operations, "D"), False)

    def _column(self, batch: pa.RecordBatch, name: str, sequence: np.ndarray[Any, Any]) -> pa.Array:
        found = self.found.get(name)
        index = batch.schema.get_field_index(name)
        want = self._want(name)
        if index < 0:
            return pa.nulls(batch.num_rows, self._type(name))
        values = batch.column(index)
        if values.type != want:
            values = self._cast(name, values, want, found, sequence)
        values = self._checked(name, values, found, sequence)
        return types.storage(values) if isinstance(want, types.TextType) else values

    def _cast(
        self, name: str, values: pa.Array, want: pa.DataType, found: Found | None, sequence: np.ndarray[Any, Any]
    ) -> pa.Array:
        from millrace.data.cast import cast

        loose = types.canonical(values.type)
        casted = cast(values, want, strict=False)
        if casted.bad is not None:
            text = found is not None and types.length(want) is not None and types.is_text(loose)
            code = "STRING_TOO_LONG" if text else "INCOMPATIBLE_TYPE"
            sql = found.sql if found else types.name(want)
            message = f"the value of {name!r} does not fit into its column ({sql})"
            self._refuse(casted.bad, sequence, code, message, name)
        return casted.values

    def _checked(self, name: str, values: pa.Array, found: Found | None, sequence: np.ndarray[Any, Any]) -> pa.Array:
        table = self.table
        if values.null_count:
            if name in table.key and table.mode != "append":
                message = f"the key column {name!r} has no value"
                self._refuse(values.is_null(), sequence, "NULL_PRIMARY_KEY", message)
            elif found and not found.nullable and not (self.deletes and name not in table.key):
                message = f"the column {name!r} must not be NULL"
                self._refuse(values.is_null(), sequence, "CONSTRAINT_VIOLATION", message)
        if pa.types.is_date32(values.type) or pa.types.is_timestamp(values.type):
            return self._in_calendar(name, values, sequence)
        if not self.nan and pa.types.is_floating(values.type):
            return self._finite(name, values, sequence)
        if self.thorough and not self.nul:
            self._check_nul(name, values, sequence)
        return values

    def _in_calendar(self, name: str, values: pa.Array, sequence: np.ndarray[Any, Any]) -> pa.Array:
        days = pa.types.is_date32(values.type)
        low, high = _DAYS if days else _MICROS
        numbers = values.view(pa.int32() if days else pa.int64())
        ends = pc.min_max(numbers)
        least, most = ends["min"].as_py(), ends["max"].as_py()
        if least is not None and (least < low or most > high):
            outside = pc.fill_null(pc.or_(pc.less(numbers, low), pc.greater(numbers, high)), False)
            message = f"the value of {name!r} lies outside the years 1 to 9999"
            self._refuse(outside, sequence, "INCOMPATIBLE_TYPE", message)
            return pc.if_else(outside, pa.scalar(None, values.type), values)
        return values

    def _finite(self, name: str, values: pa.Array, sequence: np.ndarray[Any, Any]) -> pa.Array:
        odd = pc.fill_null(pc.invert(pc.is_finite(values)), False)
        if pc.any(odd).as_py():
            self._refuse(odd, sequence, "INCOMPATIBLE_TYPE", f"the value of {name!r} is no finite number")
            return pc.if_else(odd, pa.scalar(None, values.type), values)
        return values

    def _check_nul(self, name: str, values: pa.Array, sequence: np.ndarray[Any, Any]) -> None:
        text = types.storage(values)
        if not pa.types.is_string(text.type):
            return
        bad = pc.fill_null(pc.match_substring(text, "\0"), False)
        if types.is_json(values.type):
            # An escaped NUL, but not an escaped backslash before the letters u0000.
            escaped = pc.match_substring_regex(text, r"(^|[^\\])(\\\\)*\\u0000")
            bad = pc.or_(bad, pc.fill_null(escaped, False))
        self._refuse(bad, sequence, "INCOMPATIBLE_TYPE", f"the value of {name!r} holds a NUL character")

    def _refuse(
        self, bad: pa.BooleanArray, sequence: np.ndarray[Any, Any], code: str, message: str, column: str | None = None
    ) -> None:
        for row in sequence[bad.to_numpy(zero_copy_only=False)]:
            self._refused.setdefault(int(row), Refusal(int(row), code, message, column))


def stamped(table: Table, load: Load, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Rows read with ``gone`` become those of a table that is appended to: with the columns that the destination fills,
    without the sequence."""
    meta = table.meta
    fields = [reader.schema.field(column.name) for column in table.columns]
    if meta.loaded_at:
        fields.append(pa.field(meta.loaded_at, pa.int64()))
    if meta.marked_deleted:
        fields.append(pa.field(meta.marked_deleted, pa.bool_()))
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            values = [batch.column(column.name) for column in table.columns]
            if meta.loaded_at:
                values.append(pa.repeat(pa.scalar(load.at_ms, pa.int64()), batch.num_rows))
            if meta.marked_deleted:
                values.append(batch.column(GONE))
            yield pa.RecordBatch.from_arrays(values, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())
