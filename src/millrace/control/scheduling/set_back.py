"""What waits for a moment comes in time though the clock was set back: else it would wait for as long again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.books import leases
from millrace.control.books.leases import LEASE_S, Lease
from millrace.control.database.tables import runs, tasks
from millrace.control.database.telling_tables import alert_deliveries
from millrace.control.scheduling import due, slots

if TYPE_CHECKING:
    from millrace.control.home import Home

# Less than that is no more than clocks are corrected by, and nobody waits for it.
LEAST = timedelta(seconds=10)

# A clock that is wrong when its machine starts is put right sooner; a scheduler that lives is seen more often.
SURE_S = 60.0


def follow(home: Home, lease: Lease, by: timedelta, now: datetime, *, since: datetime) -> None:
    """The clock shows ``now``, and was set back by so much: schedules, tasks and messages that wait go with it. What
    workers hold, they hold for no longer than any that live.

    ``since``: when, by the new time, it was not set back yet. A source that said between the two how long it is to
    be left alone is left alone so long. What else was written in between may come early, never late. Raises Stale where
    another process has the scheduler's ``lease``; once this is done, the database knows nothing of the later time.
    """
    r, t, d = runs.c, tasks.c, alert_deliveries.c
    deferred = sa.select(r.pipeline_id).where(r.status.startswith("DEFERRED"), r.ended_at.between(since, now))
    longest = now + timedelta(seconds=LEASE_S)
    with home.database.transaction() as connection:
        leases.confirm(connection, lease, longest)  # I4
        for table in (tasks, leases.leases):
            connection.execute(sa.update(table).where(table.c.expires_at > longest).values(expires_at=longest))
        waiting = slots.waiting(connection)
        limited = set(connection.execute(deferred).scalars())
        for slot in waiting:
            standing = due.set_back(slot.standing, slot.schedule, by, now)
            if slot.pipeline_id in limited:
                standing = replace(standing, held_until=slot.standing.held_until)
            slots.move(connection, slot, standing)
        for row in connection.execute(sa.select(t.id, t.due_at).where(t.token.is_(None)).with_for_update()).all():
            connection.execute(sa.update(tasks).where(t.id == row.id).values(due_at=row.due_at - by))
        # A first attempt that is not due waits for the end of somebody's quiet hours, which are times of day.
        hurried = sa.or_(d.attempts > 0, d.due_at <= now + by)
        query = sa.select(d.id, d.due_at).where(d.state == "waiting", hurried).with_for_update()
        for row in connection.execute(query).all():
            connection.execute(sa.update(alert_deliveries).where(d.id == row.id).values(due_at=row.due_at - by))
