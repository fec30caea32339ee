"""Reads a relation: its history, what came since, or chosen days once more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from millrace.connect.source import Note
from millrace.connect.sql.reading import following, ranges
from millrace.connect.sql.reading.plan import Plan
from millrace.connect.sql.reading.statements import tail
from millrace.data.batch import Checkpoint, Item, Refused
from millrace.errors import ConfigError

# Runs begin at slots, some seconds late: a whole reading is due a little before its time.
_SLACK = timedelta(minutes=10)


def read(plan: Plan) -> Iterator[Item]:
    """The rows of the plan's reading."""
    match plan.reading.lane:
        case "incremental":
            return _incremental(plan)
        case "historical":
            return _historical(plan)
        case "again":
            return _again(plan)


def _incremental(plan: Plan) -> Iterator[Item]:
    state = plan.state()
    whole = plan.mode.mode == "full_load"
    if state is None:
        if not (whole and plan.repeats_whole):
            yield from following.begin(plan)
            return
        state = plan.cursor(since=None)
    if not whole:
        yield from following.follow(plan, state)
        return
    now = plan.context.clock.now()
    since = datetime.fromisoformat(state["since"]) if state.get("since") else None
    if state.get("ranges") is None and since is not None and now - since < plan.whole_every - _SLACK:
        then = since + plan.whole_every
        text = f"{plan.relation.name} was read whole at {since:%Y-%m-%d %H:%M} UTC, and is again from {then:%H:%M} on"
        plan.context.note(Note("whole_later", text, level="info"))
        return
    began = state.get("began") or now.isoformat()
    yield from ranges.read(plan, state.get("ranges"), (), lambda known: plan.cursor(ranges=known, began=began))
    yield Checkpoint(plan.cursor(since=began), progress=1.0)


def _historical(plan: Plan) -> Iterator[Item]:
    state = plan.state()
    if state is not None and state.get("done"):
        return
    known = state.get("ranges") if state is not None else None
    yield from ranges.read(plan, known, following.before(plan), lambda found: plan.cursor(ranges=found))
    yield Checkpoint(plan.cursor(done=True), progress=1.0)


def _again(plan: Plan) -> Iterator[Item]:
    """Rows whose timestamp is in chosen days."""
    if plan.mode.timestamp is None:
        raise ConfigError(
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
    with plan.database.session() as session:
        where = " OR ".join(f"({one})" for one in days)
        for part in session.parts(plan.relation, tail(plan.database, [where]), ()):
            if part.rows.num_rows:
                yield part.rows
            if part.refused is not None:
                yield Refused(part.refused)
