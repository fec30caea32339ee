"""What people did to one thing of a pipeline is found without a look at all that its runs told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"


def upgrade() -> None:
    done, columns = sa.text("severity > 0"), ["entity_id", "entity", "id"]
    op.create_index("ix_activity_done", "activity", columns, sqlite_where=done, postgresql_where=done)
