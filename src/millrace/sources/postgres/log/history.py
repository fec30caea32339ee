"""The history of a table whose changes come from the log, in a snapshot that is not older than the log's place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from typing import Any

from millrace.connect.source import Clock
from millrace.connect.sql.reading import ranges, reader
from millrace.connect.sql.reading.plan import Plan
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.dataclass import dataclass
from millrace.errors import Transient
from millrace.sources.postgres.database import Postgres
from millrace.sources.postgres.log.snapshots import CURRENT, Snapshot
from millrace.sources.postgres.session import Session

_PATIENCE_S = 30.0
_PAUSE_S = 0.05


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
        begun = {"snapshot": database.first, "begun_ms": database.begun_ms}
        return {"v": 1, **(begun if "snapshot" not in cursor else {name: cursor.get(name) for name in begun}), **more}

    yield from ranges.read(
        replace(plan, database=database), cursor.get("ranges"), (), lambda known: place(ranges=known)
    )
    yield Checkpoint(place(done=True), progress=1.0)


def _seeing(plan: Plan) -> Seeing:
    log: Any = plan.reading.log or {"unseen": []}
    assert isinstance(plan.database, Postgres)
    return Seeing(plan.database, list(log["unseen"]), plan.context.stopping.is_set, plan.context.clock)


@dataclass
class Seeing:
    """The database in snapshots that see all transactions whose changes were taken from the log."""

    database: Postgres
    unseen: list[int]
    stopping: Callable[[], bool]
    clock: Clock
    first: str | None = None
    begun_ms: int | None = None
    """When the first snapshot was taken; no row of the history is ingested before."""
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
                    if snapshot is None and self.first is None:
                        self.first, self.begun_ms = text, int(self.clock.now().timestamp() * 1000)
                    yield session
                    return
            if self.stopping() or self.clock.monotonic() > until:
                raise Transient("the server does not show changes yet that its log has told of")
            self.clock.sleep(_PAUSE_S)
