"""What else happens while failed events go their way again, and in which order they meet what came after them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, START, Rig, changes, items, rig, types
from tests.engine.scripted import deploy, failing

from millrace.control.books import retention
from millrace.control.books.leases import AlreadyRunning
from millrace.control.failed import raw, rejects
from millrace.control.failed.rejects import Choice
from millrace.control.mapper import mappings
from millrace.data.batch import Checkpoint
from millrace.data.columns import OP_TYPE
from millrace.engine.stage import Stage

__all__ = ["deploy", "rig", "types"]

LONG_AGO = date(2020, 1, 1)
SHORT = "CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT"


def refused(rig: Rig, deploy: Any, **more: Any) -> None:
    """Two files of rejects, of two runs, wait for a mended script."""
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [items(3, n=0), Checkpoint(2)], [], key=("id",))
    rig.create(**more)
    deploy(failing)
    rig.run()
    rig.run()
    assert rig.rejected() == {"TRANSFORM_ERROR": 3}


def once(act: Any) -> Any:
    """A transformation during whose first row something happens."""
    left = [act]

    def judge(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        if left:
            left.pop()()
        return [("", row)]

    return judge


def widen(rig: Rig) -> None:
    rig.change("ALTER TABLE items RENAME TO old", "CREATE TABLE items AS SELECT * FROM old", "DROP TABLE old")


def test_a_second_replay_waits_for_the_first(rig: Rig, deploy: Any):
    refused(rig, deploy, mode="append")

    def second() -> None:
        with pytest.raises(AlreadyRunning):
            rig.replay()

    deploy(once(second))
    assert rig.replay().status == "COMPLETED"
    assert (rig.rows("items", "id"), rig.rejected()) == ([1, 2, 3], {})


@pytest.mark.parametrize("by", ["discard", "purge"])
@pytest.mark.parametrize("asked", [True, False])
def test_rows_that_are_given_up_while_they_are_replayed_stay_so_and_the_rest_goes_on(
    rig: Rig, deploy: Any, by: str, asked: bool
):
    refused(rig, deploy, mode="append")
    first = min(one.file for one in rejects.listed(rig.home))

    def given_up() -> None:
        if by == "discard":
            assert rejects.discard(rig.home, Choice(PIPELINE, file=first)) == 2
            return
        with rig.home.database.transaction() as connection:
            from millrace.control.database.tables import reject_files

            long_ago = datetime.now(UTC) - timedelta(days=40)
            connection.execute(reject_files.update().where(reject_files.c.id == first).values(created_at=long_ago))
        assert retention.collect(rig.home, Stage(rig.home.stage_url)).reject_files == 1

    deploy(once(given_up))
    record = rig.replay() if asked else rig.run()
    assert rig.rows("items", "id") == [3], "what was given up is not loaded"
    assert rig.rejected() == {}
    assert rig.rejected("discarded" if by == "discard" else "purged") == {"TRANSFORM_ERROR": 2}
    assert [note.code for note in record.notes] == ["replay_failed"]
    assert all(one.balance.even for one in (rig.record(), rig.record(1), rig.record(2)))


def test_rows_of_an_object_that_is_skipped_are_neither_shown_nor_replayed(rig: Rig, deploy: Any):
    refused(rig, deploy)
    deploy(lambda row: [("", row)])
    mappings.skip(rig.home, PIPELINE, "items")
    assert list(rejects.rows(rig.home, Stage(rig.home.stage_url))) == []
    record = rig.replay()
    assert [note.code for note in record.notes] == ["none_replayed"]
    assert record.balance.read == 0
    assert rig.rejected("replayed") == {}


def test_an_older_version_takes_its_place_in_history_before_a_newer_one(rig: Rig):
    rig.change(
        SHORT + ", __hevo__valid_from TIMESTAMPTZ, __hevo__valid_to TIMESTAMPTZ, __hevo__is_active BOOLEAN, "
        "__hevo__marked_deleted BOOLEAN)"
    )
    rig.script.stream(
        "items",
        [items(1, 2, v="too long"), Checkpoint(1)],
        [items(1, v="new"), Checkpoint(2)],
        [],
        key=("id",),
    )
    rig.create("history")
    rig.run()
    rig.clock.advance(60)
    rig.run()
    rig.clock.advance(60)
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 2}
    widen(rig)
    rig.replay()
    rig.replay()
    later = START + timedelta(seconds=60)
    found = rig.query("SELECT * FROM items ORDER BY id, __hevo__valid_from")
    assert [(row["id"], row["v"], row["__hevo__is_active"]) for row in found] == [
        (1, "too long", False),
        (1, "new", True),
        (2, "too long", True),
    ]
    assert [row["__hevo__valid_from"] for row in found] == [START, later, START]
    assert found[0]["__hevo__valid_to"] == later - timedelta(milliseconds=1)


@pytest.mark.parametrize("mode", ["merge", "history"])
def test_an_older_row_does_not_bring_back_what_was_deleted_since(rig: Rig, mode: str):
    more = ", __hevo__marked_deleted BOOLEAN"
    if mode == "history":
        more += ", __hevo__valid_from TIMESTAMPTZ, __hevo__valid_to TIMESTAMPTZ, __hevo__is_active BOOLEAN"
    rig.change(SHORT + more + ")")
    names, kinds = ("id", "v", OP_TYPE), (pa.int64(), pa.string(), pa.string())
    rig.script.stream(
        "items",
        [changes((1, "ok", "I"), (2, "ok", "I"), names=names, types=kinds), Checkpoint(1)],
        [changes((1, "too long", "U"), (2, "too long", "U"), names=names, types=kinds), Checkpoint(2)],
        [changes((1, None, "D"), names=names, types=kinds), Checkpoint(3)],
        [],
        key=("id",),
        deletes=True,
    )
    rig.create(mode)
    for _ in range(3):
        rig.run()
        rig.clock.advance(60)
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 2}
    widen(rig)
    rig.replay()
    where = "WHERE __hevo__is_active" if mode == "history" else ""
    assert rig.rejected() == {}
    found = rig.query(f"SELECT id, v, __hevo__marked_deleted AS gone FROM items {where} ORDER BY id")
    alive = [(row["id"], row["v"]) for row in found if not row["gone"]]
    assert alive == [(2, "too long")], found


def test_rows_go_again_as_the_script_of_today_names_drops_and_splits_them(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, 3, n=0), Checkpoint(1)], [items(2, n=5), Checkpoint(2)], [], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    deploy(lambda row: [("", row), ("new made", {"id": row["id"]})])
    rig.run()
    rig.run()

    def today(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        if row["id"] == 1:
            return []
        return [("moved", row), ("new made", {"id": row["id"] * 10}), ("new made", {"id": row["id"] * 100})]

    deploy(today)
    for _ in range(2):
        record = raw.replay(rig.home, PIPELINE, since=LONG_AGO, clock=rig.clock)
        assert record.balance.even and all(one.even for one in record.streams.values())
        assert rig.rows("items", "id", "n") == [(1, 0), (2, 5), (3, 0)], "what is left out today stays as it was"
        assert rig.rows("moved", "id", "n") == [(2, 5), (3, 0)]
        assert rig.rows("made", "id") == [1, 2, 3, 20, 30, 200, 300]
    for _ in range(2):
        record = raw.replay(rig.home, PIPELINE, into_fresh=True, clock=rig.clock)
        assert record.balance.even and all(one.even for one in record.streams.values())
        assert (rig.rows("items", "id"), rig.rows("moved", "id", "n")) == ([], [(2, 5), (3, 0)])
        assert rig.rows("made", "id") == [20, 30, 200, 300]
    deploy(lambda row: [("", row)])
    raw.replay(rig.home, PIPELINE, into_fresh=True, clock=rig.clock)
    assert (rig.rows("items", "id"), rig.rows("moved", "id"), rig.rows("made", "id")) == ([1, 2, 3], [], [])


def test_rows_refused_under_one_strategy_go_again_under_the_next(rig: Rig):
    from millrace.control.pipeline import pipelines

    nested = {"v": 1, "tags": ["x", "y"], "at": {"city": "Pune"}}
    rig.script.stream("items", [[{"id": None} | nested, {"id": 2} | nested], Checkpoint(1)], [], key=("id",))
    rig.create(options={"json_parsing_strategy": "SPLIT"})
    with rig.crew() as crew:
        crew.sync().ingest(("incremental",))
    wish = pipelines.find(rig.home, PIPELINE).wish
    pipelines.change(rig.home, PIPELINE, lambda _: replace(wish, options={"json_parsing_strategy": "COLLAPSE"}))
    rig.run()
    assert rig.rows("items", "id", "v") == [(2, 1)]
    from pathlib import Path

    from millrace.control.failed import replay as replaying

    file = Path(rig.folder / "mended.jsonl")
    rejects.export_to(rig.home, Stage(rig.home.stage_url), Choice(PIPELINE), file)
    file.write_text(file.read_text().replace('"id":null', '"id":7'))
    record = replaying.mend(rig.home, PIPELINE, file, clock=rig.clock)
    assert record.balance.even
    assert (rig.rejected(), rig.rows("items", "id", "v")) == ({}, [(2, 1), (7, 1)])
    found = rig.query("SELECT * FROM items ORDER BY id")
    assert (found[1]["tags"], found[1]["at"]) == ('["x","y"]', '{"city":"Pune"}')
