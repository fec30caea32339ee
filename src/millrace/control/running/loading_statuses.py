"""How far what was read of an object is at the destination (loading.md 9), from the books alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.database.tables import runs, tables
from millrace.data.dataclass import dataclass

LoadingStatus: TypeAlias = Literal["NOT_STARTED", "QUEUED", "IN_PROGRESS", "FAILED", "SUCCESS", "DEFERRED"]

# Of errors of a run: the destination is there, and cannot take rows for the moment.
_CONSTRAINTS = frozenset({"locked"})


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the books say of the tables of a pipeline: streams with rows that wait on the stage, and those of which
    something was loaded; and the newest run that began."""

    waiting: frozenset[str]
    loaded: frozenset[str]
    newest: Any

    def status(self, stream: str, work: Any, last: Any) -> LoadingStatus:
        """``work``: the run that waits or goes on, ``last``: what the latest run did with the stream; both may be
        None. Rows of event types that steps or nesting made of it are not counted."""
        if stream not in self.waiting:
            return "SUCCESS" if stream in self.loaded else "NOT_STARTED"
        if work is not None:
            return "QUEUED" if work.status == "QUEUED" else "IN_PROGRESS"
        return self._left(last)

    def _left(self, last: Any) -> LoadingStatus:
        """Of rows that wait while nothing is at work: why the newest run has not loaded them."""
        run = self.newest
        if run is None:
            return "QUEUED"
        # A run that fails while it reads says nothing about the destination.
        read = last is not None and last.run_id == run.id and last.ingested_at is not None and last.error is None
        if run.status == "FAILED" and (run.kind == "LOAD" or read):
            return "DEFERRED" if (run.error or {}).get("code") in _CONSTRAINTS else "FAILED"
        # The run loaded others, and left these with a reason.
        return "FAILED" if run.status == "COMPLETED_WITH_FAILURES" and run.ingested_at is not None else "QUEUED"


def shelf(connection: sa.Connection, pipeline_id: str) -> Shelf:
    """The tables of the pipeline, and its newest run."""
    t = tables.c
    mine = sa.select(t.stream, t.name, t.generation, t.loaded, t.last).where(t.pipeline_id == pipeline_id)
    newest: Mapping[str, Any] = {row.name: row for row in connection.execute(mine.order_by(t.generation))}
    run = connection.execute(
        sa.select(runs.c.id, runs.c.kind, runs.c.status, runs.c.ingested_at, runs.c.error)
        .where(runs.c.pipeline_id == pipeline_id, runs.c.status.not_in(("QUEUED", "SKIPPED")))
        .order_by(runs.c.id.desc())
        .limit(1)
    ).one_or_none()
    return Shelf(
        waiting=frozenset(row.stream for row in newest.values() if row.last > row.loaded),
        loaded=frozenset(row.stream for row in newest.values() if row.loaded or row.generation > 1),
        newest=run,
    )
