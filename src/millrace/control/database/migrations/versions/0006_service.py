"""Schedules that are kept, tasks for workers, jobs with their objects, drafts, and what people decide for objects."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from millrace.control.database.column_types import Document, Moment

revision = "0006"
down_revision = "0005"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHUNK = 10_000


def upgrade() -> None:
    op.add_column("connections", sa.Column("load_schedule", sa.Text(), nullable=False, server_default="null"))
    op.add_column("pipelines", sa.Column("priority", sa.String(length=8), nullable=False, server_default="NORMAL"))
    op.create_table(
        "drafts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("author", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_drafts_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drafts")),
        sa.UniqueConstraint("number", name=op.f("uq_drafts_number")),
    )
    op.create_table(
        "object_settings",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("historical", sa.Boolean(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("query_mode", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger()),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        _of_pipeline("object_settings"),
        sa.PrimaryKeyConstraint("pipeline_id", "stream", name=op.f("pk_object_settings")),
    )
    op.create_table(
        "slots",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("part", sa.String(length=8), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("anchor_at", sa.BigInteger(), nullable=False),
        sa.Column("slot_at", sa.BigInteger()),
        sa.Column("retry_at", sa.BigInteger()),
        sa.Column("held_until", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("empty_runs", sa.Integer(), nullable=False),
        sa.Column("failed_runs", sa.Integer(), nullable=False),
        _of_pipeline("slots"),
        sa.PrimaryKeyConstraint("pipeline_id", "part", "stream", name=op.f("pk_slots")),
    )
    op.create_index("ix_slots_due", "slots", ["due_at"])
    op.create_table(
        "tasks",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("priority", sa.String(length=8), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("exclusive", sa.String(length=36)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=36)),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        _of_pipeline("tasks"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tasks_turn", "tasks", ["priority", "rank", "due_at"])
    op.create_index("ix_tasks_pipeline", "tasks", ["pipeline_id"])
    op.create_table(
        "run_objects",
        sa.Column("run_id", NUMBER, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ingested_at", sa.BigInteger()),
        sa.Column("load_started_at", sa.BigInteger()),
        sa.Column("loaded_at", sa.BigInteger()),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("tables", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_objects_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "stream", name=op.f("pk_run_objects")),
    )
    for column in (
        sa.Column("job_id", sa.String(length=36)),
        sa.Column("trigger", sa.String(length=24)),
        sa.Column("stage", sa.String(length=16)),
        sa.Column("requested_at", sa.BigInteger()),
        sa.Column("ingested_at", sa.BigInteger()),
        sa.Column("cancel_at", sa.BigInteger()),
        sa.Column("meter", sa.Text()),
        sa.Column("beat_at", sa.BigInteger()),
    ):
        op.add_column("runs", column)
    _name_jobs()
    op.create_index("ix_runs_job", "runs", ["job_id"], unique=True)
    op.create_index("ix_runs_ended", "runs", ["ended_at"])
    _begin_schedules()


def _of_pipeline(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["pipeline_id"], ["pipelines.id"], name=op.f(f"fk_{table}_pipeline_id"), ondelete="CASCADE"
    )


def _name_jobs() -> None:
    connection = op.get_bind()
    ids = list(connection.execute(sa.text("SELECT id FROM runs ORDER BY id")).scalars())
    named = sa.text("UPDATE runs SET job_id = :job WHERE id = :id")
    for at in range(0, len(ids), CHUNK):
        connection.execute(named, [{"id": id_, "job": str(uuid.uuid4())} for id_ in ids[at : at + CHUNK]])


def _begin_schedules() -> None:
    """Pipelines that have a schedule are due by it, counted from now."""
    from millrace.control.scheduling import due, schedule

    connection = op.get_bind()
    pipelines = sa.table("pipelines", sa.column("id"), sa.column("schedule", Document()), sa.column("state"))
    moments = ("anchor_at", "slot_at", "due_at")
    slots = sa.table(
        "slots",
        *(sa.column(name) for name in ("pipeline_id", "part", "stream", "empty_runs", "failed_runs")),
        sa.column("schedule", Document()),
        *(sa.column(name, Moment()) for name in moments),
    )
    now = datetime.now(UTC)
    for row in connection.execute(sa.select(pipelines)).all():
        if row.schedule is None:
            continue
        standing = due.begun(schedule.from_json(row.schedule), now)
        connection.execute(
            sa.insert(slots).values(
                pipeline_id=row.id,
                part="run",
                stream="",
                schedule=row.schedule,
                anchor_at=now,
                slot_at=standing.slot_at,
                due_at=standing.due_at if row.state == "ACTIVE" else None,
                empty_runs=0,
                failed_runs=0,
            )
        )
