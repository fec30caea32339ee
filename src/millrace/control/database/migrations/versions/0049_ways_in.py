"""By which way somebody came in stays with a session until its second factor is shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("way", sa.String(length=16), nullable=True))
