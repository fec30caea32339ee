"""Whole runs of a scripted pipeline: errors of one stream or of the destination, full reloads, and what crashes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, Duck, Killed, Rig, Shaky, items, log, rig, types
from tests.engine.scripted import Scripted, deploy
from tests.postgres import Database

from millrace.connect.destination import Load, Loaded, Table
from millrace.control import activity
from millrace.control.books import commits, retention
from millrace.control.books.ledger import Books
from millrace.control.pipeline import object_actions, pipelines, positions
from millrace.control.running import runs
from millrace.control.settings import change
from millrace.data.batch import REPEATED, Checkpoint, Lane, Passed
from millrace.destinations.postgres.destination import Destination as Postgres
from millrace.engine import loading
from millrace.engine.failures import FailurePolicy
from millrace.engine.ledger import Commit
from millrace.engine.stage import Stage
from millrace.errors import ConfigError, DataError, EnvironmentProblem, SchemaError, Transient

__all__ = ["deploy", "rig", "types"]


def shaky(rig: Rig, mode: str = "merge") -> Rig:
    rig.destination_type = "shaky"
    return rig.create(mode)


def test_a_run_reads_what_is_new_and_loads_it(rig: Rig):
    rows = items(1, 2, 3)
    rig.script.stream("items", log(rows, every=2), key=("id",))
    rig.create()
    assert rig.run().balance.loaded == 3
    rows += items(4)
    record = rig.run()
    assert (record.balance.read, record.balance.loaded, record.balance.even) == (1, 1, True)
    assert rig.rows("items", "id") == [1, 2, 3, 4]
    assert [given.cursor for given in rig.script.given] == [None, 3]


def test_a_destination_that_is_gone_is_told_although_nothing_is_new(rig: Rig):
    rig.script.stream("items", log(items(1, 2), every=2), key=("id",))
    rig.create()
    assert not rig.run().notes
    assert not rig.run().notes
    (rig.folder / "warehouse.duckdb").unlink()
    (note,) = rig.run().notes
    assert (note.code, "resync" in note.message) == ("rows_missing", True)


def test_a_destination_that_is_gone_is_not_opened_for_rows_that_may_not_come(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    real, looked = Books.commit, threading.Event()

    def commit(self: Books, commit: Commit) -> None:
        assert looked.wait(10)
        real(self, commit)

    def vanished(self: Duck) -> bool:
        looked.set()
        return not self.config.path.exists()

    rig.script.stream(
        "items", log(items(1, 2), every=2), [Passed(2, REPEATED), Checkpoint(3)], [Checkpoint(4)], key=("id",)
    )
    rig.create()
    rig.run()
    (rig.folder / "warehouse.duckdb").unlink()
    monkeypatch.setattr(Duck, "vanished", vanished)
    monkeypatch.setattr(Books, "commit", commit)
    (note,) = rig.run().notes
    assert note.code == "rows_missing"
    monkeypatch.setattr(Duck, "expect", lambda _: pytest.fail("nothing was read"))
    (note,) = rig.run().notes
    assert note.code == "rows_missing"
    assert not (rig.folder / "warehouse.duckdb").exists()


def test_a_read_remembers_the_marks_of_the_last(rig: Rig):
    from millrace.data.batch import Mark

    rig.script.stream("items", [Checkpoint(1, marks=(Mark("seen", b"x"),))], [], key=("id",))
    rig.create()
    rig.run()
    rig.run()
    assert [given.remembered for given in rig.script.given] == [{}, {"seen": [b"x"]}]


@pytest.mark.parametrize("eager", [True, False])
def test_few_rows_load_while_others_are_read_where_the_destination_is_eager(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, eager: bool
):
    monkeypatch.setattr("millrace.engine.ingest.FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(Shaky, "eager", eager)
    loaded, before = threading.Event(), list[bool]()
    real = Shaky.load

    def load(self: Shaky, table: Table, load: Load) -> Loaded:
        done = real(self, table, load)
        loaded.set()
        return done

    monkeypatch.setattr(Shaky, "load", load)
    seen = lambda: before.append(loaded.wait(10 if eager else 0.2))  # noqa: E731  one line, used at once
    rig.script.stream("items", [items(1), Checkpoint(1), seen, items(2), Checkpoint(2)], key=("id",))
    shaky(rig).run()
    assert before == [eager]
    assert rig.rows("items", "id") == [1, 2]


def test_the_destination_expects_a_load_when_rows_have_come_and_before_the_last_commit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    told, expected, real = list[str](), threading.Semaphore(0), Books.commit

    def commit(self: Books, commit: Commit) -> None:
        if told[-1:] == ["all is read"]:
            assert expected.acquire(timeout=10)
        real(self, commit)
        told.append(f"committed {commit.stream}")

    def expect(self: Shaky) -> None:
        told.append("expected")
        expected.release()
        raise Transient("not just now")  # the load has the word

    def read() -> None:
        assert expected.acquire(timeout=10)
        told.append("all is read")

    monkeypatch.setattr(Books, "commit", commit)
    monkeypatch.setattr(Shaky, "expect", expect)
    rig.script.stream("one", [items(1), Checkpoint(1)], key=("id",))
    rig.script.stream("two", [items(2), Checkpoint(2), read], key=("id",))
    shaky(rig).run()
    assert told == ["committed one", "expected", "all is read", "expected", "committed two"]
    assert (rig.rows("one", "id"), rig.rows("two", "id")) == ([1], [2])


def test_what_was_opened_for_a_load_is_free_again_where_reading_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "EXPECTED_S", 0.05)
    told, expected, freed = list[str](), threading.Event(), threading.Event()
    opened, closed = Duck.expect, Duck.close

    def expect(self: Duck) -> None:
        opened(self)
        told.append("opened")
        expected.set()

    def close(self: Duck) -> None:
        closed(self)
        if told == ["opened"]:
            told.append("free")
            freed.set()

    monkeypatch.setattr(Duck, "expect", expect)
    monkeypatch.setattr(Duck, "close", close)
    waited = [lambda: expected.wait(10), lambda: freed.wait(10), lambda: told.append("all is read")]
    known = [Passed(1, REPEATED), Checkpoint(2), waited[-1]]
    rig.script.stream("items", [items(1), Checkpoint(1), *waited], known, key=("id",))
    rig.create()
    rig.run()
    assert told[:3] == ["opened", "free", "all is read"]
    assert rig.rows("items", "id") == [1]
    del told[:]
    rig.run()
    assert told[0] == "all is read"  # rows that are there already open nothing


def test_a_table_that_was_filled_has_its_key_where_a_later_one_is_read_for_long(
    rig: Rig, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loading, "EXPECTED_S", 0.05)
    loaded, freed = threading.Event(), threading.Event()
    load, close = Postgres.load, Postgres.close

    def marking(self: Postgres, table: Table, load_: Load) -> Loaded:
        done = load(self, table, load_)
        loaded.set()
        return done

    def closing(self: Postgres) -> None:
        close(self)
        if loaded.is_set():
            freed.set()

    monkeypatch.setattr(Postgres, "load", marking)
    monkeypatch.setattr(Postgres, "close", closing)
    waits = [lambda: loaded.wait(10), lambda: freed.wait(10)]
    rig.destination_type, rig.destination_config = "postgres", database.settings()
    rig.script.stream("one", [items(1), Checkpoint(1)], key=("id",))
    rig.script.stream("two", [waits[0], items(2), waits[1], Checkpoint(2)], key=("id",))
    rig.create()
    rig.run()
    assert freed.is_set()
    assert primary_keys(database) == ["one", "two"]


def primary_keys(database: Database) -> list[str]:
    """Tables that have one."""
    found = database.run("SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'p' ORDER BY 1")
    return [name for (name,) in found if not name.startswith(("pg_", "__hevo"))]


def test_a_table_that_was_filled_has_its_key_where_the_destination_went_away_behind_it(
    rig: Rig, database: Database, monkeypatch: pytest.MonkeyPatch
):
    load, cut = Postgres.load, [1, 1]

    def marking(self: Postgres, table: Table, load_: Load) -> Loaded:
        if table.name.startswith("two") and cut:
            cut.pop()
            database.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return load(self, table, load_)

    rig.destination_type, rig.destination_config = "postgres", database.settings()
    monkeypatch.setattr(Postgres, "load", marking)
    rig.destination_type, rig.destination_config = "postgres", database.settings()
    rig.script.stream("one", [items(1), Checkpoint(1)], key=("id",))
    rig.script.stream("two", [items(2), Checkpoint(2)], key=("id",))
    rig.create()
    rig.run()
    assert (cut, primary_keys(database)) == ([], ["one", "two"])


def test_what_is_old_leaves_the_stage_while_the_last_rows_load(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    collected, collect, load = threading.Event(), retention.collect, Shaky.load

    def collecting(*args: Any, **named: Any) -> retention.Collected:
        done = collect(*args, **named)
        collected.set()
        return done

    def loading(self: Shaky, table: Table, load_: Load) -> Loaded:
        assert collected.wait(10)
        return load(self, table, load_)

    monkeypatch.setattr(retention, "collect", collecting)
    monkeypatch.setattr(Shaky, "load", loading)
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    assert shaky(rig).run().balance.even
    assert rig.rows("items", "id") == [1]


def test_a_passing_error_of_one_stream_does_not_stop_the_others(rig: Rig):
    rig.script.stream("one", [items(1), Checkpoint(1), Transient("try later")], key=("id",))
    rig.script.stream("two", [items(2), Checkpoint(2)], key=("id",))
    rig.create()
    with pytest.raises(Transient, match="try later"):
        rig.run()
    assert (rig.rows("one", "id"), rig.rows("two", "id")) == ([1], [2])
    assert rig.record().status == "FAILED"
    assert rig.record().balance.even


def test_what_a_failed_stream_had_in_hand_is_read_again(rig: Rig):
    rig.script.stream(
        "items", [items(1), Checkpoint(1), items(2, more="x"), Transient("cut")], [items(1, 2), Checkpoint(2)]
    )
    rig.create("append")
    with pytest.raises(Transient):
        rig.run()
    rig.run()
    assert rig.rows("items", "id") == [1, 2]


def test_a_history_waits_until_the_position_to_follow_from_was_taken(rig: Rig):
    rig.script.stream(
        "items",
        [Transient("no position")],
        [Checkpoint("here")],
        [items(9), Checkpoint("on")],
        key=("id",),
        historical=True,
    )
    rig.script.stream("items", [items(1), Checkpoint(1, progress=1.0)], lane="historical")
    rig.create()
    with pytest.raises(Transient):
        rig.run()
    assert [given.lane for given in rig.script.given] == ["incremental"]
    rig.run()
    assert [given.lane for given in rig.script.given] == ["incremental", "incremental", "historical"]


def test_a_history_is_read_on_although_following_fails(rig: Rig):
    rig.script.stream("items", [Checkpoint("here")], [Transient("not now")], key=("id",), historical=True)
    rig.script.stream(
        "items", [items(1), Checkpoint(1, progress=0.5)], [items(2), Checkpoint(2, progress=1.0)], lane="historical"
    )
    rig.create()
    rig.run()
    with pytest.raises(Transient):
        rig.run()
    assert rig.rows("items", "id") == [1, 2]


def test_an_error_that_a_person_must_mend_ends_the_run_at_once(rig: Rig):
    rig.script.stream("one", [items(1), Checkpoint(1), EnvironmentProblem("no driver")], key=("id",))
    rig.script.stream("two", [items(2)], key=("id",))
    rig.create()
    with pytest.raises(EnvironmentProblem):
        rig.run()
    assert rig.rows("one", "id") == [1], "what was committed is loaded"
    assert [given.stream for given in rig.script.given] == ["one"]


def test_a_passing_error_of_the_destination_is_waited_for(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    shaky(rig, "append")
    Shaky.faults = {"load": [("before", Transient("restarting")), ("after", Transient("connection lost"))]}
    rig.run()
    assert rig.rows("items", "id") == [1]
    assert rig.clock.slept == list(loading.LOAD_WAITS_S[:2])


def test_rows_stay_staged_while_the_destination_is_away_and_the_next_run_loads_them(rig: Rig):
    rows = items(1, 2)
    rig.script.stream("items", log(rows, every=1))
    shaky(rig, "append")
    Shaky.faults = {"load": [("before", Transient("away"))] * 20}
    with pytest.raises(Transient, match="away"):
        rig.run()
    balance = rig.record().balance
    assert (balance.read, balance.waiting, balance.loaded, balance.even) == (2, 2, 0, True)
    Shaky.faults = {}
    rows += items(3)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3]
    assert [given.cursor for given in rig.script.given] == [None, 2]
    assert rig.record(back=1).balance.loaded == 2, "the run that read them has them loaded"


def test_load_alone_loads_what_waits_and_asks_no_source(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    shaky(rig)
    Shaky.faults = {"load": [("before", Transient("away"))] * 4}
    with pytest.raises(Transient):
        rig.run()
    runs.load(rig.home, PIPELINE, clock=rig.clock)
    assert rig.rows("items", "id") == [1]
    assert len(rig.script.given) == 1


def test_too_many_rejects_end_the_run_and_lose_nothing(rig: Rig):
    rig.script.stream("items", [items(1), [{"id": None}] * 3, Checkpoint(1)], key=("id",))
    rig.script.stream("two", [items(2)], key=("id",))
    rig.create()
    with rig.crew() as crew, pytest.raises(DataError, match="more than 2 rows were rejected") as caught:
        replace(crew.sync(), failing=FailurePolicy(most_rows=2)).run()
    assert caught.value.code == "too_many_rejects"
    assert rig.rejected() == {"NULL_PRIMARY_KEY": 3}
    assert rig.rows("items", "id") == [1]
    assert [given.stream for given in rig.script.given] == ["items"]


def test_who_is_asked_to_stop_ends_at_a_commit_and_goes_on_from_there(rig: Rig):
    rows = items(1, 2, 3)
    rig.script.stream("items", log(rows, every=1))
    rig.script.stream("two", [items(1)])
    rig.create("append")
    rig.stopping.set()
    record = rig.run()
    assert record.status == "CANCELLED"
    assert rig.rows("items", "id") == [1]
    rig.stopping.clear()
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3]


# Full reloads.


def test_a_full_reload_takes_the_place_of_the_table(rig: Rig):
    rig.script.stream(
        "items", [items(1, 2, v="old"), Checkpoint(1)], [items(2, 3, v="new"), Checkpoint(2)], key=("id",)
    )
    rig.create()
    rig.run()
    rig.resync()
    assert rig.rows("items", "id", "v") == [(2, "new"), (3, "new")]
    assert not rig.exists("items__fresh")
    assert [given.cursor for given in rig.script.given] == [None, None]


def test_a_full_reload_of_a_stream_with_history_swaps_once_that_was_read(rig: Rig):
    rig.script.stream(
        "items", [Checkpoint("a")], [Checkpoint("b")], [items(5), Checkpoint("c")], key=("id",), historical=True
    )
    rig.script.stream(
        "items",
        [items(1), Checkpoint(1, progress=1.0)],
        [items(2), Checkpoint(1, progress=0.5), Transient("cut")],
        [items(3), Checkpoint(2, progress=1.0)],
        [],
        lane="historical",
    )
    rig.create()
    rig.run()
    with pytest.raises(Transient):
        rig.resync()
    assert rig.rows("items", "id") == [1], "the old table stands until the new one is whole"
    rig.run()
    assert rig.rows("items", "id") == [2, 3, 5]
    assert not rig.exists("items__fresh")


def test_a_full_reload_that_finds_nothing_leaves_an_empty_table(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], [], key=("id",))
    rig.create()
    rig.run()
    rig.resync()
    assert rig.rows("items", "id") == []


def test_leftovers_of_a_reload_that_never_ended_are_not_taken_for_rows(rig: Rig):
    rig.script.stream(
        "items",
        [items(1), Checkpoint(1)],
        [items(7), Checkpoint(1), Transient("cut")],
        [items(2), Checkpoint(2)],
        [],
        key=("id",),
    )
    rig.create("append")
    rig.run()
    with pytest.raises(Transient):
        rig.resync()
    assert rig.rows("items__fresh", "id") == [7]
    rig.resync()
    assert rig.rows("items", "id") == [2]


def test_leftovers_are_not_taken_for_rows_of_a_reload_that_finds_nothing(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], [items(7), Checkpoint(1), Transient("cut")], [], key=("id",))
    rig.create()
    rig.run()
    with pytest.raises(Transient):
        rig.resync()
    rig.resync()
    assert rig.rows("items", "id") == []


@pytest.mark.parametrize(
    "theirs",
    ["CREATE TABLE items__fresh AS SELECT * FROM items", "CREATE TABLE items__fresh (id BIGINT, kept VARCHAR)"],
    ids=["rows of ours, copied", "no rows"],
)
@pytest.mark.parametrize("found", [items(2), []], ids=["rows", "nothing read"])
def test_a_table_of_the_users_that_has_the_name_of_a_fresh_one_is_never_taken(rig: Rig, theirs: str, found: list[Any]):
    rig.script.stream("items", [items(1), Checkpoint(1)], [found, Checkpoint(2)] if found else [], [], key=("id",))
    rig.create()
    rig.run()
    rig.change(theirs)
    before = rig.query("SELECT * FROM items__fresh")
    with pytest.raises(SchemaError, match="items__fresh at the destination was not made by this pipeline") as refused:
        rig.resync()
    assert (refused.value.code, "Rename items__fresh" in (refused.value.hint or "")) == ("fresh_taken", True)
    assert (rig.query("SELECT * FROM items__fresh"), rig.rows("items", "id")) == (before, [1])
    rig.change("ALTER TABLE items__fresh RENAME TO mine")
    rig.run()
    assert (rig.query("SELECT * FROM mine"), rig.rows("items", "id")) == (before, [2] if found else [])
    rig.change("ALTER TABLE mine RENAME TO items__fresh")
    runs.reset(rig.home, PIPELINE, drop_tables=True)
    line = activity.listed(rig.home, severity="HIGH").items[0]
    assert (line.action, line.before, line.after) == ("reset", {"tables": ["items"]}, {"dropped": True})
    assert (rig.exists("items"), rig.query("SELECT * FROM items__fresh")) == (False, before)


def test_a_table_that_another_pipeline_fills_is_not_taken_for_the_fresh_one(rig: Rig):
    rig.script.stream(
        "items", [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], [items(3), Checkpoint(3)], key=("id",)
    )
    rig.create()
    rig.run()
    own = rig.query("SELECT split_part(feed, ':', 1) AS own FROM __hevo__loads")[0]["own"]
    rig.change("CREATE TABLE items__fresh AS SELECT * FROM items")
    notes = "feed, table_name, segment, loaded_at"
    rig.change(f"INSERT INTO __hevo__loads ({notes}) VALUES ('another:0', 'items__fresh', 1, 1)")
    before = rig.query("SELECT * FROM items__fresh")
    with pytest.raises(SchemaError, match="was not made by this pipeline"):
        rig.resync()
    runs.reset(rig.home, PIPELINE, drop_tables=True)
    assert (rig.exists("items"), rig.query("SELECT * FROM items__fresh")) == (False, before)
    # What this pipeline's own reload left is.
    rig.run()
    rig.change(f"UPDATE __hevo__loads SET feed = '{own}:9' WHERE table_name = 'items__fresh'")
    runs.reset(rig.home, PIPELINE, drop_tables=True)
    assert not rig.exists("items__fresh")


def test_an_appended_stream_without_marks_is_not_set_back_to_where_it_was(rig: Rig):
    tales = ([items(1), Checkpoint(1)], [items(2), Checkpoint(2)], [items(3), Checkpoint(3)])
    rig.script.stream("items", *tales, key=("id",))
    rig.create("append")
    first, second = rig.run(), rig.run()
    with pytest.raises(ConfigError, match="from there on") as caught:
        positions.back_to(rig.home, PIPELINE, first.id)
    assert (caught.value.code, "--append-again" in str(caught.value.hint)) == ("would_double", True)
    # Where it is already, nothing comes again; of a place where it never was nobody knows.
    positions.back_to(rig.home, PIPELINE, second.id)
    for place in (7, 0, None):
        with pytest.raises(ConfigError, match="doubled"):
            positions.put(rig.home, PIPELINE, "items", "incremental", place)
    positions.put(rig.home, PIPELINE, "items", "incremental", 7, append_again=True)
    positions.put(rig.home, PIPELINE, "items", "incremental", 2)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3]


def test_an_appended_stream_is_read_again_where_its_rows_may_stand_twice(rig: Rig):
    tales = ([items(1), Checkpoint(1)], [items(2), Checkpoint(2)], [items(2), Checkpoint(2)])
    rig.script.stream("items", *tales, key=("id",))
    rig.create("append")
    first = rig.run()
    rig.run()
    positions.back_to(rig.home, PIPELINE, first.id, append_again=True)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 2]


def test_a_stream_whose_rows_are_appended_to_the_table_of_another_is_not_set_back(
    rig: Rig, deploy: Callable[..., Scripted]
):
    for name in ("a", "b"):
        rig.script.stream(name, [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], key=("id",))
    rig.create("append")
    deploy(lambda row: [("made", row)])
    rig.run()
    rig.run()
    for stream in ("a", "b"):
        with pytest.raises(ConfigError, match=f"{stream} is appended") as caught:
            positions.put(rig.home, PIPELINE, stream, "incremental", 1)
        assert caught.value.code == "would_double"


def test_a_resync_that_dies_while_its_objects_begin_anew_has_changed_nothing(
    rig: Rig, deploy: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
):
    for name, id_ in (("a", 1), ("b", 2)):
        rig.script.stream(name, [items(id_), Checkpoint(1)], [], key=("id",))
    rig.create("append")
    deploy(lambda row: [("made", row)])
    rig.run()
    forget, begun = commits.forget, list[str]()

    def dying(entry: Any, stream: str, lane: Any) -> None:
        begun.append(stream)
        if stream == "b":
            raise Killed
        forget(entry, stream, lane)

    with monkeypatch.context() as patched:
        patched.setattr(commits, "forget", dying)
        with pytest.raises(Killed):
            runs.resync(rig.home, PIPELINE, mode="drop-and-load")
    assert begun[-1] == "b" and "a" in begun
    rig.run()
    assert rig.rows("made", "id") == [1, 2]


def reloaded(rig: Rig, mode: str = "append") -> Rig:
    """A full reload is on its way when the process dies at its swap."""
    rig.script.stream("items", [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], [items(3), Checkpoint(3)], [])
    shaky(rig, mode)
    rig.run()
    return rig


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_around_the_swap_settles_at_the_next_run(rig: Rig, when: str):
    reloaded(rig)
    Shaky.faults = {"swap": [(when, Killed())]}
    with pytest.raises(Killed):
        rig.resync()
    rig.run()
    assert rig.rows("items", "id") == [2, 3]
    assert not rig.exists("items__fresh")
    rig.run()
    assert rig.rows("items", "id") == [2, 3]


def test_a_crash_after_the_swap_does_not_load_the_whole_table_again(rig: Rig):
    reloaded(rig)
    Shaky.faults = {"swap": [("after", Killed())]}
    with pytest.raises(Killed):
        rig.resync()
    change(rig.home, retention_days=0)
    retention.collect(rig.home, Stage(rig.home.stage_url))
    record = rig.run()
    assert rig.rows("items", "id") == [2, 3]
    assert record.notes == ()


def test_a_fresh_table_that_was_dropped_is_filled_again(rig: Rig):
    reloaded(rig)
    Shaky.faults = {"swap": [("before", Killed())]}
    with pytest.raises(Killed):
        rig.resync()
    rig.change("DROP TABLE items__fresh")
    rig.script.tales["items", "incremental"] = [[]]
    rig.run()
    assert rig.rows("items", "id") == [2]


def test_a_fresh_table_that_lacks_rows_never_takes_the_place_of_a_whole_one(rig: Rig):
    reloaded(rig)
    Shaky.faults = {"swap": [("before", Killed())]}
    with pytest.raises(Killed):
        rig.resync()
    change(rig.home, retention_days=0)
    retention.collect(rig.home, Stage(rig.home.stage_url))
    rig.change("DROP TABLE items__fresh")
    with pytest.raises(EnvironmentProblem, match="no longer on the stage"):
        rig.run()
    assert rig.rows("items", "id") == [1]


def test_evolve_and_merge_keeps_the_table_and_its_other_rows(rig: Rig):
    rig.script.stream(
        "items", [items(1, 2, v="old"), Checkpoint(1)], [items(2, 3, v="new"), Checkpoint(2)], key=("id",)
    )
    rig.create()
    rig.run()
    rig.resync("evolve-and-merge")
    assert rig.rows("items", "id", "v") == [(1, "old"), (2, "new"), (3, "new")]


@pytest.fixture
def long_table(rig: Rig, database: Database) -> Iterator[str]:
    rig.destination_type, rig.destination_config = "postgres", database.settings()
    name = "a" * 63
    rig.script.stream(name, [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], key=("id",))
    rig.create()
    yield name


def test_a_full_reload_of_a_table_with_the_longest_name_takes_its_place(rig: Rig, long_table: str):
    rig.run()
    rig.resync()
    assert rig.rows(long_table, "id") == [2]


# Types and tables from end to end (loading.md 14, 15.5, 18, 21).


@pytest.mark.spec("loading.21.5")
@pytest.mark.parametrize("together", [True, False], ids=["one load", "a load each"])
def test_an_integer_column_widens_with_all_values_kept(rig: Rig, together: bool):
    kept = [{"id": 1, "v": 7}]
    steps: list[object] = [2**40, 1.5, "abc"]
    schema = pa.schema([("id", pa.int64()), ("v", pa.int32())])
    tales = [[pa.RecordBatch.from_pylist(kept, schema=schema), Checkpoint(0)]]
    tales += [[items(n, v=value), Checkpoint(n)] for n, value in enumerate(steps, start=2)]
    rig.script.stream("items", *([[word for tale in tales for word in tale]] if together else tales), key=("id",))
    rig.create()
    seen: list[str] = []
    for _ in range(1 if together else 4):
        rig.run()
        seen += rig.rows("items", "typeof(v)")[-1:]
    assert seen[-1] == "VARCHAR"
    if not together:
        assert seen == ["INTEGER", "BIGINT", "DOUBLE", "VARCHAR"]
    assert rig.rows("items", "id", "v") == [(1, "7"), (2, str(2**40)), (3, "1.5"), (4, "abc")]
    assert rig.rejected() == {}


def test_a_long_that_no_double_holds_becomes_text_beside_a_double(rig: Rig):
    big = 2**53 + 1
    rig.script.stream("items", [items(1, v=big), Checkpoint(1)], [items(2, v=1.5), Checkpoint(2)], key=("id",))
    rig.create()
    rig.run()
    rig.run()
    assert rig.rows("items", "id", "v") == [(1, str(big)), (2, "1.5")]


def test_a_table_with_a_users_own_large_number_is_not_made_a_double(rig: Rig):
    rig.script.stream("items", [items(1, v=2**40), Checkpoint(1)], [items(2, v=1.5), Checkpoint(2)], key=("id",))
    rig.create()
    rig.run()
    rig.change(f"INSERT INTO items (id, v) VALUES (9, {2**53 + 1}), (10, NULL)")
    with pytest.raises(SchemaError, match="holds 1 values that no DOUBLE"):
        rig.run()
    assert rig.rows("items", "id", "v") == [(1, 2**40), (9, 2**53 + 1), (10, None)]
    rig.change("DELETE FROM items WHERE id = 9")
    rig.run()
    assert rig.rows("items", "id", "v") == [(1, float(2**40)), (2, 1.5), (10, None)]


def test_a_long_column_of_postgresql_becomes_a_double(rig: Rig, database: Database):
    rig.destination_type, rig.destination_config = "postgres", database.settings()
    rig.script.stream(
        "items",
        [[*items(1, v=2**53), {"id": 3}], Checkpoint(1)],
        [items(2, v=1.5), Checkpoint(2)],
        [items(4, v="abc"), Checkpoint(3)],
        key=("id",),
    )
    rig.create()
    rig.run()
    rig.run()
    assert rig.rows("items", "id", "v", "pg_typeof(v)::text")[0] == (1, float(2**53), "double precision")
    rig.run()
    assert [text for _, text in rig.rows("items", "id", "v")][1:] == ["1.5", None, "abc"]
    assert float(rig.rows("items", "v", order="id")[0]) == 2**53


def manual(rig: Rig, auto: bool) -> None:
    """The pipeline's auto mapping is switched."""
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, auto_mapping=auto))


