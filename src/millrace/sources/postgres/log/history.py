"""The history of a table whose changes come from the log, in a snapshot that is not older than the log's place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import field, replace
from typing import Any

from millrace.connect.log import Following
from millrace.connect.source import Clock
from millrace.connect.sql.reading import ranges, reader
from millrace.connect.sql.reading.plan import Plan
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.dataclass import dataclass
from millrace.errors import Transient
from millrace.sources.postgres.database import Postgres
from millrace.sources.postgres.log.snapshots import CURRENT, END, Snapshot
from millrace.sources.postgres.session import Session

_PATIENCE_S = 30.0
_PAUSE_S = 0.05
# A standby shows a commit a moment before it says that it is so far.
_AHEAD_BYTES = 1 << 30


def read(plan: Plan) -> Iterator[Item]:
    """Rows of the table, in ranges of its key; the cursor holds what the first of the snapshots sees.

    Rows that are appended are read in one go: of two snapshots the second would see rows that come from the log too.
    """
    if plan.reading.lane == "again":
        yield from reader.chosen(replace(plan, database=_seeing(plan)))
        return
    cursor: Any = plan.reading.cursor or {}
    if cursor.get("done"):
        return
    if plan.appends:
        plan = replace(plan, relation=replace(plan.relation, key=(), indexes=()))
        cursor = {}
    database = _seeing(plan)

    def place(**more: JSON) -> JSON:
        end, timeline = database.upto
        begun = {"snapshot": database.first, "begun_ms": database.begun_ms, "lsn": end, "timeline": timeline}
        return {"v": 1, **(begun if "snapshot" not in cursor else {name: cursor.get(name) for name in begun}), **more}

    yield from ranges.read(
        replace(plan, database=database), cursor.get("ranges"), (), lambda known: place(ranges=known)
    )
    yield Checkpoint(place(done=True), progress=1.0)


def seen(following: Following) -> list[tuple[int, int]]:
    """Places behind that of the log up to which histories have seen what it tells of, each with its timeline; none
    where a person has said from where the log is read."""
    from millrace.sources.postgres.log.wire import lsn

    if following.cursor.get("timeline") is None:
        return []
    histories: list[Any] = [one.history for one in following.streams.values() if one.history]
    places = [(lsn(one["lsn"]), one["timeline"]) for one in histories if one.get("timeline")]
    return [place for place in places if place[0] > lsn(following.cursor["lsn"])]


def _seeing(plan: Plan) -> Seeing:
    log: Any = plan.reading.log or {"unseen": []}
    assert isinstance(plan.database, Postgres)
    return Seeing(plan.database, list(log["unseen"]), plan.context.stopping.is_set, plan.context.clock)


@dataclass
class Seeing:
    """The database in snapshots that see all transactions whose changes were taken from the log, and nothing that a
    crash of the server would take back."""

    database: Postgres
    unseen: list[int]
    stopping: Callable[[], bool]
    clock: Clock
    first: str | None = None
    begun_ms: int | None = None
    """When the first snapshot was taken; no row of the history is ingested before."""
    upto: tuple[str | None, int | None] = (None, None)
    """In front of this place of the log is all that the first snapshot sees; with the timeline of a primary."""
    rows_compare: bool = field(init=False)

    def __post_init__(self) -> None:
        self.rows_compare = self.database.rows_compare

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    @contextmanager
    def session(self, snapshot: str | None = None) -> Generator[Session]:
        until = self.clock.monotonic() + _PATIENCE_S
        while True:
            with self.database.session(snapshot) as session:
                text = session.value(CURRENT.removeprefix("SELECT ").removesuffix("::text"))
                assert text is not None
                if all(Snapshot.of(text).sees(one) for one in self.unseen):
                    if snapshot is None:
                        upto = self._on_disk(session)
                        if self.first is None:
                            self.first, self.upto = text, upto
                            self.begun_ms = int(self.clock.now().timestamp() * 1000)
                    yield session
                    return
            if self.stopping() or self.clock.monotonic() > until:
                raise Transient("the server does not show changes yet that its log has told of")
            self.clock.sleep(_PAUSE_S)

    def _on_disk(self, session: Session) -> tuple[str, int | None]:
        """In front of this place of the log is all that the session sees, and it is on the server's disk; with the
        timeline of a primary.

        What is taken back, or does not wait for the disk, is over in a snapshot before it is there: a crash gives its
        numbers to others, whose changes would be taken for those in the history.
        """
        # Imported here: they bring another driver, which whoever follows a log has.
        from millrace.sources.postgres.log.log import errors_of
        from millrace.sources.postgres.log.publishing import Side
        from millrace.sources.postgres.log.wire import lsn, lsn_text

        for end, missing, _, timeline in session.rows(END):
            if missing:
                server = self.database.server
                with closing(Side(server.uri(), errors_of(server.config))) as side:
                    side.must_flush(self.clock)
            return end, timeline
        ((replayed,),) = session.rows("SELECT pg_last_wal_replay_lsn()::text")
        return lsn_text(lsn(replayed) + _AHEAD_BYTES), None
