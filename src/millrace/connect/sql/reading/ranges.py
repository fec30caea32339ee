"""A whole relation, read in ranges of its key by several connections that see one state of the database."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from millrace.connect.sql.reading.database import NotJoined, Part, Session
from millrace.connect.sql.reading.plan import MOST_RANGES, Plan
from millrace.connect.sql.reading.statements import after, tail
from millrace.data.batch import JSON, Checkpoint, Item, Refused

# Parts that wait between the connections and the engine, for each connection.
_WAITING = 2
_LOOK_S = 0.2


@dataclass(slots=True)
class Range:
    """Keys above ``low`` up to ``high`` (None: without end), by the first column; read up to the key ``at``."""

    low: str | None = None
    high: str | None = None
    at: list[str] | None = None
    done: bool = False
    rows: int = 0

    def as_json(self) -> JSON:
        return [self.low, self.high, self.at, self.done, self.rows]


def read(plan: Plan, known: JSON, where: Sequence[str], cursor: Callable[[JSON], JSON]) -> Iterator[Item]:
    """All rows ``where`` (all conditions hold), with checkpoints on the way where the key allows it.

    ``known``: the ranges as an earlier read left them, None for a new one. ``cursor``: from the state of the ranges.
    The last checkpoint is the caller's.
    """
    with ExitStack() as stack:
        leader = stack.enter_context(plan.database.session())
        snapshot = leader.snapshot()
        ranges = [Range(*one) for one in known] if known else _cut(plan, leader)
        left = [place for place, one in enumerate(ranges) if not one.done]
        crew = _Crew(plan, ranges, where, left, snapshot)
        stack.callback(crew.end)
        crew.start(leader)
        whole = max(plan.relation.rows or 0, 1)
        for place, part in crew.parts():
            one = ranges[place]
            if part is None:
                one.done, one.at = True, None
            else:
                one.rows += part.count
                if part.rows.num_rows:
                    yield part.rows
                if part.refused is not None:
                    yield Refused(part.refused)
                if not plan.relation.pages or part.last is None or None in part.last:
                    continue
                one.at = [str(value) for value in part.last]
            if plan.relation.pages:
                progress = min(sum(one.rows for one in ranges) / whole, 0.99)
                yield Checkpoint(cursor([one.as_json() for one in ranges]), progress=progress)


def _cut(plan: Plan, session: Session) -> list[Range]:
    relation = plan.relation
    parts = min(-(-(relation.rows or 0) // plan.range_rows), MOST_RANGES)
    if not relation.pages or parts < 2:
        return [Range()]
    edges: list[Any] = plan.database.bounds(session, relation, relation.of(relation.pages[0]), parts)
    return [Range(low, high) for low, high in zip([None, *edges], [*edges, None], strict=True)]


@dataclass(slots=True)
class _Crew:
    """Threads with a connection each, which take one range after the other."""

    plan: Plan
    ranges: Sequence[Range]
    where: Sequence[str]
    left: list[int]
    snapshot: str | None
    _out: queue.Queue[tuple[int, Part | None] | BaseException | None] = field(init=False)
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])
    _sessions: list[Session] = field(default_factory=list[Session])
    _ended: threading.Event = field(default_factory=threading.Event)
    _taking: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # Without a common state every connection would see another one, so one connection reads all.
        most = self.plan.parallelism if self.snapshot is not None else 1
        count = max(min(most, len(self.left)), 1)
        self._out = queue.Queue(_WAITING * count)
        for number in range(count):
            self._threads.append(
                threading.Thread(target=self._work, args=(number,), daemon=True, name="millrace-range")
            )

    def start(self, leader: Session) -> None:
        """The first thread uses the connection that has the state of the database."""
        self._leader = leader
        for thread in self._threads:
            thread.start()

    def parts(self) -> Iterator[tuple[int, Part | None]]:
        """Parts of ranges as they come; None behind the last of a range. Raises what a thread raised."""
        running = len(self._threads)
        while running:
            item = self._out.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item

    def end(self) -> None:
        """No thread runs any more."""
        self._ended.set()
        if any(thread.is_alive() for thread in self._threads):
            for session in self._sessions:
                session.cancel()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    _leader: Session = field(init=False)

    def _work(self, number: int) -> None:
        try:
            with ExitStack() as stack:
                session = self._leader
                if number:
                    session = stack.enter_context(self.plan.database.session(self.snapshot))
                self._sessions.append(session)
                while (place := self._next()) is not None:
                    for part in session.parts(self.plan.relation, self._tail(self.ranges[place]), self._names):
                        if not self._put((place, part)):
                            return
                    self._put((place, None))
            self._put(None)
        except NotJoined:  # the first of the threads takes what is left
            self._put(None)
        except BaseException as error:  # it is raised again by whoever takes the parts
            self._put(error)

    @property
    def _names(self) -> Sequence[str]:
        return self.plan.relation.pages

    def _next(self) -> int | None:
        with self._taking:
            return self.left.pop(0) if self.left and not self._ended.is_set() else None

    def _put(self, item: tuple[int, Part | None] | BaseException | None) -> bool:
        """False when nobody wants it any more."""
        while not self._ended.is_set():
            try:
                self._out.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False

    def _tail(self, one: Range) -> str:
        database, relation, names = self.plan.database, self.plan.relation, self._names
        conditions = list(self.where)
        if names:
            first = relation.of(names[0])
            if one.at is not None:
                conditions.append(after(database, relation, names, one.at))
            elif one.low is not None:
                conditions.append(f"{database.quoted(first.name)} > {database.literal(one.low, first)}")
            if one.high is not None:
                conditions.append(f"{database.quoted(first.name)} <= {database.literal(one.high, first)}")
        return tail(database, conditions, names)
