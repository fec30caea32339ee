"""Streams whose changes come from one log: one position, histories beside it, and what changes leave unsaid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import START, Killed, Rig, Word, changes, items, rig, types
from tests.engine.scripted import Scripted, deploy
from tests.postgres import Database

from millrace.connect.source import Reading
from millrace.control.books import commits
from millrace.control.books.ledger import Books
from millrace.control.failed import rejects
from millrace.control.pipeline import object_actions
from millrace.control.running import runs
from millrace.data.batch import Batch, Checkpoint, Passed, Refused, Truncated
from millrace.data.columns import ARRAY_LENGTH, BETWEEN, OP_TYPE, REJECTS, UNCHANGED, ours
from millrace.errors import ConfigError, Transient

__all__ = ["deploy", "rig", "types"]

DELETED = "__hevo__marked_deleted"


def changed(stream: str, *rows: tuple[Any, ...]) -> Batch:
    """Changes (operation, id, value) of one stream."""
    names, types = (OP_TYPE, "id", "v"), (pa.string(), pa.int64(), pa.string())
    return Batch(stream, changes(*rows, names=names, types=types))


def refused(stream: str, row: str) -> Refused:
    """A row that the source could not make of a change."""
    same = {"stream": stream, "stage": "source", "code": "BAD", "message": "it is bad", "rejected_at": START}
    return Refused(pa.RecordBatch.from_pylist([same | {"row": row}], schema=REJECTS))


def partial(stream: str, *rows: tuple[Any, ...]) -> Batch:
    """Changes (operation, id, a, b, names of fields that are unsaid)."""
    values = [list(column) for column in zip(*rows, strict=True)]
    texts = [BETWEEN + BETWEEN.join([*said, ""]) if said else None for said in values[4]]
    arrays = [pa.array(values[0], pa.string()), pa.array(values[1], pa.int64())]
    arrays += [pa.array(values[2], pa.string()), pa.array(values[3], pa.string()), pa.array(texts, pa.string())]
    schema = pa.schema(
        [
            ours(OP_TYPE, pa.string()),
            pa.field("id", pa.int64()),
            pa.field("a", pa.string()),
            pa.field("b", pa.string()),
            ours(UNCHANGED, pa.string()),
        ]
    )
    return Batch(stream, pa.RecordBatch.from_arrays(arrays, schema=schema))


def history(*rows: dict[str, Any]) -> list[Word]:
    return [list(rows), Checkpoint("read", progress=1.0)]


@pytest.fixture
def logged(rig: Rig) -> Rig:
    """A source of two streams with a key, each with a history, and one without a key, whose changes come from a log."""
    script = rig.script
    script.changes = []
    for name, key in (("a", ("id",)), ("b", ("id",)), ("loose", ())):
        script.stream(
            name, history({"id": 1, "v": f"{name} old"}), (), lane="historical", key=key, historical=True, deletes=True
        )
    return rig


def test_the_position_is_durable_before_any_history_is_read(logged: Rig) -> None:
    logged.create()
    logged.script.tales["a", "historical"] = [[Killed()]]
    with pytest.raises(Killed):
        logged.run()
    logged.script.tales["a", "historical"] = [history({"id": 1, "v": "x"}), ()]
    logged.run()
    first, second, *_ = logged.script.followed
    assert first.cursor is None and second.cursor == 0
    assert logged.script.given[0].stream == "a" and logged.rows("a", "v") == ["x"]


@pytest.mark.parametrize(("passed", "reason"), [(900, "in_history"), (900, "deleted_later")])
def test_changes_that_the_history_had_are_no_part_of_the_share_of_failed_rows(
    logged: Rig, passed: int, reason: str
) -> None:
    logged.create(options={"failure_policy": {"max_failed_percent": 0.5}})
    logged.run()
    good = [("I", number, "x") for number in range(10, 109)]
    words = [changed("a", ("I", None, "bad"), *good), Passed(passed, reason, "a"), Checkpoint(7)]
    assert logged.script.changes is not None
    logged.script.changes += [words]
    logged.run()
    left = [note.code for note in logged.record().notes if note.code == "object_failed"]
    assert logged.rejected() == {"NULL_PRIMARY_KEY": 1}
    assert left == (["object_failed"] if reason == "in_history" else [])


def test_changes_of_many_streams_share_one_position_and_every_stream_balances(logged: Rig) -> None:
    logged.create()
    logged.run()
    words = [
        changed("a", ("I", 2, "a2"), ("U", 1, "a1"), ("D", 2, None)),
        changed("b", ("D", 1, None)),
        Passed(4, "in_history", "b"),
        changed("loose", ("U", 1, "new"), ("D", 1, "new")),
        changed("a", ("I", 3, "a3")),
        Checkpoint(7),
    ]
    assert logged.script.changes is not None
    logged.script.changes += [(), words]
    logged.run()
    record = logged.run()
    assert logged.rows("a", "id", "v", DELETED) == [(1, "a1", False), (2, "a2", True), (3, "a3", False)]
    assert logged.rows("b", "id", "v", DELETED) == [(1, "b old", True)]
    assert logged.rows("loose", "v", DELETED, order="2, 1") == [("loose old", False), ("new", False), ("new", True)]
    assert (record.balance.read, record.balance.filtered) == (11, {"in_history": 4})
    assert logged.script.followed[-1].cursor == 0 and logged.script.confirmed[-1] == 7
    logged.run()
    assert logged.script.followed[-1].cursor == 7


def test_what_happens_while_histories_are_read_is_there_at_the_end_of_the_run(logged: Rig) -> None:
    logged.create()
    assert logged.script.changes is not None
    logged.script.changes.append([changed("a", ("U", 1, "newer")), Checkpoint(1)])
    logged.run()
    assert logged.rows("a", "v") == ["newer"]
    assert [one.cursor for one in logged.script.followed] == [None, 0]
    # The log is told how far each history is.
    assert logged.script.followed[1].streams["a"].history == "read"


def test_a_read_of_the_log_that_dies_is_told_again_from_the_last_commit(logged: Rig) -> None:
    logged.create()
    logged.run()
    words = [changed("a", ("I", 2, "x")), Checkpoint(1), changed("loose", ("I", 5, "once"))]
    assert logged.script.changes is not None
    logged.script.changes += [[*words, Transient("cut")], [changed("loose", ("I", 5, "once")), Checkpoint(2)]]
    with pytest.raises(Transient):
        logged.run()
    assert logged.rows("loose", "id") == [1]
    logged.run()
    assert logged.script.followed[-1].cursor == 0, "what came behind the checkpoint kept it from being committed"
    assert sorted(logged.rows("loose", "id")) == [1, 5]


def test_order_holds_where_rows_of_one_table_change_their_schema_back_and_forth(logged: Rig) -> None:
    logged.create()
    logged.run()
    odd = changes(
        ("U", 1, "3", 1), names=(OP_TYPE, "id", "v", "more"), types=(pa.string(), pa.int64(), pa.string(), pa.int64())
    )
    words = [changed("a", ("U", 1, "2")), Batch("a", odd), changed("a", ("U", 1, "4"))]
    assert logged.script.changes is not None
    logged.script.changes.append([*words, Checkpoint(1)])
    logged.run()
    assert logged.rows("a", "v", "more") == [("4", None)]


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_a_merge_keeps_what_a_change_does_not_say(logged: Rig, kind: str, database: Database) -> None:
    if kind == "postgres":
        logged.destination_type, logged.destination_config = "postgres", database.settings()
    rows = [{"id": n, "a": f"a{n}", "b": f"b{n}"} for n in range(1, 7)]
    logged.script.tales["a", "historical"] = [history(*rows), ()]
    logged.create(objects={"a": None})
    logged.run()
    words = [
        partial("a", ("U", 1, "A1", None, ["b"]), ("U", 2, None, "B2", ["a"]), ("U", 3, "A3", "B3", [])),
        partial("a", ("U", 2, "A2", None, ["b"]), ("U", 3, "A3!", None, ["b"]), ("U", 3, "A3?", None, ["b", "v"])),
        # Its own history ends: what the row had before is not what the new one has.
        partial("a", ("D", 4, None, None, []), ("I", 4, "N4", None, []), ("U", 4, "M4", None, ["b"])),
        partial("a", ("U", 5, "A5", None, ["b"]), ("D", 5, None, None, [])),
        partial("a", ("I", 7, "A7", "B7", []), ("U", 7, "A7!", None, ["b"]), ("U", 6, None, None, ["b"])),
        Checkpoint(1),
    ]
    assert logged.script.changes is not None
    logged.script.changes += [words]
    logged.run()
    assert logged.rows("a", "id", "a", "b", DELETED) == [
        (1, "A1", "b1", False),
        (2, "A2", "B2", False),
        (3, "A3?", "B3", False),
        (4, "M4", None, False),
        (5, "A5", "b5", True),
        (6, None, "b6", False),
        (7, "A7!", "B7", False),
    ]


@pytest.mark.parametrize("mode", ["merge", "history"])
def test_a_truncation_marks_what_came_before_it_and_nothing_that_comes_after(logged: Rig, mode: Any) -> None:
    logged.create(mode)
    logged.run()
    words = [
        changed("a", ("I", 2, "gone")),
        Truncated("a"),
        Truncated("loose"),
        changed("a", ("I", 3, "here"), ("I", 1, "again")),
        Checkpoint(1),
    ]
    assert logged.script.changes is not None
    logged.script.changes.append(words)
    logged.clock.advance(60)
    record = logged.run()
    alive = "SELECT id, v FROM a WHERE NOT __hevo__marked_deleted" + (
        " AND __hevo__is_active" if mode == "history" else ""
    )
    assert [tuple(row.values()) for row in logged.query(f"{alive} ORDER BY 1")] == [(1, "again"), (3, "here")]
    assert logged.rows("loose", "id") == [1]
    assert (record.balance.read, record.balance.filtered) == (5, {"truncated": 1})


def test_rows_are_asked_for_whole_where_nobody_can_keep_the_rest(logged: Rig) -> None:
    logged.create("history")
    logged.run()
    assert all(one.whole for one in logged.script.followed[-1].streams.values())


def test_a_stream_that_was_away_gets_its_history_again_and_the_others_go_on(logged: Rig) -> None:
    logged.create()
    logged.run()
    assert logged.script.changes is not None
    logged.script.changes.append([refused("loose", '{"id": 2, "v": "y"}'), Checkpoint(4)])
    logged.run()
    object_actions.pause(logged.home, "scripted", "a")
    object_actions.pause(logged.home, "scripted", "loose")
    logged.script.changes.append([changed("b", ("I", 9, "on")), Checkpoint(5)])
    logged.run()
    assert set(logged.script.followed[-1].streams) == {"b"} and logged.rows("b", "id") == [1, 9]
    assert len(rejects.listed(logged.home)) == 1
    object_actions.resume(logged.home, "scripted", "a")
    object_actions.resume(logged.home, "scripted", "loose")
    logged.script.tales["a", "historical"] = [history({"id": 1, "v": "seen again"}), ()]
    logged.script.tales["loose", "historical"] = [history({"id": 1, "v": "x"}, {"id": 2, "v": "y"}), ()]
    record = logged.run()
    assert logged.rows("a", "v") == ["seen again"]
    assert logged.rows("loose", "v") == ["x", "y"], (
        "appended rows came into a fresh table, not beside those from before"
    )
    assert [note.message[:30] for note in record.notes if note.code == "rejects_discarded"] == [
        "1 failed events of loose are d"
    ]
    assert [one.state for one in rejects.listed(logged.home, state=None)] == ["discarded"]


def test_what_is_made_of_a_stream_that_was_away_is_not_appended_beside_what_is_there(
    logged: Rig, deploy: Callable[..., Scripted]
) -> None:
    logged.create(objects={"a": None, "loose": None, "made": "append"})
    deploy(lambda row: [("", row), *([("made", row)] if row["v"] == "a old" else [])])
    logged.run()
    object_actions.pause(logged.home, "scripted", "a")
    logged.run()
    object_actions.resume(logged.home, "scripted", "a")
    logged.script.tales["a", "historical"] = [history({"id": 1, "v": "a old"}), ()]
    logged.run()
    assert (len(logged.rows("a", "id")), len(logged.rows("made", "v"))) == (1, 1)


def test_rows_that_are_appended_beside_those_of_a_stream_that_was_away_come_again_with_them(
    logged: Rig, deploy: Callable[..., Scripted]
) -> None:
    logged.create(mode="append")
    deploy(lambda row: [("made", row)])
    logged.run()
    object_actions.pause(logged.home, "scripted", "a")
    logged.run()
    object_actions.resume(logged.home, "scripted", "a")
    logged.script.tales = {at: [history({"id": 1, "v": at[0]}), ()] for at in logged.script.tales}
    logged.run()
    assert logged.rows("made", "v") == ["a", "b", "loose"]


def test_a_table_is_not_filled_anew_without_the_rows_of_objects_that_rest_or_are_not_chosen(
    logged: Rig, deploy: Callable[..., Scripted]
) -> None:
    logged.create(mode="append")
    # Two tables: one has rows of a and b, the other of b and loose.
    deploy(lambda row: [("ab" if "a" in row["v"] else "bloose", row), *([("ab", row)] if "b" in row["v"] else [])])
    logged.run()
    for name in ("a", "loose"):
        object_actions.pause(logged.home, "scripted", name)
    logged.run()
    object_actions.resume(logged.home, "scripted", "a")

    def read(reading: Reading) -> list[Word]:
        return history({"id": 1, "v": f"{reading.stream.name} new"}) if reading.cursor is None else []

    logged.script.tales = {at: [read, read] for at in logged.script.tales}
    (lost,) = (note.message for note in logged.run().notes if note.code == "rows_lost")
    assert "what changed in a while" in lost and "those of loose" in lost
    assert "rows_lost" not in {note.code for note in logged.run().notes}
    assert logged.rows("ab", "v") == ["a old", "b old"] and logged.rows("bloose", "v") == ["b old", "loose old"]
    object_actions.resume(logged.home, "scripted", "loose")
    assert "rows_lost" not in {note.code for note in logged.run().notes}
    assert logged.rows("ab", "v") == ["a new", "b new"] and logged.rows("bloose", "v") == ["b new", "loose new"]


def test_what_changed_unseen_where_no_history_is_wished_is_told(logged: Rig) -> None:
    logged.script.streams = [replace(stream, historical=False) for stream in logged.script.streams]
    logged.create()

    def lost() -> list[str]:
        return [note.message.split(" while")[0] for note in logged.run().notes if note.code == "rows_lost"]

    changes = logged.script.changes = [[Checkpoint(0)], [changed("a", ("I", 1, "x")), Checkpoint(1)]]
    assert (lost(), lost()) == ([], [])
    object_actions.pause(logged.home, "scripted", "a")
    assert lost() == []
    object_actions.resume(logged.home, "scripted", "a")
    assert (lost(), lost()) == (["what changed in a"], [])
    logged.script.changes = None
    for stream in logged.script.streams:
        logged.script.stream(stream.name, [items(2), Checkpoint(2)], [])
    assert (lost(), lost()) == (["what changed in a, b, loose"], [])
    logged.script.changes = changes
    assert (lost(), lost()) == ([f"what changed in {name}" for name in ("a", "b", "loose")], [])


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_table_is_not_filled_anew_where_no_history_is_wished(logged: Rig, mode: Any) -> None:
    logged.script.streams = [replace(stream, historical=False) for stream in logged.script.streams]
    logged.create(mode=mode, objects={"a": None})
    logged.script.changes = [[changed("a", ("I", 1, "x")), Checkpoint(1)], [changed("a", ("I", 2, "y")), Checkpoint(2)]]
    logged.run()
    logged.run()
    with pytest.raises(ConfigError, match="would have no row of before") as caught:
        logged.resync()
    assert caught.value.code == "would_lose"
    # A log that was cut is followed from now on.
    assert "rows_lost" in {note.code for note in logged.resync("evolve-and-merge").notes}
    logged.run()
    assert logged.rows("a", "id") == [1, 2]


def test_a_history_that_is_wished_later_does_not_append_what_the_log_has_brought(logged: Rig) -> None:
    streams = logged.script.streams
    logged.script.streams = [replace(stream, historical=False) for stream in streams]
    logged.create(objects={"a": None, "loose": None})
    assert logged.script.changes is not None
    logged.script.changes.append([changed("loose", ("I", 1, "x")), changed("a", ("I", 1, "x")), Checkpoint(1)])
    logged.run()
    logged.run()
    logged.script.streams = streams
    # The process dies before the history is read.
    logged.script.tales["loose", "historical"] = [[Killed()], history({"id": 1, "v": "x"}, {"id": 0, "v": "old"}), ()]
    with pytest.raises(Killed):
        logged.run()
    for _ in range(3):
        logged.run()
    assert logged.rows("loose", "id") == [0, 1] and logged.rows("a", "id") == [1]


def test_a_process_that_dies_while_a_stream_that_was_away_begins_anew_loses_no_row_of_the_others(
    logged: Rig, deploy: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged.create(mode="append")
    deploy(lambda row: [("made", row)])
    logged.run()
    object_actions.pause(logged.home, "scripted", "a")
    logged.run()
    object_actions.resume(logged.home, "scripted", "a")

    def read(reading: Reading) -> list[Word]:
        return history({"id": 1, "v": reading.stream.name}) if reading.cursor is None else []

    logged.script.tales = {at: [read, read] for at in logged.script.tales}
    forget, begun = commits.forget, list[str]()

    def dying(entry: Any, stream: str, lane: Any) -> None:
        begun.append(stream)
        if len(begun) == 2:
            raise Killed
        forget(entry, stream, lane)

    with monkeypatch.context() as patched:
        patched.setattr(commits, "forget", dying)
        with pytest.raises(Killed):
            logged.run()
    logged.run()
    assert logged.rows("made", "v") == ["a", "b", "loose"]


def test_a_truncation_marks_no_row_that_another_stream_brought(logged: Rig, deploy: Callable[..., Scripted]) -> None:
    for name, id_ in (("a", 1), ("b", 2)):
        logged.script.tales[name, "historical"] = [history({"id": id_, "v": name})]
    logged.create(objects={"a": None, "b": None})
    deploy(lambda row: [("made", row)])
    logged.run()
    assert logged.script.changes is not None
    logged.script.changes.append([Truncated("a"), Checkpoint(1)])
    assert [note.code for note in logged.run().notes] == ["rows_lost"]
    assert logged.rows("made", "id", DELETED) == [(1, False), (2, False)]


def test_a_run_of_one_object_loses_no_change_of_the_others(logged: Rig) -> None:
    logged.create()
    logged.run()
    assert logged.script.changes is not None
    logged.script.changes.append([changed("b", ("I", 2, "kept")), Checkpoint(3)])
    logged.run(only=["a"])
    logged.run()
    assert logged.rows("b", "v") == ["b old", "kept"]


def test_a_resync_of_all_takes_the_position_anew_and_one_of_some_does_not(logged: Rig) -> None:
    logged.create()
    logged.run()
    runs.resync(logged.home, "scripted", only=["a"], clock=logged.clock)
    assert all(one.cursor == 0 for one in logged.script.followed[2:])
    logged.script.tales = {at: [history({"id": 1, "v": "new"})] for at in logged.script.tales}
    before = len(logged.script.followed)
    logged.resync()
    assert logged.script.followed[before].cursor is None and logged.rows("b", "v") == ["new"]


def test_a_commit_of_the_log_that_fails_keeps_nothing_of_any_stream(
    logged: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged.create()
    logged.run()
    words = [changed("a", ("I", 2, "x")), changed("loose", ("I", 2, "x")), Checkpoint(1)]
    assert logged.script.changes is not None
    logged.script.changes += [words, words]
    kept = Books.commit

    def dies(*args: Any, **more: Any) -> None:
        kept(*args, **more)
        raise Killed

    # The commit is whole, and the process is gone before it hears of it.
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Books, "commit", dies)
        logged.run()
    logged.run()
    assert logged.script.followed[-1].cursor == 1
    assert sorted(logged.rows("loose", "id")) == [1, 2, 2], "this script tells the change again behind its position"


def columns_of(rig: Rig, stream: str) -> list[str]:
    """The fields that have columns."""
    with rig.crew() as ours_:
        return [column.source for one in ours_.books.mappings() if one.stream == stream for column in one.columns]


def test_a_key_of_a_name_that_the_engine_reads_is_one_column_for_the_history_and_the_log(rig: Rig) -> None:
    name = ARRAY_LENGTH
    rig.script.changes = [()]
    rig.script.stream(
        "odd", history({name: 1, "v": "old"}), (), lane="historical", key=(name,), historical=True, deletes=True
    )
    rig.create()
    rig.run()
    before = columns_of(rig, "odd")
    rows = pa.RecordBatch.from_arrays(
        [pa.array(["U", "I"]), pa.array([1, 2], pa.int64()), pa.array(["new", "more"])],
        schema=pa.schema([ours(OP_TYPE, pa.string()), pa.field(name, pa.int64()), pa.field("v", pa.string())]),
    )
    rig.script.changes = [[Batch("odd", rows), Checkpoint(1)]]
    rig.run()
    assert rig.rejected() == {}
    assert before == columns_of(rig, "odd") and name in before
    assert rig.rows("odd", "v") == ["more", "new"]
