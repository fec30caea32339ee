"""A control database that is older than its destination, as after restoring a backup: no row is lost in silence."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.kit import Killed, Rig, Shaky, items, log, rig, types

from millrace.errors import EnvironmentProblem

__all__ = ["rig", "types"]

Rows = list[dict[str, Any]]


@pytest.fixture(params=["merge", "append"])
def rows(rig: Rig, request: pytest.FixtureRequest) -> Rows:
    """What the source has. It is read up to its end by each run, and all of it again by a resync."""
    found: Rows = []
    rig.script.stream("items", log(found, every=10), key=("id",))
    rig.script.stream("items", log(found, every=10), lane="historical")
    rig.destination_type = "shaky"
    rig.create(request.param)
    return found


@pytest.fixture
def keep(rig: Rig) -> Iterator[Callable[[], Callable[[], None]]]:
    """A copy of the control database is taken; what comes back brings it back."""

    def copied(source: Path, target: Path) -> None:
        one, other = sqlite3.connect(source), sqlite3.connect(target)
        one.backup(other)
        one.close()
        other.close()

    def kept() -> Callable[[], None]:
        now, then = rig.home.path / "millrace.db", rig.folder / "copy.db"
        copied(now, then)
        return lambda: copied(then, now)

    yield kept


def add(rows: Rows, *ids: int) -> None:
    rows.extend(items(*ids))


def restored(rig: Rig, rows: Rows, keep: Callable[[], Callable[[], None]], do: Callable[[], object]) -> None:
    """The books are as they were before row 2 was read by what is done; row 3 is new."""
    add(rows, 1)
    rig.run()
    restore = keep()
    add(rows, 2)
    do()
    restore()
    add(rows, 3)


def test_rows_under_a_number_that_was_given_before_are_not_taken_for_loaded(
    rig: Rig, rows: Rows, keep: Callable[[], Callable[[], None]]
):
    restored(rig, rows, keep, rig.run)
    with pytest.raises(EnvironmentProblem, match="is not the one that the control database knows") as caught:
        rig.run()
    assert caught.value.code == "books_behind"
    assert "drop-and-load" in (caught.value.hint or "")
    assert rig.rows("items", "id") == [1, 2]
    balance = rig.record().balance
    assert (balance.staged, balance.loaded) == (2, 0), "both rows wait"
    with pytest.raises(EnvironmentProblem):
        rig.run()
    rig.resync()
    assert rig.rows("items", "id") == [1, 2, 3]
    add(rows, 4)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3, 4]


@pytest.mark.parametrize("rows", ["merge"], indirect=True)
def test_who_forgets_the_note_of_a_merged_table_gets_what_waits_merged_into_it(
    rig: Rig, rows: Rows, keep: Callable[[], Callable[[], None]]
):
    restored(rig, rows, keep, rig.run)
    with pytest.raises(EnvironmentProblem):
        rig.run()
    rig.change("DELETE FROM __hevo__loads WHERE table_name = 'items'")
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3]


def test_a_reload_with_a_number_that_was_given_before_is_made_all_the_same(
    rig: Rig, rows: Rows, keep: Callable[[], Callable[[], None]]
):
    restored(rig, rows, keep, rig.resync)
    rig.resync()
    assert rig.rows("items", "id") == [1, 2, 3]
    add(rows, 4)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3, 4]


def test_a_reload_begins_anew_where_one_of_its_number_came_halfway(
    rig: Rig, rows: Rows, keep: Callable[[], Callable[[], None]]
):
    add(rows, 1)
    rig.run()
    restore = keep()
    add(rows, 2)
    Shaky.faults = {"swap": [("before", Killed())]}
    with pytest.raises(Killed):
        rig.resync()
    assert rig.exists("items__fresh")
    restore()
    add(rows, 3)
    rig.resync()
    assert rig.rows("items", "id") == [1, 2, 3]
    assert not rig.exists("items__fresh")


def test_a_copy_that_knows_what_the_destination_holds_goes_on(
    rig: Rig, rows: Rows, keep: Callable[[], Callable[[], None]]
):
    add(rows, 1)
    Shaky.faults = {"load": [("before", Killed())]}
    with pytest.raises(Killed):
        rig.run()
    restore = keep()
    rig.run()
    restore()
    add(rows, 2)
    rig.run()
    assert rig.rows("items", "id") == [1, 2]


def test_notes_that_do_not_tell_which_segment_is_held_are_taken_by_their_number(rig: Rig, rows: Rows):
    add(rows, 1)
    rig.run()
    rig.change("ALTER TABLE __hevo__loads DROP COLUMN staged_file")
    add(rows, 2)
    rig.run()
    add(rows, 3)
    Shaky.faults = {"load": [("after", Killed())]}
    with pytest.raises(Killed):
        rig.run()
    rig.change("UPDATE __hevo__loads SET staged_file = NULL")
    add(rows, 4)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3, 4]
