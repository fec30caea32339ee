"""The first half of a sync, with real books and a real stage: what is committed when, and what never is."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from sqlalchemy.exc import IntegrityError
from tests.engine.kit import START, Desk, desk, items, rig, types

from millrace.control.books.records import run_record
from millrace.data.batch import Batch, Checkpoint, Mark, Passed, Refused
from millrace.data.columns import REJECTS
from millrace.engine.ingest import FLUSH_SECONDS
from millrace.engine.stage import Draft
from millrace.errors import MillraceError, Stale, Transient

__all__ = ["desk", "rig", "types"]


def small(desk: Desk, **limits: int) -> Draft:
    desk.draft = Draft(desk.sync.stage, desk.sync.shelf.feed, **limits)
    return desk.draft


def refused(*rows: str, stream: str = "items") -> Refused:
    same = {"stream": stream, "stage": "source", "code": "BAD", "message": "it is bad", "rejected_at": START}
    return Refused(pa.RecordBatch.from_pylist([same | {"row": row} for row in rows], schema=REJECTS))


def test_a_read_without_checkpoints_is_one_commit_at_its_end(desk: Desk):
    assert desk.ingest(items(1, 2), items(3))
    assert (desk.commits, desk.segments(), desk.cursor) == (1, [3], None)


def test_checkpoints_gather_until_enough_has_come(desk: Desk):
    small(desk, flush_rows=3)
    desk.ingest(items(1), Checkpoint(1), items(2), Checkpoint(2), items(3), Checkpoint(3), items(4), Checkpoint(4))
    assert (desk.commits, desk.segments(), desk.cursor) == (2, [3, 1], 4)


def test_a_full_draft_waits_for_its_checkpoint(desk: Desk):
    small(desk, flush_rows=1)
    desk.ingest(items(1), items(2), items(3), lambda: desk.commits and pytest.fail("too early"), Checkpoint("c"))
    assert desk.segments() == [3]


def test_rows_are_flushed_by_bytes(desk: Desk):
    small(desk, flush_bytes=2_000)
    desk.ingest(items(1, text="x" * 1_500), Checkpoint(1), items(2, text="x" * 1_500), Checkpoint(2), items(3))
    assert desk.segments() == [2, 1]


def test_rejects_fill_the_draft_too(desk: Desk):
    small(desk, flush_rows=2)
    desk.ingest(refused("{}", "{}"), Checkpoint(1), items(1))
    assert desk.commits == 2


def test_rows_are_flushed_when_they_have_waited(desk: Desk):
    def wait() -> None:
        desk.rig.clock.advance(FLUSH_SECONDS)

    desk.ingest(items(1), wait, Checkpoint(1), items(2), Checkpoint(2))
    assert desk.segments() == [1, 1]


def test_nothing_waits_before_the_first_row_has_come(desk: Desk):
    desk.ingest(lambda: desk.rig.clock.advance(100), Checkpoint(1), items(1), Checkpoint(2))
    assert desk.segments() == [1]


def test_an_error_right_after_a_checkpoint_keeps_what_that_covers(desk: Desk):
    with pytest.raises(Transient):
        desk.ingest(items(1), Checkpoint(1), items(2), Checkpoint(2), Transient("gone"))
    assert (desk.segments(), desk.cursor) == ([2], 2)


def test_an_error_behind_rows_keeps_nothing_since_the_last_commit(desk: Desk):
    small(desk, flush_rows=1)
    with pytest.raises(Transient):
        desk.ingest(items(1), Checkpoint(1), items(2), Transient("gone"))
    assert (desk.segments(), desk.cursor) == ([1], 1)
    assert len(desk.rig.staged()) == 1


def test_an_error_behind_a_checkpoint_and_rows_keeps_neither(desk: Desk):
    with pytest.raises(Transient):
        desk.ingest(items(1), Checkpoint(1), items(2), Transient("gone"))
    assert desk.cursor is None
    assert desk.crew.books.tables() == []
    assert desk.rig.staged() == []


def test_an_error_before_anything_commits_nothing(desk: Desk):
    with pytest.raises(Transient):
        desk.ingest(Transient("gone"))
    assert desk.commits == 0


def test_a_commit_that_fails_keeps_no_cursor_and_the_next_read_has_all_rows(desk: Desk):
    desk.rig.meddle("CREATE TRIGGER broken BEFORE INSERT ON cursors BEGIN SELECT RAISE(ABORT, 'no more cursors'); END")
    with pytest.raises(IntegrityError, match="no more cursors"):
        desk.ingest(items(1, 2), refused("{}"), Checkpoint("c", marks=(Mark("p", b"m"),)))
    assert desk.cursor is None
    assert desk.crew.books.tables() == []
    assert list(desk.crew.books.mappings()) == []
    assert list(desk.crew.books.memory("items").parts()) == []
    assert desk.rig.rejected() == {}
    desk.rig.meddle("DROP TRIGGER broken")
    desk.ingest(items(1, 2), refused("{}"), Checkpoint("c", marks=(Mark("p", b"m"),)))
    assert (desk.segments(), desk.cursor, desk.rig.rejected()) == ([2], "c", {"BAD": 1})


def test_a_late_worker_commits_nothing(desk: Desk):
    desk.rig.meddle("UPDATE leases SET token = 'another'")
    with pytest.raises(Stale):
        desk.ingest(items(1), Checkpoint(1))
    assert desk.crew.books.tables() == []


def test_marks_and_counts_go_with_their_checkpoint(desk: Desk):
    small(desk, flush_rows=1)
    with pytest.raises(Transient):
        desk.ingest(
            items(1),
            Checkpoint(1, marks=(Mark("day", b"a"), Mark("day", b"b")), counts={"late": 2}),
            Checkpoint(2, marks=(Mark("day", b"c"),), counts={"late": 1}),
            items(2),
            Transient("gone"),
        )
    assert desk.crew.books.memory("items").recall("day") == [b"a", b"b"]
    assert desk.cursor == 1


def test_the_counts_of_several_checkpoints_add_up(desk: Desk):
    desk.ingest(items(1), Checkpoint(1, counts={"late": 2}), Checkpoint(2, counts={"late": 1, "repeated": 4}))
    assert desk.rig.record().noted == {"late": 3, "repeated": 4}


def test_every_row_is_staged_filtered_or_rejected(desk: Desk):
    desk.ingest(items(1, 2), Passed(3, "future"), refused("{}", "[]"), [{"id": None}, {"id": 3}], Checkpoint("c"))
    balance = desk.rig.record().balance
    assert balance.read == 9
    assert balance.filtered == {"future": 3}
    assert balance.rejected == {"source/BAD": 2, "mapping/NULL_PRIMARY_KEY": 1}
    assert (balance.waiting, balance.even) == (3, True)
    meter = desk.crew.meter
    assert (meter.read, meter.staged, meter.filtered, meter.rejected) == (9, 3, 3, 3)


def test_dicts_with_other_fields_become_columns_of_one_table(desk: Desk):
    desk.ingest([{"id": 1, "a": 1.5}, {"id": 2, "b": {"c": [1]}}])
    assert [c.name for c in desk.shelved().mapping.columns] == ["id", "a", "b"]
    assert desk.segments() == [2]


def test_a_batch_of_another_stream_makes_a_table_of_its_own(desk: Desk):
    made = pa.RecordBatch.from_pydict({"n": [1, 2, 3]})
    desk.ingest(items(1), Batch("made", made), Checkpoint(1))
    assert (desk.segments(), desk.segments("made")) == ([1], [3])
    assert desk.shelved("made").mapping.mode == "append"


def test_every_stream_of_a_read_of_many_is_even(desk: Desk):
    made = pa.RecordBatch.from_pydict({"n": [1, 2, 3]})
    desk.ingest(items(1), Batch("made", made), refused("{}", stream="made"), Passed(2, "seen"), Checkpoint(1))
    record = run_record(desk.crew.home, desk.crew.run_id)
    assert (record.balance.read, record.balance.created, record.balance.even) == (7, 0, True)
    assert {name: balance.even for name, balance in record.streams.items()} == {"items": True, "made": True}


def test_rows_of_a_new_shape_open_another_segment(desk: Desk):
    desk.ingest(items(1), [{"id": 2, "more": "x"}], items(3), Checkpoint(1))
    assert desk.segments() == [1, 2]


def times(desk: Desk) -> list[int]:
    """Times of ingestion of the staged rows, by segment."""
    found = desk.crew.books.segments("items", 1, 0)
    return [
        at
        for one in found
        for at in desk.sync.stage.read(one.path, one.checksum).read_all()["__hevo__ingested_at"].to_pylist()
    ]


def test_a_clock_that_goes_back_makes_no_row_older_and_is_told_once(desk: Desk):
    def back() -> None:
        desk.rig.clock.moment = START - timedelta(hours=1)

    desk.ingest(items(1), back, items(2), lambda: desk.rig.clock.advance(2), items(3), Checkpoint(1))
    at = int(START.timestamp() * 1000)
    assert times(desk) == [at, at, at]
    assert [code for code, _ in desk.crew.notes] == ["clock_went_back"]


def test_the_next_read_is_never_older_than_the_last(desk: Desk):
    desk.ingest(items(1), Checkpoint(1))
    desk.rig.clock.advance(-30)
    desk.ingest(items(2), Checkpoint(2))
    assert times(desk) == [int(START.timestamp() * 1000)] * 2
    assert desk.crew.notes == {}, "a correction of a network clock is no news"


def test_who_is_asked_to_stop_ends_at_the_next_checkpoint(desk: Desk):
    words = [items(1), desk.rig.stopping.set, items(2), Checkpoint(2), items(3), Checkpoint(3)]
    assert not desk.ingest(*words)
    assert (desk.segments(), desk.cursor) == ([2], 2)


def test_a_source_is_closed_when_the_read_stops(desk: Desk):
    ended: list[bool] = []

    def source():
        try:
            yield items(1)
            yield Checkpoint(1)
            pytest.fail("it was asked for more")
        finally:
            ended.append(True)

    from millrace.connect.source import Reading
    from millrace.engine.ingest import ingest

    desk.rig.stopping.set()
    ingest(
        source(),
        Reading(desk.sync.streams[0], "incremental"),
        mappings=desk.sync.mappings(),
        ledger=desk.crew.books,
        draft=desk.draft,
        clock=desk.rig.clock,
        meter=desk.crew.meter,
        committed=lambda: None,
        stopping=lambda: True,
        note=desk.crew.note,
    )
    assert ended == [True]


def test_a_whole_ingest_is_one_commit(desk: Desk):
    small(desk, flush_rows=1)
    desk.ingest(items(1), Checkpoint(1), items(2), Checkpoint(2), whole=True)
    assert (desk.commits, desk.segments()) == (1, [2])


def test_a_whole_ingest_that_fails_commits_no_part(desk: Desk):
    with pytest.raises(Transient):
        desk.ingest(items(1), Checkpoint(1), Transient("gone"), whole=True)
    assert (desk.commits, desk.cursor) == (0, None)


def test_a_stream_without_history_is_complete_when_it_was_read_to_its_end(desk: Desk):
    desk.ingest(items(1), Checkpoint(1))
    assert desk.shelved().complete


def test_a_lane_that_says_it_is_not_done_is_not_complete(desk: Desk):
    desk.ingest(items(1), Checkpoint(1, progress=0.9))
    assert not desk.shelved().complete
    desk.ingest(items(2), Checkpoint(2, progress=1.0))
    assert desk.shelved().complete


def test_a_read_that_stopped_early_is_not_complete(desk: Desk):
    # The source saw the wish to stop too, and yielded nothing more.
    desk.ingest(items(1), Checkpoint(1), items(2), desk.rig.stopping.set)
    assert desk.segments() == [2]
    assert not desk.shelved().complete


def test_an_error_at_a_checkpoint_completes_nothing(desk: Desk):
    with pytest.raises(Transient):
        desk.ingest(items(1), Checkpoint(1), Transient("gone"))
    assert not desk.shelved().complete


def test_the_lane_again_completes_nothing_and_keeps_no_cursor(desk: Desk):
    desk.ingest(items(1), Checkpoint("again"), lane="again")
    assert desk.segments() == [1]
    assert not desk.shelved().complete
    assert desk.crew.books.cursor("items", "again") is None


def test_a_row_that_fits_no_type_leaves_the_others_whole(desk: Desk):
    with pytest.raises(MillraceError, match="complex"):
        desk.ingest(items(1), Checkpoint(1), [{"id": 2, "bad": complex(1)}])
    assert desk.crew.books.tables() == []
    assert desk.rig.staged() == []
