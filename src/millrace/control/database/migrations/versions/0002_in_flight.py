"""What happens to rows in flight: transformations, samples, raw rows, and the versions under which rows came to be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table, columns in {
        "mappings": [sa.Column("author", sa.Text(), nullable=True), sa.Column("reason", sa.Text(), nullable=True)],
        "segments": [
            sa.Column("mapping_version", sa.Integer(), nullable=True),
            sa.Column("transformation", sa.Integer(), nullable=True),
        ],
        "reject_groups": [
            sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("retry_at", sa.BigInteger(), nullable=True),
            sa.Column("mapping_version", sa.Integer(), nullable=True),
            sa.Column("transformation", sa.Integer(), nullable=True),
        ],
    }.items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "transformations",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name=op.f("fk_transformations_pipeline_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pipeline_id", "version", name=op.f("pk_transformations")),
    )
    op.create_table(
        "samples",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name=op.f("fk_samples_pipeline_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pipeline_id", "stream", "number", name=op.f("pk_samples")),
    )
    op.create_table(
        "raw_files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("ingested_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name=op.f("fk_raw_files_pipeline_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_raw_files")),
        sa.UniqueConstraint("path", name=op.f("uq_raw_files_path")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_raw_files_pipeline", "raw_files", ["pipeline_id", "stream", "id"], unique=False)
