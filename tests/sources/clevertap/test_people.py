"""The object `profiles`: each person once, as the simulator's own records say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest
from tests.sources.clevertap.driver import PASSCODE, PROJECT, START, Crash, Pipeline, events

from millrace.connect.source import NoMemory, Slice
from millrace.data.batch import Checkpoint, Refused
from millrace.sources.clevertap import people, records

Make = Callable[..., Pipeline]
JSONS = ("profileData", "events", "platformInfo")


def of_people(make: Make, *names: str, **more: Any) -> Pipeline:
    pipeline = make(*names, **more)
    pipeline.stream = people.PROFILES
    return pipeline


def truth(pipeline: Pipeline, *names: str) -> dict[str, dict[str, Any]]:
    """The people who did one of these events in the last 31 days, as another API tells of each: by who they are."""
    simulator = pipeline.simulator
    headers = {"X-CleverTap-Account-Id": PROJECT, "X-CleverTap-Passcode": PASSCODE}
    found: dict[str, dict[str, Any]] = {}
    with httpx.Client(base_url=simulator.base_url, headers=headers) as client:
        for device in sorted({row.objectId for row in simulator.ledger(PROJECT, date(2026, 2, 12), date(2026, 3, 14))
                              if not names or row.event_name in names}):  # fmt: skip
            record = client.get("/1/profile.json", params={"objectId": device}).json()["record"]
            found[record.get("identity") or device] = {"profileData": {}} | record
    return found


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the record that it was."""
    record = {name: row[name] for name in ("identity", "email", "name") if row[name] is not None}
    record |= {"phone": int(row["phone"])} if row["phone"] is not None else {}
    return record | {name: json.loads(row[name]) for name in JSONS if row[name] is not None}


def told(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    assert len({row["identity"] or row["objectId"] for row in pipeline.table.values()}) == len(pipeline.table)
    return {row["identity"] or row["objectId"]: shown(row) for row in pipeline.table.values()}


FAULTS: list[dict[str, Any]] = [
    {"effect": "truncate", "page": 1, "times": 2},
    {"effect": "too_many", "page": 2, "times": 3},
    {"effect": "not_ready", "page": 3, "times": 4},
    {"effect": "server_error", "status": 503, "step": "open", "times": 2},
    {"effect": "expire_cursor", "page": 2, "nth": 4, "times": 1},
    {"effect": "short_page", "records": 0, "page": 3, "times": 2},
    {"effect": "duplicate_page", "page": 2, "times": 2},
    {"effect": "reorder", "page": 1},
]


@pytest.mark.parametrize("faults", [[], FAULTS], ids=["quiet", "faults"])
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_the_table_holds_each_person_of_the_events_once_whatever_happens(make: Make, mode: Any, faults: Any) -> None:
    names = ("Product Viewed", "Charged", "App Launched")
    pipeline = of_people(make, *names, account={"users": 60, "days": 40})
    pipeline.mode = mode
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.faults.set([{"path": "/1/profiles.json", **fault} for fault in faults])
    pipeline.run()
    people_told = told(pipeline)
    assert people_told == truth(pipeline, *names) and len(people_told) > 30
    assert {who for who, record in people_told.items() if "identity" not in record}, "some are anonymous"
    assert any(len(record["platformInfo"]) == 2 for record in people_told.values())
    assert len(pipeline.log) == len(pipeline.table), "nobody comes twice"
    assert pipeline.passed["repeated"] > len(pipeline.table), "the API told of each with every event"
    assert not pipeline.rejects and not pipeline.notes
    assert not pipeline.asked(), "no event is asked for"
    assert pipeline.simulator.busiest(PROJECT, "profiles") in ((2, 3) if mode == "merge" else (1,))


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_second_run_at_once_brings_nobody_and_a_changed_profile_is_updated(make: Make, mode: Any) -> None:
    pipeline = of_people(make, "Charged", "Login")
    pipeline.mode = mode
    pipeline.simulator.add_events(PROJECT, events("Charged", 30, day="20260314") + events("Login", 30, day="20260314"))
    assert pipeline.run()["new"] == 30
    assert not pipeline.run()["new"] and len(pipeline.log) == 30
    pipeline.simulator.set_profile(PROJECT, f"__{7:032x}", {"email": "a@example.org", "profileData": {"plan": "gold"}})
    counts = pipeline.run()
    assert (counts["new"], counts["changed"]) == (0, 1) and len(pipeline.log) == 31
    assert told(pipeline) == truth(pipeline) and len(pipeline.table) == 30


def test_who_logs_in_is_told_by_the_identity_from_then_on(make: Make) -> None:
    pipeline = of_people(make, "Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, day="20260314"))
    pipeline.run()
    pipeline.simulator.set_profile(PROJECT, f"__{0:032x}", {"identity": "cust-1"})
    assert pipeline.run()["new"] == 1
    assert [(row["identity"], row["objectId"]) for row in pipeline.log] == [
        (None, f"__{0:032x}"),
        ("cust-1", f"__{0:032x}"),
    ]


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_death_between_any_two_pages_leaves_the_same_people(make: Make, mode: Any) -> None:
    pipeline = of_people(make, "Charged", "Login", shards=1)
    pipeline.mode = mode
    pipeline.settings |= {"batch_size": 23, "window_days": 31, "max_concurrency": 2}
    pipeline.simulator.add_events(PROJECT, events("Charged", 70) + events("Login", 50, start=40))
    expected = truth(pipeline)
    assert len(expected) == 90
    for crash_at in range(40):
        pipeline.kept.cursors.clear()
        pipeline.kept.marks.clear()
        pipeline.log.clear()
        try:
            pipeline.run(crash_at=crash_at)
        except Crash:
            pipeline.run()
        else:
            assert crash_at > 5
            break
        assert told(pipeline) == expected and len(pipeline.log) == 90, f"died at item {crash_at}"
    else:
        raise AssertionError("the read was longer than the crash points")


@pytest.mark.parametrize(("mode", "rows"), [("merge", 40), ("append", 20)])
def test_days_ordered_again_bring_everybody_once_more_where_that_doubles_nobody(
    make: Make, mode: Any, rows: int
) -> None:
    pipeline = of_people(make, "Charged", "Login")
    pipeline.mode = mode
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 20) + events("Login", 20))
    pipeline.run()
    counts = pipeline.run("again", slices=(Slice(date(2026, 3, 13), date(2026, 3, 13)),))
    assert len(pipeline.log) == rows and len(pipeline.table) == 20
    # Nobody is said to have changed.
    assert (counts["read_again"], counts["changed"]) == (rows - 20, 0)


