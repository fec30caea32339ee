"""Events whose fields stay in columns and events that are dicts come to the same end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millrace.data import types
from millrace.data.batch import Batch
from millrace.data.columns import SOURCE_MODIFIED_AT, ours
from millrace.data.exact import of_type
from millrace.engine.python.host import PythonStep

# The deeds of an event are named in the event itself, so that one guest does for all examples.
SCRIPT = """
import datetime as dt
import json
from decimal import Decimal
from millrace.api import Event

KEPT = []
SHARED = []
VALUES = [
    1, 2 ** 31, 2 ** 63, 10 ** 40, 1.5, float("nan"), True, None, "x", "\\u00e9", "\\ud800", Decimal("1.50"), b"b", "",
    dt.date(2024, 1, 2), dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc), dt.time(1), [1],
    {"a": 1}, (), {1}, object(), int("9" * 4000) * 10 ** 4000,
]

def does(event, p, name, key, n):
    if name == "read": p[key]
    elif name == "get": p.get(key)
    elif name == "in": key in p
    elif name == "set": p[key] = VALUES[n % len(VALUES)]
    elif name == "set the number": p[key] = p["n"] * n
    elif name == "copy": p[key] = p.get("a")
    elif name == "read by name": p["x"] = str((p["a"], p["d"], p["s"], p.get("e"), p["x"]))
    elif name == "set by name": p["x"] = VALUES[n % len(VALUES)]; p["y"] = p.get("x", 5); p["a"] = p["y"]
    elif name == "set by name and delete": p["x"] = n; del p["x"]; p["y"] = p.get("x", "gone"); p["x"] = p["n"]
    elif name == "set by name and count": p["a"] = n; p["x"] = len(p); p["a"] = n + 1; p["y"] = p["a"]; p["z"] = p["x"]
    elif name == "set what is ours": p["SOURCE_MODIFIED_AT"] = p.get("SOURCE_MODIFIED_AT", n)
    elif name == "delete": del p[key]
    elif name == "pop": p.pop(key, None)
    elif name == "setdefault": p.setdefault(key, n)
    elif name == "update": p.update({key: n, "z": "z"})
    elif name == "len": p["len"] = len(p)
    elif name == "keys": p["keys"] = ",".join(p.keys())
    elif name == "json": p["json"] = json.dumps(p, default=str)
    elif name == "loop": p["all"] = [str(p[key]) for key in p]
    elif name == "clear": p.clear()
    elif name == "change": p[key]["new"] = n
    elif name == "change and back": p[key]["new"] = n; del p[key]["new"]
    elif name == "share": SHARED.append(n); p[key] = SHARED
    elif name == "rename": event.rename("other")
    elif name == "rename and back": event.rename("other"); event.rename("orders")
    elif name == "keys of": event.setPrimaryKeys([key])
    elif name == "replace": event.setProperties({"n": n, key: "new"})
    elif name == "replace by itself": event.setProperties(p)
    elif name == "modified": p["at"] = event.getSourceModifiedAt()
    elif name == "type": p["type"] = event.getType(key)
    elif name == "keep event": KEPT.append(event)
    elif name == "keep fields": KEPT.append(p)
    elif name == "keep function": KEPT.append(p.get)
    elif name == "touch kept":
        for one in KEPT:
            if isinstance(one, dict): one[key] = n; p["x"] = one["n"]; one["n"] = p["n"]
            elif isinstance(one, Event): one.getProperties().pop(key, None); one.rename("kept")
            else: p["was"] = str(one(key))
    elif name == "raise": raise ValueError(str(p.get(key)))
    elif name == "none": return []
    elif name == "two": return [event, Event("made", {"n": n, key: p.get(key)})]
    elif name == "made": return Event("orders", p)
    elif name == "kept": return [one for one in KEPT if isinstance(one, Event)][:1]
    elif name == "wrong": return n

def transform(event):
    p = event.getProperties()
    if p["n"] == 0:
        KEPT.clear()
        SHARED.clear()
    for name, key, n in p["deeds"]:
        answer = does(event, p, name, key, n)
        if answer is not None:
            return None if answer == [] else answer
    return event
