"""Events become alerts, and alerts messages that wait: one transaction for each, so that none is made twice.

Events of the same matter are one alert as long as it lasts. It is told when it begins, when it gets worse, and once an
hour while it goes on; when it is over, that is told to whoever heard of it (pipelines.md 16.2).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from millrace.control.alerting import alert_wanted
from millrace.control.alerting.alert_events import KINDS, SEVERITIES, Category, Severity
from millrace.control.alerting.alert_kinds import EmailSettings
from millrace.control.alerting.alert_messages import Message, Occasion
from millrace.control.alerting.alert_wanted import EVERYTHING, Wanted
from millrace.control.database.people_tables import user_roles, users
from millrace.control.database.tables import teams
from millrace.control.database.telling_tables import (
    alert_channels,
    alert_deliveries,
    alert_events,
    alert_preferences,
    alerts,
)
from millrace.control.people import roles
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home

# Alerts that go on are told again after this time, and no sooner.
AGAIN = timedelta(hours=1)

# What happened longer ago, while nobody served, is on record but wakes nobody.
OLD = timedelta(days=1)

# Trouble that time mends is worth a warning; when it comes so often without an end, an error (pipelines.md 21).
WARNINGS = 3

# Alerts are kept that long.
KEPT_FOR = timedelta(days=90)

_CHUNK = 100

Row: TypeAlias = Any
Who: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Hearer:
    """Who hears of something: a channel, or an address or user by way of a channel that sends mail."""

    channel: str
    recipient: str
    wanted: Wanted

    @property
    def who(self) -> Who:
        return who(self.channel, self.recipient)


def who(channel: str, recipient: str) -> Who:
    """What hearers are told apart by: mail servers take an address for the same in other letters."""
    return channel, recipient.casefold()


def route(home: Home, now: datetime | None = None) -> int:
    """Every event on record is an alert, and messages about it wait to be sent; how many events there were."""
    moment = now or home.database.now()
    done = 0
    while True:
        with home.database.reading() as connection:
            if connection.execute(sa.select(alert_events.c.id).limit(1)).first() is None:
                return done
        with home.database.transaction() as connection:
            query = sa.select(alert_events).order_by(alert_events.c.id).limit(_CHUNK)
            found = connection.execute(query if home.database.is_sqlite else query.with_for_update()).all()
            for row in found:
                if row.code == "RECOVERED":
                    _recovered(connection, row, moment)
                else:
                    _happened(connection, row, moment)
            connection.execute(sa.delete(alert_events).where(alert_events.c.id.in_([row.id for row in found])))
        done += len(found)


def expire(home: Home, now: datetime) -> int:
    """Alerts that were told of last long ago are gone, with their messages; how many."""
    with home.database.transaction() as connection:
        return connection.execute(sa.delete(alerts).where(alerts.c.last_at < now - KEPT_FOR)).rowcount


def fingerprint(row: Row) -> str:
    """What an alert of the same matter has in common."""
    parts = (row.team_id, row.code, row.entity, row.entity_id or row.entity_name, row.cause)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _happened(connection: sa.Connection, row: Row, now: datetime) -> None:
    kind, print_ = KINDS[row.code], fingerprint(row)
    open_ = (alerts.c.team_id == row.team_id, alerts.c.fingerprint == print_)
    state = alerts.c.state.in_(("OPEN", "ACKNOWLEDGED"))
    known = connection.execute(sa.select(alerts).where(*open_, state)).first() if kind.stays else None
    said = {"title": row.title, "body": row.body, "facts": row.facts, "run_id": row.run_id, "last_at": row.at}
    if known is None:
        values: dict[str, Any] = said | {
            "team_id": row.team_id,
            "fingerprint": print_,
            "code": row.code,
            "category": kind.category,
            "severity": row.severity,
            "entity": row.entity,
            "entity_id": row.entity_id,
            "entity_name": row.entity_name,
            "state": "OPEN" if kind.stays else "NOTED",
            "times": 1,
            "first_at": row.at,
            "told_at": now,
        }
        alert = connection.execute(sa.insert(alerts).values(values).returning(alerts)).one()
        telling = True
    else:
        worse = _severity(known, row)
        values = said | {"times": known.times + 1, "severity": worse}
        telling = worse != known.severity or (known.state == "OPEN" and now - (known.told_at or row.at) >= AGAIN)
        values |= {"told_at": now} if telling else {}
        values |= {"state": "OPEN"} if worse != known.severity else {}
        mine = sa.update(alerts).where(alerts.c.id == known.id)
        alert = connection.execute(mine.values(values).returning(alerts)).one()
    if telling and now - row.at < OLD:
        _tell(connection, alert, now)


def _severity(known: Row, row: Row) -> Severity:
    """An alert never gets milder while it lasts, and what time does not mend is an error."""
    worst = max(known.severity, row.severity, key=SEVERITIES.index)
    return "ERROR" if worst == "WARNING" and row.code.endswith("_FAILED") and known.times + 1 >= WARNINGS else worst


def _recovered(connection: sa.Connection, row: Row, now: datetime) -> None:
    mine = (
        alerts.c.team_id == row.team_id,
        alerts.c.entity_id == row.entity_id,
        alerts.c.code.in_(row.facts["codes"]),
        alerts.c.state.in_(("OPEN", "ACKNOWLEDGED")),
    )
    over: dict[str, Any] = {"state": "RESOLVED", "ended_at": row.at}
    for alert in connection.execute(sa.update(alerts).where(*mine).values(over).returning(alerts)).all():
        resolved(connection, alert, now)


def resolved(connection: sa.Connection, alert: Row, now: datetime) -> None:
    """Whoever heard of the alert hears that it is over; what was still on its way to others is not sent."""
    d = alert_deliveries.c
    waiting = (d.alert_id == alert.id, d.occasion == "raised", d.state == "waiting")
    gone = {"state": "dropped", "ended_at": now}
    connection.execute(sa.update(alert_deliveries).where(*waiting).values(gone))
    heard = sa.select(d.channel_id, d.recipient).where(d.alert_id == alert.id, d.state.in_(("sending", "sent")))
    told = {who(row.channel_id, row.recipient) for row in connection.execute(heard)}
    for hearer in _hearers(connection, alert.team_id, alert.category):
        if hearer.who in told:
            told.remove(hearer.who)
            _put(connection, alert, hearer, "recovered", now)


def _tell(connection: sa.Connection, alert: Row, now: datetime) -> None:
    told: set[Who] = set()
    for hearer in _hearers(connection, alert.team_id, alert.category):
        if hearer.who not in told and hearer.wanted.wants(alert.category, alert.severity):
            told.add(hearer.who)
            _put(connection, alert, hearer, "raised", now)


def _put(connection: sa.Connection, alert: Row, hearer: Hearer, occasion: Occasion, now: datetime) -> None:
    team = connection.execute(sa.select(teams.c.name).where(teams.c.id == alert.team_id)).scalar_one()
    key = str(uuid.uuid4())
    written = message(alert, team, occasion, key)
    connection.execute(
        sa.insert(alert_deliveries).values(
            team_id=alert.team_id,
            alert_id=alert.id,
            channel_id=hearer.channel,
            recipient=hearer.recipient,
            occasion=occasion,
            nth=alert.times,
            key=key,
            message=written.to_json(),
            state="waiting",
            attempts=0,
            due_at=hearer.wanted.due(alert.severity, now),
            created_at=now,
        )
    )


def message(alert: Row, team: str, occasion: Occasion, key: str) -> Message:
    """What is sent about the alert, a row of `alerts`."""
    at: datetime = alert.ended_at if occasion == "recovered" else alert.last_at
    return Message(
        key=key,
        fingerprint=alert.fingerprint,
        alert=alert.id,
        occasion=occasion,
        code=alert.code,
        category=alert.category,
        severity=alert.severity,
        team=team,
        entity=alert.entity,
        name=alert.entity_name,
        title=alert.title,
        body=alert.body,
        at=at.isoformat(timespec="seconds"),
        count=alert.times,
        run=alert.run_id,
        facts=alert.facts,
    )


def hearing(connection: sa.Connection, team_id: str, category: Category) -> set[Who]:
    """Who hears of such things now, whatever they want to hear."""
    return {hearer.who for hearer in _hearers(connection, team_id, category)}


def _hearers(connection: sa.Connection, team_id: str, category: Category) -> Iterator[Hearer]:
    """Channels of the team; of those that send mail each address, so that one that the mail server does not take now is
    tried again alone, and the users of the team. Who is both comes twice."""
    c = alert_channels.c
    for row in connection.execute(sa.select(alert_channels).where(c.team_id == team_id, c.enabled).order_by(c.name)):
        wanted = alert_wanted.from_json(row.wanted)
        if row.kind != "email":
            yield Hearer(row.id, "", wanted)
            continue
        # Settings are kept as they were typed; the password is not among them, and not needed.
        mail = EmailSettings.model_validate(row.config)
        yield from (Hearer(row.id, address, wanted) for address in mail.to)
        if mail.members:
            for email, own in _members(connection, team_id, category):
                yield Hearer(row.id, email, own)


def _members(connection: sa.Connection, team_id: str, category: Category) -> list[tuple[str, Wanted]]:
    """Users who may see what it is about, and what each of them wants."""
    needed = "usage.view" if category == "usage" else "view"
    query = (
        sa.select(users.c.email, user_roles.c.role, alert_preferences.c.wanted)
        .join(user_roles, user_roles.c.user_id == users.c.id)
        .outerjoin(alert_preferences, alert_preferences.c.user_id == users.c.id)
        .where(users.c.team_id == team_id, users.c.status == "active")
        .order_by(users.c.email)
    )
    found: dict[str, Wanted] = {}
    for row in connection.execute(query):
        if needed in roles.permissions([row.role]):
            found[row.email] = EVERYTHING if row.wanted is None else alert_wanted.from_json(row.wanted)
    return list(found.items())
