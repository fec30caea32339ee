"""What a run did with each object, written while it goes on, and finished when it ends (pipelines.md 19.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.database.db import Database
from millrace.control.database.tables import cursors, run_counts, run_objects, runs, segments
from millrace.control.observing import logs
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.engine.watch import Ending
from millrace.errors import Problem

ObjectStatus: TypeAlias = Literal[
    "NOT_INITIALIZED",
    "IN_PROGRESS",
    "COMPLETED",
    "COMPLETED_WITH_FAILURES",
    "FAILED",
    "DEFERRED",
    "DEFERRED_WITH_FAILURES",
    "SKIPPED",
    "CANCELLED",
]
ENDED: dict[Ending, ObjectStatus] = {
    "read": "COMPLETED",
    "left": "FAILED",
    "failed": "FAILED",
    "deferred": "DEFERRED",
    "stopped": "CANCELLED",
}
WITH_FAILURES: dict[str, ObjectStatus] = {
    "COMPLETED": "COMPLETED_WITH_FAILURES",
    "DEFERRED": "DEFERRED_WITH_FAILURES",
}


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object of a run. ``before`` and ``after``: positions by lane. Latency: from staged to loaded, in ms."""

    stream: str
    status: ObjectStatus
    started_at: datetime | None
    ingested_at: datetime | None
    load_started_at: datetime | None
    loaded_at: datetime | None
    before: Mapping[str, JSON]
    after: Mapping[str, JSON]
    tables: tuple[str, ...]
    error: Problem | None

    @property
    def ended(self) -> bool:
        return self.status not in ("NOT_INITIALIZED", "IN_PROGRESS")


class Watching:
    """Writes what a sync tells (`millrace.engine.watch.Watch`) beside its run. ``told`` takes secrets out."""

    def __init__(self, database: Database, pipeline_id: str, run: int, told: Callable[[BaseException], Problem]):
        self._database = database
        self._pipeline = pipeline_id
        self._run = run
        self._told = told

    def begin(self, streams: Iterable[str]) -> None:
        """The run is about these objects; what an earlier attempt of it finished stays as it is."""
        with self._database.joining() as connection:
            known = set(
                connection.execute(sa.select(run_objects.c.stream).where(run_objects.c.run_id == self._run)).scalars()
            )
            rows = [
                {
                    "run_id": self._run,
                    "stream": stream,
                    "status": "NOT_INITIALIZED",
                    "before": _positions(connection, self._pipeline, stream),
                    "after": {},
                    "tables": [],
                    "error": None,
                }
                for stream in streams
                if stream not in known
            ]
            if rows:
                connection.execute(sa.insert(run_objects), rows)
            _stage(connection, self._run, "INGESTING")

    def reading(self, stream: str) -> None:
        logs.reading(stream)
        self._write(stream, {"status": "IN_PROGRESS", "started_at": datetime.now(UTC), "error": None})

    def ended(self, stream: str, ending: Ending, error: Exception | None) -> None:
        logs.reading(None)
        values: dict[str, Any] = {"status": ENDED[ending], "ingested_at": datetime.now(UTC)}
        values["error"] = None if error is None else dataclasses.asdict(self._told(error))
        self._write(stream, values)

    def ingested(self) -> None:
        with self._database.transaction() as connection:
            _stage(connection, self._run, "LOADING", ingested_at=datetime.now(UTC))

    def _write(self, stream: str, values: Mapping[str, Any]) -> None:
        where = (run_objects.c.run_id == self._run, run_objects.c.stream == stream)
        with self._database.transaction() as connection:
            connection.execute(sa.update(run_objects).where(*where).values(values))


def settle(connection: sa.Connection, pipeline_id: str, run: int, *, failed: bool) -> None:
    """The objects of a run that has ended, ``failed`` or not, say so: what waits was not done."""
    rows = connection.execute(sa.select(run_objects).where(run_objects.c.run_id == run)).all()
    if not rows:
        return
    refused = {
        stream: int(n)
        for stream, n in connection.execute(
            sa.select(run_counts.c.stream, sa.func.sum(run_counts.c.n))
            .where(run_counts.c.run_id == run, run_counts.c.kind == "rejected")
            .group_by(run_counts.c.stream)
        )
    }
    s = segments.c
    loads = {
        row.stream: row
        for row in connection.execute(
            sa.select(
                s.stream,
                sa.func.min(s.staged_at).label("first"),
                sa.func.max(s.loaded_at).label("last"),
                sa.func.count(sa.case((s.state == "staged", 1))).label("waiting"),
            )
            .where(s.run_id == run)
            .group_by(s.stream)
        )
    }
    names: dict[str, set[str]] = {}
    for stream, table in connection.execute(sa.select(s.stream, s.table_name).where(s.run_id == run).distinct()):
        names.setdefault(stream, set()).add(table)
    for row in rows:
        status: ObjectStatus = row.status
        load = loads.get(row.stream)
        if status == "NOT_INITIALIZED":
            status = "SKIPPED"
        elif status == "IN_PROGRESS":
            status = "FAILED" if failed else "CANCELLED"
        elif status == "COMPLETED" and failed and load is not None and load.waiting:
            status = "FAILED"
        if refused.get(row.stream):
            status = WITH_FAILURES.get(status, status)
        connection.execute(
            sa.update(run_objects)
            .where(run_objects.c.run_id == run, run_objects.c.stream == row.stream)
            .values(
                status=status,
                load_started_at=load.first if load else None,
                loaded_at=load.last if load else None,
                tables=sorted(names.get(row.stream, ())),
                after=_positions(connection, pipeline_id, row.stream),
            )
        )


def of(connection: sa.Connection, run_ids: Sequence[int]) -> dict[int, list[ObjectRow]]:
    """The objects of each of the runs, by name."""
    query = sa.select(run_objects).where(run_objects.c.run_id.in_(run_ids)).order_by(run_objects.c.stream)
    found: dict[int, list[ObjectRow]] = {}
    for row in connection.execute(query):
        found.setdefault(row.run_id, []).append(
            ObjectRow(
                stream=row.stream,
                status=row.status,
                started_at=row.started_at,
                ingested_at=row.ingested_at,
                load_started_at=row.load_started_at,
                loaded_at=row.loaded_at,
                before=row.before,
                after=row.after,
                tables=tuple(row.tables),
                error=Problem(**row.error) if row.error else None,
            )
        )
    return found


def deferred(connection: sa.Connection, run: int) -> list[str]:
    """Objects that a limit left in that run."""
    mine = (run_objects.c.run_id == run, run_objects.c.status.like("DEFERRED%"))
    return list(connection.execute(sa.select(run_objects.c.stream).where(*mine)).scalars())


def _positions(connection: sa.Connection, pipeline_id: str, stream: str) -> dict[str, JSON]:
    query = sa.select(cursors.c.lane, cursors.c.cursor).where(
        cursors.c.pipeline_id == pipeline_id, cursors.c.stream == stream
    )
    return {row.lane: row.cursor for row in connection.execute(query)}


def _stage(connection: sa.Connection, run: int, stage: str, **more: Any) -> None:
    connection.execute(sa.update(runs).where(runs.c.id == run).values(stage=stage, **more))
