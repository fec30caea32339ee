"""What a destination that keeps every version of a row must do with them."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from millrace.connect.destination import Destination, Load, Loaded, Table
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.items import ItemsContract
from millrace.connect.testing.rows import META, Rows, array, shuffled, table
from millrace.data import columns, types
from millrace.data.compute import pc

FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class HistoryContract(ItemsContract):
    """Tests for a destination that keeps history."""

    def test_history_keeps_a_row_for_each_version(self, destination: Destination[Any]) -> None:
        made = _versions()
        destination.ensure(made)
        loaded = destination.load(made, Load(FEED, 0, 1, 1, _dated((1, "trial", 100, "I"), (1, "active", 200, "U"))))
        assert loaded == Loaded(2, inserted=2)
        assert self.line(destination, 1) == [
            ("trial", 100, 199.999, False, False),
            ("active", 200, None, True, False),
        ]

    def test_history_ignores_a_version_that_says_nothing_new(self, destination: Destination[Any]) -> None:
        made = _versions()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, _dated((1, "a", 100, "I"))))
        loaded = destination.load(
            made, Load(FEED, 1, 2, 1, _dated((1, "a", 150, "U"), (1, "a", 160, "U"), (1, "b", 170, "U")))
        )
        assert (loaded.unchanged, loaded.inserted) == (2, 1)
        assert self.line(destination, 1) == [("a", 100, 169.999, False, False), ("b", 170, None, True, False)]

    def test_history_puts_a_late_version_between_its_neighbours(self, destination: Destination[Any]) -> None:
        made = _versions()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, _dated((1, "a", 100, "I"), (1, "c", 300, "U"))))
        destination.load(made, Load(FEED, 1, 2, 1, _dated((1, "b", 200, "U"), (1, "z", 50, "U"))))
        assert self.line(destination, 1) == [
            ("z", 50, 99.999, False, False),
            ("a", 100, 199.999, False, False),
            ("b", 200, 299.999, False, False),
            ("c", 300, None, True, False),
        ]

    def test_what_comes_late_between_two_that_say_the_same_counts_until_something_else_comes(
        self, destination: Destination[Any]
    ) -> None:
        made = _versions()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, _dated((1, "a", 100, "I"), (2, "a", 100, "I"))))
        loaded = destination.load(made, Load(FEED, 1, 2, 1, _dated((1, "a", 300, "U"), (2, "a", 300, "U"))))
        assert loaded.unchanged == 2
        destination.load(made, Load(FEED, 2, 3, 1, _dated((1, "b", 200, "U"), (2, None, 200, "D"))))
        assert self.line(destination, 1) == [("a", 100, 199.999, False, False), ("b", 200, None, True, False)]
        assert self.line(destination, 2) == [("a", 100, 199.999, False, True)]
        destination.load(made, Load(FEED, 3, 4, 1, _dated((1, "a", 400, "U"), (2, "a", 400, "U"))))
        assert self.line(destination, 1)[1:] == [("b", 200, 399.999, False, False), ("a", 400, None, True, False)]
        assert self.line(destination, 2) == [("a", 100, 199.999, False, True), ("a", 400, None, True, False)]

    def test_history_closes_a_deleted_row(self, destination: Destination[Any]) -> None:
        made = _versions()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, _dated((1, "a", 100, "I"))))
        loaded = destination.load(made, Load(FEED, 1, 2, 1, _dated((1, None, 200, "D"))))
        assert loaded == Loaded(1, deleted=1)
        assert self.line(destination, 1) == [("a", 100, 199.999, False, True)]
        destination.load(made, Load(FEED, 2, 3, 1, _dated((1, "again", 300, "I"), (1, "late", 150, "U"))))
        assert self.line(destination, 1) == [
            ("a", 100, 149.999, False, False),
            ("late", 150, 199.999, False, True),
            ("again", 300, None, True, False),
        ]

    def test_history_remembers_a_delete_that_came_first(self, destination: Destination[Any]) -> None:
        made = _versions()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, _dated((1, None, 200, "D"))))
        destination.load(made, Load(FEED, 1, 2, 1, _dated((1, "a", 100, "I"))))
        assert [row[3] for row in self.line(destination, 1)] == [False, False]
        assert [row[:3] for row in self.line(destination, 1)] == [("a", 100, 199.999), (None, 200, 200)]

    def test_history_loaded_twice_is_the_same(self, destination: Destination[Any]) -> None:
        made = _versions()
        destination.ensure(made)
        given = _dated((1, "a", 100, "I"), (1, "b", 200, "U"), (1, None, 300, "D"), (2, None, 5, "D"), (2, "x", 9, "U"))
        first = destination.load(made, Load(FEED, 0, 1, 1, given))
        before = self.line(destination, 1), self.line(destination, 2)
        second = destination.load(made, Load(FEED, 1, 2, 1, given))
        assert (first.inserted, first.deleted, second.inserted, second.updated) == (3, 2, 0, 0)
        assert (self.line(destination, 1), self.line(destination, 2)) == before

    def test_a_newer_word_on_the_same_moment_replaces_the_version(self, destination: Destination[Any]) -> None:
        made = _versions()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, _dated((1, "a", 100, "I"), (1, "b", 200, "U"))))
        loaded = destination.load(made, Load(FEED, 1, 2, 1, _dated((1, "A", 100, "U"))))
        assert loaded == Loaded(1, updated=1)
        assert self.line(destination, 1) == [("A", 100, 199.999, False, False), ("b", 200, None, True, False)]

    @pytest.mark.spec("loading.21.2")
    def test_history_of_100000_events_equals_one_by_one(self, destination: Destination[Any]) -> None:
        made = _versions()
        events = shuffled()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, events))
        assert self.spans(destination) == _sequential(events.table.to_pylist())

    @pytest.mark.spec("loading.21.2")
    def test_history_of_loads_in_any_order_equals_one_by_one_where_each_event_says_something_new(
        self, destination: Destination[Any]
    ) -> None:
        made = _versions()
        destination.ensure(made)
        alive = shuffled(count=3000, keys=300).table
        alive = alive.filter(pc.equal(alive[columns.OP_TYPE], "U"))
        told = pc.cast(alive[columns.INGESTED_AT], pa.string())
        alive = alive.set_column(alive.schema.get_field_index("v"), "v", told)
        for segment, (low, high) in enumerate(pairwise([0, 900, 901, 2000, alive.num_rows])):
            destination.load(made, Load(FEED, segment, segment + 1, 1, Rows(alive.slice(low, high - low))))
        assert self.spans(destination) == _sequential(alive.to_pylist())

    def spans(self, destination: Destination[Any]) -> set[tuple[Any, ...]]:
        """All versions of all keys."""
        names = ("k", "v", columns.VALID_FROM, columns.VALID_TO, columns.IS_ACTIVE, columns.MARKED_DELETED)
        return {tuple(row[name] for name in names) for row in self.contents(destination, "versions")}

    def line(self, destination: Destination[Any], key: int) -> list[tuple[Any, ...]]:
        """The versions of a key: value, from, to (seconds; None is for ever), active, deleted."""
        found = self.contents(destination, "versions", order=f'"{columns.VALID_FROM}"')
        return [
            (
                row["v"],
                _seconds(row[columns.VALID_FROM]),
                _seconds(row[columns.VALID_TO]),
                row[columns.IS_ACTIVE],
                row[columns.MARKED_DELETED],
            )
            for row in found
            if row["k"] == key
        ]


def _versions() -> Table:
    business = {"k": types.LONG, "v": types.VARCHAR, columns.SOURCE_MODIFIED_AT: types.TIMESTAMPTZ}
    return table("versions", business, key=("k",), mode="history", meta=META)


def _dated(*versions: tuple[int, str | None, int, str]) -> Rows:
    """Versions as (key, value, seconds, operation), ingested in the order given."""
    made = {
        "k": array([v[0] for v in versions], types.LONG),
        "v": array([v[1] for v in versions], types.VARCHAR),
        columns.SOURCE_MODIFIED_AT: array([v[2] * 1_000_000 for v in versions], types.TIMESTAMPTZ),
        columns.INGESTED_AT: array(list(range(len(versions))), types.LONG),
        columns.OP_TYPE: array([v[3] for v in versions], types.VARCHAR),
    }
    return Rows(pa.table(made))


def _sequential(events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """History as it must be, from the events of all keys in any order."""
    by_key: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in events:
        by_key[row["k"]].append(row)
    return {
        (k, *version)
        for k, versions in by_key.items()
        for version in _one_by_one(sorted(versions, key=lambda row: row[columns.SOURCE_MODIFIED_AT]))
    }


def _one_by_one(versions: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """History as it must be, from one key's events in order of time."""
    line: list[list[Any]] = []
    current: list[Any] | None = None
    for version in versions:
        at = version[columns.SOURCE_MODIFIED_AT]
        if version[columns.OP_TYPE] == "D":
            if current is not None:
                current[2:] = [at - timedelta(milliseconds=1), False, True]
            elif not line:
                line.append([None, at, at, False, True])
            current = None
            continue
        if current is not None:
            if current[0] == version["v"]:
                continue
            current[2:4] = [at - timedelta(milliseconds=1), False]
        current = [version["v"], at, FOREVER, True, False]
        line.append(current)
    return [tuple(version) for version in line]


def _seconds(moment: datetime) -> float | int | None:
    if moment == FOREVER:
        return None
    seconds = moment.timestamp()
    return int(seconds) if seconds.is_integer() else seconds
