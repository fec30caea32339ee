"""The acceptance scenarios of the source, each with its number; the server is the simulator."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.sources.clevertap.driver import PASSCODE, PROJECT, Crash, Pipeline, events

from millrace.errors import AuthError, ConfigError
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.planner import check_frequency

Make = Callable[..., Pipeline]
SIX = (
    "Notification Sent",
    "Notification Bounce",
    "Notification Viewed",
    "Notification Control Group",
    "Notification Rendered",
    "Notification System Control Group",
)


@pytest.mark.spec("clevertap.10.1")
def test_10_01_history_of_31_dates_equals_the_ledger_without_exact_duplicates(make: Make) -> None:
    names = [f"Event {number}" for number in range(12)]
    pipeline = make(*names)
    for number, name in enumerate(names):
        for day in (20260212, 20260228, 20260301, 20260314):
            pipeline.simulator.add_events(PROJECT, events(name, 5 + number, day=str(day), copies=2))
    pipeline.simulator.add_events(PROJECT, events("Event 0", 3, day="20260211"))
    counts = pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth())
    assert len(pipeline.log) == len(pipeline.table) == counts["new"] == 4 * sum(range(5, 17))
    days = {day for entry in pipeline.asked("open") for day in json.loads(entry.body).items()}
    assert min(value for key, value in days if key == "from") == 20260212
    assert max(value for key, value in days if key == "to") == 20260314
    assert pipeline.read == len(pipeline.log) + pipeline.passed["repeated"]


@pytest.mark.spec("clevertap.10.1")
def test_10_01_a_generated_project_is_read_whole(make: Make) -> None:
    pipeline = make(account={"users": 60, "days": 40, "timezone": "Europe/Berlin"}, drift={"enabled": True})
    names = sorted({row.event_name for row in pipeline.simulator.ledger(PROJECT)})
    pipeline.names(*names)
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth())
    assert len(pipeline.table) > 500
    for row in pipeline.log:
        for column in ("event_props", "session_props", "profileData"):
            assert row[column] is None or json.loads(row[column]) is not None


@pytest.mark.spec("clevertap.10.2")
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_10_02_a_second_run_at_once_brings_no_row(make: Make, mode: Any) -> None:
    pipeline = make("Charged")
    pipeline.mode = mode
    pipeline.simulator.add_events(PROJECT, events("Charged", 30) + events("Charged", 30, day="20260314", copies=3))
    pipeline.run()
    loaded = len(pipeline.log)
    counts = pipeline.run()
    assert len(pipeline.log) == loaded == (60 if mode == "merge" else 120)
    assert counts["repeated"] == 90 and not counts["new"]


@pytest.mark.spec("clevertap.10.3")
def test_10_03_a_row_four_days_late_is_caught_once_by_the_deep_look_back(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5))
    pipeline.run()
    late_day = "20260310"
    pipeline.simulator.clock.advance(hours=1)
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, day=late_day, start=77))
    assert not pipeline.run()["new"], "the look-back of the same day does not reach so far"
    pipeline.simulator.clock.advance(days=1)
    counts = pipeline.run()
    assert counts["new"] == counts["late"] == 1
    assert [row["ts_raw"] // 1_000_000 for row in pipeline.log].count(int(late_day)) == 1
    pipeline.simulator.clock.advance(hours=1)
    assert not pipeline.run()["new"]


@pytest.mark.spec("clevertap.10.4")
@pytest.mark.parametrize(
    ("zone", "offset"), [("Etc/GMT+8", -8.0), ("UTC", 0.0), ("Asia/Kolkata", 5.5), ("Pacific/Kiritimati", 14.0)]
)
def test_10_04_the_seconds_around_midnight_are_kept_with_the_right_moment(make: Make, zone: str, offset: float) -> None:
    pipeline = make("Charged", account={"timezone": zone}, start=datetime(2026, 3, 14, 10, tzinfo=UTC))
    edges = {
        "20260312235959": datetime(2026, 3, 12, 23, 59, 59, tzinfo=UTC),
        "20260313000000": datetime(2026, 3, 13, tzinfo=UTC),
    }
    pipeline.simulator.add_events(
        PROJECT, [{"event_name": "Charged", "objectId": "__a", "ts_local": edge} for edge in edges]
    )
    pipeline.settings["window_days"] = 1
    pipeline.run()
    assert {str(row["ts_raw"]): row["ts"] for row in pipeline.log} == {
        written: moment - timedelta(hours=offset) for written, moment in edges.items()
    }


@pytest.mark.spec("clevertap.10.5")
def test_10_05_a_wrong_passcode_fails_and_a_wrong_project_passes_with_a_note(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings["passcode"] = "WRONG"
    verdicts = pipeline.source().check()
    assert verdicts[-1].state == "fail" and "passcode rejected" in verdicts[-1].message
    # The first run takes the position alone, without a request; the history is refused, and then the position too.
    with pytest.raises(AuthError):
        pipeline.run()
    with pytest.raises(AuthError):
        pipeline.run("incremental")
    del pipeline.settings["passcode"]
    pipeline.settings["project_id"] = "ABC-DEF-GHIJ"
    pipeline.kept.cursors.clear()
    found = pipeline.source().check()
    credentials = [verdict for verdict in found if verdict.step == "credentials"]
    assert [verdict.state for verdict in credentials] == ["pass"]
    assert "does not report a wrong project ID" in credentials[0].message
    assert not any(verdict.state == "fail" for verdict in found)
    pipeline.run()
    assert not pipeline.log and pipeline.codes() == ["nothing_read"]
    assert "ABC-DEF-GHIJ" in pipeline.notes[0].message


@pytest.mark.spec("clevertap.10.5")
def test_10_05_a_project_that_is_rejected_by_its_id_fails_too(make: Make) -> None:
    pipeline = make("Charged", wrong_project_id="reject_401")
    pipeline.settings["project_id"] = "ABC-DEF-GHIJ"
    assert pipeline.source().check()[-1].state == "fail"


@pytest.mark.spec("clevertap.10.6")
def test_10_06_a_region_mismatch_is_told_with_the_region(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings |= {"base_url": pipeline.simulator.url("us1"), "region": "US"}
    last = pipeline.source().check()[-1]
    assert last.state == "fail" and "US" in last.message and "region" in last.message and "US" in (last.hint or "")
    with pytest.raises(AuthError) as refused:
        pipeline.run()
    assert "US" in (refused.value.hint or "") and refused.value.path == "passcode"


@pytest.mark.spec("clevertap.10.7")
def test_10_07_names_that_differ_in_case_are_different_and_an_unknown_case_loads_nothing(make: Make) -> None:
    pipeline = make("tutorial complete", "Tutorial Complete")
    pipeline.simulator.add_events(PROJECT, events("tutorial complete", 3) + events("Tutorial Complete", 4, start=50))
    pipeline.names("tutorial complete", "Tutorial Complete", "TUTORIAL COMPLETE")
    pipeline.run()
    names = [row["event_name"] for row in pipeline.log]
    assert {name: names.count(name) for name in set(names)} == {"tutorial complete": 3, "Tutorial Complete": 4}
    assert pipeline.codes() == ["invalid_event"] and "'TUTORIAL COMPLETE'" in pipeline.notes[0].message


@pytest.mark.spec("clevertap.10.8")
def test_10_08_the_six_notification_events_are_skipped_and_listed_and_others_load(make: Make) -> None:
    pipeline = make("Charged", *SIX)
    pipeline.simulator.add_events(PROJECT, events("Charged", 7) + events("Notification Sent", 3))
    pipeline.run()
    assert {row["event_name"] for row in pipeline.log} == {"Charged"} and len(pipeline.log) == 7
    assert pipeline.codes() == ["not_exportable"]
    assert all(name in pipeline.notes[0].message for name in SIX) and "S3" in pipeline.notes[0].message
    source = pipeline.source()
    assert set(source.uncounted(source.streams()[0], pipeline.kept.cursors["historical"])) == set(SIX)
    opened = len(pipeline.asked("open"))
    pipeline.run("historical")
    assert len(pipeline.asked("open")) == opened, "refused exports rest for a week"
    pipeline.simulator.clock.advance(days=7)
    pipeline.run("historical")
    assert len(pipeline.asked("open")) >= opened + len(SIX)


@pytest.mark.spec("clevertap.10.9")
def test_10_09_not_ready_for_30_s_then_data_needs_no_new_cursor(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5))
    pipeline.settings["max_concurrency"] = 1
    pipeline.simulator.faults.set([{"effect": "not_ready", "step": "page", "event": "Charged", "times": 5}])
    pipeline.run("historical")
    assert len(pipeline.log) == 5
    assert pipeline.clock.slept_s >= 25
    assert len(pipeline.asked("open")) == 7, "one cursor for each window"


@pytest.mark.spec("clevertap.10.9")
@pytest.mark.parametrize("form", ["", "202", "no_cursor"])
def test_10_09_opening_may_take_its_time_too(make: Make, form: str) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5))
    pipeline.simulator.faults.set([{"effect": "not_ready", "step": "open", "form": form, "times": 6}])
    pipeline.run()
    assert len(pipeline.log) == 5 and not pipeline.notes


@pytest.mark.spec("clevertap.10.9")
def test_10_09_a_page_that_never_gets_ready_is_given_up_after_ten_minutes(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings |= {"historical_days": 1, "max_concurrency": 1}
    pipeline.simulator.faults.set([{"effect": "not_ready", "step": "page"}])
    pipeline.run()
    assert pipeline.codes() == ["unit_failed"]
    assert 590 <= pipeline.clock.slept_s <= 620


@pytest.mark.spec("clevertap.10.10")
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_10_10_a_cursor_that_expires_after_page_3_restarts_the_window_without_doubles(make: Make, mode: Any) -> None:
    pipeline = make("Charged")
    pipeline.mode = mode
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 150) + events("Charged", 20, start=500, copies=2))
    pipeline.simulator.faults.set([{"effect": "expire_cursor", "step": "page", "page": 4, "times": 1}])
    pipeline.run()
    assert len(pipeline.log) == (170 if mode == "merge" else 190)
    assert set(pipeline.table) == set(pipeline.truth())
    assert len(pipeline.asked("open")) == 8 and not pipeline.notes


@pytest.mark.spec("clevertap.10.10")
def test_10_10_a_cursor_that_always_expires_fails_its_unit_after_three_new_ones(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings |= {"historical_days": 1}
    pipeline.simulator.add_events(PROJECT, events("Charged", 5))
    pipeline.simulator.faults.set([{"effect": "expire_cursor", "step": "page"}])
    pipeline.run()
    assert pipeline.codes() == ["unit_failed"] and len(pipeline.asked("open")) == 4


@pytest.mark.spec("clevertap.10.11")
def test_10_11_a_429_storm_lowers_parallelism_to_one(make: Make) -> None:
    names = [f"Event {number}" for number in range(6)]
    pipeline = make(*names, latency_ms={"open": (5, 10), "page": (5, 10)})
    for name in names:
        pipeline.simulator.add_events(PROJECT, events(name, 4))
    pipeline.simulator.faults.set([{"effect": "too_many", "nth": 20, "times": 1}])
    pipeline.run()
    assert len(pipeline.log) == 24
    assert 1 < pipeline.simulator.busiest(PROJECT) <= 3
    met = [entry.status for entry in pipeline.asked()].index(429)
    after = pipeline.asked()[met + 3 :]
    assert len(after) > 20 and all(entry.in_flight <= 1 for entry in after)


@pytest.mark.spec("clevertap.10.11")
def test_10_11_a_second_client_that_takes_all_slots_is_outwaited(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"Event {number}" for number in range(6)]
    pipeline = make(*names, latency_ms={"open": (5, 10), "page": (5, 10)})
    for name in names:
        pipeline.simulator.add_events(PROJECT, events(name, 4))
    sleep = pipeline.clock.sleep

    def until_refused(seconds: float) -> None:
        if sum(entry.status == 429 for entry in pipeline.asked()) >= 5:
            other.close()
        sleep(seconds)

    with ExitStack() as other:
        for _ in range(3):
            assert other.enter_context(pipeline.simulator.taken(PROJECT))
        monkeypatch.setattr(pipeline.clock, "sleep", until_refused)
        pipeline.run()
    statuses = [entry.status for entry in pipeline.asked()]
    assert statuses.count(429) >= 5 and 200 not in statuses[: statuses.index(429) + 5]
    # Of those that went out before the first was refused, two may come late.
    served = [entry for entry in pipeline.asked() if entry.status == 200][2:]
    assert len(served) > 20 and all(entry.in_flight <= 1 for entry in served)
    assert len(pipeline.log) == 24 and not pipeline.notes


@pytest.mark.spec("clevertap.10.11")
def test_10_11_a_storm_that_does_not_end_fails_units_but_not_the_run(make: Make) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.settings["historical_days"] = 1
    pipeline.simulator.add_events(PROJECT, events("Charged", 4) + events("App Launched", 4))
    pipeline.simulator.faults.set([{"effect": "too_many", "event": "Charged"}])
    pipeline.run()
    assert {row["event_name"] for row in pipeline.log} == {"App Launched"}
    assert pipeline.codes() == ["unit_failed"]


@pytest.mark.spec("clevertap.10.12")
@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "truncate", "step": "page", "page": 2, "form": "length"},
        {"effect": "truncate", "step": "page", "page": 2, "form": "short"},
        {"effect": "server_error", "status": 503, "body": "html", "page": 2},
        {"effect": "server_error", "status": 500, "page": 2},
        {"effect": "server_error", "status": 504, "body": "empty", "step": "open"},
        {"effect": "empty_200", "page": 2},
        {"effect": "garbage", "shape": "html", "page": 2},
        {"effect": "garbage", "shape": "list", "page": 2},
        {"effect": "garbage", "shape": "null", "page": 2},
        {"effect": "garbage", "shape": "no_status", "page": 2},
        {"effect": "reset", "where": "headers", "page": 2},
        {"effect": "reset", "where": "body", "page": 2},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
def test_10_12_a_page_that_comes_broken_is_asked_for_again(make: Make, fault: dict[str, Any]) -> None:
    pipeline = make("Charged")
    pipeline.mode = "append"
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 90))
    pipeline.simulator.faults.set([{**fault, "times": 2}])
    pipeline.run()
    assert len(pipeline.log) == 90 and set(pipeline.table) == set(pipeline.truth())
    assert not pipeline.notes


@pytest.mark.spec("clevertap.10.12")
def test_10_12_what_stays_broken_fails_its_unit_after_one_new_walk_and_heals_next_time(make: Make) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.settings |= {"batch_size": 23, "historical_days": 1}
    pipeline.simulator.add_events(PROJECT, events("Charged", 90) + events("App Launched", 9))
    fault = {"effect": "server_error", "status": 502, "body": "html", "page": 2, "event": "Charged"}
    pipeline.simulator.faults.set([fault])
    pipeline.run()
    assert pipeline.codes() == ["unit_failed"] and "502" in pipeline.notes[0].message
    assert len([entry for entry in pipeline.asked() if entry.status == 502]) == 10
    pipeline.simulator.faults.clear()
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth()) and not pipeline.notes


@pytest.mark.spec("clevertap.10.13")
@pytest.mark.parametrize("effect", ["stuck_cursor", "loop_cursor"])
def test_10_13_a_cursor_that_does_not_advance_fails_its_unit_and_the_next_run_heals_it(make: Make, effect: str) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.mode = "append"
    pipeline.settings |= {"batch_size": 23, "historical_days": 1}
    pipeline.simulator.add_events(PROJECT, events("Charged", 90) + events("App Launched", 9))
    pipeline.simulator.faults.set([{"effect": effect, "step": "page", "page": 3, "event": "Charged"}])
    pipeline.run()
    assert pipeline.codes() == ["unit_failed"] and "does not advance" in pipeline.notes[0].message
    assert sum(row["event_name"] == "App Launched" for row in pipeline.log) == 9
    pipeline.simulator.faults.clear()
    pipeline.run()
    assert len(pipeline.log) == 99 and not pipeline.notes


@pytest.mark.spec("clevertap.10.13")
def test_10_13_a_cursor_that_sticks_once_is_asked_again(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.mode = "append"
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 90))
    pipeline.simulator.faults.set([{"effect": "stuck_cursor", "step": "page", "page": 2, "times": 1}])
    pipeline.run()
    assert len(pipeline.log) == 90 and not pipeline.notes


@pytest.mark.spec("clevertap.10.14")
@pytest.mark.parametrize("records", [0, 1])
def test_10_14_short_and_empty_middle_pages_do_not_end_the_walk(make: Make, records: int) -> None:
    pipeline = make("Charged")
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 90))
    pipeline.simulator.faults.set([{"effect": "short_page", "records": records, "step": "page", "page": 2}])
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth())


@pytest.mark.spec("clevertap.10.15")
def test_10_15_both_end_shapes_end_a_walk(make: Make) -> None:
    names = [f"Event {number}" for number in range(8)]
    pipeline = make(*names)
    for name in names:
        pipeline.simulator.add_events(PROJECT, events(name, 3))
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth())
    pages = pipeline.asked("page")
    bare = [entry for entry in pages if entry.page > 1 and not entry.records]
    at_once = [entry for entry in pages if entry.page <= 1 and not entry.records]
    assert bare and at_once, "the simulator showed a bare page after records, and one at once"
    assert not pipeline.notes


@pytest.mark.spec("clevertap.10.16")
def test_10_16_cursors_are_sent_byte_for_byte_and_never_logged_whole(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make("Charged")
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 60))
    with caplog.at_level(logging.DEBUG):
        pipeline.run()
    cursors = [entry.query.removeprefix("cursor=") for entry in pipeline.asked("page")]
    assert any("%2F" in cursor or "%2B" in cursor for cursor in cursors) and any("%3D" in cursor for cursor in cursors)
    assert all(entry.status == 200 for entry in pipeline.asked("page")), "a cursor changed by a byte is refused"
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("millrace"))
    assert cursors[0][:8] in ours
    assert not any(cursor[:9] in ours for cursor in cursors)


@pytest.mark.spec("clevertap.10.17")
@pytest.mark.parametrize(("mode", "rows"), [("merge", 1), ("append", 2)])
def test_10_17_two_copies_from_the_api_are_one_row_in_merge_and_two_in_append(make: Make, mode: Any, rows: int) -> None:
    pipeline = make("Charged")
    pipeline.mode = mode
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, copies=2))
    pipeline.run()
    assert len(pipeline.log) == rows
    pipeline.simulator.clock.advance(days=1)
    pipeline.run()
    assert len(pipeline.log) == rows


@pytest.mark.spec("clevertap.10.17")
@pytest.mark.parametrize(("mode", "rows"), [("merge", 60), ("append", 83)])
def test_10_17_a_page_that_comes_twice_counts_as_copies(make: Make, mode: Any, rows: int) -> None:
    pipeline = make("Charged", shards=1)
    pipeline.mode = mode
    pipeline.settings |= {"batch_size": 23}
    pipeline.simulator.add_events(PROJECT, events("Charged", 60))
    pipeline.simulator.faults.set([{"effect": "duplicate_page", "page": 2, "times": 1}])
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth())
    assert len(pipeline.log) == rows
    pipeline.simulator.faults.clear()
    pipeline.run()
    assert len(pipeline.log) == rows


@pytest.mark.spec("clevertap.10.18")
def test_10_18_a_property_that_changes_its_type_stays_as_it_came_in_json(make: Make) -> None:
    pipeline = make("Charged")
    values = [b'{"v":1}', b'{"v":"1"}', b'{"v":1.0}', b'{"v":["a"]}', b'{"v":null}', b'{"v":{"deep":[1e5]}}']
    for number, value in enumerate(values):
        pipeline.simulator.add_events(PROJECT, events("Charged", 1, start=number, event_props=value))
    pipeline.run()
    assert sorted(row["event_props"].encode() for row in pipeline.log) == sorted(values)
    assert set(pipeline.table) == set(pipeline.truth())


@pytest.mark.spec("clevertap.10.19")
def test_10_19_a_phone_beyond_2_to_the_53_is_exact(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings["include_profile_fields"] = True
    phone = 2**53 + 1
    profile = {"phone": phone, "email": "rhea@example.org", "identity": "cust-1", "profileData": {"big": 2**64 + 1}}
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, profile=profile))
    pipeline.run()
    row = pipeline.log[0]
    assert row["phone"] == str(phone) and row["email"] == "rhea@example.org" and row["identity"] == "cust-1"
    assert json.loads(row["profileData"]) == {"big": 2**64 + 1}
    assert all("app=true" in entry.query for entry in pipeline.asked("open"))


@pytest.mark.spec("clevertap.10.20")
def test_10_20_a_name_added_to_the_file_gets_a_history_of_its_own(make: Make) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.simulator.add_events(
        PROJECT, events("Charged", 3, day="20260301") + events("App Launched", 4, day="20260301")
    )
    pipeline.names("Charged")
    pipeline.run()
    opened = len(pipeline.asked("open"))
    pipeline.names("Charged", "App Launched")
    pipeline.run("incremental")
    pipeline.run("historical")
    asked = [json.loads(entry.body) for entry in pipeline.asked("open")[opened:]]
    past = [body for body in asked if body["from"] < 20260310]
    assert {body["event_name"] for body in past} == {"App Launched"}
    assert min(body["from"] for body in past) == 20260212
    assert sum(row["event_name"] == "App Launched" for row in pipeline.log) == 4
    assert pipeline.run("historical") == {}


@pytest.mark.spec("clevertap.10.21")
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_10_21_a_death_at_any_item_of_the_history_leaves_the_same_rows(make: Make, mode: Any) -> None:
    pipeline = make("Charged", shards=1)
    pipeline.mode = mode
    pipeline.settings |= {"batch_size": 23, "window_days": 15, "historical_days": 20, "max_concurrency": 2}
    pipeline.simulator.add_events(PROJECT, events("Charged", 40, copies=2) + events("Charged", 30, day="20260305"))
    expected = 70 if mode == "merge" else 110
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
        assert len(pipeline.log) == expected, f"died at item {crash_at}"
        assert set(pipeline.table) == set(pipeline.truth())
    else:
        raise AssertionError("the read was longer than the crash points")


@pytest.mark.spec("clevertap.10.22")
@pytest.mark.parametrize(("mode", "rows"), [("merge", 2), ("append", 1)])
def test_10_22_a_changed_profile_keeps_the_id_updates_in_merge_and_is_not_repeated_in_append(
    make: Make, mode: Any, rows: int
) -> None:
    pipeline = make("Charged")
    pipeline.mode = mode
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, day="20260314", profile={"profileData": {"plan": "a"}}))
    pipeline.run()
    pipeline.simulator.set_profile(PROJECT, f"__{0:032x}", {"identity": "cust-9", "profileData": {"plan": "b"}})
    counts = pipeline.run()
    assert len(pipeline.log) == rows and len(pipeline.table) == 1
    assert not counts["new"]
    if mode == "merge":
        assert counts["changed"] == 1
        (row,) = pipeline.table.values()
        assert json.loads(row["profileData"]) == {"plan": "b"} and row["identity"] == "cust-9"


def test_an_identity_that_becomes_an_empty_text_updates_the_row_in_merge(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, day="20260314"))
    for identity in (None, "", None):
        if identity is not None:
            pipeline.simulator.set_profile(PROJECT, f"__{0:032x}", {"identity": identity})
        elif pipeline.table:
            pipeline.simulator.set_profile(PROJECT, f"__{0:032x}", {"identity": None})
        pipeline.run()
        (row,) = pipeline.table.values()
        assert row["identity"] == identity
    assert len(pipeline.log) == 3


@pytest.mark.spec("clevertap.10.25")
def test_10_25_one_and_a_half_hours_is_refused_and_five_minutes_needs_the_legacy_flag() -> None:
    with pytest.raises(ConfigError, match=r"1\.5 hours"):
        check_frequency(5400)
    with pytest.raises(ConfigError, match="too often"):
        check_frequency(300)
    check_frequency(300, legacy=True)
    for fine in (1800, 2700, 3600, 6 * 3600, 24 * 3600):
        check_frequency(fine)
    for bad in (0, 299, 1799, 3601, 25 * 3600, 1830.5):
        with pytest.raises(ConfigError):
            check_frequency(bad, legacy=bad == 299)


@pytest.mark.spec("clevertap.10.26")
def test_10_26_the_passcode_is_in_no_log_note_error_verdict_state_or_repr(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5))
    secret = "s3cr3t-PASS-1234"
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        pipeline.run()
        pipeline.settings["passcode"] = secret
        said += [str(verdict) for verdict in pipeline.source().check()]
        with pytest.raises(AuthError) as refused:
            pipeline.run()
        said += [str(refused.value), repr(refused.value.problem)]
        with pytest.raises(ValueError) as invalid:
            Config(project_id="", passcode=secret, events_file="x")
        said.append(str(invalid.value))
        with pytest.raises(ValueError) as spaced:
            Config(project_id=PROJECT, passcode=secret + " \n x", events_file="x")
        said.append(str(spaced.value))
    said += [repr(pipeline.source().config), json.dumps(pipeline.kept.cursors), caplog.text, repr(pipeline.notes)]
    assert not any(secret in text or PASSCODE in text for text in said)
    assert Config.secret_keys() == {"passcode"}
