"""Exact casts between the types of the closed list: every cell of the compatibility table (loading.md 16)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

import pyarrow as pa

from millrace.data import reading, types, writing
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import Casted, none_fits, only
from millrace.data.foreign import entered
from millrace.data.types import Kind

__all__ = ["Casted", "Fit", "cast", "fits"]

Fit: TypeAlias = Literal["always", "perhaps", "never"]

_DAY_US = 86_400_000_000
_MAX_MS = (2**63 - 1) // 1000
# Integers up to this size are exact in a float, and are what its shortest form says.
_EXACT_IN: dict[pa.DataType, int] = {types.DOUBLE: 2**53, types.FLOAT: 2**24}


def cast(array: pa.Array, to: pa.DataType, *, strict: bool, measured: bool = False) -> Casted:
    """The values in the type ``to``, each exactly or not at all: nothing is rounded, cut or nulled unseen.

    ``strict`` is the automatic path (loading.md 14, step 1): only conversions that lose nothing, also not that 12
    was a number. A value becomes text or JSON, a number another kind of number that equals it, a date a timestamp;
    text becomes nothing but text or a JSON string. Without ``strict``, the whole table 16 holds, as a person who maps
    a field by hand wants it: text is read, 0 and 1 are booleans, epoch milliseconds are timestamps.

    A float stands for its shortest decimal form, so 0.1 is DECIMAL 0.1. The array may be of a foreign Arrow type.
    ``measured``: the type follows from values (`columns.measured`); a decimal becomes text without zeros at its end.
    Raises UnknownType when ``to`` is not in the list.
    """
    target = types.kind(to)
    start = entered(array)
    values = start.values
    if values.type == to:
        return start
    from_ = types.kind(values.type)
    if from_ == "NULL":
        return Casted(pa.nulls(len(values), to))
    if measured and from_ == "DECIMAL" and target in ("VARCHAR", "JSON"):
        return cast(writing.shortest(values), to, strict=True).after(start.bad)
    route = _ROUTES.get((from_, target))
    if route is None or (strict and not route.lossless):
        return none_fits(values, to).after(start.bad)
    convert = _quoted if strict and from_ == "VARCHAR" and target == "JSON" else route.convert
    return convert(types.storage(values) if from_ in _TEXTS else values, to).wrapped(to).after(start.bad)


def fits(from_: pa.DataType, to: pa.DataType) -> Fit:
    """Whether values of a type load into a column of another when mapped by hand (loading.md 16).

    Where a cell of the table stands for several types, the answer is that of the very two. Floats fit JSON perhaps:
    NaN and infinities have no JSON form.
    """
    from_ = types.canonical(from_)
    source, target = types.kind(from_), types.kind(to)
    if from_ == to or source == "NULL":
        return "always"
    route = _ROUTES.get((source, target))
    if route is None:
        return "never"
    if route.always is not None:
        return "always" if route.always(from_, to) else "perhaps"
    return "perhaps"


@dataclass(frozen=True, slots=True)
class _Route:
    """How values of one kind become another's; ``always`` tells whether all of them do, None says no."""

    convert: Callable[[pa.Array, pa.DataType], Casted]
    always: Callable[[pa.DataType, pa.DataType], bool] | None
    lossless: bool


def _integer_to_integer(values: pa.Array, to: pa.DataType) -> Casted:
    low, high = _bounds(to)
    if to.bit_width < values.type.bit_width:
        kept = only(values, pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high)))
        return Casted(kept.values.cast(to), kept.bad)
    return Casted(values.cast(to))


def _integer_to_decimal(values: pa.Array, to: pa.DataType) -> Casted:
    kept = Casted(values)
    digits = to.precision - to.scale
    if digits < types.INTEGER_DIGITS[types.kind(values.type)]:
        values = values.cast(pa.int64())
        kept = only(values, pc.and_(pc.greater(values, -(10**digits)), pc.less(values, 10**digits)))
    return Casted(kept.values.cast(pa.int64()).cast(pa.decimal128(19, 0)).cast(to), kept.bad)


def _integer_to_float(values: pa.Array, to: pa.DataType) -> Casted:
    limit = _EXACT_IN[to]
    wide = values.cast(pa.int64())
    kept = only(wide, pc.and_(pc.greater_equal(wide, -limit), pc.less_equal(wide, limit)))
    return Casted(kept.values.cast(to), kept.bad)


def _float_to_integer(values: pa.Array, to: pa.DataType) -> Casted:
    limit = _EXACT_IN[values.type]
    kept = only(values, pc.and_(pc.equal(pc.trunc(values), values), pc.less_equal(pc.abs(values), limit)))
    return _integer_to_integer(kept.values.cast(pa.int64()), to).after(kept.bad)


def _float_to_float(values: pa.Array, to: pa.DataType) -> Casted:
    floats = values.cast(to, safe=False)
    if to == types.DOUBLE:
        return Casted(floats)
    return only(floats, pc.or_(pc.equal(floats.cast(types.DOUBLE), values), pc.is_nan(values)))


