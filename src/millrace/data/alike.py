"""Values in forms that are equal where the values are, however a system keeps them."""

from __future__ import annotations

import json
from datetime import time
from decimal import Decimal, InvalidOperation
from typing import Any
from typing import cast as typed

import pyarrow as pa

from millrace.data import json_text, types, writing
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.foreign import entered

_NUMBER = "\0number"


@dataclass(frozen=True, slots=True)
class Form:
    """Values in a form of their type; ``odd``: text of those that are no value of it, else null."""

    values: pa.Array
    odd: pa.Array


def form(values: pa.Array, type_: pa.DataType) -> Form:
    """The form of values as a type has them, from values as any system gave them.

    Whole numbers, moments and booleans are integers; floats DOUBLE, where -0 is 0; decimals text without zeros at the
    end; JSON, objects and arrays text with sorted keys, and numbers that are equal are written alike.
    """
    found = fitted(values, type_)
    return Form(formed(found.values), found.odd)


def fitted(values: pa.Array, type_: pa.DataType) -> Form:
    """Values as a type has them, not in its form yet."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    casted = cast(values, type_, strict=False)
    odd = pa.nulls(len(values), pa.string())
    if casted.bad is not None:
        odd = pc.if_else(casted.bad, _shown(values), odd)
    return Form(casted.values, odd)


def formed(values: pa.Array) -> pa.Array:
    """The form of values that are of their type."""
    match types.kind(values.type):
        case "BOOLEAN" | "BYTE" | "SHORT" | "INTEGER" | "LONG":
            return values.cast(pa.int64())
        case "DATE":
            return values.cast(pa.int32()).cast(pa.int64())
        case "TIME" | "TIMESTAMP" | "TIMESTAMPTZ":
            return values.cast(pa.int64())
        case "FLOAT" | "DOUBLE":
            return pc.add(values.cast(pa.float64()), 0.0)
        case "DECIMAL":
            return writing.shortest(values)
        case "BYTEARRAY":
            return values.cast(pa.binary())
        case "JSON" | "STRUCT" | "ARRAY" | "GEO":
            return pa.array([_json(one) for one in writing.text(values).values.to_pylist()], pa.string())
        case "UUID":
            return pc.utf8_lower(types.storage(values))
        case "TIMETZ":
            return pa.array([_zoned(one) for one in types.storage(values).to_pylist()], pa.string())
        case _:
            return writing.text(values).values.cast(pa.string())


def _shown(values: pa.Array) -> pa.Array:
    found = entered(values)
    written = writing.text(found.values).values
    return pc.coalesce(
        written, pa.array([None if one is None else repr(one) for one in values.to_pylist()], pa.string())
    )


def _json(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return json.dumps(_even(json_text.loads(text)), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _even(value: Any) -> Any:
    """Numbers that are equal are alike; all of them are text with a mark in front, which no number is."""
    match value:
        case bool() | None | str():
            return value
        case int() | float() | Decimal():
            return {_NUMBER: _number(value)}
        case dict():
            return {name: _even(one) for name, one in typed(dict[str, Any], value).items()}
        case _:
            return [_even(one) for one in value]


def _number(value: float | Decimal) -> str:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    if not number.is_finite() or not number:
        return "0" if number == 0 else str(number)
    sign, digits, exponent = number.as_tuple()
    while len(digits) > 1 and digits[-1] == 0:
        digits, exponent = digits[:-1], int(exponent) + 1
    return f"{'-' * sign}{''.join(map(str, digits))}e{exponent}"


def _zoned(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return time.fromisoformat(text).isoformat(timespec="microseconds")
    except ValueError:
        return text
