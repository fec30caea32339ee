"""Values of PostgreSQL in Arrow, each exactly or not at all: from the driver's binary form, and from the server's text.

A value without a place in its logical type (an infinite date, NaN among decimals) is named as bad.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from millrace.data import reading, types
from millrace.data.compute import pc
from millrace.data.exact import Casted, either, only, without
from millrace.data.writing import without_zeros
from millrace.sources.postgres.types import LEAST_DIGITS, LEAST_SCALE, Form, Type

# The first moment that PostgreSQL has, 4713 BC, in microseconds and in days since 1970. The driver counts from 1970
# where the server counts from 2000, so that infinities and the farthest years come out as numbers before it.
_FIRST_US = -210_866_803_200_000_000
_FIRST_DAY = -2_440_588
_DAY_US = 86_400_000_000
# More than any value has.
_MOST_BYTES = 1 << 30
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?$"
_POINT = r"^\((?P<x>[^,]+),(?P<y>[^)]+)\)$"


def decoded(values: pa.Array, type_: Type) -> Casted:
    """A column as the driver gave it, selected by ``type_.sql``. Text that is no UTF-8 is bad: a database without an
    encoding has it."""
    odd = _odd(types.storage(values))
    if odd is None:
        return _DECODED[type_.form](values, type_)
    found = _DECODED[type_.form](without(values, odd), type_)
    return Casted(found.values, either(found.bad, odd))


def read(texts: pa.Array, type_: Type) -> Casted:
    """A column in the server's text form, of a session set as `types.SESSION` says."""
    if type_.form == "plain":
        return _PLAIN.get(type_.name, _as_text)(texts)
    return _READ[type_.form](texts, type_)


def sound(value: bytes | None) -> bool:
    """The value is UTF-8, or none."""
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _odd(texts: pa.Array) -> pa.BooleanArray | None:
    """Where text is no UTF-8; None where all is."""
    if not pa.types.is_string(texts.type) or _together(texts):
        return None
    odd = [not sound(one) for one in texts.cast(pa.binary()).to_pylist()]
    return pa.array(odd, pa.bool_()) if any(odd) else None


def _together(texts: pa.Array) -> bool:
    """All values in a row are UTF-8, and none begins within a letter: a sixth of the work of looking at each."""
    _, ends, letters = texts.buffers()
    if letters is None or not letters.size:
        return True
    starts = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    first, behind = starts[0], starts[-1]
    whole = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([first, behind])), letters])
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    heads = np.frombuffer(letters, np.uint8)[starts[starts < behind]]
    return not bool(((heads & 0xC0) == 0x80).any())


# From the driver.


def _plain(values: pa.Array, _: Type) -> Casted:
    return Casted(values)


def _storage(values: pa.Array, type_: Type) -> Casted:
    return Casted(types.storage(values)).wrapped(_logical(type_))


def _date(values: pa.Array, _: Type) -> Casted:
    return _not_before(values, pa.int32(), _FIRST_DAY)


def _moment(values: pa.Array, _: Type) -> Casted:
    return _not_before(values, pa.int64(), _FIRST_US)


def _not_before(values: pa.Array, numbers: pa.DataType, first: int) -> Casted:
    counts = values.view(numbers)
    least = pc.min(counts).as_py()
    if least is None or least >= first:
        return Casted(values)
    return only(values, pc.greater_equal(counts, first))


def _numeric(values: pa.Array, type_: Type) -> Casted:
    """Numbers as a driver writes them, which is in plain notation, or decimals that they are already."""
    if pa.types.is_decimal(values.type):
        return Casted(values)
    texts = types.storage(values)
    if type_.logical is None:
        return _decimals(texts)
    if type_.logical == types.VARCHAR:
        # NaN and Infinity as the server writes them.
        words = (("nan", "NaN"), ("-inf", "-Infinity"), ("inf", "Infinity"))
        for driver, server in words:
            if pc.any(pc.equal(texts, driver)).as_py():
                texts = pc.if_else(pc.equal(texts, driver), server, texts)
        return Casted(texts)
    try:
        return Casted(texts.cast(type_.logical))
    except pa.ArrowInvalid:
        numbers = only(texts, pc.match_substring_regex(texts, _NUMBER))
        return Casted(numbers.values.cast(type_.logical), numbers.bad)


def _decimals(texts: pa.Array) -> Casted:
    """Numbers of any size in the narrowest type for all of them, text where that has too many digits."""
    numbers = only(texts, pc.match_substring_regex(texts, _NUMBER))
    whole, fraction = _digits(numbers.values)
    scale = max(fraction, LEAST_SCALE)
    digits = max(whole, LEAST_DIGITS - LEAST_SCALE) + scale
    if digits > types.MAX_PRECISION:
        digits, scale = max(whole, 1) + fraction, fraction
    if digits > types.MAX_PRECISION:
        # As other batches are written where the column is text.
        return Casted(without_zeros(numbers.values), numbers.bad)
    return Casted(numbers.values.cast(types.decimal(digits, scale)), numbers.bad)


