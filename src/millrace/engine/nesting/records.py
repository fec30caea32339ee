"""Nested values as Arrow structs and lists (NATURAL, COLLAPSE_EXCEPT_ARRAYS)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.exact import missing, of_type
from millrace.data.json_text import dumps
from millrace.data.rows import inferred
from millrace.data.writing import list_items, list_offsets
from millrace.engine.nesting.documents import loaded
from millrace.engine.nesting.texts import as_text

Values = list[Any]


def record(values: pa.Array, *, lists: bool) -> pa.Array:
    """A column with objects as STRUCT and arrays as text; with ``lists``, arrays that are the value itself as ARRAY.

    Where kinds are mixed it is JSON. Only nulls: of the type null.
    """
    if types.is_json(values.type):
        return _of_values(loaded(types.storage(values)), lists=lists)
    if pa.types.is_struct(values.type):
        names = [values.type.field(number).name for number in range(values.type.num_fields)]
        parts = [record(part, lists=False) for part in values.flatten()]
        return _struct(names, parts, missing(values), lambda: as_text(values))
    if pa.types.is_list(values.type):
        if not lists:
            return as_text(values)
        items = record(list_items(values), lists=False)
        return _list(list_offsets(values), items, missing(values), lambda: as_text(values))
    return values


def _of_values(values: Values, *, lists: bool) -> pa.Array:
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {dict}:
        keys = list(dict.fromkeys(chain.from_iterable(one for one in values if one)))
        parts = [_of_values([None if one is None else one.get(key) for one in values], lists=False) for key in keys]
        return _struct(keys, parts, _gone(values), lambda: _texts(values))
    if kinds == {list}:
        if not lists:
            return _texts(values)
        items = _of_values(list(chain.from_iterable(one or () for one in values)), lists=False)
        ends = np.concatenate(([0], np.cumsum([len(one or ()) for one in values])))
        return _list(pa.array(ends, pa.int32()), items, _gone(values), lambda: _texts(values))
    if kinds & {dict, list}:
        return of_type(_texts(values), types.JSON)
    found = inferred(values)
    return pa.nulls(len(values)) if found is None else found


def _struct(names: list[str], parts: list[pa.Array], mask: pa.Array | None, text: Callable[[], pa.Array]) -> pa.Array:
    """A struct of those parts that have a type, or JSON where none has."""
    fields = [pa.field(name, part.type) for name, part in zip(names, parts, strict=True)]
    known = [number for number, one in enumerate(fields) if one.type != types.NULL]
    if not known:
        return of_type(text(), types.JSON)
    return pa.StructArray.from_arrays([parts[n] for n in known], fields=[fields[n] for n in known], mask=mask)


def _list(offsets: pa.Array, items: pa.Array, mask: pa.Array | None, text: Callable[[], pa.Array]) -> pa.Array:
    if items.type == types.NULL:
        return of_type(text(), types.JSON)
    return pa.ListArray.from_arrays(offsets, items, type=types.array(items.type), mask=mask)


def _texts(values: Values) -> pa.Array:
    return pa.array([None if value is None else dumps(value) for value in values], pa.string())


def _gone(values: Values) -> pa.Array | None:
    mask = pa.array([value is None for value in values], pa.bool_())
    return mask if pc.any(mask).as_py() else None
