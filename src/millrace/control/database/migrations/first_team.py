"""The team that every home has from its beginning. Migrations and new databases put it in alike."""

from __future__ import annotations

import time

import sqlalchemy as sa

# As `millrace.control.people.actors` has it; what was migrated must not change with the code.
FIRST_TEAM = "00000000-0000-4000-8000-000000000001"


def add_first_team(connection: sa.Connection) -> None:
    """The table of teams has it."""
    connection.execute(
        sa.text("INSERT INTO teams (id, name, created_at) VALUES (:id, 'First team', :now)"),
        {"id": FIRST_TEAM, "now": time.time_ns() // 1000},
    )
