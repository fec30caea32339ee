"""Rows for tests of destinations: tables in memory that can be read again, and values at the ends of every type."""

from __future__ import annotations

import decimal
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa

from millrace.connect.destination import Column, Meta, Rereadable, Table
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.data.dataclass import dataclass

META = Meta(
    ingested_at=columns.INGESTED_AT,
    sequence=columns.SEQUENCE,
    op_type=columns.OP_TYPE,
    loaded_at=columns.LOADED_AT,
    marked_deleted=columns.MARKED_DELETED,
    source_modified_at=columns.SOURCE_MODIFIED_AT,
)
PLAIN = Meta(columns.INGESTED_AT, columns.SEQUENCE, columns.OP_TYPE, columns.LOADED_AT)


@dataclass(frozen=True, slots=True)
class Rows(Rereadable):
    """An Arrow table that is given in batches, as often as asked."""

    table: pa.Table
    batch_rows: int = 1000

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def count(self) -> int:
        return self.table.num_rows

    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        del columns
        return self.table.to_reader(max_chunksize=self.batch_rows)


def rows(schema: Mapping[str, pa.DataType], *values: Sequence[Any]) -> Rows:
    """Rows given one by one, in the order of ``schema``."""
    fields = list(schema.items())
    arrays = [array([row[i] for row in values], type_) for i, (_, type_) in enumerate(fields)]
    return Rows(pa.Table.from_arrays(arrays, schema=pa.schema([pa.field(name, type_) for name, type_ in fields])))


def array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """An array of a logical type; extension types are given by the values below them."""
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, pa.array(values, type_.storage_type))
    return pa.array(values, type_)


def table(
    name: str,
    business: Mapping[str, pa.DataType],
    *,
    key: tuple[str, ...] = (),
    mode: LoadMode = "merge",
    meta: Meta = PLAIN,
    order: tuple[str, ...] = (),
) -> Table:
    """A table with the given columns and the time of ingestion."""
    named = {**business, meta.ingested_at: types.LONG}
    return Table(name, tuple(Column(n, t) for n, t in named.items()), meta, key, mode, order)


def finite(type_: pa.DataType, values: Sequence[Any]) -> list[Any]:
    """The values without floats that are NaN or infinite."""
    return [one for one in values if not types.is_float(type_) or one is None or math.isfinite(one)]


_D = decimal.Decimal
_LONG_TEXT = "Ŵé€😀\u202e" * 40_000

# Values of every logical type at their ends: smallest, largest, odd ones, and none.
EXTREMES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "boolean": (types.BOOLEAN, [True, False, None]),
    "byte": (types.BYTE, [-(2**7), 2**7 - 1, None]),
    "short": (types.SHORT, [-(2**15), 2**15 - 1, None]),
    "integer": (types.INTEGER, [-(2**31), 2**31 - 1, None]),
    "long": (types.LONG, [-(2**63), 2**63 - 1, 0, None]),
    "float": (types.FLOAT, [3.4028234663852886e38, -1.401298464324817e-45, float("inf"), float("nan"), None]),
    "double": (
        types.DOUBLE,
        [1.7976931348623157e308, 5e-324, 0.1, float("-inf"), float("inf"), float("nan"), None],
    ),
    "decimal": (types.decimal(10, 2), [_D("99999999.99"), _D("-0.01"), _D("0.00"), None]),
    "decimal_38": (types.decimal(38, 10), [_D("9" * 28 + "." + "9" * 10), _D("-" + "9" * 28 + "." + "9" * 10), None]),
    "decimal_76": (types.decimal(76, 20), [_D("9" * 56 + "." + "9" * 20), _D("-0." + "0" * 19 + "1"), None]),
    "date": (types.DATE, [date.min, date.max, date(1969, 12, 31), None]),
    "time": (types.TIME, [time.min, time.max, time(12, 0, 0, 1), None]),
    "timetz": (types.TIMETZ, ["00:00:00.000000+00:00", "23:59:59.999999-12:30", "12:00:00.000001+14:00", None]),
    "timestamp": (types.TIMESTAMP, [datetime.min, datetime.max, datetime(1969, 12, 31, 23, 59, 59, 999999), None]),
    "timestamptz": (
        types.TIMESTAMPTZ,
        [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC), None],
    ),
    "varchar": (types.VARCHAR, ["", " ", "'; DROP TABLE x; --", "a\r\nb\tc\\", '"', "NULL", _LONG_TEXT, None]),
    "varchar_n": (types.varchar(5), ["12345", "€€€€😀", None]),
    "bytearray": (types.BYTEARRAY, [b"", bytes(range(256)), b"\x00" * 1000, None]),
    "json": (
        types.JSON,
        ['{"a":[1,2.5,null,true,"\\u00e9"],"b":{"c":9007199254740993}}', "[]", '"text"', "null", "1", None],
    ),
    "struct": (
        pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.string())]),
        [{"a": 2**62, "b": 'x"y'}, {"a": None, "b": None}, None],
    ),
    "array": (types.array(types.LONG), [[1, None, 2**62], [], None]),
    "xml": (types.XML, ["<a>é</a>", None]),
    "uuid": (types.UUID, ["123e4567-e89b-12d3-a456-426614174000", None]),
    "geo": (types.GEO, ["POINT(1 2)", None]),
}
