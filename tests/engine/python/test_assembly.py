"""What tells rows apart that a script made, and that it is the same when they are read again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from millrace.data.batch import Batch
from millrace.data.columns import ID, is_ours, ours
from millrace.engine.python.host import PythonStep
from millrace.engine.steps import Output, Stepped


@pytest.fixture
def step() -> Iterator[Callable[[str], PythonStep]]:
    made: list[PythonStep] = []

    def start(script: str) -> PythonStep:
        made.append(PythonStep("from millrace.api import Event\n" + script, workers=1))
        return made[-1]

    yield start
    for one in made:
        one.close()


def batch(*ids: int, **more: Any) -> Batch:
    return Batch("orders", pa.record_batch({"id": pa.array(ids, pa.int64()), **more}))


def by_name(stepped: Stepped) -> dict[str, Output]:
    return {output.stream: output for output in stepped.outputs}


def identity(parent: object, name: str, place: int) -> str:
    return hashlib.sha256(f"{parent}|{name}|{place}".encode()).hexdigest()


ITEMS = """
def transform(event):
    p = event.getProperties()
    return [event] + [Event("items", {"n": n}) for n in range(p["id"] % 4)]
"""


def test_events_that_code_makes_have_an_identity_that_follows_from_their_origin(
    step: Callable[[str], PythonStep],
) -> None:
    one = step(ITEMS)
    items = by_name(one.apply(batch(1, 2, 4), ("id",)))["items"]
    assert items.key == (ID,)
    assert items.origin.to_pylist() == [0, 1, 1]
    assert items.made.to_pylist() == [True] * 3
    # The event itself is the first of the answers, but not of that type.
    assert items.rows.column(ID).to_pylist() == [
        identity(1, "items", 0), identity(2, "items", 0), identity(2, "items", 1),
    ]  # fmt: skip
    assert is_ours(items.rows.schema.field(ID))


def test_the_same_rows_read_again_have_the_same_identities_in_any_company(step: Callable[[str], PythonStep]) -> None:
    first = by_name(step(ITEMS).apply(batch(3, 2), ("id",)))["items"].rows.column(ID).to_pylist()
    other = by_name(step(ITEMS).apply(batch(9, 2, 7, 3), ("id",)))["items"]
    found = dict(zip(other.rows.column(ID).to_pylist(), other.origin.to_pylist(), strict=True))
    assert len(found) == other.rows.num_rows
    assert {one for one, row in found.items() if row in (1, 3)} == set(first)


def test_children_stay_told_apart_alike_where_a_later_batch_has_one_for_each(step: Callable[[str], PythonStep]) -> None:
    one = step(ITEMS)
    one.apply(batch(3), ("id",))
    assert by_name(one.apply(batch(1), ("id",)))["items"].rows.column(ID).to_pylist() == [identity(1, "items", 0)]


def test_a_key_of_several_fields_makes_one_identity(step: Callable[[str], PythonStep]) -> None:
    rows = pa.record_batch({"a": pa.array([1, 1]), "b": pa.array(["x", "y"])})
    script = "def transform(event):\n    return Event('items', {'v': 1})"
    found = by_name(step(script).apply(Batch("orders", rows), ("a", "b")))["items"]
    assert found.rows.column(ID).to_pylist() == [identity("1|x", "items", 0), identity("1|y", "items", 0)]


def test_a_renamed_event_keeps_the_key_of_its_stream(step: Callable[[str], PythonStep]) -> None:
    script = "def transform(event):\n    event.rename('sales')\n    return event"
    [output] = step(script).apply(batch(1, 2), ("id",)).outputs
    assert (output.stream, output.key, output.made) == ("sales", ("id",), None)
    assert output.rows.schema.names == ["id"]


def test_a_renamed_event_without_its_key_has_an_identity(step: Callable[[str], PythonStep]) -> None:
    script = """
def transform(event):
    event.rename("sales")
    del event.getProperties()["id"]
    return event
"""
    [output] = step(script).apply(batch(1, 2, v=pa.array([5, 6])), ("id",)).outputs
    assert output.key == (ID,)
    assert output.rows.column(ID).to_pylist() == [identity(1, "sales", 0), identity(2, "sales", 0)]


def test_one_event_split_in_types_keeps_its_key_in_each(step: Callable[[str], PythonStep]) -> None:
    script = """
