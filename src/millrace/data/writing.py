"""Values as text, and as JSON text: the forms of loading.md 13, column by column.

Decimals in plain notation, dates and times in ISO 8601, bytes in base64, JSON compact with its keys as they came.
A float is the shortest number that reads back as it.
"""

from __future__ import annotations

import binascii

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.exact import Casted, either, missing, only

# The years 0001 to 9999, in days since 1970. Arrow writes years beyond them wrongly, without an error.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY_US = 86_400_000_000

_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"} | {
    chr(code): f"\\u{code:04x}" for code in range(0x20) if chr(code) not in "\b\t\n\f\r"
}
_MUST_ESCAPE = r'["\\\x00-\x1f]'


def text(values: pa.Array) -> Casted:
    """Values of any logical type as a string array. Bad are dates outside the years 0001 to 9999."""
    match types.kind(values.type):
        case "FLOAT" | "DOUBLE":
            return Casted(_float_text(values))
        case "DECIMAL":
            return Casted(decimal_text(values))
        case "BYTEARRAY":
            return Casted(_base64(values))
        case "DATE":
            known = only(values, _between(values.cast(pa.int32()), _FIRST_DAY, _LAST_DAY))
            return Casted(known.values.cast(pa.string()), known.bad)
        case "TIME":
            known = only(values, _between(values.cast(pa.int64()), 0, _DAY_US - 1))
            return Casted(known.values.cast(pa.string()), known.bad)
        case "TIMESTAMP" | "TIMESTAMPTZ":
            end = (_LAST_DAY + 1) * _DAY_US - 1
            known = only(values, _between(values.cast(pa.int64()), _FIRST_DAY * _DAY_US, end))
            written = pc.replace_substring(known.values.cast(pa.string()), " ", "T", max_replacements=1)
            return Casted(written, known.bad)
        case "STRUCT" | "ARRAY":
            return json_text(values)
        case "NULL" | "BOOLEAN" | "BYTE" | "SHORT" | "INTEGER" | "LONG":
            return Casted(values.cast(pa.string()))
        case _:
            return Casted(types.storage(values))


def json_text(values: pa.Array) -> Casted:
    """Values of any logical type as JSON text; null stays null. Bad are NaN and infinities, at any depth.

    Integers are written with all their digits; decimals as strings.
    """
    match types.kind(values.type) if not _has_null_type(values.type) else "STRUCT":
        case "NULL" | "BOOLEAN" | "BYTE" | "SHORT" | "INTEGER" | "LONG":
            return text(values)
        case "FLOAT" | "DOUBLE":
            finite = only(values, pc.is_finite(values))
            return Casted(finite.values.cast(pa.string()), finite.bad)
        case "JSON":
            return Casted(types.storage(values))
        case "STRUCT" | "ARRAY":
            return _struct_text(values) if pa.types.is_struct(values.type) else _list_text(values)
        case _:
            written = text(values)
            return Casted(quoted(written.values), written.bad)


def quoted(texts: pa.Array) -> pa.Array:
    """Each text as a JSON string."""
    if pc.any(pc.match_substring_regex(texts, _MUST_ESCAPE)).as_py():
        texts = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '\\"')
        if pc.any(pc.match_substring_regex(texts, r"[\x00-\x1f]")).as_py():
            for character, escape in _ESCAPES.items():
                texts = pc.replace_substring(texts, character, escape)
    return pc.binary_join_element_wise('"', texts, '"', "")


def decimal_text(values: pa.Array) -> pa.Array:
    """Decimals in plain notation with all digits of their scale."""
    scale = values.type.scale
    whole = pa.decimal128(38, 0) if pa.types.is_decimal128(values.type) else pa.decimal256(76, 0)
    # The same bits read with scale 0: Arrow writes those without an exponent.
    unscaled = pa.Array.from_buffers(whole, len(values), values.buffers(), offset=values.offset).cast(pa.string())
    if scale == 0:
        return unscaled
    digits = pc.utf8_lpad(pc.utf8_ltrim(unscaled, "-"), scale + 1, "0")
    sign = pc.if_else(pc.starts_with(unscaled, "-"), "-", "")
    return pc.binary_join_element_wise(
        sign,
        pc.utf8_slice_codeunits(digits, 0, -scale),
        ".",
        pc.utf8_slice_codeunits(digits, -scale),
        "",
    )


