"""Reads an object by queries: its history, what came since in each query mode, or chosen days once more.

A position is the highest value read of the mode's field. Documents become visible late, with a value below it: several
machines give them, and each has a clock of its own. So those somewhat below the position are read again, and the ones
that were seen are known by their hashes. The history is what lies below that window, and what has no value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from bson.objectid import ObjectId

from millrace.connect.sql.reading import whole
from millrace.data.batch import REPEATED, Checkpoint, Item, Mark, Passed
from millrace.data.dataclass import dataclass
from millrace.errors import ObjectRefused
from millrace.sources.mongodb import ranges, values
from millrace.sources.mongodb.catalog import Collection
from millrace.sources.mongodb.client import Client, majority
from millrace.sources.mongodb.documents import Document, split
from millrace.sources.mongodb.plan import BATCH_ROWS, Plan
from millrace.sources.mongodb.values import moment_of

# How far below the position documents are looked for that came late: by time, and in documents at most; where values
# are no moments, in documents alone.
BACK = timedelta(seconds=60)
MOST_BACK, COUNTED_BACK = 20_000, 1_000
_HASH_BYTES = 16
_SEEN, _BEGINNING = "seen", "beginning"


def read(plan: Plan) -> Iterator[Item]:
    """The documents of the plan's reading."""
    match plan.reading.lane:
        case "incremental":
            return _incremental(plan)
        case "historical":
            return _historical(plan)
        case "again":
            return _again(plan)


def _incremental(plan: Plan) -> Iterator[Item]:
    state = plan.state()
    if plan.queried.mode == "full_load":
        yield from _whole(plan, state)
    elif state is None:
        yield from _begin(plan)
    else:
        yield from _follow(plan, state)


def _whole(plan: Plan, state: dict[str, Any] | None) -> Iterator[Item]:
    if state is None:
        if plan.reading.stream.historical:
            # The history is the first reading of everything.
            yield Checkpoint(plan.cursor(since=plan.context.clock.now().isoformat()))
            return
        state = {}
    yield from whole.read(plan, plan.object.name, state, lambda known, cursor: ranges.read(plan, known, {}, cursor))


def _historical(plan: Plan) -> Iterator[Item]:
    state = plan.state() or {}
    if state.get("done"):
        return
    marks = plan.reading.memory.recall(_BEGINNING)
    windows = [_Window.of(one) for one in json.loads(marks[-1])] if marks else []
    # What lies in a window comes with the incremental lane.
    where = {"$nor": [one.condition() for one in windows]} if windows else {}
    yield from ranges.read(plan, state.get("ranges"), where, lambda known: plan.cursor(ranges=known))
    yield Checkpoint(plan.cursor(done=True), progress=1.0)


def _again(plan: Plan) -> Iterator[Item]:
    """Documents with chosen keys, or whose timestamp is in chosen days."""
    if plan.reading.keys:
        yield from ranges.chosen(plan)
        return
    name = plan.queried.timestamp
    if name is None:
        raise ObjectRefused(
            f"{plan.object.name} is queried in mode {plan.queried.mode}, which knows no days",
            hint="Use `millrace resync`, or choose a query mode with a timestamp.",
            code="cannot_reread",
        )
    days = [
        {
            name: {
                "$gte": datetime.combine(one.first, time(), UTC),
                "$lt": datetime.combine(one.last, time(), UTC) + timedelta(days=1),
            }
        }
        for one in plan.reading.slices
    ]
    for found in _documents(plan, {"$or": days}, None):
        yield from plan.rows.of(found)


@dataclass(slots=True)
class _Window:
    """The field of a mode, the highest value of it that was read, and the value from which documents are read again.

    None: there is no document with a value yet.
    """

    name: str
    high: Any = None
    low: Any = None

    @staticmethod
    def of(said: Sequence[Any]) -> _Window:
        name, high, low = said
        return _Window(name, *(None if one is None else values.of_extended(one) for one in (high, low)))

    def as_json(self) -> list[Any]:
        return [self.name, *(None if one is None else values.extended(one) for one in (self.high, self.low))]

    def condition(self) -> dict[str, Any]:
        """Documents from the window's low end on, those above it too."""
        return {self.name: {"$gte": self.low} if self.low is not None else {"$exists": True, "$ne": None}}


