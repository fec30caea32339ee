"""What people are told: usage by the hour and its limits, alerts, channels, preferences, and messages on their way."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Why the rows of a segment were read; not known of those that were loaded before.
    op.add_column("segments", sa.Column("usage", sa.String(length=16)))
    op.create_table(
        "usage_hourly",
        _text("team_id", 36),
        _text("pipeline_id", 36),
        _free("pipeline"),
        _moment("hour"),
        _free("stream"),
        _free("table_name"),
        _text("kind", 16),
        sa.Column("ingested", sa.BigInteger(), nullable=False),
        sa.Column("loaded", sa.BigInteger(), nullable=False),
        _of("usage_hourly", "team_id", "teams"),
        sa.PrimaryKeyConstraint("pipeline_id", "hour", "stream", "table_name", "kind", name=op.f("pk_usage_hourly")),
    )
    op.create_index("ix_usage_hourly_team", "usage_hourly", ["team_id", "hour"])
    op.create_table(
        "usage_limits",
        _number(),
        _text("team_id", 36),
        _text("pipeline_id", 36, null=True),
        _text("period", 8),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("pause", sa.Boolean(), nullable=False),
        _text("told", 40, null=True),
        _moment("changed_at"),
        _of("usage_limits", "team_id", "teams"),
        _of("usage_limits", "pipeline_id", "pipelines"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_limits")),
        sa.UniqueConstraint("team_id", "pipeline_id", "period", name=op.f("uq_usage_limits_team_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "alert_events",
        _number(),
        _text("team_id", 36),
        _moment("at"),
        _text("code", 40),
        _text("severity", 8),
        *_entity(),
        _text("cause", 64),
        _free("title"),
        _free("body"),
        _free("facts"),
        sa.Column("run_id", sa.BigInteger()),
        _of("alert_events", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_events")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "alerts",
        _number(),
        _text("team_id", 36),
        _text("fingerprint", 64),
        _text("code", 40),
        _text("category", 16),
        _text("severity", 8),
        *_entity(),
        _free("title"),
        _free("body"),
        _free("facts"),
        sa.Column("run_id", sa.BigInteger()),
        _text("state", 16),
        sa.Column("times", sa.Integer(), nullable=False),
        _moment("first_at"),
        _moment("last_at"),
        _moment("told_at", null=True),
        _moment("ended_at", null=True),
        _free("author", null=True),
        _of("alerts", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alerts_team", "alerts", ["team_id", "id"])
    op.create_index("ix_alerts_open", "alerts", ["team_id", "state", "fingerprint"])
    op.create_index("ix_alerts_entity", "alerts", ["entity_id", "state"])
    op.create_table(
        "alert_channels",
        _text("id", 36),
        _text("team_id", 36),
        _text("name", 255),
        _text("kind", 16),
        _free("config"),
        _free("secret_keys"),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        _free("wanted"),
        _moment("created_at"),
        _moment("changed_at"),
        _of("alert_channels", "team_id", "teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_channels")),
        sa.UniqueConstraint("team_id", "name", name=op.f("uq_alert_channels_team_id")),
    )
    op.create_table(
        "alert_preferences",
        _text("user_id", 36),
        _free("wanted"),
        _moment("changed_at"),
        _of("alert_preferences", "user_id", "users"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_alert_preferences")),
    )
    op.create_table(
        "alert_deliveries",
        _number(),
        _text("team_id", 36),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        _text("channel_id", 36),
        _text("recipient", 254),
        _text("occasion", 16),
        sa.Column("nth", sa.Integer(), nullable=False),
        _text("key", 36),
        _free("message"),
        _text("state", 16),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("due_at"),
        _text("token", 36, null=True),
        _moment("expires_at", null=True),
        _moment("created_at"),
        _moment("ended_at", null=True),
        _free("error", null=True),
        _of("alert_deliveries", "team_id", "teams"),
        _of("alert_deliveries", "alert_id", "alerts"),
        _of("alert_deliveries", "channel_id", "alert_channels"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_deliveries")),
        sa.UniqueConstraint("key", name=op.f("uq_alert_deliveries_key")),
        sa.UniqueConstraint(
            "alert_id", "channel_id", "recipient", "occasion", "nth", name=op.f("uq_alert_deliveries_alert_id")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_deliveries_due", "alert_deliveries", ["state", "due_at"])
    op.create_index("ix_alert_deliveries_team", "alert_deliveries", ["team_id", "id"])


def _number() -> sa.Column[Any]:
    return sa.Column("id", NUMBER, autoincrement=True, nullable=False)


def _text(name: str, length: int, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), nullable=null)


def _free(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null)


def _moment(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def _entity() -> list[sa.Column[Any]]:
    return [_text("entity", 32), _text("entity_id", 36, null=True), _free("entity_name")]


def _of(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"), ondelete="CASCADE")
