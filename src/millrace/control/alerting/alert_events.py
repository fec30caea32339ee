"""What people are told: the list of codes, and events on record in the transaction of their cause (pipelines.md 16).

An event is a row that waits. Whoever serves makes an alert of it (`alert_routing`) and sends that (`alert_outbox`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import sqlalchemy as sa

from millrace.control.activity import Entity
from millrace.control.database.db import any_in
from millrace.control.database.telling_tables import alert_events, alerts
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.data.batch import JSON

Severity: TypeAlias = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

Category: TypeAlias = Literal["pipeline", "destination", "failed_events", "schema", "usage", "load"]
CATEGORIES: tuple[Category, ...] = get_args(Category)

Code: TypeAlias = Literal[
    "SOURCE_FAILED",
    "DEST_FAILED",
    "JOB_FAILED",
    "OBJECT_FAILED",
    "LATENCY_EXCEEDED",
    "LOG_RETENTION_RISK",
    "LOG_EXPIRED",
    "RATE_LIMITED_LONG",
    "FAILED_EVENTS_DIGEST",
    "TABLE_DROPPED",
    "COLUMN_RESIZED",
    "SCHEMA_CHANGED",
    "SCHEMA_CHANGE_BLOCKED",
    "SPIKE_LIMIT_EXCEEDED",
    "SPIKE_UNUSUAL",
    "LOADS_STOPPED",
    "QUOTA_EARLY",
    "QUOTA_CONSUMED",
    "QUOTA_SIDELINED",
    "INGESTION_STALLED",
    "USAGE_DAILY",
    "LOAD_COMPLETED",
    "LOAD_FAILED",
    "TEST",
    "RECOVERED",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code is about. An alert that ``stays`` is open until it is over; any other is told and that is all."""

    category: Category
    severity: Severity
    stays: bool = False


KINDS: Mapping[Code, Kind] = {
    "SOURCE_FAILED": Kind("pipeline", "ERROR", stays=True),
    "DEST_FAILED": Kind("destination", "ERROR", stays=True),
    "JOB_FAILED": Kind("pipeline", "ERROR", stays=True),
    "OBJECT_FAILED": Kind("pipeline", "ERROR", stays=True),
    "LATENCY_EXCEEDED": Kind("pipeline", "WARNING", stays=True),
    "LOG_RETENTION_RISK": Kind("pipeline", "WARNING", stays=True),
    "LOG_EXPIRED": Kind("pipeline", "CRITICAL", stays=True),
    "RATE_LIMITED_LONG": Kind("pipeline", "WARNING", stays=True),
    "FAILED_EVENTS_DIGEST": Kind("failed_events", "WARNING"),
    "TABLE_DROPPED": Kind("schema", "WARNING"),
    "COLUMN_RESIZED": Kind("schema", "INFO"),
    "SCHEMA_CHANGED": Kind("schema", "INFO"),
    "SCHEMA_CHANGE_BLOCKED": Kind("schema", "WARNING"),
    "SPIKE_LIMIT_EXCEEDED": Kind("usage", "WARNING"),
    "SPIKE_UNUSUAL": Kind("usage", "WARNING"),
    "LOADS_STOPPED": Kind("usage", "WARNING", stays=True),
    "QUOTA_EARLY": Kind("usage", "WARNING"),
    "QUOTA_CONSUMED": Kind("usage", "ERROR"),
    "QUOTA_SIDELINED": Kind("usage", "ERROR", stays=True),
    "INGESTION_STALLED": Kind("usage", "WARNING", stays=True),
    "USAGE_DAILY": Kind("usage", "INFO"),
    "LOAD_COMPLETED": Kind("load", "INFO"),
    "LOAD_FAILED": Kind("load", "ERROR"),
    "TEST": Kind("pipeline", "INFO"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people are told. ``cause`` is what it is the same matter by, beside code and entity.

    No secret is in its texts (I7). ``facts`` are for programs. ``severity`` None: that of the code.
    """

    code: Code
    entity: Entity
    title: str
    body: str = ""
    cause: str = ""
    severity: Severity | None = None
    facts: Mapping[str, JSON] = field(default_factory=dict[str, "JSON"])
    run_id: int | None = None


def tell(connection: sa.Connection, team_id: str, event: Event, *, at: datetime | None = None) -> None:
    """The event is on record, with the transaction of ``connection``, which is that of its cause."""
    connection.execute(
        sa.insert(alert_events).values(
            team_id=team_id,
            at=at or datetime.now(UTC),
            code=event.code,
            severity=event.severity or ("INFO" if event.code == "RECOVERED" else KINDS[event.code].severity),
            entity=event.entity.type,
            entity_id=event.entity.id,
            entity_name=event.entity.name,
            cause=event.cause[:64],
            title=event.title,
            body=event.body,
            facts=dict(event.facts),
            run_id=event.run_id,
        )
    )


def over(
    connection: sa.Connection,
    team_id: str,
    entity: Entity,
    codes: Sequence[Code],
    *,
    run_id: int | None = None,
    at: datetime | None = None,
) -> None:
    """Alerts of these codes on the entity are over. Nothing is noted where there is none: the usual case."""
    if is_open(connection, entity, codes):
        facts: dict[str, Any] = {"codes": list(codes)}
        event = Event("RECOVERED", entity, f"{entity.name} is well again", facts=facts, run_id=run_id)
        tell(connection, team_id, event, at=at)


def gone(connection: sa.Connection, team_id: str, entity: Entity, *, at: datetime | None = None) -> None:
    """The entity is no more, so all that was wrong with it is over: nobody else would ever say so."""
    over(connection, team_id, entity, [code for code, kind in KINDS.items() if kind.stays], at=at)


def told_since(connection: sa.Connection, entity: Entity, code: Code, since: datetime) -> bool:
    """People were told this of the entity since that moment, or are about to be."""
    a, e = alerts.c, alert_events.c
    known = sa.select(a.id).where(a.entity_id == entity.id, a.code == code, a.last_at >= since)
    if connection.execute(known.limit(1)).first() is not None:
        return True
    coming = sa.select(e.id).where(e.entity_id == entity.id, e.code == code, e.at >= since)
    return connection.execute(coming.limit(1)).first() is not None


def is_open(connection: sa.Connection, entity: Entity, codes: Sequence[Code]) -> bool:
    """An alert of one of these codes on the entity is not over yet, or about to be told."""
    a, e = alerts.c, alert_events.c
    known = sa.select(a.id).where(a.entity_id == entity.id, a.state.in_(("OPEN", "ACKNOWLEDGED")), a.code.in_(codes))
    if any_in(connection, alerts) and connection.execute(known.limit(1)).first() is not None:
        return True
    coming = sa.select(e.id).where(e.entity_id == entity.id, e.code.in_(codes))
    return any_in(connection, alert_events) and connection.execute(coming.limit(1)).first() is not None
