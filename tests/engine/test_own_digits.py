"""Numbers whose digits nobody declared become text with their own, whatever else is in their batch or segment."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.kit import Desk, Rig, desk, items, rig, types

from millrace.connect.source import Stream
from millrace.data import json_text
from millrace.data.batch import Checkpoint
from millrace.data.columns import is_measured
from millrace.data.described import as_described, described
from millrace.data.rows import to_batch, to_rows
from millrace.data.types import VARCHAR
from millrace.engine.mapping import Naming, first
from millrace.engine.shaping import shape

__all__ = ["desk", "rig", "types"]

# Numbers that no float has, so that they are decimals, with digits behind the point that differ.
LONG = (
    "1.2857142857142857142",
    "-0.30000000000000000000001",
    "12345678901234567.5",
    "1.50000000000000000001",
    "1.00000000000000000001e-5",
)
PLAIN = (*LONG[:4], "0.0000100000000000000000001")
NUMBERS = st.builds(
    lambda whole, behind: Decimal(f"{whole}.{behind}"),
    st.integers(-(10**12), 10**12),
    st.text("0123456789", min_size=1, max_size=25),
)


def shortest(value: Decimal) -> str:
    written = f"{value:f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


@given(st.lists(NUMBERS, min_size=1, max_size=12), st.data())
def test_text_is_the_same_however_rows_are_cut_into_batches(numbers: list[Decimal], data: st.DataObject) -> None:
    naming = Naming()
    mapping = first(Stream("items", schema=pa.schema([("v", VARCHAR)])), naming, "append", auto=True, taken=frozenset())
    at = sorted(data.draw(st.sets(st.integers(1, len(numbers)))) | {len(numbers)})
    written: list[str] = []
    for begin, end in zip([0, *at], at, strict=False):
        beside = data.draw(st.sampled_from([[], ["text"], [True], [1.5]]))
        batch = to_batch([{"v": one} for one in [*numbers[begin:end], *beside]], None)
        shaped = shape(mapping, batch, naming, 7)
        assert shaped.misfits == ()
        written += shaped.rows.column("v").to_pylist()[: end - begin]
    assert written == [shortest(one) for one in numbers]


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_rejected_rows_say_and_recall_them(numbers: list[Decimal]) -> None:
    batch = to_batch([{"v": one} for one in numbers], None)
    shown = to_rows(batch)
    assert shown == [{"v": shortest(one)} for one in numbers]
    schema = as_described(described(batch.schema))
    again = to_batch(shown, schema)
    assert again.equals(batch)
    assert is_measured(again.schema.field("v"))


def test_a_declared_scale_stays() -> None:
    naming, type_ = Naming(), pa.decimal128(10, 2)
    stream = Stream("items", schema=pa.schema([("v", VARCHAR)]))
    mapping = first(stream, naming, "append", auto=True, taken=frozenset())
    rows = to_batch([{"v": Decimal("1.5")}], pa.schema([("v", type_)]))
    assert shape(mapping, rows, naming, 7).rows.column("v").to_pylist() == ["1.50"]


def _numbers(*texts: str) -> list[dict[str, object]]:
    return [{"id": place, "v": json_text.loads(text)} for place, text in enumerate(texts)]


def test_what_was_staged_as_decimals_is_loaded_as_it_came(desk: Desk) -> None:
    desk.segments_of(_numbers(*LONG[:2]), [*items(7, v=7)], items(9, v="a word"))
    assert desk.load()
    assert desk.rig.rows("items", "v", order="id") == [*PLAIN[:2], "7", "a word"]


def test_decimals_in_a_file_that_whole_numbers_began_have_their_digits(desk: Desk) -> None:
    desk.segments_of(_numbers("1.00000000000000000001"), items(5, v=7), items(9, v="a word"))
    assert desk.load()
    assert desk.rig.rows("items", "v", order="id") == ["1.00000000000000000001", "7", "a word"]


def test_decimals_of_one_segment_are_loaded_as_they_came(desk: Desk) -> None:
    desk.segments_of(_numbers(*LONG), items(9, v="a word"))
    assert desk.load()
    assert desk.rig.rows("items", "v", order="id") == [*PLAIN, "a word"]


@pytest.mark.parametrize("strategy", ["SPLIT", "FLAT"])
def test_rows_beside_text_and_in_nested_values_have_their_digits(rig: Rig, strategy: str) -> None:
    rows = [
        {"id": 1, "v": "a word", "o": {"p": "a word"}, "l": [{"q": "a word"}]},
        *({**one, "id": one["id"] + 2, "o": {"p": one["v"]}, "l": [{"q": one["v"]}]} for one in _numbers(*LONG)),
    ]
    rig.script.stream("items", [rows[:1], Checkpoint(1), rows[1:], Checkpoint(2)], key=("id",))
    rig.create(options={"json_parsing_strategy": strategy}).run()
    assert rig.rows("items", "v", order="id") == ["a word", *PLAIN]
    assert rig.rows("items", "o_p", order="id") == ["a word", *PLAIN]
    if strategy == "SPLIT":
        assert sorted(rig.rows("items_l", "q")) == sorted(["a word", *PLAIN])
