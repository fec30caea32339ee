"""Values at the ends of every type, and how they come back from a destination."""

from __future__ import annotations

import decimal
import json
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa

from millrace.data import types
from millrace.data.cast import cast


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


def back(values: pa.ChunkedArray, type_: pa.DataType) -> list[Any]:
    """Values as they came from a destination, brought into the type that they had, in a form that can be compared."""
    found: list[Any] = []
    for chunk in values.chunks:
        wanted = types.JSON if types.is_nested(type_) else type_
        casted = cast(chunk, wanted, strict=False)
        assert casted.bad is None, f"{chunk.type} does not come back as {type_}"
        found += types.storage(casted.values).to_pylist()
    if types.kind(type_) in ("JSON", "STRUCT", "ARRAY"):
        return [None if value is None else json.loads(value) for value in found]
    if types.kind(type_) == "TIMETZ":
        return [None if value is None else _timetz(value) for value in found]
    if types.is_float(type_):
        return ["nan" if value != value else value for value in found]
    return found


def _timetz(text: str) -> str:
    """Time with offset in one spelling: microseconds in full, minutes of the offset in full."""
    sign = max(text.rfind("+"), text.rfind("-"))
    clock, offset = text[:sign], text[sign:]
    whole, _, micros = clock.partition(".")
    return f"{whole}.{micros.ljust(6, '0')}{offset if ':' in offset else offset + ':00'}"
