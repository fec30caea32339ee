"""Several connections that see one state of a table.

Neither MySQL nor MariaDB hands the state of one connection to another (Percona's `FROM SESSION` does). So they begin
while nobody writes to the table: while one more has it locked for reading, which needs the right LOCK TABLES.
Sources: https://dev.mysql.com/doc/refman/8.4/en/lock-tables.html, https://mariadb.com/kb/en/lock-tables/
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from millrace.connect.mysql.session import Session, marker
from millrace.errors import MillraceError

BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
# For so long the lock waits for whoever is writing, and who comes to write then waits behind it.
_WAIT_S = 1
# For so long nobody can write at most, whatever happens to this machine: a server that no longer hears from it gives
# the lock back then, not after hours.
HELD_S = 30


def keeps_states(session: Session, database: str, table: str) -> bool:
    """Whether the table is of the engine whose transactions see one state."""
    found = session.rows(
        f"SELECT engine FROM information_schema.tables WHERE table_schema = {marker(1)} AND table_name = {marker(2)}",
        database,
        table,
    )
    return found == [("InnoDB",)]


def begun(sessions: Sequence[Session], locking: Session, source: str) -> bool:
    """All sessions see one state of the table, and keep it from being changed by statements that change tables. False
    where that is not to be had, or not soon; then they see states of their own, or none."""
    try:
        for one in (locking, *sessions):
            one.execute(f"SET SESSION lock_wait_timeout = {_WAIT_S}")
        locking.execute(f"SET SESSION wait_timeout = {HELD_S}")
        locking.execute(f"LOCK TABLES {source} READ")
        for one in sessions:
            one.execute(BEGIN)
            one.rows(f"SELECT 1 FROM {source} LIMIT 0")
        # Where this connection was lost so was the lock, and nobody knows since when.
        locking.execute("UNLOCK TABLES")
    except MillraceError:
        return False
    finally:
        with suppress(MillraceError):
            locking.execute("UNLOCK TABLES")
        for one in sessions:
            with suppress(MillraceError):
                one.execute("SET SESSION lock_wait_timeout = DEFAULT")
    return True
