"""What faces show: runs with their balance, pipelines with both of their positions, positions with their history."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.control.conftest import Desk, commit

from millrace.cli.pipelines import _statuses
from millrace.connect.destination import Loaded
from millrace.connect.source import Note
from millrace.control.books import leases, records
from millrace.control.home import Home
from millrace.control.observing import overview, status
from millrace.control.pipeline import lifecycle, pipelines, positions
from millrace.data.batch import Mark
from millrace.errors import ConfigError, Problem


def test_a_run_is_on_record_from_its_begin_to_its_end(home: Home, saved: Desk, segment: Any, rejects: Any) -> None:
    books, run = saved.books()
    began = records.run_record(home, run)
    assert (began.status, began.ended_at, began.pipeline, began.kind) == ("IN_PROGRESS", None, "events", "INCREMENTAL")
    books.commit(
        commit(read=20, segments=[segment(10)], rejects=[rejects(3)], passed={"future": 7}, counts={"late": 2})
    )
    books.loaded("events", 1, 1, Loaded(rows=10, inserted=8, updated=2))
    books.commit(commit(read=5, segments=[segment(5)]))
    problem = Problem("auth", "refused", "give another", "passcode")
    records.end_run(home.database, run, "FAILED", notes=[Note("n", "a word"), Note("m", "b", "info")], error=problem)
    ended = records.run_record(home, run)
    assert ended.balance == records.Balance(
        read=25,
        loaded=10,
        filtered={"future": 7},
        rejected={"mapping/NULL_PRIMARY_KEY": 3},
        waiting=5,
        staged=15,
    )
    assert ended.balance.even
    assert ended.streams == {"Events": ended.balance}
    assert ended.noted == {"late": 2}
    assert ended.load == {"rows": 10, "inserted": 8, "updated": 2}
    assert ended.notes == (records.Remark("n", "a word", "warning"), records.Remark("m", "b", "info"))
    assert ended.error == problem
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at
    told = json.loads(json.dumps(records.to_json(ended)))
    assert told["balance"]["even"] is True
    assert told["balance"]["rejected_rows"] == 3
    assert told["started_at"].endswith("Z")
    assert told["error"]["code"] == "auth"


def test_a_balance_that_is_not_even_says_so() -> None:
    balance = records.Balance(read=10, loaded=5, filtered={"a": 2}, rejected={"b/C": 1}, dropped=1, waiting=1)
    assert balance.even
    assert not replace(balance, loaded=4).even


def test_runs_are_listed_the_newest_first(home: Home, saved: Desk) -> None:
    began = [saved.books()[1] for _ in range(3)]
    assert [one.id for one in records.run_records(home)] == began[::-1]
    assert [one.id for one in records.run_records(home, "events", limit=2)] == began[:0:-1]
    assert records.run_records(home, "other") == []
    with pytest.raises(ConfigError, match="there is no run 999"):
        records.run_record(home, 999)


def test_runs_of_dead_processes_are_ended_by_the_next_one(home: Home, saved: Desk) -> None:
    _, dead = saved.books()
    assert records.end_interrupted(home.database, saved.pipeline) == [dead]
    record = records.run_record(home, dead)
    assert record.status == "FAILED"
    assert record.error is not None
    assert record.error.code == "interrupted"
    assert records.end_interrupted(home.database, saved.pipeline) == []


def test_a_status_shows_what_is_committed_and_what_is_loaded(
    home: Home, saved: Desk, segment: Any, rejects: Any
) -> None:
    (empty,) = status.statuses(home)
    assert (empty.streams, empty.last_run, empty.running, empty.open_rejects) == ((), None, None, 0)
    books, run = saved.books()
    books.commit(commit(cursor="h", lane="historical", progress=0.25, read=30, segments=[segment(10), segment(20)]))
    books.commit(commit(cursor="i", read=7, segments=[segment(5)], rejects=[rejects(2)]))
    books.park("events", 1, 2, [rejects(4, "A", "load")])
    books.loaded("events", 1, 2, Loaded(rows=30, inserted=26, refused=4))
    (found,) = status.statuses(home, "events")
    (stream,) = found.streams
    (table,) = stream.tables
    assert [(lane.lane, lane.cursor, lane.run) for lane in stream.lanes] == [
        ("historical", "h", run),
        ("incremental", "i", run),
    ]
    assert stream.history == pytest.approx(0.25)
    assert (table.staged, table.loaded, table.waiting_segments) == (3, 2, 1)
    assert (table.rows_staged, table.rows_loaded, table.waiting_rows, table.waiting_bytes) == (35, 26, 5, 500)
    assert (found.waiting_rows, found.rows_loaded, found.open_rejects) == (5, 26, 6)
    assert found.last_run == records.run_record(home, run)
    assert str(found.running).startswith("process ")
    assert (found.source_type, found.destination_type) == ("clevertap", "duckdb")
    assert json.loads(json.dumps(records.to_json(found)))["waiting_segments"] == 1
    with pytest.raises(ConfigError):
        status.statuses(home, "other")


@pytest.mark.usefixtures("saved")
def test_a_status_says_when_its_schedule_lets_the_pipeline_run_next(home: Home) -> None:
    assert status.statuses(home)[0].next_at is None
    wished = replace(pipelines.find(home, "events").wish, schedule={"every_s": 3600})
    pipelines.change(home, "events", lambda _: wished)
    (found,) = status.statuses(home)
    (listed,) = overview.page(home).items
    assert found.next_at is not None
    assert found.next_at == listed.next_at == status.statuses(home, "events")[0].next_at
    now = found.next_at - timedelta(hours=2, minutes=5)
    assert "every 1h, next in 2 h 5 min" in next(_statuses([found], now))
    lifecycle.pause(home, "events")
    (found,) = status.statuses(home)
    assert found.next_at is None
    assert "next in" not in next(_statuses([found], now))


def test_a_status_speaks_of_the_current_generation(home: Home, saved: Desk, segment: Any) -> None:
    books, _ = saved.books()
    books.commit(commit(read=10, segments=[segment(10)]))
    books.loaded("events", 1, 1, None)
    books.new_generation("events")
    (table,) = status.statuses(home)[0].streams[0].tables
    assert (table.generation, table.fresh, table.staged, table.rows_loaded) == (2, True, 0, 0)


def test_positions_are_listed_and_set_back_to_a_run(home: Home, saved: Desk) -> None:
    runs: list[int] = []
    for turn in range(3):
        books, run = saved.books()
        books.commit(commit(cursor={"at": turn}, marks=[Mark("p", bytes([turn]))]))
        books.commit(commit(lane="historical", cursor=turn, progress=turn / 2))
        runs.append(run)
    leases._ours.clear()
    assert [(one.lane, one.cursor, one.run) for one in positions.listed(home, "events")] == [
        ("historical", 2, runs[2]),
        ("incremental", {"at": 2}, runs[2]),
    ]
    back = positions.back_to(home, "events", runs[0], memory=True)
    assert [(one.lane, one.cursor, one.progress) for one in back] == [
        ("historical", 0, 0.0),
        ("incremental", {"at": 0}, None),
    ]
    assert books.cursor("Events", "incremental") == {"at": 0}
    assert len(books.memory("Events").recall("p")) == 3
    positions.put(home, "events", "Events", "incremental", {"at": 9})
    assert books.cursor("Events", "incremental") == {"at": 9}
    assert books.memory("Events").parts() == []
    positions.put(home, "events", "Events", "incremental", None)
    assert books.cursor("Events", "incremental") is None
    assert books.cursor("Events", "historical") is None, "it reads what came meanwhile"
    told = positions.history(home, "events", "Events", "incremental")
    assert [(one.cursor, one.run) for one in told] == [
        (None, None),
        ({"at": 9}, None),
        ({"at": 0}, None),
        *(({"at": turn}, runs[turn]) for turn in (2, 1, 0)),
    ]
    with pytest.raises(ConfigError) as caught:
        positions.back_to(home, "events", 999)
    assert caught.value.code == "unknown_position"


def test_a_position_is_not_set_while_the_pipeline_runs(home: Home, saved: Desk) -> None:
    saved.books()
    with pytest.raises(leases.AlreadyRunning):
        positions.put(home, "events", "Events", "incremental", 1)
