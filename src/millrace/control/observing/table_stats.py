"""What was loaded into one table of a destination lately, by all pipelines that load there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.connecting.connections import Connection
from millrace.control.database.tables import pipelines, segments, tables
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class TableStats:
    """Rows that a table took in the last ``duration_s`` seconds, as far as its segments are still kept."""

    table: str
    duration_s: int
    rows_loaded: int
    rows_failed: int
    last_loaded_at: datetime | None


def table_stats(home: Home, destination: Connection, table: str, duration_s: int) -> TableStats:
    """Raises ConfigError when no pipeline loads into a table of that name there."""
    home.actor.must("view")
    mine = sa.select(pipelines.c.id).where(
        pipelines.c.destination_id == destination.id, pipelines.c.team_id == home.actor.team_id
    )
    there = sa.select(tables.c.name).where(tables.c.name == table, tables.c.pipeline_id.in_(mine)).limit(1)
    s = segments.c
    since = home.database.now() - timedelta(seconds=duration_s)
    loaded = s.loaded_at >= since
    query = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((loaded, s.rows - s.refused_rows), else_=0)), 0).label("rows"),
        sa.func.coalesce(sa.func.sum(sa.case((loaded, s.refused_rows), else_=0)), 0).label("refused"),
        sa.func.max(s.loaded_at).label("last"),
    ).where(s.pipeline_id.in_(mine), s.table_name == table)
    with home.database.reading() as connection:
        if connection.execute(there).first() is None:
            raise ConfigError(f"destination {destination.name!r} has no table {table!r}", code="unknown_table")
        row = connection.execute(query).one()
    return TableStats(table, duration_s, int(row.rows), int(row.refused), row.last)