def _digits(numbers: pa.Array) -> tuple[int, int]:
    """The most digits before and behind the point."""
    point = pc.find_substring(numbers, ".")
    length = pc.binary_length(numbers)
    behind = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(length, point), 1))
    before = pc.if_else(pc.less(point, 0), length, point)
    return pc.max(before).as_py() or 0, pc.max(behind).as_py() or 0


def _money(values: pa.Array, type_: Type) -> Casted:
    return Casted(_scaled(values, type_))


def _scaled(cents: pa.Array, type_: Type) -> pa.Array:
    """Whole numbers of the smallest unit as decimals: the same bits, read with another scale."""
    bits = cents.cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(_logical(type_), len(bits), bits.buffers(), offset=bits.offset)


def _bits(values: pa.Array, _: Type) -> Casted:
    """Bits without the count in front of them, which the type says."""
    return Casted(_without_count(values))


def _bit(values: pa.Array, _: Type) -> Casted:
    return Casted(pc.equal(_without_count(values), pa.scalar(b"\x80", pa.binary())))


def _without_count(values: pa.Array) -> pa.Array:
    # Without an end Arrow reckons with the greatest number of 64 bits, for each row: of an even count nothing is left.
    return pc.binary_slice(types.storage(values), 4, _MOST_BYTES)


def _point(texts: pa.Array, _: Type) -> Casted:
    parts = pc.extract_regex(texts, _POINT)
    x, y = pc.struct_field(parts, "x"), pc.struct_field(parts, "y")
    finite = pc.invert(pc.match_substring_regex(texts, "(?i)nan|inf"))
    kept = only(texts, finite)
    return Casted(
        pc.if_else(kept.values.is_valid(), pc.binary_join_element_wise('{"x":', x, ',"y":', y, "}", ""), None), kept.bad
    ).wrapped(types.JSON)


# From text.


def _timetz(texts: pa.Array, _: Type) -> Casted:
    """A time with its offset, in the one form that `data` has for it; 24:00 and offsets with seconds have none."""
    return reading.timetz(pc.replace_substring_regex(texts, r"([+-][0-9]{2})$", r"\1:00")).wrapped(types.TIMETZ)


def _as_text(texts: pa.Array) -> Casted:
    return Casted(texts)


def _booleans(texts: pa.Array) -> Casted:
    return Casted(pc.equal(texts, "t"))


def _cast_to(type_: pa.DataType) -> Callable[[pa.Array], Casted]:
    return lambda texts: Casted(texts.cast(type_))


def _bytes(texts: pa.Array) -> Casted:
    return Casted(
        pa.array([bytes.fromhex(one[2:]) if one is not None else None for one in texts.to_pylist()], pa.binary())
    )


def _times(texts: pa.Array) -> Casted:
    parts = pc.extract_regex(texts, r"^(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:\.(?P<f>\d+))?$")
    micros = pa.array(_micros(parts), mask=pc.is_null(texts).to_numpy(zero_copy_only=False))
    return Casted(micros.cast(types.TIME))


def _micros(parts: pa.StructArray) -> np.ndarray:
    h, m, s = (pc.struct_field(parts, name).fill_null("0").cast(pa.int64()).to_numpy() for name in "hms")
    f = pc.struct_field(parts, "f").fill_null("")
    fraction = pc.utf8_rpad(f, 6, "0").cast(pa.int64()).to_numpy()
    return ((h * 60 + m) * 60 + s) * 1_000_000 + fraction


def _varbits(texts: pa.Array) -> Casted:
    """What varbit_send gives: the count of bits in four bytes, and the bits."""
    return Casted(
        pa.array([_counted(one) if one is not None else None for one in texts.to_pylist()], pa.binary()),
    )


def _counted(bits: str) -> bytes:
    return len(bits).to_bytes(4, "big") + _packed(bits)


