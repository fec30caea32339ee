"""Values as the server wrote them, in their logical types; and which of them have none."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.sources.mysql.types import Type


@dataclass(frozen=True, slots=True)
class Decoded:
    """Values; ``bad`` places of those that the logical type cannot say, which are null. ``zeros``: dates without a day,
    which are null too."""

    values: pa.Array
    bad: tuple[int, ...] = ()
    zeros: int = 0


def decoded(values: Sequence[bytes | None], type_: Type) -> Decoded:
    """A column. Raises ArrowInvalid where a value is not of the type."""
    match type_.form:
        case "bytes":
            return Decoded(pa.array(values, pa.binary()))
        case "number":
            return Decoded(_number(values, type_.logical))
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


def _number(values: Sequence[bytes | None], to: pa.DataType) -> pa.Array:
    texts = pa.array(values, pa.binary()).cast(pa.string())
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
        return value is None or bool(value.decode()) or True
    except UnicodeDecodeError:
        return False


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
