"""The limit of rows in a window: counted with the rows, and what reads beyond it stalls until there is room again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk, commit
from tests.control.sources import Script

from millrace.control import activity
from millrace.control.alerting import alert_routing, alert_watch, alerts
from millrace.control.connecting import connections
from millrace.control.database import tables
from millrace.control.database.telling_tables import ingestion_limits
from millrace.control.home import Home
from millrace.control.metering import ingestion_limit
from millrace.control.running import jobs, runs, tasks, worker
from millrace.engine import ingest
from millrace.engine.meter import Meter
from millrace.errors import ConfigError

Segment = Callable[..., Any]

pytestmark = pytest.mark.spec("pipelines.5.5")

# A thousand years: no window ends while a test goes on, unless it says so.
AGE = 1000 * 365 * 24 * 60

# Statements over the window are tested on both kinds of database; what runs do by them, on one.
one_kind = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def ages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_limit, "LONGEST_MINUTES", AGE)


@pytest.fixture
def script(saved: Desk, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The pipeline `events` reads three pages of five rows, and commits each."""
    monkeypatch.setattr(ingest, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "BEAT_S", 0.02)
    found = Script({"Orders": [[{"id": 5 * page + row} for row in range(5)] for page in range(3)]})
    monkeypatch.setattr(connections, "build_source", found.build)
    return found


def past(home: Home) -> None:
    """The window of what was counted has ended."""
    with home.database.transaction() as connection:
        connection.execute(sa.update(ingestion_limits).values(window_at=datetime(1969, 1, 1, tzinfo=UTC)))
        connection.execute(sa.update(tables.tasks).values(due_at=home.database.now() - timedelta(hours=1)))


def test_rows_count_in_the_window_in_which_they_were_staged(home: Home, saved: Desk, segment: Segment) -> None:
    assert ingestion_limit.of(home).rows is None
    ingestion_limit.allow(home, 20, minutes=AGE)
    books, _ = saved.books()
    books.commit(commit(read=12, segments=(segment(12),)))
    assert (ingestion_limit.of(home).counted, ingestion_limit.of(home).full) == (12, False)
    books.commit(commit(read=9, segments=(segment(9),)))
    found = ingestion_limit.of(home)
    assert (found.counted, found.full, found.minutes) == (21, True, AGE)
    assert ingestion_limit.until(home.database, home.actor.team_id) == found.until
    past(home)
    assert (ingestion_limit.of(home).counted, ingestion_limit.until(home.database, home.actor.team_id)) == (0, None)
    books.commit(commit(read=3, segments=(segment(3),)))
    assert ingestion_limit.of(home).counted == 3


def test_a_limit_that_changes_goes_on_counting_and_is_on_record(home: Home, saved: Desk, segment: Segment) -> None:
    ingestion_limit.allow(home, 20, minutes=AGE)
    books, _ = saved.books()
    books.commit(commit(read=12, segments=(segment(12),)))
    assert ingestion_limit.allow(home, 10, minutes=AGE).full
    ingestion_limit.lift(home)
    ingestion_limit.lift(home)
    assert [one.action for one in activity.listed(home).items[:4]].count("limit") == 3
    for rows, minutes in ((0, 30), (5, 0), (5, AGE + 1)):
        with pytest.raises(ConfigError):
            ingestion_limit.allow(home, rows, minutes=minutes)


@one_kind
def test_a_full_window_is_told_once_until_there_is_room_again(home: Home, saved: Desk) -> None:
    def codes(now: datetime) -> list[tuple[str, str]]:
        alert_watch.check_windows(home, now)
        alert_routing.route(home, now)
        return [(one.code, one.state) for one in alerts.page(home).items]

    def fill(now: datetime) -> None:
        with home.database.transaction() as connection:
            ingestion_limit.count(connection, home.actor.team_id, 4, now)

    ingestion_limit.allow(home, 4, minutes=30)
    full, minute = datetime(2026, 5, 20, 12, 10, tzinfo=UTC), timedelta(minutes=1)
    assert codes(full) == []
    fill(full)
    assert codes(full) == codes(full) == [("INGESTION_STALLED", "OPEN")]
    assert codes(full + 25 * minute) == [("INGESTION_STALLED", "OPEN")]
    fill(full + 26 * minute)
    assert codes(full + 49 * minute) == [("INGESTION_STALLED", "OPEN")]
    assert ("INGESTION_STALLED", "RESOLVED") in codes(full + 66 * minute)
    fill(full + 80 * minute)
    assert ("INGESTION_STALLED", "OPEN") in codes(full + 81 * minute)
    ingestion_limit.lift(home)
    assert ("INGESTION_STALLED", "OPEN") not in codes(full + 82 * minute)


@one_kind
def test_a_task_stalls_at_its_next_commit_and_goes_on_when_the_window_has_ended(home: Home, script: Script) -> None:
    ingestion_limit.allow(home, 4, minutes=AGE)
    jobs.start(home, "events")
    seen: list[str] = []
    task = None
    for _ in range(3):
        task = tasks.take(home.database, ("HIGH", "NORMAL"))
        assert task is not None
        worker.perform(home, task, threading.Event())
        seen.append(jobs.find(home, task.job).run.status)
        with home.database.reading() as connection:
            waiting = connection.execute(sa.select(tables.tasks.c.due_at, tables.tasks.c.attempts)).all()
        if seen[-1] == "QUEUED":
            assert waiting[0].due_at > home.database.now() and waiting[0].attempts == 0
            assert tasks.take(home.database, ("HIGH", "NORMAL")) is None
        past(home)
    assert script.read == [("Orders", 0), ("Orders", 1), ("Orders", 2)], "each row was read once"
    assert task is not None and jobs.find(home, task.job).run.balance.loaded == 15


@one_kind
def test_a_task_does_not_begin_while_the_window_is_full(home: Home, script: Script) -> None:
    ingestion_limit.allow(home, 4, minutes=AGE)
    with home.database.transaction() as connection:
        ingestion_limit.count(connection, home.actor.team_id, 4, home.database.now())
    job = jobs.start(home, "events")
    task = tasks.take(home.database, ("HIGH", "NORMAL"))
    assert task is not None
    worker.perform(home, task, threading.Event())
    assert (script.read, jobs.find(home, task.job).run.status) == ([], "QUEUED")
    assert job is not None


@one_kind
def test_a_run_by_hand_waits_where_it_is_until_there_is_room(home: Home, script: Script) -> None:
    ingestion_limit.allow(home, 4, minutes=AGE)
    meter = Meter()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(runs.run, home, "events", meter=meter)
        try:
            until = time.monotonic() + 120
            while "limit of rows" not in meter.awaiting and not ended.done():
                assert time.monotonic() < until
                time.sleep(0.02)
            assert script.read == [("Orders", 0)]
        finally:
            ingestion_limit.lift(home)
        ended.result(120)
    assert len(script.read) == 3 and meter.awaiting == ""
