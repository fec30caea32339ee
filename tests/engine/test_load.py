"""The second half of a sync, into a real DuckDB file: what crashes, restores, drops and damage do to a load."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.kit import Desk, Killed, Shaky, desk, items, rig, types

from millrace.connect.destination import Limits
from millrace.control.books import retention
from millrace.control.settings import change
from millrace.data.batch import Batch, Checkpoint
from millrace.engine import load as loading
from millrace.engine.fresh import fresh_name
from millrace.errors import EnvironmentProblem, SchemaError

__all__ = ["desk", "rig", "types"]

append = pytest.mark.parametrize("desk", ["append"], indirect=True)


def ids(desk: Desk, table: str = "items") -> list[int]:
    return desk.rig.rows(table, "id")


def test_what_is_staged_is_loaded_once(desk: Desk):
    desk.segments_of(items(1), items(2, 3))
    assert desk.load()
    assert not desk.load()
    assert ids(desk) == [1, 2, 3]
    assert (desk.shelved().loaded, desk.crew.meter.loaded) == (2, 3)
    assert desk.rig.record().balance.loaded == 3


@append
def test_a_crash_before_our_note_is_met_by_the_destinations_own_word(desk: Desk):
    desk.segments_of(items(1), items(2))
    Shaky.faults = {"load": [("after", Killed("between the load and its note"))]}
    with pytest.raises(Killed):
        desk.load()
    assert desk.shelved().loaded == 0
    assert not desk.load()
    assert ids(desk) == [1, 2], "nothing is doubled"
    assert desk.shelved().loaded == 2
    desk.segments_of(items(3))
    assert desk.load()
    assert ids(desk) == [1, 2, 3]
    assert desk.rig.record().balance.loaded == 3


@pytest.mark.outside
@append
def test_a_restored_table_gets_the_rows_that_it_lacks(desk: Desk):
    file = desk.rig.folder / "warehouse.duckdb"
    desk.segments_of(items(1))
    desk.load()
    shutil.copy(file, file.with_suffix(".backup"))
    desk.segments_of(items(2), items(3))
    desk.load()
    shutil.copy(file.with_suffix(".backup"), file)
    assert ids(desk) == [1]
    desk.segments_of(items(4))
    desk.load()
    assert ids(desk) == [1, 2, 3, 4]
    assert desk.rig.record().balance.loaded == 4
    assert desk.crew.notes == {}


@append
def test_a_dropped_table_is_made_anew_from_the_stage(desk: Desk):
    desk.segments_of(items(1), items(2))
    desk.load()
    desk.rig.change("DROP TABLE items")
    desk.segments_of(items(3))
    desk.load()
    assert ids(desk) == [1, 2, 3]
    assert [code for code, _ in desk.crew.notes] == ["table_dropped"]


def forget_staged_files(desk: Desk) -> None:
    """Loaded files leave the stage, as they do after some days."""
    change(desk.rig.home, retention_days=0)
    retention.collect(desk.rig.home, desk.sync.stage)


@append
def test_rows_of_a_dropped_table_that_left_the_stage_are_told_of(desk: Desk):
    desk.segments_of(items(1), items(2))
    desk.load()
    forget_staged_files(desk)
    desk.rig.change("DROP TABLE items")
    desk.segments_of(items(3))
    desk.load()
    assert ids(desk) == [3]
    assert [code for code, _ in desk.crew.notes] == ["table_dropped", "rows_missing"]
    desk.segments_of(items(4))
    desk.load()
    assert ids(desk) == [3, 4]


def test_a_merged_table_whose_note_is_lost_is_merged_again(desk: Desk):
    desk.segments_of(items(1, v="a"), items(1, 2, v="b"))
    desk.load()
    desk.rig.change("DROP TABLE __hevo__loads")
    desk.segments_of(items(3, v="c"))
    desk.load()
    assert desk.rig.rows("items", "id", "v") == [(1, "b"), (2, "b"), (3, "c")]


@append
def test_an_appended_table_whose_note_is_lost_is_left_alone(desk: Desk):
    desk.segments_of(items(1))
    desk.load()
    desk.rig.change("DELETE FROM __hevo__loads")
    desk.segments_of(items(2))
    with pytest.raises(SchemaError, match="no longer knows") as caught:
        desk.load()
    assert caught.value.code == "note_lost"
    assert ids(desk) == [1]
    assert desk.shelved().last == 2


def test_a_gap_in_the_segments_loads_nothing(desk: Desk):
    desk.segments_of(items(1), items(2), items(3))
    desk.rig.meddle("DELETE FROM segments WHERE number = 2")
    with pytest.raises(SchemaError, match="segment 2 is not on the stage, the next there is 3"):
        desk.load()
    assert not desk.rig.exists("items")


SHORT = "CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)"


@append
def test_rows_that_the_destination_refuses_are_parked_and_the_others_loaded(desk: Desk):
    desk.rig.change(SHORT)
    desk.segments_of(items(1, 2, v="ok"), items(3, v="too long") + items(4, v="ok"))
    desk.load()
    assert ids(desk) == [1, 2, 4]
    assert desk.rig.rejected() == {"CONSTRAINT_VIOLATION": 1}
    balance = desk.rig.record().balance
    assert (balance.read, balance.loaded, balance.rejected_rows, balance.even) == (4, 3, 1, True)
    assert (desk.crew.meter.loaded, desk.crew.meter.rejected) == (3, 1)


@append
@pytest.mark.parametrize("when", ["before", "after"])
def test_refused_rows_are_counted_once_whatever_dies(desk: Desk, when: str):
    desk.rig.change(SHORT)
    desk.segments_of(items(1, v="ok") + items(2, v="too long"))
    Shaky.faults = {"load": [None, (when, Killed("the load without the refused rows"))]}
    with pytest.raises(Killed):
        desk.load()
    assert desk.rig.rejected() == {}, "the load is not noted yet"
    desk.load()
    assert ids(desk) == [1]
    assert desk.rig.rejected() == {"CONSTRAINT_VIOLATION": 1}
    balance = desk.rig.record().balance
    assert (balance.loaded, balance.rejected_rows, balance.even) == (1, 1, True)


@pytest.mark.outside
@append
def test_refused_rows_of_a_restored_table_are_refused_anew_and_counted_once(desk: Desk):
    desk.rig.change(SHORT)
    file = desk.rig.folder / "warehouse.duckdb"
    desk.segments_of(items(1, v="ok"))
    desk.load()
    shutil.copy(file, file.with_suffix(".backup"))
    desk.segments_of(items(2, v="too long") + items(3, v="ok"))
    desk.load()
    shutil.copy(file.with_suffix(".backup"), file)
    desk.segments_of(items(4, v="ok"))
    desk.load()
    assert ids(desk) == [1, 3, 4]
    assert desk.rig.rejected() == {"CONSTRAINT_VIOLATION": 1}
    balance = desk.rig.record().balance
    assert (balance.read, balance.loaded, balance.rejected_rows, balance.even) == (4, 3, 1, True)


def test_a_damaged_file_loads_nothing_and_harms_nothing(desk: Desk):
    desk.segments_of(items(1, v="old"))
    desk.load()
    before = set(desk.rig.staged())
    desk.segments_of(items(1, v="new"), items(2, v="new"))
    damaged = min(set(desk.rig.staged()) - before)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-20] + bytes(20))
    with pytest.raises(EnvironmentProblem, match="checksum") as caught:
        desk.load()
    assert caught.value.code == "stage_damaged"
    assert desk.rig.rows("items", "id", "v") == [(1, "old")]
    damaged.unlink()
    with pytest.raises(EnvironmentProblem, match="is gone"):
        desk.load()
    assert desk.rig.rows("items", "id", "v") == [(1, "old")]
    damaged.write_bytes(whole)
    desk.load()
    assert desk.rig.rows("items", "id", "v") == [(1, "new"), (2, "new")]


def test_segments_from_before_a_wider_type_load_in_the_wider_type(desk: Desk):
    desk.segments_of(items(1, v=7), items(2, v=0.5), items(3, v="x", more=True))
    desk.load()
    assert desk.rig.rows("items", "id", "v", "more") == [(1, "7", None), (2, "0.5", None), (3, "x", True)]


def test_a_loaded_column_widens_where_it_stands(desk: Desk):
    desk.segments_of(items(1, v=7))
    desk.load()
    desk.segments_of(items(2, v=0.5))
    desk.load()
    assert desk.rig.rows("items", "id", "v") == [(1, 7.0), (2, 0.5)]


@append
@pytest.mark.parametrize("limit", ["MOST_SEGMENTS", "MOST_ROWS"])
def test_many_segments_take_several_loads(desk: Desk, limit: str, monkeypatch: pytest.MonkeyPatch):
    desk.segments_of(*(items(n) for n in range(5)))
    monkeypatch.setattr(loading, limit, 2)
    Shaky.faults = {"load": [None, None, ("before", Killed("the third load"))]}
    with pytest.raises(Killed):
        desk.load()
    assert desk.shelved().loaded == 4
    desk.load()
    assert ids(desk) == [0, 1, 2, 3, 4]


@append
def test_a_segment_of_more_rows_than_a_load_takes_is_a_load_of_its_own(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "MOST_ROWS", 2)
    desk.segments_of(items(1, 2, 3), items(4))
    desk.load()
    assert ids(desk) == [1, 2, 3, 4]


def test_two_streams_keep_their_own_numbers(desk: Desk):
    desk.ingest(items(1), Batch("made", pa.RecordBatch.from_pydict({"id": [7, 8]})), Checkpoint(1))
    desk.segments_of(items(2))
    desk.load("made")
    assert (desk.shelved("made").loaded, desk.shelved("items").loaded) == (1, 0)
    desk.load("items")
    assert (ids(desk), ids(desk, "made")) == ([1, 2], [7, 8])


@given(st.text("abcä_", min_size=1, max_size=70), st.sampled_from([30, 63, 255]), st.booleans())
def test_a_fresh_table_is_never_the_table_itself(table: str, limit: int, count_bytes: bool):
    name = fresh_name(table, Limits(table_name=limit, count_bytes=count_bytes))
    assert len(name.encode() if count_bytes else name) <= limit
    assert name != table
    cut = table.encode()[:limit].decode(errors="ignore")
    assert name != cut
    assert name.endswith("__fresh")


def test_fresh_tables_of_long_names_are_told_apart():
    limits = Limits(table_name=63, count_bytes=True)
    assert fresh_name("a" * 62 + "b", limits) != fresh_name("a" * 62 + "c", limits)
