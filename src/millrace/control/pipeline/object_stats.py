"""What became of the rows of one object lately, over the runs that began in a span of time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.database.tables import run_counts, runs
from millrace.control.pipeline.pipelines import Pipeline
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class ObjectStats:
    """Rows that were read, loaded and rejected."""

    read: int
    loaded: int
    rejected: int


def object_stats(home: Home, pipeline: Pipeline, stream: str, span: timedelta) -> ObjectStats:
    """The sums over the runs of the last ``span``, as far as runs are kept."""
    home.actor.must("view")
    since = home.database.now() - span
    query = (
        sa.select(run_counts.c.kind, sa.func.sum(run_counts.c.n))
        .join(runs, runs.c.id == run_counts.c.run_id)
        .where(runs.c.pipeline_id == pipeline.id, runs.c.started_at >= since, run_counts.c.stream == stream)
        .group_by(run_counts.c.kind)
    )
    with home.database.reading() as connection:
        sums = {kind: int(n) for kind, n in connection.execute(query)}
    return ObjectStats(sums.get("read", 0), sums.get("loaded", 0), sums.get("rejected", 0))
