"""Which file of rejects rows came back from, beside segments and rejects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in ("segments", "reject_files"):
        op.add_column(table, sa.Column("replayed_file", sa.BigInteger(), nullable=True))
