"""The history of a table whose changes come from the log, in a state whose place in the log is known."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from millrace.connect.mysql.errors import no_table
from millrace.connect.mysql.session import Session
from millrace.connect.source import Context
from millrace.connect.sql.reading import ranges, reader
from millrace.connect.sql.reading.plan import Plan
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Transient
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.database import TITLE, MySQL, Reading, connected
from millrace.sources.mysql.log import server
from millrace.sources.mysql.log.errors import may_not_lock, no_place
from millrace.sources.mysql.log.place import Place
from millrace.sources.mysql.together import HELD_S

_PATIENCE_S = 30.0
_PAUSE_S = 0.05
# For so long writers of a table may wait behind its lock while that waits for a statement.
_LOCK_S = 2


def read(plan: Plan, config: Config, database: MySQL) -> Iterator[Item]:
    """Rows of the table in the order of its key; the cursor holds the place in the log of what was seen first.

    Rows that are appended are read in one go: what is read in a later state would come from the log too.
    """
    log: Any = plan.reading.log or {}
    # At the start of the log's reading no row was told of yet.
    since = Place.of(log["rows"]) if log.get("rows") else None
    seeing = Seeing(database, config, plan.context, plan.relation.source, since)
    if plan.reading.lane == "again":
        yield from reader.chosen(replace(plan, database=seeing))
        return
    cursor: Any = plan.reading.cursor or {}
    if cursor.get("done"):
        return
    if plan.appends:
        plan = replace(plan, relation=replace(plan.relation, key=(), indexes=()))
        cursor = {}

    def place(**more: JSON) -> JSON:
        begun: Any = {"snapshot": seeing.first.to_json() if seeing.first else None, "begun_ms": seeing.begun_ms}
        return {"v": 1, **(begun if "snapshot" not in cursor else {name: cursor.get(name) for name in begun}), **more}

    yield from ranges.read(replace(plan, database=seeing), cursor.get("ranges"), (), lambda known: place(ranges=known))
    yield Checkpoint(place(done=True), progress=1.0)


def _knows_places(session: Session) -> bool:
    """Whether the server says which place of its log a state has."""
    return session.family == "mariadb"


@dataclass
class Seeing:
    """The database in a state that has all that was taken from the log up to ``since``. ``source``: the table."""

    database: MySQL
    config: Config
    context: Context
    source: str
    since: Place | None
    first: Place | None = None
    begun_ms: int | None = None
    """When that state was; no row of the history is ingested before."""
    rows_compare: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    @contextmanager
    def session(self, snapshot: str | None = None) -> Generator[Reading]:
        until = self.context.clock.monotonic() + _PATIENCE_S
        while True:
            with self._locked() as locked, self.database.session(snapshot) as reading:
                at = self._place(locked, reading.session)
                if self.since is None or self.since <= at:
                    if locked is not None:
                        locked.close()  # and the lock is gone
                    if self.first is None:
                        self.first, self.begun_ms = at, int(self.context.clock.now().timestamp() * 1000)
                    yield reading
                    return
            if self.context.stopping.is_set() or self.context.clock.monotonic() > until:
                raise Transient("the server does not show changes yet that its log has told of")
            self.context.clock.sleep(_PAUSE_S)

    def _place(self, locked: Session | None, session: Session) -> Place:
        where = self.config.place(TITLE)
        if locked is None:
            at = server.of_snapshot(session)
            if at is None:
                raise no_place(where, "writes no binary log")
            return at
        return server.end(locked, where, self.config.db_name)

    @contextmanager
    def _locked(self) -> Generator[Session | None]:
        """Where a server does not say which place of the log a state has, nobody writes to the table while both are
        taken; None where it says."""
        with connected(self.config, self.context) as (session, _):
            if _knows_places(session):
                yield None
                return
            session.execute(f"SET SESSION lock_wait_timeout = {_LOCK_S}, wait_timeout = {HELD_S}")
            self._lock(session)
            yield session

    def _lock(self, session: Session) -> None:
        until = self.context.clock.monotonic() + _PATIENCE_S
        while True:
            try:
                session.execute(f"LOCK TABLES {self.source} READ")
            except ConfigError as error:
                if error.code == "PERMISSION_DENIED":
                    raise may_not_lock(self.source, error.message) from error
                if no_table(error):
                    raise Transient(
                        f"{self.source} is no longer there.", hint="Run again: tables are listed anew."
                    ) from error
                raise
            except Transient:
                if self.context.stopping.is_set() or self.context.clock.monotonic() > until:
                    raise
                self.context.clock.sleep(_PAUSE_S)
            else:
                return
