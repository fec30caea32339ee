"""Text as values of other types: numbers, dates and times, bytes, JSON. Bad is what does not exactly say one."""

from __future__ import annotations

import binascii
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.exact import Casted, only
from millrace.data.writing import quoted

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DATE = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,6})0*)?)?"
_ZONE = r"(?P<zone>Z|(?P<sign>[+-])(?P<zone_hour>[0-9]{2})(?::?(?P<zone_minute>[0-9]{2}))?)"
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_DAY_US = 86_400_000_000

# Digits that every float of the type holds, and the size up to which it does.
_SURE: dict[pa.DataType, tuple[int, float]] = {types.DOUBLE: (15, 1e290), types.FLOAT: (6, 1e30)}

Numbers = npt.NDArray[np.int64]


def boolean(texts: pa.Array) -> Casted:
    """``true`` and ``false`` in any case of letters, ``1`` and ``0``."""
    lower = pc.utf8_lower(texts)
    true = pc.is_in(lower, pa.array(["true", "1"]))
    known = only(lower, pc.is_in(lower, pa.array(["true", "1", "false", "0"])))
    return Casted(pc.if_else(known.values.is_valid(), true, pa.scalar(None, pa.bool_())), known.bad)


def whole(texts: pa.Array) -> Casted:
    """Integers as DECIMAL(38,0): an optional sign and digits, no exponent, no point."""
    plain = pc.replace_substring_regex(texts, r"^([+-]?)0+([0-9])", r"\1\2")
    fitting = only(plain, pc.match_substring_regex(plain, r"^[+-]?[0-9]{1,38}$"))
    return Casted(fitting.values.cast(pa.decimal128(38, 0)), fitting.bad)


def decimal(texts: pa.Array, to: pa.DataType) -> Casted:
    """Decimal numbers, also with an exponent. Bad are those with more digits than ``to`` has at either side."""
    numbers = only(texts, pc.match_substring_regex(texts, _NUMBER))
    plain = _without_exponents(numbers.values)
    parts = pc.extract_regex(plain, r"^(?P<sign>[+-]?)0*(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*?)0*)?$")
    before, after = pc.struct_field(parts, "whole"), pc.struct_field(parts, "fraction")
    ok = pc.and_(
        pc.less_equal(pc.utf8_length(before), to.precision - to.scale),
        pc.less_equal(pc.utf8_length(after), to.scale),
    )
    fitting = only(plain, ok)
    point = ["." if to.scale else "", pc.utf8_rpad(after, to.scale, "0")]
    before = before if to.scale else pc.if_else(pc.equal(before, ""), "0", before)
    written = pc.binary_join_element_wise(pc.struct_field(parts, "sign"), before, *point, "")
    written = pc.if_else(fitting.values.is_valid(), written, pa.scalar(None, pa.string()))
    return Casted(written.cast(to), fitting.bad).after(numbers.bad)


def floating(texts: pa.Array, to: pa.DataType) -> Casted:
    """Numbers of which the nearest float is, in its shortest form, the same number; NaN, Infinity, -Infinity."""
    special = pc.is_in(texts, pa.array(["NaN", "Infinity", "-Infinity"]))
    known = only(texts, pc.or_(special, pc.match_substring_regex(texts, _NUMBER)))
    floats = known.values.cast(to)
    digits = pc.replace_substring_regex(known.values, r"[eE].*|[^0-9]", "")
    digits = pc.utf8_length(pc.utf8_trim(digits, "0"))
    most, size = _SURE[to]
    magnitude = pc.abs(floats)
    sure = pc.or_(
        pc.or_(special, pc.equal(digits, 0)),
        pc.and_(pc.less_equal(digits, most), pc.and_(pc.less(magnitude, size), pc.greater(magnitude, 1 / size))),
    )
    asked = np.flatnonzero(pc.and_(known.values.is_valid(), pc.invert(sure)).to_numpy(zero_copy_only=False))
    if len(asked):
        exact = sure.fill_null(False).to_numpy(zero_copy_only=False).copy()
        for row in asked:
            exact[row] = _says_the_same(known.values[row].as_py(), floats[row].as_py(), to)
        sure = pa.array(exact)
    return only(floats, sure).after(known.bad)


def base64(texts: pa.Array) -> Casted:
    """Bytes in base64, with padding, as `writing.text` gives them."""
    found: list[bytes | None] = []
    for value in texts.to_pylist():
        try:
            read = binascii.a2b_base64(value) if value is not None else None
            found.append(read if read is None or binascii.b2a_base64(read, newline=False).decode() == value else None)
        except ValueError:
            found.append(None)
    values = pa.array(found, pa.binary())
    return Casted(values, only(texts, values.is_valid()).bad)


def date(texts: pa.Array) -> Casted:
    """``YYYY-MM-DD`` of the years 0001 to 9999."""
    known, parts = _parts(texts, f"^{_DATE}$")
    days, ok = _days(parts)
    return _integers(texts, days, known & ok, pa.int32(), pa.date32())


def time(texts: pa.Array) -> Casted:
    """``HH:mm[:ss[.ffffff]]``; digits after the sixth must be zeros."""
    known, parts = _parts(texts, f"^{_TIME}$")
    micros, ok = _micros(parts)
    return _integers(texts, micros, known & ok, pa.int64(), types.TIME)


def timestamp(texts: pa.Array, to: pa.DataType) -> Casted:
    """ISO 8601 with ``T`` or a space, or a date alone (its midnight). Offsets lead to UTC, none means UTC."""
    known, parts = _parts(texts, f"^{_DATE}(?:[T ]{_TIME}{_ZONE}?)?$")
    days, right_day = _days(parts)
    micros, right_time = _micros(parts)
    offset, right_zone = _offset(parts)
    return _integers(
        texts, days * _DAY_US + micros - offset, known & right_day & right_time & right_zone, pa.int64(), to
    )


