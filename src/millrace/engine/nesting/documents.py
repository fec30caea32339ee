"""JSON documents read in bulk: as one Arrow array where that is exact, else as Python values with every digit.

Arrow's reader finds the type of every field by itself and refuses mixed ones. It takes some text for moments and rounds
some numbers; documents in which that could happen go the other way.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json

from millrace.data import json_text, types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass

# pyarrow ships no types of it.
reader: Any = pyarrow.json

# Numbers (not text: a mark stands before them) that a double or 64 bits may not hold.
_LONG = r"(^|[\[,:])\s*-?([0-9.]{16,}|[0-9.]+[eE])"
# Those of them that are no integers of 18 digits or fewer.
_INEXACT = r"(^|[\[,:])\s*-?([0-9]{19,}|[0-9]*\.[0-9]{8,}|[0-9]{8,}\.|[0-9.]+[eE])"
# Documents that nest deeper stay text as a whole: what reads them further on has a limit, or crashes.
MOST_NESTING = 100
_STRING = r'"(?:[^"\\]|\\.)*"'
_BLOCK_BYTES = 1 << 20
_MOST_BYTES = 1 << 29
_REST = 16


@dataclass(slots=True)
class Memory:
    """What was learnt about documents so far; it saves time and changes nothing.

    ``texts``: by place, which fields hold text that looks like moments; ``resting``: for how many more batches the fast
    road is not tried, because documents there are mixed.
    """

    texts: dict[tuple[str, ...], pa.DataType] = field(default_factory=dict[tuple[str, ...], pa.DataType])
    resting: Counter[tuple[str, ...]] = field(default_factory=Counter[tuple[str, ...]])


def typed(texts: pa.StringArray, memory: Memory, place: tuple[str, ...], most_depth: int) -> pa.Array | None:
    """The documents as an array of one type; None where that is not possible exactly, or too deep.

    The types are those of `loading.md 13`; a part of which only nulls were seen has the type null.
    """
    if not len(texts) or texts.nbytes > _MOST_BYTES:
        return None
    if memory.resting[place] > 0:
        memory.resting[place] -= 1
        return None
    values = _read(texts, memory, place)
    if values is None or _depth(values.type) > most_depth:
        memory.resting[place] = _REST
        return None
    return _narrowed(values)


def _read(texts: pa.StringArray, memory: Memory, place: tuple[str, ...]) -> pa.Array | None:
    long = pc.match_substring_regex(texts, _LONG)
    has_long = pc.any(long).as_py() or False
    if has_long and pc.any(pc.match_substring_regex(texts.filter(long), _INEXACT)).as_py():
        return None
    if pc.any(pc.match_substring_regex(texts, r"[\r\n]")).as_py() or _too_deep(texts) is not None:
        return None
    lines = pc.binary_join_element_wise('{"v":', texts, "}\n", "", null_handling="replace", null_replacement="null")
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    known = memory.texts.get(place)
    values = _parsed(lines, longest, known)
    if values is not None and (sniffed := _looks_like_moments(values.type)) is not None:
        memory.texts[place] = known = sniffed if known is None else _together(known, sniffed)
        values = _parsed(lines, longest, known)
    if values is None or _looks_like_moments(values.type) is not None or (has_long and _has_double(values.type)):
        return None
    return values


def _too_deep(texts: pa.StringArray) -> pa.BooleanArray | None:
    """Which documents nest deeper than `MOST_NESTING`; None where none does."""
    openers = pc.add(pc.count_substring(texts, "["), pc.count_substring(texts, "{"))
    if (pc.max(openers).as_py() or 0) <= MOST_NESTING:
        return None
    suspects = pc.fill_null(pc.greater(openers, MOST_NESTING), False)
    marks = pc.replace_substring_regex(texts.filter(suspects), _STRING, "")
    deep: list[bool] = []
    for one in pc.replace_substring_regex(marks, r"[^\[\]{}]+", "").to_pylist():
        codes = np.frombuffer(one.encode(), np.uint8)
        steps = np.where((codes == ord("[")) | (codes == ord("{")), 1, -1)
        deep.append(int(np.cumsum(steps).max(initial=0)) > MOST_NESTING)
    if not any(deep):
        return None
    return pc.replace_with_mask(suspects, suspects, pa.array(deep))


def _parsed(lines: pa.StringArray, longest: int, known: pa.DataType | None) -> pa.Array | None:
    schema = None if known is None else pa.schema([pa.field("v", known)])
    try:
        table = reader.read_json(
            pa.BufferReader(lines.buffers()[2]),
            read_options=reader.ReadOptions(block_size=max(_BLOCK_BYTES, 2 * longest)),
            parse_options=reader.ParseOptions(explicit_schema=schema),
        )
        for chunk in table.column(0).chunks:
            chunk.validate()  # arrays of nothing but nulls come out too short
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # mixed kinds, a key twice, no JSON
        return None
    if table.column_names != ["v"] or table.num_rows != len(lines):
        return None
    found = table.column(0).combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _fields(type_: pa.StructType) -> Iterator[pa.Field]:
    return (type_.field(number) for number in range(type_.num_fields))


def _looks_like_moments(type_: pa.DataType) -> pa.DataType | None:
    """The parts of a type that were taken for something that JSON has not, as text; None where there is none."""
    if pa.types.is_struct(type_):
        parts = [(one.name, found) for one in _fields(type_) if (found := _looks_like_moments(one.type)) is not None]
        return pa.struct(parts) if parts else None
    if pa.types.is_list(type_):
        item = _looks_like_moments(type_.value_type)
        return None if item is None else pa.list_(item)
    plain = (pa.null(), pa.bool_(), pa.int64(), pa.float64(), pa.string())
    return None if type_ in plain else pa.string()


def _together(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """What is known from both; the second has the last word."""
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        parts = {one.name: one.type for one in _fields(a)}
        for one in _fields(b):
            parts[one.name] = _together(parts[one.name], one.type) if one.name in parts else one.type
        return pa.struct(list(parts.items()))
    if pa.types.is_list(a) and pa.types.is_list(b):
        return pa.list_(_together(a.value_type, b.value_type))
    return b


def _has_double(type_: pa.DataType) -> bool:
    if pa.types.is_struct(type_):
        return any(_has_double(one.type) for one in _fields(type_))
    return _has_double(type_.value_type) if pa.types.is_list(type_) else type_ == types.DOUBLE


def _depth(type_: pa.DataType) -> int:
    if pa.types.is_struct(type_):
        return 1 + max((_depth(one.type) for one in _fields(type_)), default=0)
    return 1 + _depth(type_.value_type) if pa.types.is_list(type_) else 0


def _narrowed(values: pa.Array) -> pa.Array:
    """Integers as INTEGER where all fit, and null for NaN and infinities."""
    if pa.types.is_struct(values.type) and values.type.num_fields:
        parts = [_narrowed(values.field(number)) for number in range(values.type.num_fields)]
        names = [one.name for one in _fields(values.type)]
        fields = [pa.field(name, part.type) for name, part in zip(names, parts, strict=True)]
        mask = values.is_null() if values.null_count else None
        return pa.StructArray.from_arrays(parts, fields=fields, mask=mask)
    if pa.types.is_list(values.type):
        items = _narrowed(values.values)
        mask = values.is_null() if values.null_count else None
        return pa.ListArray.from_arrays(values.offsets, items, type=pa.list_(items.type), mask=mask)
    if values.type == types.LONG:
        ends = pc.min_max(values).as_py()
        small = ends["min"] is None or (ends["min"] >= -(2**31) and ends["max"] < 2**31)
        return values.cast(types.INTEGER) if small else values
    if values.type == types.DOUBLE and pc.all(pc.is_finite(values)).as_py() is False:
        return pc.if_else(pc.is_finite(values), values, None)
    return values


def loaded(texts: pa.StringArray) -> list[Any]:
    """The documents as Python values, each exactly; text that is no JSON, or no Unicode, stays as it is."""
    deep = _too_deep(texts)
    if deep is not None:
        rest = loaded(pc.if_else(deep, pa.scalar(None, pa.string()), texts))
        return [
            raw if apart else value for raw, apart, value in zip(texts.to_pylist(), deep.to_pylist(), rest, strict=True)
        ]
    raws: list[str | None] = texts.to_numpy(zero_copy_only=False).tolist()
    long = pc.match_substring_regex(texts, _LONG)
    loads = orjson.loads
    if pc.any(long).as_py():
        pairs = zip(raws, long.to_pylist(), strict=True)
        return [None if raw is None else (_value(raw) if odd else _loaded(raw)) for raw, odd in pairs]
    try:
        return [None if raw is None else loads(raw) for raw in raws]
    except ValueError:
        return [None if raw is None else _loaded(raw) for raw in raws]


def _loaded(raw: str) -> Any:
    try:
        return orjson.loads(raw)
    except ValueError:
        return _value(raw)


def _value(raw: str) -> Any:
    try:
        value = json.loads(raw, parse_float=json_text.loads, parse_constant=lambda _: None)
        json.dumps(value, ensure_ascii=False, default=str).encode()  # half a surrogate pair is no Unicode
    except (ValueError, RecursionError):
        return raw
    return value
