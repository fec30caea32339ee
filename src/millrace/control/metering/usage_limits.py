"""How many rows may be loaded: by a pipeline in a day or a month, by a team in a month; what happens beyond that.

There is no limit unless somebody sets one. A day and a month are those of UTC. Daily limits of pipelines are the data
spike alerts of the reference, that of the team is its quota (pipelines.md 16.3, 17.4). Beyond a limit people are told;
after a time of grace pipelines are paused, or what they read is held back on the stage (`budgets`).
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import sqlalchemy as sa

from millrace.connect import registry
from millrace.control.activity import Entity, wrote
from millrace.control.alerting import alert_events
from millrace.control.connecting import connections
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.tables import pipelines as pipeline_rows
from millrace.control.database.telling_tables import usage_hourly, usage_limits
from millrace.control.metering import budgets
from millrace.control.metering.usage import day_of, month_of
from millrace.control.pipeline import pipelines
from millrace.control.running import followers
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.connecting.connections import Connection
    from millrace.control.home import Home

Period: TypeAlias = Literal["day", "month"]

# More than any team loads, and far from what a number of the database can hold.
MOST_ROWS = 10**15

# Data of so many days say what a usual day is, and how much more than that is unusual (pipelines.md 16.3).
USUAL_DAYS = 14
UNUSUAL = 1.5


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit and how far it is used up: rows loaded in this period, in a month the billable ones.

    ``pipeline`` None: of the whole team. ``pause``: what is beyond the limit is not read; pipelines are paused.
    ``sideline``: it is read, and waits on the stage for the next period. Both come ``grace_hours`` after the hour in
    which the limit was passed. ``forecast``: what the whole period will see when it goes on like this.
    """

    pipeline: str | None
    period: Period
    rows: int
    pause: bool
    used: int
    forecast: int
    sideline: bool = False
    grace_hours: int = 0

    @property
    def exceeded(self) -> bool:
        return self.used > self.rows


@dataclass(frozen=True, slots=True)
class Lately:
    """Rows of a pipeline in the last ``days`` days."""

    days: int
    ingested: int
    loaded: int


@dataclass(frozen=True, slots=True)
class Usual:
    """What a pipeline usually does. ``suggested``: a limit that only an unusual day goes beyond; None: too little is
    known. ``limit``: the one that it has."""

    lately: tuple[Lately, ...]
    suggested: int | None
    limit: Limit | None


def limit_pipeline(
    home: Home,
    pipeline: str,
    rows: int,
    *,
    pause: bool = False,
    sideline: bool = False,
    grace_hours: int = 0,
    period: Period = "day",
) -> Limit:
    """People are told when the pipeline stages or loads more rows than that in a day, or as many billable ones in a
    month; with ``pause`` it stops, with ``sideline`` what it reads waits on the stage for the next period.

    Raises ConfigError "cannot_pause" where it would miss what happens meanwhile (pipelines.md 16.3, 8.5).
    """
    home.actor.must("pipelines.edit")
    found = pipelines.find(home, pipeline)
    if pause:
        must_bear_a_pause(home, found.name, connections.by_id(home, found.source_id))
    _put(home, found.id, period, rows, _Beyond(pause, sideline, grace_hours), found.entity)
    return next(one for one in _of(home, [found.id]) if one.period == period)


def must_bear_a_pause(home: Home, pipeline: str, source: Connection) -> None:
    """Raises ConfigError "cannot_pause" for a pipeline that would miss what its source does while it is paused."""
    if why := _kept_going(home, source):
        raise ConfigError(
            f"pipeline {pipeline} is not paused by a limit: {why}",
            hint="Set the limit without pause: people are told.",
            path="pause",
            code="cannot_pause",
        )


def _kept_going(home: Home, source: Connection) -> str | None:
    """Why a pipeline from there must not stop by itself, if that is so."""
    if registry.source(source.type).pushed:
        return "its source sends by itself, and would not stop"
    if followers.follows(home, source):
        return "it follows a log, which its database may cut meanwhile"
    return None


def limit_team(home: Home, rows: int, *, pause: bool = False, sideline: bool = False, grace_hours: int = 0) -> Limit:
    """People are told when the team loads more billable rows than that in a month; with ``pause`` all of its pipelines
    stop, with ``sideline`` what they read waits on the stage for the next month."""
    home.actor.must("settings.edit")
    _put(home, None, "month", rows, _Beyond(pause, sideline, grace_hours), Entity("team", home.actor.team_id, "usage"))
    return next(one for one in _of(home, [None]))


def lift_pipeline(home: Home, pipeline: str, periods: Sequence[Period] = ()) -> None:
    """The pipeline has no limit any more, neither a day nor a month, or none of these periods. A run loads what was
    held back."""
    home.actor.must("pipelines.edit")
    found = pipelines.find(home, pipeline)
    for period in periods or get_args(Period):
        _lift(home, found.id, period, found.entity)


def lift_team(home: Home) -> None:
    """The team has no limit any more. Runs load what was held back."""
    home.actor.must("settings.edit")
    _lift(home, None, "month", Entity("team", home.actor.team_id, "usage"))


def page(home: Home, *, after: str | None = None, limit: int = 100) -> Page[Limit]:
    """The limits of the team, its own first, with how far each is used up."""
    home.actor.must("usage.view")
    limit = pages.checked_limit(limit)
    rows = _rows(home, after=pages.number(after) if after else 0, limit=limit + 1)
    found = list(zip(rows, _standing(home, rows), strict=True))
    cut = pages.cut(found, limit, lambda one: str(one[0].id))
    return Page(tuple(standing for _, standing in cut.items), cut.next)


