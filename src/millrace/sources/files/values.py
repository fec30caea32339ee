"""Columns of text in the type that their values say.

Only text that a type writes the same way is taken for a value of it: `007` is no number and `1e5` stays text, so that a
column which turns out to be text later on says what the file said. A type of decimals or of times has one number of
digits behind the point for all of its values: times are such where all of a batch are written in one form, decimals
where all have as many digits, or none has a zero at its end.
"""

from __future__ import annotations

import pyarrow as pa

from millrace.data import columns, types
from millrace.data.cast import cast
from millrace.data.compute import pc

_WHOLE = r"^(0|-?[1-9][0-9]*)$"
_FRACTION = r"^(-0\.[0-9]*[1-9][0-9]*|(0|-?[1-9][0-9]*)\.[0-9]+)$"
_SHORTEST = r"^(0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]*[1-9])$"
_TRUTH = r"^(true|false)$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z?$"


def typed(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows; each column of text is of the narrowest type that all of its values are written in."""
    arrays = [_typed(column) if pa.types.is_string(column.type) else column for column in rows.columns]
    fields = [
        # Zeros that a type would add to numbers with fewer digits behind the point are not theirs.
        (
            columns.measured
            if pa.types.is_string(column.type) and pa.types.is_decimal(array.type) and not _even(column)
            else pa.field
        )(name, array.type)
        for name, column, array in zip(rows.schema.names, rows.columns, arrays, strict=True)
    ]
    # Rows without a field are rows, which are not counted where there is no column.
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)) if fields else rows


def _typed(column: pa.Array) -> pa.Array:
    there = column.drop_null()
    if not len(there):
        # Of values that nobody saw nothing is known.
        return pa.nulls(len(column))
    first = there[0].as_py()
    if not first or first[0] not in "-0123456789tf":
        return column
    if _all(there, _WHOLE):
        return _whole(column, there)
    if (_even(there) and _all(there, _FRACTION)) or _all(there, _SHORTEST):
        return _decimal(column, there)
    if _all(there, _TRUTH):
        return pc.equal(column, "true")
    if _all(there, _DATE):
        to = types.DATE
    elif _all(there, _MOMENT) and _alike(there, first):
        to = types.TIMESTAMPTZ if first[-1] == "Z" else types.TIMESTAMP
    else:
        return column
    # A day that no calendar has leaves the column as text.
    found = _cast(column, to)
    return column if found is None else found


def _even(there: pa.Array) -> bool:
    """Whether all have as many digits behind the point."""
    found = pc.min_max(_behind(there)).as_py()
    return found["min"] == found["max"]


def _behind(numbers: pa.Array) -> pa.Array:
    at = pc.find_substring(numbers, ".")
    return pc.if_else(pc.less(at, 0), 0, pc.subtract(pc.subtract(pc.binary_length(numbers), at), 1))


def _alike(there: pa.Array, first: str) -> bool:
    """Whether all moments are written as the first: with its sign before the hours, as many digits, and Z or not."""
    length = pc.min_max(pc.binary_length(there)).as_py()
    same = length["min"] == length["max"] and _all(there, f"^.{{10}}{first[10]}")
    return same and _all(there, "Z$" if first[-1] == "Z" else "[0-9]$")


def _all(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _whole(column: pa.Array, there: pa.Array) -> pa.Array:
    longest = pc.max(pc.binary_length(there)).as_py()
    if longest > 18:
        digits = min(max(longest, 38), types.MAX_PRECISION)
        for to in (types.LONG, types.decimal(digits, 0)):
            if (found := _cast(column, to)) is not None:
                return found
        return column
    numbers = column.cast(types.LONG)
    low, high = pc.min_max(numbers).as_py().values()
    return numbers.cast(types.INTEGER) if low >= -(2**31) and high < 2**31 else numbers


def _decimal(column: pa.Array, there: pa.Array) -> pa.Array:
    unsigned = pc.utf8_ltrim(there, "-")
    sizes = pc.binary_length(unsigned)
    at = pc.find_substring(unsigned, ".")
    whole = pc.max(pc.if_else(pc.less(at, 0), sizes, at)).as_py()
    behind = pc.max(_behind(there)).as_py()
    if whole + behind > types.MAX_PRECISION:
        return column
    found = _cast(column, types.decimal(whole + behind, behind))
    return column if found is None else found


def _cast(column: pa.Array, to: pa.DataType) -> pa.Array | None:
    casted = cast(column, to, strict=False)
    return casted.values if casted.bad is None else None
