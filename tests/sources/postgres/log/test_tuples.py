"""Rows taken apart many at once are what they are taken apart one by one; and what is written is read again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.sources.postgres.log.snapshots import Snapshot
from millrace.sources.postgres.log.tuples import Tuple, columns, parsed, written

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
