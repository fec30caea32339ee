"""The real service and its workers, ended in every way; in the end every row is there once (I8, pipelines.md 22.5)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.crash.site import SOON_S, Site, at_work, ended, job, site
from tests.postgres import Database

from millrace.control.database.tables import slots
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.running import jobs, tasks
from millrace.control.running.jobs import Asked, Job
from millrace.control.scheduling.schedule import Schedule
from millrace.control.secrecy.keyring import new_key

AN_HOUR = timedelta(hours=1)
EVERY_HOUR = Schedule(every_s=3600)


def test_the_service_runs_what_is_asked_of_it_answers_and_ends_when_it_is_told_to(tmp_path: Path):
    with site(tmp_path) as here:
        server = here.serve(workers=2)
        with Home.open(here.home) as home:
            asked = jobs.start(home, "p")
        done = here.until(ended)
        assert (done.job_id, done.run.status, done.run.kind) == (asked.job_id, "COMPLETED", "HISTORICAL")
        assert done.run.balance.even and done.run.balance.loaded
        assert [(one.stream, one.status) for one in objects_of(here, done)] == [("Events", "COMPLETED")]
        address = next(word for word in here.said().split() if word.startswith("http://"))
        assert httpx.get(f"{address}/healthz", timeout=SOON_S).status_code == 200
        assert httpx.get(f"{address}/readyz", timeout=SOON_S).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=SOON_S) == 0
        assert here.loaded() == here.expected()


def objects_of(here: Site, done: Job) -> tuple[Any, ...]:
    with Home.open(here.home) as home:
        return jobs.find(home, done.job_id).objects


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["asked to end", "killed"])
def test_a_server_that_ends_in_the_middle_leaves_a_job_that_the_next_one_ends(tmp_path: Path, how: signal.Signals):
    with site(tmp_path, slow=True) as here:
        server = here.serve()
        with Home.open(here.home) as home:
            asked = jobs.start(home, "p")
        here.until(at_work)
        server.send_signal(how)
        server.wait(timeout=SOON_S)
        here.until(lambda home: job(home, "QUEUED", "IN_PROGRESS"))
        here.quick()
        here.serve()
        done = here.until(ended)
        assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED"), here.said()
        assert done.run.balance.even
        assert here.loaded() == here.expected()


@pytest.mark.timeout(1200)
@pytest.mark.spec("pipelines.22.5")
def test_a_worker_that_is_killed_again_and_again_costs_no_row_and_doubles_none(tmp_path: Path, kills: int):
    """At random points of as many jobs as it takes: a task whose workers die too often is given up."""
    moments, killed = random.Random(22), set[int]()
    with site(tmp_path, slow=True) as here, Home.open(here.home) as home:
        here.serve()
        while len(killed) < kills:
            here.slow()
            asked = jobs.start(home, "p", kind="resync" if killed else "run")
            for _ in range(min(kills - len(killed), tasks.MOST_ATTEMPTS - 2)):
                if not (pid := here.until(lambda home: worker(home, killed))):
                    break
                time.sleep(moments.uniform(0, 1.5))
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            here.quick()
            done = here.until(ended)
            assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED"), here.said()
            assert done.run.balance.even
        assert here.loaded() == here.expected()


def worker(home: Home, killed: set[int]) -> int | None:
    """The process of the worker at work, if it is none of those; 0 when the job has ended."""
    held = tasks.holders(home.database)
    return next((one.pid for one in held if one.pid not in killed), None if ended(home) is None else 0)


@pytest.mark.long("of two servers on one database and one bucket either is killed too")
def test_a_second_server_takes_over_when_the_first_is_gone(tmp_path: Path):
    with site(tmp_path) as here:
        first = here.serve(workers=0)
        here.until(lambda _: True if "this process schedules" in here.said() else None)
        here.serve(workers=1)
        first.send_signal(signal.SIGKILL)
        first.wait()
        with Home.open(here.home) as home:
            lifecycle.reschedule(home, "p", EVERY_HOUR)
        done = here.until(ended)
        assert (done.run.status, done.trigger) == ("COMPLETED", "SCHEDULE"), here.said()
        assert here.said().count("this process schedules from now on") == 2
        assert here.loaded() == here.expected()


def test_a_newer_version_that_upgrades_the_database_goes_on_with_the_job_of_an_older_server(tmp_path: Path):
    with site(tmp_path, slow=True) as here:
        older = here.serve()
        with Home.open(here.home) as home:
            asked = jobs.start(home, "p")
            here.until(at_work)
            with subprocess.Popen([sys.executable, "-m", "tests.crash.tomorrow", str(here.home)]) as newer:
                assert older.wait(timeout=SOON_S) == 3
                here.quick()
                assert newer.wait(timeout=SOON_S) == 0
            done = ended(home)  # this process is of the older version, and only reads
        assert "is of schema 9000" in here.said()
        assert "Upgrade Millrace" in here.said()
        assert done is not None
        assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED"), here.said()
        assert done.run.balance.even
        assert here.loaded() == here.expected()


def test_a_clock_that_is_set_back_an_hour_in_a_run_costs_no_row_and_nothing_waits_for_that_hour(tmp_path: Path):
    clock = tmp_path / "clock"
    clock.write_text("3600")
    with site(tmp_path, slow=True) as here, Home.open(here.home) as home, (tmp_path / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "tests.crash.other_clock", str(here.home), str(clock)]
        with subprocess.Popen(command, stdout=log, stderr=log) as server:
            try:
                asked = jobs.start(home, "p")
                here.until(at_work)
                # A slot comes, is left out as the pipeline runs, and the next one is an hour later by that clock.
                lifecycle.reschedule(home, "p", EVERY_HOUR)
                here.until(lambda home: True if due(home) > AN_HOUR * 1.5 else None)
                found = pipelines.find(home, "p")
                with home.database.transaction() as connection:
                    later = home.database.now() + AN_HOUR
                    (waits,) = jobs.queue(connection, [Asked(found.id, "load", "MANUAL", {})], later)
                (tmp_path / "set back").write_text("0")
                (tmp_path / "set back").replace(clock)
                here.until(lambda _: True if "set back by 3" in (tmp_path / "server.log").read_text() else None)
                here.quick()
                here.until(lambda home: jobs.find(home, waits).run.ended_at)
                first = jobs.find(home, asked.job_id)
                assert (first.run.status, first.run.balance.even) == ("COMPLETED", True)
                assert here.loaded() == here.expected()
                assert AN_HOUR * 0.9 < due(home) <= AN_HOUR
            finally:
                server.terminate()
            assert server.wait(timeout=SOON_S) == 0


def due(home: Home) -> timedelta:
    """So long until the only schedule is due, by the clock of this machine."""
    with home.database.reading() as connection:
        return connection.execute(sa.select(slots.c.due_at)).scalar_one() - home.database.now()


def test_of_two_servers_on_one_database_and_one_bucket_either_may_be_killed(
    tmp_path: Path, database: Database, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MILLRACE_DATABASE_URL", database.url)
    monkeypatch.setenv("MILLRACE_KEY", new_key())
    monkeypatch.setenv("MILLRACE_STAGE", f"{bucket}/stage")
    with site(tmp_path, slow=True, env=os.environ) as here:
        servers = [here.serve(workers=1), here.serve(workers=1)]
        here.until(lambda _: True if "this process schedules" in here.said() else None)
        with Home.open(here.home) as home:
            asked = jobs.start(home, "p")
        here.until(at_work)
        victim = here.until(lambda home: worker(home, set()))
        lost = next(server for server in servers if server.pid == parent(victim))
        lost.send_signal(signal.SIGKILL)
        lost.wait()
        os.kill(victim, signal.SIGKILL)
        here.quick()
        done = here.until(ended)
        assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED"), here.said()
        assert done.run.balance.even
        assert here.loaded() == here.expected()
        assert not (here.home / "stage").exists()


def parent(pid: int) -> int:
    """The process that started that one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
