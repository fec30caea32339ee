"""Jobs of chosen statuses are found without a look at all others."""

from __future__ import annotations

from alembic import op

revision = "0052"
down_revision = "0051"


def upgrade() -> None:
    op.create_index("ix_runs_status", "runs", ["status", "id"], unique=False)
