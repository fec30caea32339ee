"""Alerts: what is wrong, and what was; who was told of it, and whether that got there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.alerting import alert_channels, alert_routing, alert_sending
from millrace.control.alerting.alert_events import Category, Code, Severity
from millrace.control.alerting.alert_messages import Message, Occasion
from millrace.control.connecting import reach
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.telling_tables import alert_channels as channels
from millrace.control.database.telling_tables import alert_deliveries
from millrace.control.database.telling_tables import alerts as table
from millrace.control.people import teams
from millrace.control.people.actors import SYSTEM
from millrace.control.secrecy import secrets
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home

# NOTED alerts are told, and that is all; the others are OPEN until they are over.
AlertState: TypeAlias = Literal["OPEN", "ACKNOWLEDGED", "RESOLVED", "NOTED"]
DeliveryState: TypeAlias = Literal["waiting", "sending", "sent", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that people are told. ``count``: how often it happened while it lasted."""

    id: int
    code: Code
    category: Category
    severity: Severity
    entity: Entity
    title: str
    body: str
    facts: Mapping[str, JSON]
    run: int | None
    state: AlertState
    count: int
    first_at: datetime
    last_at: datetime
    ended_at: datetime | None
    author: str | None
    """Who acknowledged or resolved it; None where it came to its end by itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message about an alert. ``recipient`` is empty where it goes to whoever the channel leads to."""

    id: int
    alert: int
    title: str
    occasion: Occasion
    channel: str
    recipient: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    error: str | None
    again: bool
    """Whether it is sent again where somebody says so of the alert."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of a test message; ``problem`` is None when it arrived."""

    channel: str
    problem: str | None
    hint: str | None


def page(
    home: Home,
    *,
    state: AlertState | None = None,
    category: Category | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Alert]:
    """The alerts of the team, the newest first."""
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    where: list[sa.ColumnExpressionArgument[bool]] = [table.c.team_id == home.actor.team_id]
    where += [table.c.state == state] if state else []
    where += [table.c.category == category] if category else []
    where += [table.c.id < pages.number(after)] if after else []
    query = sa.select(table).where(*where).order_by(table.c.id.desc()).limit(limit + 1)
    with home.database.reading() as connection:
        found = [_alert(row) for row in connection.execute(query)]
    return pages.cut(found, limit, lambda one: str(one.id))


def find(home: Home, alert: int) -> Alert:
    """Raises ConfigError "unknown_alert"."""
    home.actor.must("view")
    with home.database.reading() as connection:
        return _alert(_row(home, connection, alert))


def acknowledge(home: Home, alert: int) -> Alert:
    """Somebody looks after it: it is not told again unless it gets worse."""
    home.actor.must("pipelines.edit")
    with home.database.transaction() as connection:
        row = _row(home, connection, alert)
        if row.state == "OPEN":
            values = {"state": "ACKNOWLEDGED", "author": home.actor.name}
            connection.execute(sa.update(table).where(table.c.id == alert).values(values))
            wrote(home, "MEDIUM", _entity(row), "acknowledge", f"alert {alert} was acknowledged: {row.title}")
    return find(home, alert)


def reopen(home: Home, alert: int) -> Alert:
    """Nobody looks after it any more: it is told again while it goes on. What is over stays over."""
    home.actor.must("pipelines.edit")
    with home.database.transaction() as connection:
        row = _row(home, connection, alert)
        if row.state == "ACKNOWLEDGED":
            connection.execute(sa.update(table).where(table.c.id == alert).values(state="OPEN", author=None))
            wrote(home, "MEDIUM", _entity(row), "reopen", f"alert {alert} is open again: {row.title}")
    return find(home, alert)


def resolve(home: Home, alert: int) -> Alert:
    """It is over, as somebody says; whoever heard of it is told. When it happens again that is another alert."""
    home.actor.must("pipelines.edit")
    now = home.database.now()
    with home.database.transaction() as connection:
        row = _row(home, connection, alert)
        if row.state in ("OPEN", "ACKNOWLEDGED"):
            values = {"state": "RESOLVED", "ended_at": now, "author": home.actor.name}
            mine = sa.update(table).where(table.c.id == alert).values(values).returning(table)
            alert_routing.resolved(connection, connection.execute(mine).one(), now)
            wrote(home, "MEDIUM", _entity(row), "resolve", f"alert {alert} was resolved: {row.title}")
    return find(home, alert)


def resend(home: Home, alert: int) -> tuple[Delivery, ...]:
    """Messages about the alert that failed for good wait to be sent as if they were new: of those to the same hearer
    the latest, where it failed and would be told now. They are the same messages, so a receiver that has one knows it.

    Raises ConfigError "wrong_state" where there is none. That it began is not told of an alert that is over: nobody
    would tell its hearers that it ended.
    """
    home.actor.must("settings.edit")
    now = home.database.now()
    d = alert_deliveries.c
    with home.database.transaction() as connection:
        row = _row(home, connection, alert)
        failed = _found(connection, _deliveries().where(d.alert_id == alert, d.state == "failed"))
        mine = (d.state == "failed", d.id.in_([one.id for one in failed if one.again]))
        values = {"state": "waiting", "attempts": 0, "due_at": now, "ended_at": None}
        sent = (
            connection.execute(sa.update(alert_deliveries).where(*mine).values(values).returning(d.id)).scalars().all()
        )
        if not sent:
            raise ConfigError(
                f"no message about alert {alert} is to be sent again",
                hint="The latest to each hearer can be, where it failed, they hear of it still, and it is not over.",
                code="wrong_state",
            )
        wrote(home, "MEDIUM", _entity(row), "resend", f"alert {alert} is sent again: {row.title}")
        return tuple(_found(connection, _deliveries().where(d.id.in_(sent))))


