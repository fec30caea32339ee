"""Leases: taken from the dead, never from the living, whatever the clocks say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from millrace.control.books import leases
from millrace.control.books.leases import AlreadyRunning
from millrace.control.database.db import Database
from millrace.errors import Stale

HOLDS = """
import sys
from millrace.control.books import leases
from millrace.control.database.db import Database

leases.acquire(Database(sys.argv[1]), "pipeline x")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(database: Database) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease until it is killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDS, database.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stdin.close()


def holder_elsewhere(database: Database, expires_at: datetime) -> None:
    """The lease is held by a process on another machine."""
    holder = {"host": "elsewhere", "place": "another/machine", "pid": 1, "started": "1"}
    with database.transaction() as connection:
        connection.execute(
            sa.insert(leases.leases).values(
                name="pipeline x", token="t", holder=holder, acquired_at=expires_at, expires_at=expires_at
            )
        )


def test_a_lease_is_held_renewed_and_released(control: Database) -> None:
    lease = leases.acquire(control, "pipeline x")
    with pytest.raises(AlreadyRunning):
        leases.acquire(control, "pipeline x")
    leases.acquire(control, "pipeline y").release()
    lease.renew()
    lease.release()
    lease.release()
    with pytest.raises(Stale):
        lease.renew()
    leases.acquire(control, "pipeline x").release()


def test_a_living_process_is_named_with_what_to_do(control: Database) -> None:
    with another_process(control) as child:
        with pytest.raises(AlreadyRunning) as caught:
            leases.acquire(control, "pipeline x", what="pipeline events")
        problem = caught.value.problem
        assert problem.code == "already_running"
        assert caught.value.exit_code == 3
        assert problem.message.startswith(f"pipeline events is already running: process {child.pid} on ")
        assert " since 20" in problem.message
        assert f"end process {child.pid}" in str(problem.hint)
        found = leases.holder(control, "pipeline x")
        assert found is not None
        assert found.pid == child.pid


def test_the_lease_of_a_dead_process_is_taken_at_once(control: Database) -> None:
    with another_process(control) as child:
        child.kill()
        child.wait()
        assert leases.holder(control, "pipeline x") is None
        leases.acquire(control, "pipeline x").release()


def test_the_lease_of_a_process_that_is_not_reaped_is_taken(control: Database) -> None:
    with another_process(control) as child:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and stays in the list of processes
        leases.acquire(control, "pipeline x").release()


def test_a_number_that_another_process_has_now_is_not_taken_for_the_holder(control: Database) -> None:
    me = leases.this_process()
    with another_process(control) as child, control.transaction() as connection:
        holder = {"host": me.host, "place": me.place, "pid": child.pid, "started": "1"}
        connection.execute(sa.update(leases.leases).values(holder=holder))
    leases.acquire(control, "pipeline x").release()


@pytest.mark.parametrize("jump", [timedelta(days=3650), -timedelta(days=3650)])
def test_a_clock_that_jumps_takes_no_lease_from_a_living_process(control: Database, jump: timedelta) -> None:
    with another_process(control), pytest.raises(AlreadyRunning):
        leases.acquire(control, "pipeline x", now=lambda: control.now() + jump)


@pytest.mark.parametrize("jump", [timedelta(days=3650), -timedelta(days=3650)])
def test_a_clock_that_jumps_leaves_no_lease_with_a_dead_process(control: Database, jump: timedelta) -> None:
    with another_process(control) as child:
        child.kill()
        child.wait()
        leases.acquire(control, "pipeline x", now=lambda: control.now() + jump).release()


def test_of_a_holder_elsewhere_time_decides(control: Database) -> None:
    now = control.now()
    holder_elsewhere(control, now + timedelta(seconds=30))
    with pytest.raises(AlreadyRunning, match="process 1 on elsewhere") as caught:
        leases.acquire(control, "pipeline x")
    assert "If elsewhere is gone" in str(caught.value.hint)
    lease = leases.acquire(control, "pipeline x", now=lambda: now + timedelta(seconds=31))
    lease.release()


def test_a_lease_that_this_process_lost_track_of_is_taken(control: Database) -> None:
    lost = leases.acquire(control, "pipeline x")
    leases._ours.discard(lost.token)
    leases.acquire(control, "pipeline x").release()
    with pytest.raises(Stale):
        lost.renew()


def test_a_held_lease_is_renewed_while_the_block_runs(control: Database) -> None:
    def expires_at() -> datetime:
        with control.reading() as connection:
            return connection.execute(sa.select(leases.leases.c.expires_at)).scalar_one()

    with leases.held(control, "pipeline x", seconds=0.9):
        first, until = expires_at(), time.monotonic() + 60
        while expires_at() == first:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert expires_at() > first
    assert leases.holder(control, "pipeline x") is None


def test_of_many_that_try_at_once_one_gets_it(control: Database) -> None:
    got: list[leases.Lease] = []
    refused: list[AlreadyRunning] = []
    start = threading.Barrier(8)

    def attempt() -> None:
        start.wait()
        try:
            got.append(leases.acquire(control, "pipeline x"))
        except AlreadyRunning as busy:
            refused.append(busy)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)


def test_a_thread_that_comes_before_the_first_has_its_lease_in_hand_is_refused(
    control: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the database, and `acquire` has not returned."""
    transaction, refused = Database.transaction, list[AlreadyRunning]()

    @contextmanager
    def followed_by_another(database: Database) -> Generator[sa.Connection]:
        with transaction(database) as connection:
            yield connection
        with monkeypatch.context() as without:
            without.setattr(Database, "transaction", transaction)
            with pytest.raises(AlreadyRunning) as busy:
                leases.acquire(control, "pipeline x")
            refused.append(busy.value)

    with monkeypatch.context() as patched:
        patched.setattr(Database, "transaction", followed_by_another)
        lease = leases.acquire(control, "pipeline x")
    assert len(refused) == 1
    lease.renew()
    lease.release()
    leases.acquire(control, "pipeline x").release()


def test_what_was_released_is_free_by_its_time_too_and_says_when_it_was_seen(control: Database):
    before, lease, seen = control.now(), leases.acquire(control, "pipeline x"), control.now()
    assert before <= (leases.last_seen(control, "pipeline x") or before) <= seen
    lease.release(seen=seen)
    assert leases.last_seen(control, "pipeline x") == seen
    with control.reading() as connection:
        assert connection.execute(sa.select(leases.leases.c.expires_at)).scalar_one() <= control.now()
    leases.acquire(control, "pipeline x").release()
    assert leases.last_seen(control, "pipeline x") is None
