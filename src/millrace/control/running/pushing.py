"""Pipelines that are told things run soon after: what waits in the intake becomes a task.

It looks at the intake and at the positions that are committed, and keeps nothing in memory.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.connect.intake.place import Place
from millrace.connect.intake.reading import Intake, Position
from millrace.control.books import leases
from millrace.control.database.tables import cursors, hooks, runs
from millrace.control.database.tables import pipelines as pipelines_table
from millrace.control.pipeline import intakes, pipelines
from millrace.control.running import jobs, tasks
from millrace.control.running.jobs import Asked
from millrace.control.scheduling import due
from millrace.errors import MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home

# A bucket is looked at less often: each look costs a request for each pipeline.
LOOK_S, LOOK_AT_BUCKET_S = 1.0, 5.0

# Between two runs, so that a steady stream makes runs of more than an event or two.
GATHER = timedelta(seconds=3)

# Failures in a row that count; the wait grows no longer then.
_COUNTED = 8

_log = logging.getLogger("millrace.pushing")


def serve(home: Home, stopping: threading.Event) -> None:
    """Looks until it shall stop. Every server does: one of them makes the task."""
    place: Place | None = None
    every_s = LOOK_S
    while not stopping.is_set():
        try:
            if place is None:
                place = intakes.place(home)
                every_s = LOOK_AT_BUCKET_S if "://" in home.stage_url else LOOK_S
            look(home, place)
        except MillraceError as error:
            _log.warning("the intake could not be looked at: %s", error.message)
        except OSError as error:
            _log.warning("the intake could not be looked at: %s", error.strerror)
        stopping.wait(every_s)


def look(home: Home, place: Place) -> int:
    """Active pipelines for which something waits, and that do not run, have a task; how many got one."""
    made = 0
    with home.database.reading() as connection:
        wanted = _positions(connection)
    for pipeline_id, position in wanted.items():
        if not Intake(place, pipeline_id).waiting(position):
            continue
        with home.database.transaction() as connection:
            now = home.database.now()
            busy = tasks.going(connection, pipeline_id, "run", {}) is not None
            if busy or leases.found(connection, pipelines.lease_name(pipeline_id), now) is not None:
                continue  # the next look finds what it leaves
            if _rests(connection, pipeline_id, now):
                continue
            jobs.queue(connection, [Asked(pipeline_id, "run", "SCHEDULE", {})], now)
            made += 1
    return made


def _rests(connection: sa.Connection, pipeline_id: str, now: datetime) -> bool:
    """Whether the last run is so short ago that more shall gather, or failed, so that the next one waits."""
    ended = runs.c.ended_at.is_not(None)
    query = sa.select(runs.c.status, runs.c.ended_at).where(runs.c.pipeline_id == pipeline_id, ended)
    last = connection.execute(query.order_by(runs.c.id.desc()).limit(_COUNTED)).all()
    if not last:
        return False
    failed = next((place for place, row in enumerate(last) if row.status != "FAILED"), len(last))
    wait = due.backoff(failed) if failed else GATHER
    return now < last[0].ended_at + wait


def _positions(connection: sa.Connection) -> dict[str, Position]:
    """Of active pipelines that have an address, the position up to which the intake was read."""
    query = (
        sa.select(pipelines_table.c.id, cursors.c.cursor)
        .join(hooks, hooks.c.pipeline_id == pipelines_table.c.id)
        .outerjoin(cursors, (cursors.c.pipeline_id == pipelines_table.c.id) & (cursors.c.lane == "incremental"))
        .where(pipelines_table.c.state == "ACTIVE")
    )
    return {
        row.id: {part: (int(number), int(offset)) for part, (number, offset) in (row.cursor or {}).items()}
        for row in connection.execute(query)
    }
