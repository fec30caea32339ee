"""Messages on their way: each is taken by one process, sent, and tried again with growing waits for a day.

Several are sent at a time, of each channel one: a receiver that hangs holds up what goes to it, and nothing else. Each
team has places of its own, so no team waits for what the receivers of others do.
A process that dies between the answer of a receiver and its note of that sends the message once more, under the same
key, by which mail servers and receivers know it.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect.reach import Walled
from millrace.control.alerting import alert_channels, alert_messages, alert_routing, alert_sending
from millrace.control.alerting.alert_sending import Undelivered
from millrace.control.connecting import reach
from millrace.control.database.telling_tables import alert_channels as channels
from millrace.control.database.telling_tables import alert_deliveries, alerts
from millrace.control.people.actors import SYSTEM
from millrace.control.secrecy import secrets
from millrace.errors import ConfigError, MillraceError, Transient

if TYPE_CHECKING:
    from millrace.control.home import Home

# After each failure so long; after the last one it is given up (pipelines.md 16.2, api.md D: a day).
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 60, 120, 240, 480, 480))

# A message whose sender has said nothing for that long is somebody else's. Whoever sends says so every RENEW_S.
LEASE = timedelta(minutes=2)
RENEW_S = 30.0

# So many messages of one team a process sends at a time.
TEAM_PLACES = 4

# What was sent is noted as soon as the database is there again, which may be away for so long.
PATIENCE_S = 90.0

# So long what is being sent may take when the process ends. What takes longer is sent again by another one.
LEAVE_S = 2.0

POLL_S = 1.0

_log = logging.getLogger("millrace.alerts")


def deliver(home: Home, now: datetime | None = None) -> int:
    """All messages that are due are sent, or wait for their next attempt; how many were sent. Whoever asks for it
    decides which addresses channels may reach."""
    senders = Senders(home, now)
    senders.fill()
    while not senders.joined(RENEW_S):
        senders.renew()
    if senders.error is not None:
        raise senders.error
    return senders.sent


def serve(home: Home, stopping: threading.Event, *, poll_s: float = POLL_S) -> None:
    """Events become messages, and messages are sent, until it shall stop."""
    senders, renewed = Senders(home.acting(SYSTEM)), time.monotonic()
    while not stopping.is_set():
        try:
            alert_routing.route(home)
            senders.fill()
            if time.monotonic() - renewed >= RENEW_S:
                renewed = time.monotonic()
                senders.renew()
        except MillraceError as error:
            # The database is busy or away: the next round finds the same.
            _log.warning("alerts wait: %s", error.message)
        stopping.wait(poll_s)
    senders.leave()


class Senders:
    """Threads of this process that send: each goes on with the next message that is due, and ends when there is none.

    ``now`` stands for the clock where one is given. ``sent``: how many messages arrived. ``error``: why a thread had to
    leave a message where it was.
    """

    def __init__(self, home: Home, now: datetime | None = None) -> None:
        self.sent = 0
        self.error: MillraceError | None = None
        self._home = home
        self._now = now
        self._turn = threading.Lock()
        # Held while a message is chosen, so that no two threads choose by the same count of their team's.
        self._choosing = threading.Lock()
        self._rows: dict[threading.Thread, Any] = {}
        self._leaving = threading.Event()

    def fill(self) -> None:
        """As many threads send as there are messages that may go now, and places of their teams."""
        while True:
            # Nobody waits for a receiver that hangs when the process ends.
            thread = threading.Thread(target=self._send, daemon=True)
            if (row := self._next(thread)) is None:
                return
            thread.name = f"alert {row.alert_id}"
            thread.start()

    def joined(self, seconds: float) -> bool:
        """Whether all threads have ended within that time."""
        until = time.monotonic() + seconds
        for thread in self._at_work():
            thread.join(max(0.0, until - time.monotonic()))
        return not self._rows

    def renew(self) -> None:
        """What is being sent stays ours."""
        if rows := list(self._at_work().values()):
            until = self._home.database.now() + LEASE
            with self._home.database.transaction() as connection:
                for row in rows:
                    connection.execute(_mine(row).values(expires_at=until))

    def leave(self) -> None:
        """The threads end soon, and what they have not sent then waits for another process."""
        self._leaving.set()
        self.joined(LEAVE_S)
        try:
            for row in self._at_work().values():
                _end(self._home, row, {"state": "waiting", "due_at": self._moment()})
        except MillraceError as error:
            _log.warning("what was being sent is sent again in %s: %s", LEASE, error.message)

    def _moment(self) -> datetime:
        return self._now or self._home.database.now()

    def _at_work(self) -> dict[threading.Thread, Any]:
        with self._turn:
            return dict(self._rows)

    def _next(self, thread: threading.Thread) -> Any:
        """What the thread sends from now on; None where there is nothing that may go."""
        with self._choosing:
            teams = Counter(row.team_id for other, row in self._at_work().items() if other is not thread)
            full = [team for team, count in teams.items() if count >= TEAM_PLACES]
            if (row := _taken(self._home, self._moment(), full)) is not None:
                with self._turn:
                    self._rows[thread] = row
            return row

    def _send(self) -> None:
        here = threading.current_thread()
        row = self._at_work()[here]
        try:
            while row is not None:
                arrived = _attempt(self._home, row, self._moment())
                with self._turn:
                    self.sent += arrived
                row = None if self._leaving.is_set() else self._next(here)
        except MillraceError as error:
            self.error = error
            _log.warning("alerts wait: %s", error.message)
        finally:
            with self._turn:
                del self._rows[here]


def _taken(home: Home, now: datetime, full: Sequence[str] = ()) -> Any:
    """A message that is ours for a while; None when there is none that may go now, but for those of the teams that are
    ``full``. What waits for somebody who hears no more of it, since the channel is off or does not lead there, is not
    sent."""
    d, other = alert_deliveries.c, alert_deliveries.alias().c
    due = sa.or_(
        sa.and_(d.state == "waiting", d.due_at <= now),
        sa.and_(d.state == "sending", d.expires_at <= now),
    )
    # One at a time, by whichever process; and nobody hears that something is over before they hear of it.
    beside = sa.exists().where(
        other.channel_id == d.channel_id, other.state == "sending", other.expires_at > now, other.id != d.id
    )
    raised = sa.exists().where(
        d.occasion == "recovered",
        other.occasion == "raised",
        other.alert_id == d.alert_id,
        other.channel_id == d.channel_id,
        other.recipient == d.recipient,
        other.state.in_(("waiting", "sending")),
    )
    free = (due, d.team_id.not_in(full), ~beside, ~raised)
    while True:
        with home.database.reading() as connection:
            query = sa.select(d.id, d.channel_id).where(*free).order_by(d.due_at, d.id).limit(1)
            first = connection.execute(query).one_or_none()
        if first is None:
            return None
        values = {"state": "sending", "token": str(uuid.uuid4()), "expires_at": now + LEASE, "attempts": d.attempts + 1}
        with home.database.transaction() as connection:
            # Two processes that take messages of one channel wait here for each other.
            channel = sa.select(channels.c.id).where(channels.c.id == first.channel_id)
            connection.execute(channel.with_for_update(key_share=True))
            mine = sa.update(alert_deliveries).where(d.id == first.id, *free).values(values)
            if connection.execute(mine).rowcount == 1:
                joined = alert_deliveries.join(channels, channels.c.id == d.channel_id)
                joined = joined.join(alerts, alerts.c.id == d.alert_id)
                query = sa.select(alert_deliveries, channels.c.name, alerts.c.category, alerts.c.fingerprint)
                row = connection.execute(query.select_from(joined).where(d.id == first.id)).one()
                hearing = alert_routing.hearing(connection, row.team_id, row.category)
                if alert_routing.who(row.channel_id, row.recipient) in hearing and not _overtaken(connection, row):
                    return row
                gone = {"state": "dropped", "ended_at": now, "attempts": row.attempts - 1}
                connection.execute(_ours(row, gone))
        # Another process was quicker.


def _overtaken(connection: sa.Connection, row: Any) -> bool:
    """Whether it says that something is over which has begun anew: under one key for both, that would close the new."""
    if row.occasion != "recovered":
        return False
    later = sa.select(alerts.c.id).where(
        alerts.c.team_id == row.team_id, alerts.c.fingerprint == row.fingerprint, alerts.c.id > row.alert_id
    )
    return connection.execute(later.where(alerts.c.state != "RESOLVED").limit(1)).first() is not None


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
    except Exception as error:
        # Nobody foresaw it, and nobody else waits for it. Its words may hold secrets; its place does not (I7).
        last = traceback.extract_tb(error.__traceback__)[-1]
        _log.error("alert %s: %s at %s:%s", row.alert_id, type(error).__name__, last.filename, last.lineno)
        _failed(home, row, Undelivered(f"it could not be sent: {type(error).__name__}"), hidden, now)
        return False
    _end(home, row, {"state": "sent", "ended_at": now, "error": None}, patience_s=PATIENCE_S)
    return True


def _failed(home: Home, row: Any, error: MillraceError, hidden: list[str], now: datetime) -> None:
    said = secrets.redact(error.message, hidden)
    # What may not be reached today is allowed by a setting tomorrow.
    hopeless = (isinstance(error, ConfigError) and not isinstance(error, Walled)) or row.attempts > len(WAITS)
    _log.warning("alert %s did not reach channel %s: %s", row.alert_id, row.name, said)
    if hopeless:
        values = {"state": "failed", "ended_at": now, "error": said}
    else:
        values = {"state": "waiting", "due_at": now + WAITS[row.attempts - 1], "error": said}
    _end(home, row, values, patience_s=PATIENCE_S)


def _end(home: Home, row: Any, values: dict[str, Any], *, patience_s: float = 0.0) -> None:
    """What became of a message is on record, also where the database is away and comes back within that time."""
    until = time.monotonic() + patience_s
    while True:
        try:
            with home.database.transaction() as connection:
                connection.execute(_ours(row, values))
                return
        except Transient:
            if time.monotonic() >= until:
                raise
            time.sleep(POLL_S)


def _ours(row: Any, values: dict[str, Any]) -> sa.Update:
    """What becomes of a message, as long as it is ours."""
    return _mine(row).values(values | {"token": None, "expires_at": None})


def _mine(row: Any) -> sa.Update:
    return sa.update(alert_deliveries).where(alert_deliveries.c.id == row.id, alert_deliveries.c.token == row.token)
