"""Whether files of a pipeline failed is found without a look at the others."""

from __future__ import annotations

from alembic import op

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    op.create_index("ix_file_log_status", "file_log", ["pipeline_id", "status"], unique=False)
