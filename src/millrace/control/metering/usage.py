"""How many rows were loaded, and which of them count: by pipeline, object, table, kind, day and hour (pipelines.md 17).

Only rows that are at a destination are counted as loaded. Which of those are billable is a rule of the reference; here
it costs nothing, and says what the same work would count as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.books.usage_counts import BILLABLE, HISTORY
from millrace.control.database import pages
from millrace.control.database.tables import pipelines
from millrace.control.database.telling_tables import usage_hourly
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

By: TypeAlias = Literal["pipeline", "object", "table", "kind", "day", "hour"]

_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Rows of one pipeline, object, table, kind, day or hour; what the lines are not told apart by is None.

    ``billable`` and ``historical`` are parts of ``loaded``.
    """

    pipeline: str | None
    object: str | None
    table: str | None
    kind: str | None
    at: datetime | None
    ingested: int
    loaded: int
    billable: int
    historical: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Rows that were staged (``ingested``) and loaded from ``since`` until ``until``, in all and line by line.

    ``kinds``: loaded rows by why they were read. ``next``: the cursor after the last line, where there are more.
    """

    since: datetime
    until: datetime
    ingested: int
    loaded: int
    billable: int
    kinds: Mapping[str, int]
    lines: tuple[UsageLine, ...]
    next: str | None


def report(
    home: Home,
    *,
    by: By = "pipeline",
    since: datetime | None = None,
    until: datetime | None = None,
    pipeline: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Usage:
    """The usage of the team in whole hours, from the start of this month on unless said otherwise.

    Pipelines that are gone are in it. Raises ConfigError for a pipeline that never was, and for a span that is none.
    """
    home.actor.must("usage.view")
    limit = pages.checked_limit(limit)
    skipped = pages.number(after) if after else 0
    until = until or home.database.now()
    since = since or month_of(until)
    if since >= until:
        raise ConfigError("the span ends before it begins", hint="Give an earlier --since.", path="since", code="span")
    t = usage_hourly.c
    where: list[sa.ColumnExpressionArgument[bool]] = [
        t.team_id == home.actor.team_id,
        t.hour >= since.replace(minute=0, second=0, microsecond=0),
        t.hour < until,
    ]
    if pipeline is not None:
        where.append(t.pipeline_id == _id_of(home, pipeline))
    shown, keys = _columns(by)
    newest_first = [sa.desc(key) if by in ("day", "hour") else key for key in (*shown.values(), *keys)]
    lines = sa.select(*shown.values(), *sums()).where(*where).group_by(*keys).order_by(*newest_first)
    with home.database.reading() as connection:
        found = connection.execute(lines.offset(skipped).limit(limit + 1)).all()
        kinds = {
            row.kind: row
            for row in connection.execute(sa.select(t.kind, *sums()).where(*where).group_by(t.kind).order_by(t.kind))
        }
    more = len(found) > limit
    return Usage(
        since=since,
        until=until,
        ingested=sum(int(row.ingested) for row in kinds.values()),
        loaded=sum(int(row.loaded) for row in kinds.values()),
        billable=sum(int(row.billable) for row in kinds.values()),
        kinds={kind: int(row.loaded) for kind, row in kinds.items()},
        lines=tuple(_line(row, list(shown)) for row in found[:limit]),
        next=str(skipped + limit) if more else None,
    )


def month_of(moment: datetime) -> datetime:
    """The first moment of its month, UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    """The first moment of its day, UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _columns(by: By) -> tuple[dict[str, Any], list[Any]]:
    """What a line shows, and what lines are told apart by. A pipeline that was renamed is one pipeline."""
    t = usage_hourly.c
    number = sa.type_coerce(t.hour, sa.BigInteger)
    day = sa.type_coerce(number - number % _MICROSECONDS_A_DAY, t.hour.type)
    pipeline = {"pipeline": called().label("pipeline")}
    match by:
        case "pipeline":
            return pipeline, [t.pipeline_id]
        case "object":
            return pipeline | {"object": t.stream.label("object")}, [t.pipeline_id, t.stream]
        case "table":
            return pipeline | {"table": t.table_name.label("table")}, [t.pipeline_id, t.table_name]
        case "kind":
            return {"kind": t.kind}, [t.kind]
        case "day":
            return {"at": day.label("at")}, [day]
        case "hour":
            return {"at": t.hour.label("at")}, [t.hour]


def called() -> sa.ColumnElement[str]:
    """The name that the pipeline of a line has now; of one that is gone, one that it had."""
    t = usage_hourly.c
    now = sa.select(pipelines.c.name).where(pipelines.c.id == t.pipeline_id).correlate(usage_hourly).scalar_subquery()
    return sa.func.coalesce(now, sa.func.max(t.pipeline))


def sums() -> list[sa.Label[Any]]:
    """Rows that were ingested and loaded; of the latter, those that are billable and those of a history."""
    t = usage_hourly.c
    billable, historical = (sa.case((t.kind.in_(sorted(of)), t.loaded), else_=0) for of in (BILLABLE, HISTORY))
    counted = {"ingested": t.ingested, "loaded": t.loaded, "billable": billable, "historical": historical}
    return [sa.func.coalesce(sa.func.sum(amount), 0).label(name) for name, amount in counted.items()]


def _line(row: Any, names: list[str]) -> UsageLine:
    said: dict[str, Any] = dict.fromkeys(("pipeline", "object", "table", "kind", "at"))
    said |= {name: getattr(row, name) for name in names}
    said |= counts(row)
    return UsageLine(**said)


def counts(row: Any) -> dict[str, int]:
    """What `sums` found, by name."""
    return {name: int(getattr(row, name)) for name in ("ingested", "loaded", "billable", "historical")}


def _id_of(home: Home, name: str) -> str:
    """The pipeline of that name; one that is gone, when none is there. Raises ConfigError "unknown_pipeline"."""
    t = usage_hourly.c
    with home.database.reading() as connection:
        there = sa.select(pipelines.c.id).where(pipelines.c.team_id == home.actor.team_id, pipelines.c.name == name)
        found = connection.execute(there).scalar()
        if found is None:
            gone = sa.select(t.pipeline_id).where(t.team_id == home.actor.team_id, t.pipeline == name)
            found = connection.execute(gone.order_by(t.hour.desc()).limit(1)).scalar()
    if found is None:
        raise ConfigError(f"there is no pipeline {name!r}", hint="See `millrace status`.", code="unknown_pipeline")
    return found
