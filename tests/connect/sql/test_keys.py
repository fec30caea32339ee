"""Hashes of keys tell keys apart, and never say that equal ones are different."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connect.sql import keys

texts = st.lists(st.text("0123456789abcdef", min_size=16, max_size=16), max_size=20)
wholes = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)
columns = texts.map(lambda values: pa.array(values, pa.string())) | wholes.map(
    lambda values: pa.array(values, pa.int64())
)


@given(columns, st.integers(0, 20), st.booleans())
def test_keys_are_joined_exactly_if_all_are_different(column: pa.Array, cut: int, again: bool) -> None:
    whole = pa.concat_arrays([column, column[:1]]) if again else column
    first = keys.joined(keys.none(), [whole[:cut]])
    found = None if first is None else keys.joined(first, [whole[cut:], whole[:0]])
    if len(whole.unique()) < len(whole):
        assert found is None
    else:
        hashes = keys.hashed(whole)
        assert found is not None and hashes is not None
        assert found.hashes.tolist() == sorted(hashes.tolist()) and not len(found.starts)


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["12345678", None]),
        pa.array(["12345678", "123"]),
        pa.array(["1234567", "7654321"]),
        pa.array(["", ""]),
        pa.array(["x" * 1032, "y" * 1032]),
        pa.array([1.5]),
        pa.array([None, 1], pa.int64()),
    ],
    ids=str,
)
def test_keys_of_other_kinds_are_left_to_the_table(values: pa.Array) -> None:
    assert keys.joined(keys.none(), [values]) is None


def test_keys_that_count_up_have_hashes_of_their_own() -> None:
    many = pa.array([f"customer-{number:07}" for number in range(100_000)])
    found = keys.joined(keys.none(), [many])
    assert found is not None and len(found.hashes) == 100_000


def test_more_keys_than_fit_are_left_to_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MOST_KEYS", 3)
    known = keys.joined(keys.none(), [pa.array(["customer", "supplier", "bookshop"])])
    assert known is not None
    assert keys.joined(known, [pa.array(["employee"])]) is None


@given(st.lists(wholes.map(lambda values: pa.array(values, pa.int64())), max_size=8), st.integers(1, 4))
def test_of_very_many_whole_numbers_no_two_that_are_equal_are_taken_for_different(
    parts: list[pa.Array], spans: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "MOST_KEYS", 20)
        patch.setattr(keys, "MOST_SPANS", spans)
        known, seen = keys.none(), set[int]()
        for part in parts:
            values = part.to_pylist()
            found = keys.joined(known, [part])
            if found is not None:
                assert len({*values}) == len(values) and seen.isdisjoint(values)
                seen.update(values)
                known = found
                assert len(known.starts) <= spans and (known.starts[1:] > known.ends[:-1]).all()


@pytest.mark.parametrize("step", [1, 7, 10**9])
def test_whole_numbers_that_rise_in_several_ranges_at_once_are_known_however_many(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(keys, "MOST_KEYS", 100)
    monkeypatch.setattr(keys, "MOST_SPANS", 8)
    known: keys.Known | None = keys.none()
    for low in range(-500, 500, 25):
        for start in (0, 5_000):
            assert known is not None
            rising = pa.array([(start + number) * step for number in range(low, low + 25)])
            known = keys.joined(known, [rising])
            assert known is not None
            assert keys.joined(known, [rising[3:4]]) is None
    assert known is not None and len(known.hashes) <= 100