def _begin(plan: Plan) -> Iterator[Item]:
    """Takes the position from which the lane will follow. What lies in its window is read here where there is a
    history, which then leaves it out."""
    windows = [_Window(name) for name in _names(plan)]
    with plan.server.asked(plan.object.name) as client:
        for one in windows:
            _place(plan, client, one)
    passing = _Passing(plan, windows, set())
    told = plan.reading.stream.historical
    for found in _documents(plan, passing.condition(), None) if passing.placed else ():
        fresh = passing.fresh(found)
        if told:
            yield from plan.rows.of(fresh)
    yield passing.checkpoint(beginning=True)


def _follow(plan: Plan, state: dict[str, Any]) -> Iterator[Item]:
    windows = [_Window.of(one) for one in state["windows"]]
    known = {
        data[at : at + _HASH_BYTES]
        for data in plan.reading.memory.recall(_SEEN)
        for at in range(0, len(data), _HASH_BYTES)
    }
    passing, any_ = _Passing(plan, windows, known), False
    ordered = windows[0].name if len(windows) == 1 and _ordered(plan, windows[0].name) else None
    for found in _documents(plan, passing.condition(), ordered):
        fresh = passing.fresh(found)
        if fresh:
            any_ = True
            yield from plan.rows.of(fresh)
        if passed := len(found) - len(fresh):
            yield Passed(passed, REPEATED)
        if ordered is not None and fresh:
            yield passing.checkpoint()
    if any_ and ordered is None:
        yield passing.checkpoint()


@dataclass
class _Passing:
    """Documents as they pass: which of them are new, and the position behind them."""

    plan: Plan
    windows: list[_Window]
    known: set[bytes]
    _seen: list[tuple[tuple[Any, ...], bytes]] = field(default_factory=list[Any])
    _young: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self._young = _old_enough(self.plan)

    @property
    def placed(self) -> bool:
        return any(one.high is not None for one in self.windows)

    def condition(self) -> dict[str, Any]:
        return {"$or": [one.condition() for one in self.windows]} | self._young

    def fresh(self, found: Sequence[Document]) -> list[Document]:
        """Those that were not seen before."""
        new: list[Document] = []
        for one in found:
            said = hashlib.sha256((one.database or "").encode() + one.data).digest()[:_HASH_BYTES]
            document = values.of_bson(one.data)
            at = tuple(_at(document, window.name) for window in self.windows)
            for window, value in zip(self.windows, at, strict=True):
                if value is not None and (window.high is None or _above(value, window.high)):
                    window.high = value
            self._seen.append((at, said))
            if said not in self.known:
                new.append(one)
        if len(self._seen) > 4 * MOST_BACK:
            self._narrow()
        return new

    def checkpoint(self, *, beginning: bool = False) -> Checkpoint:
        self._narrow()
        place = [one.as_json() for one in self.windows]
        marks = [Mark(_SEEN, b"".join(sorted({said for _, said in self._seen})) or None, replace=True)]
        if beginning:
            marks.append(Mark(_BEGINNING, json.dumps(place).encode(), replace=True))
        return Checkpoint(self.plan.cursor(windows=place), tuple(marks))

    def _narrow(self) -> None:
        """The windows end nearer to the highest values, and what lies below is forgotten."""
        for place, window in enumerate(self.windows):
            if window.high is None:
                continue
            had = sorted((at[place] for at, _ in self._seen if _alike(at[place], window.high)), reverse=True)
            most = _most(window.high)
            behind = had[most - 1] if len(had) >= most else (had[-1] if had else None)
            low = _low(window.high, behind if len(had) >= most or moment_of(window.high) is None else None)
            if window.low is None or _above(low, window.low):
                window.low = low
        self._seen = [
            (at, said)
            for at, said in self._seen
            if any(
                window.low is not None and _alike(value, window.low) and not value < window.low
                for value, window in zip(at, self.windows, strict=True)
            )
        ]


