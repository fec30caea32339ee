"""The list of pipelines as people look at it: is each on time, is it whole, does it need somebody?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.books import file_notes
from millrace.control.database import pages
from millrace.control.database.tables import connections, reject_files, reject_groups, runs, segments
from millrace.control.database.tables import pipelines as table
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.failed import rejects
from millrace.control.metering import usage
from millrace.control.pipeline import pipelines
from millrace.control.scheduling import schedule, slots
from millrace.control.scheduling.priority import Priority
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home

Health: TypeAlias = Literal["WELL", "LOOK", "FAILING", "WORKING", "NEW", "PAUSED", "DELETING"]
Order: TypeAlias = Literal["name", "last_run", "failed", "new"]

GOING = ("QUEUED", "IN_PROGRESS", "CANCELLING")
HOURS = 24

_HOUR = timedelta(hours=1)
_MOVED = ("ingested", "loaded", "failed", "billable", "historical")
# Of the greatest number that a pipeline may have.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Glance:
    """One pipeline in a list. ``open_rejects``: its failed events that wait for somebody.

    ``last_*``: of the last run that was not left out; ``latency_ms``: from staged to loaded in it, on average.
    ``next_at``: when it is due; None while nothing is planned. ``recent``: rows loaded in each of the last 24 hours.
    """

    number: int
    name: str
    health: Health
    source: str
    source_type: str
    destination: str
    destination_type: str
    schedule: str
    priority: Priority
    next_at: datetime | None
    last_run: int | None
    last_status: str | None
    last_at: datetime | None
    last_rows: int
    latency_ms: int | None
    open_rejects: int
    recent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Glances:
    """A page of the list. ``counts``: how many there are of each health, whichever of them was asked for."""

    items: tuple[Glance, ...]
    next: str | None
    counts: Mapping[Health, int]


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows of one pipeline in an hour or a day that began at ``at``; ``failed``: those that were refused then.

    ``billable`` and ``historical`` are parts of ``loaded``.
    """

    at: datetime
    ingested: int
    loaded: int
    failed: int
    billable: int
    historical: int


@dataclass(frozen=True, slots=True)
class ObjectLately:
    """One object of a pipeline: rows staged in each of the last 24 hours, the present one too.

    ``loaded``: those that were loaded in that time, of which some are ``billable`` and some ``historical``.
    """

    object: str
    recent: tuple[int, ...]
    loaded: int
    billable: int
    historical: int


def page(
    home: Home,
    *,
    search: str | None = None,
    health: Sequence[Health] = (),
    destination: str | None = None,
    source_type: str | None = None,
    order: Order = "name",
    after: str | None = None,
    limit: int = 50,
) -> Glances:
    """Pipelines of the team. ``search`` is part of a name or type, of the pipeline or one of its ends, or its number.

    ``order``: by name; the last run first; most failed events first; the newest pipeline first.
    """
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    skipped = pages.number(after) if after else 0
    now = home.database.now()
    with home.database.reading() as connection:
        found = _every(connection, home.actor.team_id)
        if search:
            text, number = f"%{_plain(search)}%", search.strip().removeprefix("#")
            words = (table.c.name, _SOURCE.c.name, _DEST.c.name, _SOURCE.c.type, _DEST.c.type)
            same = [table.c.number == int(number)] if number.isdecimal() and len(number) <= _DIGITS else []
            found = found.where(sa.or_(*same, *(sa.func.lower(c).like(text, escape="\\") for c in words)))
        if destination:
            found = found.where(_DEST.c.name == destination)
        if source_type:
            found = found.where(_SOURCE.c.type == source_type)
        every = found.subquery()
        counts = connection.execute(sa.select(every.c.health, sa.func.count()).group_by(every.c.health)).all()
        query = sa.select(every)
        if health:
            query = query.where(every.c.health.in_(health))
        query = query.order_by(*_ordered(every, order)).offset(skipped).limit(limit + 1)
        rows = connection.execute(query).all()
        shown = rows[:limit]
        told = _told(connection, shown, now)
    return Glances(
        items=tuple(told),
        next=str(skipped + limit) if len(rows) > limit else None,
        counts={word: int(n) for word, n in counts},
    )


