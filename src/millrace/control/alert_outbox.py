"""Messages on their way: each is taken by one process, sent, and tried again with growing waits for a day.

A process that dies between the answer of a receiver and its note of that sends the message once more, under the same
key, by which mail servers and receivers know it.
"""

from __future__ import annotations

import logging
import threading
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect.reach import Walled
from millrace.control import alert_channels, alert_messages, alert_routing, alert_sending, reach, secrets
from millrace.control.actors import SYSTEM
from millrace.control.telling_tables import alert_channels as channels
from millrace.control.telling_tables import alert_deliveries, alerts
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home

# After each failure so long; after the last one it is given up (pipelines.md 16.2, api.md D: a day).
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 60, 120, 240, 480, 480))

# Longer than any attempt takes. After that somebody else has the message.
LEASE = timedelta(minutes=15)

POLL_S = 1.0

_log = logging.getLogger("millrace.alerts")


def deliver(home: Home, now: datetime | None = None, *, stopping: threading.Event | None = None) -> int:
    """All messages that are due are sent, or wait for their next attempt; how many were sent. Whoever asks for it
    decides which addresses channels may reach."""
    sent = 0
    while stopping is None or not stopping.is_set():
        moment = now or home.database.now()
        row = _taken(home, moment)
        if row is None:
            break
        sent += _attempt(home, row, moment)
    return sent


def serve(home: Home, stopping: threading.Event, *, poll_s: float = POLL_S) -> None:
    """Events become messages, and messages are sent, until it shall stop."""
    while not stopping.is_set():
        try:
            alert_routing.route(home)
            deliver(home.acting(SYSTEM), stopping=stopping)
        except MillraceError as error:
            # The database is busy or away: the next round finds the same.
            _log.warning("alerts wait: %s", error.message)
        stopping.wait(poll_s)


def _taken(home: Home, now: datetime) -> Any:
    """A message that is ours for a while; None when nothing is due. What waits for somebody who hears no more of it,
    since the channel is off or does not lead there, is not sent."""
    d = alert_deliveries.c
    due = sa.or_(
        sa.and_(d.state == "waiting", d.due_at <= now),
        sa.and_(d.state == "sending", d.expires_at <= now),
    )
    while True:
        with home.database.reading() as connection:
            first = connection.execute(sa.select(d.id).where(due).order_by(d.due_at, d.id).limit(1)).scalar()
        if first is None:
            return None
        values = {"state": "sending", "token": str(uuid.uuid4()), "expires_at": now + LEASE, "attempts": d.attempts + 1}
        with home.database.transaction() as connection:
            mine = sa.update(alert_deliveries).where(d.id == first, due).values(values)
            if connection.execute(mine).rowcount == 1:
                joined = alert_deliveries.join(channels, channels.c.id == d.channel_id)
                joined = joined.join(alerts, alerts.c.id == d.alert_id)
                more = (channels.c.kind, channels.c.config, channels.c.name, alerts.c.category)
                query = sa.select(alert_deliveries, *more)
                row = connection.execute(query.select_from(joined).where(d.id == first)).one()
                hearing = alert_routing.hearing(connection, row.team_id, row.category)
                if alert_routing.who(row.channel_id, row.recipient) in hearing:
                    return row
                gone = {"state": "dropped", "ended_at": now, "attempts": row.attempts - 1}
                connection.execute(_ours(row, gone))
        # Another process was quicker.


def _attempt(home: Home, row: Any, now: datetime) -> bool:
    """Whether it was sent."""
    hidden: list[str] = []
    try:
        settings = alert_channels.settings(home, row.channel_id)
        hidden = alert_sending.secrets_of(settings)
        alert_sending.send(settings, alert_messages.from_json(row.message), row.recipient, reach=reach.of(home))
    except MillraceError as error:
        _failed(home, row, error, hidden, now)
        return False
    _end(home, row, {"state": "sent", "ended_at": now, "error": None})
    return True


def _failed(home: Home, row: Any, error: MillraceError, hidden: list[str], now: datetime) -> None:
    said = secrets.redact(error.message, hidden)
    # What may not be reached today is allowed by a setting tomorrow.
    hopeless = (isinstance(error, ConfigError) and not isinstance(error, Walled)) or row.attempts > len(WAITS)
    _log.warning("alert %s did not reach channel %s: %s", row.alert_id, row.name, said)
    if hopeless:
        _end(home, row, {"state": "failed", "ended_at": now, "error": said})
    else:
        due = now + WAITS[row.attempts - 1]
        _end(home, row, {"state": "waiting", "due_at": due, "error": said})


def _end(home: Home, row: Any, values: dict[str, Any]) -> None:
    with home.database.transaction() as connection:
        connection.execute(_ours(row, values))


def _ours(row: Any, values: dict[str, Any]) -> sa.Update:
    """What becomes of a message, as long as it is ours."""
    mine = sa.update(alert_deliveries).where(alert_deliveries.c.id == row.id, alert_deliveries.c.token == row.token)
    return mine.values(values | {"token": None, "expires_at": None})
