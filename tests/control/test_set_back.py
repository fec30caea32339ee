"""What waits goes with a clock that is set back, though others change it in that very moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk

from millrace.control.books import leases
from millrace.control.database import tables
from millrace.control.database.db import Database, open_database
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs, tasks
from millrace.control.scheduling import scheduler, set_back, slots
from millrace.control.scheduling.slots import Slot
from millrace.errors import Stale

HOUR = timedelta(hours=1)
SOON_S = 30.0


@pytest.fixture
def hourly(home: Home, saved: Desk) -> Home:
    """A home whose pipeline `events` runs every two hours; the next time in two hours."""
    pipelines.change(home, "events", lambda _: Wish("events", "project", "warehouse", schedule={"every_s": 7200}))
    with home.database.transaction() as connection:
        slots.begin_by_hand(connection, saved.pipeline, home.database.now())
    return home


def slot_of(home: Home) -> Slot:
    with home.database.reading() as connection:
        (found,) = slots.waiting(connection)
    return found


def while_it_waits(home: Home, change: Mapping[str, object], act: Callable[[], object]) -> None:
    """``act`` begins while somebody has changed the schedule and not committed it yet."""
    other: Database = open_database(home.database.url)
    acting = threading.Thread(target=act)
    try:
        with other.transaction() as connection:
            connection.execute(sa.update(tables.slots).values(dict(change)))
            acting.start()
            time.sleep(0.5)
            assert acting.is_alive(), "it waits for the one who changes the schedule"
        acting.join(SOON_S)
        assert not acting.is_alive()
    finally:
        other.close()


def test_a_schedule_that_a_run_changes_in_that_moment_goes_with_the_clock(hourly: Home):
    before = slot_of(hourly).standing
    now = hourly.database.now()
    held = now + 5 * HOUR
    mine = leases.acquire(hourly.database, scheduler.LEASE)
    while_it_waits(
        hourly,
        {"held_until": held, "due_at": held},
        lambda: set_back.follow(hourly, mine, HOUR, now - HOUR, since=now - HOUR),
    )
    after = slot_of(hourly).standing
    assert before.slot_at is not None
    assert (after.slot_at, after.held_until, after.due_at) == (before.slot_at - HOUR, held - HOUR, held - HOUR)


def test_who_lost_the_schedulers_lease_moves_nothing(hourly: Home):
    before, now = slot_of(hourly), hourly.database.now()
    mine = leases.acquire(hourly.database, scheduler.LEASE)
    with hourly.database.transaction() as connection:
        connection.execute(sa.update(tables.leases).values(token="another process"))
    with pytest.raises(Stale):
        set_back.follow(hourly, mine, HOUR, now - HOUR, since=now - HOUR)
    assert slot_of(hourly) == before


def test_a_run_that_ends_in_that_moment_leaves_the_slot_where_it_was_moved(hourly: Home, saved: Desk):
    before, now = slot_of(hourly).standing, hourly.database.now()
    assert before.slot_at is not None
    moved = {"slot_at": before.slot_at + 2 * HOUR, "due_at": before.slot_at + 2 * HOUR}
    while_it_waits(hourly, moved, lambda: slots.after_run(hourly.database, saved.pipeline, "run", "read", now))
    assert slot_of(hourly).standing.slot_at == before.slot_at + 2 * HOUR


def test_what_a_worker_elsewhere_held_by_the_later_time_is_held_for_no_longer_than_a_lease(hourly: Home):
    now = hourly.database.now()
    elsewhere = {"host": "elsewhere", "place": "another/machine", "pid": 1, "started": "1"}
    with hourly.database.transaction() as connection:
        row = {"name": "pipeline x", "token": "t", "holder": elsewhere, "acquired_at": now, "expires_at": now + HOUR}
        connection.execute(sa.insert(tables.leases).values(row))
    jobs.start(hourly, "events")
    task = tasks.take(hourly.database, ["NORMAL"])
    assert task is not None
    with hourly.database.transaction() as connection:
        connection.execute(sa.update(tables.tasks).values(holder=elsewhere, expires_at=now + HOUR))
    mine = leases.acquire(hourly.database, scheduler.LEASE)
    set_back.follow(hourly, mine, HOUR, now, since=now)
    with hourly.database.reading() as connection:
        for table in (tables.leases, tables.tasks):
            ends = connection.execute(sa.select(table.c.expires_at)).scalars().all()
            assert set(ends) == {now + timedelta(seconds=leases.LEASE_S)}


@pytest.mark.parametrize(("ended_before_s", "waits_s"), [(1, 3600), (60, 0)])
def test_a_source_that_said_after_the_clock_was_set_back_how_long_it_waits_is_left_alone_so_long(
    hourly: Home, saved: Desk, ended_before_s: int, waits_s: int
):
    now, before = hourly.database.now(), slot_of(hourly).standing
    _, run = saved.books()
    ended = now - timedelta(seconds=ended_before_s)
    with hourly.database.transaction() as connection:
        r = tables.runs.c
        connection.execute(sa.update(tables.runs).where(r.id == run).values(status="DEFERRED", ended_at=ended))
    slots.after_run(hourly.database, saved.pipeline, "run", "deferred", now, retry_after_s=3600)
    mine = leases.acquire(hourly.database, scheduler.LEASE)
    set_back.follow(hourly, mine, HOUR, now, since=now - timedelta(seconds=2))
    after = slot_of(hourly).standing
    assert before.slot_at is not None
    assert (after.slot_at, after.held_until) == (before.slot_at - HOUR, now + timedelta(seconds=waits_s))
