"""Names of the types of values, as scripts see them, and tests of values. Source: transformations.md 2.3."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_INT, _LONG = 1 << 31, 1 << 63


def type_name(value: Any) -> str:
    """The type's name: `varchar(12)`, `int`, `long`, `decimal(10,2)`, `timestamp`, `array` …; `null` for None."""
    for types, name in _NAMES:
        if isinstance(value, types):
            return name if isinstance(name, str) else name(value)
    return type(value).__name__.lower()


def _integer(value: int) -> str:
    if -_INT <= value < _INT:
        return "int"
    return "long" if -_LONG <= value < _LONG else f"decimal({len(str(abs(value)))},0)"


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        return "decimal"
    _, digits, exponent = value.as_tuple()
    scale = max(-int(exponent), 0)
    return f"decimal({max(len(digits) + max(int(exponent), 0), scale, 1)},{scale})"


# In this order: a boolean is an integer too, and a datetime a date.
_NAMES: tuple[tuple[type | tuple[type, ...], str | Callable[[Any], str]], ...] = (
    (type(None), "null"),
    (str, lambda value: f"varchar({len(value)})"),
    (bool, "boolean"),
    (int, _integer),
    (float, "double"),
    (Decimal, _decimal),
    (dt.datetime, "timestamp"),
    (dt.date, "date"),
    (dt.time, "time"),
    ((bytes, bytearray), "bytearray"),
    (dict, "json"),
    ((list, tuple), "array"),
)


def sayable(text: str) -> str:
    """The text with halves of characters, which no answer can hold, as escapes."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def is_string(value: Any) -> bool:
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    """An integer, a float or a decimal; a boolean is none."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def is_date(value: Any) -> bool:
    """A date without a time."""
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def is_time(value: Any) -> bool:
    """A time of day without a date."""
    return isinstance(value, dt.time)


def is_timestamp(value: Any) -> bool:
    return isinstance(value, dt.datetime)
