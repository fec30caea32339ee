"""Whole tables that go, or take another's place, together with the notes of what they hold.

A table is dropped or renamed by statements that commit at once, so the change of the notes cannot be one with them.
What is meant to happen stands in the table of notes first, as a row of no feed. Whoever connects next while it stands
there does what is left of it; doing it again does no harm.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from millrace.connect.mysql.session import Session, marker
from millrace.connect.sql.destination import STAGED_FILE
from millrace.errors import ConfigError, SchemaError

if TYPE_CHECKING:
    from millrace.destinations.mysql.destination import Destination

_TIMEOUT_S = 600
# The feed of a row that says what shall happen: no feed is called so.
_MEANT = ""


class Whole:
    """What is done to whole tables of one destination, on its session."""

    def __init__(self, session: Session, destination: Destination) -> None:
        self._session = session
        self._destination = destination

    @property
    def _notes(self) -> str:
        return self._destination.target(self._destination.loads)

    def made(self, loads: str) -> None:
        """The table of notes is there. ``becomes``: of a row that says what is meant, the name that the table gets;
        empty for one that goes."""
        d = self._destination.dialect
        words = d.types["VARCHAR"].partition(" ")[2]
        self._session.execute(
            f"CREATE TABLE IF NOT EXISTS {self._destination.target(loads)} (feed VARCHAR(255) NOT NULL, "
            "table_name VARCHAR(64) NOT NULL, segment BIGINT NOT NULL, loaded_at BIGINT NOT NULL, "
            f"becomes VARCHAR(64), {STAGED_FILE} VARCHAR(255), PRIMARY KEY (feed, table_name)) ENGINE=InnoDB {words}"
        )
        if STAGED_FILE not in (self._destination.found(loads) or {}):
            self._session.execute(
                f"ALTER TABLE {self._destination.target(loads)} ADD COLUMN {STAGED_FILE} VARCHAR(255) {words}"
            )

    def swap(self, fresh: str, table: str) -> None:
        """``fresh`` takes the place of ``table``, with its notes."""
        if self._destination.found(fresh) is None:
            raise SchemaError(f"There is no table {fresh!r} to take the place of {table!r}.", code="TABLE_MISSING")
        self._mean(fresh, table)

    def drop(self, table: str) -> None:
        """The table is gone, with its notes."""
        if table == self._destination.loads or self._destination.found(self._destination.loads) is None:
            self._session.execute(f"DROP TABLE IF EXISTS {self._destination.target(table)}")
        else:
            self._mean(table, "")

    def settled(self) -> None:
        """Nothing that was meant is left to do."""
        if not self._meant():
            return
        with self._session.transaction():
            self._session.lock(f"{self._destination.config.db_name}\0\0whole", _TIMEOUT_S)
            # Somebody else may have been at it until now.
            for name, becomes in self._meant():
                for table in filter(None, (name, becomes)):
                    self._destination.lock(table)
                self._do(name, becomes)

    def _mean(self, name: str, becomes: str) -> None:
        self.made(self._destination.loads)
        with self._session.transaction():
            self._session.execute(
                f"REPLACE INTO {self._notes} (feed, table_name, segment, loaded_at, becomes) "
                f"VALUES ({', '.join(marker(n) for n in range(1, 6))})",
                _MEANT, name, 0, 0, becomes,
            )  # fmt: skip
        self.settled()

    def _meant(self) -> list[tuple[str, str]]:
        try:
            rows = self._session.rows(f"SELECT table_name, becomes FROM {self._notes} WHERE feed = {marker(1)}", _MEANT)
        except ConfigError as error:
            if error.code != "sql":
                raise
            return []  # there are no notes yet
        return [(str(name), str(becomes or "")) for name, becomes in rows]

    def _do(self, name: str, becomes: str) -> None:
        session, destination, notes = self._session, self._destination, self._notes
        one, two, three = (marker(n) for n in range(1, 4))
        if not becomes:
            session.execute(f"DROP TABLE IF EXISTS {destination.target(name)}")
            session.execute("START TRANSACTION")
            session.execute(f"DELETE FROM {notes} WHERE table_name = {one}", name)
            session.execute("COMMIT")
            return
        gone = destination.target(f"__mr_gone_{hashlib.sha256(becomes.encode()).hexdigest()[:16]}")
        if destination.found(name) is not None:
            session.execute(f"DROP TABLE IF EXISTS {gone}")
            away = f"{destination.target(becomes)} TO {gone}, " if destination.found(becomes) is not None else ""
            # Both at once: no reader finds no table.
            session.execute(f"RENAME TABLE {away}{destination.target(name)} TO {destination.target(becomes)}")
        session.execute(f"DROP TABLE IF EXISTS {gone}")
        session.execute("START TRANSACTION")
        session.execute(f"DELETE FROM {notes} WHERE table_name = {one} AND feed <> {two}", becomes, _MEANT)
        session.execute(f"DELETE FROM {notes} WHERE table_name = {one} AND feed = {two}", name, _MEANT)
        session.execute(
            f"UPDATE {notes} SET table_name = {one} WHERE table_name = {two} AND feed <> {three}",
            becomes, name, _MEANT,
        )  # fmt: skip
        session.execute("COMMIT")
