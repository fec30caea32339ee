"""Limits that hold back loads, after a time of grace; how many rows a team may read in a window."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"


def upgrade() -> None:
    op.create_table(
        "ingestion_limits",
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("window_us", sa.BigInteger(), nullable=False),
        sa.Column("window_at", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_ingestion_limits_team_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_ingestion_limits")),
    )
    op.add_column("usage_limits", sa.Column("sideline", sa.Boolean(), nullable=True))
    op.add_column("usage_limits", sa.Column("grace_hours", sa.Integer(), nullable=True))