def transform(event):
    p = event.getProperties()
    return [Event("subject", {"id": p["id"]}), Event("marks", {"id": p["id"], "m": 1})]
"""
    outputs = by_name(step(script).apply(batch(1, 2), ("id",)))
    assert {name: output.key for name, output in outputs.items()} == {"subject": ("id",), "marks": ("id",)}


def test_a_key_that_the_script_sets_is_the_key(step: Callable[[str], PythonStep]) -> None:
    script = """
def transform(event):
    made = [Event("items", {"id": event.getProperties()["id"], "line": n}) for n in range(2)]
    for one in made:
        one.setPrimaryKeys(["id", "line"])
    return made
"""
    found = by_name(step(script).apply(batch(1), ("id",)))["items"]
    assert found.key == ("id", "line")
    assert ID not in found.rows.schema.names


def test_rows_of_the_streams_own_type_that_nothing_tells_apart_are_refused(step: Callable[[str], PythonStep]) -> None:
    script = """
def transform(event):
    p = event.getProperties()
    other = p["id"] if p["id"] == 2 else p["id"] + 100
    return [event, Event("orders", {"id": other}), Event("log", {"v": 1})]
"""
    stepped = step(script).apply(batch(1, 2, 3), ("id",))
    [(row, code, message)] = stepped.refused
    assert (row, code) == (1, "TRANSFORM_RESULT")
    assert "same id" in message
    assert "setPrimaryKeys" in message
    outputs = by_name(stepped)
    # Nothing of the refused one is left anywhere.
    assert outputs["orders"].rows.column("id").to_pylist() == [1, 101, 3, 103]
    assert outputs["orders"].made.to_pylist() == [False, True, False, True]
    assert outputs["orders"].key is None
    assert outputs["log"].origin.to_pylist() == [0, 2]


def test_rows_that_repeat_a_key_that_once_was_enough_are_refused(step: Callable[[str], PythonStep]) -> None:
    script = """
def transform(event):
    p = event.getProperties()
    return [Event("items", {"id": p["id"]}) for _ in range(p["id"])]
"""
    one = step(script)
    assert by_name(one.apply(batch(1), ("id",)))["items"].key == ("id",)
    later = one.apply(batch(1, 2), ("id",))
    assert [(row, code) for row, code, _ in later.refused] == [(1, "TRANSFORM_RESULT")]
    assert by_name(later)["items"].origin.to_pylist() == [0]


def test_children_of_rows_with_an_identity_of_ours_have_their_own(step: Callable[[str], PythonStep]) -> None:
    schema = pa.schema([pa.field("v", pa.int64()), ours(ID, pa.string())])
    rows = pa.RecordBatch.from_arrays([pa.array([1, 2]), pa.array(["aa", "bb"])], schema=schema)
    script = """
def transform(event):
    return [event, Event("orders", {"v": 7})]
"""
    [output] = step(script).apply(Batch("orders", rows), (ID,)).outputs
    assert output.rows.column(ID).to_pylist() == ["aa", identity("aa", "orders", 1), "bb", identity("bb", "orders", 1)]
    assert output.key is None


def test_without_a_key_there_is_none(step: Callable[[str], PythonStep]) -> None:
    outputs = by_name(step(ITEMS).apply(batch(2), ()))
    assert outputs["items"].key == ()
    assert ID not in outputs["items"].rows.schema.names


def test_order_and_balance_hold_where_answers_are_mixed(step: Callable[[str], PythonStep]) -> None:
    script = """
def transform(event):
    p = event.getProperties()
    n = p["id"] % 5
    if n == 0:
        return None
    if n == 1:
        raise ValueError("one")
    if n == 2:
        return [Event("orders", {"id": -p["id"]}), event]
    if n == 3:
        p["v"] = 1
    return event
"""
    count = 4_500
    stepped = step(script).apply(batch(*range(count)), ("id",))
    [output] = stepped.outputs
    wanted = [
        (n, made) for n in range(count) for made in {2: (-n, n), 3: (n,), 4: (n,)}.get(n % 5, ())
    ]  # fmt: skip
    assert list(zip(output.origin.to_pylist(), output.rows.column("id").to_pylist(), strict=True)) == wanted
    assert stepped.filtered == count // 5
    assert [row for row, _, _ in stepped.refused] == list(range(1, count, 5))
    assert output.rows.column("v").null_count == output.rows.num_rows - count // 5
