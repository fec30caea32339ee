"""The scheduler as a thread that ticks: what it takes for a clock that was set back, and what holds it up."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk

from millrace.control.books import leases
from millrace.control.database import tables
from millrace.control.database.db import Database
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs
from millrace.control.scheduling import scheduler, set_back
from millrace.engine.stage import Stage
from millrace.errors import Stale, Transient

SOON_S = 30.0
HOUR = timedelta(hours=1)
ELSEWHERE = {"host": "elsewhere", "place": "another/machine", "pid": 1, "started": "1"}


@contextmanager
def serving(home: Home) -> Generator[threading.Thread]:
    """A scheduler at work, until the block ends."""
    stopping = threading.Event()
    thread = threading.Thread(target=scheduler.serve, args=(home, stopping), kwargs={"tick_s": 0.02})
    thread.start()
    try:
        yield thread
    finally:
        stopping.set()
        thread.join(SOON_S)
        assert not thread.is_alive()


def test_a_database_that_answers_late_is_no_clock_that_was_set_back(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    truly, late_s, back, answers = Database.now, 0.0, timedelta(), 0

    def now(self: Database) -> datetime:
        nonlocal answers
        time.sleep(late_s)
        answers += 1
        return truly(self) - back

    def answered(times: int) -> None:
        until, deadline = answers + times, time.monotonic() + SOON_S
        while answers < until and time.monotonic() < deadline:
            time.sleep(0.01)
        assert answers >= until

    monkeypatch.setattr(Database, "now", now)
    monkeypatch.setattr(set_back, "LEAST", timedelta(seconds=0.4))
    caplog.set_level(logging.WARNING)
    with serving(home):
        answered(20)
        late_s = 0.5
        answered(6)
        late_s = 0.0
        answered(20)
        assert "set back" not in caplog.text
        back = timedelta(seconds=30)
        answered(20)
        assert "the clock was set back by 29 s" in caplog.text or "the clock was set back by 30 s" in caplog.text


def test_a_tick_keeps_the_lease_however_long_it_takes_and_queues_nothing_for_a_scheduler_that_lost_it(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch
):
    for name in ("one", "two", "three"):
        pipelines.create(home, Wish(name, "project", "warehouse", table_prefix=name, schedule={"every_s": 7200}))
    lease = leases.acquire(home.database, scheduler.LEASE)
    now, slow, passed_s = home.database.now(), jobs.queue, 0.0

    def queue(*arguments: Any) -> list[int]:
        nonlocal passed_s
        passed_s += 50
        return slow(*arguments)

    monkeypatch.setattr(jobs, "queue", queue)
    monkeypatch.setattr(scheduler, "CHUNK", 1)
    monkeypatch.setattr(scheduler, "time", SimpleNamespace(monotonic=lambda: passed_s))
    assert scheduler.tick(home, now, lease=lease).queued == 3
    with home.database.transaction() as connection:
        ends = connection.execute(sa.select(tables.leases.c.expires_at)).scalar_one()
        assert ends == now + timedelta(seconds=leases.LEASE_S + 100)
        connection.execute(sa.update(tables.leases).values(token="another"))
        connection.execute(sa.delete(tables.tasks))
    with pytest.raises(Stale):
        scheduler.tick(home, now + timedelta(hours=3), lease=lease)
    assert queued(home) == 0


@pytest.mark.parametrize("killed", [False, True])
def test_a_clock_that_was_set_back_while_nobody_scheduled_is_noticed_once(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, killed: bool
):
    truly, apart = Database.now, timedelta()
    monkeypatch.setattr(Database, "now", lambda self: truly(self) + apart)
    monkeypatch.setattr(set_back, "SURE_S", 0.3)
    pipelines.change(home, "events", lambda _: Wish("events", "project", "warehouse", schedule={"every_s": 7200}))
    caplog.set_level(logging.INFO)
    with serving(home):
        soon(lambda: queued(home) == 1)
    first = slot_of(home)
    if killed:  # as after a loss of power: of its process nobody can say whether it lives
        with home.database.transaction() as connection:
            ends = connection.execute(sa.select(tables.leases.c.expires_at)).scalar_one()
            values = {"holder": ELSEWHERE, "expires_at": ends + timedelta(seconds=leases.LEASE_S)}
            connection.execute(sa.update(tables.leases).values(values))
    apart = -3 * HOUR
    with serving(home):
        soon(lambda: slot_of(home) < first)
    assert timedelta() <= slot_of(home) - (first - 3 * HOUR) < timedelta(seconds=SOON_S)
    assert "the clock was set back by 107" in caplog.text or "the clock was set back by 108" in caplog.text
    moved = slot_of(home)
    # Neither the same once more, nor a long stop, nor a clock that was put forward.
    for apart in (-3 * HOUR, timedelta(), 30 * 24 * HOUR):  # noqa: B007  the clock reads it
        caplog.clear()
        with serving(home):
            soon(lambda: "schedules from now on" in caplog.text)
            time.sleep(0.2)
        assert "set back" not in caplog.text
    assert slot_of(home) > moved


def test_a_clock_that_is_wrong_only_until_its_machine_has_asked_for_the_time_moves_nothing(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    truly, apart, answers = Database.now, timedelta(), 0

    def now(self: Database) -> datetime:
        nonlocal answers
        answers += 1
        return truly(self) + apart

    def answered(times: int) -> None:
        until = answers + times
        soon(lambda: answers >= until)

    monkeypatch.setattr(Database, "now", now)
    pipelines.change(home, "events", lambda _: Wish("events", "project", "warehouse", schedule={"every_s": 7200}))
    with serving(home):
        soon(lambda: queued(home) == 1)
    first = slot_of(home)
    caplog.set_level(logging.INFO)
    apart = -50 * 365 * 24 * HOUR
    with serving(home):  # also one that ends before the clock is right
        answered(3)
    with serving(home):
        answered(3)
        assert slot_of(home) == first
        apart = timedelta()
        soon(lambda: "schedules from now on" in caplog.text)
        answered(10)
    assert slot_of(home) == first
    assert queued(home) == 1
    assert "set back" not in caplog.text


@pytest.mark.parametrize("ends_in_s", [59, 65, 90, 3600])
def test_a_scheduler_elsewhere_keeps_its_lease_while_it_renews_it_whatever_its_clock_shows(
    home: Home, monkeypatch: pytest.MonkeyPatch, ends_in_s: int
):
    monkeypatch.setattr(set_back, "SURE_S", 1.0)
    ends = home.database.now() + timedelta(seconds=ends_in_s)

    def token(renewed: int) -> str:
        with home.database.transaction() as connection:
            values = {"expires_at": ends + timedelta(milliseconds=renewed)}
            connection.execute(sa.update(tables.leases).where(tables.leases.c.token == "t").values(values))
            return connection.execute(sa.select(tables.leases.c.token)).scalar_one()

    with home.database.transaction() as connection:
        row = {"name": scheduler.LEASE, "token": "t", "holder": ELSEWHERE, "acquired_at": ends, "expires_at": ends}
        connection.execute(sa.insert(tables.leases).values(row))
    with serving(home):
        for renewed in range(1, 10):
            time.sleep(0.2)
            assert token(renewed) == "t"
        soon(lambda: token(9) != "t")


def test_what_time_it_was_is_known_until_all_has_followed_a_clock_that_was_set_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    truly, apart, follows = Database.now, timedelta(), 0

    def follow(*_: object, **__: object) -> None:
        nonlocal follows
        follows += 1
        raise Transient("the database is busy")

    monkeypatch.setattr(Database, "now", lambda self: truly(self) + apart)
    monkeypatch.setattr(set_back, "follow", follow)
    monkeypatch.setattr(scheduler, "RENEWED_S", 0.0)
    before = home.database.now()

    def known() -> bool:
        return (leases.last_seen(home.database, scheduler.LEASE) or before - HOUR) >= before

    with serving(home):
        soon(known)
        apart = -HOUR
        soon(lambda: follows > 3)
        assert known()  # as for whoever comes after one that is killed
    assert known()


def test_a_clock_that_is_set_back_when_a_scheduler_has_looked_for_the_last_time_is_noticed_by_the_next(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    truly, apart, stopping = Database.now, timedelta(), threading.Event()
    monkeypatch.setattr(Database, "now", lambda self: truly(self) + apart)
    before = home.database.now()
    thread = threading.Thread(target=scheduler.serve, args=(home, stopping), kwargs={"tick_s": SOON_S})
    thread.start()
    soon(lambda: leases.last_seen(home.database, scheduler.LEASE) is not None)
    time.sleep(0.5)  # it waits for its second look
    apart = -HOUR
    stopping.set()
    thread.join(SOON_S)
    seen = leases.last_seen(home.database, scheduler.LEASE)
    assert seen is not None and seen >= before


def test_what_is_due_does_not_wait_for_a_stage_that_answers_slowly(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch
):
    truly, answering, looks = Stage.paths, threading.Event(), 0

    def paths(self: Stage, older_than: timedelta) -> Iterator[str]:
        nonlocal looks
        looks += 1
        answering.wait(SOON_S)
        yield from truly(self, older_than)

    monkeypatch.setattr(Stage, "paths", paths)
    monkeypatch.setattr(scheduler, "HOUSEKEEPING_S", 0.1)
    old = unnamed(home, 3)
    with serving(home):
        soon(lambda: looks == 1)
        pipelines.change(home, "events", lambda _: Wish("events", "project", "warehouse", schedule={"every_s": 7200}))
        soon(lambda: queued(home) == 1)
        time.sleep(0.5)
        assert looks == 1, "one at a time"
        answering.set()
        soon(lambda: not any(file.exists() for file in old))
        soon(lambda: looks > 1)


def test_a_scheduler_that_ends_waits_for_one_file_of_a_slow_stage_and_the_next_removes_the_others(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch
):
    truly, old = Stage.delete, unnamed(home, 100)

    def delete(self: Stage, path: str) -> None:
        time.sleep(1.0)
        truly(self, path)

    def left() -> int:
        return sum(file.exists() for file in old)

    with monkeypatch.context() as slow:
        slow.setattr(Stage, "delete", delete)
        with serving(home):
            soon(lambda: left() < 100)
    assert left() > 50
    with serving(home):
        soon(lambda: not left())


def unnamed(home: Home, many: int) -> list[Path]:
    """Files on the stage that no row names, two days old."""
    stage, then = Stage(home.stage_url), time.time() - 2 * 86400
    files = [stage.folder / "p" / f"{number}.arrow" for number in range(many)]
    (stage.folder / "p").mkdir(parents=True)
    for file in files:
        file.write_bytes(b"")
        os.utime(file, (then, then))
    stage.close()
    return files


def slot_of(home: Home) -> datetime:
    """When the one pipeline runs next."""
    with home.database.reading() as connection:
        return connection.execute(sa.select(tables.slots.c.slot_at)).scalar_one()


def queued(home: Home) -> int:
    with home.database.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(tables.tasks)).scalar_one()


def soon(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