def timetz(texts: pa.Array) -> Casted:
    """A time with its offset, as text in the one form ``HH:mm:ss.SSSSSS+hh:mm``."""
    times, offsets, ok = times_with_offset(texts)
    written = times.cast(pa.string())
    size = np.abs(offsets) // 60_000_000
    hours = pc.utf8_lpad(pa.array(size // 60).cast(pa.string()), 2, "0")
    minutes = pc.utf8_lpad(pa.array(size % 60).cast(pa.string()), 2, "0")
    sign = pa.array(np.where(offsets < 0, "-", "+"), pa.string())
    joined = pc.binary_join_element_wise(written, sign, hours, ":", minutes, "")
    valid = pc.and_(texts.is_valid(), ok)
    return Casted(pc.if_else(valid, joined, pa.scalar(None, pa.string())), only(texts, ok).bad)


def times_with_offset(texts: pa.Array) -> tuple[pa.Array, Numbers, pa.BooleanArray]:
    """Times, their offsets in microseconds, and where the text had both."""
    known, parts = _parts(texts, f"^{_TIME}{_ZONE}$")
    micros, right_time = _micros(parts)
    offset, right_zone = _offset(parts)
    ok = known & right_time & right_zone
    return pa.array(np.where(ok, micros, 0)).cast(types.TIME), offset, pa.array(ok)


def uuid(texts: pa.Array) -> Casted:
    """UUIDs in their form with hyphens, as lower case."""
    lower = pc.utf8_lower(texts)
    return only(lower, pc.match_substring_regex(lower, _UUID))


def json(texts: pa.Array) -> Casted:
    """JSON text as it is; any other text as a JSON string. Bad is only what nests too deep to be checked."""
    maybe = pc.match_substring_regex(texts, r'^[ \t\r\n]*[\[{"tfn0-9-]').fill_null(False)
    rows = np.flatnonzero(maybe.to_numpy(zero_copy_only=False))
    if not len(rows):
        return Casted(quoted(texts))
    is_json, deep = np.zeros(len(texts), bool), np.zeros(len(texts), bool)
    for row, value in zip(rows, texts.take(pa.array(rows)).to_pylist(), strict=True):
        try:
            orjson.loads(value)
            is_json[row] = True
        except orjson.JSONDecodeError as error:
            deep[row] = any(word in str(error).lower() for word in ("recursion", "depth"))
    kept = pc.if_else(pa.array(is_json), texts, quoted(texts))
    return only(kept, pa.array(~deep))


def _without_exponents(numbers: pa.Array) -> pa.Array:
    """The same numbers, those with an exponent written out; null where that would take more than 200 digits."""
    rows = np.flatnonzero(pc.match_substring_regex(numbers, "[eE]").fill_null(False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return numbers
    every: list[str | None] = numbers.to_pylist()
    for row in rows:
        number = Decimal(every[row] or "0")
        every[row] = "0" if not number else f"{number:f}" if abs(number.adjusted()) <= 200 else "9" * 200
    return pa.array(every, pa.string())


def _says_the_same(written: str, value: float, to: pa.DataType) -> bool:
    shortest = str(np.float32(value)) if to == types.FLOAT else repr(value)
    return bool(np.isfinite(value)) and Decimal(shortest) == Decimal(written)


def _parts(texts: pa.Array, pattern: str) -> tuple[npt.NDArray[np.bool_], pa.StructArray]:
    parts = pc.extract_regex(texts, pattern)
    return parts.is_valid().to_numpy(zero_copy_only=False), parts


def _number(parts: pa.StructArray, name: str) -> Numbers:
    """A part as a number; 0 where there is none."""
    part = pc.struct_field(parts, name)
    filled = pc.if_else(pc.equal(part, ""), "0", part).fill_null("0")
    return filled.cast(pa.int64()).to_numpy()


def _days(parts: pa.StructArray) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Days since 1970 and where they are days of the calendar."""
    year, month, day = (_number(parts, name) for name in ("year", "month", "day"))
    months = (year - 1970) * 12 + month - 1
    dates: Any = months.astype("datetime64[M]").astype("datetime64[D]") + (day - 1)
    ok = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    return dates.astype(np.int64), ok & (dates.astype("datetime64[M]").astype(np.int64) == months)


def _micros(parts: pa.StructArray) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Microseconds since midnight and where they are a time of the day."""
    hour, minute, second = (_number(parts, name) for name in ("hour", "minute", "second"))
    fraction = pc.utf8_rpad(pc.struct_field(parts, "fraction"), 6, "0").fill_null("0").cast(pa.int64()).to_numpy()
    ok = (hour <= 23) & (minute <= 59) & (second <= 59)
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction, ok


def _offset(parts: pa.StructArray) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Microseconds east of UTC and where they are an offset."""
    hour, minute = _number(parts, "zone_hour"), _number(parts, "zone_minute")
    west = pc.equal(pc.struct_field(parts, "sign"), "-").fill_null(False).to_numpy(zero_copy_only=False)
    return np.where(west, -1, 1) * (hour * 60 + minute) * 60_000_000, (hour <= 23) & (minute <= 59)


def _integers(
    texts: pa.Array, found: Numbers, ok: npt.NDArray[np.bool_], storage: pa.DataType, to: pa.DataType
) -> Casted:
    values = pa.array(np.where(ok, found, 0), mask=~ok).cast(storage).cast(to)
    return Casted(values, only(texts, pa.array(ok)).bad)
