"""The real service and its workers, ended in every way; in the end every row is there once (I8, pipelines.md 22.5)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import yaml

from millrace.control import apply, jobs, lifecycle, tasks
from millrace.control.home import Home
from millrace.control.jobs import Job
from millrace.control.schedule import Schedule
from millrace.simulators.clevertap import Account, Settings, Simulator

PROJECT, PASSCODE = "SIM-EU1-0001", "demo-pass-eu"
NAMES = ("App Launched", "Charged", "Product Viewed", "Session Concluded")
SOON_S = 90.0
EVERY_HOUR = Schedule(every_s=3600)


@dataclass
class Site:
    """A home with a pipeline from the simulator, and the servers that work on it."""

    folder: Path
    simulator: Simulator
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def serve(self, workers: int = 1) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "millrace", "serve", "--port", "0", "--workers", str(workers)]
        env = os.environ | {"MILLRACE_HOME": str(self.home), "PASSCODE": PASSCODE}
        with (self.folder / f"server{len(self.servers)}.log").open("wb") as log:
            server = subprocess.Popen(command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.servers.append(server)
        return server

    def said(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("server*.log")))

    def until(self, what: Callable[[Home], Any]) -> Any:
        """What ``what`` answers once that is something."""
        with Home.open(self.home) as home:
            deadline = time.monotonic() + SOON_S
            while time.monotonic() < deadline:
                if (found := what(home)) is not None:
                    return found
                time.sleep(0.1)
        raise AssertionError(f"it never came to be; the servers said:\n{self.said()}")

    def expected(self) -> Counter[str]:
        today = datetime.now(UTC).date()
        served = self.simulator.ledger(PROJECT, today - timedelta(days=40), today + timedelta(days=1))
        return Counter({row.hevo_id: 1 for row in served if row.event_name in NAMES})

    def loaded(self) -> Counter[str]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as connection:
            return Counter(row for (row,) in connection.execute("SELECT __hevo_id FROM events").fetchall())


def job(home: Home, *statuses: str) -> Job | None:
    """The newest job, if it is in one of these statuses."""
    found = jobs.page(home, limit=1).items
    return found[0] if found and found[0].run.status in statuses else None


def ended(home: Home) -> Job | None:
    return job(home, "COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "CANCELLED")


def at_work(home: Home) -> Job | None:
    """A job that has read rows and goes on."""
    found = job(home, "IN_PROGRESS")
    return found if found is not None and found.meter and found.meter["read"] else None


@contextmanager
def site(folder: Path, *, users: int = 60, page_ms: tuple[int, int] = (10, 40)) -> Iterator[Site]:
    now = datetime.now(UTC).replace(microsecond=0)
    account = Account(id=PROJECT, passcode=PASSCODE, users=users, days=30, events=NAMES)
    quick = {"latency_ms": {"open": (5, 20), "page": page_ms}}
    with Simulator(Settings.plain(account, now=now, **quick), port=0) as simulator:
        (folder / "events.csv").write_text("Event name\n" + "".join(f"{name}\n" for name in NAMES))
        config = {
            "project_id": PROJECT,
            "passcode": PASSCODE,
            "events_file": "./events.csv",
            "base_url": simulator.base_url,
            "window_days": 2,
        }
        document = {
            "settings": {"allow_private_addresses": True},  # the simulator is on this machine
            "destinations": {"warehouse": {"type": "duckdb", "config": {"path": "./warehouse.duckdb"}}},
            "pipelines": {"p": {"source": {"type": "clevertap", "config": config}, "destination": "warehouse"}},
        }
        (folder / "pipelines.yaml").write_text(yaml.safe_dump(document))
        with Home.open(folder / "home", create=True, env={}) as home:
            apply.apply_file(home, folder / "pipelines.yaml")
        found = Site(folder, simulator)
        try:
            yield found
        finally:
            for server in found.servers:
                server.kill()
                server.wait()


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
        assert httpx.get(f"{address}/healthz").status_code == 200
        assert httpx.get(f"{address}/readyz").status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=SOON_S) == 0
        assert here.loaded() == here.expected()


def objects_of(here: Site, done: Job) -> tuple[Any, ...]:
    with Home.open(here.home) as home:
        return jobs.find(home, done.job_id).objects


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["asked to end", "killed"])
def test_a_server_that_ends_in_the_middle_leaves_a_job_that_the_next_one_ends(tmp_path: Path, how: signal.Signals):
    with site(tmp_path, users=100, page_ms=(60, 120)) as here:
        server = here.serve()
        with Home.open(here.home) as home:
            asked = jobs.start(home, "p")
        here.until(at_work)
        server.send_signal(how)
        server.wait(timeout=SOON_S)
        here.until(lambda home: job(home, "QUEUED", "IN_PROGRESS"))
        here.serve()
        done = here.until(ended)
        assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED"), here.said()
        assert done.run.balance.even
        assert here.loaded() == here.expected()


@pytest.mark.spec("pipelines.22.5")
def test_a_worker_that_is_killed_again_and_again_costs_no_row_and_doubles_none(tmp_path: Path, kills: int):
    with site(tmp_path, users=100, page_ms=(60, 120)) as here:
        here.serve()
        with Home.open(here.home) as home:
            asked = jobs.start(home, "p")
        killed: set[int] = set()
        for _ in range(min(kills, tasks.MOST_ATTEMPTS - 2)):
            pid = here.until(lambda home: worker(home, killed))
            time.sleep(0.4)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        done = here.until(ended)
        assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED"), here.said()
        assert here.loaded() == here.expected()


def worker(home: Home, killed: set[int]) -> int | None:
    """The process of the worker at work, if it is none of those; 0 when the job has ended."""
    held = tasks.holders(home.database)
    return next((one.pid for one in held if one.pid not in killed), None)


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
