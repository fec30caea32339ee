"""Nested values on their way to tables: a whole run of each strategy, arrays that shrink, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.engine.kit import PIPELINE, Rig, rig, types

from millrace.control.failed import rejects
from millrace.control.mapper import mappings
from millrace.data.batch import Checkpoint

__all__ = ["rig", "types"]

ACME: dict[str, Any] = {
    "_id": "o1",
    "name": "Acme",
    "address": {"city": "Pune", "zip": 411001, "lines": ["MG Road", "Camp"]},
    "contact": [{"name": "Ann", "phone_no": ["1", "2"]}, {"name": "Bob", "phone_no": []}],
    "tags": ["x", "y"],
}


def made(rig: Rig, strategy: str, *tales: Any, mode: str = "merge") -> Rig:
    rig.script.stream("orgs", *tales, key=("_id",))
    return rig.create(mode, options={"json_parsing_strategy": strategy})


def tables(rig: Rig) -> set[str]:
    found = rig.query("SELECT table_name AS t FROM information_schema.tables WHERE table_name LIKE 'orgs%'")
    return {row["t"] for row in found}


@pytest.mark.spec("loading.21.4")
def test_the_worked_example_is_split_into_its_tables(rig: Rig):
    record = made(rig, "SPLIT", [[ACME], Checkpoint(1)]).run()
    assert tables(rig) == {"orgs", "orgs_address_lines", "orgs_contact", "orgs_contact_phone_no", "orgs_tags"}
    assert rig.rows("orgs", "_id", "name", "address_city", "address_zip") == [("o1", "Acme", "Pune", 411001)]
    assert rig.rows("orgs_contact", "__hevo_ref_id", "name", "__hevo_array_index", order="3") == [
        ("o1", "Ann", 0),
        ("o1", "Bob", 1),
    ]
    assert rig.rows("orgs_tags", "value", order="__hevo_array_index") == ["x", "y"]
    phones = rig.query(
        "SELECT c.name, p.value FROM orgs_contact_phone_no p JOIN orgs_contact c ON p.__hevo_ref_id = c.__hevo_id "
        "ORDER BY 2"
    )
    assert [tuple(row.values()) for row in phones] == [("Ann", "1"), ("Ann", "2")]
    assert record.balance.even
    assert all(one.even for one in record.streams.values())


@pytest.mark.parametrize("strategy", ["COLLAPSE", "NATIVE", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS", "FLAT"])
def test_other_strategies_keep_one_table(rig: Rig, strategy: str):
    record = made(rig, strategy, [[ACME], Checkpoint(1)]).run()
    assert tables(rig) == {"orgs"}
    assert (record.balance.created, record.balance.even) == (0, True)
    if strategy == "FLAT":
        assert rig.rows("orgs", "address_city", "tags") == [("Pune", '["x","y"]')]
    elif strategy == "COLLAPSE":
        assert json.loads(rig.rows("orgs", "address")[0]) == ACME["address"]
    elif strategy == "NATURAL":
        assert rig.rows("orgs", "address.city", "tags") == [("Pune", '["x","y"]')]


@pytest.mark.spec("loading.21.4")
def test_items_that_are_no_more_are_marked_with_all_below_them(rig: Rig):
    shorter = ACME | {"contact": [{"name": "Bob", "phone_no": ["9"]}], "tags": []}
    made(rig, "SPLIT", [[ACME], Checkpoint(1)], [[shorter], Checkpoint(2)], [[ACME], Checkpoint(3)])
    rig.run()
    rig.clock.advance(60)
    record = rig.run()
    assert rig.rows("orgs_contact", "name", "__hevo__marked_deleted", order="__hevo_array_index") == [
        ("Bob", False),
        ("Bob", True),
    ]
    assert rig.rows("orgs_tags", "__hevo__marked_deleted") == [True, True]
    assert sorted(rig.rows("orgs_contact_phone_no", "value", "__hevo__marked_deleted")) == [("2", True), ("9", False)]
    assert record.balance.even
    rig.clock.advance(60)
    rig.run()
    assert rig.rows("orgs_tags", "__hevo__marked_deleted") == [False, False]
    assert sorted(rig.rows("orgs_contact_phone_no", "value", "__hevo__marked_deleted")) == [("1", False), ("2", False)]


def test_a_full_reload_brings_the_tables_of_items_too(rig: Rig):
    other = ACME | {"_id": "o2", "contact": [{"name": "Eve"}]}
    made(rig, "SPLIT", [[ACME], Checkpoint(1)], [[other], Checkpoint(1)])
    rig.run()
    rig.resync()
    assert rig.rows("orgs", "_id") == ["o2"]
    assert rig.rows("orgs_contact", "name") == ["Eve"]
    assert rig.rows("orgs_contact_phone_no", "value") == []
    assert {table for table in tables(rig) if table.endswith("__fresh")} == set()


def test_an_event_goes_in_whole_or_not_at_all(rig: Rig):
    wrong = ACME | {"_id": None}
    record = made(rig, "SPLIT", [[ACME, wrong], Checkpoint(1)]).run()
    assert rig.rejected() == {"NULL_PRIMARY_KEY": 1}
    assert len(rig.rows("orgs_contact", "name")) == 2
    assert record.balance.even
    (row,) = _rejects(rig)
    assert json.loads(row)["contact"] == ACME["contact"]


def test_an_event_comes_back_once_the_mapping_of_its_items_is_mended(rig: Rig):
    mine = (rig.home, PIPELINE, "orgs_contact_phone_no")
    other = ACME | {"_id": "o2", "contact": [{"phone_no": ["x"]}]}
    made(rig, "SPLIT", [[ACME], Checkpoint(1)], [[other], Checkpoint(2)], [])
    rig.run()
    mappings.change_type(*mine, "value", "INTEGER")
    rig.run()
    (group,) = rejects.grouped(rig.home)
    assert (group.stream, group.rows) == ("orgs", 1)
    assert "orgs_contact_phone_no: column value: the value does not fit INTEGER" in group.sample
    rig.run()
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 1}
    assert rejects.grouped(rig.home)[0].attempts == 0, "nothing has changed"
    mappings.free_type(*mine, "value")
    rig.run()
    assert (rig.rejected(), rig.rows("orgs", "_id")) == ({}, ["o1", "o2"])


def _rejects(rig: Rig) -> list[str]:
    from contextlib import closing

    from millrace.control.failed.rejects import Choice, rows
    from millrace.engine.stage import Stage

    with closing(Stage(rig.home.stage_url)) as stage:
        return [one.row for one in rows(rig.home, stage, Choice())]


def test_a_mended_event_is_taken_apart_as_it_would_have_been(rig: Rig, tmp_path: Any):
    from millrace.control.failed.replay import mend

    wrong = ACME | {"_id": None}
    made(rig, "SPLIT", [[ACME, wrong], Checkpoint(1)]).run()
    from contextlib import closing

    from millrace.control.failed.rejects import Choice, export_to
    from millrace.engine.stage import Stage

    file = tmp_path / "rejects.jsonl"
    with closing(Stage(rig.home.stage_url)) as stage:
        export_to(rig.home, stage, Choice("scripted"), file)
    file.write_text(file.read_text().replace('"_id":null', '"_id":"o9"'))
    mend(rig.home, "scripted", file, clock=rig.clock)
    assert rig.rows("orgs", "_id", order="1") == ["o1", "o9"]
    assert rig.rows("orgs_tags", "__hevo_ref_id", "value", order="1, 2") == [
        ("o1", "x"), ("o1", "y"), ("o9", "x"), ("o9", "y"),
    ]  # fmt: skip


def test_names_stay_over_runs(rig: Rig):
    made(rig, "SPLIT", [[ACME], Checkpoint(1)], [[{"_id": "o2", "address_city": "Goa"}], Checkpoint(2)])
    rig.run()
    rig.run()
    assert rig.rows("orgs", "_id", "address_city", "address_city_1", order="1") == [
        ("o1", "Pune", None),
        ("o2", None, "Goa"),
    ]


def test_what_a_script_makes_is_taken_apart_behind_it(rig: Rig):
    from millrace.control.transforming.transformations import deploy

    made(rig, "SPLIT", [[ACME], Checkpoint(1)])
    deploy(
        rig.home, "scripted", "python",
        "def transform(event):\n    p = event.getProperties()\n    p['tags'].append(p['address']['city'])\n"
        "    return event\n",
    )  # fmt: skip
    record = rig.run()
    assert rig.rows("orgs_tags", "value", order="__hevo_array_index") == ["x", "y", "Pune"]
    assert all(one.even for one in record.streams.values())


def test_the_strategy_is_fixed_by_the_first_load(rig: Rig):
    from dataclasses import replace

    from millrace.control.pipeline import pipelines
    from millrace.errors import ConfigError

    made(rig, "SPLIT", [[ACME], Checkpoint(1)]).run()
    wish = pipelines.find(rig.home, "scripted").wish
    with pytest.raises(ConfigError, match="json_parsing_strategy"):
        pipelines.change(rig.home, "scripted", lambda _: replace(wish, options={}))