def _names(plan: Plan) -> list[str]:
    mode = plan.queried
    return [name for name in (mode.incrementing, mode.timestamp) if name is not None]


def _ordered(plan: Plan, name: str) -> bool:
    """An index gives documents in the order of the field."""
    return plan.relation is not None and plan.relation.indexed(name) and len(plan.object.collections) == 1


def _place(plan: Plan, client: Client, window: _Window) -> None:
    """The highest value that there is, and the low end of its window."""
    name, where = window.name, window.condition() | _old_enough(plan)
    options: dict[str, Any] = {"projection": {name: 1}, "allow_disk_use": True}
    for one in plan.object.collections:
        collection = majority(client, one.database, one.name)
        if (top := collection.find_one(where, sort=[(name, -1)], **options)) is None:
            continue
        high = _at(top, name)
        behind = [*collection.find(where, sort=[(name, -1)], skip=_most(high) - 1, limit=1, **options)]
        if not behind and moment_of(high) is None:
            behind = [*collection.find(where, sort=[(name, 1)], limit=1, **options)]
        low = _low(high, _at(behind[0], name) if behind else None)
        if window.high is None or _above(high, window.high):
            window.high = high
        # Of several collections the window holds the widest.
        if window.low is None or _above(window.low, low):
            window.low = low


def _most(high: Any) -> int:
    return MOST_BACK if moment_of(high) is not None else COUNTED_BACK


def _low(high: Any, behind: Any) -> Any:
    """The low end of a window, from the highest value and the one so many documents behind as it holds at most."""
    moment = moment_of(high)
    if moment is None:
        return behind if _alike(behind, high) else high
    low: Any = ObjectId.from_datetime(moment - BACK) if isinstance(high, ObjectId) else moment - BACK
    return behind if _above(behind, low) else low


def _old_enough(plan: Plan) -> dict[str, Any]:
    """Documents that are not too young yet: those with a date to come would take the position with them."""
    mode, relation = plan.queried, plan.relation
    now: datetime = plan.server.hello()["localTime"].replace(tzinfo=UTC) - timedelta(milliseconds=mode.delay_ms)
    found: list[dict[str, Any]] = []
    if mode.timestamp is not None:
        found.append({mode.timestamp: {"$gte": now}})
    column = relation.find(mode.incrementing) if relation is not None and mode.incrementing is not None else None
    if column is not None and column.type == "ObjectId" and mode.delay_ms:
        found.append({column.name: {"$gte": ObjectId.from_datetime(now)}})
    return {"$nor": found} if found else {}


def _documents(plan: Plan, where: Mapping[str, Any], ordered: str | None) -> Iterator[list[Document]]:
    for one in plan.object.collections:
        yield from _of_collection(plan, one, where, ordered)


def _of_collection(
    plan: Plan, one: Collection, where: Mapping[str, Any], ordered: str | None
) -> Iterator[list[Document]]:
    options: dict[str, Any] = {"batch_size": BATCH_ROWS}
    if ordered is not None:
        options["sort"] = [(ordered, 1)]
    database = one.database if plan.object.merged else None
    with plan.server.asked(plan.object.name) as client:
        batches = majority(client, one.database, one.name).find_raw_batches(dict(where), **options)
    while True:
        with plan.server.asked(plan.object.name):
            batch = next(batches, None)
        if batch is None:
            return
        yield [Document(data, database=database) for data in split(batch)]


def _at(document: Mapping[str, Any], name: str) -> Any:
    """The value of a field, of a sub-document's by its dotted name; None where there is none."""
    found: Any = document
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _alike(one: Any, other: Any) -> bool:
    """Both are of one kind, so that they can be compared."""
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    kinds = ((int, float), str, datetime, ObjectId)
    return any(isinstance(one, kind) and isinstance(other, kind) for kind in kinds)


def _above(one: Any, other: Any) -> bool:
    return _alike(one, other) and one > other