def deliveries(
    home: Home,
    *,
    alert: int | None = None,
    state: DeliveryState | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Delivery]:
    """Messages about alerts, the newest first, and whether they got there."""
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    d = alert_deliveries.c
    where: list[sa.ColumnExpressionArgument[bool]] = [d.team_id == home.actor.team_id]
    where += [d.alert_id == alert] if alert is not None else []
    where += [d.state == state] if state else []
    where += [d.id < pages.number(after)] if after else []
    with home.database.reading() as connection:
        found = _found(connection, _deliveries().where(*where).limit(limit + 1))
    return pages.cut(found, limit, lambda one: str(one.id))


def test(home: Home, channel: str, recipient: str | None = None) -> Tested:
    """A message goes there at once, as the service would send it, so that one sees whether it arrives.
    ``recipient``: an address for mail."""
    home.actor.must("settings.edit")
    found = alert_channels.find(home, channel)
    settings = alert_channels.settings(home, found.id)
    key = str(uuid.uuid4())
    message = Message(
        key=key,
        fingerprint=key.replace("-", ""),
        alert=0,
        occasion="raised",
        code="TEST",
        category="pipeline",
        severity="INFO",
        team=teams.own(home).name,
        entity="channel",
        name=found.name,
        title=f"A test of channel {found.name}",
        body=f"{home.actor.name} wants to know whether this arrives.",
        at=home.database.now().isoformat(timespec="seconds"),
        count=1,
        run=None,
        facts={},
    )
    try:
        alert_sending.send(settings, message, recipient or "", reach=reach.of(home.acting(SYSTEM)))
    except MillraceError as error:
        hidden = alert_sending.secrets_of(settings)
        return Tested(found.name, secrets.redact(error.message, hidden), error.hint)
    return Tested(found.name, None, None)


def _row(home: Home, connection: sa.Connection, alert: int) -> Any:
    mine = (table.c.id == alert, table.c.team_id == home.actor.team_id)
    row = connection.execute(sa.select(table).where(*mine)).one_or_none()
    if row is None:
        raise ConfigError(f"there is no alert {alert}", hint="See `millrace alert list`.", code="unknown_alert")
    return row


def _deliveries() -> sa.Select[Any]:
    """All messages, the newest first."""
    d, later = alert_deliveries.c, alert_deliveries.alias("later")
    outdated = sa.exists().where(
        later.c.alert_id == d.alert_id,
        later.c.channel_id == d.channel_id,
        later.c.recipient == d.recipient,
        later.c.id > d.id,
    )
    over = sa.and_(table.c.state == "RESOLVED", d.occasion == "raised")
    newer = table.alias("newer")
    anew = sa.exists().where(
        d.occasion == "recovered",
        newer.c.team_id == table.c.team_id,
        newer.c.fingerprint == table.c.fingerprint,
        newer.c.id > table.c.id,
        newer.c.state != "RESOLVED",
    )
    late = sa.or_(d.state != "failed", outdated, over, anew).label("late")
    return (
        sa.select(alert_deliveries, channels.c.name, table.c.category, late)
        .join(channels, channels.c.id == d.channel_id)
        .join(table, table.c.id == d.alert_id)
        .order_by(d.id.desc())
    )


def _found(connection: sa.Connection, query: sa.Select[Any]) -> list[Delivery]:
    rows = connection.execute(query).all()
    about = {(row.team_id, row.category) for row in rows if not row.late}
    hearing = {one: alert_routing.hearing(connection, *one) for one in about}
    return [_delivery(row, hearing.get((row.team_id, row.category), set())) for row in rows]


def _entity(row: Any) -> Entity:
    return Entity(row.entity, row.entity_id, row.entity_name)


def _alert(row: Any) -> Alert:
    return Alert(
        id=row.id,
        code=row.code,
        category=row.category,
        severity=row.severity,
        entity=_entity(row),
        title=row.title,
        body=row.body,
        facts=row.facts,
        run=row.run_id,
        state=row.state,
        count=row.times,
        first_at=row.first_at,
        last_at=row.last_at,
        ended_at=row.ended_at,
        author=row.author,
    )


def _delivery(row: Any, hearing: set[alert_routing.Who]) -> Delivery:
    return Delivery(
        id=row.id,
        alert=row.alert_id,
        title=row.message["title"],
        occasion=row.occasion,
        channel=row.name,
        recipient=row.recipient,
        state=row.state,
        attempts=row.attempts,
        created_at=row.created_at,
        due_at=row.due_at,
        ended_at=row.ended_at,
        error=row.error,
        again=not row.late and alert_routing.who(row.channel_id, row.recipient) in hearing,
    )
