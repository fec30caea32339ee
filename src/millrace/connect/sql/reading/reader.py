"""Reads a relation: its history, what came since, or chosen days once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from millrace.connect.sql.reading import following, ranges, whole
from millrace.connect.sql.reading.plan import Plan
from millrace.connect.sql.reading.statements import among, tail
from millrace.data.batch import Checkpoint, Item, Refused
from millrace.errors import ObjectRefused

# Keys in one statement.
_KEYS = 500


def read(plan: Plan) -> Iterator[Item]:
    """The rows of the plan's reading."""
    match plan.reading.lane:
        case "incremental":
            return _incremental(plan)
        case "historical":
            return _historical(plan)
        case "again":
            return _again(plan)


def snapshot(plan: Plan) -> Iterator[Item]:
    """All rows as one state of the database has them."""
    for item in ranges.read(plan, None, (), lambda _: None):
        if not isinstance(item, Checkpoint):
            yield item


def chosen(plan: Plan) -> Iterator[Item]:
    """Rows with the keys of the reading."""
    keys, names = plan.reading.checked_keys(), plan.reading.stream.key
    groups = [keys[first : first + _KEYS] for first in range(0, len(keys), _KEYS)]
    return _those(plan, [among(plan.database, plan.relation, names, group) for group in groups])


def _those(plan: Plan, conditions: Sequence[str]) -> Iterator[Item]:
    with plan.database.session() as session:
        for where in conditions:
            for part in session.parts(plan.relation, tail(plan.database, [where]), ()):
                if part.rows.num_rows:
                    yield part.rows
                if part.refused is not None:
                    yield Refused(part.refused)


def _incremental(plan: Plan) -> Iterator[Item]:
    state = plan.state()
    repeats = plan.mode.mode == "full_load"
    if state is None:
        if not (repeats and plan.repeats_whole):
            yield from following.begin(plan)
            return
        state = plan.cursor(since=None)
    if not repeats:
        yield from following.follow(plan, state)
        return
    yield from whole.read(plan, plan.relation.name, state, lambda known, cursor: ranges.read(plan, known, (), cursor))


def _historical(plan: Plan) -> Iterator[Item]:
    state = plan.state()
    if state is not None and state.get("done"):
        return
    known = state.get("ranges") if state is not None else None
    yield from ranges.read(plan, known, following.before(plan), lambda found: plan.cursor(ranges=found))
    following.check_read(plan)
    yield Checkpoint(plan.cursor(done=True), progress=1.0)


def _again(plan: Plan) -> Iterator[Item]:
    """Rows with chosen keys, or whose timestamp is in chosen days."""
    if plan.reading.keys:
        return chosen(plan)
    if plan.mode.timestamp is None:
        raise ObjectRefused(
            f"{plan.relation.name} is queried in mode {plan.mode.mode}, which knows no days",
            hint="Use `millrace resync`, or choose a query mode with a timestamp.",
            code="cannot_reread",
        )
    column = plan.relation.of(plan.mode.timestamp)
    quoted: Any = plan.database.quoted(column.name)
    days = [
        f"{quoted} >= {plan.database.literal(one.first.isoformat(), column)} AND "
        f"{quoted} < {plan.database.literal((one.last + timedelta(days=1)).isoformat(), column)}"
        for one in plan.reading.slices
    ]
    return _those(plan, [" OR ".join(f"({one})" for one in days)])
