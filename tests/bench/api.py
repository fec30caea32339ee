"""Latency of the list of pipelines over HTTP, with many pipelines and very many runs: a real server, one caller.

    python -m tests.bench.api [pipelines] [runs]

Pages are asked for at random places of the list, by the cursors that the pages before them gave.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
import uvicorn

from millrace.control import settings
from millrace.control.database.numbers import following
from millrace.control.database.tables import connections, pipelines, runs
from millrace.control.home import Home
from millrace.control.people import keys, users
from millrace.control.people.actors import FIRST_TEAM
from millrace.control.running import process
from millrace.rest.app import Limits, application
from millrace.rest.listening import config

PIPELINES, RUNS = 1_000, 1_000_000
ASKED = 300
PART = 50_000
PATH = "/api/public/v2.0/pipelines"
STATUSES = ("COMPLETED", "COMPLETED", "COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "CANCELLED", "SKIPPED")


def fill(home: Home, count: int, run_count: int) -> None:
    """Pipelines into one destination, each from a source of its own, and their runs, oldest first."""
    now = datetime.now(UTC)
    ids = [str(uuid.uuid4()) for _ in range(count)]
    with home.database.transaction() as connection:
        common = {"secret_keys": [], "sealed": None, "created_at": now, "changed_at": now, "team_id": FIRST_TEAM}

        def add(kind: str, name: str, type_: str, config_: dict[str, Any]) -> str:
            id_ = str(uuid.uuid4())
            row = common | {"id": id_, "kind": kind, "name": name, "type": type_, "config": config_}
            connection.execute(sa.insert(connections).values(row | {"number": following(connection, "connection")}))
            return id_

        warehouse = add("destination", "warehouse", "duckdb", {"path": "/data/warehouse.duckdb"})
        for n, id_ in enumerate(ids):
            source = add("source", f"app {n}", "clevertap", {"project_id": "AAA-BBB-CCCC", "region": "EU"})
            row = {
                "id": id_,
                "name": f"app {n}",
                "source_id": source,
                "destination_id": warehouse,
                "load_mode": "merge",
                "table_prefix": "",
                "naming": "edge",
                "auto_mapping": True,
                "schedule": {"every_s": 21600},
                "options": {},
                "state": "ACTIVE",
                "ingested_at_ms": 0,
                "created_at": now,
                "changed_at": now,
                "team_id": FIRST_TEAM,
            }
            connection.execute(sa.insert(pipelines).values(row | {"number": following(connection, "pipeline")}))
    chance = random.Random(1)
    with home.database.transaction() as connection:
        for start in range(0, run_count, PART):
            rows = [
                {
                    "pipeline_id": ids[n % count],
                    "kind": "INCREMENTAL",
                    "status": chance.choice(STATUSES),
                    "started_at": now - timedelta(seconds=run_count - n),
                    "ended_at": now - timedelta(seconds=run_count - n - 1),
                    "notes": [],
                    "error": None,
                }
                for n in range(start, min(start + PART, run_count))
            ]
            connection.execute(sa.insert(runs), rows)


@contextmanager
def served(home: Home) -> Generator[str]:
    app = application(home, limits=Limits(requests_a_minute=1_000_000))
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(config(app, "127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def cursors(client: httpx.Client, limit: int) -> list[str]:
    """Where each page but the first starts."""
    found: list[str] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = client.get(PATH, params=params).json()
        if "pagination" not in page:
            return found
        found.append(page["pagination"]["starting_after"])
        params["starting_after"] = found[-1]


def latencies(client: httpx.Client, limit: int) -> list[float]:
    """Milliseconds of each of many requests, in order of size."""
    places = cursors(client, limit)
    chance = random.Random(2)
    took: list[float] = []
    for _ in range(ASKED):
        place = {"starting_after": chance.choice(places)} if places else {}  # few pipelines are all on the first page
        began = time.perf_counter()
        answer = client.get(PATH, params={"limit": limit, **place})
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200
    return sorted(took)


def main(count: int, run_count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Home.open(Path(folder) / "home", create=True, env={}) as home:
        began = time.perf_counter()
        fill(home, count, run_count)
        print(f"{count:,} pipelines, {run_count:,} runs, made in {time.perf_counter() - began:.0f} s")
        settings.change(home, password_memory_mib=8, password_passes=1)
        users.create(home, "bench@example.com", password="Correct-horse-7")
        pair = keys.create(home, "bench@example.com")
        with served(home) as url, httpx.Client(base_url=url, auth=(pair.key, pair.secret), timeout=60) as client:
            for limit in (20, 100):
                took = latencies(client, limit)
                print(
                    f"list of pipelines, {limit:>3} on a page: p50 {took[len(took) // 2]:.1f} ms, "
                    f"p99 {took[int(len(took) * 0.99)]:.1f} ms"
                )


if __name__ == "__main__":
    process.begin()  # as `millrace serve` does: Python looks for cycles among what was imported seldom
    sizes = [int(word.replace("_", "").replace(",", "")) for word in sys.argv[1:3]]
    main(*(sizes + [PIPELINES, RUNS][len(sizes) :]))
