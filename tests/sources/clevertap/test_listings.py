"""The objects `event_schema` and `user_properties`: all entries, each once, and again when it changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.sources.clevertap.driver import PASSCODE, PROJECT, START, Pipeline, events

from millrace.connect.source import NoMemory
from millrace.data.batch import Refused
from millrace.data.rows import to_rows
from millrace.errors import Transient
from millrace.sources.clevertap import listings, records

Make = Callable[..., Pipeline]
FAULTS: list[dict[str, Any]] = [
    {"effect": "truncate", "times": 1},
    {"effect": "too_many", "times": 2},
    {"effect": "server_error", "status": 503, "times": 2},
    {"effect": "not_ready", "times": 2},
]


def truth(pipeline: Pipeline, kind: str) -> list[dict[str, Any]]:
    headers = {"X-CleverTap-Account-Id": PROJECT, "X-CleverTap-Passcode": PASSCODE}
    with httpx.Client(base_url=pipeline.simulator.base_url, headers=headers) as client:
        return client.get("/getSchema", params={"type": kind}).json()[kind]


def table(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """The last row of each name, its properties as values."""
    found = {row["name"]: {key: value for key, value in row.items() if value is not None} for row in pipeline.log}
    return {
        name: row | ({"properties": json.loads(row["properties"])} if "properties" in row else {})
        for name, row in found.items()
    }


@pytest.mark.parametrize("faults", [[], FAULTS], ids=["quiet", "faults"])
@pytest.mark.parametrize(("stream", "kind"), [("event_schema", "events"), ("user_properties", "userProperties")])
def test_the_table_holds_every_entry_once_and_a_second_run_brings_none(
    make: Make, stream: str, kind: str, faults: Any
) -> None:
    pipeline = make("Charged", account={"users": 20, "days": 10})
    pipeline.stream = stream
    pipeline.mode = "append"
    pipeline.simulator.faults.set([{"path": "/getSchema", **fault} for fault in faults])
    pipeline.run("incremental")
    pipeline.simulator.faults.set([])
    expected = {entry["name"]: entry for entry in truth(pipeline, kind)}
    assert table(pipeline) == expected and len(pipeline.log) == len(expected) > 5
    assert not pipeline.run("incremental")["new"]
    assert len(pipeline.log) == len(expected) and pipeline.passed["repeated"] == len(expected)
    assert len(pipeline.kept.marks) < 300 and all(len(marks) == 1 for marks in pipeline.kept.marks.values())


def test_an_entry_that_changed_comes_again_and_a_new_one_too(make: Make) -> None:
    pipeline = make("Charged", "Login")
    pipeline.stream = "event_schema"
    pipeline.run("incremental")
    assert table(pipeline)["Charged"]["eventCount"] == 0
    pipeline.simulator.add_events(PROJECT, events("Charged", 3) + events("Rated", 1))
    counts = pipeline.run("incremental")
    assert (counts["new"], counts["changed"], counts["repeated"]) == (1, 1, 1)
    assert table(pipeline)["Charged"]["eventCount"] == 3


def test_ordered_again_all_come_where_that_doubles_none(make: Make) -> None:
    for mode, rows in (("merge", 4), ("append", 2)):
        pipeline = make("Charged", "Login")
        pipeline.stream = "event_schema"
        pipeline.mode = mode  # type: ignore[assignment]  one of the two
        pipeline.run("incremental")
        pipeline.run("again")
        assert len(pipeline.log) == rows, mode


def test_a_project_that_nobody_knows_has_no_entries_and_a_catalogue_of_another_form_is_no_empty_one(
    make: Make,
) -> None:
    pipeline = make("Charged")
    pipeline.stream = "event_schema"
    pipeline.settings["project_id"] = "XXX-YYY-ZZZZ"
    pipeline.run("incremental")
    assert not pipeline.log
    del pipeline.settings["project_id"]
    pipeline.simulator.faults.set([{"path": "/getSchema", "effect": "garbage", "shape": "html"}])
    with pytest.raises(Transient):
        pipeline.run("incremental")
    assert not pipeline.log


def test_fields_that_nobody_knows_become_columns_and_values_stay_exact() -> None:
    found = listings.rows_of(
        listings.EVENT_SCHEMA,
        [
            b'{"name":"a","eventCount":"many","owner":"Zo\\u00eb","retentionDays":9007199254740993,"tags":["x",1.50]}',
            b'{"name":7,"properties":[{"name":"p"}],"rate":0.5,"tags":{"a":null}}',
        ],
    )
    first, second = to_rows(found.rows)
    assert (first["eventCount"], first["owner"], first["retentionDays"]) == ("many", "Zoë", "9007199254740993")
    assert found.rows.column("tags").to_pylist() == ['["x",1.50]', '{"a":null}']
    assert (second["name"], second["rate"], second["properties"]) == ("7", 0.5, [{"name": "p"}])
    assert not found.rejects and len(set(found.high.tolist())) == 2


def test_what_is_no_entry_is_rejected_and_can_be_tried_again() -> None:
    bad = [b'{"eventCount":1}', b"17", b'{"name":"\xff"}', b'{"name":{"a":1}}', b'{"name":null}']
    found = listings.rows_of(listings.EVENT_SCHEMA, bad)
    assert [reject.code for reject in found.rejects] == [
        "NULL_PRIMARY_KEY", "UNREADABLE_RECORD", "UNREADABLE_RECORD", "NULL_PRIMARY_KEY", "NULL_PRIMARY_KEY",
    ]  # fmt: skip
    assert not found.rows.num_rows
    told = records.refused("event_schema", found.rejects, START).to_pylist()
    again = listings.rows_of(listings.EVENT_SCHEMA, [told[0]["row"].encode(), b'{"name":"mended"}'])
    items = list(records.retried(again, NoMemory(), "changed", "event_schema", START))
    assert [type(item).__name__ for item in items] == ["Refused", "RecordBatch", "Checkpoint"]
    assert isinstance(items[0], Refused) and items[0].rows.num_rows == 1
