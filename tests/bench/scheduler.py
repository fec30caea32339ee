"""How long a tick of the scheduler takes with very many pipelines, of which none, a few, or all are due.

    python -m tests.bench.scheduler [pipelines]

Real ticks on a real control database in a file. Each measure is of several ticks, the worst told too, and with the time
of the processor beside that of the clock.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import sqlalchemy as sa
from tests.bench.api import fill

from millrace.control.database.tables import pipelines, runs, slots, tasks
from millrace.control.home import Home
from millrace.control.scheduling import scheduler

PIPELINES = 10_000
EVERY = timedelta(hours=6)
TICKS = 20


def schedule(home: Home, now: datetime) -> int:
    """Each pipeline runs every six hours, the first slots spread evenly over the next six; how many they are."""
    with home.database.transaction() as connection:
        ids = connection.execute(sa.select(pipelines.c.id).order_by(pipelines.c.number)).scalars().all()
        rows = [
            {
                "pipeline_id": id_,
                "part": "run",
                "stream": "",
                "schedule": {"every_s": int(EVERY.total_seconds())},
                "anchor_at": now,
                "slot_at": now + EVERY * (n + 1) / len(ids),
                "due_at": now + EVERY * (n + 1) / len(ids),
                "empty_runs": 0,
                "failed_runs": 0,
            }
            for n, id_ in enumerate(ids)
        ]
        connection.execute(sa.insert(slots), rows)
    return len(rows)


def ticks(home: Home, first: datetime, apart: timedelta, times: int) -> tuple[int, list[float], float]:
    """What so many ticks queued, so far apart by their clock; the milliseconds that each took, in order of size, and
    those of the processor for one."""
    queued, took, processor = 0, list[float](), time.process_time()
    for n in range(times):
        began = time.perf_counter()
        queued += scheduler.tick(home, first + apart * n).queued
        took.append((time.perf_counter() - began) * 1000)
    return queued, sorted(took), (time.process_time() - processor) * 1000 / times


def worked(home: Home) -> None:
    """Workers have done all that waited."""
    with home.database.transaction() as connection:
        connection.execute(sa.delete(tasks))
        connection.execute(sa.update(runs).values(status="COMPLETED", ended_at=runs.c.started_at, stage="DONE"))


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Home.open(Path(folder) / "home", create=True, env={}) as home:
        now = datetime.now(UTC)
        fill(home, count, 0)
        assert schedule(home, now) == count
        for name, first, apart, expected, times in (
            ("nothing is due", now, timedelta(), 0, TICKS),
            ("1 in 100 is due", now + EVERY / 100, EVERY / 100, count * TICKS // 100, TICKS),
            ("nothing is due beside what waits", now + EVERY / 5, timedelta(), 0, TICKS),
            ("all are due", now + EVERY * 3, timedelta(), count, 1),
        ):
            if name == "all are due":
                worked(home)
            queued, took, processor_ms = ticks(home, first, apart, times)
            assert queued == expected, (name, queued, expected)
            print(
                f"{count:,} pipelines, {name}: a tick takes {median(took):.1f} ms, at most {took[-1]:.1f} ms; "
                f"of the processor {processor_ms:.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1].replace("_", "").replace(",", "")) if sys.argv[1:] else PIPELINES)
