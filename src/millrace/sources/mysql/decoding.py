"""Values as the server wrote them, in their logical types; and which of them have none."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from millrace.connect.mysql.parts import Kind, Part, Wanted
from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.sources.mysql.types import Form, Type


@dataclass(frozen=True, slots=True)
class Decoded:
    """Values; ``bad`` places of those that the logical type cannot say, which are null. ``zeros``: dates without a day,
    which are null too."""

    values: pa.Array
    bad: tuple[int, ...] = ()
    zeros: int = 0


def of_part(part: Part, types_: Sequence[Type]) -> list[Decoded]:
    """All columns of some rows. Raises ArrowInvalid where a value is not of its type."""
    made = part.made([_wanted(type_) for type_ in types_])
    return [
        decoded(part.raw(place), type_)
        if one is None
        else Decoded(_number(one.values, type_.logical) if type_.form == "number" else one.values, zeros=one.zeros)
        for place, (one, type_) in enumerate(zip(made, types_, strict=True))
    ]


_KINDS: dict[Form, Kind] = {
    "text": Kind.TEXT,
    "json": Kind.TEXT,
    "flag": Kind.FLAG,
    "bit": Kind.BIT,
    "day": Kind.DAY,
    "moment": Kind.MOMENT,
    "clock": Kind.CLOCK,
}
_WHOLE = {types.SHORT: Kind.INT16, types.INTEGER: Kind.INT32, types.LONG: Kind.INT64}


def _wanted(type_: Type) -> Wanted:
    kind = _KINDS.get(type_.form) or _WHOLE.get(type_.logical)
    if kind is None and pa.types.is_decimal128(type_.logical):
        kind = Kind.DECIMAL
    if kind is None and type_.form == "number" and pa.types.is_floating(type_.logical):
        return Wanted(Kind.DOUBLE, pa.float64())
    return Wanted(kind, type_.logical) if kind is not None else Wanted(Kind.BYTES, pa.binary())


def decoded(values: Sequence[bytes | None], type_: Type) -> Decoded:
    """A column. Raises ArrowInvalid where a value is not of the type."""
    match type_.form:
        case "bytes":
            return Decoded(pa.array(values, pa.binary()))
        case "number":
            return Decoded(_number(pa.array(values, pa.binary()), type_.logical))
        case "flag":
            bad = tuple(place for place, one in enumerate(values) if one not in (None, b"0", b"1"))
            flags = [None if one not in (b"0", b"1") else one == b"1" for one in values]
            return Decoded(pa.array(flags, pa.bool_()), bad)
        case "bit":
            return Decoded(pa.array([None if one is None else one != b"\0" for one in values], pa.bool_()))
        case "day" | "moment":
            return _moment(values, type_.logical)
        case "clock":
            return _clock(values)
        case "text" | "json":
            return _text(values, type_.logical)


def _number(values: pa.Array, to: pa.DataType) -> pa.Array:
    """Numbers of what the server wrote, unless they are there."""
    if values.type == to:
        return values
    if pa.types.is_floating(values.type):
        return values.cast(to)
    texts = values.cast(pa.string())
    if to == types.FLOAT:
        return texts.cast(pa.float64()).cast(to)
    return texts.cast(to)


def _text(values: Sequence[bytes | None], to: pa.DataType) -> Decoded:
    raw, bad = pa.array(values, pa.binary()), tuple[int, ...]()
    try:
        texts = raw.cast(pa.string())
    except pa.ArrowInvalid:
        bad = tuple(place for place, one in enumerate(values) if not _is_text(one))
        left = set(bad)
        texts = pa.array([None if place in left else one for place, one in enumerate(values)], pa.binary())
        texts = texts.cast(pa.string())
    if isinstance(to, pa.BaseExtensionType):
        texts = pa.ExtensionArray.from_storage(to, texts.cast(to.storage_type))
    return Decoded(texts, bad)


def _is_text(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _moment(values: Sequence[bytes | None], to: pa.DataType) -> Decoded:
    # Without a year, a month or a day: MySQL keeps such dates where its mode allows it.
    zero = [one is not None and (one[:4] == b"0000" or one[5:7] == b"00" or one[8:10] == b"00") for one in values]
    kept = [None if odd else one for odd, one in zip(zero, values, strict=True)]
    texts = pa.array(kept, pa.binary()).cast(pa.string())
    naive = texts.cast(pa.timestamp("us")) if pa.types.is_timestamp(to) else texts
    return Decoded(naive.cast(to), zeros=sum(zero))


def _clock(values: Sequence[bytes | None]) -> Decoded:
    """Times of a day; MySQL's are spans, of up to 838 hours either way."""
    day = [one is None or (one[2:3] == b":" and one[:1] != b"-" and one < b"24") for one in values]
    bad = tuple(place for place, within in enumerate(day) if not within)
    left = set(bad)
    kept = [None if one is None or place in left else b"1970-01-01 " + one for place, one in enumerate(values)]
    moments = pa.array(kept, pa.binary()).cast(pa.string()).cast(pa.timestamp("us"))
    return Decoded(moments.cast(pa.time64("us")), bad)


def mask(places: Sequence[int], length: int) -> pa.BooleanArray:
    """True at the places."""
    return pc.is_in(pa.array(range(length), pa.int64()), pa.array(places, pa.int64()))
