"""Single sign-on by SAML: what is known of the provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    op.add_column("single_sign_on", sa.Column("saml", sa.Text(), nullable=True))
