"""What is unusual for a pipeline by its own past: a day of many more rows, loads that stop (pipelines.md 16.3).

It is the option `spike_alert` of a pipeline. A day is compared with the same days of the weeks before, UTC, because
traffic has a week's rhythm; the median, because one odd day must not make the next one usual.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.connecting import connections
from millrace.control.database.tables import pipelines as table
from millrace.control.database.tables import segments, slots
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.metering import usage_limits
from millrace.control.pipeline import pipelines
from millrace.control.scheduling import due, schedule
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.control.home import Home
    from millrace.data.batch import JSON

OPTION = "spike_alert"

# Days of the same name that a day is compared with, and how many of them must be known.
WEEKS, LEAST_DAYS = 8, 3

MOST_TIMES, MOST_INTERVALS = 1000.0, 100


@dataclass(frozen=True, slots=True)
class Unusual:
    """When people are told: of a day with more than ``times`` the rows that are usual for its weekday; when nothing was
    loaded for so many ``intervals`` of the schedule. None: not of that. ``pause``: an unusual day pauses, too."""

    times: float | None = None
    intervals: int | None = None
    pause: bool = False


def watch(home: Home, pipeline: str, wanted: Unusual) -> Unusual:
    """People are told of what is unusual in this way. Raises ConfigError "cannot_pause" where a pipeline that stops
    would miss what happens meanwhile."""
    home.actor.must("pipelines.edit")
    found = pipelines.find(home, pipeline)
    if wanted.times is not None and not 1 < wanted.times <= MOST_TIMES:
        raise ConfigError(f"an unusual day has more than 1 to {MOST_TIMES:g} times the usual rows", path="times")
    if wanted.intervals is not None and not 1 <= wanted.intervals <= MOST_INTERVALS:
        raise ConfigError(f"nothing is loaded for 1 to {MOST_INTERVALS:,} intervals", path="intervals")
    if wanted.pause and wanted.times is None:
        raise ConfigError("what pauses is an unusual day", hint="Give times, too.", path="pause")
    if wanted.pause:
        usage_limits.must_bear_a_pause(home, found.name, connections.by_id(home, found.source_id))
    said = asdict(wanted) if wanted.times is not None or wanted.intervals is not None else None
    pipelines.change(home, pipeline, lambda now: now.wish.saying(OPTION, said))
    return wanted


def of(home: Home, pipeline: str) -> Unusual:
    """What people are told of, of the pipeline."""
    home.actor.must("view")
    return wanted_of(pipelines.find(home, pipeline).options)


def wanted_of(options: Mapping[str, JSON]) -> Unusual:
    """What a pipeline with these options is watched for."""
    said = options.get(OPTION)
    return Unusual(**said) if isinstance(said, dict) else Unusual()


def watched(connection: sa.Connection) -> Sequence[Any]:
    """Active pipelines that are watched."""
    text = sa.type_coerce(table.c.options, sa.Text)
    query = sa.select(table).where(table.c.state == "ACTIVE", text.like(f"%{OPTION}%"))
    return [row for row in connection.execute(query).all() if wanted_of(row.options) != Unusual()]


def today(connection: sa.Connection, pipeline_id: str, now: datetime) -> tuple[int, float | None]:
    """Rows that the pipeline loaded today, and what is usual on such a day; None where too little is known.

    A day before the first one on which anything was loaded says nothing; a later one without rows is one of no rows.
    """
    t = usage_hourly.c
    start = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    query = sa.select(t.hour, sa.func.sum(t.loaded).label("loaded"))
    since = start - timedelta(weeks=WEEKS)
    rows = connection.execute(query.where(t.pipeline_id == pipeline_id, t.hour >= since).group_by(t.hour)).all()
    days: dict[datetime, int] = {}
    for row in rows:
        day = row.hour.replace(hour=0)
        days[day] = days.get(day, 0) + int(row.loaded)
    first = min((day for day, loaded in days.items() if loaded > 0), default=start)
    same = [start - timedelta(weeks=back) for back in range(1, WEEKS + 1)]
    known = [days.get(day, 0) for day in same if day >= first]
    return days.get(start, 0), statistics.median(known) if len(known) >= LEAST_DAYS else None


def silent_since(connection: sa.Connection, pipeline_id: str, intervals: int, now: datetime) -> datetime | None:
    """Since when nothing was loaded, if that is longer than so many intervals of the pipeline's schedule.

    None for one that never loaded anything, and for one that runs on demand.
    """
    saved = connection.execute(
        sa.select(slots).where(slots.c.pipeline_id == pipeline_id, slots.c.part == "run")
    ).one_or_none()
    last: datetime | None = connection.execute(
        sa.select(sa.func.max(segments.c.loaded_at)).where(segments.c.pipeline_id == pipeline_id)
    ).scalar()
    if saved is None or last is None:
        return None
    wanted, passed = schedule.from_json(saved.schedule), last
    # Between the first slot after the last load and the one that is so many later lie as many intervals.
    for _ in range(intervals + 1):
        slot = due.following(wanted, passed, saved.anchor_at)
        if slot is None or slot > now:
            return None
        passed = slot
    return last
