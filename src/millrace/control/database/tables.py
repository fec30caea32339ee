"""The tables of the control database. Migrations must give the same; a test compares them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from millrace.control.database.column_types import Document, Free, Moment, Sealed

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _pipeline(*, key: bool = False) -> Column[Any]:
    """The pipeline that a row belongs to; it goes when the pipeline goes."""
    return Column("pipeline_id", String(36), ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=key,
                  nullable=False)  # fmt: skip


def _number() -> Column[Any]:
    """A number that is never given twice. SQLite numbers only columns of its type INTEGER."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


settings = Table(
    "settings",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Document, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

# Secrets of the home itself, by what they are for.
sealed_values = Table(
    "sealed_values",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("sealed", Sealed, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

# Who works together: connections and pipelines belong to one team, and are not there for others.
teams = Table(
    "teams",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", Free, nullable=False),
    Column("created_at", Moment, nullable=False),
)

# The last number that was given to a thing of each kind.
numbers = Table(
    "numbers",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("last", BigInteger, nullable=False),
)

connections = Table(
    "connections",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("type", String(64), nullable=False),
    Column("config", Document, nullable=False),
    # Which secrets are set, so that lists need no key.
    Column("secret_keys", Document, nullable=False),
    Column("sealed", Sealed),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("team_id", String(36), ForeignKey("teams.id"), nullable=False),
    Column("number", BigInteger, nullable=False, unique=True),
    # Of a destination: when what is staged is loaded; null: with every run.
    Column("load_schedule", Document, nullable=False, server_default="null"),
    UniqueConstraint("team_id", "kind", "name"),
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("source_id", String(36), ForeignKey("connections.id"), nullable=False),
    Column("destination_id", String(36), ForeignKey("connections.id"), nullable=False),
    Column("load_mode", String(16), nullable=False),
    Column("table_prefix", String(64), nullable=False),
    Column("naming", String(16), nullable=False),
    Column("auto_mapping", Boolean, nullable=False),
    Column("schedule", Document, nullable=False),
    Column("options", Document, nullable=False),
    Column("state", String(16), nullable=False),
    Column("ingested_at_ms", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("team_id", String(36), ForeignKey("teams.id"), nullable=False),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("priority", String(8), nullable=False, server_default="NORMAL"),
    UniqueConstraint("team_id", "name"),
)

# Pipelines that somebody began to make. They become pipelines, with their number, or are given up.
drafts = Table(
    "drafts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", String(36), ForeignKey("teams.id"), nullable=False),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    # The source's type, its settings but for secrets, and all that was chosen so far.
    Column("chosen", Document, nullable=False),
    Column("sealed", Sealed),
    Column("author", Free),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

# The streams that a pipeline reads; no row at all means every stream.
objects = Table(
    "objects",
    metadata,
    _pipeline(key=True),
    Column("stream", Free, primary_key=True),
    Column("load_mode", String(16)),
)

# The streams that a pipeline has met, and what people decided for each.
object_settings = Table(
    "object_settings",
    metadata,
    _pipeline(key=True),
    Column("stream", Free, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("key", Document, nullable=False),
    Column("query_mode", Document, nullable=False),
    Column("schedule", Document, nullable=False),
    Column("seen_at", Moment),
    Column("changed_at", Moment, nullable=False),
    # Since when the source does not offer it any more.
    Column("gone_at", Moment),
)

# Where each schedule is: of a pipeline's runs, of its loads, of an object of its own. The tick asks by `due_at`.
slots = Table(
    "slots",
    metadata,
    _pipeline(key=True),
    Column("part", String(8), primary_key=True),
    Column("stream", Free, primary_key=True),
    Column("schedule", Document, nullable=False),
    Column("anchor_at", Moment, nullable=False),
    Column("slot_at", Moment),
    Column("retry_at", Moment),
    Column("held_until", Moment),
    Column("due_at", Moment),
    Column("empty_runs", Integer, nullable=False),
    Column("failed_runs", Integer, nullable=False),
    Index("ix_slots_due", "due_at"),
)

# What workers take. A task is there until it is done; its run says what became of it.
tasks = Table(
    "tasks",
    metadata,
    _number(),
    _pipeline(),
    Column("kind", String(16), nullable=False),
    Column("arguments", Document, nullable=False),
    Column("priority", String(8), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    # The source connection, where only one task at a time may read from it.
    Column("exclusive", String(36)),
    Column("attempts", Integer, nullable=False),
    Column("token", String(36)),
    Column("holder", Document, nullable=False),
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Index("ix_tasks_turn", "priority", "rank", "due_at"),
    Index("ix_tasks_pipeline", "pipeline_id"),
    sqlite_autoincrement=True,
)

cursors = Table(
    "cursors",
    metadata,
    _pipeline(key=True),
    Column("stream", Free, primary_key=True),
    Column("lane", String(16), primary_key=True),
    Column("cursor", Document, nullable=False),
    Column("progress", Float),
    Column("committed_at", Moment, nullable=False),
    Column("run_id", BigInteger),
)

# One row for each run and lane, with the last cursor that the run committed; rows without a run were set by hand.
cursor_history = Table(
    "cursor_history",
    metadata,
    _number(),
    _pipeline(),
    Column("stream", Free, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("cursor", Document, nullable=False),
    Column("progress", Float),
    Column("committed_at", Moment, nullable=False),
    Column("run_id", BigInteger),
    Index("ix_cursor_history_lane", "pipeline_id", "stream", "lane", "run_id"),
    sqlite_autoincrement=True,
)

# The number gives the order in which marks of a part were committed.
marks = Table(
    "marks",
    metadata,
    _number(),
    _pipeline(),
    Column("stream", Free, nullable=False),
    Column("part", Free, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_marks_part", "pipeline_id", "stream", "part"),
    sqlite_autoincrement=True,
)

mappings = Table(
    "mappings",
    metadata,
    _pipeline(key=True),
    Column("stream", Free, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("table_name", Free, nullable=False),
    Column("mapping", Document, nullable=False),
    Column("created_at", Moment, nullable=False),
    # Who made this version and why; both empty for what a run found by itself.
    Column("author", Free),
    Column("reason", Free),
)

# What a pipeline does to its rows in flight. Version 0 is the draft; the highest other one is deployed.
transformations = Table(
    "transformations",
    metadata,
    _pipeline(key=True),
    Column("version", Integer, primary_key=True),
    # python, blocks, or none: from that version on rows pass as they are.
    Column("kind", String(16), nullable=False),
    Column("text", Free, nullable=False),
    Column("author", Free),
    Column("reason", Free),
    Column("created_at", Moment, nullable=False),
)

# The first rows of each stream as the source gave them, for tests of transformations.
samples = Table(
    "samples",
    metadata,
    _pipeline(key=True),
    Column("stream", Free, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("row", Free, nullable=False),
    Column("types", Document, nullable=False),
    Column("created_at", Moment, nullable=False),
)

# Rows as they were read, before any step, for pipelines that keep them.
raw_files = Table(
    "raw_files",
    metadata,
    _number(),
    _pipeline(),
    Column("stream", Free, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("path", Free, nullable=False, unique=True),
    Column("checksum", String(64), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("kept", Boolean, nullable=False),
    Column("ingested_at_ms", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("ix_raw_files_pipeline", "pipeline_id", "stream", "id"),
    sqlite_autoincrement=True,
)

# Files that sources read, each at its latest version. ``digest``: of the path, which may be too long for an index.
file_log = Table(
    "file_log",
    metadata,
    _number(),
    _pipeline(),
    Column("stream", Free, nullable=False),
    Column("digest", String(32), nullable=False),
    Column("path", Free, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("modified_at", Moment, nullable=False),
    Column("version", Free, nullable=False),
    Column("status", String(16), nullable=False),
    # A person does not want it read; it stands beside what else is known of it.
    Column("skipped", Boolean, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("gone_at", Moment),
    Column("changed_at", Moment, nullable=False),
    Column("run_id", BigInteger),
    Column("error", Free),
    UniqueConstraint("pipeline_id", "stream", "digest"),
    Index("ix_file_log_gone", "gone_at"),
    Index("ix_file_log_status", "pipeline_id", "status"),
    sqlite_autoincrement=True,
)

# One row for each generation of a table; the highest generation is the one that rows go to.
tables = Table(
    "tables",
    metadata,
    _pipeline(key=True),
    Column("name", Free, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("stream", Free, nullable=False),
    Column("fresh", Boolean, nullable=False),
    Column("loaded", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    # The source's streams that began anew with it, and have not been read to their end since.
    Column("awaits", Document, nullable=False, server_default="[]"),
)

segments = Table(
    "segments",
    metadata,
    Column("pipeline_id", String(36), primary_key=True),
    Column("table_name", Free, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("stream", Free, nullable=False),
    Column("path", Free, nullable=False, unique=True),
    Column("rows", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    # Rows that the destination refused, by code: what `loaded` counted, so that `rewind` can take it back.
    Column("refused", Document, nullable=False),
    Column("refused_rows", BigInteger, nullable=False),
    Column("staged_at", Moment, nullable=False),
    Column("loaded_at", Moment),
    Column("dropped_at", Moment),
    # Under which versions the rows came to be; not known of segments from before those were counted.
    Column("mapping_version", Integer),
    Column("transformation", Integer),
    # The file of rejects that the rows came back from; empty where they were read.
    Column("replayed_file", BigInteger),
    # Why the rows were read, for the counts of usage.
    Column("usage", String(16)),
    ForeignKeyConstraint(
        ["pipeline_id", "table_name", "generation"],
        ["tables.pipeline_id", "tables.name", "tables.generation"],
        ondelete="CASCADE",
    ),
    Index("ix_segments_state", "state", "loaded_at"),
    Index("ix_segments_run", "run_id"),
)

reject_files = Table(
    "reject_files",
    metadata,
    _number(),
    _pipeline(),
    Column("run_id", BigInteger, nullable=False),
    Column("path", Free, nullable=False, unique=True),
    Column("checksum", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("kept", Boolean, nullable=False),
    # Refused by the destination: the load that they were part of. They count once that load is noted.
    Column("parked_table", Free),
    Column("parked_generation", Integer),
    Column("parked_after", Integer),
    Column("parked_upto", Integer),
    Column("counted", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    # The file of rejects whose rows failed again; empty where they failed for the first time.
    Column("replayed_file", BigInteger),
    Index("ix_reject_files_pipeline", "pipeline_id", "parked_table"),
    sqlite_autoincrement=True,
)

reject_groups = Table(
    "reject_groups",
    metadata,
    Column(
        "file_id",
        BigInteger().with_variant(Integer, "sqlite"),
        ForeignKey("reject_files.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("stream", Free, primary_key=True),
    Column("stage", String(16), primary_key=True),
    Column("code", Free, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("sample", Free, nullable=False),
    Column("state", String(16), nullable=False),
    Column("closed_at", Moment),
    # How often the group was replayed by itself, when it may be again, and under which versions it was refused.
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("retry_at", Moment),
    Column("mapping_version", Integer),
    Column("transformation", Integer),
    Index("ix_reject_groups_state", "state"),
)

runs = Table(
    "runs",
    metadata,
    _number(),
    _pipeline(),
    Column("kind", String(32), nullable=False),
    Column("status", String(32), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("notes", Document, nullable=False),
    Column("error", Document, nullable=False),
    Column("job_id", String(36)),
    Column("trigger", String(24)),
    Column("stage", String(16)),
    Column("requested_at", Moment),
    Column("ingested_at", Moment),
    # Somebody wants it to end.
    Column("cancel_at", Moment),
    # What it has done so far, and when that was noted.
    Column("meter", Document),
    Column("beat_at", Moment),
    Index("ix_runs_pipeline", "pipeline_id", "id"),
    Index("ix_runs_status", "status", "id"),
    Index("ix_runs_job", "job_id", unique=True),
    Index("ix_runs_ended", "ended_at"),
    sqlite_autoincrement=True,
)

# What a run did with each object.
run_objects = Table(
    "run_objects",
    metadata,
    Column(
        "run_id",
        BigInteger().with_variant(Integer, "sqlite"),
        ForeignKey("runs.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("stream", Free, primary_key=True),
    Column("status", String(32), nullable=False),
    Column("started_at", Moment),
    Column("ingested_at", Moment),
    Column("load_started_at", Moment),
    Column("loaded_at", Moment),
    # Positions by lane.
    Column("before", Document, nullable=False),
    Column("after", Document, nullable=False),
    Column("tables", Document, nullable=False),
    Column("error", Document, nullable=False),
)

# What a run read and what became of it. `kind` says what is counted, `name` a reason, a code or nothing.
run_counts = Table(
    "run_counts",
    metadata,
    Column(
        "run_id",
        BigInteger().with_variant(Integer, "sqlite"),
        ForeignKey("runs.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("stream", Free, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", Free, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

# Jobs of pipelines that are gone, as audit tables tell of them.
deleted_jobs = Table(
    "deleted_jobs",
    metadata,
    Column("run_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("team_id", String(36), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("ended_at", Moment, nullable=False),
    Column("job", Document, nullable=False),
    Index("ix_deleted_jobs_ended", "team_id", "ended_at"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("token", String(36), nullable=False),
    Column("holder", Document, nullable=False),
    Column("acquired_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

# The address at which a pipeline is told things; of its token there is only the hash.
hooks = Table(
    "hooks",
    metadata,
    Column("pipeline_id", String(36), ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
)
