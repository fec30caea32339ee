"""A home with a pipeline that reads the CleverTap simulator, and the servers that work on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import yaml

from millrace.control.as_code import apply
from millrace.control.home import Home
from millrace.control.running import jobs
from millrace.control.running.jobs import Job
from millrace.simulators.clevertap import Account, Settings, Simulator

PROJECT, PASSCODE = "SIM-EU1-0001", "demo-pass-eu"
NAMES = ("App Launched", "Charged", "Product Viewed", "Session Concluded")
SOON_S = 90.0


@dataclass
class Site:
    """A home with a pipeline from the simulator, and the servers that work on it."""

    folder: Path
    simulator: Simulator
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def slow(self) -> None:
        """Every page takes its time from now on: a run can be ended in its middle."""
        self.simulator.faults.set([{"effect": "slow", "step": "page", "delay_s": 0.2}])

    def quick(self) -> None:
        """No page does any more: what was to happen in the middle has happened."""
        self.simulator.faults.set(())

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def serve(self, workers: int = 1, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "millrace", "serve", "--port", "0", "--workers", str(workers), *options]
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
def site(folder: Path, *, slow: bool = False, env: Mapping[str, str] | None = None) -> Generator[Site]:
    """``slow``: until it is told to be quick. ``env``: what the home is made with; servers have that of the tests."""
    now = datetime.now(UTC).replace(microsecond=0)
    account = Account(id=PROJECT, passcode=PASSCODE, users=60, days=30, events=NAMES)
    with Simulator(Settings.plain(account, now=now), port=0) as simulator:
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
        with Home.open(folder / "home", create=True, env=env or {}) as home:
            apply.apply_file(home, folder / "pipelines.yaml")
        found = Site(folder, simulator)
        if slow:
            found.slow()
        try:
            yield found
        finally:
            for server in found.servers:
                server.kill()
                server.wait()
