"""The books: what a commit keeps, who may commit, how segments are numbered, loaded, parked and rewound."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from tests.control.conftest import MAPPING, Desk, commit

from millrace.connect.destination import Loaded
from millrace.control.books import commits, leases, records
from millrace.control.books.ledger import Books, Group
from millrace.control.database.tables import cursor_history, reject_files, reject_groups, segments
from millrace.data.batch import Mark, Segment
from millrace.engine.ledger import Ledger, RejectFile, Shelf
from millrace.errors import EnvironmentProblem, MillraceError, Stale

Make = Callable[..., Segment]
MakeRejects = Callable[..., RejectFile]


def balance(desk: Desk, run: int) -> records.Balance:
    with desk.database.reading() as connection:
        return records._records(connection, sa.select(records.runs).where(records.runs.c.id == run))[0].balance


def test_books_are_a_ledger_and_a_shelf(desk: Desk) -> None:
    books, _ = desk.books()
    ledger: Ledger = books
    shelf: Shelf = books
    assert ledger.cursor("Events", "incremental") is None
    assert shelf.tables() == []
    assert shelf.feed == desk.pipeline


def test_a_commit_is_found_again_by_the_next_run(desk: Desk, segment: Make, rejects: MakeRejects) -> None:
    books, run = desk.books()
    staged = segment(rows=7)
    cursor = {"units": [["a", 2**63, 0.1]], "text": "\x00\ud800é"}
    books.commit(
        commit(
            cursor=cursor,
            read=12,
            segments=[staged],
            rejects=[rejects(2)],
            passed={"future": 3},
            marks=[Mark("part\x00", b"\x00\xff")],
            counts={"late": 5},
            ingested_at_ms=99,
        )
    )
    again, _ = desk.books()
    assert again.cursor("Events", "incremental") == cursor
    assert again.cursor("Events", "historical") is None
    assert again.mappings() == [MAPPING]
    assert again.latest_ingested_at_ms() == 99
    assert again.memory("Events").parts() == ["part\x00"]
    assert again.memory("Events").recall("part\x00") == [b"\x00\xff"]
    assert again.memory("Other").parts() == []
    assert again.segments("events", 1, 0) == [replace(staged, number=1, generation=1)]
    kept = balance(desk, run)
    assert (kept.read, kept.waiting, kept.filtered, kept.rejected) == (
        12,
        7,
        {"future": 3},
        {"mapping/NULL_PRIMARY_KEY": 2},
    )
    assert kept.even


def test_a_stale_worker_is_refused_and_keeps_nothing(desk: Desk, segment: Make) -> None:
    late, _ = desk.books()
    late.commit(commit(read=1, segments=[segment(1)]))
    now, _ = desk.books()
    writes: list[Callable[[], object]] = [
        lambda: late.commit(commit(cursor="late", read=1, segments=[segment(1)], marks=[Mark("p", b"1")])),
        lambda: late.park("events", 1, 1, []),
        lambda: late.loaded("events", 1, 1, None),
        lambda: late.rewind("events", 1, 0),
        lambda: late.swapped("events", 1),
        lambda: late.forget_lane("Events", "incremental", marks=True),
        lambda: late.new_generation("events"),
        lambda: late.drop_everything(),
    ]
    for write in writes:
        with pytest.raises(Stale):
            write()
    assert now.cursor("Events", "incremental") == "c1"
    assert now.memory("Events").parts() == []
    (table,) = now.tables()
    assert (table.last, table.loaded, table.generation) == (1, 0, 1)


@pytest.mark.parametrize("step", ["keep_mappings", "keep_segments", "keep_reject", "keep_marks", "keep_cursor"])
def test_a_commit_that_fails_at_any_step_keeps_nothing(
    desk: Desk, segment: Make, rejects: MakeRejects, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    books, run = desk.books()
    done = getattr(commits, step)

    def dies(*args: object, **more: object) -> None:
        done(*args, **more)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(commits, step, dies)
        with pytest.raises(RuntimeError, match="killed"):
            books.commit(commit(read=2, segments=[segment(1)], rejects=[rejects(1)], marks=[Mark("p", b"1")]))
    assert books.cursor("Events", "incremental") is None
    assert list(books.mappings()) == []
    assert list(books.tables()) == []
    assert books.memory("Events").parts() == []
    assert desk.scalar(sa.select(sa.func.count()).select_from(reject_files)) == 0
    assert balance(desk, run).read == 0


COMMITS_WITHOUT_END = """
import sys
from millrace.control.database.db import Database
from millrace.data.batch import Mark, Segment
from tests.control.conftest import Desk, commit

