"""A history is the same in whatever order its events arrive, and however loads divide them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.connect.sql.test_golden import AT_MS, users
from tests.duckdb_files import staying_open

from millrace.connect.destination import Load
from millrace.connect.sql import history
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.rows import META, table
from millrace.connect.testing.sql_destination import Event, as_rows, line_of
from millrace.data import columns, types
from millrace.destinations.duckdb.destination import Config, Destination
from millrace.destinations.mysql.dialect import ON_MYSQL

START = datetime(2026, 1, 1, tzinfo=UTC)
MADE = table(
    "versions",
    {"k": types.LONG, "v": types.VARCHAR, columns.SOURCE_MODIFIED_AT: types.TIMESTAMPTZ},
    key=("k",),
    mode="history",
    meta=META,
)


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Destination]:
    folder: Path = tmp_path_factory.mktemp("history")
    with staying_open():
        made = Destination(Config.model_validate({"path": folder / "warehouse.duckdb"}))
        made.ensure(MADE)
        yield made
        made.close()


# Moments, of which some are as near as no millisecond; values; whether it is a delete.
_EVENTS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 3.0003, 4, 5]), st.sampled_from(["a", "b", None]), st.booleans()),
    min_size=1,
    max_size=8,
)
_keys, _held = count(), count()


@given(events=_EVENTS, data=st.data())
def test_history_does_not_depend_on_the_order_of_arrival(
    destination: Destination, events: list[tuple[float, str | None, bool]], data: st.DataObject
) -> None:
    key = next(_keys)
    every = [
        Event(key, None if gone else value, START + timedelta(seconds=at), ingested, gone)
        for ingested, (at, value, gone) in enumerate(events)
    ]
    expected = line_of(every, key)
    left = data.draw(st.permutations(every))
    left = left + data.draw(st.lists(st.sampled_from(every), max_size=2))
    while left:
        size = data.draw(st.integers(1, len(left)))
        part, left = left[:size], left[size:]
        number = next(_held)
        loaded = destination.load(MADE, Load(FEED, number, number + 1, 1, as_rows(part)))
        assert loaded.unchanged >= 0
    names = ("v", columns.VALID_FROM, columns.VALID_TO, columns.IS_ACTIVE, columns.MARKED_DELETED)
    found: list[dict[str, Any]] = destination.query(
        f'SELECT * FROM versions WHERE k = {key} ORDER BY "{columns.VALID_FROM}"'
    ).to_pylist()
    assert [tuple(row[name] for name in names) for row in found] == expected


def test_mysql_is_never_asked_to_read_a_temporary_table_twice() -> None:
    plan = history.record(ON_MYSQL, users(deletes=True, mode="history"), "target", "beside", at_ms=AT_MS)
    for statement in (*plan.statements, plan.counts, *plan.effects):
        read = Counter(re.findall(r"`(__mr_[a-z]+)`", statement))
        assert set(read.values()) <= {1}, statement