def shortest(decimals: pa.Array) -> pa.Array:
    """Decimals in plain notation without zeros at the end: the same text in whatever scale the value stands."""
    return without_zeros(decimal_text(decimals))


def without_zeros(plain: pa.Array) -> pa.Array:
    """Text of numbers in plain notation, without zeros at the end behind a point."""
    short = pc.utf8_rtrim(pc.utf8_rtrim(plain, "0"), ".")
    return pc.if_else(pc.match_substring(plain, "."), short, plain)


def list_items(values: pa.Array) -> pa.Array:
    """The items of all lists, one after the other."""
    # With nothing to put together, Arrow's flatten fails for extension types.
    has_items = pc.any(pc.greater(pc.list_value_length(values), 0)).as_py()
    return values.flatten() if has_items else values.values[:0]


def list_offsets(values: pa.Array) -> pa.Array:
    """Offsets into ``list_items``, from 0, a null list being of no length."""
    lengths = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))), pa.int32())


def lists_with(offsets: pa.Array, bad_items: pa.BooleanArray | None) -> pa.BooleanArray | None:
    """The lists that have a bad item."""
    if bad_items is None:
        return None
    seen = np.concatenate(([0], np.cumsum(bad_items.to_numpy(zero_copy_only=False), dtype=np.int64)))
    ends = offsets.to_numpy()
    return pa.array(seen[ends[1:]] > seen[ends[:-1]])


def _struct_text(values: pa.Array) -> Casted:
    parts: list[pa.Array | str] = ["{"]
    bad: pa.BooleanArray | None = None
    for index, child in enumerate(values.flatten()):
        written = json_text(child)
        bad = either(bad, written.bad)
        key = quoted(pa.array([values.type.field(index).name]))[0].as_py()
        parts += [f"{',' if index else ''}{key}:", written.values]
    if len(parts) == 1:
        parts.append(pa.array([""] * len(values), pa.string()))
    joined = pc.binary_join_element_wise(*parts, "}", "", null_handling="replace", null_replacement="null")
    return _without_rows(joined, values, bad)


def _list_text(values: pa.Array) -> Casted:
    items = json_text(list_items(values))
    offsets = list_offsets(values)
    lists = pa.ListArray.from_arrays(offsets, items.values.fill_null("null"))
    joined = pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")
    return _without_rows(joined, values, lists_with(offsets, items.bad))


def _without_rows(joined: pa.Array, values: pa.Array, bad: pa.BooleanArray | None) -> Casted:
    """The text, null where the nested value was null or is bad."""
    gone = either(missing(values), bad)
    return Casted(joined if gone is None else pc.if_else(gone, pa.scalar(None, pa.string()), joined), bad)


def _has_null_type(type_: pa.DataType) -> bool:
    """A nested type of which a part has no type yet; it is written, though it is not in the list."""
    return (pa.types.is_struct(type_) or pa.types.is_list(type_)) and types.canonical(type_) == types.JSON


def _float_text(values: pa.Array) -> pa.Array:
    written = values.cast(pa.string())
    if pc.all(pc.is_finite(values)).as_py() is not False:
        return written
    infinity = pc.if_else(pc.less(values, 0), "-Infinity", "Infinity")
    return pc.if_else(pc.is_nan(values), "NaN", pc.if_else(pc.is_inf(values), infinity, written))


def _between(counts: pa.Array, first: int, last: int) -> pa.BooleanArray:
    # Where Arrow has to find out what a number is, it imports dateutil and looks for pandas.
    least, most = (pa.scalar(count, counts.type) for count in (first, last))
    return pc.and_(pc.greater_equal(counts, least), pc.less_equal(counts, most))


def _base64(values: pa.Array) -> pa.Array:
    def encoded(value: bytes | None) -> bytes | None:
        return None if value is None else binascii.b2a_base64(value, newline=False)

    return pa.array(map(encoded, values.to_pylist()), pa.binary()).cast(pa.string())
