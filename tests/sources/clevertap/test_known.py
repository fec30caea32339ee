from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.clevertap.driver import Kept

from millrace.data.batch import Mark
from millrace.sources.clevertap.known import MOST_REJECTED, Known, Mode, day_of, entries, part_of, rejected_part
from millrace.sources.clevertap.rows import Shaped

Row = tuple[int, int]  # number, state
ALL_DAYS = (0, 99991231)


def shaped(rows: list[Row], *, twins: bool = False) -> Shaped:
    """Rows whose hashes are their numbers; with ``twins`` many share the first 8 bytes. Days follow the number."""
    number = np.array([row[0] for row in rows], np.uint64)
    return Shaped(
        rows=pa.RecordBatch.from_pylist([]),
        high=number // np.uint64(4) if twins else number,
        low=number,
        state=np.array([row[1] for row in rows], np.uint64),
        day=np.array([20260310 + row[0] % 3 for row in rows], np.int64),
        moment=np.zeros(len(rows), np.int64),
        rejects=[],
    )


def keep(kept: Kept, marks: list[Mark]) -> None:
    for mark in marks:
        if mark.replace:
            kept.marks.pop(mark.part, None)
        if mark.data is not None:
            kept.marks.setdefault(mark.part, []).append(mark.data)


class Plain:
    """The rule with dictionaries."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.count: dict[int, int] = {}
        self.state: dict[int, int] = {}
        self.walked: dict[int, int] = {}

    def judge(self, rows: list[Row]) -> list[bool]:
        goes: list[bool] = []
        for number, state in rows:
            copy = self.walked[number] = self.walked.get(number, 0) + 1
            known = self.count.get(number, 0)
            differs = self.state.get(number) != state
            if self.mode == "copies":
                goes.append(copy > known)
            elif self.mode == "all":
                goes.append(copy == 1 or differs)
            else:
                goes.append(not known or differs)
            self.count[number] = max(known, copy)
            self.state[number] = state
        return goes


rows = st.tuples(st.integers(0, 12), st.integers(1, 3))
pages = st.lists(rows, max_size=12)
walks = st.lists(st.lists(pages, max_size=4), min_size=1, max_size=4)


@given(st.sampled_from(["changed", "copies", "all"]), walks, st.booleans(), st.booleans())
def test_judging_pages_is_the_plain_rule_whatever_was_forgotten_and_recalled(
    mode: Any, shown: list[list[list[Row]]], again: bool, twins: bool
) -> None:
    kept = Kept()
    plain = Plain(mode)
    known = Known("Charged", kept, mode)
    for number, walk in enumerate(shown):
        if number:
            plain.walked.clear()
            if again:  # a new process that only has the marks
                keep(kept, known.compacted(*ALL_DAYS) if number % 2 else [])
                known = Known("Charged", kept, mode)
            else:
                known.restart()
        for page in walk:
            goes, new, marks = known.judge(shaped(page, twins=twins))
            assert goes.tolist() == plain.judge(page)
            assert not (new & ~goes).any()
            keep(kept, marks)
    found = {
        int(each["low"]): (int(each["count"]), int(each["state"]))
        for p in kept.parts()
        for each in entries(kept.recall(p))
    }
    assert found == {number: (count, plain.state[number]) for number, count in plain.count.items()}


def test_compacting_leaves_one_mark_for_each_day_with_the_same_content() -> None:
    kept = Kept()
    known = Known("Charged", kept, "changed")
    for start in range(0, 30, 10):
        keep(kept, known.judge(shaped([(number, 1) for number in range(start, start + 10)]))[2])
    before = {part: entries(kept.recall(part)).tolist() for part in kept.parts()}
    assert all(len(kept.recall(part)) == 3 for part in kept.parts())
    keep(kept, known.compacted(*ALL_DAYS))
    assert all(len(kept.recall(part)) == 1 for part in kept.parts())
    assert before == {part: entries(kept.recall(part)).tolist() for part in kept.parts()}
    assert known.compacted(*ALL_DAYS) == []


def test_an_unchanged_page_leaves_no_mark() -> None:
    kept = Kept()
    page = shaped([(1, 1), (2, 1)])
    keep(kept, Known("Charged", kept, "changed").judge(page)[2])
    goes, new, marks = Known("Charged", kept, "changed").judge(page)
    assert not goes.any() and not new.any() and marks == []


def test_rejects_are_met_once_and_their_memory_has_an_end() -> None:
    kept = Kept()
    known = Known("Charged", kept, "changed")
    first, marks = known.rejected([b"a" * 16, b"b" * 16, b"a" * 16])
    assert first == [True, True, False]
    keep(kept, marks)
    assert Known("Charged", kept, "copies").rejected([b"b" * 16, b"c" * 16])[0] == [False, True]
    many = [number.to_bytes(16, "big") for number in range(MOST_REJECTED + 1)]
    _, marks = known.rejected(many)
    assert marks[0].replace and marks[0].part == rejected_part("Charged")


def test_parts_tell_event_and_day() -> None:
    assert day_of(part_of("A \x1f odd", 20260310)) == ("A \x1f odd", 20260310)
    assert day_of(rejected_part("Charged")) is None


@pytest.mark.timeout(60)
def test_known_rows_take_few_bytes_each() -> None:
    import tracemalloc

    chance = np.random.default_rng(7)
    known = Known("Charged", Kept(), "changed")
    tracemalloc.start()
    for _ in range(40):
        number = chance.integers(0, 2**63, 5000, np.uint64)
        page = Shaped(pa.RecordBatch.from_pylist([]), number, number, number, np.full(5000, 20260310), number, [])
        known.judge(page)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200_000 * 110


def test_days_that_another_walk_may_have_are_not_put_together() -> None:
    """Rows with one day may come with the days of two windows: then each walk has marks of its own."""
    kept = Kept()
    one, other = Known("Charged", kept, "copies"), Known("Charged", kept, "copies")
    for walk, number in ((one, 0), (other, 3), (one, 6), (other, 9)):
        keep(kept, walk.judge(shaped([(number, 0)]))[2])
    for walk in (one, other):
        keep(kept, walk.compacted(20260311, 20260314))
    assert len(entries(kept.recall(part_of("Charged", 20260310)))) == 4
    keep(kept, one.judge(shaped([(1, 0)]))[2] + one.judge(shaped([(4, 0)]))[2])
    keep(kept, one.compacted(20260311, 20260314))
    assert len(kept.recall(part_of("Charged", 20260311))) == 1