@pytest.mark.spec("loading.21.5")
def test_without_auto_mapping_what_does_not_fit_is_rejected(rig: Rig):
    schema = pa.schema([("id", pa.int64()), ("v", pa.int32())])
    rows = [*items(2, v=2**40), *items(3, v=1.5), *items(4, v="abc"), *items(5, v=5)]
    rig.script.stream(
        "items", [items(1, v=1), Checkpoint(0)], [[row] for row in rows] + [Checkpoint(1)], key=("id",), schema=schema
    )
    rig.create()
    rig.run()
    manual(rig, auto=False)
    record = rig.run()
    assert rig.rows("items", "id", "v", "typeof(v)") == [(1, 1, "INTEGER"), (5, 5, "INTEGER")]
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 3}
    assert (record.status, record.balance.even) == ("COMPLETED_WITH_FAILURES", True)


def test_without_auto_mapping_a_new_field_is_told_of_and_the_switch_gives_it_a_column(rig: Rig):
    rig.script.stream(
        "items",
        [items(1), Checkpoint(0)],
        [items(2, v="b"), Checkpoint(1)],
        [items(3, v="c"), Checkpoint(2)],
        key=("id",),
    )
    rig.create()
    rig.run()
    manual(rig, auto=False)
    record = rig.run()
    assert rig.rows("items", "id") == [1, 2]
    assert [note.code for note in record.notes] == ["UNMAPPED_FIELD"]
    manual(rig, auto=True)
    rig.run()
    assert rig.rows("items", "id", "v") == [(1, None), (2, None), (3, "c")]


