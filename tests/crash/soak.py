"""Many pipelines through a simulated day, with faults of the source and kills of workers.

    python -m tests.crash.soak [--pipelines 200] [--hours 24] [--workers 2] [--kill-every 6] [--step-minutes 10]

The schedules and the simulator have a clock that jumps from step to step; in each step rows arrive, what is due is
queued, workers (real processes) do it, and now and then one of them is killed. In the end every table is compared with
the simulator's own ledger, and the memory of the longest-lived worker with what it was after its warm-up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import sqlalchemy as sa

from millrace.control.as_code import apply
from millrace.control.database import tables
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.running import jobs, tasks
from millrace.control.running.executor import Processes
from millrace.control.scheduling import scheduler, slots
from millrace.simulators.clevertap import Account, Settings, Simulator

NAMES = ("App Launched", "Charged", "Product Viewed")
PASSCODE = "soak-passcode"
FAULTS = (
    {"effect": "server_error", "status": 503, "probability": 0.02},
    {"effect": "reset", "where": "body", "probability": 0.01},
    {"effect": "truncate", "form": "length", "probability": 0.01},
    {"effect": "garbage", "shape": "html", "probability": 0.005},
    {"effect": "not_ready", "probability": 0.02},
)
STEP_S = 900.0
"""So long may the work of one step take."""

# What a worker may have grown since its warm-up: allocators keep some of what they had.
GROWTH, SLACK_BYTES = 1.2, 24 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, and from which seed."""

    pipelines: int = 200
    hours: float = 24.0
    workers: int = 2
    step_minutes: float = 10.0
    kill_every: int = 6
    seed: int = 1


