"""The tables of the control database for what people are told: usage, limits, alerts, and where they go."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table
from sqlalchemy import UniqueConstraint as Unique

from millrace.control.database.column_types import Document, Free, Moment, Sealed
from millrace.control.database.tables import metadata


def _number() -> Column[Any]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _team() -> Column[Any]:
    return Column("team_id", String(36), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False)


def _entity() -> list[Column[Any]]:
    """What something is told of; without a foreign key, because it outlives that."""
    return [
        Column("entity", String(32), nullable=False),
        Column("entity_id", String(36)),
        Column("entity_name", Free, nullable=False),
    ]


# Rows that were staged and loaded, by the hour in which that was. They outlive their pipeline.
usage_hourly = Table(
    "usage_hourly",
    metadata,
    _team(),
    Column("pipeline_id", String(36), primary_key=True),
    Column("pipeline", Free, nullable=False),
    Column("hour", Moment, primary_key=True),
    Column("stream", Free, primary_key=True),
    Column("table_name", Free, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("ingested", BigInteger, nullable=False),
    Column("loaded", BigInteger, nullable=False),
    Index("ix_usage_hourly_team", "team_id", "hour"),
)

# How many rows a pipeline may load in a day, a team in a month; what happens beyond that.
usage_limits = Table(
    "usage_limits",
    metadata,
    _number(),
    _team(),
    # Null: of the whole team.
    Column("pipeline_id", String(36), ForeignKey("pipelines.id", ondelete="CASCADE")),
    Column("period", String(8), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("pause", Boolean, nullable=False),
    # The period for which people were told last, and of what.
    Column("told", String(40)),
    Column("changed_at", Moment, nullable=False),
    # What is beyond the limit waits on the stage, once it was passed for so many hours.
    Column("sideline", Boolean),
    Column("grace_hours", Integer),
    Unique("team_id", "pipeline_id", "period"),
    sqlite_autoincrement=True,
)

# How many rows a team may read in a window, and how many it read in the one of its last commit.
ingestion_limits = Table(
    "ingestion_limits",
    metadata,
    Column("team_id", String(36), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("window_us", BigInteger, nullable=False),
    Column("window_at", Moment, nullable=False),
    Column("counted", BigInteger, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

# What happened and is not told yet, written in the transaction of its cause. A row goes when it became an alert.
alert_events = Table(
    "alert_events",
    metadata,
    _number(),
    _team(),
    Column("at", Moment, nullable=False),
    Column("code", String(40), nullable=False),
    Column("severity", String(8), nullable=False),
    *_entity(),
    # What it is an alert of the same matter by, beside code and entity.
    Column("cause", String(64), nullable=False),
    Column("title", Free, nullable=False),
    Column("body", Free, nullable=False),
    Column("facts", Document, nullable=False),
    Column("run_id", BigInteger),
    sqlite_autoincrement=True,
)

alerts = Table(
    "alerts",
    metadata,
    _number(),
    _team(),
    Column("fingerprint", String(64), nullable=False),
    Column("code", String(40), nullable=False),
    Column("category", String(16), nullable=False),
    Column("severity", String(8), nullable=False),
    *_entity(),
    Column("title", Free, nullable=False),
    Column("body", Free, nullable=False),
    Column("facts", Document, nullable=False),
    Column("run_id", BigInteger),
    Column("state", String(16), nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("told_at", Moment),
    Column("ended_at", Moment),
    # Who acknowledged or resolved it.
    Column("author", Free),
    Index("ix_alerts_team", "team_id", "id"),
    Index("ix_alerts_open", "team_id", "state", "fingerprint"),
    Index("ix_alerts_entity", "entity_id", "state"),
    sqlite_autoincrement=True,
)

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("id", String(36), primary_key=True),
    _team(),
    Column("name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("config", Document, nullable=False),
    Column("secret_keys", Document, nullable=False),
    Column("sealed", Sealed),
    Column("enabled", Boolean, nullable=False),
    # Which alerts go there, and when none do.
    Column("wanted", Document, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Unique("team_id", "name"),
)

# What a user wants to be told by e-mail; without a row, everything.
alert_preferences = Table(
    "alert_preferences",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("wanted", Document, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

# Messages on their way, one row for each channel and recipient: each is delivered once.
alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    _number(),
    _team(),
    Column("alert_id", BigInteger, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("channel_id", String(36), ForeignKey("alert_channels.id", ondelete="CASCADE"), nullable=False),
    # An address of the channel or of a user; empty: wherever a channel leads that sends no mail.
    Column("recipient", String(254), nullable=False),
    # raised, recovered; and the count that the alert had then.
    Column("occasion", String(16), nullable=False),
    Column("nth", Integer, nullable=False),
    # What receivers know it by, however often it is sent.
    Column("key", String(36), nullable=False, unique=True),
    Column("message", Document, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("token", String(36)),
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("error", Free),
    Unique("alert_id", "channel_id", "recipient", "occasion", "nth"),
    Index("ix_alert_deliveries_due", "state", "due_at"),
    Index("ix_alert_deliveries_team", "team_id", "id"),
    sqlite_autoincrement=True,
)