def test_rows_of_a_stream_that_nobody_mapped_wait_among_the_rejects(rig: Rig):
    schema = pa.schema([("id", pa.int64()), ("v", pa.string())])
    rig.script.stream("items", [items(1, v="a"), Checkpoint(0)], [], key=("id",), schema=schema)
    rig.create(auto=False)
    record = rig.run()
    assert (rig.rejected(), record.balance.even) == ({"UNMAPPED_EVENT_TYPE": 1}, True)
    assert not rig.exists("items")
    manual(rig, auto=True)
    rig.replay()
    assert rig.rows("items", "id", "v") == [(1, "a")]
    assert rig.rejected() == {}


def test_too_many_rows_that_the_destination_refuses_end_the_run(rig: Rig):
    rig.change("CREATE TABLE items (id BIGINT CHECK (id < 5), __hevo__ingested_at BIGINT)")
    rig.script.stream("items", [items(1, 5, 6, 7), Checkpoint(1)])
    rig.create("append")
    with rig.crew() as crew, pytest.raises(DataError, match="more than 2 rows"):
        replace(crew.sync(), failing=FailurePolicy(most_rows=2)).run()
    assert rig.rows("items", "id") == [1]
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 3}


@pytest.mark.spec("loading.21.7")
def test_a_dropped_column_comes_back_and_a_users_own_is_left_alone(rig: Rig):
    rig.script.stream(
        "items", [items(1, v="a", w=1), Checkpoint(1)], [items(2, v="b", w=2), Checkpoint(2)], key=("id",)
    )
    rig.create()
    rig.run()
    rig.change("ALTER TABLE items DROP COLUMN v", "ALTER TABLE items ADD COLUMN mine VARCHAR DEFAULT 'x'")
    rig.run()
    assert rig.rows("items", "id", "v", "w") == [(1, None, 1), (2, "b", 2)]
    assert rig.rows("items", "mine")[0] == "x"


