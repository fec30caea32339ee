"""A whole relation, read in ranges of its key by several connections that see one state of the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import field
from typing import Any

from millrace.connect.crew import Crew
from millrace.connect.sql.reading.database import NotJoined, Part, Session
from millrace.connect.sql.reading.plan import MOST_RANGES, Plan
from millrace.connect.sql.reading.statements import after, tail
from millrace.data.batch import JSON, Checkpoint, Item, Refused
from millrace.data.dataclass import dataclass


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
        readers = _Readers(plan, ranges, where, leader, snapshot)
        # Without a common state every connection would see another one, so one connection reads all.
        most = plan.parallelism if snapshot is not None else 1
        crew = Crew(max(min(most, len(left)), 1), left, readers.work)
        stack.enter_context(crew.working(readers.cancel))
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


@dataclass(frozen=True, slots=True)
class _Readers:
    """The work of each connection. The first one is ``leader``, which has the state of the database."""

    plan: Plan
    ranges: Sequence[Range]
    where: Sequence[str]
    leader: Session
    snapshot: str | None
    sessions: list[Session] = field(default_factory=list[Session])

    def work(self, crew: Crew[Part], number: int) -> None:
        with ExitStack() as stack:
            session = self.leader
            if number:
                try:
                    session = stack.enter_context(self.plan.database.session(self.snapshot))
                except NotJoined:  # the first one takes what is left
                    return
            self.sessions.append(session)
            while (place := crew.next()) is not None:
                for part in session.parts(self.plan.relation, self._tail(self.ranges[place]), self.plan.relation.pages):
                    if not crew.put(place, part):
                        return
                crew.put(place, None)

    def cancel(self) -> None:
        for session in self.sessions:
            session.cancel()

    def _tail(self, one: Range) -> str:
        database, relation, names = self.plan.database, self.plan.relation, self.plan.relation.pages
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
