"""The jobs of a team as the audit source reads them, those of deleted pipelines too (pipelines.md 14)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect import registry
from millrace.connect.audit import JobDone, ObjectDone
from millrace.control.books import records, run_objects
from millrace.control.books.records import Balance, RunRecord
from millrace.control.books.run_objects import ObjectRow
from millrace.control.database.tables import connections, deleted_jobs, pipelines, runs, teams
from millrace.control.wire import adapter
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.database.db import Database


# Jobs of a pipeline that is about to go are put away in parts of so many.
PART = 500


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is on record of a team: `connect/audit.py:Audit`."""

    database: Database
    team_id: str

    def ended(self, after: datetime | None, without: Collection[int], most: int) -> Sequence[JobDone]:
        r, d = runs.c, deleted_jobs.c
        here: list[sa.ColumnElement[bool]] = [r.ended_at.is_not(None), r.id.not_in(without)]
        gone: list[sa.ColumnElement[bool]] = [d.team_id == self.team_id, d.run_id.not_in(without)]
        if after is not None:
            here.append(r.ended_at > after)
            gone.append(d.ended_at > after)
        with self.database.reading() as connection:
            found = _jobs(connection, self._query().where(*here).order_by(r.ended_at, r.id).limit(most))
            found += _deleted(connection, gone, most)
        return sorted(found, key=lambda job: (job.ended_at, job.number))[:most]

    def again(self, numbers: Collection[int]) -> Sequence[JobDone]:
        gone = [deleted_jobs.c.team_id == self.team_id, deleted_jobs.c.run_id.in_(numbers)]
        with self.database.reading() as connection:
            found = _jobs(connection, self._query().where(runs.c.id.in_(numbers)))
            found += _deleted(connection, gone, len(numbers))
        return sorted(found, key=lambda job: job.number)

    def _query(self) -> sa.Select[*tuple[Any, ...]]:
        return _query().where(pipelines.c.team_id == self.team_id)


def keep(connection: sa.Connection, pipeline_id: str) -> None:
    """The jobs of a pipeline that is about to go stay on record for audit tables. What of them still waits to be loaded
    goes with the pipeline, so their numbers are final."""
    mine = _query().where(runs.c.pipeline_id == pipeline_id, runs.c.ended_at.is_not(None)).order_by(runs.c.id)
    last = 0
    while found := _jobs(connection, mine.where(runs.c.id > last).limit(PART)):
        rows = [
            {"run_id": job.number, "team_id": job.team_id, "ended_at": job.ended_at, "job": _saved(job)}
            for job in found
        ]
        connection.execute(sa.insert(deleted_jobs), rows)
        last = found[-1].number


def _deleted(connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]], most: int) -> list[JobDone]:
    d = deleted_jobs.c
    query = sa.select(d.job).where(*where).order_by(d.ended_at, d.run_id).limit(most)
    return [adapter(JobDone).validate_python(job) for job in connection.execute(query).scalars()]


def _saved(job: JobDone) -> Any:
    return adapter(JobDone).dump_python(replace(job, waiting=0), mode="json")


def _query() -> sa.Select[*tuple[Any, ...]]:
    """Jobs of pipelines, but for those that read audit tables themselves."""
    source, destination = connections.alias("source"), connections.alias("destination")
    own = [name for name in registry.names(registry.SOURCES) if registry.source(name).inspects]
    r = runs.c
    return (
        sa.select(
            r.id, r.job_id, r.trigger, r.requested_at, r.ingested_at, r.kind, r.stage, pipelines.c.number,
            source.c.name.label("source"), destination.c.name.label("destination"), teams.c.name.label("team"),
            pipelines.c.team_id,
        )
        .join(pipelines, pipelines.c.id == r.pipeline_id)
        .join(source, source.c.id == pipelines.c.source_id)
        .join(destination, destination.c.id == pipelines.c.destination_id)
        .join(teams, teams.c.id == pipelines.c.team_id)
        .where(source.c.type.not_in(own))
    )  # fmt: skip


def _jobs(connection: sa.Connection, query: sa.Select[*tuple[Any, ...]]) -> list[JobDone]:
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    found = {one.id: one for one in records.of(connection, ids)}
    objects = run_objects.of(connection, ids)
    return [_job(row, found[row.id], objects.get(row.id, ())) for row in rows]


def _job(row: Any, run: RunRecord, objects: Sequence[ObjectRow]) -> JobDone:
    balance = run.balance
    assert run.ended_at is not None
    return JobDone(
        number=row.id,
        job_id=row.job_id,
        pipeline=run.pipeline,
        pipeline_number=row.number,
        source=row.source,
        destination=row.destination,
        team=row.team,
        team_id=row.team_id,
        kind=run.kind,
        status=run.status,
        trigger=row.trigger,
        requested_at=row.requested_at,
        started_at=run.started_at,
        ingested_at=row.ingested_at,
        ended_at=run.ended_at,
        read=balance.read,
        created=balance.created,
        filtered=balance.filtered_rows,
        loaded=balance.loaded,
        rejected=balance.rejected_rows,
        waiting=balance.waiting,
        error=None if run.error is None else run.error.message,
        objects=[_object(one, run.streams.get(one.stream, Balance())) for one in objects],
    )


def _object(row: ObjectRow, counts: Balance) -> ObjectDone:
    return ObjectDone(
        name=row.stream,
        status=row.status,
        tables=row.tables,
        started_at=row.started_at,
        ingested_at=row.ingested_at,
        loaded_at=row.loaded_at,
        before=row.before,
        after=row.after,
        read=counts.read,
        loaded=counts.loaded,
        rejected=counts.rejected_rows,
        error=None if row.error is None else row.error.message,
    )
