"""Very many failed events: how long they take, and whether memory stays flat (`-m tests.bench.failed --rows 1000000`).

One process fails rows, looks at them, replays one and then all, and lets them be purged after their time. For each step
it tells the seconds, the CPU time for each row, and how much more memory the process has needed at most since a
hundredth of the rows went the same way. Listing and purging read the control database alone.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.engine.kit import PIPELINE, Rig

from millrace.control.books import retention
from millrace.control.failed import rejects
from millrace.control.failed.rejects import Choice
from millrace.data.batch import Checkpoint
from millrace.engine.failures import FailurePolicy
from millrace.engine.stage import Stage

BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Took:
    """One step: what it was, its seconds, and the CPU seconds of this process."""

    what: str
    seconds: float
    cpu: float
    peak_mb: int


def rows(first: int, count: int) -> pa.RecordBatch:
    """Orders whose key is missing, so that none can pass."""
    ids = range(first, first + count)
    return pa.record_batch(
        {
            "id": pa.array([None if number else 0 for number in ids], pa.int64()),
            "n": pa.array(ids, pa.int64()),
            "email": [f"user{number}@example.com" for number in ids],
            "price": [number / 7 for number in ids],
            "city": [f"city {number % 97}" for number in ids],
        }
    )


def steps(count: int, folder: Path) -> list[Took]:
    """So many rows fail and go the whole way."""

    def read(_: object) -> Iterator[object]:
        yield rows(0, 1)
        for first in range(1, count + 1, BATCH):
            yield rows(first, min(BATCH, count + 1 - first))
            yield Checkpoint(first)

    folder.mkdir()
    rig = Rig(folder)
    rig.script.stream("items", read, [], key=("id",))
    rig.create()
    stage = Stage(rig.home.stage_url)
    took: list[Took] = []

    def timed(what: str, call: Callable[[], Any]) -> Any:
        started, cpu = time.perf_counter(), time.process_time()
        answer = call()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        took.append(Took(what, time.perf_counter() - started, time.process_time() - cpu, peak))
        return answer

    def fail() -> None:
        with rig.crew() as crew:
            replace(crew.sync(), failing=FailurePolicy.none()).run()

    def waiting() -> int:
        return sum(group.rows for group in rejects.grouped(rig.home))

    timed("fail", fail)
    assert timed("list, counted by group", waiting) == count
    assert len(timed("show 10", lambda: list(rejects.rows(rig.home, stage, limit=10)))) == 10
    one = Choice(PIPELINE, where=("n", str(count)))
    assert timed("replay 1 of them", lambda: rejects_replay(rig, one)) == 1
    assert waiting() == count
    assert timed("replay all", lambda: rejects_replay(rig, Choice(PIPELINE))) == count
    late = datetime.now(UTC) + timedelta(days=31)
    timed("purge", lambda: retention.collect(rig.home, stage, now=late))
    assert waiting() == 0
    rig.close()
    return took


def rejects_replay(rig: Rig, choice: Choice) -> int:
    """They went their way once more; how many."""
    from millrace.control.failed import replay

    balance = replay.replay(rig.home, choice).balance
    assert balance.even
    return balance.read


def connectors(folder: Path) -> None:
    """The source and the destination of the tests are found by name."""
    info = folder / "millrace_test_connectors-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: millrace-test-connectors\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[millrace.sources]\nscripted = tests.engine.kit:Scripted\n"
        "[millrace.destinations]\nshaky = tests.engine.kit:Shaky\n"
    )
    sys.path.insert(0, str(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        connectors(Path(folder) / "site")
        before = steps(max(1, asked.rows // 100), Path(folder) / "few")
        print(f"{asked.rows:,} failed events")
        print(f"{'':26}{'seconds':>9}{'CPU':>8}{'µs a row':>10}{'MB more':>9}")
        for one in steps(asked.rows, Path(folder) / "many"):
            each = one.cpu * 1e6 / asked.rows
            print(f"{one.what:26}{one.seconds:>9.2f}{one.cpu:>8.2f}{each:>10.2f}{one.peak_mb - before[-1].peak_mb:>9,}")


if __name__ == "__main__":
    main()
