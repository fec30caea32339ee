"""Random nested events through random steps, policies, strategies and modes equal a plain reading of the same rules."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.duckdb_files import staying_open
from tests.engine.kit import PIPELINE, Rig, types

from millrace.control.pipeline import pipelines
from millrace.control.transforming import transformations
from millrace.data.batch import Checkpoint
from millrace.data.json_text import loads

__all__ = ["types"]

Row = dict[str, Any]


def on(kind: str) -> list[Row]:
    return [{"on": "EVENT_FIELD", "field": "kind", "op": "EQUALS", "value": kind}]


def named(name: str) -> list[Row]:
    return [{"on": "FIELD_NAME", "op": "EQUALS", "value": name}]


FAILING = {
    "type": "ADD_FIELD",
    "event_filters": on("fail"),
    "settings": {"name": "bad", "value": "STRING_TO_NUMBER(kind, 1)"},
}
BLOCKS: dict[str, Row] = {
    "drop": {"type": "DROP_EVENTS", "event_filters": on("drop")},
    "fail": FAILING,
    "twice": {"type": "ADD_FIELD", "settings": {"name": "twice", "value": "n * 2"}},
    "move": {"type": "RENAME_EVENTS", "event_filters": on("other"), "settings": {"name": "others"}},
    "hash": {"type": "HASH_FIELDS", "field_filters": named("kind"), "settings": {"algorithm": "MD5"}},
    "title": {"type": "RENAME_FIELDS", "field_filters": named("name"), "settings": {"name": "title"}},
    "lack": {"type": "DROP_FIELDS", "field_filters": named("v")},
}


def chained(names: str, row: Row) -> list[tuple[str, Row]]:
    """What the blocks of those names make of an event, one after the other. Filters see what is there by then."""
    stream = "orders"
    for name in names.split():
        match name:
            case "drop" if row["kind"] == "drop":
                return []
            case "fail" if row["kind"] == "fail":
                raise ValueError("fail")
            case "twice":
                row = row | {"twice": row["n"] * 2}
            case "move" if row["kind"] == "other":
                stream = "others"
            case "hash":
                row = row | {"kind": hashlib.md5(row["kind"].encode()).hexdigest()}
            case "title":
                row = {"title" if field == "name" else field: value for field, value in row.items()}
            case "lack":
                row = {field: value for field, value in row.items() if field != "v"}
            case _:
                pass
    return [(stream, row)]


HEAD = "from millrace.api import Event\ndef transform(event):\n    p = event.getProperties()\n"
STEPS: dict[str, tuple[str, str]] = {
    "none": ("none", ""),
    "identity": ("python", HEAD + "    return event\n"),
    "fields": ("python", HEAD + "    p['twice'] = p['n'] * 2\n    p.pop('v', None)\n    return event\n"),
    "sorting": (
        "python",
        HEAD + "    if p['kind'] == 'drop':\n        return None\n"
        "    if p['kind'] == 'fail':\n        raise ValueError('told to fail')\n    return event\n",
    ),
    "splitting": (
        "python",
        HEAD + "    if p['kind'] != 'other':\n        return event\n"
        "    return [event, Event('others', {'id': p.get('id'), 'n': p['n'], 'l': p.get('l')})]\n",
    ),
}  # fmt: skip


def stepped(step: str, row: Row) -> list[tuple[str, Row]]:
    """Event types and rows that come of an event. Raises ValueError where the step refuses it."""
    row = {name: value for name, value in row.items() if value is not None}
    kind = row["kind"]
    if step == "sorting":
        if kind == "drop":
            return []
        if kind == "fail":
            raise ValueError(kind)
    match step:
        case "fields":
            return [("orders", {name: value for name, value in row.items() if name != "v"} | {"twice": row["n"] * 2})]
        case "splitting" if kind == "other":
            made = {name: row[name] for name in ("id", "n", "l") if name in row}
            return [("orders", row), ("others", made)]
        case "none" | "identity" | "sorting" | "splitting":
            return [("orders", row)]
        case chain:
            return chained(chain, row)


Part = tuple[str, Row]
"""The table of a row and its values; those of items have `__hevo_ref` (text) and `__hevo_index`."""


def parts(strategy: str, stream: str, row: Row) -> list[Part]:
    """The rows of tables that an event becomes, its own first (loading.md 12.2)."""
    if strategy not in ("SPLIT", "FLAT"):
        return [(stream, row)]
    own: Row = {}
    arrays: list[tuple[str, list[Any]]] = []
    for name, value in row.items():
        _spread(value, name, own, arrays)
    if strategy == "FLAT":
        return [(stream, own | dict(arrays))]
    return [(stream, own), *_below(stream, str(row.get("id", "")), arrays)]


def _spread(value: Any, path: str, row: Row, arrays: list[tuple[str, list[Any]]]) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _spread(part, f"{path}_{name}" if path else name, row, arrays)
    elif isinstance(value, list):
        arrays.append((path, value))
    elif value is not None:
        row[path or "value"] = value


def _below(stream: str, ref: str, arrays: list[tuple[str, list[Any]]]) -> Iterator[Part]:
    for path, items in arrays:
        table = f"{stream}_{path}"
        for index, item in enumerate(items):
            row: Row = {}
            inner: list[tuple[str, list[Any]]] = []
            _spread(item, "", row, inner)
            yield table, row | {"__hevo_ref": ref, "__hevo_index": index}
            yield from _below(table, hashlib.sha256(f"{ref}|{path}|{index}".encode()).hexdigest(), inner)


NEW = {"extra", "o_w", "w"}
"""Fields that no row has before the policy is set."""


@dataclass
class Told:
    """What all runs so far ought to have made, event by event."""

    step: str
    strategy: str
    mode: str
    policy: Row
    rejects: list[tuple[int, str, Row]] = field(default_factory=list)
    passed: list[tuple[int, str, list[Part]]] = field(default_factory=list)
    filtered: int = 0

    def event(self, row: Row, *, free: bool) -> None:
        """``free``: no policy holds yet."""
        try:
            made = stepped(self.step, row)
        except ValueError:
            self.rejects.append((row["n"], "steps", row))
            return
        self.filtered += not made
        for stream, one in made:
            self.judge(stream, one, {} if free else self.policy)

    def judge(self, stream: str, row: Row, policy: Row) -> None:
        found = parts(self.strategy, stream, row)
        actions: list[str] = []
        kept: list[Part] = []
        for table, values in found:
            action = "evolve"
            columns, kinds = policy.get("columns", "evolve"), policy.get("types", "evolve")
            if stream == "others" and policy.get("tables", "evolve") != "evolve":
                action = policy["tables"]
            if columns != "evolve" and NEW & values.keys():
                action = columns
                values = {name: value for name, value in values.items() if name not in NEW}
            if kinds != "evolve" and isinstance(values.get("v"), str):
                fits = values["v"].isdigit()
                action = action if fits else kinds
                values = values | {"v": int(values["v"]) if fits else None}
            actions.append(action)
            if action != "discard_row":
                kept.append((table, values))
        keyless = self.mode != "append" and "id" not in row
        if actions[0] == "discard_row":
            self.filtered += 1
        elif "freeze" in actions or keyless:
            self.rejects.append((row["n"], stream, row))
        else:
            self.passed.append((row["n"], stream, kept))

    def relaxed(self) -> None:
        """The policy is gone, and what it refused tries again; the steps refuse what they refused."""
        waiting, self.rejects = self.rejects, []
        for n, stream, row in waiting:
            if stream == "steps":
                self.rejects.append((n, stream, row))
            else:
                self.judge(stream, row, {})

    def tables(self) -> dict[str, list[Row]]:
        latest: dict[tuple[str, Any], tuple[int, str, list[Part]]] = {}
        tables: dict[str, list[Row]] = {}
        if self.mode == "history":
            # Of each key the version that is valid now; items that an array lacks meanwhile stay.
            rows: dict[tuple[str, Any], Row] = {}
            for _, _, found in sorted(self.passed, key=lambda one: one[0]):
                for number, (table, row) in enumerate(found):
                    rows[table, (row["__hevo_ref"], row["__hevo_index"]) if number else row["id"]] = row
            for (table, _), row in rows.items():
                tables.setdefault(table, []).append(row)
            return tables
        for number, one in enumerate(sorted(self.passed, key=lambda one: one[0])):
            _, stream, found = one
            latest[stream, found[0][1]["id"] if self.mode == "merge" else number] = one
        for _, _, found in latest.values():
            for table, row in found:
                tables.setdefault(table, []).append(row)
        return tables


def same(got: Any, wanted: Any) -> bool:
    """Whether a cell says what was given, be it in the wider type of its column."""
    if got is None or wanted is None:
        return got is wanted
    if isinstance(wanted, (dict, list)):
        return alike(loads(got) if isinstance(got, str) else got, wanted)
    if isinstance(wanted, str) or isinstance(got, bool):
        return got == wanted
    if isinstance(wanted, bool):
        return got == ("true" if wanted else "false")
    try:
        return Decimal(str(got)) == Decimal(str(wanted))
    except InvalidOperation:
        return False


def alike(got: Any, wanted: Any) -> bool:
    """The same for nested values: fields of a struct that a value lacks are null; arrays within may be text."""
    if isinstance(wanted, list) and isinstance(got, str):
        got = loads(got)
    if isinstance(wanted, dict):
        names = wanted.keys() | got.keys() if isinstance(got, dict) else ()
        return isinstance(got, dict) and all(alike(got.get(name), wanted.get(name)) for name in names)
    if isinstance(wanted, list):
        whole = isinstance(got, list) and len(got) == len(wanted)
        return whole and all(alike(a, b) for a, b in zip(got, wanted, strict=True))
    return same(got, wanted)


def shown(rig: Rig) -> dict[str, list[Row]]:
    """The live rows of every table, without null cells."""
    destination = rig.destination()
    try:
        names = destination.query("SELECT table_name AS t FROM information_schema.tables").to_pylist()
        tables = {one["t"]: destination.query(f'SELECT * FROM "{one["t"]}"').to_pylist() for one in names}
    finally:
        destination.close()
    return {
        table: [
            {name: value for name, value in row.items() if value is not None}
            for row in rows
            if not row.get("__hevo__marked_deleted") and row.get("__hevo__is_active", True)
        ]
        for table, rows in tables.items()
        if table.startswith(("orders", "others"))
    }


def compare(rig: Rig, told: Told) -> None:
    wanted, there = told.tables(), shown(rig)
    for table in {*wanted, *there}:
        rows = wanted.get(table, [])
        child = table not in ("orders", "others")
        place = (lambda row: (row["__hevo_ref"], row["__hevo_index"])) if child else (lambda row: row["n"])
        found: dict[Any, list[Row]] = {}
        for row in there.get(table, []):
            at = (row.get("__hevo_ref_id"), row.get("__hevo_array_index")) if child else row["n"]
            found.setdefault(at, []).append({k: v for k, v in row.items() if not k.startswith("__hevo")})
        assert Counter(map(place, rows)) == Counter({at: len(some) for at, some in found.items()}), table
        for row in rows:
            values = {k: v for k, v in row.items() if not k.startswith("__hevo") and v is not None}
            some = found[place(row)]
            match = next(
                (one for one in some if one.keys() == values.keys() and all(same(one[k], values[k]) for k in one)), None
            )
            assert match is not None, (table, values, some)
            some.remove(match)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-100, max_value=100),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4),
    st.sampled_from(["12", "true", "null", "{}", "2026-01-01", "日本 é\"\\", ""]),
)  # fmt: skip
LEAVES = SCALARS.filter(lambda value: not isinstance(value, Decimal))


def events(*, new: bool, misfits: bool, kinds: list[str], within: bool) -> st.SearchStrategy[Row]:
    """``new``: fields come in that were not there before; ``misfits``: so do values of another type in ``v``.
    ``within``: nested values have such fields too, and values of any type."""
    w: Any = {"w": LEAVES} if new and within else {}
    leaves = LEAVES if within else st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
    item = st.fixed_dictionaries({"x": leaves}, optional={"t": st.lists(leaves, max_size=2), **w})
    inner = st.fixed_dictionaries({}, optional={"x": leaves, "y": st.fixed_dictionaries({"z": leaves}), **w})
    v = st.integers(-5, 5) | (st.sampled_from(["12", "x1"]) if misfits else st.none())
    return st.fixed_dictionaries(
        {"id": st.sampled_from([1, 2, 3, 4, 5, 1, 2, 3, 4, None]), "kind": st.sampled_from(kinds)},
        optional={
            "name": st.sampled_from(["a", "Ünï", "日本"]),
            "v": v,
            "m": SCALARS,
            "o": st.none() | inner,
            "l": st.none() | st.lists(leaves, max_size=3),
            "i": st.lists(item, max_size=3),
            **({"extra": LEAVES} if new else {}),
        },
    )


POLICIES: list[Row] = [
    {},
    {},
    *({part: action} for part in ("columns", "types") for action in ("freeze", "discard_value", "discard_row")),
    {"tables": "freeze"},
    {"tables": "discard_row"},
]


@dataclass
class Case:
    step: str
    policy: Row
    strategy: str
    mode: str
    runs: list[list[list[Row]]]


STRATEGIES = ["NATIVE", "COLLAPSE", "FLAT", "SPLIT", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS"]


@st.composite
def cases(draw: Any, strategy: str) -> Case:
    # The same draws mean something else for each strategy.
    turn = STRATEGIES.index(strategy)
    policy = draw(st.sampled_from([*POLICIES[3 * turn % 10 :], *POLICIES[: 3 * turn % 10]]))
    # What a policy says of fields within a struct is the matter of other tests.
    within = turn <= 3 or not policy
    steps = [*STEPS]
    chain = st.permutations([*BLOCKS]).map(lambda blocks: " ".join(blocks[:5]))
    step = draw(chain | st.sampled_from([*steps[turn:], *steps[:turn]]))
    kinds = ["keep", "other", "drop", "fail"]
    early = events(
        new=not policy, misfits=not policy, kinds=[k for k in kinds if k != "other" or not policy], within=within
    )
    late = events(new=True, misfits=True, kinds=kinds, within=within)
    lists = [st.lists(st.lists(some, min_size=1, max_size=8), min_size=1, max_size=2) for some in (early, late)]
    runs = [draw(one) for one in lists]
    if policy:
        # Columns that hold everything, so that nothing but what the policy is about is turned away.
        item = {"x": "x", "t": ["t"]}
        full = {"id": 0, "kind": "keep", "name": "x", "v": 1, "m": "x", "o": {"x": "x", "y": {"z": "x"}}, "l": ["x"]}
        kinds = ["keep"] if "tables" in policy else ["keep", "other"]
        runs[0].insert(0, [full | {"kind": kind, "i": [item]} for kind in kinds])
    for n, row in enumerate(row for run in runs for batch in run for row in batch):
        row["n"] = n
        if row["kind"] == "other" and row["id"] is None:
            row["id"] = 1  # an event type that begins with rows of no key has none
    modes = ["merge", "history", "append"]
    mode = draw(st.sampled_from([*modes[turn % 3 :], *modes[: turn % 3]]))
    return Case(step, policy, strategy, mode, runs)


def checked(rig: Rig, case: Case) -> None:
    tales = [[word for batch in run for word in (batch, Checkpoint(1))] for run in case.runs]
    rig.script.stream("orders", *tales, [], key=("id",))
    rig.create(case.mode, options={"json_parsing_strategy": case.strategy})
    blocks = json.dumps([BLOCKS[name] for name in case.step.split() if name in BLOCKS])
    kind, text = STEPS.get(case.step, ("blocks", blocks))
    if kind != "none":
        transformations.deploy(rig.home, PIPELINE, kind, text)
    told = Told(case.step, case.strategy, case.mode, case.policy)

    def ran() -> Any:
        record = rig.run()
        rig.clock.advance(60)
        assert record.balance.even, record.balance
        assert all(one.even for one in record.streams.values()), record.streams
        assert record.balance.waiting == 0
        assert sum(rig.rejected().values()) == len(told.rejects), (rig.rejected(), told.rejects)
        compare(rig, told)
        return record

    def policy(said: Row) -> None:
        wish = pipelines.find(rig.home, PIPELINE).wish
        options = {"json_parsing_strategy": case.strategy} | ({"schema_policy": said} if said else {})
        pipelines.change(rig.home, PIPELINE, lambda _: replace(wish, options=options))

    for number, run in enumerate(case.runs):
        if number == 1 and case.policy:
            policy(case.policy)
        before = told.filtered
        rows = [row for batch in run for row in batch]
        for row in rows:
            told.event(row, free=not number)
        record = ran()
        if number == 0:
            assert record.balance.read == len(rows)
        if case.strategy != "SPLIT":
            assert record.balance.filtered_rows == told.filtered - before
    # Which of two rows of one key and one moment is newer is not known any more when they are replayed.
    if case.policy and case.mode == "append":
        policy({})
        told.relaxed()
        ran()


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_every_event_ends_where_a_plain_reading_says(types: None, strategy: str, data: st.DataObject) -> None:
    case = data.draw(cases(strategy))
    with tempfile.TemporaryDirectory() as folder, staying_open():
        rig = Rig(Path(folder))
        try:
            checked(rig, case)
        finally:
            rig.close()
