"""The jobs of a team as the audit source reads them (pipelines.md 14)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect import registry
from millrace.connect.audit import JobDone, ObjectDone
from millrace.control import records, run_objects
from millrace.control.records import Balance, RunRecord
from millrace.control.run_objects import ObjectRow
from millrace.control.tables import connections, pipelines, runs, teams

if TYPE_CHECKING:
    from millrace.control.db import Database


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is on record of a team: `connect/audit.py:Audit`."""

    database: Database
    team_id: str

    def ended(self, after: datetime | None, without: Collection[int], most: int) -> Sequence[JobDone]:
        where = [runs.c.ended_at.is_not(None), runs.c.id.not_in(without)]
        where += [runs.c.ended_at > after] if after is not None else []
        return self._jobs(self._query().where(*where).order_by(runs.c.ended_at, runs.c.id).limit(most))

    def again(self, numbers: Collection[int]) -> Sequence[JobDone]:
        return self._jobs(self._query().where(runs.c.id.in_(numbers)).order_by(runs.c.id))

    def _query(self) -> sa.Select[*tuple[Any, ...]]:
        source, destination = connections.alias("source"), connections.alias("destination")
        own = [name for name in registry.names(registry.SOURCES) if registry.source(name).inspects]
        r = runs.c
        return (
            sa.select(
                r.id, r.job_id, r.trigger, r.requested_at, r.ingested_at, r.kind, r.stage, pipelines.c.number,
                source.c.name.label("source"), destination.c.name.label("destination"), teams.c.name.label("team"),
            )
            .join(pipelines, pipelines.c.id == r.pipeline_id)
            .join(source, source.c.id == pipelines.c.source_id)
            .join(destination, destination.c.id == pipelines.c.destination_id)
            .join(teams, teams.c.id == pipelines.c.team_id)
            .where(pipelines.c.team_id == self.team_id, source.c.type.not_in(own))
        )  # fmt: skip

    def _jobs(self, query: sa.Select[*tuple[Any, ...]]) -> list[JobDone]:
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
            ids = [row.id for row in rows]
            found = {one.id: one for one in records.of(connection, ids)}
            objects = run_objects.of(connection, ids)
        return [self._job(row, found[row.id], objects.get(row.id, ())) for row in rows]

    def _job(self, row: Any, run: RunRecord, objects: Sequence[ObjectRow]) -> JobDone:
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
            team_id=self.team_id,
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
