"""Failed rows try again while their pipeline waits for its next run: once for each change, and only after one."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.engine.kit import PIPELINE, Rig, items, rig, types
from tests.engine.scripted import deploy, failing, fixed

from millrace.control.database.tables import reject_groups
from millrace.control.failed import second_tries
from millrace.control.mapper import mappings
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.running import runs, tasks, worker
from millrace.control.scheduling.schedule import Schedule
from millrace.data.batch import Checkpoint
from millrace.errors import ConfigError

__all__ = ["deploy", "rig", "types"]


def looked(rig: Rig, after: timedelta = timedelta()) -> int:
    return second_tries.look(rig.home, rig.home.database.now() + after)


def worked(rig: Rig) -> Any:
    """What a worker made of the only task."""
    task = tasks.take(rig.home.database, ("HIGH", "NORMAL"))
    assert task is not None
    assert tasks.take(rig.home.database, ("HIGH", "NORMAL")) is None
    worker.perform(rig.home, task, threading.Event())
    return rig.record()


@pytest.mark.spec("pipelines.22.11")
def test_rows_pass_soon_after_their_mapping_was_mended_and_the_source_is_not_asked(rig: Rig):
    rig.script.stream("items", [items(1, v=1), Checkpoint(1)], [items(2, v="two"), Checkpoint(2)], [], key=("id",))
    rig.create()
    rig.run()
    mappings.change_type(rig.home, PIPELINE, "items", "v", "INTEGER")
    rig.run()
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 1}
    assert looked(rig) == 0, "nothing has changed since that run"
    mappings.free_type(rig.home, PIPELINE, "items", "v")
    assert (looked(rig), looked(rig)) == (1, 0), "one task, however often it is looked"
    reads = len(rig.script.given)
    record = worked(rig)
    assert (record.kind, record.status, record.balance.even) == ("LOAD", "COMPLETED", True)
    assert (rig.rejected(), rig.rows("items", "id", "v")) == ({}, [(1, "1"), (2, "two")])
    assert len(rig.script.given) == reads
    assert looked(rig) == 0


def test_rows_that_fail_again_wait_for_the_next_change(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    assert looked(rig) == 0
    deploy(failing)
    assert looked(rig) == 1
    worked(rig)
    assert (rig.rejected(), looked(rig)) == ({"TRANSFORM_ERROR": 1}, 0)
    deploy(fixed)
    assert looked(rig) == 1
    worked(rig)
    assert rig.rows("items", "id") == [1]


def test_what_waits_for_time_tries_when_its_time_has_come(rig: Rig):
    rig.change("CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)")
    rig.script.stream("items", [items(1, v="too long"), Checkpoint(1)], [])
    rig.create("append")
    rig.run()
    assert looked(rig, timedelta(hours=2)) == 0
    with rig.home.database.transaction() as connection:
        connection.execute(sa.update(reject_groups).values(retry_at=datetime.now(UTC)))
    rig.change("ALTER TABLE items RENAME TO old", "CREATE TABLE items AS SELECT * FROM old", "DROP TABLE old")
    assert looked(rig) == 1
    worked(rig)
    assert (rig.rows("items", "id"), looked(rig)) == ([1], 0)


def test_nothing_tries_where_a_run_is_on_its_way_or_the_pipeline_rests(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    deploy(fixed)
    with rig.crew():
        assert looked(rig) == 0, "somebody holds it"
    lifecycle.pause(rig.home, PIPELINE)
    assert looked(rig) == 0
    lifecycle.resume(rig.home, PIPELINE)
    lifecycle.load_every(rig.home, "warehouse", Schedule(every_s=3600))
    assert looked(rig) == 0, "loads have a schedule of their own"
    lifecycle.load_every(rig.home, "warehouse", Schedule())
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, options={"keep_raw_s": 86400}))
    assert looked(rig) == 1
    runs.load(rig.home, PIPELINE, clock=rig.clock)
    assert looked(rig) == 0, "its task waits still"


def test_a_run_that_failed_before_it_came_to_them_ends_no_tries(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    deploy(fixed)
    with pytest.raises(ConfigError), rig.crew():
        raise ConfigError("the disk is full", code="disk_full")
    assert (looked(rig), looked(rig, timedelta(hours=2))) == (0, 1)
    rig.run()
    assert rig.rows("items", "id") == [1]