def test_only_who_did_something_in_the_days_that_are_read_is_seen(make: Make) -> None:
    pipeline = of_people(make, "Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 3, day="20260101") + events("Charged", 2, start=10))
    pipeline.simulator.add_events(PROJECT, events("Login", 4, start=20))
    pipeline.run()
    assert len(pipeline.table) == 2


def test_marks_are_few_once_all_was_read(make: Make) -> None:
    pipeline = of_people(make, "Charged", "Login")
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 200) + events("Login", 200))
    pipeline.run()
    kept = {part: marks for part, marks in pipeline.kept.marks.items() if part[1:].isdecimal()}
    assert kept and all(len(marks) == 1 for marks in kept.values())
    assert sum(len(data) for (data,) in kept.values()) == 200 * 28


def test_events_and_people_do_not_know_each_others_position(make: Make) -> None:
    pipeline = of_people(make, "Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5))
    pipeline.run()
    assert "row_identity" not in pipeline.kept.cursors["historical"]
    pipeline.settings["row_identity"] = "record"
    pipeline.run()
    assert len(pipeline.log) == 5


def test_values_are_exact_and_what_has_no_column_stays() -> None:
    found = people.rows_of(
        [
            b'{"identity":17,"phone":4915550001122334455667788,"profileData":null,"email":"\\u00e9@example.org",'
            b'"platformInfo":[{"platform":"Web"},{"objectId":"-2","n":1.50}],"zone":"x","tier":{"a":9007199254740993}}',
            b'{"objectId":"__1","platformInfo":{"odd":1},"profileData":{"a":1.0,"$":"$D_1774137600"},"name":""}',
        ]
    )
    first, second = found.rows.to_pylist()
    assert (first["identity"], first["objectId"], first["phone"]) == ("17", "-2", "4915550001122334455667788")
    assert (first["email"], first["profileData"]) == ("é@example.org", "{}")
    assert first["platformInfo"] == '[{"platform":"Web"},{"objectId":"-2","n":1.50}]'
    assert first["other"] == '{"zone":"x","tier":{"a":9007199254740993}}'
    assert (second["identity"], second["objectId"], second["name"]) == (None, "__1", "")
    assert (second["profileData"], second["platformInfo"]) == ('{"a":1.0,"$":"$D_1774137600"}', '{"odd":1}')
    assert found.rows.schema.equals(people.SCHEMA) and not found.rejects
    assert len({first["__hevo_id"], second["__hevo_id"]}) == 2


def test_the_order_of_keys_is_no_change() -> None:
    one, other = (people.rows_of([raw]) for raw in (b'{"identity":"a","name":"b"}', b'{"name":"b", "identity":"a"}'))
    assert one.state == other.state and one.high == other.high


def test_records_that_are_nobody_are_rejected_without_their_push_tokens_and_can_be_tried_again() -> None:
    deep = b'{"identity":"d","profileData":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    bad = [b'{"platformInfo":[{"push_token":"fcm:secret"}]}', b"[1]", b'{"identity":"\xff"}', deep]
    found = people.rows_of([*bad, b'{"identity":"good"}'])
    assert [reject.code for reject in found.rejects] == [
        "MISSING_OBJECT_ID", "UNREADABLE_RECORD", "UNREADABLE_RECORD", "TOO_DEEP",
    ]  # fmt: skip
    assert found.rows.num_rows == 1
    told = records.refused(people.PROFILES, found.rejects, START, by="Charged").to_pylist()
    assert told[0]["stream"] == "profiles" and told[0]["message"].startswith("Charged: ")
    assert told[0]["row"] == '{"platformInfo":[{"push_token":null}]}'
    again = people.rows_of([told[0]["row"].encode(), b'{"identity":"mended"}'])
    items = list(records.retried(again, NoMemory(), "changed", people.PROFILES, START))
    assert [type(item).__name__ for item in items] == ["Refused", "RecordBatch", "Checkpoint"]
    assert isinstance(items[0], Refused) and items[0].rows.num_rows == 1
    assert isinstance(items[2], Checkpoint) and len(items[2].marks) == 1