def _packed(bits: str) -> bytes:
    size = -(-len(bits) // 8)
    return int(bits.ljust(size * 8, "0") or "0", 2).to_bytes(size, "big")


_PLAIN: dict[str, Callable[[pa.Array], Casted]] = {
    "bool": _booleans,
    "int2": _cast_to(types.SHORT),
    "int4": _cast_to(types.INTEGER),
    "int8": _cast_to(types.LONG),
    "oid": _cast_to(types.LONG),
    "float4": _cast_to(types.FLOAT),
    "float8": _cast_to(types.DOUBLE),
    "bytea": _bytes,
    "time": _times,
    "varbit": _varbits,
}


def _json_text(texts: pa.Array, type_: Type) -> Casted:
    return Casted(texts).wrapped(_logical(type_))


def _date_text(texts: pa.Array, _: Type) -> Casted:
    return _calendar(texts, types.DATE, _day_number)


def _moment_text(texts: pa.Array, type_: Type) -> Casted:
    return _calendar(texts, _logical(type_), _micro_number)


def _calendar(texts: pa.Array, to: pa.DataType, number: Callable[[str], int | None]) -> Casted:
    """The usual years at once; those beyond 9999 or BC one by one. Infinities are bad."""
    try:
        return Casted(texts.cast(to))
    except pa.ArrowInvalid:
        found = [number(one) if one is not None else None for one in texts.to_pylist()]
        storage = pa.int32() if to == types.DATE else pa.int64()
        values = pa.array(found, storage)
        return Casted(values.view(to), only(texts, values.is_valid()).bad)


_MOMENT = re.compile(
    r"(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?( BC)?"
)


def _day_number(text: str) -> int | None:
    """Days since 1970."""
    known = _MOMENT.fullmatch(text)
    return None if known is None else _days(int(known[1]), int(known[2]), int(known[3]), known[12] is not None)


def _micro_number(text: str) -> int | None:
    """Microseconds since 1970; None beyond what 64 bits hold."""
    known = _MOMENT.fullmatch(text)
    if known is None:
        return None
    day = _days(int(known[1]), int(known[2]), int(known[3]), known[12] is not None)
    seconds = (int(known[4] or 0) * 60 + int(known[5] or 0)) * 60 + int(known[6] or 0)
    offset = (int(known[9] or 0) * 60 + int(known[10] or 0)) * 60 + int(known[11] or 0)
    seconds += offset if known[8] == "-" else -offset
    micros = day * _DAY_US + seconds * 1_000_000 + int((known[7] or "").ljust(6, "0"))
    return micros if micros < 1 << 63 else None


def _days(year: int, month: int, day: int, before_christ: bool) -> int:
    """Days since 1970 in the Gregorian calendar, carried back and forth; the year before 1 is 1 BC."""
    year = 1 - year if before_christ else year
    # Years that begin in March, in cycles of 400: http://howardhinnant.github.io/date_algorithms.html
    year -= month <= 2
    cycle, of_cycle = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return cycle * 146_097 + of_cycle * 365 + of_cycle // 4 - of_cycle // 100 + of_year - 719_468


def _numeric_text(texts: pa.Array, type_: Type) -> Casted:
    return _numeric(texts, type_)


def _money_text(texts: pa.Array, type_: Type) -> Casted:
    """By its digits alone: what stands between and around them is the server's lc_monetary."""
    digits = pc.replace_substring_regex(texts, "[^0-9]", "")
    amount = pc.if_else(pc.match_substring_regex(texts, r"[-(]"), pc.binary_join_element_wise("-", digits, ""), digits)
    return Casted(_scaled(amount.cast(pa.int64()), type_))


def _bit_text(texts: pa.Array, _: Type) -> Casted:
    return Casted(pc.equal(texts, "1"))


def _bits_text(texts: pa.Array, _: Type) -> Casted:
    return Casted(pa.array([_packed(one) if one is not None else None for one in texts.to_pylist()], pa.binary()))


def _logical(type_: Type) -> pa.DataType:
    assert type_.logical is not None
    return type_.logical


_DECODED: dict[Form, Callable[[pa.Array, Type], Casted]] = {
    "plain": _plain,
    "storage": _storage,
    "date": _date,
    "moment": _moment,
    "numeric": _numeric,
    "money": _money,
    "bit": _bit,
    "bits": _bits,
    "timetz": _timetz,
    "point": _point,
}
_READ: dict[Form, Callable[[pa.Array, Type], Casted]] = {
    "storage": _json_text,
    "date": _date_text,
    "moment": _moment_text,
    "numeric": _numeric_text,
    "money": _money_text,
    "bit": _bit_text,
    "bits": _bits_text,
    "timetz": _timetz,
    "point": _point,
}


def shown(value: pa.Array, type_: Type) -> str:
    """One value that is bad, as the driver gave it, in the server's words."""
    if type_.form == "date":
        return _infinite(value.view(pa.int32())[0].as_py(), _INFINITE_DAY) or "beyond what can be carried"
    if type_.form == "moment":
        return _infinite(value.view(pa.int64())[0].as_py(), _INFINITE_US) or "beyond what can be carried"
    stored = types.storage(value)
    if pa.types.is_string(stored.type):
        stored = stored.cast(pa.binary())
    one = stored[0].as_py()
    text = one.decode(errors="replace") if isinstance(one, bytes) else str(one)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


# Infinities as the driver gives them: the greatest number, the years from 1970 to 2000 added to it, in 32 or 64 bits.
_INFINITE_DAY = (2**31 - 1 + 10_957) - 2**32
_INFINITE_US = (2**63 - 1 + 946_684_800_000_000) - 2**64


def _infinite(value: int, infinity: int) -> str | None:
    return {infinity: "infinity", infinity + 1: "-infinity"}.get(value)
