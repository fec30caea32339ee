"""Arrays of foreign Arrow types brought to the closed list (`types.canonical`), value by value exact."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyarrow import types as arrow

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.exact import Casted, either, missing, only, without
from millrace.data.writing import decimal_text, json_text, list_items, list_offsets, lists_with

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY_MS = 86_400_000
_MAX_LONG = 2**63 - 1


def entered(values: pa.Array) -> Casted:
    """The values in the type of the list. Bad are those finer or farther than it can say (nanoseconds, say).

    Raises UnknownType where the list has no type.
    """
    from_, to = values.type, types.canonical(values.type)
    if from_ == to:
        return Casted(values)
    if isinstance(from_, pa.BaseExtensionType):
        return _extension(values, to)
    if arrow.is_dictionary(from_):
        return entered(values.dictionary_decode())
    if arrow.is_run_end_encoded(from_):
        return entered(pc.run_end_decode(values))
    if arrow.is_map(from_):
        entry = pa.struct([("key", from_.key_type), ("value", from_.item_type)])
        return entered(values.cast(pa.list_(entry)))
    if arrow.is_struct(from_):
        return _struct(values, to)
    if arrow.is_nested(from_):
        return _list(values, to)
    if arrow.is_timestamp(from_) or arrow.is_time(from_):
        return _in_micros(values, to)
    if arrow.is_date64(from_):
        millis = values.cast(pa.int64())
        kept = only(values, _is_multiple(millis, _DAY_MS))
        return Casted(kept.values.cast(to), kept.bad)
    if arrow.is_duration(from_):
        return Casted(_duration_text(values))
    if arrow.is_interval(from_):
        return Casted(pa.array(map(_interval_text, values.to_pylist()), pa.string()))
    if arrow.is_decimal(from_) and to == types.VARCHAR:
        return Casted(_long_decimal_text(values))
    return Casted(values.cast(to))


def _extension(values: pa.Array, to: pa.DataType) -> Casted:
    if isinstance(values.type, pa.JsonType):
        return Casted(values.storage.cast(pa.string())).wrapped(to)
    if values.type == pa.uuid():
        return Casted(_uuid_text(values.storage)).wrapped(to)
    if values.type == pa.bool8():
        return Casted(pc.not_equal(values.storage, 0))
    return entered(values.storage)


def _struct(values: pa.Array, to: pa.DataType) -> Casted:
    children = [entered(child) for child in values.flatten()]
    bad: pa.BooleanArray | None = None
    for child in children:
        bad = either(bad, child.bad)
    if not children:
        return json_text(values).wrapped(to)
    fields = [pa.field(values.type.field(i).name, child.values.type) for i, child in enumerate(children)]
    struct = pa.StructArray.from_arrays([c.values for c in children], fields=fields, mask=missing(values))
    return _nested(struct, to, bad)


def _list(values: pa.Array, to: pa.DataType) -> Casted:
    items = entered(list_items(values))
    offsets = list_offsets(values)
    lists = pa.ListArray.from_arrays(offsets, items.values, mask=missing(values))
    return _nested(lists, to, lists_with(offsets, items.bad))


def _nested(values: pa.Array, to: pa.DataType, bad: pa.BooleanArray | None) -> Casted:
    values = without(values, bad)
    if to == types.JSON:
        return json_text(values).wrapped(to).after(bad)
    return Casted(values, bad)


def _in_micros(values: pa.Array, to: pa.DataType) -> Casted:
    per_second = _PER_SECOND[values.type.unit]
    counts = values.cast(pa.int32()).cast(pa.int64()) if arrow.is_time32(values.type) else values.cast(pa.int64())
    if per_second > 1_000_000:
        kept = only(counts, _is_multiple(counts, 1_000))
        micros = pc.divide(kept.values, 1_000)
    else:
        factor = 1_000_000 // per_second
        bound = _MAX_LONG // factor
        kept = only(counts, pc.and_(pc.greater_equal(counts, -bound), pc.less_equal(counts, bound)))
        micros = pc.multiply(kept.values, factor)
    return Casted(micros.cast(to), kept.bad)


def _is_multiple(counts: pa.Array, of: int) -> pa.BooleanArray:
    return pc.equal(counts, pc.multiply(pc.divide(counts, of), of))


def _duration_text(values: pa.Array) -> pa.Array:
    """ISO 8601 in seconds: ``PT1.5S``."""
    scale = len(str(_PER_SECOND[values.type.unit])) - 1
    unscaled = values.cast(pa.int64()).cast(pa.decimal128(19, 0))
    seconds = pa.Array.from_buffers(pa.decimal128(19, scale), len(values), unscaled.buffers(), offset=unscaled.offset)
    written = decimal_text(seconds)
    if scale:
        written = pc.utf8_rtrim(pc.utf8_rtrim(written, "0"), ".")
    return pc.binary_join_element_wise("PT", written, "S", "")


def _interval_text(value: pa.MonthDayNano | None) -> str | None:
    """ISO 8601 with months, days and seconds: ``P14M3DT4.000000005S``."""
    if value is None:
        return None
    sign, nanoseconds = ("-" if value.nanoseconds < 0 else ""), abs(value.nanoseconds)
    seconds = f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}".rstrip("0").rstrip(".")
    return f"P{value.months}M{value.days}DT{sign}{seconds}S"


def _long_decimal_text(values: pa.Array) -> pa.Array:
    """Decimals with zeros in place of a negative scale, which come to more than 76 digits."""
    zeros = "0" * -values.type.scale
    whole = pa.decimal256(76, 0)
    if not arrow.is_decimal256(values.type):
        values = values.cast(pa.decimal256(values.type.precision, values.type.scale))
    digits = pa.Array.from_buffers(whole, len(values), values.buffers(), offset=values.offset).cast(pa.string())
    return pc.if_else(pc.equal(digits, "0"), digits, pc.binary_join_element_wise(digits, zeros, ""))


def _uuid_text(values: pa.Array) -> pa.Array:
    """16 bytes as hexadecimal digits with hyphens."""
    filled = values.fill_null(bytes(16)) if values.null_count else values
    raw = filled.buffers()[1].to_pybytes()[filled.offset * 16 : (filled.offset + len(filled)) * 16]
    digits = pa.array(np.frombuffer(raw.hex().encode(), dtype="S32")).cast(pa.string())
    cuts = (0, 8, 12, 16, 20, 32)
    pieces = [pc.utf8_slice_codeunits(digits, a, b) for a, b in pairwise(cuts)]
    written = pc.binary_join_element_wise(*pieces, "-")
    return pc.if_else(values.is_valid(), written, pa.scalar(None, pa.string()))
