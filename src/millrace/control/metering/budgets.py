"""What limits of rows say of the present: how far each is used up, since when, and what it holds back (pipelines.md
17.4).

A limit that sidelines holds back loads: what was read waits on the stage, in its order, and a run of the next period,
or after the limit was raised, loads it. Nothing is lost meanwhile, and nothing is read twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.books.usage_counts import BILLABLE
from millrace.control.database.db import any_in
from millrace.control.database.telling_tables import usage_hourly, usage_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.control.database.db import Database
    from millrace.control.pipeline.pipelines import Pipeline

# A month: who gives more has no limit.
MOST_GRACE_H = 31 * 24

_HOUR = timedelta(hours=1)


def holding(database: Database, pipeline: Pipeline) -> str | None:
    """Why what waits of the pipeline is not loaded now, in words; None: it is."""
    t = usage_limits.c
    about = sa.or_(t.pipeline_id == pipeline.id, t.pipeline_id.is_(None))
    query = sa.select(usage_limits).where(t.team_id == pipeline.team_id, about, t.sideline.is_(True))
    with database.reading() as connection:
        rows = connection.execute(query).all() if any_in(connection, usage_limits) else []
        now = database.now()
        held = next(
            (row for row in rows if exceeded(row, spent(connection, row, now)) and acts(connection, row, now)), None
        )
    if held is None:
        return None
    whose = "the team" if held.pipeline_id is None else f"pipeline {pipeline.name}"
    return (
        f"the limit of {held.rows:,} rows a {held.period} of {whose} is used up: what was read waits on the stage, "
        f"and is loaded from {next_period(held.period, now):%Y-%m-%d} on, or once the limit is raised"
    )


def exceeded(row: Any, used: int) -> bool:
    """The limit, a row of `usage_limits`, is passed by so many rows: a quota when it is used up, a daily limit of a
    pipeline beyond it."""
    return used > row.rows if row.period == "day" and not row.sideline else used >= row.rows


def spent(connection: sa.Connection, row: Any, now: datetime) -> int:
    """Rows that count towards a limit, a row of `usage_limits`, in its period so far."""
    t = usage_hourly.c
    both = sa.select(sa.func.sum(t.ingested).label("ingested"), sa.func.sum(t.loaded).label("loaded"))
    sums = connection.execute(both.where(*_counted(row, now))).one()
    return _measure(row, int(sums.ingested or 0), int(sums.loaded or 0))


def acts(connection: sa.Connection, row: Any, now: datetime) -> bool:
    """The grace of a limit that is passed is over. It counts from the end of the hour in which it was passed."""
    if not row.grace_hours:
        return True
    since = _passed_at(connection, row, now)
    return since is not None and now >= since + _HOUR * row.grace_hours


def next_period(period: str, now: datetime) -> datetime:
    """The first moment of the next day or month, UTC."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day + timedelta(days=1)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _passed_at(connection: sa.Connection, row: Any, now: datetime) -> datetime | None:
    """The end of the hour in which the limit was passed."""
    t = usage_hourly.c
    query = sa.select(t.hour, sa.func.sum(t.ingested).label("ingested"), sa.func.sum(t.loaded).label("loaded"))
    ingested = loaded = 0
    for hour in connection.execute(query.where(*_counted(row, now)).group_by(t.hour).order_by(t.hour)):
        ingested, loaded = ingested + int(hour.ingested), loaded + int(hour.loaded)
        if exceeded(row, _measure(row, ingested, loaded)):
            return hour.hour + _HOUR
    return None


def _counted(row: Any, now: datetime) -> Sequence[sa.ColumnElement[bool]]:
    """What counts of the hours: in a month, and for the team, what is billable; in a day all of the pipeline."""
    t = usage_hourly.c
    start = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = start if row.period == "day" else start.replace(day=1)
    where: list[sa.ColumnElement[bool]] = [t.team_id == row.team_id, t.hour >= start]
    if row.pipeline_id is not None:
        where.append(t.pipeline_id == row.pipeline_id)
    if row.period == "month":
        where.append(t.kind.in_(sorted(BILLABLE)))
    return where


def _measure(row: Any, ingested: int, loaded: int) -> int:
    # What is held back was read: it must not count before it is loaded.
    return max(ingested, loaded) if row.period == "day" and not row.sideline else loaded
