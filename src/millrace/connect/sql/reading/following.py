"""The incremental lane: what came or changed since the position, in each query mode.

A position is the last value read, and, where the database tells rows apart by when they were written, what was seen
with it: a row that was committed late has an old value, and is found by not having been seen. Elsewhere the rows of
the last moment are read once more, and those that were seen are known by their hashes. Numbers leave gaps where rows
are committed late.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from millrace.connect.sql.reading import moment
from millrace.connect.sql.reading.database import Part, Session
from millrace.connect.sql.reading.plan import BEGINNING, Plan
from millrace.connect.sql.reading.statements import after, joined, tail
from millrace.data.batch import JSON, REPEATED, Checkpoint, Item, Mark, Passed, Refused
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError, ObjectRefused

_Rows: TypeAlias = pa.RecordBatch | Refused

# Rows with the highest numbers among which gaps are looked for, and how many gaps are kept.
GAPS_AMONG, MOST_GAPS = 10_000, 1_000


def begin(plan: Plan) -> Iterator[Item]:
    """Takes the position from which the lane will follow: nothing before it is read in this lane, but for the last
    moment of a relation of which nobody tells what is newer."""
    mode, relation = plan.mode, plan.relation
    state: dict[str, JSON] = {}
    marks: tuple[Mark, ...] = ()
    with plan.database.session() as session:
        if mode.incrementing is not None:
            state["inc"] = _highest(plan, session, mode.incrementing)
            state["gaps"] = _gaps(plan, session, state["inc"])
        if mode.timestamp is not None:
            state["ts"] = _newest(plan, session, mode.timestamp)
            if not relation.versioned:
                if plan.reading.stream.historical and state["ts"] is not None:
                    yield from _all(
                        plan, session, [*_before_number(plan, state), moment.condition(plan, state["ts"])], ()
                    )
                marks = moment.marks(plan, session, state["ts"])
        if relation.versioned and (mode.timestamp is not None or mode.mode == "xmin"):
            state["seen"] = plan.database.seen(session, relation, _recent(plan, state))
    if mode.mode == "full_load":
        # The history is the first reading of everything.
        state["since"] = plan.context.clock.now().isoformat()
    position = Mark(BEGINNING, json.dumps(state).encode(), replace=True)
    yield Checkpoint(plan.cursor(**state), (position, *marks))


def before(plan: Plan) -> list[str]:
    """What this lane does not read, as conditions for the history. Where rows merge, some may come in both."""
    marks = plan.reading.memory.recall(BEGINNING)
    state: dict[str, Any] = json.loads(marks[-1]) if marks else {}
    database, relation, ts = plan.database, plan.relation, plan.mode.timestamp
    conditions: list[str] = []
    if ts is not None and (plan.appends or not relation.versioned):
        conditions.append(_until_value(plan, ts, "<=" if relation.versioned else "<", state.get("ts")))
    if plan.appends:
        conditions += _before_number(plan, state)
        if relation.versioned and state.get("seen") is not None:
            conditions.append(f"NOT ({database.unseen(state['seen'])})")
    return conditions


def check_read(plan: Plan) -> None:
    """What the history left to this lane is what this lane will read. Raises ObjectRefused "cannot_tell_apart"."""
    marks = plan.reading.memory.recall(BEGINNING)
    if marks and plan.appends and plan.relation.versioned:
        with plan.database.session() as session:
            _check_written(plan, session, json.loads(marks[-1]))


def _check_written(plan: Plan, session: Session, state: dict[str, Any]) -> None:
    """Where a database writes a table anew, all its rows are newer than those that were seen. Where they merge that is
    no matter; appended they would be there twice, or those that the history still has to read not at all."""
    ts, seen = plan.mode.timestamp, state.get("seen")
    if not plan.appends or ts is None or state.get("ts") is None or seen is None:
        return
    if not plan.database.written_anew(session, plan.relation, seen):
        return
    column, source = plan.relation.of(ts), plan.relation.source
    read = f"{plan.database.quoted(ts)} <= {plan.database.literal(state['ts'], column)}"
    rows = f"EXISTS (SELECT 1 FROM {source} WHERE {read})"
    as_before = f"EXISTS (SELECT 1 FROM {source} WHERE {read} AND NOT ({plan.database.unseen(seen)}))"
    if session.value(f"SELECT CASE WHEN {rows} AND NOT {as_before} THEN 1 ELSE 0 END") == "1":
        raise ObjectRefused(
            f"{plan.relation.name} was written anew at the source, as when a column gets another type, and nothing "
            f"tells which of its rows up to {state['ts']} were appended before",
            hint="Read it into a fresh table: `millrace resync --mode drop-and-load`.",
            code="cannot_tell_apart",
        )


def _before_number(plan: Plan, state: dict[str, Any]) -> list[str]:
    inc = plan.mode.incrementing
    if inc is None:
        return []
    gaps = _late_numbers(plan, state)
    return [_until_value(plan, inc, "<=", state.get("inc")), f"NOT COALESCE({gaps}, FALSE)" if gaps else ""]


def _until_value(plan: Plan, name: str, compared: str, value: str | None) -> str:
    """Rows up to the value, and those without one."""
    quoted = plan.database.quoted(name)
    known = f"{quoted} {compared} {plan.database.literal(value, plan.relation.of(name))}" if value is not None else ""
    return joined("OR", (f"{quoted} IS NULL", known))


def follow(plan: Plan, state: dict[str, Any]) -> Iterator[Item]:
    """Rows since the position."""
    with plan.database.session() as session:
        _check_written(plan, session, state)
        match plan.mode.mode:
            case "delta":
                yield from _delta(plan, session, state)
            case "increment_append_only":
                yield from _counted(plan, session, state)
            case "change_data_capture":
                yield from _both(plan, session, state)
            case "xmin":
                yield from _unseen(plan, session, state)
            case "full_load":
                raise MillraceError("a full load has no position to follow")


def _delta(plan: Plan, session: Session, state: dict[str, Any]) -> Iterator[Item]:
    """By the timestamp, and the key among rows of one moment."""
    ts, until = _timestamp(plan), _until(plan, session)
    if not plan.relation.versioned:
        yield from _from_moment(plan, session, state, [until])
        return
    names, now = (ts, *(name for name in plan.relation.pages if name != ts)), _seen_now(plan, session, state)
    behind, late = _behind(plan, names, state), _late(plan, state)
    end: dict[str, JSON] | None = None
    for item in _all(plan, session, [until, late, f"NOT ({behind})"] if late else None, names):
        end = {"ts": state["ts"], "key": state.get("key")} | now
        yield item
    for item in _paged(plan, session, [until, behind], names):
        if isinstance(item, _At):
            end = _position(item.values) | now
            if item.exact:
                yield Checkpoint(plan.cursor(**end))
        else:
            yield item
    if end is not None:
        yield Checkpoint(plan.cursor(**end))


def _counted(plan: Plan, session: Session, state: dict[str, Any]) -> Iterator[Item]:
    """New rows, by the column that rises."""
    inc = _incrementing(plan)
    above, late = _above(plan, inc, state.get("inc")), _late_numbers(plan, state)
    gaps = _gaps(plan, session, _highest(plan, session, inc))
    end: dict[str, JSON] | None = None
    for item in _all(plan, session, [late] if late else None, (inc,)):
        end = {"inc": state["inc"], "gaps": gaps}
        yield item
    for item in _paged(plan, session, [above], (inc,)):
        if isinstance(item, _At):
            at = item.values[0]
            end = {"inc": at, "gaps": [one for one in gaps if one[0] < int(at)] if gaps else []}
            yield Checkpoint(plan.cursor(**end))
        else:
            yield item
    if end is not None:
        yield Checkpoint(plan.cursor(**end))


def _both(plan: Plan, session: Session, state: dict[str, Any]) -> Iterator[Item]:
    """New rows by the column that rises, then rows that changed by the timestamp; one state of the database."""
    ts, inc, now = _timestamp(plan), _incrementing(plan), _seen_now(plan, session, state)
    until = _until(plan, session)
    # A row that is too young waits, and comes as one that changed.
    ripe = f"{plan.database.quoted(ts)} IS NULL OR {until}"
    fresh = joined("OR", (_above(plan, inc, state.get("inc")), _late_numbers(plan, state)))
    found = False
    for item in _paged(plan, session, [fresh, ripe], (inc,)):
        found = True
        if not isinstance(item, _At):
            yield item
    changed = [until, f"NOT COALESCE({fresh}, FALSE)"]
    top = _highest(plan, session, inc)
    highest = {"inc": top, "gaps": _gaps(plan, session, top)}
    if not plan.relation.versioned:
        yield from _from_moment(plan, session, state | highest, changed, found=found)
        return
    changed.append(joined("OR", (_behind(plan, (ts, inc), state), _late(plan, state))))
    for item in _paged(plan, session, changed, (ts, inc)):
        found = True
        if not isinstance(item, _At):
            yield item
    if found:
        yield Checkpoint(plan.cursor(ts=_newest(plan, session, ts), **highest, **now))


def _unseen(plan: Plan, session: Session, state: dict[str, Any]) -> Iterator[Item]:
    """All that was written since, in no order."""
    now = _seen_now(plan, session, state)
    found = False
    for item in _all(plan, session, [plan.database.unseen(state["seen"])], ()):
        found = True
        yield item
    if found:
        yield Checkpoint(plan.cursor(**now))


def _from_moment(
    plan: Plan, session: Session, state: dict[str, Any], where: Sequence[str], *, found: bool = False
) -> Iterator[Item]:
    """From the last moment on, that one included, without the rows of it that were seen: for relations of which nobody
    tells what is newer."""
    database, ts, start = plan.database, _timestamp(plan), state.get("ts")
    known = moment.known(plan, start) if start is not None else None
    again = ""
    if start is not None:
        column = plan.relation.of(ts)
        again = f"{database.quoted(ts)} >= {database.literal(start, column)}"
    passed = 0
    for item in _all(plan, session, [*where, again], (ts,)):
        if isinstance(item, Refused):
            found = True
            yield item
            continue
        kept = known.without(item) if known else item
        passed += item.num_rows - kept.num_rows
        if kept.num_rows:
            found = True
            yield kept
    if passed:
        yield Passed(passed, REPEATED)
    if found:
        newest = _newest(plan, session, ts)
        yield Checkpoint(plan.cursor(**(state | {"ts": newest})), moment.marks(plan, session, newest))


@dataclass(frozen=True, slots=True)
class _At:
    """All rows up to these values of the columns of the order were yielded. ``exact``: and no row has the same."""

    values: tuple[str, ...]
    exact: bool


def _all(plan: Plan, session: Session, where: Sequence[str] | None, names: Sequence[str]) -> Iterator[_Rows]:
    """Rows for which all conditions hold, without positions on the way."""
    if where is not None:
        for part in session.parts(plan.relation, tail(plan.database, where, names), ()):
            yield from _items(part)


def _paged(plan: Plan, session: Session, where: Sequence[str], names: Sequence[str]) -> Iterator[_Rows | _At]:
    """Page after page in the order of the columns, each behind the last row of the one before."""
    pages = plan.relation.pages
    # Where the columns do not tell rows apart, a page could end within rows that look the same.
    exact = bool(pages and set(pages) <= set(names)) or plan.mode.incrementing in names
    limit = plan.page_rows if exact else None
    at: tuple[str, ...] | None = None
    while True:
        behind = after(plan.database, plan.relation, names, at) if at is not None else ""
        count = 0
        for part in session.parts(plan.relation, tail(plan.database, [*where, behind], names, limit), names):
            count += part.count
            yield from _items(part)
            values = tuple(value for value in part.last or () if value is not None)
            if values and len(values) == len(names):
                at = values
                yield _At(values, exact)
        if limit is None or count < limit:
            return


def _items(part: Part) -> Iterator[_Rows]:
    if part.rows.num_rows:
        yield part.rows
    if part.refused is not None:
        yield Refused(part.refused)


def _position(values: Sequence[str]) -> dict[str, JSON]:
    return {"ts": values[0], "key": list(values[1:])} if len(values) > 1 else {"ts": values[0]}


def _behind(plan: Plan, names: Sequence[str], state: dict[str, Any]) -> str:
    """Rows behind the position, by the key too where it has one."""
    if state.get("ts") is None:
        return f"{plan.database.quoted(names[0])} IS NOT NULL"
    key = state.get("key")
    if key and len(key) == len(names) - 1:
        return after(plan.database, plan.relation, names, (state["ts"], *key))
    return after(plan.database, plan.relation, names[:1], (state["ts"],))


def _above(plan: Plan, name: str, value: str | None) -> str:
    if value is None:
        return f"{plan.database.quoted(name)} IS NOT NULL"
    return after(plan.database, plan.relation, (name,), (value,))


def _late(plan: Plan, state: dict[str, Any]) -> str:
    """Rows from somewhat before the last moment on that were not seen then; empty where nobody can tell."""
    ts, value = _timestamp(plan), state.get("ts")
    if value is None or state.get("seen") is None:
        return ""
    back = plan.database.back(value, plan.relation.of(ts))
    return joined("AND", (f"{plan.database.quoted(ts)} >= {back}", plan.database.unseen(state["seen"])))


def _gaps(plan: Plan, session: Session, highest: str | None) -> list[list[int]]:
    """Stretches of numbers that no row had among the last ones up to the highest: those of rows that are not committed
    yet, and those that never will be."""
    column = plan.relation.of(_incrementing(plan))
    if highest is None or column.kind != "whole":
        return []
    name = plan.database.quoted(column.name)
    last = f"SELECT {name} AS n FROM {plan.relation.source} WHERE {name} IS NOT NULL ORDER BY {name} DESC"
    pairs = f"SELECT n, LEAD(n) OVER (ORDER BY n) AS following FROM ({last} LIMIT {GAPS_AMONG}) AS latest"
    found = session.pairs(f"SELECT n, following FROM ({pairs}) AS gaps WHERE following > n + 1 ORDER BY n DESC")
    return [[low + 1, high - 1] for low, high in found[:MOST_GAPS]][::-1]


def _late_numbers(plan: Plan, state: dict[str, Any]) -> str:
    """Rows with a number that no row had then."""
    name = plan.database.quoted(_incrementing(plan))
    return joined("OR", [f"{name} BETWEEN {low} AND {high}" for low, high in state.get("gaps") or ()])


def _recent(plan: Plan, state: dict[str, Any]) -> str:
    """Rows among which late ones will be looked for; all, where that is not by a timestamp."""
    ts, value = plan.mode.timestamp, state.get("ts")
    if ts is None or value is None:
        return ""
    return f"{plan.database.quoted(ts)} >= {plan.database.back(value, plan.relation.of(ts))}"


def _seen_now(plan: Plan, session: Session, state: dict[str, Any]) -> dict[str, JSON]:
    if not plan.relation.versioned:
        return {}
    return {"seen": plan.database.seen(session, plan.relation, _recent(plan, state))}


def _timestamp(plan: Plan) -> str:
    assert plan.mode.timestamp is not None
    return plan.mode.timestamp


def _incrementing(plan: Plan) -> str:
    assert plan.mode.incrementing is not None
    return plan.mode.incrementing


def _until(plan: Plan, session: Session) -> str:
    """The condition that a row is old enough."""
    column = plan.relation.of(_timestamp(plan))
    moment = plan.database.until(session, column, plan.mode.delay_ms)
    return f"{plan.database.quoted(column.name)} < {plan.database.literal(moment, column)}"


def _newest(plan: Plan, session: Session, name: str) -> str | None:
    quoted = plan.database.quoted(name)
    return session.value(f"SELECT max({quoted}) FROM {plan.relation.source} WHERE {_until(plan, session)}")


def _highest(plan: Plan, session: Session, name: str) -> str | None:
    return session.value(f"SELECT max({plan.database.quoted(name)}) FROM {plan.relation.source}")
