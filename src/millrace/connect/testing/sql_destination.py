"""What every destination that merges must do besides: versions of rows, deletes, and tables changed by their users."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from millrace.connect.destination import Column, Destination, Held, Load, Loaded, Meta, Table, Unloadable
from millrace.connect.testing.destination import FEED, at_once, shuffled
from millrace.connect.testing.items import ItemsContract
from millrace.connect.testing.rows import META, PLAIN, Rows, array, finite, rows, table
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.data.compute import pc
from millrace.errors import SchemaError, Stale

SCHEMA = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG, columns.OP_TYPE: types.VARCHAR}
# Of the columns that a destination may have, so many are kept for Millrace (loading.md 18).
RESERVED = 6
FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

# The worked example of loading.md 5: what the table holds, what comes, what it holds then.
BEFORE = rows(
    SCHEMA, (1, "a", 100, "I"), (2, "b", 500, "I"), (3, "c", 100, "I"), (5, "e", 90, "I"), (5, None, 100, "D")
)
BATCH = rows(
    SCHEMA,
    (1, "a2", 200, "U"),
    (1, "a3", 200, "U"),
    (2, "stale", 400, "U"),
    (3, "c2", 200, "U"),
    (3, None, 300, "D"),
    (4, "d", 200, "I"),
    (5, "e2", 200, "I"),
    (6, None, 200, "D"),
    (7, "g", 200, "I"),
    (7, None, 210, "D"),
    (7, "g2", 220, "I"),
)
AFTER = [
    (1, "a3", 200, False, 22),
    (2, "b", 500, False, 11),
    (3, "c2", 300, True, 22),
    (4, "d", 200, False, 22),
    (5, "e2", 200, False, 22),
    (6, None, 200, True, 22),
    (7, "g2", 220, False, 22),
]


def example(name: str = "worked", *, mode: LoadMode = "merge", meta: Meta = META) -> Table:
    return table(name, {"k": types.LONG, "v": types.VARCHAR}, key=("k",), mode=mode, meta=meta)


class SqlDestinationContract(ItemsContract):
    """Tests for a destination that merges and keeps history in SQL."""

    @abstractmethod
    def behind(self, *statements: str) -> None:
        """Somebody else runs SQL in the same place; `{t:name}` stands for a table's qualified name."""

    def merged(self, destination: Destination[Any], name: str = "worked") -> list[tuple[Any, ...]]:
        names = ("k", "v", columns.INGESTED_AT, columns.MARKED_DELETED, columns.LOADED_AT)
        return [tuple(row[n] for n in names) for row in self.contents(destination, name, order="k")]

    # Merge.

    @pytest.mark.spec("loading.21.1")
    def test_the_worked_result_of_a_merge(self, destination: Destination[Any]) -> None:
        made = example()
        destination.ensure(made)
        first = destination.load(made, Load(FEED, 0, 1, 11, BEFORE))
        assert first == Loaded(5, inserted=4, deleted=1)
        second = destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert self.merged(destination) == AFTER
        assert second == Loaded(11, inserted=2, updated=3, deleted=2, duplicates=3, stale=1)

    @pytest.mark.spec("loading.21.1")
    def test_the_same_batch_twice_changes_only_the_time_of_loading(self, destination: Destination[Any]) -> None:
        made = example()
        destination.ensure(made)
        for segment, given in enumerate((BEFORE, BATCH, BATCH)):
            destination.load(made, Load(FEED, segment, segment + 1, 11 * (segment + 1), given))
        assert [row[:4] for row in self.merged(destination)] == [row[:4] for row in AFTER]
        assert [row[4] for row in self.merged(destination)] == [33, 11, 33, 33, 33, 33, 33]

    def test_a_merge_without_deletes_has_no_flag(self, destination: Destination[Any]) -> None:
        made = example(meta=PLAIN)
        destination.ensure(made)
        schema = {name: type_ for name, type_ in SCHEMA.items() if name != columns.OP_TYPE}
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (1, "a", 5), (2, "b", 5))))
        loaded = destination.load(made, Load(FEED, 1, 2, 2, rows(schema, (1, "A", 6), (2, "B", 4), (3, "c", 1))))
        assert loaded == Loaded(3, inserted=1, updated=1, stale=1)
        assert [(row["k"], row["v"]) for row in self.contents(destination, "worked", order="k")] == [
            (1, "A"),
            (2, "b"),
            (3, "c"),
        ]
        assert columns.MARKED_DELETED not in (destination.schema("worked") or {})

    def test_order_columns_come_before_the_time_of_ingestion(self, destination: Destination[Any]) -> None:
        made = table(
            "ordered", {"k": types.LONG, "v": types.VARCHAR, "p": types.LONG}, key=("k",), meta=META, order=("p",)
        )
        schema = {"k": types.LONG, "v": types.VARCHAR, "p": types.LONG, columns.INGESTED_AT: types.LONG}
        schema[columns.OP_TYPE] = types.VARCHAR
        destination.ensure(made)
        first = rows(schema, (1, "new", 9, 1, "I"), (1, "old", 8, 2, "I"), (2, "x", None, 5, "I"), (3, "y", 7, 1, "I"))
        destination.load(made, Load(FEED, 0, 1, 1, first))
        then = rows(
            schema, (1, "late", 5, 100, "U"), (2, "z", 1, 4, "U"), (3, None, 9, 2, "D"), (3, "older", 8, 50, "U")
        )
        destination.load(made, Load(FEED, 1, 2, 2, then))
        # A delete carries its place in the order along, so that an older update does not revive the row.
        destination.load(made, Load(FEED, 2, 3, 3, rows(schema, (3, "oldest", 8, 99, "U"))))
        found = self.contents(destination, "ordered", order="k")
        assert [(row["k"], row["v"], row["p"], row[columns.MARKED_DELETED]) for row in found] == [
            (1, "new", 9, False),
            (2, "x", None, False),
            (3, "older", 9, True),
        ]

    def test_a_key_of_many_columns_is_one_key(self, destination: Destination[Any]) -> None:
        made = table("pairs", {"a": types.VARCHAR, "b": types.TIMESTAMPTZ, "v": types.LONG}, key=("a", "b"))
        schema = {"a": types.VARCHAR, "b": types.TIMESTAMPTZ, "v": types.LONG, columns.INGESTED_AT: types.LONG}
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, ("x", 1, 1, 1), ("x", 2, 2, 1), ("y", 1, 3, 1))))
        destination.load(made, Load(FEED, 1, 2, 1, rows(schema, ("x", 2, 20, 1), ("y", 2, 4, 1))))
        assert sorted(row["v"] for row in self.contents(destination, "pairs")) == [1, 3, 4, 20]

    def test_a_row_without_key_is_refused_by_number(self, destination: Destination[Any]) -> None:
        made = example()
        destination.ensure(made)
        given = rows(SCHEMA, (1, "a", 1, "I"), (None, "b", 1, "I"), (2, "c", 1, "I"), (None, None, 1, "D"))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "NULL_PRIMARY_KEY"), (3, "NULL_PRIMARY_KEY")]
        assert destination.held(FEED, "worked") is None
        loaded = destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({1, 3})))
        assert loaded == Loaded(4, inserted=2, refused=2)

    def test_a_stale_worker_is_refused_in_a_merge(self, destination: Destination[Any]) -> None:
        made = example()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 2, 11, BEFORE))
        with pytest.raises(Stale):
            destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert [row[1] for row in self.merged(destination)] == ["a", "b", "c", "e"]

    def test_notes_without_the_file_of_a_segment_get_a_place_for_it(self, destination: Destination[Any]) -> None:
        made = example()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 2, 11, BEFORE, staged_file="one.arrow"))
        destination.close()
        self.behind(f"ALTER TABLE {{t:{made.meta.loads}}} DROP COLUMN staged_file")
        assert destination.holding(FEED, "worked") == Held(2)
        destination.ensure(made)
        assert destination.holding(FEED, "worked") == Held(2)
        destination.load(made, Load(FEED, 2, 3, 22, BATCH, staged_file="other.arrow"))
        assert destination.holding(FEED, "worked") == Held(3, "other.arrow")

    def test_a_load_by_the_numbers_balances(self, destination: Destination[Any]) -> None:
        made = example()
        destination.ensure(made)
        for segment in range(3):
            given = shuffled(count=3000, keys=400)
            loaded = destination.load(made, Load(FEED, segment, segment + 1, 1, given, frozenset({7, 8})))
            parts = (
                loaded.inserted, loaded.updated, loaded.deleted, loaded.duplicates, loaded.stale, loaded.unchanged,
                loaded.refused,
            )  # fmt: skip
            assert sum(parts) == loaded.rows == 3000

    @pytest.mark.spec("loading.21.2")
    def test_a_merge_of_100000_events_equals_one_by_one(self, destination: Destination[Any]) -> None:
        made = example()
        events = shuffled()
        destination.ensure(made)
        cuts = [0, 30_000, 30_001, 100_000]
        for segment, (low, high) in enumerate(pairwise(cuts)):
            part = Rows(events.table.slice(low, high - low), 10_000)
            destination.load(made, Load(FEED, segment, segment + 1, 1, part))
        expected: dict[int, tuple[Any, ...]] = {}
        for row in events.table.to_pylist():
            k, at = row["k"], row[columns.INGESTED_AT]
            old = expected.get(k)
            if old and old[1] > at:
                # An update older than the delete that is known already still brings no values.
                continue
            deleted = row[columns.OP_TYPE] == "D"
            expected[k] = ((old[0] if old else None) if deleted else row["v"], at, deleted)
        merged = self.merged(destination)
        found = {k: (at, deleted) for k, _, at, deleted, _ in merged}
        assert found == {k: state[1:] for k, state in expected.items()}
        live = {k: v for k, v, _, deleted, _ in merged if not deleted}
        assert live == {k: state[0] for k, state in expected.items() if not state[2]}

    @pytest.mark.spec("loading.21.2")
    def test_append_keeps_each_of_100000_events(self, destination: Destination[Any]) -> None:
        made = example(mode="append")
        events = shuffled()
        destination.ensure(made)
        for segment, (low, high) in enumerate(pairwise([0, 30_000, 30_001, 100_000])):
            destination.load(made, Load(FEED, segment, segment + 1, segment, Rows(events.table.slice(low, high - low))))
        names = ("k", "v", columns.INGESTED_AT, columns.MARKED_DELETED, columns.LOADED_AT)
        quoted = ", ".join(f'"{name}"' for name in names)
        found = destination.query(f'SELECT {quoted} FROM {self.place(destination)}"worked"').to_pydict()
        given = events.table.to_pydict()
        gone = [op == "D" for op in given[columns.OP_TYPE]]
        loads = [0 if n < 30_000 else 1 if n == 30_000 else 2 for n in range(100_000)]
        expected = zip(given["k"], given["v"], given[columns.INGESTED_AT], gone, loads, strict=True)
        assert sorted(zip(*(found[name] for name in names), strict=True), key=_newest) == sorted(expected, key=_newest)

    @pytest.mark.spec("loading.21.9")
    def test_as_many_columns_as_may_be_mapped_stand_beside_all_of_millraces_own(
        self, destination: Destination[Any]
    ) -> None:
        # DuckDB itself has no limit; ours is reached by a test of whole runs.
        most = min(destination.limits.columns, 1600)
        business = {f"c{i:04}": types.BOOLEAN for i in range(most - RESERVED - 1)}
        every = {"k": types.LONG, **business}
        # No mode has more columns of its own than history, and none writes a row as cheaply as append.
        made = table("full", every, key=("k",), mode="history", meta=META)
        destination.ensure(made)
        assert destination.ensure(made) == []
        assert len(destination.schema("full") or {}) == most
        appended = table("appended", every, mode="append", meta=META)
        destination.ensure(appended)
        schema = {**every, columns.INGESTED_AT: types.LONG, columns.OP_TYPE: types.VARCHAR}
        given = rows(schema, (1, *(True for _ in business), 1, "I"))
        destination.load(appended, Load(FEED, 0, 1, 1, given))
        (row,) = self.contents(destination, "appended")
        assert {row[name] for name in business} == {True}

    @pytest.mark.spec("pipelines.22.6")
    def test_append_keeps_deletes_as_rows_with_the_flag(self, destination: Destination[Any]) -> None:
        made = example(mode="append")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, BATCH))
        found = self.contents(destination, "worked")
        assert len(found) == 11
        assert sum(row[columns.MARKED_DELETED] for row in found) == 3

    def test_a_table_that_was_appended_to_can_be_merged(self, destination: Destination[Any]) -> None:
        appended, merging = example(mode="append"), example()
        for segment, made in enumerate((appended, appended, merging, appended, merging)):
            destination.ensure(made)
            destination.load(made, Load(FEED, segment, segment + 1, 1, BEFORE))
        assert {row["k"] for row in self.contents(destination, "worked")} == {1, 2, 3, 5}

    # History.

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

    @pytest.mark.parametrize("mode", ["merge", "history"])
    @pytest.mark.parametrize(("before_ms", "left"), [(None, []), (500, [2])])
    def test_a_truncation_marks_what_the_table_holds_or_what_is_older(
        self, destination: Destination[Any], mode: LoadMode, before_ms: int | None, left: list[int]
    ) -> None:
        made = example("emptied", mode=mode)
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, BEFORE))
        one = Rows(BATCH.table.slice(0, 1))
        loaded = destination.load(made, Load(FEED, 1, 2, 7, one, truncated_at_ms=1000, truncated_before_ms=before_ms))
        assert (loaded.unchanged, loaded.marked) == (1, 3 - len(left))
        found = self.contents(destination, "emptied")
        assert [row["k"] for row in found if not row[columns.MARKED_DELETED]] == left
        if mode == "history":
            assert [row["k"] for row in found if row[columns.IS_ACTIVE]] == left

    # A table changed behind our back.

    def changed(self, destination: Destination[Any], *statements: str) -> Table:
        """The table of the worked example, loaded, then changed by its user."""
        made = example()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 11, BEFORE))
        destination.close()
        self.behind(*statements)
        return made

    @pytest.mark.spec("loading.21.7")
    def test_a_dropped_column_comes_back(self, destination: Destination[Any]) -> None:
        made = self.changed(destination, "ALTER TABLE {t:worked} DROP COLUMN v")
        assert [(c.kind, c.column) for c in destination.ensure(made)] == [("add", "v")]
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert [row[1] for row in self.merged(destination)] == ["a3", None, "c2", "d", "e2", None, "g2"]

    def test_a_dropped_metadata_column_comes_back(self, destination: Destination[Any]) -> None:
        made = self.changed(
            destination,
            f'ALTER TABLE {{t:worked}} DROP COLUMN "{columns.INGESTED_AT}"',
            f'ALTER TABLE {{t:worked}} DROP COLUMN "{columns.MARKED_DELETED}"',
        )
        assert len(destination.ensure(made)) == 2
        # Rows without a time of ingestion count as oldest, so the stale row of the batch is newer now.
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert [row[1] for row in self.merged(destination)] == ["a3", "stale", "c2", "d", "e2", None, "g2"]

    def test_a_column_dropped_between_ensure_and_load_is_named(self, destination: Destination[Any]) -> None:
        made = self.changed(destination, "ALTER TABLE {t:worked} DROP COLUMN v")
        with pytest.raises(SchemaError) as error:
            destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert error.value.code == "COLUMN_MISSING"
        assert destination.held(FEED, "worked") == 1

    @pytest.mark.spec("loading.21.7")
    def test_a_dropped_table_is_made_again(self, destination: Destination[Any]) -> None:
        made = self.changed(destination, "DROP TABLE {t:worked}")
        with pytest.raises(SchemaError) as error:
            destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert error.value.code == "TABLE_MISSING"
        assert [c.kind for c in destination.ensure(made)] == ["create"]
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert len(self.merged(destination)) == 7

    def test_a_view_in_the_place_of_a_table_is_named_and_nothing_is_done_to_it(
        self, destination: Destination[Any]
    ) -> None:
        made = self.changed(destination, "DROP TABLE {t:worked}", "CREATE VIEW {t:worked} AS SELECT 7 AS k")
        for attempt in (lambda: destination.ensure(made), lambda: destination.drop("worked")):
            with pytest.raises(SchemaError, match="'worked' is a view") as error:
                attempt()
            assert error.value.code == "not_a_table"
        destination.ensure(replace(made, name="fresh"))
        with pytest.raises(SchemaError, match="'worked' is a view"):
            destination.swap("fresh", "worked")
        destination.close()
        self.behind("DROP VIEW {t:worked}")
        destination.ensure(made)
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))

    def test_columns_of_the_users_own_are_left_alone_but_a_row_that_comes_again_comes_without_them(
        self, destination: Destination[Any]
    ) -> None:
        made = self.changed(
            destination, "ALTER TABLE {t:worked} ADD COLUMN mine INTEGER", "UPDATE {t:worked} SET mine = 5"
        )
        assert destination.ensure(made) == []
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert self.merged(destination) == AFTER
        mine = {row["k"]: row["mine"] for row in self.contents(destination, "worked")}
        assert (mine[1], mine[2]) == (None, 5), "a newer version of 1 came, none of 2"

    def test_a_column_made_text_takes_the_values_as_text(self, destination: Destination[Any]) -> None:
        made = table("texted", {"k": types.LONG, "n": types.LONG, "t": types.TIMESTAMPTZ}, key=("k",))
        schema = {"k": types.LONG, "n": types.LONG, "t": types.TIMESTAMPTZ, columns.INGESTED_AT: types.LONG}
        destination.ensure(made)
        destination.close()
        self.behind(
            "ALTER TABLE {t:texted} ALTER COLUMN n TYPE VARCHAR", "ALTER TABLE {t:texted} ALTER COLUMN t TYPE VARCHAR"
        )
        assert destination.ensure(made) == []
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (1, 2**62, 1, 1))))
        found = self.contents(destination, "texted")[0]
        assert (found["n"], found["t"]) == (str(2**62), "1970-01-01T00:00:00.000001Z")

    def test_a_column_made_wider_takes_the_values(self, destination: Destination[Any]) -> None:
        made = table("wider", {"k": types.LONG, "n": types.INTEGER}, key=("k",))
        schema = {"k": types.LONG, "n": types.INTEGER, columns.INGESTED_AT: types.LONG}
        destination.ensure(made)
        destination.close()
        self.behind("ALTER TABLE {t:wider} ALTER COLUMN n TYPE DECIMAL(20,2)")
        assert destination.ensure(made) == []
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (1, 7, 1))))
        assert self.contents(destination, "wider")[0]["n"] == 7

    def test_a_column_made_incompatible_is_refused(self, destination: Destination[Any]) -> None:
        made = self.changed(
            destination, "ALTER TABLE {t:worked} DROP COLUMN v", "ALTER TABLE {t:worked} ADD COLUMN v DATE"
        )
        wanted = replace(made, columns=tuple(c if c.name != "v" else Column("v", types.DOUBLE) for c in made.columns))
        with pytest.raises(SchemaError) as error:
            destination.ensure(wanted)
        assert "resync" in str(error.value.hint)
        assert "'v'" in error.value.message

    def test_a_key_column_is_not_altered(self, destination: Destination[Any]) -> None:
        made = self.changed(destination)
        wanted = replace(made, columns=tuple(c if c.name != "k" else Column("k", types.VARCHAR) for c in made.columns))
        with pytest.raises(SchemaError):
            destination.ensure(wanted)

    def test_another_primary_key_is_refused(self, destination: Destination[Any]) -> None:
        self.behind(f'CREATE TABLE {{t:keyed}} (k BIGINT, v VARCHAR(99) PRIMARY KEY, "{columns.INGESTED_AT}" BIGINT)')
        with pytest.raises(SchemaError):
            destination.ensure(example("keyed"))

    def test_a_table_of_the_users_with_the_same_key_is_used(self, destination: Destination[Any]) -> None:
        self.behind(
            "CREATE TABLE {t:theirs} (k BIGINT PRIMARY KEY, v VARCHAR(99), note VARCHAR(9))",
            "INSERT INTO {t:theirs} VALUES (1, 'old', 'n'), (99, 'kept', 'n')",
        )
        made = example("theirs")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 22, BATCH))
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert [row[1] for row in self.merged(destination, "theirs")] == [
            "a3", "stale", "c2", "d", "e2", None, "g2", "kept",
        ]  # fmt: skip

    def test_a_column_of_the_users_that_needs_a_value_is_named(self, destination: Destination[Any]) -> None:
        self.behind("CREATE TABLE {t:needy} (k BIGINT, v VARCHAR(99), must INTEGER NOT NULL)")
        with pytest.raises(SchemaError) as error:
            destination.ensure(example("needy"))
        assert "must" in error.value.message

    # Types that widen.

    @pytest.mark.parametrize(
        ("narrow", "wide", "value", "text"),
        [
            (types.INTEGER, types.LONG, 2**31 - 1, None),
            (types.SHORT, types.INTEGER, -5, None),
            (types.INTEGER, types.DOUBLE, 7, None),
            (types.FLOAT, types.DOUBLE, 0.5, None),
            (types.LONG, types.decimal(38, 5), 2**63 - 1, None),
            (types.decimal(10, 2), types.decimal(20, 4), None, None),
            (types.DATE, types.TIMESTAMPTZ, 3, None),
            (types.LONG, types.VARCHAR, 2**63 - 1, str(2**63 - 1)),
            (types.DOUBLE, types.VARCHAR, 1.5, "1.5"),
            (types.DOUBLE, types.VARCHAR, 3.0, "3"),
            (types.DOUBLE, types.VARCHAR, float("nan"), "NaN"),
            (types.DOUBLE, types.VARCHAR, float("-inf"), "-Infinity"),
            (types.BOOLEAN, types.VARCHAR, True, "true"),
            (types.DATE, types.VARCHAR, 1, "1970-01-02"),
            (types.TIME, types.VARCHAR, 1, "00:00:00.000001"),
            (types.TIMESTAMP, types.VARCHAR, 1_000_000, "1970-01-01T00:00:01.000000"),
            (types.TIMESTAMPTZ, types.VARCHAR, -1, "1969-12-31T23:59:59.999999Z"),
            (types.BYTEARRAY, types.VARCHAR, b"\x00\xff" * 60, "AP8A/wD/" * 20),
            (types.JSON, types.VARCHAR, '"x"', '"x"'),
        ],
    )
    def test_a_wider_type_keeps_the_values_in_the_form_of_new_ones(
        self, destination: Destination[Any], narrow: pa.DataType, wide: pa.DataType, value: Any, text: str | None
    ) -> None:
        before = table("widening", {"k": types.LONG, "v": narrow}, key=("k",))
        after = table("widening", {"k": types.LONG, "v": wide}, key=("k",))
        schema = {"k": types.LONG, "v": narrow, columns.INGESTED_AT: types.LONG}
        destination.ensure(before)
        if not destination.limits.nan and not finite(narrow, [value]):
            with pytest.raises(Unloadable):
                destination.load(before, Load(FEED, 0, 1, 1, rows(schema, (1, value, 1))))
            return
        destination.load(before, Load(FEED, 0, 1, 1, rows(schema, (1, value, 1), (2, None, 1))))
        assert [(c.kind, c.column) for c in destination.ensure(after)] == [("widen", "v")]
        assert destination.ensure(after) == []
        assert destination.ensure(before) == []  # never narrower again
        destination.load(after, Load(FEED, 1, 2, 1, rows(schema, (3, value, 1))))
        old, none, new = [row["v"] for row in self.contents(destination, "widening", order="k")]
        assert none is None
        assert repr(old) == repr(new)
        if text is not None:
            assert old == text

    # Rows that cannot go in.

    def test_a_row_that_a_check_of_the_users_refuses_is_found(self, destination: Destination[Any]) -> None:
        self.behind(
            f'CREATE TABLE {{t:checked}} (k BIGINT, v VARCHAR(99), "{columns.INGESTED_AT}" BIGINT, '
            "CHECK (k % 1000 <> 77))"
        )
        made = example("checked", meta=PLAIN)
        destination.ensure(made)
        schema = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
        given = rows(schema, *((n, "v", n) for n in range(3000)))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [
            (77, "CONSTRAINT_VIOLATION"),
            (1077, "CONSTRAINT_VIOLATION"),
            (2077, "CONSTRAINT_VIOLATION"),
        ]
        assert destination.held(FEED, "checked") is None
        loaded = destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({77, 1077, 2077})))
        assert (loaded.inserted, loaded.refused) == (2997, 3)

    def test_rows_that_only_together_break_a_constraint_are_found(self, destination: Destination[Any]) -> None:
        self.behind(f'CREATE TABLE {{t:single}} (k BIGINT, v VARCHAR(99) UNIQUE, "{columns.INGESTED_AT}" BIGINT)')
        made = example("single", meta=PLAIN)
        destination.ensure(made)
        schema = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
        given = rows(schema, (1, "a", 1), (2, "b", 1), (3, "a", 1), (4, "d", 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(2, "CONSTRAINT_VIOLATION")]
        destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({2})))
        assert len(self.contents(destination, "single")) == 3

    def test_a_missing_value_in_a_column_that_must_have_one_is_found(self, destination: Destination[Any]) -> None:
        self.behind(f'CREATE TABLE {{t:full}} (k BIGINT, v VARCHAR(99) NOT NULL, "{columns.INGESTED_AT}" BIGINT)')
        made = example("full", meta=PLAIN)
        destination.ensure(made)
        schema = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
        given = rows(schema, (1, "a", 1), (2, None, 1), (3, "c", 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "CONSTRAINT_VIOLATION")]

    # Many at once.

    def test_two_pipelines_merge_into_one_table_at_once(self) -> None:
        def work(feed: str, low: int) -> None:
            mine = self.another()
            try:
                made = example("both")
                mine.ensure(made)
                for segment in range(4):
                    given = rows(SCHEMA, *((low + n, f"{feed}{segment}", segment, "U") for n in range(100)))
                    mine.load(made, Load(feed, segment, segment + 1, 1, given))
            finally:
                mine.close()

        works: list[Callable[[], None]] = [lambda: work("a/1", 0), lambda: work("b/1", 50)]
        at_once(works)
        destination = self.another()
        found = self.contents(destination, "both")
        assert sorted(row["k"] for row in found) == list(range(150))
        assert {row["v"] for row in found} <= {"a/13", "b/13"}
        destination.close()


def _newest(row: tuple[Any, ...]) -> Any:
    """Of `shuffled`, each event has a time of ingestion of its own."""
    return row[2]


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


__all__ = ["SqlDestinationContract"]