def throughput(home: Home, pipeline: str, *, by: Literal["hour", "day"] = "hour", since: datetime) -> list[Moved]:
    """Rows of one pipeline in each hour or day since then in which there were any, in order, by UTC."""
    home.actor.must("view")
    found = pipelines.find(home, pipeline)
    t = usage_hourly.c
    moved: dict[datetime, Counter[str]] = {}
    with home.database.reading() as connection:
        for row in connection.execute(
            sa.select(t.hour, *usage.sums())
            .where(t.team_id == home.actor.team_id, t.pipeline_id == found.id, t.hour >= since)
            .group_by(t.hour)
        ):
            moved.setdefault(_start(row.hour, by), Counter()).update(usage.counts(row))
        for row in connection.execute(
            sa.select(reject_files.c.created_at, sa.func.sum(reject_groups.c.rows).label("rows"))
            .join(reject_groups, reject_groups.c.file_id == reject_files.c.id)
            .where(
                reject_files.c.pipeline_id == found.id,
                reject_files.c.created_at >= since,
                reject_files.c.replayed_file.is_(None),
            )
            .group_by(reject_files.c.created_at)
        ):
            moved.setdefault(_start(row.created_at, by), Counter()).update(failed=int(row.rows))
    return [Moved(at, **{name: n[name] for name in _MOVED}) for at, n in sorted(moved.items())]


def by_object(home: Home, pipeline: str) -> list[ObjectLately]:
    """The objects of which something was staged or loaded in the last 24 hours, by name."""
    home.actor.must("view")
    found, first = pipelines.find(home, pipeline), _first(home.database.now())
    t = usage_hourly.c
    query = (
        sa.select(t.stream, t.hour, *usage.sums())
        .where(t.team_id == home.actor.team_id, t.pipeline_id == found.id, t.hour >= first)
        .group_by(t.stream, t.hour)
    )
    with home.database.reading() as connection:
        rows = connection.execute(query).all()
    recent = _hourly(((row.stream, row.hour, row.ingested) for row in rows), first)
    moved: dict[str, Counter[str]] = {}
    for row in rows:
        moved.setdefault(row.stream, Counter()).update(usage.counts(row))
    return [
        ObjectLately(name, tuple(hours), moved[name]["loaded"], moved[name]["billable"], moved[name]["historical"])
        for name, hours in sorted(recent.items())
        if any(hours) or moved[name]["loaded"]
    ]


_SOURCE = connections.alias("source")
_DEST = connections.alias("destination")


def _every(connection: sa.Connection, team_id: str) -> sa.Select[*tuple[Any, ...]]:
    """All pipelines of the team with their health. Each looks up its last run in the index, however many it had."""
    last = (
        sa.select(sa.func.max(runs.c.id))
        .where(runs.c.pipeline_id == table.c.id, runs.c.status != "SKIPPED")
        .scalar_subquery()
    )
    run = runs.alias("run")
    failed = rejects.open_by_pipeline(connection).subquery()
    files = file_notes.failed_by_pipeline().subquery()
    rows = sa.func.coalesce(failed.c.n, 0)
    health = sa.case(
        (table.c.state != "ACTIVE", table.c.state),
        (run.c.id.is_(None), "NEW"),
        (run.c.status.in_(GOING), "WORKING"),
        (run.c.status == "FAILED", "FAILING"),
        (sa.or_(rows > 0, files.c.n > 0, run.c.status.like("%WITH_FAILURES")), "LOOK"),
        else_="WELL",
    )
    return (
        sa.select(
            table.c.id,
            table.c.number,
            table.c.name,
            table.c.schedule,
            table.c.priority,
            _SOURCE.c.name.label("source"),
            _SOURCE.c.type.label("source_type"),
            _DEST.c.name.label("destination"),
            _DEST.c.type.label("destination_type"),
            run.c.id.label("last_run"),
            run.c.status.label("last_status"),
            run.c.started_at.label("last_at"),
            rows.label("open_rejects"),
            health.label("health"),
        )
        .join(_SOURCE, _SOURCE.c.id == table.c.source_id)
        .join(_DEST, _DEST.c.id == table.c.destination_id)
        .outerjoin(run, run.c.id == last)
        .outerjoin(failed, failed.c.pipeline_id == table.c.id)
        .outerjoin(files, files.c.pipeline_id == table.c.id)
        .where(table.c.team_id == team_id)
    )