books, _ = Desk(Database(sys.argv[1]), sys.argv[2]).books()
for n in range(1, 100_000):
    staged = Segment("Events", "events", f"x/{n}.arrow", n, n, "0" * 64)
    books.commit(commit(cursor=n, read=n, segments=[staged], marks=[Mark("n", b"1")]))
"""


def test_a_killed_process_leaves_only_whole_commits(desk: Desk) -> None:
    child = subprocess.Popen([sys.executable, "-c", COMMITS_WITHOUT_END, desk.database.url, desk.pipeline])
    try:
        until = time.monotonic() + 200
        while desk.scalar(sa.select(sa.func.count()).select_from(segments)) < 10:
            assert child.poll() is None, "it ended by itself; what it said is above"
            assert time.monotonic() < until, "it is alive, and too slow"
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    books, _ = desk.books()
    reached = books.cursor("Events", "incremental")
    assert reached >= 10
    assert [(s.number, s.rows) for s in books.segments("events", 1, 0)] == [(n, n) for n in range(1, reached + 1)]
    assert len(books.memory("Events").recall("n")) == reached


def test_segments_are_numbered_without_a_gap_in_their_table(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    books.commit(commit(read=40, segments=[segment(), segment(table="other"), segment(), segment(table="other")]))
    books, _ = desk.books()
    books.commit(commit(read=20, segments=[segment(), segment(table="other")]))
    assert [s.number for s in books.segments("events", 1, 0)] == [1, 2, 3]
    assert [s.number for s in books.segments("other", 1, 1)] == [2, 3]


def test_the_lane_again_moves_no_cursor(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    books.commit(commit(cursor="kept"))
    books.commit(commit(cursor="dropped", lane="again", read=10, segments=[segment()], marks=[Mark("p", b"1")]))
    assert books.cursor("Events", "incremental") == "kept"
    assert books.cursor("Events", "again") is None
    assert len(books.segments("events", 1, 0)) == 1
    assert books.memory("Events").recall("p") == [b"1"]


def test_marks_are_appended_replaced_and_forgotten_in_their_order(desk: Desk) -> None:
    books, _ = desk.books()
    memory = books.memory("Events")
    books.commit(commit(marks=[Mark("a", b"1"), Mark("b", b"x"), Mark("a", b"2")]))
    books.commit(commit(marks=[Mark("a", b"3")]))
    assert memory.recall("a") == [b"1", b"2", b"3"]
    books.commit(commit(marks=[Mark("a", b"4"), Mark("a", b"5", replace=True), Mark("a", b"6"), Mark("b", None, True)]))
    assert memory.recall("a") == [b"5", b"6"]
    assert memory.parts() == ["a"]


@pytest.mark.spec("pipelines.22.17")
def test_rows_that_do_not_balance_are_refused(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    with pytest.raises(MillraceError, match="11 rows were read, but 10 staged") as caught:
        books.commit(commit(read=11, segments=[segment(10)]))
    assert caught.value.code == "unbalanced"
    with pytest.raises(MillraceError, match="Orders: 0 rows were read and 1 created, but 0 staged"):
        books.commit(commit(read=11, segments=[segment(10)], created={"Orders": 1, "Events": -1}))
    assert books.cursor("Events", "incremental") is None


def test_a_mapping_keeps_its_versions_and_refuses_an_older_one(desk: Desk) -> None:
    books, _ = desk.books()
    books.commit(commit())
    books.commit(commit(mappings=(replace(MAPPING, version=2, deletes=True),)))
    books.commit(commit(mappings=(replace(MAPPING, version=2, deletes=False),)))
    assert books.mappings() == [replace(MAPPING, version=2)]
    with pytest.raises(Stale, match="version 2"):
        books.commit(commit(mappings=(MAPPING,)))


def test_a_progress_that_is_not_known_stays_as_it_was(desk: Desk) -> None:
    books, _ = desk.books()
    books.commit(commit(lane="historical", progress=0.4))
    books.commit(commit(lane="historical", progress=None))
    assert books.progress("Events", "historical") == pytest.approx(0.4)


def test_a_table_is_complete_once_its_history_was_read(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    books.commit(commit(lane="historical", progress=0.99, read=10, segments=[segment()]))
    assert [t.complete for t in books.tables()] == [False]
    books.commit(commit(lane="incremental", progress=1.0))
    assert [t.complete for t in books.tables()] == [False]
    books.commit(commit(lane="historical", progress=1.0))
    assert [t.complete for t in books.tables()] == [True]


def test_a_table_that_appears_after_the_history_is_complete_at_once(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    books.commit(commit(lane="historical", progress=1.0, mappings=()))
    books.commit(commit(read=10, segments=[segment()]))
    assert [t.complete for t in books.tables()] == [True]


def test_loading_moves_rows_from_waiting_to_loaded_of_the_run_that_staged_them(desk: Desk, segment: Make) -> None:
    books, first = desk.books()
    books.commit(commit(read=30, segments=[segment(10), segment(20)]))
    books, second = desk.books()
    books.commit(commit(read=5, segments=[segment(5)]))
    books.loaded("events", 1, 3, Loaded(rows=35, inserted=30, updated=5))
    books.loaded("events", 1, 3, Loaded(rows=35, inserted=30, updated=5))
    books.loaded("events", 1, 2, None)
    assert balance(desk, first) == records.Balance(read=30, loaded=30, staged=30)
    assert balance(desk, second) == records.Balance(read=5, loaded=5, staged=5)
    assert [(t.loaded, t.last) for t in books.tables()] == [(3, 3)]
    assert [s.number for s in books.segments("events", 1, 1)] == [2, 3]


def test_a_destination_that_holds_more_than_was_staged_is_told(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    books.commit(commit(read=10, segments=[segment(10)]))
    with pytest.raises(EnvironmentProblem) as caught:
        books.loaded("events", 1, 2, None)
    assert caught.value.code == "books_behind"


def test_parked_rows_count_once_their_load_is_noted(desk: Desk, segment: Make, rejects: MakeRejects) -> None:
    books, run = desk.books()
    books.commit(commit(read=30, segments=[segment(10), segment(20)]))
    books.park("events", 1, 2, [rejects(5, "STRING_TOO_LONG", "load")])
    assert balance(desk, run) == records.Balance(read=30, waiting=30, staged=30)
    books.park("events", 1, 2, [rejects(3, "STRING_TOO_LONG", "load")])
    books.loaded("events", 1, 2, Loaded(rows=30, inserted=27, refused=3))
    after = balance(desk, run)
    assert (after.loaded, after.rejected, after.waiting) == (27, {"load/STRING_TOO_LONG": 3}, 0)
    assert after.even
    assert desk.scalar(sa.select(sa.func.count()).select_from(reject_files)) == 1


def test_rows_parked_for_a_load_whose_note_was_lost_still_count(
    desk: Desk, segment: Make, rejects: MakeRejects
) -> None:
    books, run = desk.books()
    books.commit(commit(read=10, segments=[segment(10)]))
    books.park("events", 1, 1, [rejects(2, "ROW_TOO_LARGE", "load")])
    books, _ = desk.books()
    books.commit(commit(read=4, segments=[segment(4)]))
    books.loaded("events", 1, 1, None)
    books.park("events", 1, 2, [rejects(1, "ROW_TOO_LARGE", "load")])
    books.loaded("events", 1, 2, Loaded(rows=4, inserted=3, refused=1))
    assert balance(desk, run).rejected == {"load/ROW_TOO_LARGE": 2}
    assert desk.scalar(sa.select(sa.func.count()).select_from(reject_files)) == 2


def test_refused_rows_of_several_runs_leave_every_run_even(desk: Desk, segment: Make, rejects: MakeRejects) -> None:
    books, first = desk.books()
    books.commit(commit(read=3, segments=[segment(3)]))
    books, second = desk.books()
    books.commit(commit(read=9, segments=[segment(9)]))
    books.park("events", 1, 2, [rejects(5, "A", "load"), rejects(2, "B", "load")])
    books.loaded("events", 1, 2, Loaded(rows=12, inserted=5, refused=7))
    one, two = balance(desk, first), balance(desk, second)
    assert one.even and two.even
    assert one.loaded + two.loaded == 5
    assert one.rejected_rows + two.rejected_rows == 7


def test_a_rewind_takes_back_what_was_counted(desk: Desk, segment: Make, rejects: MakeRejects) -> None:
    books, run = desk.books()
    books.commit(commit(read=30, segments=[segment(10), segment(20)]))
    books.loaded("events", 1, 1, Loaded(rows=10, inserted=10))
    books.park("events", 1, 2, [rejects(4, "A", "load")])
    books.loaded("events", 1, 2, Loaded(rows=20, inserted=16, refused=4))
    books.rewind("events", 1, 1)
    assert balance(desk, run) == records.Balance(read=30, loaded=10, waiting=20, staged=30)
    assert [(t.loaded, t.last) for t in books.tables()] == [(1, 2)]
    books.park("events", 1, 2, [rejects(4, "A", "load")])
    books.loaded("events", 1, 2, Loaded(rows=20, inserted=16, refused=4))
    assert balance(desk, run).rejected == {"load/A": 4}
    assert balance(desk, run).even
    assert desk.scalar(sa.select(sa.func.count()).select_from(reject_files)) == 1


def test_a_rewind_over_files_that_are_gone_is_told(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    books.commit(commit(read=20, segments=[segment(10), segment(10)]))
    books.loaded("events", 1, 2, None)
    with desk.database.transaction() as connection:
        connection.execute(sa.update(segments).where(segments.c.number == 2).values(state="dropped"))
    with pytest.raises(EnvironmentProblem) as caught:
        books.rewind("events", 1, 0)
    assert caught.value.code == "stage_gone"
    assert [t.loaded for t in books.tables()] == [2]


def test_a_new_generation_drops_what_waited_and_numbers_from_one(
    desk: Desk, segment: Make, rejects: MakeRejects
) -> None:
    books, run = desk.books()
    books.commit(commit(lane="historical", progress=1.0, read=20, segments=[segment(10), segment(10)]))
    books.loaded("events", 1, 1, None)
    books.park("events", 1, 2, [rejects(1, "A", "load")])
    assert books.new_generation("events") == 2
    (table,) = books.tables()
    assert (table.generation, table.fresh, table.loaded, table.last, table.complete) == (2, True, 0, 0, False)
    assert balance(desk, run) == records.Balance(read=20, loaded=10, dropped=10, staged=20)
    assert desk.scalar(sa.select(sa.func.count()).select_from(reject_files)) == 0
    books.commit(commit(read=10, segments=[segment()]))
    assert [s.number for s in books.segments("events", 2, 0)] == [1]
    books.swapped("events", 2)
    assert [t.fresh for t in books.tables()] == [False]


def test_a_restart_is_one_transaction_over_lanes_memory_and_tables(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    books.commit(commit(read=10, segments=[segment()], marks=[Mark("p", b"1")]))
    books.commit(commit(lane="historical", cursor="h", progress=1.0))
    assert books.restart("Events", lanes=["historical"], marks=False, fresh=None) == {}
    assert books.cursor("Events", "historical") is None
    assert books.cursor("Events", "incremental") == "c1"
    assert books.memory("Events").parts() == ["p"]
    assert books.restart("Events", lanes=["incremental", "historical"], marks=True, fresh=True) == {}
    assert [(one.generation, one.fresh) for one in books.tables()] == [(2, True)]
    assert books.cursor("Events", "incremental") is None
    assert books.memory("Events").parts() == []
    # A table that has rows of several begins anew once.
    assert books.restart("Events", "Others", lanes=["historical"], marks=True, fresh=True) == {}
    assert [one.generation for one in books.tables()] == [3]
    books.commit(commit(cursor="new"))
    books.forget_lane("Events", "incremental", marks=False)
    assert books.cursor("Events", "incremental") is None


def test_after_dropping_everything_generations_go_on(desk: Desk, segment: Make, rejects: MakeRejects) -> None:
    books, run = desk.books()
    books.commit(commit(read=12, segments=[segment(10)], rejects=[rejects(2)], marks=[Mark("p", b"1")]))
    assert books.drop_everything() == {"events": 2}
    assert books.cursor("Events", "incremental") is None
    assert list(books.mappings()) == list(books.tables()) == []
    assert books.memory("Events").parts() == []
    assert balance(desk, run).even
    books.commit(commit(read=10, segments=[segment()]))
    assert [(t.generation, t.last, t.fresh) for t in books.tables()] == [(2, 1, False)]
    assert desk.scalar(sa.select(reject_groups.c.state)) == "discarded"


def test_a_replay_closes_its_rejects_with_the_rows_it_brings(desk: Desk, segment: Make, rejects: MakeRejects) -> None:
    books, _ = desk.books()
    books.commit(commit(read=2, rejects=[rejects(2)]))
    file = desk.scalar(sa.select(reject_files.c.id))
    assert isinstance(file, int)
    group = Group(file, "Events", "mapping", "NULL_PRIMARY_KEY")
    books.replaying([group]).commit(commit(lane="again", read=2, segments=[segment(2)]))
    assert desk.scalar(sa.select(reject_groups.c.state)) == "replayed"
    with pytest.raises(Stale):
        books.replaying([group]).commit(commit(lane="again", read=2, segments=[segment(2)]))
    assert len(books.segments("events", 1, 0)) == 1


def test_the_history_has_the_last_cursor_of_every_run(desk: Desk) -> None:
    books, first = desk.books()
    books.commit(commit(cursor=1))
    books.commit(commit(cursor=2))
    books, second = desk.books()
    books.commit(commit(cursor=3))
    with desk.database.reading() as connection:
        found = connection.execute(
            sa.select(cursor_history.c.run_id, cursor_history.c.cursor).order_by(cursor_history.c.id)
        ).all()
    assert [tuple(row) for row in found] == [(first, 2), (second, 3)]


def test_two_pipelines_do_not_see_each_other(desk: Desk, segment: Make) -> None:
    from tests.control.conftest import add_pipeline

    other = Desk(desk.database, add_pipeline(desk.database, "other"))
    books, _ = desk.books()
    books.commit(commit(read=10, segments=[segment()], marks=[Mark("p", b"1")]))
    theirs, _ = other.books()
    assert theirs.cursor("Events", "incremental") is None
    assert list(theirs.tables()) == list(theirs.mappings()) == []
    assert theirs.memory("Events").parts() == []
    theirs.commit(commit(read=10, segments=[segment()]))
    assert [s.number for s in theirs.segments("events", 1, 0)] == [1]


def test_a_commit_of_thirty_blobs_asks_the_database_no_more_often_than_one_of_two(desk: Desk, segment: Make) -> None:
    books, _ = desk.books()
    blob = os.urandom(100_000)
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    def statements(turn: int, blobs: int) -> int:
        asked.clear()
        marks = [Mark(f"{turn}-{i}", blob) for i in range(blobs)]
        books.commit(commit(cursor=turn, read=10, segments=[segment()], marks=marks))
        return len(asked)

    statements(0, 2)
    event.listen(desk.database.engine, "before_cursor_execute", note)
    try:
        assert statements(1, 30) == statements(2, 2) > 0
    finally:
        event.remove(desk.database.engine, "before_cursor_execute", note)


def test_a_lease_that_expired_but_was_not_taken_still_commits(desk: Desk) -> None:
    books, _ = desk.books()
    with desk.database.transaction() as connection:
        connection.execute(sa.update(leases.leases).values(expires_at=desk.database.now().replace(year=2001)))
    books.commit(commit())
    assert books.cursor("Events", "incremental") == "c1"
    assert isinstance(books, Books)
