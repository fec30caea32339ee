"""How fresh what each pipeline filled is."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from millrace.control.database.tables import pipelines, segments, tables
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Freshness:
    """``last_loaded_at``: newest load of a table that is told of; ``waiting_rows``: read, and not loaded yet."""

    last_loaded_at: datetime | None = None
    waiting_rows: int = 0

    def beside(self, other: Freshness) -> Freshness:
        """Of both together."""
        loads = [at for at in (self.last_loaded_at, other.last_loaded_at) if at is not None]
        return Freshness(max(loads, default=None), self.waiting_rows + other.waiting_rows)


def by_pipeline(connection: sa.Connection, team_id: str) -> dict[str, Freshness]:
    """By the pipeline's id, of those of the team that staged anything.

    One segment is looked up for each table, and those that wait: the number of segments does not matter.
    """
    s, t, p = segments.c, tables.c, pipelines.c
    mine = sa.select(p.id).where(p.team_id == team_id)
    last = (
        sa.select(t.pipeline_id, sa.func.max(s.loaded_at).label("at"))
        .join(
            segments,
            sa.and_(
                s.pipeline_id == t.pipeline_id,
                s.table_name == t.name,
                s.generation == t.generation,
                s.number == t.loaded,
            ),
        )
        .where(t.pipeline_id.in_(mine), sa.not_(t.fresh))
        .group_by(t.pipeline_id)
    )
    waiting = (
        sa.select(s.pipeline_id, sa.func.sum(s.rows).label("rows"))
        .where(s.state == "staged", s.pipeline_id.in_(mine))
        .group_by(s.pipeline_id)
    )
    loads = {row.pipeline_id: row.at for row in connection.execute(last)}
    rows = {row.pipeline_id: int(row.rows) for row in connection.execute(waiting)}
    return {id_: Freshness(loads.get(id_), rows.get(id_, 0)) for id_ in {*loads, *rows}}
