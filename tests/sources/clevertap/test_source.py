"""Lanes, look-backs, memory, stopping, counting and the connection test, against the simulator."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.sources.clevertap.driver import PASSCODE, PROJECT, Kept, Pipeline, events

from millrace.connect.source import Context, Reading, Slice
from millrace.data.batch import Checkpoint, LoadMode, Passed
from millrace.errors import AuthError, ConfigError, Transient
from millrace.simulators.clevertap import counts as simulated
from millrace.sources.clevertap.client import CleverTap
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.forgetting import rejecting_part, strays_part
from millrace.sources.clevertap.known import day_of, entries, forgotten_before, forgotten_part, history_part, part_of
from millrace.sources.clevertap.source import Source

Make = Callable[..., Pipeline]


def froms(pipeline: Pipeline, since: int) -> list[tuple[str, int, int]]:
    asked = [json.loads(entry.body) for entry in pipeline.asked("open")[since:]]
    return sorted(((body["event_name"], body["from"], body["to"]) for body in asked), reverse=True)


def test_the_first_incremental_read_takes_a_position_and_reads_nothing(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5))
    assert not pipeline.run("incremental")
    assert not pipeline.asked()
    known = pipeline.kept.cursors["incremental"]["incremental"]["Charged"]
    assert known["committed_run_start"] == "2026-03-14T10:00:00+00:00" and known["deep_done_on"] == 20260314


def test_three_tiers_of_look_back_decide_from_where_days_are_read(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.run()

    def opened(hours: float) -> list[tuple[str, int, int]]:
        pipeline.simulator.clock.advance(hours=hours)
        since = len(pipeline.asked("open"))
        pipeline.run("incremental")
        return froms(pipeline, since)

    assert opened(1) == [("Charged", 20260314, 20260314)]
    assert opened(5) == [("Charged", 20260312, 20260314)]
    assert opened(5.5) == [("Charged", 20260314, 20260314)]
    assert opened(3) == [("Charged", 20260311, 20260315), ("Charged", 20260308, 20260310)], "a new day: the deep one"
    assert opened(1) == [("Charged", 20260315, 20260315)]
    assert opened(72)[-1] == ("Charged", 20260309, 20260313), "after a pause, from the last mark and six days before"


def test_a_failed_unit_keeps_the_mark_of_its_event_and_others_go_on(make: Make) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.run()
    pipeline.simulator.clock.advance(hours=30)
    pipeline.simulator.faults.set([{"effect": "server_error", "event": "Charged", "step": "page", "status": 500}])
    pipeline.run("incremental")
    known = pipeline.kept.cursors["incremental"]["incremental"]
    assert (
        known["Charged"]["committed_run_start"].startswith("2026-03-14T10") and "500" in known["Charged"]["last_error"]
    )
    assert known["App Launched"]["committed_run_start"].startswith("2026-03-15")
    assert pipeline.codes() == ["unit_failed"], "windows that fail for one cause are told together"
    pipeline.simulator.faults.clear()
    pipeline.run("incremental")
    known = pipeline.kept.cursors["incremental"]["incremental"]
    assert known["Charged"]["committed_run_start"].startswith("2026-03-15") and known["Charged"]["last_error"] is None


def test_rows_far_in_the_future_are_loaded_and_counted(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, day="20270314", served_on=20260314))
    assert pipeline.run()["future_dated"] == 1 and len(pipeline.log) == 1
    assert not pipeline.run()["future_dated"], "and known again, though they lie on no day that was asked for"


def test_an_invalid_name_is_tried_each_run_and_loads_whole_once_it_exists(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.names("Charged", "Refund")
    pipeline.simulator.add_events(PROJECT, events("Charged", 1))
    pipeline.run()
    assert pipeline.codes() == ["invalid_event"]
    pipeline.run()
    pipeline.run("again", slices=(Slice(date(2026, 3, 14), date(2026, 3, 14)),))
    assert pipeline.codes() == [], "once a day, whatever lane meets it"
    pipeline.simulator.clock.advance(days=1)
    pipeline.run()
    assert pipeline.codes() == ["invalid_event"]
    pipeline.simulator.clock.advance(days=2)
    pipeline.simulator.add_events(PROJECT, events("Refund", 6, day="20260220"))
    pipeline.run()
    assert len(pipeline.log) == 7 and not pipeline.notes
    assert "Refund" not in pipeline.kept.cursors["historical"]["events"]
    assert pipeline.kept.cursors["historical"]["historical"]["ranges"]["Refund"] == [20260212, 20260314]


@pytest.mark.parametrize("effect", ["invalid_event", "not_allowed"])
def test_a_name_that_is_refused_at_first_has_the_days_before_its_first_run(make: Make, effect: str) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 3, day="20260212") + events("Charged", 4, day="20260314"))
    pipeline.simulator.faults.set([{"effect": effect, "step": "open"}])
    pipeline.run()
    assert not pipeline.log
    pipeline.simulator.faults.clear()
    pipeline.simulator.clock.advance(days=40)
    pipeline.simulator.add_events(PROJECT, events("Charged", 5, day="20260323"))
    pipeline.run()
    assert len(pipeline.log) == len(pipeline.table) == 12
    assert pipeline.kept.cursors["historical"]["historical"]["complete"]


@pytest.mark.parametrize("effect", ["invalid_event", "not_allowed"])
def test_a_name_that_is_refused_in_the_middle_of_its_history_keeps_the_days_that_it_began_with(
    make: Make, effect: str
) -> None:
    pipeline = make("Charged")
    pipeline.settings["max_concurrency"] = 1
    pipeline.simulator.add_events(PROJECT, events("Charged", 3, day="20260212") + events("Charged", 4, day="20260314"))
    pipeline.simulator.faults.set([{"effect": effect, "step": "open", "nth": nth} for nth in (4, 5, 6)])
    pipeline.run()
    assert len(pipeline.log) == 4
    pipeline.simulator.clock.advance(days=8)
    pipeline.run()
    assert len(pipeline.log) == len(pipeline.table) == 7 and set(pipeline.truth()) < set(pipeline.table)
    assert pipeline.kept.cursors["historical"]["historical"]["complete"]


def test_an_invalid_name_fails_the_run_where_that_is_wanted(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.names("Charged", "Refund")
    pipeline.run()
    pipeline.settings["on_invalid_event"] = "fail"
    with pytest.raises(ConfigError, match="'Refund'"):
        pipeline.run()


def test_a_changed_passcode_ends_a_running_read_at_once(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 90))
    pipeline.simulator.faults.set([{"effect": "wrong_passcode", "step": "page", "page": 2}])
    with pytest.raises(AuthError):
        pipeline.run()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-")]


def test_bad_records_are_rejected_once_and_the_rest_loads(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5, day="20260314"))
    pipeline.simulator.faults.set([{"effect": "bad_ts", "form": "impossible", "records": 1}])
    pipeline.run("historical")
    assert len(pipeline.log) == 4 and [row["code"] for row in pipeline.rejects] == ["BAD_TIMESTAMP"]
    assert pipeline.read == 5
    pipeline.run("incremental")
    pipeline.run("incremental")
    assert len(pipeline.rejects) == 1 and pipeline.passed["repeated"] == 5


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_days_read_again_bring_what_was_lost_and_double_nothing(make: Make, mode: Any) -> None:
    pipeline = make("Charged", shards=1)
    pipeline.mode = mode
    pipeline.settings |= {"batch_size": 23}
    pipeline.simulator.add_events(PROJECT, events("Charged", 60))
    pipeline.simulator.faults.set([{"effect": "lost_page", "page": 2, "times": 1}])
    pipeline.run()
    pipeline.simulator.faults.clear()
    assert len(pipeline.log) == 37
    cursors = json.dumps({lane: pipeline.kept.cursors[lane] for lane in ("incremental", "historical")})
    days = Slice(date(2026, 3, 13), date(2026, 3, 13), "Charged")
    pipeline.run("again", slices=(days, Slice(date(2026, 3, 12), date(2026, 3, 14))))
    assert set(pipeline.table) == set(pipeline.truth())
    assert len(pipeline.log) == (97 if mode == "merge" else 60), "in merge mode a person gets all of it again"
    assert json.dumps({lane: pipeline.kept.cursors[lane] for lane in ("incremental", "historical")}) == cursors
    assert pipeline.kept.cursors["again"] is None


def test_days_whose_marks_are_gone_are_not_read_again_in_append_mode(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.mode = "append"
    old = Slice(date(2026, 1, 1), date(2026, 1, 3), "Charged")
    pipeline.run("again", slices=(old,))
    assert not pipeline.asked() and pipeline.codes() == ["too_old_to_repeat"]
    pipeline.mode = "merge"
    pipeline.run("again", slices=(old,))
    assert froms(pipeline, 0) == [("Charged", 20260101, 20260103)]


def test_marks_are_pruned_when_no_read_needs_them_and_not_before(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 2, day="20260212") + events("Charged", 2, day="20260314"))
    pipeline.run()
    days = lambda: sorted(found[1] for part in pipeline.kept.parts() if (found := day_of(part)))  # noqa: E731  one line, used at once
    assert days() == [20260212, 20260314] and history_part("Charged") in pipeline.kept.parts()
    pipeline.simulator.clock.advance(days=8)
    pipeline.run()
    assert days() == [20260212, 20260314]
    pipeline.simulator.clock.advance(days=1)
    pipeline.run()
    assert days() == [20260314]
    pipeline.kept.marks.pop(history_part("Charged"))
    pipeline.simulator.clock.advance(days=60)
    pipeline.run("incremental")
    assert days() == [20260314], "a history that is not complete keeps its days"


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_rows_whose_clock_was_wrong_come_once_however_often_their_days_are_read(make: Make, mode: Any) -> None:
    """The clocks of some devices say 2000 or 2027: their rows come with the days on which they were sent."""
    pipeline = make("Charged", shards=1)
    pipeline.mode = mode
    pipeline.settings |= {"batch_size": 23, "window_days": 3}
    for served in ("20260301", "20260306", "20260312", "20260314"):
        for said in ("19991231", "20000101", "20000101", "20270101"):
            found = events("Charged", 20, day=said, start=int(served) % 100 * 1000 + int(said) % 7 * 100)
            pipeline.simulator.add_events(PROJECT, [each | {"served_on": served} for each in found])
    pipeline.run()
    assert len(pipeline.table) == 240 and len(pipeline.log) == (240 if mode == "merge" else 320)
    loaded = len(pipeline.log)
    for hours in (0, 1, 7, 24, 24, 72):
        pipeline.simulator.clock.advance(hours=hours)
        counts = pipeline.run()
        assert len(pipeline.log) == loaded and not counts["new"]
    pipeline.run("again", slices=(Slice(date(2026, 3, 1), date(2026, 3, 15)),))
    assert len(pipeline.log) == loaded + (240 if mode == "merge" else 0), "a person gets all of it again, if it fits"
    pipeline.simulator.clock.advance(days=45)
    pipeline.run()
    known = [found[1] for part in pipeline.kept.parts() if (found := day_of(part))]
    assert known == [20270101]
    assert not pipeline.kept.recall(strays_part("Charged"))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_the_run_that_reads_rows_with_old_times_does_not_forget_them(
    make: Make, mode: Any, older: bool, late: bool
) -> None:
    """Forgetting ends that run, which may have committed nothing before. ``older``: others of that day end with it."""
    pipeline = make("Charged", shards=1)
    pipeline.mode, pipeline.late = mode, late
    pipeline.settings |= {"historical_days": 1, "deep_lookback_days": 1, "lookback_days": 1}

    def come(said: str, served: str, start: int) -> None:
        rows = events("Charged", 5, day=said, start=start)
        pipeline.simulator.add_events(PROJECT, [each | {"served_on": served} for each in rows])

    pipeline.simulator.add_events(PROJECT, events("Charged", 5, day="20260314"))
    if older:
        come("20000101", "20260314", 100)
    pipeline.run()
    loaded = len(pipeline.log)
    pipeline.simulator.clock.advance(days=5)
    come("20000101", "20260319", 200)
    come("20030303", "20260319", 300)
    for hours in (0, 1, 7, 16):
        pipeline.simulator.clock.advance(hours=hours)
        pipeline.run()
        assert len(pipeline.log) == loaded + 10
    pipeline.simulator.clock.advance(days=5)
    pipeline.run()
    assert not pipeline.kept.recall(strays_part("Charged")), "once the days that they came with are not read again"
    assert not [found for part in pipeline.kept.parts() if (found := day_of(part)) and found[1] < 20260101]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_rows_whose_clock_was_some_days_off_come_once_though_their_day_is_put_together(
    make: Make, mode: Any, late: bool
) -> None:
    """The day that they say is one of another unit, which puts the many marks of its days together at its end."""
    pipeline = make("Charged", shards=1)
    pipeline.mode, pipeline.late = mode, late
    pipeline.settings |= {"batch_size": 23, "window_days": 3, "max_concurrency": 1}
    pipeline.simulator.add_events(PROJECT, events("Charged", 60, day="20260310"))
    strays = events("Charged", 5, day="20260310", start=1000)
    pipeline.simulator.add_events(PROJECT, [each | {"served_on": "20260314"} for each in strays])
    pipeline.run()
    assert len(pipeline.log) == len(pipeline.table) == 65
    for hours in (7, 24, 24):
        pipeline.simulator.clock.advance(hours=hours)
        pipeline.run()
        assert len(pipeline.log) == 65
    assert len(entries(pipeline.kept.recall(part_of("Charged", 20260310)))) == 65


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_row_that_says_a_day_before_its_own_is_known_as_long_as_its_own_may_be_read(make: Make, mode: Any) -> None:
    """Read with both of the days in one window, it looks like a row of the first."""
    pipeline = make("Charged")
    pipeline.mode = mode
    pipeline.settings |= {"historical_days": 5, "deep_lookback_days": 1, "lookback_days": 1}
    (row,) = events("Charged", 1, day="20260311")
    pipeline.simulator.add_events(PROJECT, [row | {"served_on": "20260314"}])
    pipeline.run()
    pipeline.simulator.clock.advance(days=8)
    pipeline.run()
    asked = len(pipeline.asked("open"))
    pipeline.run("again", slices=(Slice(date(2026, 3, 14), date(2026, 3, 14)),))
    assert len(pipeline.asked("open")) > asked and not pipeline.notes
    assert len(pipeline.log) == (2 if mode == "merge" else 1), "where the key keeps it from being doubled, it goes on"
    pipeline.simulator.clock.advance(days=35)
    pipeline.run()
    assert not [part for part in pipeline.kept.parts() if day_of(part)]


@pytest.mark.parametrize("cursor", ["a b", "a\r\nX-Evil: 1", "é", "a\x7f"])
def test_a_cursor_that_cannot_be_sent_fails_its_unit_and_no_other(
    make: Make, cursor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make("Charged", "Refund")
    pipeline.settings |= {"batch_size": 23, "historical_days": 1}
    pipeline.simulator.add_events(PROJECT, events("Charged", 90) + events("Refund", 9))
    page = CleverTap._ask

    def odd(self: CleverTap, *asked: Any, **more: Any) -> Any:
        answer = page(self, *asked, **more)
        if asked[4] == "page 2 of Charged":
            answer.envelope.next_cursor = cursor
        return answer

    monkeypatch.setattr(CleverTap, "_ask", odd)
    pipeline.run()
    assert pipeline.codes() == ["unit_failed"] and "'Charged'" in pipeline.notes[0].message
    assert sum(row["event_name"] == "Refund" for row in pipeline.log) == 9
    monkeypatch.undo()
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth()) and not pipeline.notes


def _aged(make: Make, mode: Any = "append") -> Pipeline:
    """A pipeline that loaded ten rows and has forgotten the five that are older, before its settings grow."""
    pipeline = make("Charged")
    pipeline.mode = mode
    pipeline.settings |= {"historical_days": 1, "deep_lookback_days": 1, "lookback_days": 1}
    pipeline.simulator.add_events(PROJECT, events("Charged", 5, day="20260314"))
    pipeline.run()
    pipeline.simulator.clock.advance(days=45)
    pipeline.simulator.add_events(PROJECT, events("Charged", 5, day="20260428", start=5))
    pipeline.run()
    pipeline.simulator.clock.advance(days=1)
    pipeline.run()
    assert len(pipeline.log) == 10 and not pipeline.notes
    assert [found for part in pipeline.kept.parts() if (found := day_of(part))] == [("Charged", 20260428)]
    assert day_of(forgotten_part("Charged")) is None and forgotten_before("Charged", pipeline.kept) > 20260314
    return pipeline


def _grown(pipeline: Pipeline, way: str) -> None:
    if way == "again":
        pipeline.settings["historical_days"] = 30
        pipeline.run("again", slices=(Slice(date(2026, 3, 9), date(2026, 4, 29)),))
    elif way == "historical":
        pipeline.settings["historical_days"] = 30
        pipeline.kept.cursors.pop("historical")
        pipeline.run()
        assert pipeline.kept.cursors["historical"]["historical"]["complete"]
    else:
        pipeline.settings["deep_lookback_days"] = 30
        pipeline.simulator.clock.advance(days=1)
        pipeline.run()


@pytest.mark.parametrize("way", ["again", "historical", "incremental"])
def test_forgotten_days_are_not_read_again_in_append_mode_when_settings_grow(make: Make, way: str) -> None:
    pipeline = _aged(make)
    before = forgotten_before("Charged", pipeline.kept)
    asked = len(pipeline.asked("open"))
    pipeline.names("Charged", "Refund")
    pipeline.simulator.add_events(PROJECT, events("Refund", 3, day="20260412"))
    pipeline.simulator.add_events(PROJECT, events("Charged", 2, day="20260428", start=10))
    _grown(pipeline, way)
    assert "too_old_to_repeat" in pipeline.codes()
    assert min(first for name, first, _ in froms(pipeline, asked) if name == "Charged") == before
    new = [row for row in pipeline.log if row["event_name"] == "Refund"]
    assert len(new) == (0 if way == "incremental" else 3), "an event that is new gets its whole past"
    assert len(pipeline.log) - len(new) == 12 and len(pipeline.table) == len(pipeline.log)


def test_forgotten_days_are_read_again_in_merge_mode(make: Make) -> None:
    pipeline = _aged(make, "merge")
    _grown(pipeline, "again")
    assert len(pipeline.log) == 20 and len(pipeline.table) == 10 and not pipeline.notes


def _with_a_reject_that_was_read_well_later(make: Make) -> tuple[Pipeline, str]:
    """An appending pipeline, the day of whose reject would be forgotten by now; and its reject, mended by a person."""
    pipeline = make("Charged")
    pipeline.mode = "append"
    pipeline.settings |= {"historical_days": 1, "deep_lookback_days": 1, "lookback_days": 1}
    pipeline.simulator.add_events(PROJECT, events("Charged", 5, day="20260313") + events("Charged", 5, day="20260314"))
    pipeline.simulator.faults.set([{"step": "page", "times": 1, "effect": "bad_ts", "form": "null", "records": 1}])
    pipeline.run()
    assert len(pipeline.rejects) == 1
    pipeline.simulator.clock.advance(hours=7)
    pipeline.run()
    assert len(pipeline.table) == len(pipeline.log) == 10
    (whole,) = {f"{row['ts_raw']}" for row in pipeline.log[9:]}
    mended = json.loads(pipeline.rejects[0]["row"]) | {"ts": int(whole)}
    assert mended["event_props"] == json.loads(pipeline.log[9]["event_props"])
    pipeline.simulator.add_events(PROJECT, events("Charged", 1, day="20260328", start=10))
    pipeline.simulator.clock.advance(days=14)
    pipeline.run()
    return pipeline, json.dumps(mended)


def _replayed(pipeline: Pipeline, text: str) -> list[Any]:
    source = pipeline.source()
    reading = Reading(source.streams()[0], "again", None, pipeline.kept, pipeline.mode)
    return [item for item in source.replay(reading, [text]) if not isinstance(item, Checkpoint)]


def test_a_reject_that_was_read_well_later_is_not_doubled_by_a_replay_however_late(make: Make) -> None:
    pipeline, mended = _with_a_reject_that_was_read_well_later(make)
    assert _replayed(pipeline, mended) == [Passed(1, "repeated")]
    before = {found[1] for part in pipeline.kept.parts() if (found := day_of(part))}
    assert before & {20260313, 20260314}, "their rows are known as long as a reject of theirs can be"
    # A record of those days that never came as a row is loaded.
    other = json.loads(mended)
    other["event_props"] = {"n": 99}
    (rows,) = _replayed(pipeline, json.dumps(other))
    assert rows.num_rows == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_reject_stays_known_though_an_older_one_ends_with_its_run(make: Make, late: bool) -> None:
    pipeline, _ = _with_a_reject_that_was_read_well_later(make)
    pipeline.late = late
    pipeline.settings["max_concurrency"] = 1
    pipeline.simulator.clock.advance(days=79)
    today = f"{pipeline.clock.now():%Y%m%d}"
    pipeline.simulator.add_events(PROJECT, events("Charged", 5, day=today, start=20))
    pipeline.simulator.faults.set([{"step": "page", "times": 1, "effect": "bad_ts", "form": "null", "records": 1}])
    pipeline.run()
    assert len(pipeline.rejects) == 2
    pipeline.simulator.clock.advance(hours=7)
    pipeline.run()
    mended = json.loads(pipeline.rejects[1]["row"]) | {"ts": int(pipeline.log[-1]["ts_raw"])}
    assert mended["event_props"] == json.loads(pipeline.log[-1]["event_props"])
    pipeline.simulator.clock.advance(days=30)
    pipeline.run()
    assert _replayed(pipeline, json.dumps(mended)) == [Passed(1, "repeated")]


@pytest.mark.parametrize("why", ["later than rejects are kept", "rejected by an earlier version"])
def test_a_reject_of_a_forgotten_day_stays_one_in_append_mode(make: Make, why: str) -> None:
    pipeline, mended = _with_a_reject_that_was_read_well_later(make)
    if why == "rejected by an earlier version":
        pipeline.kept.marks.pop(rejecting_part("Charged"))
    pipeline.simulator.clock.advance(days=35 if why == "rejected by an earlier version" else 79)
    pipeline.run()
    assert not pipeline.kept.recall(rejecting_part("Charged"))
    (refused,) = _replayed(pipeline, mended)
    (row,) = refused.rows.to_pylist()
    assert row["code"] == "FORGOTTEN_DAY" and "__hevo_id" in row["message"]
    assert json.loads(row["row"]) == json.loads(mended)
    recent = json.loads(mended) | {"ts": int(f"{pipeline.clock.now():%Y%m%d}000000")}
    (rows,) = _replayed(pipeline, json.dumps(recent))
    assert rows.num_rows == 1
    pipeline.mode = "merge"
    (rows,) = _replayed(pipeline, mended)
    assert rows.num_rows == 1, "where the key keeps rows from being doubled, it goes on"


def test_marks_of_a_finished_unit_are_one_for_each_day(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings["batch_size"] = 23
    pipeline.simulator.add_events(PROJECT, events("Charged", 90) + events("Charged", 40, day="20260312"))
    pipeline.run()
    for part in pipeline.kept.parts():
        assert len(pipeline.kept.recall(part)) == 1
    assert sum(len(entries(pipeline.kept.recall(part))) for part in pipeline.kept.parts() if day_of(part)) == 130


def test_names_come_from_the_schema_and_new_ones_are_told(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings |= {"event_source": "schema"}
    del pipeline.settings["events_file"]
    pipeline.simulator.add_events(PROJECT, events("Charged", 3))
    pipeline.run()
    assert len(pipeline.log) == 3
    pipeline.simulator.add_events(PROJECT, events("Brand New", 2))
    pipeline.run()
    assert [(note.code, note.level) for note in pipeline.notes] == [("new_events", "info")]
    assert "read from 2026-02-12 on: 'Brand New'" in pipeline.notes[0].message
    assert len(pipeline.log) == 5


def test_without_the_schema_a_file_goes_on_alone_and_a_schema_pipeline_fails(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 3))
    pipeline.simulator.faults.set([{"effect": "server_error", "path": "/getSchema"}])
    pipeline.settings["event_source"] = "both"
    pipeline.run()
    assert len(pipeline.log) == 3 and "schema_unread" in pipeline.codes()
    pipeline.settings["event_source"] = "schema"
    with pytest.raises(Transient):
        pipeline.run()


def test_a_preview_says_what_becomes_of_the_names_of_the_file_and_of_the_schema_and_where_each_comes_from(
    make: Make,
) -> None:
    pipeline = make("Charged", "Search")
    Path(pipeline.settings["events_file"]).write_text("Event name\nCharged\nNot There\nNotification Sent\n")
    pipeline.settings["event_source"] = "both"
    pipeline.simulator.add_events(PROJECT, events("charged", 1))
    found = pipeline.source().listed_names()
    shown = {row.name: (row.line, row.fate, row.comes_from) for row in found.rows}
    assert [*shown][:3] == ["Charged", "Not There", "Notification Sent"]
    assert shown["Charged"] == (2, "read", "both")
    assert shown["Not There"] == (3, "read", "file")
    assert shown["Notification Sent"] == (4, "not_exportable", "file")
    assert shown["Search"] == (None, "read", "schema")
    assert {row.name: row.note for row in found.rows}["Charged"] == "not the same event as 'charged'"
    assert found.read == sum(row.fate == "read" for row in found.rows) and found.not_exportable == 1
    # What is shown is what is read.
    pipeline.run()
    asked = {json.loads(entry.body)["event_name"] for entry in pipeline.asked("open")}
    assert asked == {row.name for row in found.rows}
    pipeline.settings["event_source"] = "schema"
    assert {row.comes_from for row in pipeline.source().listed_names().rows} == {"schema"}
    assert "Not There" not in {row.name for row in pipeline.source().listed_names().rows}


def test_a_preview_without_the_schema_has_the_file_alone_or_fails(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.settings["event_source"] = "both"
    pipeline.simulator.faults.set([{"effect": "server_error", "path": "/getSchema"}])
    found = pipeline.source().listed_names()
    assert [(row.name, row.comes_from) for row in found.rows] == [("Charged", "file")]
    assert any("list of events could not be read" in text for text in found.warnings)
    pipeline.settings["event_source"] = "schema"
    with pytest.raises(Transient):
        pipeline.source().listed_names()


def test_a_vanished_name_stops_and_keeps_its_place(make: Make) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.run()
    pipeline.names("Charged")
    pipeline.simulator.clock.advance(days=2)
    pipeline.run()
    pipeline.names("Charged", "App Launched")
    since = len(pipeline.asked("open"))
    pipeline.run()
    assert min(first for name, first, _ in froms(pipeline, since) if name == "App Launched") == 20260308


def test_a_name_that_a_fresh_start_went_without_is_told_as_new_with_its_first_day(make: Make) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.simulator.add_events(PROJECT, events("Charged", 1) + events("Charged", 1, day="20260422"))
    pipeline.run()
    assert not pipeline.notes
    pipeline.names("Charged")
    pipeline.kept.cursors.clear()
    pipeline.run()
    assert not pipeline.notes
    pipeline.names("Charged", "App Launched")
    pipeline.simulator.clock.advance(days=40)
    pipeline.run()
    assert [note.code for note in pipeline.notes] == ["new_events"]
    assert "read from 2026-03-24 on: 'App Launched'" in pipeline.notes[0].message
    pipeline.run()
    assert not pipeline.notes


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_name_that_comes_back_has_the_days_in_between_whole(make: Make, mode: LoadMode) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.mode = mode
    pipeline.simulator.add_events(PROJECT, events("App Launched", 3, copies=2))
    pipeline.run()
    pipeline.names("Charged")
    for day in ("20260320", "20260420", "20260520"):
        pipeline.simulator.clock.advance(days=30)
        pipeline.simulator.add_events(PROJECT, events("App Launched", 4, day=day))
        pipeline.run()
    pipeline.names("Charged", "App Launched")
    pipeline.run()
    pipeline.run()
    assert not pipeline.notes
    assert len(pipeline.table) == 15 and len(pipeline.log) == (18 if mode == "append" else 15)


def test_a_today_that_the_server_takes_for_the_future_is_left_out_and_read_later(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 4) + events("Charged", 3, day="20260314"))
    pipeline.simulator.faults.set([{"effect": "clock_skew", "seconds": 86400}])
    pipeline.run()
    assert len(pipeline.log) == 4
    assert "today_refused" in pipeline.codes() and "timezone" in pipeline.notes[-1].message
    assert not pipeline.kept.cursors["historical"]["historical"]["complete"]
    pipeline.simulator.faults.clear()
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth())
    assert pipeline.kept.cursors["historical"]["historical"]["complete"]


def test_another_time_zone_is_warned_about(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 1))
    pipeline.run()
    pipeline.settings["timezone"] = "Asia/Kolkata"
    pipeline.run("incremental")
    assert pipeline.codes() == ["timezone_changed"]


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_project_id_that_is_corrected_brings_the_whole_history_of_the_right_project(make: Make, mode: Any) -> None:
    pipeline = make("Charged")
    pipeline.mode = mode
    pipeline.simulator.add_events(PROJECT, events("Charged", 3, day="20260212") + events("Charged", 4, day="20260314"))
    pipeline.settings["project_id"] = "ABC-DEF-GHIJ"
    pipeline.run()
    assert not pipeline.log and pipeline.codes() == ["nothing_read"]
    assert pipeline.kept.cursors["historical"]["historical"]["complete"]
    del pipeline.settings["project_id"]
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth()) and len(pipeline.log) == 7
    assert pipeline.codes() == ["project_changed"] and "ABC-DEF-GHIJ" in pipeline.notes[0].message
    assert not pipeline.run()["new"] and not pipeline.notes and len(pipeline.log) == 7


def test_a_project_id_is_corrected_though_the_cursors_of_an_earlier_version_do_not_name_it(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 3, day="20260212"))
    pipeline.settings["project_id"] = "ABC-DEF-GHIJ"
    pipeline.run()
    for cursor in pipeline.kept.cursors.values():
        del cursor["project"], cursor["row_identity"]
    pipeline.run()
    del pipeline.settings["project_id"]
    pipeline.run()
    assert pipeline.codes() == ["project_changed"] and len(pipeline.log) == 3


def test_another_row_identity_is_refused_since_it_would_double_rows(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 3, day="20260314"))
    pipeline.run()
    pipeline.settings["row_identity"] = "record"
    for lane in ("incremental", "historical", "again"):
        with pytest.raises(ConfigError, match="row_identity was event") as refused:
            pipeline.run(lane, slices=(Slice(date(2026, 3, 14), date(2026, 3, 14)),))
        assert "--full" in (refused.value.hint or "")
    pipeline.kept.cursors.clear()
    pipeline.kept.marks.clear()
    pipeline.log.clear()
    pipeline.run()
    assert len(pipeline.log) == 3 and not pipeline.run()["new"]


def test_progress_grows_to_one_and_stays_below_it_while_a_unit_failed(make: Make) -> None:
    pipeline = make("Charged", "App Launched")
    pipeline.simulator.add_events(PROJECT, events("Charged", 4) + events("App Launched", 4))

    def progress() -> list[float]:
        source = pipeline.source()
        reading = Reading(source.streams()[0], "historical", pipeline.kept.cursors.get("historical"), Kept())
        found: list[float] = []
        for item in source.read(reading):
            if isinstance(item, Checkpoint):
                pipeline.kept.cursors["historical"] = item.cursor
                assert item.progress is not None
                found.append(item.progress)
        return found

    pipeline.simulator.faults.set([{"effect": "garbage", "event": "Charged", "step": "open"}])
    first = progress()
    assert first == sorted(first) and first[-1] == pytest.approx(0.5)
    pipeline.simulator.faults.clear()
    second = progress()
    assert second == sorted(second) and second[-1] == 1.0
    assert progress() == []


def test_stopping_ends_the_read_soon_and_a_later_run_goes_on(make: Make) -> None:
    pipeline = make("Charged", latency_ms={"open": (1, 2), "page": (10, 20)})
    pipeline.settings |= {"batch_size": 23}
    pipeline.simulator.add_events(PROJECT, events("Charged", 300))
    source = pipeline.source()
    items = source.read(Reading(source.streams()[0], "historical", None, pipeline.kept))
    for item in items:
        if isinstance(item, Checkpoint):
            pipeline.stopping.set()
            break
    asked = len(pipeline.asked())
    assert isinstance(list(items)[-1], Checkpoint)
    assert len(pipeline.asked()) - asked <= 6
    pipeline.stopping.clear()
    pipeline.run()
    assert set(pipeline.table) == set(pipeline.truth())


@pytest.mark.parametrize("fault", [{"effect": "timeout", "step": "page", "seconds": 30}, {"effect": "not_ready"}])
def test_closing_the_read_ends_its_threads_promptly(make: Make, fault: dict[str, Any]) -> None:
    class Patient:
        """A clock whose sleep takes real time, so that waits are caught in the middle."""

        now = staticmethod(lambda: datetime(2026, 3, 14, 10, tzinfo=UTC))
        monotonic = staticmethod(time.monotonic)
        sleep = staticmethod(time.sleep)

    pipeline = make("Charged", "App Launched")
    pipeline.simulator.add_events(PROJECT, events("App Launched", 5))
    pipeline.simulator.faults.set([{**fault, "event": "Charged"}])
    source = Source(pipeline.source().config, Context(Patient()))
    items = source.read(Reading(source.streams()[0], "historical", None, Kept()))
    assert isinstance(items, Iterator)
    next(items)
    began = time.monotonic()
    items.close()
    assert time.monotonic() - began < 25
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-")]


def test_the_systems_own_counts_come_by_name_and_day(make: Make) -> None:
    pipeline = make("Charged", "App Launched", partial={"probability": 1.0, "times": (1, 2)})
    pipeline.simulator.add_events(PROJECT, events("Charged", 5, copies=2) + events("App Launched", 3, day="20260312"))
    pipeline.run()
    source = pipeline.source()
    stream = source.streams()[0]
    slices = [Slice(date(2026, 3, 12), date(2026, 3, 13))]
    counted = {(each.name, each.day): each.rows for each in source.counts(stream, slices)}
    assert counted == {
        ("Charged", date(2026, 3, 12)): 0,
        ("Charged", date(2026, 3, 13)): 5,
        ("App Launched", date(2026, 3, 12)): 3,
        ("App Launched", date(2026, 3, 13)): 0,
    }
    seen = {(each.name, each.day): (each.distinct, each.copies) for each in source.seen(stream, pipeline.kept, slices)}
    assert seen == {("Charged", date(2026, 3, 13)): (5, 10), ("App Launched", date(2026, 3, 12)): (3, 3)}
    grouping = source.countable(stream)
    assert (grouping.name_column, grouping.time_column, grouping.timezone) == ("event_name", "ts", "UTC")


def asked(pipeline: Pipeline) -> Counter[str]:
    return Counter(entry.path for entry in pipeline.simulator.journal() if "/counts/" in entry.path)


MONTH = [Slice(date(2026, 2, 13), date(2026, 3, 14))]


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (None, {"/1/counts/trends.json": 3, "/1/counts/events.json": 2}),
        ({"effect": "server_error", "status": 503}, {"/1/counts/events.json": 90}),
        ({"effect": "garbage", "shape": "no_status"}, {"/1/counts/events.json": 90}),
        ({"effect": "not_allowed"}, {"/1/counts/trends.json": 3, "/1/counts/events.json": 90}),
        ({"effect": "garbage", "shape": "html"}, {"/1/counts/events.json": 90}),
    ],
)
def test_a_month_of_a_name_is_one_request_where_trends_can_be_had(
    make: Make, fault: dict[str, Any] | None, requests: dict[str, int]
) -> None:
    pipeline = make("Charged", "App Launched", "Search")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5) + events("App Launched", 3, day="20260301"))
    if fault:
        pipeline.simulator.faults.set([{**fault, "path": "/1/counts/trends.json"}])
    source = pipeline.source()
    counted = list(source.counts(source.streams()[0], MONTH))
    assert len(counted) == 3 * 30
    rows = {(each.name, f"{each.day}", each.rows) for each in counted if each.rows}
    assert rows == {("Charged", "2026-03-13", 5), ("App Launched", "2026-03-01", 3)}
    assert requests.items() <= asked(pipeline).items()


def test_trends_that_disagree_with_the_counts_are_not_used(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if its days were those of another time zone.
    monkeypatch.setattr(simulated, "_period", lambda _, day: (day - timedelta(days=1)).strftime("%Y%m%d"))
    pipeline = make("Charged", "App Launched")
    pipeline.simulator.add_events(PROJECT, events("Charged", 5) + events("App Launched", 3, day="20260213"))
    source = pipeline.source()
    counted = [each for each in source.counts(source.streams()[0], MONTH) if each.rows]
    assert {(each.name, f"{each.day}", each.rows) for each in counted} == {
        ("Charged", "2026-03-13", 5),
        ("App Launched", "2026-02-13", 3),
    }


def test_names_that_cannot_be_exported_are_told_once_for_each_change_whatever_the_lane(make: Make) -> None:
    pipeline = make("Charged", "Notification Sent")
    pipeline.run()
    assert pipeline.codes().count("not_exportable") == 1
    for days in (1, 7):
        pipeline.simulator.clock.advance(days=days)
        pipeline.run()
        assert "not_exportable" not in pipeline.codes(), days
    pipeline.names("Charged", "Notification Sent", "Notification Viewed")
    pipeline.run()
    (note,) = (note.message for note in pipeline.notes if note.code == "not_exportable")
    assert "'Notification Viewed'" in note and "'Notification Sent'" not in note


def test_names_that_cannot_be_counted_are_left_out(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.names("Charged", "Nope")
    source = pipeline.source()
    counted = list(source.counts(source.streams()[0], [Slice(date(2026, 3, 13), date(2026, 3, 13))]))
    assert [each.name for each in counted] == ["Charged"]


def test_a_good_connection_passes_in_every_step(make: Make) -> None:
    pipeline = make("Charged", "Checkout Started")
    found = pipeline.source().check()
    assert [(each.step, each.state) for each in found] == [
        ("settings", "warn"), ("events file", "pass"), ("credentials", "pass"),
        ("catalogue", "pass"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "state", "says"),
    [
        ({"effect": "empty_200"}, "fail", "not a CleverTap endpoint"),
        ({"effect": "too_many"}, "fail", "busy"),
        ({"effect": "server_error", "status": 503, "body": "html"}, "fail", "busy"),
        ({"effect": "server_error", "status": 503, "times": 2}, "pass", "accepted the passcode"),
        ({"effect": "not_allowed"}, "pass", "accepted the passcode"),
        ({"effect": "invalid_event"}, "pass", "accepted the passcode"),
        ({"effect": "clock_skew"}, "warn", "another day"),
        ({"effect": "reset"}, "fail", "broke"),
        ({"effect": "garbage", "shape": "html"}, "fail", "HPKE"),
    ],
)
def test_verdicts_on_what_the_server_says(make: Make, fault: dict[str, Any], state: str, says: str) -> None:
    pipeline = make("Charged")
    pipeline.simulator.faults.set([{**fault, "path": "/1/events.json"}])
    verdict = next(each for each in pipeline.source().check() if each.step == "credentials")
    assert verdict.state == state and says in verdict.message


def test_verdicts_say_how_many_names_are_in_the_file_again(make: Make) -> None:
    pipeline = make("Charged")
    for names, says in ((("Charged",), "1 event names to ingest"), (("Charged",) * 3, "2 rows name one")):
        pipeline.names(*names)
        verdict = next(each for each in pipeline.source().check() if each.step == "events file")
        assert verdict.state == "pass" and says in verdict.message


def test_verdicts_name_what_is_wrong_with_file_and_names(make: Make) -> None:
    pipeline = make("Charged")
    pipeline.names("Chargd", "Nope", "Nah")
    found = {each.step: each for each in pipeline.source().check()}
    assert found["event names"].state == "warn" and "'Chargd'" in found["event names"].message
    assert found["catalogue"].state == "warn" and "another project" in found["catalogue"].message
    pipeline.settings["events_file"] = "/nowhere/events.csv"
    last = pipeline.source().check()[-1]
    assert last.step == "events file" and last.state == "fail" and last.hint


def test_an_address_that_cannot_be_reached_fails_with_its_host(make: Make) -> None:
    pipeline = make("Charged")
    for url, host in (
        (pipeline.simulator.tls_error_url, "127.0.0.1"),
        (pipeline.simulator.dns_error_url, "clevertap.invalid"),
    ):
        pipeline.settings["base_url"] = url
        last = pipeline.source().check()[-1]
        assert last.step == "credentials" and last.state == "fail" and host in last.message and last.hint


def test_the_second_name_of_the_european_host_is_tried_when_the_first_cannot_be_reached(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make("Charged")
    pipeline.simulator.add_events(PROJECT, events("Charged", 3))
    urls = ("http://127.0.0.1:9", pipeline.simulator.base_url)
    monkeypatch.setattr(Config, "base_urls", property(lambda _: urls))
    pipeline.run()
    assert len(pipeline.log) == 3 and not pipeline.notes


def test_a_foreign_stream_is_refused() -> None:
    from millrace.connect.source import Stream

    config = Config(project_id=PROJECT, passcode=PASSCODE, events_file="x")
    with pytest.raises(ConfigError, match="no stream"):
        Source(config).read(Reading(Stream("Profiles"), "incremental"))