def usual(home: Home, pipeline: str) -> Usual:
    """What a person looks at who sets a limit: 7 days, 14 days, 30 days, and what would be a good limit."""
    home.actor.must("view")
    found = pipelines.find(home, pipeline)
    today = day_of(home.database.now())
    t = usage_hourly.c
    query = sa.select(t.hour, sa.func.sum(t.ingested).label("ingested"), sa.func.sum(t.loaded).label("loaded"))
    query = query.where(t.pipeline_id == found.id, t.hour >= today - timedelta(days=30), t.hour < today)
    with home.database.reading() as connection:
        rows = connection.execute(query.group_by(t.hour)).all()
    days: dict[datetime, int] = {}
    for row in rows:
        days[day_of(row.hour)] = days.get(day_of(row.hour), 0) + int(row.loaded)
    lately = tuple(
        Lately(
            days=span,
            ingested=sum(int(row.ingested) for row in rows if row.hour >= today - timedelta(days=span)),
            loaded=sum(int(row.loaded) for row in rows if row.hour >= today - timedelta(days=span)),
        )
        for span in (7, 14, 30)
    )
    recent = sorted(n for day, n in days.items() if day >= today - timedelta(days=USUAL_DAYS))
    # The 95th percentile, by nearest rank.
    suggested = math.ceil(UNUSUAL * recent[math.ceil(0.95 * len(recent)) - 1]) if len(recent) >= 7 else None
    limit = next((one for one in _of(home, [found.id]) if one.period == "day"), None)
    return Usual(lately, suggested, limit)


@dataclass(frozen=True, slots=True)
class _Beyond:
    """What is done beyond a limit."""

    pause: bool
    sideline: bool
    grace_hours: int


def _put(home: Home, pipeline_id: str | None, period: Period, rows: int, beyond: _Beyond, entity: Entity) -> None:
    if not 1 <= rows <= MOST_ROWS:
        raise ConfigError(f"a limit is a number of rows from 1 to {MOST_ROWS:,}, not {rows:,}", path="rows")
    if beyond.pause and beyond.sideline:
        raise ConfigError(
            "a limit pauses or sidelines, not both",
            hint="With sideline pipelines go on reading, and rows wait on the stage; with pause nothing is read.",
            path="sideline",
        )
    if not 0 <= beyond.grace_hours <= budgets.MOST_GRACE_H:
        raise ConfigError(
            f"the time of grace is 0 to {budgets.MOST_GRACE_H} hours, not {beyond.grace_hours:,}", path="grace_hours"
        )
    mine = _mine(home, pipeline_id, period)
    now = home.database.now()
    with home.database.transaction() as connection:
        old = connection.execute(sa.select(usage_limits).where(*mine)).first()
        # What was told of another limit says nothing of this one.
        connection.execute(sa.delete(usage_limits).where(*mine))
        values = {"team_id": home.actor.team_id, "pipeline_id": pipeline_id, "period": period, "rows": rows}
        connection.execute(sa.insert(usage_limits).values(values | asdict(beyond) | {"changed_at": now}))
        alert_events.over(connection, home.actor.team_id, entity, ["QUOTA_SIDELINED"], at=now)
        before = None if old is None else {"rows": old.rows} | asdict(_beyond(old))
        after = {"rows": rows} | asdict(beyond)
        wrote(home, "MEDIUM", entity, "limit", f"at most {rows:,} rows a {period} for {entity.name}", before, after)


def _lift(home: Home, pipeline_id: str | None, period: Period, entity: Entity) -> None:
    with home.database.transaction() as connection:
        gone = connection.execute(sa.delete(usage_limits).where(*_mine(home, pipeline_id, period)))
        if gone.rowcount:
            alert_events.over(connection, home.actor.team_id, entity, ["QUOTA_SIDELINED"], at=home.database.now())
            wrote(home, "MEDIUM", entity, "limit", f"no limit of rows a {period} for {entity.name} any more")


def _beyond(row: Any) -> _Beyond:
    return _Beyond(row.pause, bool(row.sideline), row.grace_hours or 0)


def _mine(home: Home, pipeline_id: str | None, period: Period) -> tuple[sa.ColumnElement[bool], ...]:
    t = usage_limits.c
    same = t.pipeline_id.is_(None) if pipeline_id is None else t.pipeline_id == pipeline_id
    return (t.team_id == home.actor.team_id, same, t.period == period)


def _of(home: Home, ids: Sequence[str | None]) -> list[Limit]:
    return _standing(home, [row for row in _rows(home) if row.pipeline_id in ids])


def _rows(home: Home, *, after: int = 0, limit: int | None = None) -> list[Any]:
    t = usage_limits.c
    query = (
        sa.select(usage_limits, pipeline_rows.c.name)
        .outerjoin(pipeline_rows, pipeline_rows.c.id == t.pipeline_id)
        .where(t.team_id == home.actor.team_id, t.id > after)
        .order_by(t.id)
    )
    with home.database.reading() as connection:
        return list(connection.execute(query if limit is None else query.limit(limit)))


def _standing(home: Home, rows: Sequence[Any]) -> list[Limit]:
    now = home.database.now()
    with home.database.reading() as connection:
        used = [budgets.spent(connection, row, now) for row in rows]
    return [
        Limit(row.name, row.period, row.rows, used=n, forecast=_forecast(n, row.period, now), **asdict(_beyond(row)))
        for row, n in zip(rows, used, strict=True)
    ]


def _forecast(used: int, period: Period, now: datetime) -> int:
    start = day_of(now) if period == "day" else month_of(now)
    days = 1 if period == "day" else calendar.monthrange(start.year, start.month)[1]
    # In the first hour of a period nothing can be said of the rest.
    passed = max((now - start) / timedelta(days=days), 1 / (24 * days))
    return max(used, round(used / min(passed, 1.0)))
