"""Two sides that are compared value by value: what differs is found, wherever it is, and both sides are closed."""

from __future__ import annotations

from collections.abc import Collection, Generator
from decimal import Decimal

import pyarrow as pa
import pytest

from millrace.engine import likeness as module
from millrace.engine.likeness import Columns, Side, key_text, likeness

COLUMNS = Columns(("id",), {"id": pa.int64(), "a": pa.string(), "b": pa.int64()})


def side(*rows: tuple[int, str | None, int | None]) -> Side:
    def read(wanted: Collection[int]) -> Generator[tuple[int, pa.RecordBatch]]:
        assert [*wanted] == [0]
        for one in rows:
            yield 0, pa.RecordBatch.from_pylist([dict(zip(("id", "a", "b"), one, strict=True))])

    return read


def test_values_that_two_rows_of_one_part_exchanged_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PARTS", 1)
    one, other = side((1, "x", 10), (2, "y", 20), (3, "z", 30)), side((1, "y", 10), (2, "x", 20), (3, "z", 30))
    (found,) = likeness(one, other, [COLUMNS], [], 10)
    assert [(each.kind, each.rows, each.first, each.last, each.columns) for each in found.unalike] == [
        ("other", 2, "1", "2", {"a": 2})
    ]
    assert found.keys == (("1",), ("2",))


def test_a_value_that_moved_to_another_column_or_became_null_is_found() -> None:
    columns = Columns(("id",), {"id": pa.int64(), "a": pa.int64(), "b": pa.int64()})

    def read(a: int | None, b: int | None) -> Side:
        return lambda _: (one for one in [(0, pa.RecordBatch.from_pylist([{"id": 1, "a": a, "b": b}]))])

    assert likeness(read(1, 2), read(1, 2), [columns], [], 10)[0].unalike == ()
    for a, b in ((2, 1), (None, 2), (1, None)):
        assert [one.kind for one in likeness(read(1, 2), read(a, b), [columns], [], 10)[0].unalike] == ["other"]


def test_the_order_and_the_batches_of_rows_do_not_matter() -> None:
    rows = [(number, f"v{number}", number % 7) for number in range(50)]
    (found,) = likeness(side(*rows), side(*reversed(rows)), [COLUMNS], [], 10)
    assert (found.rows, found.unalike, found.keys) == (50, (), ())


def test_there_are_no_keys_where_more_rows_differ_than_were_asked_for() -> None:
    (found,) = likeness(side((1, "x", 1), (2, "y", 2)), side((1, "-", 1), (2, "-", 2)), [COLUMNS], [], 1)
    assert (found.keys, sum(one.rows for one in found.unalike)) == (None, 2)


def test_a_side_is_closed_as_soon_as_a_batch_cannot_be_compared() -> None:
    closed: list[str] = []

    def read(wanted: Collection[int]) -> Generator[tuple[int, pa.RecordBatch]]:
        try:
            yield 0, pa.RecordBatch.from_pylist([{"id": 1}])
            yield 0, pa.RecordBatch.from_pylist([{"id": 2}])
        finally:
            closed.append("one")

    with pytest.raises(KeyError) as raised:
        likeness(read, side(), [COLUMNS], [], 10)
    # The error holds all frames that it came through, and what they hold.
    assert (raised.tb is not None, closed) == (True, ["one"])


def test_a_key_is_the_same_text_however_it_is_kept() -> None:
    ints = pa.array([7, None], pa.int16()), pa.array(["7", None]), pa.array([Decimal("7.00"), None])
    assert [key_text(one, pa.int64()).to_pylist() for one in ints] == [["7", None]] * 3
    decimals = pa.array([Decimal("1.50")]), pa.array(["1.5"])
    assert [key_text(one, pa.decimal128(20, 4)).to_pylist() for one in decimals] == [["1.5"]] * 2
    assert key_text(pa.array(["no number"]), pa.int64()).to_pylist() == ["no number"]
