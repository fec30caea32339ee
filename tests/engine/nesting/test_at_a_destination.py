"""What SPLIT makes of a sequence of events, loaded in parts, leaves the items of the last event of each key alive."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.connect import registry
from millrace.connect.destination import Column, Destination, Load, Nest, Table
from millrace.connect.sql.destination import SqlDestination
from millrace.connect.testing.rows import META, Rows
from millrace.data import columns, types
from millrace.data.rows import to_batch
from millrace.engine.nesting.names import NestingState
from millrace.engine.nesting.nested import Nested, parsed

Event = dict[str, Any]
APART = (columns.OP_TYPE, columns.ARRAY_LENGTH, columns.INGESTED_AT)
BELOW = {
    "orgs_contact": (
        ("orgs_contact_phone_no", "orgs_contact"),
        ("orgs_contact_phone_no_calls", "orgs_contact_phone_no"),
    )
}
PARENTS = {"orgs_contact_phone_no": "orgs_contact", "orgs_contact_phone_no_calls": "orgs_contact_phone_no"}
BELOW["orgs_contact_phone_no"] = BELOW["orgs_contact"][1:]


@pytest.fixture
def destination(tmp_path: Path) -> Iterator[Destination[Any]]:
    made = registry.destination("duckdb")
    found = made(made.Config.model_validate({"path": str(tmp_path / "warehouse.duckdb")}))
    assert isinstance(found, SqlDestination)
    with found.connected():  # the file stays open between the loads
        yield found
    found.close()


def event(dice: random.Random, key: int) -> Event:
    """An organisation with contacts, their numbers, and the calls of each; any of it may be missing or empty."""

    def some(most: int, one: Any) -> Any:
        return None if dice.random() < 0.1 else [one() for _ in range(dice.randrange(most + 1))]

    def number() -> Event:
        return {"no": str(dice.randrange(99)), "calls": some(2, lambda: dice.randrange(9))}

    def contact() -> Event:
        return {"name": f"n{dice.randrange(99)}", "phone_no": some(2, number)}

    return {"_id": f"o{key}", "contact": some(3, contact), "address": {"lines": some(2, lambda: "road")}}


def batch(events: list[tuple[Event, str]], at: int) -> pa.RecordBatch:
    rows = to_batch([{**one, "_": 0} if op != "D" else {"_id": one["_id"], "_": 0} for one, op in events], None)
    rows = rows.append_column(columns.ours(columns.OP_TYPE, pa.string()), pa.array([op for _, op in events]))
    return rows.append_column(columns.ours(columns.INGESTED_AT, pa.int64()), pa.array([at] * len(events), pa.int64()))


def table(one: Nested, rows: pa.Table) -> Table:
    business = tuple(Column(f.name, f.type) for f in rows.schema if f.name not in APART)
    made = Table(one.stream, (*business, Column(columns.INGESTED_AT, types.LONG)), META, one.key or ("_id",))
    if one.parent is None:
        return made
    nest = Nest(
        columns.ID,
        columns.REF_ID,
        columns.ARRAY_INDEX,
        parent=PARENTS.get(one.stream),
        below=BELOW.get(one.stream, ()),
    )
    return replace(made, nest=nest)


def loaded(destination: Destination[Any], made: list[list[Nested]], segment: dict[str, int]) -> None:
    """All that was made is in the tables, those above first."""
    by_stream: dict[str, list[Nested]] = defaultdict(list)
    for batches in made:
        for one in batches:
            by_stream[one.stream].append(one)
    for stream in sorted(by_stream):
        some = by_stream[stream]
        rows = pa.concat_tables([pa.Table.from_batches([one.rows]) for one in some], promote_options="default")
        found = table(some[0], rows)
        destination.ensure(found)
        after = segment[stream]
        destination.load(found, Load("feed", after, after + 1, after + 1, Rows(rows, 7)))
        segment[stream] = after + 1


def live(destination: Destination[Any], stream: str, *names: str) -> list[tuple[Any, ...]]:
    if destination.schema(stream) is None:
        return []
    found = destination.query(f'SELECT * FROM "{stream}" WHERE NOT "{columns.MARKED_DELETED}"').to_pylist()
    return sorted(tuple(row.get(name) for name in names) for row in found)


@pytest.mark.parametrize("seed", [2, 4, 7])
def test_items_of_the_last_event_are_alive_and_no_others(destination: Destination[Any], seed: int) -> None:
    dice = random.Random(seed)
    state = NestingState({"orgs"})
    last: dict[str, Event | None] = {}
    segment: dict[str, int] = defaultdict(int)
    for at in range(1, 6):
        made: list[list[Nested]] = []
        for part in range(dice.randrange(1, 4)):
            events = [(event(dice, dice.randrange(6)), dice.choice("IUUUD")) for _ in range(dice.randrange(1, 6))]
            last |= {one["_id"]: None if op == "D" else one for one, op in events}
            made.append(parsed("orgs", batch(events, 10 * at + part), "SPLIT", key=("_id",), state=state))
            # A restart keeps the names.
            state = NestingState.of({"orgs"}, {stream: state.pairs(stream) for stream in state.names})
        loaded(destination, made, segment)
        orgs = [one for one in last.values() if one is not None]
        assert live(destination, "orgs", "_id") == sorted((one["_id"],) for one in orgs)
        contacts = [(one["_id"], n, c) for one in orgs for n, c in enumerate(one["contact"] or ())]
        assert live(destination, "orgs_contact", columns.REF_ID, columns.ARRAY_INDEX, "name") == sorted(
            (key, n, c["name"]) for key, n, c in contacts
        )
        numbers = [p for _, _, c in contacts for p in c["phone_no"] or ()]
        assert live(destination, "orgs_contact_phone_no", "no") == sorted((p["no"],) for p in numbers)
        calls = [c for p in numbers for c in p["calls"] or ()]
        assert live(destination, "orgs_contact_phone_no_calls", "value") == sorted((c,) for c in calls)
        lines = [line for one in orgs for line in one["address"]["lines"] or ()]
        assert len(live(destination, "orgs_address_lines", "value")) == len(lines)
