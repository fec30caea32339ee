"""Rows taken apart many at once are what they are taken apart one by one; and what is written is read again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connect.log import Followed
from millrace.connect.source import Stream
from millrace.data.batch import Batch, Passed
from millrace.sources.postgres.log.messages import Begin, Change, Field, Told
from millrace.sources.postgres.log.publishing import Identity
from millrace.sources.postgres.log.rows import Changes
from millrace.sources.postgres.log.snapshots import Snapshot
from millrace.sources.postgres.log.tuples import Tuple, columns, parsed, written
from millrace.sources.postgres.types import typed

VALUES = st.one_of(st.none(), st.just(False), st.binary(max_size=300))


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n), min_size=1)))
def test_columns_are_what_rows_are(rows: list[Tuple]) -> None:
    told = [b"N" + written(row) for row in rows]
    assert [parsed(one, 1)[0] for one in told] == rows
    found = columns(told, len(rows[0]))
    for place, column in enumerate(found):
        assert column.values == [row[place] or (row[place] if row[place] is not False else None) for row in rows]
        assert column.unsaid == [number for number, row in enumerate(rows) if row[place] is False]


@given(st.integers(0, 1 << 40), st.data())
def test_a_snapshot_sees_what_was_over(low: int, data: st.DataObject) -> None:
    high = low + data.draw(st.integers(0, 1000))
    running = frozenset(data.draw(st.lists(st.integers(low, max(high - 1, low)), max_size=5))) - {high}
    snapshot = Snapshot.of(str(Snapshot(low, high, running)))
    for one in {low - 1, low, high - 1, high, high + 1, *running}:
        if one >= 0:
            assert snapshot.sees(one & 0xFFFFFFFF) == (one < high and one not in running)


# A history that saw all below 1,000, whose changes are in front of 0/200.
HISTORY = {"v": 1, "snapshot": "1000:1000:", "begun_ms": 1, "lsn": "0/200", "done": True}


@pytest.mark.parametrize(
    ("begun", "seen"),
    [
        (Begin(999, 0x1FF), True),
        (Begin(1000, 0x1FF), False),
        (Begin(999, 0x200), False),  # the number was given again after a crash
        (Begin(1000 + (1 << 31) + 7, 0x300), False),  # half of all numbers later, from where on they look older
        (Begin(5, 0x400), False),  # they have gone round
    ],
)
def test_what_comes_behind_a_history_is_not_in_it_whatever_number_its_transaction_has(begun: Begin, seen: bool) -> None:
    stream = Stream("public.t", key=("id",))
    changes = Changes(
        Followed(stream, "merge", HISTORY),
        Identity(("id",), updates=True, whole=False),
        Told(1, stream.name, "d", (Field("id", 23, -1, key=True),)),
        [typed("int4", -1)],
        lambda *_: {},
        "reject",
        lambda: datetime.now(UTC),
        lambda *_: None,
    )
    changes.begin(begun)
    changes.add(Change(ord("I"), 1, b"N" + written([b"7"])))
    (item,) = changes.taken()
    assert isinstance(item, Passed if seen else Batch)
