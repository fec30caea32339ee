"""Teams: connections and pipelines belong to one, their names are unique in it, and they have numbers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from millrace.control.database.migrations.first_team import FIRST_TEAM, add_first_team

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
    )
    op.create_table(
        "numbers",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_numbers")),
    )
    add_first_team(op.get_bind())
    for table, old, columns in (("connections", "kind", ["kind", "name"]), ("pipelines", "name", ["name"])):
        op.add_column(table, sa.Column("team_id", sa.String(length=36), nullable=True))
        op.add_column(table, sa.Column("number", sa.BigInteger(), nullable=True))
        op.execute(sa.text(f"UPDATE {table} SET team_id = :team").bindparams(team=FIRST_TEAM))
        # In the order in which they were made.
        op.execute(
            f"UPDATE {table} SET number = (SELECT count(*) FROM {table} AS o "
            f"WHERE o.created_at < {table}.created_at OR (o.created_at = {table}.created_at AND o.id <= {table}.id))"
        )
        kind = sa.text(f"INSERT INTO numbers SELECT :kind, count(*) FROM {table}")
        op.execute(kind.bindparams(kind=table.removesuffix("s")))
        with op.batch_alter_table(table, recreate="auto") as batch:
            batch.alter_column("team_id", existing_type=sa.String(length=36), nullable=False)
            batch.alter_column("number", existing_type=sa.BigInteger(), nullable=False)
            batch.drop_constraint(f"uq_{table}_{old}", type_="unique")
            batch.create_unique_constraint(op.f(f"uq_{table}_team_id"), ["team_id", *columns])
            batch.create_unique_constraint(op.f(f"uq_{table}_number"), ["number"])
            batch.create_foreign_key(op.f(f"fk_{table}_team_id"), "teams", ["team_id"], ["id"])