@dataclass(slots=True)
class Found:
    """What became of it. ``memory``: bytes resident of each worker, one for each step that it lived through."""

    runs: Counter[str] = field(default_factory=Counter[str])
    expected: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    uneven: int = 0
    kills: int = 0
    faults: int = 0
    memory: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def grown(self) -> tuple[int, int]:
        """Memory after the warm-up and at the end, of the worker that lived longest."""
        series = max(self.memory.values(), key=len)
        quarter = max(1, len(series) // 4)
        return int(median(series[quarter : 2 * quarter] or series)), int(median(series[-quarter:]))

    @property
    def flat(self) -> bool:
        before, after = self.grown
        return after <= before * GROWTH + SLACK_BYTES

    @property
    def whole(self) -> bool:
        return self.lost == self.doubled == self.foreign == self.uneven == 0


class Soak:
    """One run of it, in a folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.found = Found()
        self._rng = random.Random(plan.seed)
        real = datetime.now(UTC)
        # The day before, so that tasks of the jumping clock are due for workers, who have the machine's.
        self.moment = real - timedelta(hours=plan.hours + 1)
        midnight = (real - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        # Within one day, however the real day ends meanwhile: workers read by a clock that stands at its noon.
        self._shown = midnight + timedelta(minutes=5)
        self._shift_s = (midnight + timedelta(hours=12) - real).total_seconds()
        accounts = tuple(Account(id=f"SOA-{n:03}-0001", passcode=PASSCODE, events=NAMES) for n in range(plan.pipelines))
        waits = {"page_not_ready": {"probability": 0.1, "times": (1, 1)}}
        self.simulator = Simulator(Settings.plain(*accounts, now=self._shown, seed=plan.seed, **waits), port=0)

    def run(self) -> Found:
        with self.simulator:
            home = Home.open(self.folder / "home", create=True, env={})
            with home:
                self._prepare(home)
                env = os.environ | {"MILLRACE_CLOCK_SHIFT_S": str(self._shift_s)}
                executor = Processes(home.path, self.plan.workers, env)
                try:
                    self._day(home, executor)
                    self._settle(home, executor)
                finally:
                    executor.stop(patience_s=20)
                self._reconcile(home)
        return self.found

    def _prepare(self, home: Home) -> None:
        (self.folder / "events.csv").write_text("Event name\n" + "".join(f"{name}\n" for name in NAMES))
        document: dict[str, Any] = {
            "settings": {"allow_private_addresses": True},
            "destinations": {},
            "pipelines": {},
        }
        for n, account in enumerate(self.simulator.settings.accounts):
            config = {"project_id": account.id, "passcode": PASSCODE, "events_file": "./events.csv"}
            config |= {"base_url": self.simulator.base_url, "window_days": 30}
            document["destinations"][f"d{n}"] = {"type": "duckdb", "config": {"path": f"./{n}.duckdb"}}
            document["pipelines"][f"p{n}"] = {
                "source": {"type": "clevertap", "config": config},
                "destination": f"d{n}",
                "schedule": {"every": f"{(1 + n % 6)}h"},
            }
            self._arrive(account.id, 20, back_s=3 * 86_400)
        (self.folder / "pipelines.yaml").write_text(json.dumps(document))
        apply.apply_file(home, self.folder / "pipelines.yaml")
        for one in pipelines.listed(home):
            with home.database.transaction() as connection:
                # It began at the machine's time; it shall begin where the jumping clock stands.
                slots.begin(connection, one.id, "run", None, self.moment)
                slots.begin(connection, one.id, "run", one.schedule, self.moment)

    def _arrive(self, account: str, rows: int, *, back_s: float) -> None:
        """Rows that happened up to so long ago arrive now."""
        now_s = self.simulator.clock.epoch_s()
        self.simulator.add_events(
            account,
            [
                {
                    "event_name": self._rng.choice(NAMES),
                    "objectId": f"device-{self._rng.randrange(50)}",
                    "epoch_s": int(now_s - self._rng.random() * back_s),
                    "event_props": {"n": self._rng.randrange(1_000_000)},
                }
                for _ in range(rows)
            ],
        )

    def _day(self, home: Home, executor: Processes) -> None:
        steps = round(self.plan.hours * 60 / self.plan.step_minutes)
        seconds = self.plan.step_minutes * 60
        self.simulator.faults.set(FAULTS)
        for step in range(steps):
            scheduler.tick(home, self.moment)
            # A step in which nothing is due leaves it to the next one.
            owed = (step + 1) // self.plan.kill_every
            self._drain(home, executor, kill=self.found.kills < owed)
            for pid in executor.pids:
                if memory := resident(pid):
                    self.found.memory[pid].append(memory)
            self.moment += timedelta(seconds=seconds)
            # The simulated day has as many hours as there are, whatever the plan's.
            self.simulator.clock.advance(min(seconds, 23.5 * 3600 / steps))
            for account in self.simulator.settings.accounts:
                if self._rng.random() < 0.3:
                    self._arrive(account.id, self._rng.randrange(1, 4), back_s=min(600, seconds))
        self.found.faults = sum(fired for _, fired in self.simulator.faults.rules())

    def _settle(self, home: Home, executor: Processes) -> None:
        """The source behaves, and every pipeline runs once more."""
        self.simulator.faults.set(())
        for one in pipelines.listed(home):
            jobs.start(home, one.name)
        self._drain(home, executor, kill=False)

    def _drain(self, home: Home, executor: Processes, *, kill: bool) -> None:
        """All tasks are done; on the way one worker at work is killed, if any is, but never the first one."""
        until = time.monotonic() + STEP_S
        while time.monotonic() < until:
            executor.tend()
            tasks.recover(home.database)
            with home.database.reading() as connection:
                left = connection.execute(sa.select(sa.func.count()).select_from(tables.tasks)).scalar_one()
            if not left:
                return
            if kill:
                kept = executor.pids[:1]
                victims = [one.pid for one in tasks.holders(home.database) if one.pid not in kept]
                if victims:
                    time.sleep(self._rng.random() * 0.3)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(victims[0], signal.SIGKILL)
                        self.found.kills += 1
                    kill = False
            time.sleep(0.05)
        raise AssertionError(f"a step was not done after {STEP_S:.0f} seconds: {left} tasks are left")

    def _reconcile(self, home: Home) -> None:
        for n, account in enumerate(self.simulator.settings.accounts):
            expected = Counter(row.hevo_id for row in self.simulator.ledger(account.id) if row.event_name in NAMES)
            with duckdb.connect(str(self.folder / f"{n}.duckdb"), read_only=True) as connection:
                loaded = Counter(row for (row,) in connection.execute("SELECT __hevo_id FROM events").fetchall())
            self.found.expected += len(expected)
            self.found.lost += len(expected.keys() - loaded.keys())
            self.found.foreign += len(loaded.keys() - expected.keys())
            self.found.doubled += sum(count - 1 for count in loaded.values())
        after: str | None = None
        while True:
            page = jobs.page(home, after=after, limit=100)
            for job in page.items:
                self.found.runs[job.run.status] += 1
                self.found.uneven += job.run.status == "COMPLETED" and not job.run.balance.even
            if (after := page.next) is None:
                return


def resident(pid: int) -> int:
    """Bytes of the process that are in memory; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def told(found: Found, seconds: float) -> str:
    before, after = found.grown
    runs: Mapping[str, int] = dict(sorted(found.runs.items()))
    return (
        f"{sum(runs.values())} runs in {seconds:.0f} s: {runs}\n"
        f"{found.kills} workers killed, {found.faults} faults of the source\n"
        f"{found.expected:,} rows; lost {found.lost}, doubled {found.doubled}, foreign {found.foreign}, "
        f"runs that do not balance {found.uneven}\n"
        f"a worker's memory: {before / 2**20:.0f} MB after its warm-up, {after / 2**20:.0f} MB at the end"
    )


def main() -> int:
    """0 when no row was lost or doubled and memory stayed flat."""
    parser = argparse.ArgumentParser(description="Many pipelines through a simulated day.")
    parser.add_argument("--pipelines", type=int, default=200)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every", type=int, default=6, metavar="STEPS")
    parser.add_argument("--step-minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    typed = parser.parse_args()
    plan = Plan(typed.pipelines, typed.hours, typed.workers, typed.step_minutes, typed.kill_every, typed.seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="millrace-soak-") as folder:
        found = Soak(plan, Path(folder)).run()
    print(told(found, time.monotonic() - started))
    return 0 if found.whole and found.flat else 1


if __name__ == "__main__":
    sys.exit(main())
