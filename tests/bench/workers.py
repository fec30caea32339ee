"""Throughput of 1, 2 and 4 workers on sources whose limit is latency, as processes and on a Ray cluster of two nodes.

    python -m tests.bench.workers [processes] [ray]

Each of the pipelines reads 30 days of a CleverTap project of its own, whose every answer takes a fixed time. What is
timed goes from the first run's beginning to the last one's end, by the control database; workers are there before.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests import postgres

from millrace.control.as_code import apply
from millrace.control.database.tables import runs
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.running import jobs
from millrace.control.running.executor import Executor, Processes
from millrace.control.running.ray_executor import RayWorkers
from millrace.simulators.clevertap import Account, Settings, Simulator

PIPELINES = 8
WORKERS = (1, 2, 4)
NAMES = ("App Launched", "Charged", "Product Viewed", "Session Concluded")
OPEN_MS, PAGE_MS = 200, 400
MOST_S = 300.0
STORE_BYTES = 80 * 1024 * 1024
ENDED = ("COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "CANCELLED", "DEFERRED")


@contextmanager
def sources() -> Generator[Simulator]:
    """A project for each pipeline, slow and without surprises."""
    accounts = tuple(
        Account(id=f"BEN-{n:03}-0001", passcode="bench-passcode", users=60, days=30, events=NAMES)
        for n in range(PIPELINES)
    )
    slow = {"latency_ms": {"open": (OPEN_MS, OPEN_MS), "page": (PAGE_MS, PAGE_MS)}}
    settings = Settings.plain(*accounts, now=datetime.now(UTC).replace(microsecond=0), **slow)
    with Simulator(settings, port=0) as simulator:
        yield simulator


def document(folder: Path, simulator: Simulator) -> Path:
    """The file of pipelines, each with a destination of its own."""
    (folder / "events.csv").write_text("Event name\n" + "".join(f"{name}\n" for name in NAMES))
    found: dict[str, Any] = {"settings": {"allow_private_addresses": True}, "destinations": {}, "pipelines": {}}
    for number, account in enumerate(simulator.settings.accounts):
        config = {"project_id": account.id, "passcode": account.passcode, "events_file": "./events.csv"}
        config |= {"base_url": simulator.base_url, "window_days": 5}
        found["destinations"][f"d{number}"] = {"type": "duckdb", "config": {"path": f"./w{number}.duckdb"}}
        found["pipelines"][f"p{number}"] = {
            "source": {"type": "clevertap", "config": config},
            "destination": f"d{number}",
        }
    (folder / "pipelines.yaml").write_text(json.dumps(found))
    return folder / "pipelines.yaml"


def timed(home: Home, executor: Executor) -> tuple[float, int]:
    """Seconds and rows of all pipelines' history."""
    executor.tend()
    try:
        time.sleep(12)  # all workers have come up and ask for tasks
        names = [one.name for one in pipelines.page(home, limit=PIPELINES).items]
        for name in names:
            jobs.start(home, name)
        until = time.monotonic() + MOST_S
        while time.monotonic() < until:
            executor.tend()
            with home.database.reading() as connection:
                found = connection.execute(sa.select(runs)).all()
            if all(row.status in ENDED for row in found):
                break
            time.sleep(0.2)
    finally:
        executor.stop(patience_s=20)
    done = jobs.page(home, limit=PIPELINES).items
    assert len(done) == PIPELINES and all(one.run.status == "COMPLETED" for one in done), [one.run for one in done]
    began = min(one.began_at for one in done if one.began_at)
    ended = max(one.run.ended_at for one in done if one.run.ended_at)
    return (ended - began).total_seconds(), sum(one.run.balance.read for one in done)


@contextmanager
def cluster() -> Generator[str]:
    """The address of a cluster whose two nodes have room for two workers each."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            found.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
        yield found.address
    finally:
        found.shutdown()


def measured(kind: str, workers: int, simulator: Simulator, server: postgres.Database) -> None:
    """One line: what that many workers did, from nothing."""
    name = f"bench_{kind}_{workers}_{os.getpid()}"
    server.run(f"CREATE DATABASE {name}")
    os.environ["MILLRACE_DATABASE_URL"] = server.url.rpartition("/")[0] + f"/{name}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        home = stack.enter_context(Home.open(folder / "home", create=True))
        apply.apply_file(home, document(folder, simulator))
        if kind == "ray":
            executor: Executor = RayWorkers(home, workers, stack.enter_context(cluster()))
        else:
            executor = Processes(home.path, workers)
        seconds, rows = timed(home, executor)
    print(f"{kind:10}{workers:>8}{rows:>10,}{seconds:>10.1f}{rows / seconds:>10,.0f}", flush=True)
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


def main(kinds: list[str]) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    server = postgres.Server(postgres.binaries())
    try:
        database = server.start()
        print(f"{PIPELINES} pipelines; an answer takes {OPEN_MS} ms to open, {PAGE_MS} ms for a page")
        print(f"{'':10}{'workers':>8}{'rows':>10}{'seconds':>10}{'rows/s':>10}")
        with sources() as simulator:
            for kind in kinds:
                for workers in WORKERS:
                    measured(kind, workers, simulator, database)
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1:] or ["processes", "ray"])
