"""The functions of formulas on columns. What these give is what `scalar` says, value by value."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from millrace.data import reading, types, writing
from millrace.data.compute import pc
from millrace.data.exact import of_type
from millrace.engine.blocks import dates, scalar
from millrace.engine.blocks.signatures import regex_replacement
from millrace.engine.blocks.values import Objects, One, Run, Value, flags, opened, texts

Columnar: TypeAlias = Callable[[Run, pa.Array, tuple[Any, ...]], Value | None]

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"


def called(run: Run, name: str, arguments: list[Value]) -> Value:
    """The function for each row; null where its first value is missing."""
    first, *others = map(opened, arguments)
    if first == One(None):
        return first
    columnar, by_value = _FUNCTIONS[name]
    if all(isinstance(other, One) for other in others) and not isinstance(first, One):
        if name not in _TYPED:
            first = _text(run, first)
        if isinstance(first, pa.Array) and columnar is not None:
            constants = tuple(other.value for other in others if isinstance(other, One))
            found = columnar(run, first, constants)
            if found is not None:
                return found
    return run.by_row(by_value, first, *others)


def text_form(value: Value, count: int) -> pa.Array:
    """The text form of every value as VARCHAR; null where it is missing."""
    value = opened(value)
    if isinstance(value, One):
        return pa.array([scalar.text(value.value)] * count, types.VARCHAR)
    written = _text(Run(count), value)
    assert isinstance(written, pa.Array)
    return written


def _text(run: Run, value: Value) -> Value:
    """The text form of every value, as a column."""
    if isinstance(value, Objects):
        return pa.array(map(scalar.text, value.values), types.VARCHAR)
    written = texts(run, value)
    return value if written is None else written


def upper(values: pa.Array) -> pa.Array:
    """Text in upper case, as Python has it (ß is SS)."""
    return _cased(values, pc.ascii_upper, str.upper)


def lower(values: pa.Array) -> pa.Array:
    """Text in lower case, as Python has it."""
    return _cased(values, pc.ascii_lower, str.lower)


def _cased(values: pa.Array, kernel: Callable[[pa.Array], pa.Array], by_value: Callable[[str], str]) -> pa.Array:
    other = pc.invert(pc.string_is_ascii(values)).fill_null(False)
    if not pc.any(other).as_py():
        return kernel(values)
    encoded = values.filter(other).dictionary_encode()
    cased = pa.array([by_value(text) for text in encoded.dictionary.to_pylist()], pa.string())
    plain = kernel(pc.if_else(other, pa.scalar(None, pa.string()), values))
    return pc.replace_with_mask(plain, other, cased.take(encoded.indices))


def replaced(values: pa.Array, find: str, new: str, *, regex: bool = False, exact: bool = True) -> pa.Array:
    """All occurrences replaced; a regular expression is of RE2's syntax, its groups are ``$1`` in ``new``."""
    if not regex and exact:
        return pc.replace_substring(values, find, new)
    pattern = find if regex else re.escape(find)
    put = regex_replacement(new) if regex else new.replace("\\", "\\\\")
    return pc.replace_substring_regex(values, pattern if exact else f"(?i){pattern}", put)


def numbers(run: Run, values: pa.Array, decimals: int | None) -> Value | None:
    """Text as numbers, half up to so many decimals; None where it takes Python to say them."""
    trimmed = pc.ascii_trim(values, " \t\r\n")
    is_number = pc.match_substring_regex(trimmed, _NUMBER)
    wrong = flags(pc.invert(is_number))
    trimmed = run.without(trimmed, wrong, "STRING_TO_NUMBER: the text is no number.")
    if pc.all(pc.match_substring_regex(trimmed, "^[+-]?[0-9]{1,18}$")).as_py() is not False:
        whole = pc.utf8_ltrim(trimmed, "+").cast(types.LONG)
        if not decimals:
            return whole
        return whole.cast(pa.decimal128(19, 0)).cast(pa.decimal128(19 + decimals, decimals)) if decimals < 19 else None
    if decimals is None or pc.any(pc.match_substring_regex(trimmed, "[eE]|[0-9]{18}")).as_py() or decimals > 18:
        return None if not wrong.any() else run.by_row(scalar.number, trimmed, One(decimals))
    after = pc.utf8_length(pc.replace_substring_regex(trimmed, r"^[^.]*\.?", ""))
    exact = reading.decimal(trimmed, types.decimal(38, max(pc.max(after).as_py(), 1))).values
    near = pc.round(exact, ndigits=decimals, round_mode="half_towards_infinity")
    near = near.cast(pa.decimal128(19 + decimals, decimals))
    return near if decimals else near.cast(types.LONG)


def rounded(values: pa.Array, digits: int) -> pa.Array | None:
    """Half up; None where it takes Python to say it."""
    if types.is_integer(values.type):
        return values.cast(types.LONG) if digits >= 0 else None
    if types.is_decimal(values.type):
        scale = values.type.scale
        if digits >= scale:
            return values
        if digits < 0 or values.type.precision > 37:
            return None
        # One digit more: 9.9 becomes 10.
        wider = values.cast(pa.decimal128(values.type.precision + 1, scale))
        near = pc.round(wider, ndigits=digits, round_mode="half_towards_infinity")
        return near.cast(pa.decimal128(values.type.precision + 1 - scale + digits, digits))
    return _rounded_floats(values, digits) if values.type == types.DOUBLE and 0 <= digits <= 15 else None