def _ordered(every: sa.Subquery, order: Order) -> list[sa.ColumnElement[Any]]:
    name = sa.func.lower(every.c.name)
    match order:
        case "name":
            return [name, every.c.number]
        case "last_run":
            return [sa.func.coalesce(every.c.last_run, 0).desc(), name]
        case "failed":
            return [every.c.open_rejects.desc(), name]
        case "new":
            return [every.c.number.desc()]


def _told(connection: sa.Connection, rows: Sequence[Any], now: datetime) -> list[Glance]:
    """What only the rows of this page are asked for."""
    ids = [row.id for row in rows]
    last = [row.last_run for row in rows if row.last_run is not None]
    s, t = segments.c, usage_hourly.c
    took = sa.cast(s.loaded_at, sa.BigInteger) - sa.cast(s.staged_at, sa.BigInteger)
    loads = {
        row.run_id: row
        for row in connection.execute(
            sa.select(s.run_id, sa.func.sum(s.rows - s.refused_rows).label("rows"), sa.func.avg(took).label("took"))
            .where(s.run_id.in_(last), s.loaded_at.is_not(None))
            .group_by(s.run_id)
        )
    }
    due = slots.next_runs(connection, ids)
    first = _first(now)
    moved = connection.execute(
        sa.select(t.pipeline_id, t.hour, sa.func.sum(t.loaded).label("loaded"))
        .where(t.pipeline_id.in_(ids), t.hour >= first)
        .group_by(t.pipeline_id, t.hour)
    )
    recent = _hourly(((row.pipeline_id, row.hour, row.loaded) for row in moved), first)
    found: list[Glance] = []
    for row in rows:
        load = loads.get(row.last_run)
        found.append(
            Glance(
                number=row.number,
                name=row.name,
                health=row.health,
                source=row.source,
                source_type=row.source_type,
                destination=row.destination,
                destination_type=row.destination_type,
                schedule=schedule.told(schedule.from_json(row.schedule)),
                priority=row.priority,
                next_at=due.get(row.id),
                last_run=row.last_run,
                last_status=row.last_status,
                last_at=row.last_at,
                last_rows=0 if load is None else int(load.rows),
                latency_ms=None if load is None else int(load.took) // 1000,
                open_rejects=int(row.open_rejects),
                recent=tuple(recent.get(row.id, [0] * HOURS)),
            )
        )
    return found


def _first(now: datetime) -> datetime:
    """Where the first of the last 24 hours began, of which one goes on."""
    return _start(now, "hour") - (HOURS - 1) * _HOUR


def _hourly(rows: Iterable[tuple[str, datetime, int]], first: datetime) -> dict[str, list[int]]:
    """Rows of each name in each of 24 hours."""
    found: dict[str, list[int]] = {}
    for name, at, n in rows:
        hour = (at - first) // _HOUR
        if 0 <= hour < HOURS:
            found.setdefault(name, [0] * HOURS)[hour] += int(n)
    return found


def _start(moment: datetime, by: Literal["hour", "day"]) -> datetime:
    start = moment.replace(minute=0, second=0, microsecond=0)
    return start if by == "hour" else start.replace(hour=0)


def _plain(text: str) -> str:
    """Signs that LIKE would take for others stand for themselves."""
    return text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
