"""Fails and replays very many rows in a process of its own, and says how much memory that took: `… N FOLDER`."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.engine.kit import PIPELINE, Rig

from millrace.control.failed import rejects
from millrace.control.failed.rejects import Choice
from millrace.control.home import Home
from millrace.data.batch import Checkpoint
from millrace.engine.failures import FailurePolicy
from millrace.engine.stage import Stage

BATCH = 3_000


def peak_mb() -> int:
    """The most memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@contextmanager
def without_stage(home: Home) -> Iterator[None]:
    """The files of rejects are out of reach: what works all the same does not depend on how many rows are in them."""
    stage = Path(home.stage_url)
    away = stage.rename(stage.with_name("away"))
    yield
    away.rename(stage)


def rows(first: int, count: int) -> pa.RecordBatch:
    """Rows of a table with six columns; only the row 0 has a key."""
    ids = range(first, first + count)
    columns = {
        "id": pa.array([None if number else 0 for number in ids], pa.int64()),
        "n": pa.array(ids, pa.int64()),
        "name": pa.array([f"name {number} " + "x" * 900 for number in ids]),
        "share": pa.array([number / 7 for number in ids]),
        "city": pa.array([f"city {number % 97}" for number in ids]),
        "day": pa.array([number % 20_000 for number in ids], pa.int32()).cast(pa.date32()),
    }
    return pa.RecordBatch.from_pydict(columns)


def go_through(count: int, folder: Path) -> dict[str, Any]:
    """So many rows fail, with one checkpoint at their end; they are looked at, replayed, and discarded."""

    def read(_: object) -> Iterator[object]:
        yield rows(0, 1)
        for first in range(1, count + 1, BATCH):
            yield rows(first, min(BATCH, count + 1 - first))
        yield Checkpoint(1)

    folder.mkdir()
    rig = Rig(folder)
    rig.script.stream("items", read, [], key=("id",))
    rig.create()
    with rig.crew() as crew:
        replace(crew.sync(), failing=FailurePolicy.none()).run()
    with without_stage(rig.home):
        (group,) = rejects.grouped(rig.home)
    assert len(list(rejects.rows(rig.home, Stage(rig.home.stage_url), limit=10))) == 10
    record = rig.replay()
    with without_stage(rig.home):
        discarded = rejects.discard(rig.home, Choice(PIPELINE))
    rig.close()
    even = record.balance.even and record.balance.read == group.rows == discarded
    return {"rows": discarded, "even": even, "peak_mb": peak_mb()}


if __name__ == "__main__":
    where = Path(sys.argv[2])
    print(json.dumps([go_through(2 * BATCH, where / "few"), go_through(int(sys.argv[1]), where / "many")]))
