"""Fields of the user's whose names the engine uses itself: they are values like any other."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, START, Rig, items, rig, types
from tests.engine.scripted import deploy, failing, fixed

from millrace.control.failed import raw
from millrace.data import columns
from millrace.data.batch import Checkpoint
from millrace.data.columns import ours, own_names
from millrace.engine.mapping import Mapping

__all__ = ["deploy", "rig", "types"]

THEIRS = {"__hevo_op_type": "D", "__hevo__ingested_at": "then", "__hevo__source_modified_at": "before"}
COLUMNS = ("src_hevo_op_type", "src_hevo_ingested_at", "src_hevo_source_modified_at")


def test_a_users_field_keeps_its_values_on_every_way_and_deletes_nothing(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, n=0, **THEIRS), Checkpoint(1)], [], key=("id",), deletes=True)
    rig.create(options={"keep_raw_s": 86400})
    deploy(failing)
    rig.run()
    assert rig.rejected() == {"TRANSFORM_ERROR": 1}
    rig.clock.advance(60)
    deploy(fixed)
    first = round(START.timestamp() * 1000)
    for n in (1, 2):
        rig.run()
        (row,) = rig.query("SELECT * FROM items")
        assert [row[name] for name in COLUMNS] == ["D", "then", "before"]
        assert (row["n"], row["__hevo__marked_deleted"]) == (1, False)
        # A replay of raw rows gives them a new time, one of refused rows does not.
        assert (row["__hevo__ingested_at"] == first) == (n == 1)
        rig.clock.advance(60)
        raw.replay(rig.home, PIPELINE, since=date(2020, 1, 1), clock=rig.clock, stopping=rig.stopping)


def test_metadata_and_fields_of_the_same_names_stand_side_by_side():
    fields = [ours(columns.OP_TYPE, pa.string()), pa.field(columns.OP_TYPE, pa.int64()), pa.field("src_a", pa.int64())]
    rows = pa.RecordBatch.from_arrays([pa.array(["I"]), pa.array([7]), pa.array([8])], schema=pa.schema(fields))
    assert own_names(rows).to_pylist() == [{columns.OP_TYPE: "I", "src___hevo_op_type": 7, "src_a": 8}]
    plain = pa.RecordBatch.from_pydict({"a": [1], "__hevo_id": [2]})
    assert own_names(plain) is plain


@pytest.mark.parametrize(("ours_", "source"), [(True, columns.INGESTED_AT), (False, "src___hevo__ingested_at")])
def test_columns_of_such_fields_that_were_mapped_before_stay_theirs(ours_: bool, source: str):
    column = {"source": columns.INGESTED_AT, "name": "c", "type": "LONG", "ours": ours_, "exact": True}
    kept = Mapping("items", "items").to_json() | {"columns": [column]}
    assert Mapping.from_json(kept).columns[0].source == source


@pytest.mark.parametrize("deletes", [False, True])
@pytest.mark.parametrize("mode", ["merge", "history"])
@pytest.mark.parametrize("name", sorted({*THEIRS, columns.LOADED_AT, columns.VALID_FROM}))
def test_a_key_of_such_a_name_is_a_key_like_any_other(rig: Rig, name: str, mode: Any, deletes: bool):
    words = [[{name: "x", "v": 1}, {name: "D", "v": 1}], Checkpoint(1)], [[{name: "x", "v": 2}], Checkpoint(2)]
    rig.script.stream("items", *words, [], key=(name,), deletes=deletes)
    rig.create(mode)
    rig.run()
    assert rig.run().balance.loaded == 1
    assert rig.rejected() == {}
    column = "src_" + name.strip("_").replace("__", "_")
    active = "WHERE __hevo__is_active" if mode == "history" else ""
    found = rig.query(f'SELECT "{column}" AS k, v FROM items {active} ORDER BY v')
    assert [tuple(row.values()) for row in found] == [("D", 1), ("x", 2)]
