"""Jobs of pipelines that are gone, for audit tables; objects that a source does not offer any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "deleted_jobs",
        sa.Column(
            "run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_deleted_jobs_team_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_deleted_jobs")),
    )
    op.create_index("ix_deleted_jobs_ended", "deleted_jobs", ["team_id", "ended_at"], unique=False)
    op.add_column("object_settings", sa.Column("gone_at", sa.BigInteger(), nullable=True))