def _rounded_floats(values: pa.Array, digits: int) -> pa.Array:
    floats = values.fill_null(0.0).to_numpy()
    with np.errstate(all="ignore"):
        moved = np.abs(floats) * 10.0**digits
        near = np.floor(moved + 0.5)
        result = np.copysign(near / 10.0**digits, floats)
        # Where the binary form may hide a tie, and where floats have no digits to spare, the decimal form decides.
        unsure = ~(np.abs(moved - np.floor(moved) - 0.5) > 1e-6 * np.maximum(moved, 1)) | ~(moved < 1e9)
    rows = np.flatnonzero(unsure & values.is_valid().to_numpy(zero_copy_only=False))
    for row in rows:
        result[row] = _rounded_float(float(floats[row]), digits)
    return pa.array(result, mask=values.is_null().to_numpy(zero_copy_only=False))


def _rounded_float(value: float, digits: int) -> float:
    return scalar.rounded(value, digits) if np.isfinite(value) else value


def masked(values: pa.Array) -> pa.Array:
    """A star in place of each character."""
    return pc.replace_substring_regex(values, "(?s).", "*")


def split(values: pa.Array, delimiter: str) -> pa.Array:
    """Text in parts, as JSON arrays."""
    return of_type(writing.json_text(pc.split_pattern(values, delimiter)).values, types.JSON)


def parsed_json(values: pa.Array) -> pa.Array:
    """JSON text as JSON; other text as a JSON string."""
    return of_type(reading.json(values).values, types.JSON)


def _replace(_: Run, values: pa.Array, how: tuple[Any, ...]) -> Value | None:
    regex, case, find, new = ("OTHERS", "MATCH_EXACT", *how) if len(how) == 2 else how
    if find is None or new is None:
        return One(None)
    find, new = scalar.text(find), scalar.text(new)
    return replaced(values, find, new, regex=regex == "REGEX", exact=case == "MATCH_EXACT")


def _number(run: Run, values: pa.Array, how: tuple[Any, ...]) -> Value | None:
    return numbers(run, values, how[0] if how else None) if values.type == types.VARCHAR else None


def _number_text(run: Run, values: pa.Array, how: tuple[Any, ...]) -> Value | None:
    if how[0] in ("", "plain") and (types.is_integer(values.type) or types.is_decimal(values.type)):
        return texts(run, values)
    return None


def _read_date(run: Run, values: pa.Array, how: tuple[Any, ...]) -> Value | None:
    read = dates.reader(how[0])(values)
    if read.bad is not None:
        run.fail(flags(read.bad), f"STRING_TO_DATE: the text is not in the pattern {how[0]!r}.")
    return read.values


def _written_date(run: Run, values: pa.Array, how: tuple[Any, ...]) -> Value | None:
    if values.type not in (types.DATE, types.TIME, types.TIMESTAMP, types.TIMESTAMPTZ):
        return None
    written = dates.writer(how[0])(values)
    if written.bad is not None:
        run.fail(flags(written.bad), "DATE_TO_STRING: a date is outside the years 1 to 9999.")
    return written.values


def _parsed(_: Run, values: pa.Array, __: tuple[Any, ...]) -> Value | None:
    return parsed_json(values) if values.type == types.VARCHAR else values


def _date_of(value: Any, pattern: str) -> Any:
    """One text in a pattern, for constants."""
    if value is None:
        return None
    read = dates.reader(pattern)(pa.array([scalar.text(value)]))
    if read.bad is not None:
        raise ValueError(f"STRING_TO_DATE: the text is not in the pattern {pattern!r}.")
    return read.values[0].as_py()


def _text_of_date(value: Any, pattern: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, (dt.date, dt.time)):
        raise ValueError(f"DATE_TO_STRING takes dates; {scalar.described(value)} is none.")
    return dates.writer(pattern)(pa.array([value])).values[0].as_py()


# Functions whose first value is not taken as text.
_TYPED = frozenset({"STRING_TO_NUMBER", "NUMBER_TO_STRING", "DATE_TO_STRING", "ROUND", "PARSE_JSON"})

_FUNCTIONS: dict[str, tuple[Columnar | None, Callable[..., Any]]] = {
    "LOWER": (lambda _, values, __: lower(values), scalar.lower),
    "UPPER": (lambda _, values, __: upper(values), scalar.upper),
    "TITLE": (None, scalar.title),
    "SNAKE_CASE": (None, scalar.snake_case),
    "REPLACE": (_replace, scalar.replace),
    "SPLIT_FIELDS": (lambda _, values, how: split(values, how[0]), scalar.split),
    "SPLIT_ARRAY": (lambda _, values, how: split(values, how[0]), scalar.split),
    "STRING_TO_NUMBER": (_number, scalar.number),
    "NUMBER_TO_STRING": (_number_text, scalar.number_text),
    "STRING_TO_DATE": (_read_date, _date_of),
    "DATE_TO_STRING": (_written_date, _text_of_date),
    "ROUND": (lambda _, values, how: rounded(values, how[0]), scalar.rounded),
    "HASH": (None, scalar.digest),
    "MASK": (lambda _, values, __: masked(values), scalar.masked),
    "PARSE_JSON": (_parsed, scalar.parsed_json),
}
