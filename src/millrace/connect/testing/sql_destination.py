"""What every destination that merges must do besides: deletes, wider types, many at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from millrace.connect.destination import Destination, Held, Load, Loaded, Unloadable
from millrace.connect.testing.changed import ChangedContract
from millrace.connect.testing.destination import FEED, at_once
from millrace.connect.testing.extremes import finite
from millrace.connect.testing.rows import META, PLAIN, Rows, rows, shuffled, table
from millrace.connect.testing.worked import AFTER, BATCH, BEFORE, SCHEMA, example
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.errors import Stale

# Of the columns that a destination may have, so many are kept for Millrace (loading.md 18).
RESERVED = 6


class SqlDestinationContract(ChangedContract):
    """Tests for a destination that merges and keeps history in SQL."""

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
