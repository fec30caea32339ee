"""How many rows a team may read in a window of time: a wrong setting costs a window's rows, not a bill (pipelines.md
5.5).

Windows are fixed spans counted from 1970, UTC. Rows count when they are committed to the stage, in that transaction, so
the count is true whoever dies; what is above the limit is at most one commit of each pipeline that reads at the time.
Beyond the limit reading stalls until the window ends: a task of the service waits in its queue, a run by hand waits
where it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.alerting import alert_events
from millrace.control.database.db import any_in
from millrace.control.database.telling_tables import ingestion_limits
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    import threading

    from millrace.control.database.db import Database
    from millrace.control.home import Home
    from millrace.engine.meter import Meter

MOST_ROWS = 10**15
LONGEST_MINUTES = 24 * 60

_MICROSECONDS = timedelta(microseconds=1)
_T = ingestion_limits.c


@dataclass(frozen=True, slots=True)
class IngestionLimit:
    """A team may read ``rows`` rows in each window of so many minutes; ``counted`` of them in the one that ends at
    ``until``. ``rows`` None: as many as it likes."""

    rows: int | None
    minutes: int
    counted: int
    until: datetime | None

    @property
    def full(self) -> bool:
        """Nothing is read before the window ends."""
        return self.rows is not None and self.counted >= self.rows

    def half_over(self, now: datetime) -> bool:
        """Less than half of the window is left."""
        return self.until is not None and self.until - now < timedelta(minutes=self.minutes) / 2


def allow(home: Home, rows: int, *, minutes: int = 30) -> IngestionLimit:
    """The team may read so many rows in each window. What was read in the present one before counts if the windows are
    as long as they were."""
    home.actor.must("settings.edit")
    if not 1 <= rows <= MOST_ROWS:
        raise ConfigError(f"a limit is a number of rows from 1 to {MOST_ROWS:,}, not {rows:,}", path="rows")
    if not 1 <= minutes <= LONGEST_MINUTES:
        raise ConfigError(f"a window is 1 to {LONGEST_MINUTES:,} minutes long, not {minutes:,}", path="minutes")
    now = home.database.now()
    length = timedelta(minutes=minutes) // _MICROSECONDS
    with home.database.transaction() as connection:
        old = connection.execute(sa.select(ingestion_limits).where(_T.team_id == home.actor.team_id)).one_or_none()
        before = None if old is None else {"rows": old.rows, "minutes": _minutes(old)}
        same = old if old is not None and old.window_us == length else None
        connection.execute(sa.delete(ingestion_limits).where(_T.team_id == home.actor.team_id))
        connection.execute(
            sa.insert(ingestion_limits).values(
                team_id=home.actor.team_id,
                rows=rows,
                window_us=length,
                window_at=now if same is None else same.window_at,
                counted=0 if same is None else same.counted,
                changed_at=now,
            )
        )
        alert_events.over(connection, home.actor.team_id, _entity(home), ["INGESTION_STALLED"], at=now)
        after = {"rows": rows, "minutes": minutes}
        wrote(home, "MEDIUM", _entity(home), "limit", f"at most {rows:,} rows in {minutes} minutes", before, after)
    return of(home)


def lift(home: Home) -> None:
    """The team reads as many rows as it likes."""
    home.actor.must("settings.edit")
    now = home.database.now()
    with home.database.transaction() as connection:
        gone = connection.execute(sa.delete(ingestion_limits).where(_T.team_id == home.actor.team_id))
        if gone.rowcount:
            alert_events.over(connection, home.actor.team_id, _entity(home), ["INGESTION_STALLED"], at=now)
            wrote(home, "MEDIUM", _entity(home), "limit", "no limit of rows in a window any more")


def of(home: Home) -> IngestionLimit:
    """The limit of the team, and how far the present window is used up."""
    home.actor.must("usage.view")
    now = home.database.now()
    with home.database.reading() as connection:
        row = connection.execute(sa.select(ingestion_limits).where(_T.team_id == home.actor.team_id)).one_or_none()
    return IngestionLimit(None, 30, 0, None) if row is None else _of(row, now)


def standing(connection: sa.Connection, now: datetime) -> list[tuple[str, IngestionLimit]]:
    """The limit of each team that has one."""
    return [(row.team_id, _of(row, now)) for row in connection.execute(sa.select(ingestion_limits))]


def count(connection: sa.Connection, team_id: str, rows: int, now: datetime) -> None:
    """So many rows were staged, in the transaction of the connection. Nothing happens for a team without a limit."""
    if not any_in(connection, ingestion_limits):
        return
    moment = sa.literal((now - datetime.fromtimestamp(0, UTC)) // _MICROSECONDS, sa.BigInteger)
    start = sa.type_coerce(moment - moment % _T.window_us, _T.window_at.type)
    counted = sa.case((_T.window_at >= start, _T.counted + rows), else_=rows)
    mine = sa.update(ingestion_limits).where(_T.team_id == team_id)
    connection.execute(mine.values(counted=counted, window_at=now))


def until(database: Database, team_id: str) -> datetime | None:
    """When the window ends, where the team has read all that it may in it; else None."""
    now = database.now()
    query = sa.select(ingestion_limits).where(_T.team_id == team_id, _T.counted >= _T.rows)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none() if any_in(connection, ingestion_limits) else None
    return _end(row, now) if row is not None and _present(row, now) else None


def wait(database: Database, team_id: str, stopping: threading.Event, meter: Meter) -> None:
    """A run by hand goes on when there is room again, or when it shall stop."""
    if until(database, team_id) is None:
        return
    while (end := until(database, team_id)) is not None and not stopping.is_set():
        meter.awaiting = f"the team's limit of rows in a window, until {end:%H:%M:%S} UTC"
        stopping.wait(min(1.0, max(0.05, (end - database.now()).total_seconds())))
    meter.awaiting = ""


def _of(row: Any, now: datetime) -> IngestionLimit:
    return IngestionLimit(row.rows, _minutes(row), row.counted if _present(row, now) else 0, _end(row, now))


def _minutes(row: Any) -> int:
    return timedelta(microseconds=row.window_us) // timedelta(minutes=1)


def _present(row: Any, now: datetime) -> bool:
    """What was counted is of the window that goes on."""
    return row.window_at >= _end(row, now) - timedelta(microseconds=row.window_us)


def _end(row: Any, now: datetime) -> datetime:
    length = timedelta(microseconds=row.window_us)
    epoch = datetime.fromtimestamp(0, UTC)
    return epoch + length * ((now - epoch) // length + 1)


def _entity(home: Home) -> Entity:
    return Entity("team", home.actor.team_id, "usage")
