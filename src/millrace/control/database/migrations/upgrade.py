"""Runs the migrations. Imports Alembic, so it is imported only by those who upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory


def upgrade(connection: sa.Connection, revision: str) -> None:
    """The schema is at ``revision`` once the caller's transaction ends."""
    script = ScriptDirectory(str(Path(__file__).parent))

    def steps(current: Any, _: Any) -> Any:
        return script._upgrade_revs(revision, current)  # pyright: ignore[reportPrivateUsage]  as `alembic.command.upgrade` does

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=revision) as environment:
        environment.configure(connection=connection)
        with environment.begin_transaction():
            environment.run_migrations()
