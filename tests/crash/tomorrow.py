"""A Millrace of the next version, as a process: its schema has one column more.

    python -m tests.crash.tomorrow HOME

It opens the home, which upgrades the control database, and works until no task is left.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from millrace.control.database import db, tables
from millrace.control.database.migrations import upgrade as upgrading
from millrace.control.home import Home
from millrace.control.observing import logs
from millrace.control.running import tasks, worker

REVISION = "9000"
MOST_S = 90.0

_upgrade = upgrading.upgrade


def upgrade(connection: sa.Connection, revision: str) -> None:
    """The migrations that there are, and one more."""
    assert revision == REVISION
    _upgrade(connection, "head")
    connection.exec_driver_sql("ALTER TABLE pipelines ADD COLUMN of_tomorrow VARCHAR(8)")
    connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{REVISION}'")


def is_tomorrow(patch: Any) -> None:
    """This process knows the later schema. ``patch`` sets an attribute."""
    patch(db, "HEAD", REVISION)
    patch(upgrading, "upgrade", upgrade)


def main() -> int:
    is_tomorrow(setattr)
    logs.install()
    until = time.monotonic() + MOST_S
    with Home.open(Path(sys.argv[1])) as home:
        while time.monotonic() < until:
            tasks.recover(home.database)
            worker.work(home, threading.Event(), most=1) if waits(home) else time.sleep(0.1)
            with home.database.reading() as connection:
                if connection.execute(sa.select(tables.tasks.c.id).limit(1)).first() is None:
                    return 0
    return 1


def waits(home: Home) -> bool:
    """A task is to be had."""
    with home.database.reading() as connection:
        return (
            connection.execute(sa.select(tables.tasks.c.id).where(tables.tasks.c.token.is_(None))).first() is not None
        )


if __name__ == "__main__":
    sys.exit(main())