def _float_to_decimal(values: pa.Array, to: pa.DataType) -> Casted:
    return reading.decimal(writing.text(values).values, to)


def _decimal_to_integer(values: pa.Array, to: pa.DataType) -> Casted:
    kept = only(values, _exact(values, 0))
    if types.INTEGER_DIGITS[types.kind(to)] <= values.type.precision - values.type.scale:
        low, high = (pa.scalar(Decimal(bound), values.type) for bound in _bounds(to))
        whole = kept.values
        kept = only(whole, pc.and_(pc.greater_equal(whole, low), pc.less_equal(whole, high))).after(kept.bad)
    return Casted(kept.values.cast(to), kept.bad)


def _exact(values: pa.Array, scale: int) -> pa.Array:
    """Which decimals need no more digits behind the point."""
    if values.type.scale - scale >= values.type.precision:
        # Arrow rounds none of a type whose values are all smaller than the last digit that stays.
        return pc.equal(values, pa.scalar(Decimal(0), values.type))
    return pc.equal(pc.round(values, ndigits=scale, round_mode="towards_zero"), values)


def _decimal_to_decimal(values: pa.Array, to: pa.DataType) -> Casted:
    kept = Casted(values)
    if to.scale < values.type.scale:
        kept = only(values, _exact(values, to.scale))
    digits = to.precision - to.scale
    if digits < values.type.precision - values.type.scale:
        bound = pa.scalar(Decimal(10) ** digits, values.type)
        size = pc.abs(kept.values)
        kept = only(kept.values, pc.less(size, bound)).after(kept.bad)
    return Casted(kept.values.cast(to), kept.bad)


def _decimal_to_float(values: pa.Array, to: pa.DataType) -> Casted:
    return reading.floating(writing.decimal_text(values), to)


def _boolean_to_number(values: pa.Array, to: pa.DataType) -> Casted:
    bits = values.cast(pa.int8())
    return _integer_to_decimal(bits, to) if types.is_decimal(to) else Casted(bits.cast(to))


def _integer_to_boolean(values: pa.Array, _: pa.DataType) -> Casted:
    kept = only(values, pc.or_(pc.equal(values, 0), pc.equal(values, 1)))
    return Casted(kept.values.cast(pa.bool_()), kept.bad)


def _millis_to_timestamp(values: pa.Array, to: pa.DataType) -> Casted:
    kept = only(values, pc.and_(pc.greater_equal(values, -_MAX_MS), pc.less_equal(values, _MAX_MS)))
    return Casted(pc.multiply(kept.values, 1000).cast(to), kept.bad)


def _timestamp_to_millis(values: pa.Array, _: pa.DataType) -> Casted:
    micros = values.cast(pa.int64())
    millis = pc.divide(micros, 1000)
    return only(millis, pc.equal(pc.multiply(millis, 1000), micros))


def _date_to_timestamp(values: pa.Array, to: pa.DataType) -> Casted:
    days = values.cast(pa.int32()).cast(pa.int64())
    limit = (2**63 - 1) // _DAY_US
    kept = only(days, pc.and_(pc.greater_equal(days, -limit), pc.less_equal(days, limit)))
    return Casted(pc.multiply(kept.values, _DAY_US).cast(to), kept.bad)


def _timestamp_to_date(values: pa.Array, _: pa.DataType) -> Casted:
    micros = values.cast(pa.int64())
    days = pc.divide(micros, _DAY_US)
    kept = only(days, pc.equal(pc.multiply(days, _DAY_US), micros))
    return Casted(kept.values.cast(pa.int32()).cast(pa.date32()), kept.bad)


def _timestamp_to_timestamp(values: pa.Array, to: pa.DataType) -> Casted:
    return Casted(values.cast(pa.int64()).cast(to))


def _time_to_timetz(values: pa.Array, _: pa.DataType) -> Casted:
    written = writing.text(values)
    return Casted(pc.binary_join_element_wise(written.values, "+00:00", ""), written.bad)


def _timetz_to_time(texts: pa.Array, _: pa.DataType) -> Casted:
    times, offsets, ok = reading.times_with_offset(texts)
    kept = only(texts, pc.and_(ok, pa.array(offsets == 0)))
    return Casted(pc.if_else(kept.values.is_valid(), times, pa.scalar(None, times.type)), kept.bad)


def _to_text(values: pa.Array, to: pa.DataType) -> Casted:
    written = writing.text(values)
    length = types.length(to)
    if length is None:
        return written
    return only(written.values, pc.less_equal(pc.utf8_length(written.values), length)).after(written.bad)


def _to_json(values: pa.Array, _: pa.DataType) -> Casted:
    return writing.json_text(values)


def _quoted(texts: pa.Array, _: pa.DataType) -> Casted:
    return Casted(writing.quoted(texts))


def _read_integer(texts: pa.Array, to: pa.DataType) -> Casted:
    read = reading.whole(texts)
    return _decimal_to_integer(read.values, to).after(read.bad)


