"""Hypothesis strategies over the closed list of types."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from millrace.data import types

PLAIN: list[pa.DataType] = [
    types.BOOLEAN,
    types.BYTE,
    types.SHORT,
    types.INTEGER,
    types.LONG,
    types.FLOAT,
    types.DOUBLE,
    types.DATE,
    types.TIME,
    types.TIMETZ,
    types.TIMESTAMP,
    types.TIMESTAMPTZ,
    types.VARCHAR,
    types.BYTEARRAY,
    types.JSON,
    types.XML,
    types.UUID,
    types.GEO,
]

decimals = st.integers(1, 76).flatmap(lambda p: st.builds(types.decimal, st.just(p), st.integers(0, p)))
varchars = st.integers(1, 300).map(types.varchar)
scalars = st.one_of(st.sampled_from(PLAIN), decimals, varchars)
field_names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    structs = st.dictionaries(field_names, inner, min_size=1, max_size=3).map(lambda f: pa.struct(list(f.items())))
    return st.one_of(inner.map(types.array), structs)


every_type = st.recursive(scalars, _nested, max_leaves=4)
every_type_or_null = st.one_of(st.just(types.NULL), every_type)
