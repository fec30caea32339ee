"""Rows as Python dicts brought into an Arrow batch, and a batch as dicts of JSON values."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import reduce
from typing import Any, Literal, TypeAlias

import msgspec
import pyarrow as pa

from millrace.data import columns, json_text, types
from millrace.data.batch import JSON
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.exact import missing, of_type
from millrace.data.foreign import entered
from millrace.data.writing import json_text as json_text_of
from millrace.data.writing import list_items, list_offsets, shortest, text
from millrace.errors import DataError

Values: TypeAlias = list[Any]
_Group: TypeAlias = Literal[
    "boolean", "integer", "float", "text", "json", "decimal", "naive", "aware", "date", "time", "timetz", "span",
    "bytes", "uuid",
]  # fmt: skip

# Integers beyond this are changed by readers of JSON that keep all numbers as floats.
_JSON_EXACT = 2**53
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_OF_TYPE: dict[type, _Group] = {
    bool: "boolean", int: "integer", float: "float", str: "text", dict: "json", list: "json", tuple: "json",
    msgspec.Raw: "json", Decimal: "decimal", dt.date: "date", dt.timedelta: "span", bytes: "bytes",
    bytearray: "bytes", memoryview: "bytes", uuid.UUID: "uuid",
}  # fmt: skip


def to_batch(rows: list[dict[str, JSON]], schema: pa.Schema | None) -> pa.RecordBatch:
    """The rows as one batch: columns of ``schema`` first, then others in the order of their first appearance.

    Without a schema a column's type follows from its values (loading.md 13): text is never taken for a date or a
    number; a field with nothing but nulls gets no column; values of several types meet in the type that holds them
    all exactly. A declared type is kept when every value converts to it exactly, text read in the forms of
    `to_rows`; if not, the column is of the wider type. Dicts and lists become JSON text, `msgspec.Raw` as it is.

    Raises DataError for a value of a foreign Python type and for text that is not Unicode.
    """
    declared = {field.name: field for field in schema} if schema is not None else {}
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    for name in dict.fromkeys([*declared, *(name for row in rows for name in row)]):
        values = [row.get(name) for row in rows]
        try:
            type_ = types.canonical(declared[name].type) if name in declared else None
            array = _inferred(values) if type_ is None else _declared(values, type_)
        except DataError as error:
            raise DataError(f"In field {name!r}: {error.message}", hint=error.hint) from None
        if array is not None:
            arrays.append(array)
            metadata = declared[name].metadata if name in declared else None
            made = pa.field if array.type == type_ else columns.measured
            fields.append(made(name, array.type, metadata=metadata))
    kept = schema.metadata if schema is not None else None
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([]))).replace_schema_metadata(kept)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=kept))


def to_rows(batch: pa.RecordBatch, *, numbers: Literal["safe", "exact"] = "safe") -> list[dict[str, JSON]]:
    """The rows as dicts of values that JSON can say, in the forms of loading.md 13.

    Integers beyond 2^53, decimals, dates, bytes, NaN and infinities are strings, so that nothing is lost; `to_batch`
    with the batch's schema gives the same batch. A value without any such form (nanoseconds, say) is shown as text.
    With "exact", integers and decimals are int and Decimal, which `json_text.dumps` writes as numbers.
    """
    if not batch.num_columns:
        return [{} for _ in range(batch.num_rows)]
    names, exact = batch.schema.names, numbers == "exact"
    shown = [
        _shown(column, exact=exact, measured=columns.is_measured(field))
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*shown, strict=True)]


def to_json(batch: pa.RecordBatch) -> list[str]:
    """Each row as one line of JSON text."""
    return [json_text.dumps(row) for row in to_rows(batch)]


def inferred(values: Values) -> pa.Array | None:
    """The values of one field in the type that they say, as `to_batch` finds it; None where all are null."""
    return _inferred(values)


def _inferred(values: Values) -> pa.Array | None:
    """The values in the type that they say; None where all are null."""
    groups: dict[_Group, Values] = {}
    kinds = {type(value) for value in values} - {type(None)}
    only_group = _OF_TYPE.get(next(iter(kinds))) if len(kinds) == 1 else None
    if only_group is not None:
        groups[only_group] = values
    else:
        for row, value in enumerate(values):
            if value is not None:
                group = _OF_TYPE.get(type(value)) or _group(value)
                if group not in groups:
                    groups[group] = [None] * len(values)
                groups[group][row] = value
    if not groups:
        return None
    arrays = [_ARRAY_OF[group](part) for group, part in groups.items()]
    wider = meeting(arrays)
    # Exact, because the type is at least as wide as each.
    parts = [types.storage(cast(array, wider, strict=True, measured=True).values) for array in arrays]
    return arrays[0] if len(arrays) == 1 else of_type(pc.coalesce(*parts), wider)


def meeting(arrays: list[pa.Array]) -> pa.DataType:
    """The type of a column with these values: DOUBLE for LONG with DOUBLE if it holds all, JSON for numbers and
    booleans beside JSON, else the law's.

    JSON only where the others say the same as JSON and as text: so what a value becomes in a column of text does not
    depend on the rows beside it.
    """
    seen = [array.type for array in arrays]
    numbers = all(types.is_integer(type_) or types.is_float(type_) for type_ in seen)
    floats = numbers and len(seen) > 1 and any(types.is_float(type_) for type_ in seen)
    if floats and all(cast(array, types.DOUBLE, strict=True).bad is None for array in arrays):
        return types.DOUBLE
    plain = [array for array in arrays if not (types.is_json(array.type) or types.is_nested(array.type))]
    if 0 < len(plain) < len(arrays) and all(map(_is_alike, plain)):
        return types.JSON
    return reduce(types.widen, seen)


def _is_alike(array: pa.Array) -> bool:
    """Whether the values are the same as text and as JSON."""
    as_json = json_text_of(array)
    return as_json.bad is None and as_json.values.equals(text(array).values)


def _group(value: object) -> _Group:
    match value:
        case dt.datetime():
            return "naive" if value.tzinfo is None else "aware"
        case dt.time():
            return "time" if value.tzinfo is None else "timetz"
        case _:
            for type_ in type(value).__mro__:
                if group := _OF_TYPE.get(type_):
                    return group
    raise DataError(
        f"A value of the Python type {type(value).__name__} is of no type of Millrace.",
        hint="Yield numbers, text, booleans, dates, bytes, lists and dicts.",
    )


def _declared(values: Values, to: pa.DataType) -> pa.Array:
    if (array := _fitted(values, to)) is not None:
        return array
    array = _inferred(values)
    wider = types.widen(to, types.NULL if array is None else array.type)
    return cast(pa.nulls(len(values)) if array is None else array, wider, strict=True, measured=True).values


def _fitted(values: Values, to: pa.DataType) -> pa.Array | None:
    """The values in the declared type; None where one of them has no exact place there."""
    match types.kind(to):
        case "JSON":
            array = _json(values)
            return array if array.type == to else None
        case "STRUCT":
            return _struct(values, to)
        case "ARRAY":
            return _list(values, to)
        case base:
            if base in ("FLOAT", "DOUBLE"):
                values = [_NOT_FINITE.get(value, value) if type(value) is str else value for value in values]
            array = _inferred(values)
            if array is None:
                return pa.nulls(len(values), to)
            casted = cast(array, to, strict=False, measured=True)
            return casted.values if casted.bad is None else None


def _struct(values: Values, to: pa.StructType) -> pa.Array | None:
    fields = [to.field(i) for i in range(to.num_fields)]
    names = {field.name for field in fields}
    if not all(value is None or (isinstance(value, dict) and value.keys() <= names) for value in values):
        return None
    children: list[pa.Array] = []
    for field in fields:
        child = _fitted([None if value is None else value.get(field.name) for value in values], field.type)
        if child is None:
            return None
        children.append(child)
    return pa.StructArray.from_arrays(
        children, fields=fields, mask=pa.array([value is None for value in values], pa.bool_())
    )


def _list(values: Values, to: pa.ListType) -> pa.Array | None:
    if not all(value is None or isinstance(value, (list, tuple)) for value in values):
        return None
    items = _fitted([item for value in values for item in value or ()], to.value_type)
    if items is None:
        return None
    ends = [0]
    for value in values:
        ends.append(ends[-1] + len(value or ()))
    mask = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items, type=to, mask=mask)


def _integers(values: Values) -> pa.Array:
    present = [value for value in values if value is not None]
    low, high = min(present), max(present)
    if low >= -(2**31) and high < 2**31:
        return pa.array(values, types.INTEGER)
    if low >= -(2**63) and high < 2**63:
        return pa.array(values, types.LONG)
    written = pa.array([None if value is None else str(value) for value in values], pa.string())
    return written.cast(types.decimal(38, 0)) if max(-low, high) < 10**38 else written


def _decimals(values: Values) -> pa.Array:
    """Decimals in the narrowest type that holds them; text beyond 76 digits."""
    present: list[Decimal] = [value for value in values if value is not None]
    written = pa.array([None if value is None else _decimal_text(value) for value in values], pa.string())
    if not all(value.is_finite() and abs(value.adjusted()) <= types.MAX_PRECISION for value in present):
        return written
    whole = max(value.adjusted() + 1 if value else 1 for value in present)
    scale = max(-int(value.as_tuple().exponent) for value in present)
    whole, scale = max(whole, 0), max(scale, 0)
    if not 0 < whole + scale <= types.MAX_PRECISION:
        return written
    return cast(written, types.decimal(whole + scale, scale), strict=False).values


def _decimal_text(value: Decimal) -> str:
    if value.is_nan():
        return "NaN"
    if value.is_infinite():
        return "Infinity" if value > 0 else "-Infinity"
    if abs(value.adjusted()) > 200:
        return str(value)
    # As `writing.shortest` writes those of a batch whose digits a decimal type has.
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _json(values: Values) -> pa.Array:
    """JSON text; plain text (with the word NaN) where a value has something that JSON has not."""
    written: list[str | None] = []
    every_one = True
    for value in values:
        one, is_json = (None, True) if value is None else json_text.dumped(value)
        written.append(one)
        every_one &= is_json
    array = pa.array(written, pa.string())
    return of_type(array, types.JSON) if every_one else array


def _texts(values: Values) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text {error.object!r} is not Unicode: {error.reason}.", hint="Decode it with the right encoding."
        ) from None


def _timetz(values: Values) -> pa.Array:
    written = pa.array([None if value is None else value.isoformat() for value in values], pa.string())
    return cast(written, types.TIMETZ, strict=False).values


def _plain(values: Values) -> pa.Array:
    return pa.array([None if value is None else json_text.plain(value) for value in values], pa.string())


_ARRAY_OF: dict[_Group, Callable[[Values], pa.Array]] = {
    "boolean": lambda values: pa.array(values, types.BOOLEAN),
    "integer": _integers,
    "float": lambda values: pa.array(values, types.DOUBLE),
    "text": _texts,
    "json": _json,
    "decimal": _decimals,
    "naive": lambda values: pa.array(values, types.TIMESTAMP),
    "aware": lambda values: pa.array(values, types.TIMESTAMPTZ),
    "date": lambda values: pa.array(values, types.DATE),
    "time": lambda values: pa.array(values, types.TIME),
    "timetz": _timetz,
    "span": _plain,
    "bytes": lambda values: pa.array([None if v is None else bytes(v) for v in values], types.BYTEARRAY),
    "uuid": lambda values: of_type(_plain(values), types.UUID),
}


def _shown(column: pa.Array, *, exact: bool, measured: bool) -> Values:
    """The values of a column as JSON values; ``exact``: with numbers of Python. ``measured``: as for `cast`."""
    start = entered(column)
    if measured and types.is_decimal(start.values.type):
        written: list[str | None] = shortest(start.values).to_pylist()
        return [None if one is None else Decimal(one) for one in written] if exact else [*written]
    shown = _values(start.values, exact)
    if start.bad is not None:
        for row, bad in enumerate(start.bad.to_pylist()):
            if bad:
                shown[row] = _as_arrow_shows(column[row : row + 1])
    return shown


def _values(values: pa.Array, exact: bool) -> Values:
    match types.kind(values.type):
        case "LONG" | "DECIMAL" if exact:
            return values.to_pylist()
        case "LONG":
            return [
                value if value is None or -_JSON_EXACT <= value <= _JSON_EXACT else str(value)
                for value in values.to_pylist()
            ]
        case "FLOAT" | "DOUBLE":
            return [
                value if value is None or abs(value) < float("inf") else text(pa.array([value])).values[0].as_py()
                for value in values.to_pylist()
            ]
        case "DECIMAL" | "DATE" | "TIME" | "TIMESTAMP" | "TIMESTAMPTZ" | "BYTEARRAY":
            written = text(values)
            if written.bad is None:
                return written.values.to_pylist()
            counts = values.cast(pa.int32() if values.type == types.DATE else pa.int64()).cast(pa.string())
            return pc.if_else(written.bad, counts, written.values).to_pylist()
        case "JSON":
            return list(map(_parsed, values.storage.to_pylist()))
        case "STRUCT":
            names = [values.type.field(i).name for i in range(values.type.num_fields)]
            rows: Iterable[Any] = zip(*(_values(one, exact) for one in values.flatten()), strict=True)
            return _unless_null(values, [dict(zip(names, row, strict=True)) for row in rows])
        case "ARRAY":
            items, ends = _values(list_items(values), exact), list_offsets(values).to_pylist()
            return _unless_null(values, [items[ends[row] : ends[row + 1]] for row in range(len(values))])
        case _:
            return types.storage(values).to_pylist()


def _unless_null(values: pa.Array, shown: Values) -> Values:
    mask = missing(values)
    return shown if mask is None else [None if gone else v for gone, v in zip(mask.to_pylist(), shown, strict=True)]


def _parsed(value: str | None) -> JSON:
    if value is None:
        return None
    try:
        return json_text.loads(value)
    except (ValueError, RecursionError):
        return value


def _as_arrow_shows(cell: pa.Array) -> str:
    try:
        return cell.cast(pa.string())[0].as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return cell.to_string()