def _bounds(to: pa.DataType) -> tuple[int, int]:
    return -(2 ** (to.bit_width - 1)), 2 ** (to.bit_width - 1) - 1


def _plain(read: Callable[[pa.Array], Casted]) -> Callable[[pa.Array, pa.DataType], Casted]:
    return lambda texts, _: read(texts)


def _every(_: pa.DataType, __: pa.DataType) -> bool:
    return True


def _longer_type(from_: pa.DataType, to: pa.DataType) -> bool:
    return types.widen(from_, to) == to


def _holds_text(from_: pa.DataType, to: pa.DataType) -> bool:
    limit = types.length(to)
    length = types.length(from_)
    return limit is None or (length is not None and length <= limit)


def _has_no_float(from_: pa.DataType, _: pa.DataType) -> bool:
    if types.is_nested(from_):
        return all(_has_no_float(from_.field(i).type, _) for i in range(from_.num_fields))
    return not types.is_float(from_)


_TEXTS: frozenset[Kind] = frozenset({"VARCHAR", "TIMETZ", "XML", "UUID", "GEO"})
_INTEGERS: tuple[Kind, ...] = ("BYTE", "SHORT", "INTEGER", "LONG")
_FLOATS: tuple[Kind, ...] = ("FLOAT", "DOUBLE")
_MOMENTS: tuple[Kind, ...] = ("TIMESTAMP", "TIMESTAMPTZ")

_Rows: TypeAlias = Iterator[tuple[tuple[Kind, ...], tuple[Kind, ...], Any, Any, bool]]


def _rows() -> _Rows:
    """From, to, how, whether always, whether lossless."""
    yield ("BOOLEAN",), (*_INTEGERS, "DECIMAL", *_FLOATS), _boolean_to_number, None, False
    yield _INTEGERS, ("BOOLEAN",), _integer_to_boolean, None, False
    yield _INTEGERS, _INTEGERS, _integer_to_integer, _longer_type, True
    yield _INTEGERS, ("DECIMAL",), _integer_to_decimal, _longer_type, True
    yield _INTEGERS, ("DOUBLE",), _integer_to_float, _longer_type, True
    yield ("BYTE", "SHORT"), ("FLOAT",), _integer_to_float, _every, True
    yield ("INTEGER", "LONG"), ("FLOAT",), _integer_to_float, None, True
    yield ("LONG",), _MOMENTS, _millis_to_timestamp, None, False
    yield ("DECIMAL",), _INTEGERS, _decimal_to_integer, None, True
    yield ("DECIMAL",), ("DECIMAL",), _decimal_to_decimal, _longer_type, True
    yield ("DECIMAL",), _FLOATS, _decimal_to_float, None, True
    yield _FLOATS, _INTEGERS, _float_to_integer, None, True
    yield _FLOATS, ("DECIMAL",), _float_to_decimal, None, True
    yield _FLOATS, _FLOATS, _float_to_float, _longer_type, True
    yield ("VARCHAR",), ("BOOLEAN",), _plain(reading.boolean), None, False
    yield ("VARCHAR",), _INTEGERS, _read_integer, None, False
    yield ("VARCHAR",), ("DECIMAL",), reading.decimal, None, False
    yield ("VARCHAR",), _FLOATS, reading.floating, None, False
    yield ("VARCHAR",), ("BYTEARRAY",), _plain(reading.base64), None, False
    yield ("VARCHAR",), ("DATE",), _plain(reading.date), None, False
    yield ("VARCHAR",), ("TIME",), _plain(reading.time), None, False
    yield ("VARCHAR",), ("TIMETZ",), _plain(reading.timetz), None, False
    yield ("VARCHAR",), _MOMENTS, reading.timestamp, None, False
    yield ("VARCHAR",), ("UUID",), _plain(reading.uuid), None, False
    yield ("VARCHAR",), ("XML", "GEO"), _to_text, _every, False
    yield ("DATE",), _MOMENTS, _date_to_timestamp, _every, True
    yield ("TIME",), ("TIMETZ",), _time_to_timetz, _every, True
    yield ("TIMETZ",), ("TIME",), _timetz_to_time, None, True
    yield _MOMENTS, ("LONG",), _timestamp_to_millis, None, False
    yield _MOMENTS, ("DATE",), _timestamp_to_date, None, True
    yield _MOMENTS, _MOMENTS, _timestamp_to_timestamp, _every, True
    everything: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "NULL")
    yield everything, ("VARCHAR",), _to_text, _holds_text, True
    yield tuple(kind for kind in everything if kind != "VARCHAR"), ("JSON",), _to_json, _has_no_float, True
    # Strictly, text becomes a JSON string whatever it says (`cast`).
    yield ("VARCHAR",), ("JSON",), _plain(reading.json), None, True


_ROUTES: dict[tuple[Kind, Kind], _Route] = {
    (from_, to): _Route(convert, always, lossless)
    for sources, targets, convert, always, lossless in _rows()
    for from_ in sources
    for to in targets
}