@pytest.mark.spec("loading.21.7")
def test_a_dropped_table_comes_back_with_what_is_on_the_stage(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], key=("id",))
    rig.create()
    rig.run()
    rig.change("DROP TABLE items")
    record = rig.run()
    assert rig.rows("items", "id") == [1, 2]
    assert record.balance.even


@pytest.mark.spec("loading.21.9")
def test_fields_beyond_the_limit_stay_without_a_column(rig: Rig):
    fits = 4096 - 6
    wide = pa.RecordBatch.from_arrays(
        [pa.array([n], pa.int8()) for n in [1, *([3] * fits)]],
        names=["id", *(f"c_{n}" for n in range(fits))],
    )
    rig.script.stream("items", [wide, Checkpoint(1)], key=("id",))
    rig.create()
    record = rig.run()
    assert record.balance.loaded == 1
    assert [note.code for note in record.notes] == ["COLUMN_LIMIT"]
    with rig.crew() as crew:
        (mapping,) = crew.books.mappings()
    assert len(mapping.columns) == fits
    assert mapping.unmapped == ((f"c_{fits - 1}", "COLUMN_LIMIT"),)
    assert rig.rows("items", f"c_{fits - 2}") == [3]


@pytest.mark.parametrize("made", ["made", "b"])
def test_a_table_with_rows_of_several_objects_is_not_filled_anew_with_those_of_one(
    rig: Rig, deploy: Callable[..., Scripted], made: str
):
    for name, id_ in (("a", 1), ("b", 2)):
        rig.script.stream(name, log(items(id_), every=1), key=("id",))
    rig.create()
    deploy(lambda row: [(made, row)])
    rig.run()
    for only in (["a"], ["b"]):
        with pytest.raises(ConfigError, match="has rows of") as refused:
            runs.resync(rig.home, PIPELINE, only=only, mode="drop-and-load", clock=rig.clock)
        assert refused.value.code == "would_lose"
    assert rig.rows(made, "id") == [1, 2]
    rig.resync()
    assert rig.rows(made, "id") == [1, 2]


