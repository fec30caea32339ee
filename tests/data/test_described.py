"""A schema that was written as JSON is the same schema."""

from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.strategies import every_type, field_names

from millrace.data.columns import ID, is_ours, ours
from millrace.data.described import as_described, described


def test_metadata_of_ours_is_told_from_a_field_of_the_same_name() -> None:
    schema = pa.schema([ours(ID, pa.string()), pa.field("__hevo_x", pa.string()), pa.field("nothing", pa.null())])
    assert json.loads(described(schema)) == {ID: "ours VARCHAR", "__hevo_x": "VARCHAR"}
    assert [(one.name, is_ours(one)) for one in as_described(described(schema))] == [(ID, True), ("__hevo_x", False)]


@settings(max_examples=80)
@given(st.dictionaries(field_names, every_type, max_size=4))
def test_every_schema_comes_back_as_it_was(fields: dict[str, pa.DataType]) -> None:
    schema = pa.schema(list(fields.items()))
    assert as_described(described(schema)).equals(schema)
