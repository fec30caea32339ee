"""What waits for a moment comes in time though the clock was set back: else it would wait for as long again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control import due, slots
from millrace.control.tables import tasks
from millrace.control.telling_tables import alert_deliveries

if TYPE_CHECKING:
    from millrace.control.home import Home

# Less than that is no more than clocks are corrected by, and nobody waits for it.
LEAST = timedelta(seconds=10)


def follow(home: Home, by: timedelta, now: datetime) -> None:
    """The clock shows ``now``, and was set back by so much: schedules, tasks and messages that wait go with it."""
    t, d = tasks.c, alert_deliveries.c
    with home.database.transaction() as connection:
        for slot in slots.waiting(connection):
            slots.move(connection, slot, due.set_back(slot.standing, slot.schedule, by, now))
        for row in connection.execute(sa.select(t.id, t.due_at).where(t.token.is_(None))).all():
            connection.execute(sa.update(tasks).where(t.id == row.id).values(due_at=row.due_at - by))
        # A first attempt that is not due waits for the end of somebody's quiet hours, which are times of day.
        hurried = sa.or_(d.attempts > 0, d.due_at <= now + by)
        for row in connection.execute(sa.select(d.id, d.due_at).where(d.state == "waiting", hurried)).all():
            connection.execute(sa.update(alert_deliveries).where(d.id == row.id).values(due_at=row.due_at - by))
