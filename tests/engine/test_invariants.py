"""The invariants of ARCHITECTURE.md, one by one. `test_invariants_bite` shows that each of these tests can fail."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, Desk, Killed, Rig, Shaky, Word, desk, items, log, rig, types

from millrace.connect.destination import Load
from millrace.connect.source import Note, Reading
from millrace.control.books import leases
from millrace.control.failed import rejects
from millrace.control.mapper import mappings
from millrace.control.pipeline import positions
from millrace.control.running import runs
from millrace.data.batch import Checkpoint, Mark, Passed
from millrace.engine.stage import Draft
from millrace.engine.staged_rows import StagedRows
from millrace.errors import MillraceError, SchemaError, Stale, Transient

__all__ = ["desk", "rig", "types"]

append = pytest.mark.parametrize("desk", ["append"], indirect=True)
SECRET = "s3cret-t0ken-of-the-source"


# I1: a cursor is saved only together with the segments and the rejects that it covers: one transaction.


def test_i1_a_cursor_comes_with_its_rows_rejects_marks_and_mapping_or_not_at_all(desk: Desk):
    words = [items(1), [{"id": None}], Checkpoint("c", marks=(Mark("p", b"m"),))]
    for table in ("cursors", "segments", "reject_files", "marks", "mappings", "run_counts"):
        desk.rig.meddle(f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken here'); END")
        with pytest.raises(Exception, match="broken here"):
            desk.ingest(*words)
        desk.rig.meddle("DROP TRIGGER broken")
        kept = (desk.cursor, desk.crew.books.tables(), desk.rig.rejected(), list(desk.crew.books.mappings()))
        assert kept == (None, [], {}, []), table
        assert list(desk.crew.books.memory("items").parts()) == [], table
    desk.ingest(*words)
    assert (desk.cursor, desk.segments(), desk.rig.rejected()) == ("c", [1], {"NULL_PRIMARY_KEY": 1})


def test_i1_the_cursor_covers_the_rows_that_are_durable(desk: Desk):
    seen: list[tuple[object, int]] = []
    ledger = desk.crew.books

    def committed() -> None:
        files = [desk.sync.stage.read(one.path, one.checksum).read_all() for one in ledger.segments("items", 1, 0)]
        seen.append((desk.cursor, sum(file.num_rows for file in files)))

    desk.draft = Draft(desk.sync.stage, desk.sync.shelf.feed, flush_rows=1)
    desk.ingest(items(1), Checkpoint(1), items(2, 3), Checkpoint(3), committed=committed)
    assert seen[:2] == [(1, 1), (3, 3)]


# I2: a checkpoint covers all that was yielded before it. Commits happen at checkpoints and at the end, nowhere else.


def test_i2_nothing_is_committed_between_two_checkpoints(desk: Desk):
    desk.draft = Draft(desk.sync.stage, desk.sync.shelf.feed, flush_rows=1)
    counts: list[int] = []

    def look() -> None:
        counts.append(desk.commits)

    desk.ingest(items(1), look, items(2), look, Checkpoint(2), look, items(3), look, Checkpoint(3), look)
    assert counts == [0, 0, 1, 1, 2]


def test_i2_an_error_behind_rows_commits_none_of_them(desk: Desk):
    with pytest.raises(Transient):
        desk.ingest(items(1), Checkpoint(1), items(2), Transient("cut"))
    assert (desk.cursor, desk.commits) == (None, 0)


# I3: a load is all or nothing, and the number of the last segment is kept in the same transaction, beside the rows.


@append
def test_i3_rows_and_the_number_of_their_segment_go_together(desk: Desk):
    desk.segments_of(items(1), items(2))
    desk.rig.change(
        "CREATE TABLE __hevo__loads (feed VARCHAR NOT NULL, table_name VARCHAR NOT NULL, "
        "segment BIGINT NOT NULL CHECK (segment < 2), loaded_at BIGINT NOT NULL)"
    )
    with pytest.raises(MillraceError):
        desk.load()
    assert desk.rig.rows("items", "id") == [], "no row without its number"
    assert desk.rig.query("SELECT * FROM __hevo__loads") == []


@append
def test_i3_after_a_crash_the_destinations_number_counts_not_ours(desk: Desk):
    desk.segments_of(items(1), items(2))
    Shaky.faults = {"load": [("after", Killed())]}
    with pytest.raises(Killed):
        desk.load()
    desk.load()
    assert desk.rig.rows("items", "id") == [1, 2]


# I4: a commit is taken only from the worker that holds the lease; a load, only where the segment before is held.


def test_i4_a_worker_that_lost_its_lease_commits_nothing(desk: Desk):
    desk.rig.meddle("UPDATE leases SET token = 'another worker'")
    with pytest.raises(Stale):
        desk.ingest(items(1), Checkpoint(1))
    assert (desk.cursor, desk.crew.books.tables()) == (None, [])


def losing(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """From here on whoever takes a lease loses it at once to another worker."""
    real = leases.held

    @contextmanager
    def held(database: Any, name: str, **more: Any) -> Iterator[Any]:
        desk.rig.meddle("DELETE FROM leases")
        with real(database, name, **more) as lease:
            desk.rig.meddle("UPDATE leases SET token = 'another worker'")
            yield lease

    patch.setattr(leases, "held", held)


def dropping(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """From here on whoever drops a table loses the lease to another worker meanwhile."""
    real = Shaky.drop

    def drop(destination: Shaky, table: str) -> None:
        real(destination, table)
        desk.rig.meddle("UPDATE leases SET token = 'another worker'")

    patch.setattr(Shaky, "drop", drop)


def test_i4_who_lost_the_lease_sets_no_position(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.ingest(items(1), Checkpoint("kept"))
    losing(desk, monkeypatch)
    with pytest.raises(Stale):
        positions.put(desk.rig.home, PIPELINE, "items", "incremental", "lost")
    assert desk.cursor == "kept"


def test_i4_who_lost_the_lease_edits_no_mapping(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.ingest(items(1), Checkpoint(1))
    before = desk.crew.books.mappings()
    losing(desk, monkeypatch)
    with pytest.raises(Stale):
        mappings.set_auto(desk.rig.home, PIPELINE, "items", False)
    assert desk.crew.books.mappings() == before


def test_i4_who_lost_the_lease_deletes_no_table(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.segments_of(items(1))
    desk.load()
    before = desk.crew.books.tables(), desk.crew.books.mappings()
    losing(desk, monkeypatch)
    with pytest.raises(Stale):
        mappings.delete_table(desk.rig.home, PIPELINE, "items")
    assert (desk.crew.books.tables(), desk.crew.books.mappings()) == before
    assert desk.rig.rows("items", "id") == [1]


def test_i4_who_loses_the_lease_while_a_table_goes_deletes_none_from_the_books(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    desk.segments_of(items(1))
    desk.load()
    before = desk.crew.books.tables(), desk.crew.books.mappings()
    desk.rig.meddle("DELETE FROM leases")
    dropping(desk, monkeypatch)
    with pytest.raises(Stale):
        mappings.delete_table(desk.rig.home, PIPELINE, "items")
    assert (desk.crew.books.tables(), desk.crew.books.mappings()) == before


def test_i4_who_lost_the_lease_drops_no_table_in_a_reset(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.segments_of(items(1))
    desk.load()
    before = desk.crew.books.tables(), desk.crew.books.mappings()
    losing(desk, monkeypatch)
    with pytest.raises(Stale):
        runs.reset(desk.rig.home, PIPELINE, drop_tables=True)
    assert (desk.crew.books.tables(), desk.crew.books.mappings()) == before
    assert desk.rig.rows("items", "id") == [1]


@append
def test_i4_a_late_load_is_refused(desk: Desk):
    desk.segments_of(items(1))
    desk.load()
    (segment,) = desk.crew.books.segments("items", 1, 0)
    table = desk.shelved().mapping.target(desk.sync.naming.prefix, name="items", loaded_at=True)
    schema = pa.schema([(column.name, column.type) for column in table.columns])
    late = Load(f"{desk.crew.books.feed}:1", 0, 1, 0, StagedRows(desk.sync.stage, [segment], schema))
    with pytest.raises(Stale):
        desk.destination.load(table, late)
    assert desk.rig.rows("items", "id") == [1]


# I5: every row read is staged, rejected with a reason, or filtered on purpose. A run's counts must balance.


def test_i5_a_run_accounts_for_every_row(rig: Rig):
    rig.change("CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)")
    rig.script.stream(
        "items",
        [items(1, 2, v="ok"), items(3, v="too long"), [{"id": None}], Passed(4, "future"), Checkpoint(1)],
        key=("id",),
    )
    rig.create()
    balance = rig.run().balance
    assert (balance.read, balance.loaded, balance.filtered) == (8, 2, {"future": 4})
    assert balance.rejected == {"load/CONSTRAINT_VIOLATION": 1, "mapping/NULL_PRIMARY_KEY": 1}
    assert balance.even
    kept = {row.code: row.row for row in rejects.rows(rig.home, _stage(rig))}
    assert '"too long"' in kept["CONSTRAINT_VIOLATION"]


def test_i5_a_commit_that_does_not_balance_is_not_taken(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    from millrace.engine import entering as module

    real = module.shape

    def loses(mapping, batch, naming, at, **more):
        return real(mapping, batch.slice(1), naming, at, **more)

    monkeypatch.setattr(module, "shape", loses)
    with pytest.raises(MillraceError, match="2 rows were read, but 1 staged"):
        desk.ingest(items(1, 2), Checkpoint(1))
    assert desk.cursor is None


# I6: types only widen. A value is cast exactly or rejected; never cut, rounded or nulled in silence.


def test_i6_a_column_only_ever_becomes_wider(rig: Rig):
    tales = [[items(n, v=v), Checkpoint(n)] for n, v in enumerate((1, 2**40, 0.5, 3, "x", 4, True, None))]
    rig.script.stream("items", *tales, key=("id",))
    rig.create()
    seen: list[str] = []
    for _ in tales:
        rig.run()
        seen.append(rig.rows("items", "typeof(v)")[0])
    assert list(dict.fromkeys(seen)) == ["INTEGER", "BIGINT", "DOUBLE", "VARCHAR"]
    assert rig.rows("items", "v", order="id") == ["1", str(2**40), "0.5", "3", "x", "4", "true", None]


def test_i6_staged_values_that_do_not_fit_are_not_loaded_as_something_else(desk: Desk):
    desk.segments_of(items(1, v="text"))
    found = desk.crew.books.segments("items", 1, 0)
    narrower = pa.schema([("id", pa.int64()), ("v", pa.int64())])
    with pytest.raises(SchemaError, match="do not fit"):
        StagedRows(desk.sync.stage, found, narrower).reader().read_all()


# I7: secrets are opened only to build a connector, and never reach a log, a reject, an error text or a file.


def test_i7_no_secret_is_in_an_error_a_note_a_log_or_a_file(rig: Rig, caplog: pytest.LogCaptureFixture):
    rig.source_config = {"token": SECRET}
    rig.script.stream("items", [items(1), Checkpoint(1), Transient(f"401 for token={SECRET}", hint=f"not {SECRET}")])
    rig.create("append")
    with caplog.at_level(logging.DEBUG), pytest.raises(Transient) as caught, rig.crew() as crew:
        crew.note(Note("odd", f"the answer repeats {SECRET}"))
        crew.sync().run()
    assert (str(caught.value), caught.value.hint) == ("401 for token=***", "not ***")
    record = rig.record()
    assert record.error is not None
    assert (record.error.message, record.error.hint) == ("401 for token=***", "not ***")
    assert [note.message for note in record.notes] == ["the answer repeats ***"]
    assert SECRET not in caplog.text
    rig.home.close()  # so that the log of the control database is in its file
    with_secret = [path for path in rig.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert with_secret == []


# I8: a process may be killed at any instruction; running again gives the table that an undisturbed run gives.


@pytest.mark.parametrize("mode", ["merge", "append"])
@pytest.mark.parametrize("die", ["source", "lease", "before", "after"])
def test_i8_a_run_that_was_killed_and_run_again_is_like_an_undisturbed_one(rig: Rig, mode: str, die: str):
    rows = [{"id": n % 7, "v": n} for n in range(20)]
    bombs: list[Word] = []
    if die == "source":
        bombs.append(Killed())
    if die == "lease":
        bombs.append(lambda: rig.meddle("UPDATE leases SET token = 'of another worker'"))
    if die in ("before", "after"):
        Shaky.faults = {"load": [(die, Killed())]}

    def tale(reading: Reading) -> Iterator[Word]:
        for number, word in enumerate(log(rows, every=3)(reading)):
            yield word
            rig.clock.advance(10)
            if number == 6 and bombs:
                yield bombs.pop()

    rig.script.stream("items", tale, key=("id",))
    rig.destination_type = "shaky"
    rig.create(mode)
    with pytest.raises((Killed, Stale)):
        rig.run()
    rig.run()
    everything = [(n % 7, n) for n in range(20)]
    assert Counter(rig.rows("items", "id", "v")) == Counter(everything if mode == "append" else everything[13:])


def _stage(rig: Rig):
    from millrace.engine.stage import Stage

    return Stage(str(Path(rig.home.path) / "stage"))
