"""Rejected rows on their way again, once their cause was mended: none is lost, none doubled, none overtakes."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, START, Killed, Rig, Shaky, changes, items, rig, types
from tests.postgres import Database

from millrace.control.pipeline import pipelines
from millrace.data.batch import Checkpoint, Refused
from millrace.data.columns import OP_TYPE, REJECTS
from millrace.errors import ConfigError

__all__ = ["rig", "types"]

SHORT = "CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)"


def widen(rig: Rig) -> None:
    """The user makes the table anew without its limit."""
    rig.change(
        "ALTER TABLE items RENAME TO old",
        "CREATE TABLE items AS SELECT * FROM old",
        "DROP TABLE old",
    )


def refused(*rows: object) -> Refused:
    found = [
        {
            "stream": "items",
            "stage": "source",
            "code": "BAD",
            "message": "bad",
            "row": json.dumps(row),
            "rejected_at": START,
        }
        for row in rows
    ]
    return Refused(pa.RecordBatch.from_pylist(found, schema=REJECTS))


def test_a_users_short_column_made_longer_takes_the_rows_that_it_refused(rig: Rig, database: Database):
    rig.destination_type, rig.destination_config = "postgres", database.settings()
    database.run("CREATE TABLE items (id BIGINT, v VARCHAR(3), __hevo__ingested_at BIGINT)")
    rig.script.stream("items", [items(1, v="ok"), Checkpoint(1)], [items(2, v="too long"), Checkpoint(2)], [])
    rig.create("append")
    rig.run()
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, auto_mapping=False))
    rig.run()
    assert (rig.rows("items", "id"), rig.rejected()) == ([1], {"STRING_TOO_LONG": 1})
    rig.replay()
    assert (rig.rows("items", "id"), rig.rejected()) == ([1], {"STRING_TOO_LONG": 1}), "still bad, refused again"
    database.run("ALTER TABLE items ALTER COLUMN v TYPE VARCHAR(30)")
    record = rig.replay()
    assert rig.rows("items", "id", "v") == [(1, "ok"), (2, "too long")]
    assert rig.rejected() == {}
    assert record.balance.even


def test_a_second_replay_doubles_nothing(rig: Rig):
    rig.change(SHORT)
    rig.script.stream("items", [items(1, v="too long"), [{"id": 2, "v": "ok"}], Checkpoint(1)])
    rig.create("append")
    rig.run()
    widen(rig)
    rig.replay()
    assert rig.replay().balance.read == 0
    assert rig.rows("items", "id", "v") == [(1, "too long"), (2, "ok")]
    assert rig.rejected("replayed") == {"CONSTRAINT_VIOLATION": 1}


@pytest.mark.spec("loading.21.8")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_replay_that_dies_doubles_and_loses_nothing(rig: Rig, when: str):
    rig.destination_type = "shaky"
    rig.change(SHORT)
    rig.script.stream("items", [items(1, v="too long"), Checkpoint(1)], [])
    rig.create("append")
    rig.run()
    widen(rig)
    Shaky.faults = {"load": [(when, Killed())]}
    with pytest.raises(Killed):
        rig.replay()
    rig.run()
    rig.replay()
    assert rig.rows("items", "id") == [1]
    assert rig.rejected() == {}


def test_rows_of_the_mapping_pass_once_auto_mapping_makes_room(rig: Rig):
    rig.script.stream(
        "items",
        [items(1, v=1), Checkpoint(1)],
        [items(2, v="two", w={"a": [1]}), items(3, v=3), Checkpoint(2)],
        key=("id",),
    )
    rig.create()
    rig.run()
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, auto_mapping=False))
    rig.run()
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 1}
    rig.replay()
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 1}, "still bad, refused again"
    pipelines.change(rig.home, PIPELINE, lambda _: found.wish)
    rig.replay()
    assert rig.rejected() == {}
    assert rig.rows("items", "id", "v", "w::VARCHAR") == [(1, "1", None), (2, "two", '{"a":[1]}'), (3, "3", None)]


def test_keys_that_lack_stay_rejects(rig: Rig):
    rig.script.stream("items", [[{"id": None, "v": "x"}, {"id": 1, "v": "y"}], Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    record = rig.replay()
    assert rig.rejected() == {"NULL_PRIMARY_KEY": 1}
    assert rig.rejected(None) == {"NULL_PRIMARY_KEY": 2}
    assert (record.balance.read, record.balance.rejected_rows, record.balance.even) == (1, 1, True)


def test_an_older_row_does_not_overtake_a_newer_one(rig: Rig):
    rig.change(SHORT)
    rig.script.stream(
        "items", [items(1, 2, v="too long"), Checkpoint(1)], [items(1, v="new"), Checkpoint(2)], key=("id",)
    )
    rig.create()
    rig.run()
    rig.clock.advance(60)
    rig.run()
    rig.clock.advance(60)
    widen(rig)
    rig.replay()
    assert rig.rows("items", "id", "v") == [(1, "new"), (2, "too long")]
    first = int(START.timestamp() * 1000)
    assert rig.rows("items", "id", "__hevo__ingested_at") == [(1, first + 60_000), (2, first)]


def test_an_older_row_that_the_mapping_refused_does_not_overtake_either(rig: Rig):
    schema = pa.schema([("id", pa.int64()), ("v", pa.int32())])
    rig.script.stream(
        "items",
        [items(9, v=9), Checkpoint(0)],
        [items(1, v=2**40), items(2, v=2**40), Checkpoint(1)],
        [items(1, v=7), Checkpoint(2)],
        key=("id",),
        schema=schema,
    )
    rig.create()
    rig.run()
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, auto_mapping=False))
    rig.run()
    rig.clock.advance(60)
    rig.run()
    rig.replay()
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 2}
    assert [column for column in rig.query("SELECT * FROM items")[0] if "ingested" in column] == ["__hevo__ingested_at"]


def test_an_older_row_that_the_source_refused_does_not_overtake_either(rig: Rig):
    rig.script.stream(
        "items",
        [refused({"id": 1, "v": "old"}, {"id": 2, "v": "old"}), Checkpoint(1)],
        [items(1, v="new"), Checkpoint(2)],
        key=("id",),
    )
    rig.script.again = lambda rows: [[json.loads(row) for row in rows]]
    rig.create()
    rig.run()
    rig.clock.advance(60)
    rig.run()
    rig.replay()
    assert rig.rows("items", "id", "v") == [(1, "new"), (2, "old")]
    assert rig.rejected() == {}


def test_a_replay_of_the_source_that_fails_closes_no_reject(rig: Rig):
    rig.script.stream("items", [refused({"id": 1}, {"id": 2}), Checkpoint(1)], key=("id",))
    rig.script.again = lambda rows: [items(1), Checkpoint("half"), ConfigError("cannot")]
    rig.create()
    rig.run()
    with pytest.raises(ConfigError):
        rig.replay()
    assert rig.rejected() == {"BAD": 2}


def test_a_source_that_takes_nothing_back_says_so_and_keeps_its_rejects(rig: Rig):
    rig.script.stream("items", [refused({"id": 1}), Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    with pytest.raises(ConfigError, match="cannot take back"):
        rig.replay()
    assert rig.rejected() == {"BAD": 1}


def test_a_delete_that_was_refused_is_still_a_delete(rig: Rig):
    rig.change(
        "CREATE TABLE items (id BIGINT CHECK (id < 5), v VARCHAR, __hevo__ingested_at BIGINT, "
        "__hevo__marked_deleted BOOLEAN)"
    )
    names, kinds = ("id", "v", OP_TYPE), (pa.int64(), pa.string(), pa.string())
    rows = changes((1, "a", "I"), (7, None, "D"), (8, "b", "I"), names=names, types=kinds)
    rig.script.stream("items", [rows, Checkpoint(1)], key=("id",), deletes=True)
    rig.create()
    rig.run()
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 2}
    widen(rig)
    rig.replay()
    assert rig.rows("items", "id", "v", "__hevo__marked_deleted") == [(1, "a", False), (7, None, True), (8, "b", False)]


def test_every_kind_of_value_comes_back_as_it_was(rig: Rig):
    rig.change("CREATE TABLE items (id BIGINT, bad VARCHAR CHECK (length(bad) <= 3), __hevo__ingested_at BIGINT)")
    import datetime as dt
    from decimal import Decimal

    row = {
        "id": 2**60,
        "bad": "too long",
        "f": 0.1,
        "nan": float("nan"),
        "dec": Decimal("12345678901234567890.123"),
        "at": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        "day": dt.date(2026, 1, 2),
        "no": None,
        "json": {"a": [1, 2.50, "x"]},
        "raw": b"\x00\xff",
        "text": '"quoted" \\ ü',
        "yes": True,
    }
    rig.script.stream("items", [[row | {"id": 1, "bad": "ok"}], [row], Checkpoint(1)])
    rig.create("append")
    rig.run()
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 1}
    widen(rig)
    rig.replay()
    assert rig.rejected() == {}
    one, two = rig.query("SELECT * EXCLUDE (id, bad, __hevo__loaded_at) FROM items ORDER BY id")
    assert str(one) == str(two)
