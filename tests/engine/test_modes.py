"""Deletes and history, from a source that reports changes to the rows of a table (loading.md 5 and 20.3)."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from tests.engine.kit import Rig, changes, rig, types

from millrace.data.batch import Checkpoint
from millrace.data.columns import OP_TYPE, SOURCE_MODIFIED_AT

__all__ = ["rig", "types"]

MOMENT = pa.timestamp("us", "UTC")
DELETED = "__hevo__marked_deleted"
SPAN = ("__hevo__valid_from", "__hevo__valid_to", "__hevo__is_active")


def at(month: int, day: int = 1) -> datetime:
    return datetime(2025, month, day, tzinfo=UTC)


def subscriptions(*rows: tuple[str, str | None, datetime, str]) -> list[object]:
    names = ("id", "status", SOURCE_MODIFIED_AT, OP_TYPE)
    return [changes(*rows, names=names, types=(pa.string(), pa.string(), MOMENT, pa.string())), Checkpoint(len(rows))]


def history(rig: Rig) -> list[tuple[object, ...]]:
    """Versions with their spans; moments as text, so that the time zone of the machine has no say."""
    spans = [f"strftime({name}, '%Y-%m-%d %H:%M:%S.%g')" for name in SPAN[:2]]
    return rig.rows("subscriptions", "id", "status", *spans, SPAN[2], order="1, 3")


FOREVER = "9999-12-31 23:59:59.000"


@pytest.mark.spec("pipelines.22.14")
@pytest.mark.parametrize("together", [True, False], ids=["one load", "a load each"])
@pytest.mark.parametrize("late", [False, True], ids=["in order", "late"])
def test_history_keeps_every_version_and_its_span(
    rig: Rig, together: bool, late: bool
):  # loading.md 20.3, pipelines.md 19.14
    trial, active = ("sub_001", "trial", at(1), "I"), ("sub_001", "active", at(2), "U")
    first, second = (active, trial) if late else (trial, active)
    tales = [subscriptions(first, second)] if together else [subscriptions(first), subscriptions(second)]
    rig.script.stream("subscriptions", *tales, key=("id",), deletes=True)
    rig.create("history")
    for _ in tales:
        rig.run()
        rig.clock.advance(60)
    assert history(rig) == [
        ("sub_001", "trial", "2025-01-01 00:00:00.000", "2025-01-31 23:59:59.999", False),
        ("sub_001", "active", "2025-02-01 00:00:00.000", FOREVER, True),
    ]


def test_a_version_equal_to_the_active_one_is_none(rig: Rig):
    rig.script.stream(
        "subscriptions",
        subscriptions(("a", "on", at(1), "I")),
        subscriptions(("a", "on", at(2), "U")),
        key=("id",),
        deletes=True,
    )
    rig.create("history")
    rig.run()
    record = rig.run()
    assert history(rig) == [("a", "on", "2025-01-01 00:00:00.000", FOREVER, True)]
    assert record.balance.even


def test_a_delete_ends_the_last_version(rig: Rig):
    rig.script.stream(
        "subscriptions",
        subscriptions(("a", "on", at(1), "I"), ("b", "on", at(1), "I")),
        subscriptions(("a", None, at(3), "D")),
        key=("id",),
        deletes=True,
    )
    rig.create("history")
    rig.run()
    rig.run()
    assert history(rig) == [
        ("a", "on", "2025-01-01 00:00:00.000", "2025-02-28 23:59:59.999", False),
        ("b", "on", "2025-01-01 00:00:00.000", FOREVER, True),
    ]
    assert rig.rows("subscriptions", "id", DELETED) == [("a", True), ("b", False)]


@pytest.mark.spec("pipelines.22.14")
def test_history_that_is_read_again_is_the_same(rig: Rig):
    said = subscriptions(
        ("a", "1", at(1), "I"), ("a", "2", at(2), "U"), ("a", None, at(3), "D"), ("a", "3", at(4), "I")
    )
    rig.script.stream("subscriptions", said, key=("id",), deletes=True)
    rig.create("history")
    rig.run()
    once = history(rig)
    assert len(once) == 3
    rig.clock.advance(60)
    rig.run()
    assert history(rig) == once
    rig.resync()
    assert history(rig) == once


def test_merge_marks_what_the_source_deleted_and_revives_what_comes_back(rig: Rig):
    names, kinds = ("id", "v", OP_TYPE), (pa.int64(), pa.string(), pa.string())

    def said(*rows: tuple[object, ...]) -> list[object]:
        return [changes(*rows, names=names, types=kinds), Checkpoint(1)]

    rig.script.stream(
        "items",
        said((1, "a", "I"), (2, "b", "I"), (3, "c", "I"), (3, None, "D"), (4, "d", "I"), (4, None, "D"), (4, "e", "I")),
        said((1, None, "D"), (9, None, "D")),
        said((1, "back", "I")),
        key=("id",),
        deletes=True,
    )
    rig.create()
    rig.run()

    def read() -> list[tuple[object, ...]]:
        return rig.rows("items", "id", "v", DELETED)

    assert read() == [(1, "a", False), (2, "b", False), (3, "c", True), (4, "e", False)]
    rig.clock.advance(1)
    rig.run()
    assert read() == [(1, "a", True), (2, "b", False), (3, "c", True), (4, "e", False), (9, None, True)]
    rig.clock.advance(1)
    record = rig.run()
    assert read()[0] == (1, "back", False)
    assert record.balance.even


@pytest.mark.spec("pipelines.22.13")
def test_metadata_columns_have_their_names_and_types_and_rows_of_before_no_mark(rig: Rig):
    rig.change(
        "CREATE TABLE subscriptions (id VARCHAR PRIMARY KEY, status VARCHAR)",
        "INSERT INTO subscriptions VALUES ('z', 'on')",
    )
    rig.script.stream("subscriptions", subscriptions(("a", "on", at(1), "I")), key=("id",), deletes=True)
    rig.create()
    rig.run()
    columns = rig.query(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'subscriptions'"
    )
    assert {one["column_name"]: one["data_type"] for one in columns} == {
        "id": "VARCHAR",
        "status": "VARCHAR",
        "__hevo__ingested_at": "BIGINT",
        "__hevo__loaded_at": "BIGINT",
        "__hevo__marked_deleted": "BOOLEAN",
        "__hevo__source_modified_at": "TIMESTAMP WITH TIME ZONE",
    }
    assert rig.rows("subscriptions", "id", DELETED) == [("a", False), ("z", None)]


def test_the_newer_of_two_versions_wins_whichever_comes_last(rig: Rig):
    rig.script.stream(
        "subscriptions",
        subscriptions(("a", "new", at(2), "U")),
        subscriptions(("a", "old", at(1), "I")),
        key=("id",),
        deletes=True,
    )
    rig.create()
    rig.run()
    rig.clock.advance(60)
    rig.run()
    assert rig.rows("subscriptions", "id", "status") == [("a", "new")]


def test_append_keeps_every_row_with_its_kind(rig: Rig):
    rig.script.stream(
        "subscriptions", subscriptions(("a", "on", at(1), "I"), ("a", None, at(2), "D")), key=("id",), deletes=True
    )
    rig.create("append")
    rig.run()
    assert rig.rows("subscriptions", "id", "status", DELETED, order="status") == [("a", "on", False), ("a", None, True)]


def test_appended_rows_may_get_their_key_after_the_first_load(rig: Rig):
    tales = [[[{"n": 1}], Checkpoint(1)], [[{"id": 5, "n": 2}], Checkpoint(2)]]
    rig.script.stream("orders", *tales, key=("id",))
    rig.create("append")
    for _ in tales:
        record = rig.run()
        assert (record.balance.loaded, record.balance.waiting) == (1, 0)
    assert rig.rows("orders", "id", "n", order="n") == [(None, 1), (5, 2)]