@pytest.mark.parametrize("lane", ["incremental", "historical"])
def test_a_fresh_table_with_rows_of_several_objects_waits_for_the_last_of_them(
    rig: Rig, deploy: Callable[..., Scripted], lane: Lane
):
    for name, id_ in (("a", 1), ("b", 2)):
        told = [items(id_), Checkpoint(1, progress=1.0 if lane == "historical" else None)]
        rig.script.stream(name, [], lane="incremental", key=("id",), historical=lane == "historical")
        rig.script.stream(name, told, told if name == "a" else [Transient("away")], [], lane=lane)
    rig.create("append")
    deploy(lambda row: [("made", row)])
    rig.run()
    with pytest.raises(Transient):
        rig.resync()
    assert rig.rows("made", "id") == [1, 2], "rows of b are not away while it is"
    object_actions.pause(rig.home, PIPELINE, "b")
    (waits,) = (note.message for note in rig.run().notes if note.code == "table_waits")
    assert "made is filled anew" in waits and "until b is read" in waits
    object_actions.resume(rig.home, PIPELINE, "b")
    rig.script.tales["b", lane] = [[items(3), Checkpoint(2, progress=1.0 if lane == "historical" else None)], []]
    rig.run()
    assert rig.rows("made", "id") == [1, 3]