""".replace("SOURCE_MODIFIED_AT", SOURCE_MODIFIED_AT)
NAMES = [
    line.split('"')[1] for line in SCRIPT.splitlines() if line.strip().startswith(("if name ==", "elif name =="))
]  # fmt: skip


@pytest.fixture(scope="module")
def steps() -> Iterator[tuple[PythonStep, PythonStep]]:
    """One whose events lie in columns, and one whose script could look into dicts, so that they are dicts."""
    lazy = PythonStep(SCRIPT, workers=1)
    plain = PythonStep(SCRIPT + "\ndef never(p): return dict.get(p, 'a')\n", workers=1)
    yield lazy, plain
    lazy.close()
    plain.close()


def batch(deeds: list[list[tuple[str, str, int]]]) -> Batch:
    count = len(deeds)
    texts = ['{"k": [1, 0.10]}', '{"k":1}', "null", '"x"']
    columns = {
        "n": pa.array(range(count), pa.int64()),
        "a": pa.array(([1, 2, None, 4] * count)[:count], pa.int32()),
        "d": of_type(pa.array((texts * count)[:count], pa.string()), types.JSON),
        "s": pa.array((["é", None, "", "x"] * count)[:count]),
        "deeds": of_type(pa.array([json.dumps(one) for one in deeds], pa.string()), types.JSON),
        "e": of_type(pa.array(([None, "[1]"] * count)[:count], pa.string()), types.JSON),
        "f": pa.array(([0.5] * count)[:count]),
    }
    moments = pa.array(([None, 1_700_000_000_000_000] * count)[:count], pa.int64()).view(types.TIMESTAMPTZ)
    schema = pa.schema(
        [*(pa.field(name, one.type) for name, one in columns.items()), ours(SOURCE_MODIFIED_AT, types.TIMESTAMPTZ)]
    )
    return Batch("orders", pa.RecordBatch.from_arrays([*columns.values(), moments], schema=schema))


DEEDS = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(["a", "d", "s", "e", "f", "x", "y", SOURCE_MODIFIED_AT]), st.integers(0, 23)
)
ALL_VALUES = [[("set", "x", n)] for n in range(24)]


@given(st.lists(st.lists(DEEDS, max_size=4), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([[(name, "d", 3)] for name in NAMES])
@example([[("keep fields", "a", 1)], [("touch kept", "a", 7)], [("set", "a", 4), ("touch kept", "a", 9)]])
@example([[("keep event", "a", 1)], [("touch kept", "a", 7)], [("kept", "a", 1)], [("touch kept", "f", 7)]])
@example([[("share", "x", 1)], [("share", "x", 2)], [("share", "x", 3)]])
@example(ALL_VALUES)
def test_events_in_columns_and_events_as_dicts_come_to_the_same_end(
    steps: tuple[PythonStep, PythonStep], deeds: list[list[tuple[str, str, int]]]
) -> None:
    given_ = batch(deeds)
    found, wanted = (step.apply(given_, ("n",)) for step in steps)
    assert (found.refused, found.filtered) == (wanted.refused, wanted.filtered)
    assert [told(output) for output in found.outputs] == [told(output) for output in wanted.outputs]


def told(output: Any) -> tuple[Any, ...]:
    columns = {
        name: (column.type, str(types.storage(column).to_pylist()))
        for name, column in zip(output.rows.schema.names, output.rows.columns, strict=True)
    }
    made = None if output.made is None else output.made.to_pylist()
    return output.stream, list(columns.items()), output.origin.to_pylist(), made, output.key


def test_a_script_that_keeps_all_events_finds_each_as_it_was(steps: tuple[PythonStep, PythonStep]) -> None:
    """Else they would all be the last one, because the same object serves for one event after the other."""
    del steps
    script = """
KEPT = []
def transform(event):
    p = event.getProperties()
    KEPT.append((event, p, p.get))
    p["before"] = [(one["n"], e.getProperties()["n"], get("n"), one.get("before")) for one, e, get in
                   [(one, e, get) for e, one, get in KEPT[:-1]]][-2:]
    return event
"""
    step = PythonStep(script, workers=1)
    try:
        [output] = step.apply(Batch("orders", pa.record_batch({"n": pa.array(range(4))}))).outputs
    finally:
        step.close()
    assert [[one[:3] for one in json.loads(text)] for text in output.rows.column("before").storage.to_pylist()] == [
        [], [[0, 0, 0]], [[0, 0, 0], [1, 1, 1]], [[1, 1, 1], [2, 2, 2]],
    ]  # fmt: skip


def test_rows_that_were_treated_in_several_ways_are_one_output_in_order() -> None:
    script = """
def transform(event):
    p = event.getProperties()
    if p["n"] % 5 == 0: return None
    if p["n"] % 2: p["odd"] = p["n"]
    if p["n"] % 3: p["third"] = str(p["n"])
    if p["n"] % 7 == 0: p["v"] = None
    if p["n"] % 11 == 0: p["v"] = [p["n"]]
    return event
"""
    step = PythonStep(script, workers=1)
    try:
        columns = {"n": pa.array(range(5_000)), "v": pa.array(range(5_000))}
        stepped = step.apply(Batch("orders", pa.record_batch(columns)), ("n",))
    finally:
        step.close()
    [output] = stepped.outputs
    kept = [n for n in range(5_000) if n % 5]
    assert stepped.filtered == 1_000
    assert output.rows.schema.names == ["n", "v", "odd", "third"]
    assert output.origin.to_pylist() == output.rows.column("n").to_pylist() == kept
    assert output.rows.column("odd").to_pylist() == [n if n % 2 else None for n in kept]
    assert output.rows.column("third").to_pylist() == [str(n) if n % 3 else None for n in kept]
    assert types.storage(output.rows.column("v")).to_pylist() == [
        f"[{n}]" if n % 11 == 0 else None if n % 7 == 0 else str(n) for n in kept
    ]


def test_an_event_type_that_a_script_does_not_name_never_reaches_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    step = PythonStep('EVENT_TYPES = ["people"]\ndef transform(event):\n    raise ValueError\n', workers=1)
    try:

        def nothing(*_: Any) -> Any:
            raise AssertionError("rows became Python objects")

        monkeypatch.setattr(step, "_sliced", nothing)
        rows = pa.record_batch({"n": pa.array(range(10))})
        [output] = step.apply(Batch("orders", rows), ("n",)).outputs
        assert output.rows is rows
        assert output.origin.to_pylist() == list(range(10))
    finally:
        step.close()
