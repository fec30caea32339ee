"""Nested values as Arrow structs and lists (NATURAL, COLLAPSE_EXCEPT_ARRAYS)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.exact import missing, of_type
from millrace.data.json_text import dumps
from millrace.data.rows import inferred
from millrace.data.writing import list_items, list_offsets
from millrace.engine.nesting.documents import loaded
from millrace.engine.nesting.levels import MOST_DEPTH
from millrace.engine.nesting.texts import as_text

Values = list[Any]


def record(values: pa.Array, known: pa.DataType | None, *, lists: bool) -> pa.Array:
    """A column with objects as STRUCT and arrays as text; with ``lists``, arrays that are the value itself as ARRAY.

    ``known``: the type that the column had before; its fields stay, though they may be without a value now. Where kinds
    are mixed, or nothing tells a type, the column is JSON; so is what lies deeper than `MOST_DEPTH`. Only nulls: of the
    type null.
    """
    found = _of_array(values, known, lists=lists)
    if known is None or not types.is_nested(found.type):
        return found
    wanted = joined(known, found.type)
    return fitted(found, wanted) if types.is_nested(wanted) else found


def _of_array(values: pa.Array, known: pa.DataType | None, *, lists: bool, depth: int = 0) -> pa.Array:
    """``depth``: the objects and arrays around the values."""
    if types.is_json(values.type):
        return _of_values(loaded(types.storage(values)), known, lists=lists, depth=depth)
    if depth >= MOST_DEPTH and types.is_nested(values.type):
        return of_type(as_text(values), types.JSON)
    if pa.types.is_struct(values.type):
        names = [values.type.field(number).name for number in range(values.type.num_fields)]
        parts = [
            _of_array(part, _part(known, name), lists=False, depth=depth + 1)
            for name, part in zip(names, values.flatten(), strict=True)
        ]
        return _struct(names, parts, missing(values), known, lambda: as_text(values))
    if pa.types.is_list(values.type):
        if not lists:
            return as_text(values)
        items = _of_array(list_items(values), _item(known), lists=False, depth=depth + 1)
        return _list(list_offsets(values), items, missing(values), known, lambda: as_text(values))
    return values


def joined(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The type of structs or lists with all that is in both; JSON where only one is such; else that of `widen`."""
    if a == b:
        return a
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        parts = {part.name: part.type for part in (a.field(number) for number in range(a.num_fields))}
        for part in (b.field(number) for number in range(b.num_fields)):
            parts[part.name] = joined(parts[part.name], part.type) if part.name in parts else part.type
        return pa.struct(list(parts.items()))
    if pa.types.is_list(a) and pa.types.is_list(b):
        return types.array(joined(a.value_type, b.value_type))
    either = (types.is_nested(one) or types.is_json(one) for one in (a, b))
    return types.JSON if any(either) else types.widen(a, b)


def fitted(values: pa.Array, to: pa.DataType) -> pa.Array:
    """The values in a type that `joined` made of theirs and another."""
    if values.type == to:
        return values
    if pa.types.is_struct(to) and pa.types.is_struct(values.type):
        parts = dict(
            zip((values.type.field(n).name for n in range(values.type.num_fields)), values.flatten(), strict=True)
        )
        fields = [to.field(number) for number in range(to.num_fields)]
        made = [
            fitted(parts[one.name], one.type) if one.name in parts else pa.nulls(len(values), one.type)
            for one in fields
        ]
        return pa.StructArray.from_arrays(made, fields=fields, mask=missing(values))
    if pa.types.is_list(to) and pa.types.is_list(values.type):
        items = fitted(list_items(values), to.value_type)
        return pa.ListArray.from_arrays(list_offsets(values), items, type=to, mask=missing(values))
    return cast(values, to, strict=True).values  # exact, because the type is at least as wide


def _of_values(values: Values, known: pa.DataType | None, *, lists: bool, depth: int) -> pa.Array:
    kinds = set(map(type, values)) - {type(None)}
    if depth >= MOST_DEPTH and kinds & {dict, list}:
        return of_type(_texts(values), types.JSON)
    if kinds == {dict}:
        keys = list(dict.fromkeys(chain.from_iterable(one for one in values if one)))
        parts = [
            _of_values(
                [None if one is None else one.get(key) for one in values],
                _part(known, key),
                lists=False,
                depth=depth + 1,
            )
            for key in keys
        ]
        return _struct(keys, parts, _gone(values), known, lambda: _texts(values))
    if kinds == {list}:
        if not lists:
            return _texts(values)
        inner = list(chain.from_iterable(one or () for one in values))
        items = _of_values(inner, _item(known), lists=False, depth=depth + 1)
        ends = np.concatenate(([0], np.cumsum([len(one or ()) for one in values])))
        return _list(pa.array(ends, pa.int32()), items, _gone(values), known, lambda: _texts(values))
    if kinds & {dict, list}:
        return of_type(_texts(values), types.JSON)
    found = inferred(values)
    return pa.nulls(len(values)) if found is None else found


def _struct(
    names: list[str],
    parts: list[pa.Array],
    mask: pa.Array | None,
    known: pa.DataType | None,
    text: Callable[[], pa.Array],
) -> pa.Array:
    """A struct of those parts that have a type; where none has, what it was before, or JSON."""
    pairs = {name: part for name, part in zip(names, parts, strict=True) if part.type != types.NULL}
    fields = [pa.field(name, part.type) for name, part in pairs.items()]
    if not pairs:
        if known is None or not pa.types.is_struct(known):
            return of_type(text(), types.JSON)
        fields = [known.field(number) for number in range(known.num_fields)]
        pairs = {one.name: pa.nulls(len(text()), one.type) for one in fields}
    return pa.StructArray.from_arrays(list(pairs.values()), fields=fields, mask=mask)


def _list(
    offsets: pa.Array, items: pa.Array, mask: pa.Array | None, known: pa.DataType | None, text: Callable[[], pa.Array]
) -> pa.Array:
    if items.type == types.NULL:
        if known is None or not pa.types.is_list(known):
            return of_type(text(), types.JSON)
        items = pa.nulls(len(items), known.value_type)
    return pa.ListArray.from_arrays(offsets, items, type=types.array(items.type), mask=mask)


def _part(known: pa.DataType | None, name: str) -> pa.DataType | None:
    if known is None or not pa.types.is_struct(known) or (place := known.get_field_index(name)) < 0:
        return None
    return known.field(place).type


def _item(known: pa.DataType | None) -> pa.DataType | None:
    return known.value_type if known is not None and pa.types.is_list(known) else None


def _texts(values: Values) -> pa.Array:
    return pa.array([None if value is None else dumps(value) for value in values], pa.string())


def _gone(values: Values) -> pa.Array | None:
    mask = pa.array([value is None for value in values], pa.bool_())
    return mask if pc.any(mask).as_py() else None
