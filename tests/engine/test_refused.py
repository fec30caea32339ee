"""Objects that their source refuses to show, or does not have: the run says so, and ends as the others do."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from tests.engine.kit import PIPELINE, Rig, items, rig, types

from millrace.control.connecting import connections
from millrace.control.database import telling_tables
from millrace.control.pipeline import objects, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.data.batch import Batch, Checkpoint
from millrace.errors import ObjectRefused, Transient

__all__ = ["rig", "types"]

# What people chose for tables that come later: they are left out.
LEFT_OUT = {"schema_policy": {"tables": "discard_row"}}


def refused(name: str, **more: Any) -> ObjectRefused:
    return ObjectRefused(f"{name}: SELECT is denied.", hint="Grant it.", code="PERMISSION_DENIED", **more)


def told(rig: Rig) -> set[str]:
    with rig.home.database.reading() as connection:
        return set(connection.execute(sa.select(telling_tables.alert_events.c.code)).scalars())


def test_a_refused_object_is_told_and_the_run_ends_well_with_the_others(rig: Rig):
    rig.script.stream("odd", [items(1), Checkpoint(1), refused("odd")], key=("id",))
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create()
    record = rig.run()
    assert record.status == "COMPLETED_WITH_FAILURES"
    notes = [(note.code, note.message, note.level) for note in record.notes]
    assert notes == [("PERMISSION_DENIED", "odd: SELECT is denied. Grant it.", "error")]
    assert (rig.rows("items", "id"), rig.rows("odd", "id")) == ([1], [1])
    assert objects.find(rig.home, PIPELINE, "odd").status == "PERMISSION_DENIED"
    assert told(rig) >= {"OBJECT_FAILED"}


def test_a_run_fails_where_every_object_is_refused(rig: Rig):
    for name in ("odd", "strange"):
        rig.script.stream(name, [refused(name)], key=("id",))
    rig.create()
    with pytest.raises(ObjectRefused, match="strange: "):
        rig.run()
    record = rig.record()
    assert record.status == "FAILED"
    assert [note.message for note in record.notes] == ["odd: SELECT is denied. Grant it."]


@pytest.mark.parametrize("names", [("odd", "slow"), ("slow", "odd")])
def test_what_time_may_mend_is_tried_again_whichever_object_was_refused_beside_it(rig: Rig, names: tuple[str, ...]):
    for name in names:
        rig.script.stream(name, [refused(name) if name == "odd" else Transient("the line is cut")], key=("id",))
    rig.create()
    with pytest.raises(Transient, match="the line is cut"):
        rig.run()
    assert [note.message for note in rig.record().notes] == ["odd: SELECT is denied. Grant it."]


def test_what_becomes_of_new_tables_is_as_people_chose_although_one_object_is_always_refused(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.script.stream("odd", [refused("odd")], key=("id",))
    rig.create(options=LEFT_OUT)
    rig.run()
    rig.script.stream("fresh", [items(1), Checkpoint(1)], key=("id",))
    rig.run()
    assert not rig.exists("fresh")


def test_an_object_that_was_refused_from_the_first_run_on_is_not_new_when_it_is_shown(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.script.stream("odd", [refused("odd")], [items(7), Checkpoint(1)], key=("id",))
    rig.create(options=LEFT_OUT)
    rig.run()
    assert not rig.exists("odd")
    assert rig.run().status == "COMPLETED"
    assert rig.rows("odd", "id") == [7]


@pytest.mark.parametrize("wish", [{"auto": False}, {"options": LEFT_OUT}], ids=["mapped by hand", "met later"])
def test_an_object_that_is_refused_before_it_has_a_table_is_shown_as_refused(rig: Rig, wish: dict[str, Any]):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create(**wish)
    rig.run()
    rig.script.stream("odd", [refused("odd")], [items(7), Checkpoint(1)], key=("id",))
    rig.run()
    assert objects.find(rig.home, PIPELINE, "odd").status == "PERMISSION_DENIED"
    rig.run()
    assert objects.find(rig.home, PIPELINE, "odd").status == "AWAITING_MAPPING"
    assert not rig.exists("odd")


def test_a_refused_history_leaves_the_log_and_the_other_histories(rig: Rig):
    rig.script.stream(
        "odd", [refused("odd")], [items(2), Checkpoint("h")], lane="historical", key=("id",), historical=True
    )
    rig.script.stream("items", [items(1), Checkpoint("h")], lane="historical", key=("id",), historical=True)
    rig.script.changes = [[Checkpoint(0)], [Checkpoint(1)]]
    rig.create()
    assert rig.run().status == "COMPLETED_WITH_FAILURES"
    assert rig.rows("items", "id") == [1]
    assert objects.find(rig.home, PIPELINE, "odd").status == "PERMISSION_DENIED"
    assert rig.run().status == "COMPLETED"
    assert rig.rows("odd", "id") == [2]


def test_selected_objects_that_the_source_does_not_offer_are_told_where_it_is_read(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create(objects={"items": None, "itmes": None, "old": None})
    record = rig.run()
    assert record.status == "COMPLETED"
    told = (
        "the source does not offer itmes, old, of which nothing is read: each is gone, cannot be read, or is "
        "not in the log; the source offers items"
    )
    assert [(note.code, note.message, note.level) for note in record.notes] == [("object_missing", told, "warning")]
    assert rig.run(only=("items",)).notes == ()
    assert runs.load(rig.home, PIPELINE, clock=rig.clock).notes == ()
    assert [note.code for note in rig.run().notes] == ["object_missing"]


def test_a_selected_event_type_that_rows_become_is_none_that_its_source_should_offer(rig: Rig):
    made = pa.record_batch({"id": pa.array([7], pa.int64())})
    rig.script.stream("items", [items(1), Batch("made", made), Checkpoint(1)], [Checkpoint(2)], key=("id",))
    rig.create(objects={"items": None, "made": "merge"})
    rig.run()
    assert rig.rows("made", "id") == [7]
    assert rig.run().notes == ()


def test_a_selected_event_type_that_comes_by_itself_is_none_that_its_source_should_offer(rig: Rig):
    rig.create()
    connections.create(rig.home, "source", "hook", "webhook", {})
    pipelines.create(
        rig.home, Wish("sent", "hook", "warehouse", objects={"unnamed events": None, "signed up": "merge"})
    )
    assert runs.run(rig.home, "sent", clock=rig.clock).notes == ()
