"""A table that is filled anew with rows of several streams waits for all of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"


def upgrade() -> None:
    op.add_column("tables", sa.Column("awaits", sa.Text(), nullable=False, server_default="[]"))
