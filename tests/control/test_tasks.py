"""Tasks and the scheduler: one worker for each task, whoever looks; slots that pass; workers that die."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk, add_pipeline
from tests.control.sources import Script

from millrace.control.books import leases
from millrace.control.books.leases import AlreadyRunning
from millrace.control.connecting import connections
from millrace.control.database import tables
from millrace.control.database.db import Database
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle, object_actions, objects, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs, tasks
from millrace.control.running.tasks import Wanted
from millrace.control.scheduling import scheduler, slots
from millrace.control.scheduling.schedule import Schedule
from millrace.errors import ConfigError, Stale

BOTH = ("HIGH", "NORMAL")
EVERY_TWO = {"every_s": 7200}


def put(database: Database, pipeline: str, **more: Any) -> int:
    wanted = Wanted(pipeline, "run", "INCREMENTAL", "SCHEDULE", {}, **more)
    with database.transaction() as connection:
        return tasks.put(connection, [wanted], database.now())[0]


def status_of(database: Database, run: int) -> str:
    with database.reading() as connection:
        return connection.execute(sa.select(tables.runs.c.status).where(tables.runs.c.id == run)).scalar_one()


def statuses(home: Home) -> list[tuple[str, str | None]]:
    return [(job.run.status, job.trigger) for job in reversed(jobs.page(home).items)]


def test_a_task_is_taken_once_however_many_look(control: Database):
    names = [add_pipeline(control, f"p{number}") for number in range(6)]
    put_runs = {put(control, name) for name in names}
    taken: list[int] = []

    def worker() -> None:
        while (task := tasks.take(control, BOTH)) is not None:
            taken.append(task.job)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(put_runs)


def test_high_goes_before_normal_what_a_person_asked_for_before_the_rest_and_history_last(control: Database):
    order = {
        "history": put(control, add_pipeline(control, "a"), rank=tasks.HISTORY),
        "new": put(control, add_pipeline(control, "b"), rank=tasks.NEW),
        "by hand": put(control, add_pipeline(control, "c"), rank=tasks.BY_HAND),
        "high": put(control, add_pipeline(control, "d"), rank=tasks.HISTORY, priority="HIGH"),
    }
    found = [task.job for _ in order if (task := tasks.take(control, BOTH))]
    assert found == [order[name] for name in ("high", "by hand", "new", "history")]
    assert tasks.take(control, BOTH) is None


def test_a_pipeline_has_one_task_at_work_and_a_source_that_says_so_too(control: Database):
    one, two, three = (add_pipeline(control, name) for name in ("a", "b", "c"))
    put(control, one, exclusive="project")
    put(control, one)
    put(control, two, exclusive="project")
    put(control, three, exclusive="another")
    first, second = tasks.take(control, BOTH), tasks.take(control, BOTH)
    assert first is not None and second is not None
    assert (first.pipeline_id, second.pipeline_id) == (one, three)
    assert tasks.take(control, BOTH) is None
    tasks.finish(control, first)
    third, fourth = tasks.take(control, BOTH), tasks.take(control, BOTH)
    assert {third and third.pipeline_id, fourth and fourth.pipeline_id} == {one, two}


def test_a_task_whose_worker_says_nothing_goes_to_another_and_the_late_one_is_stale(control: Database):
    run = put(control, add_pipeline(control))
    task = tasks.take(control, BOTH)
    assert task is not None
    assert tasks.recover(control) == []
    with control.transaction() as connection:
        connection.execute(sa.update(tables.tasks).values(expires_at=control.now() - timedelta(seconds=1)))
    assert tasks.recover(control) == [run]
    again = tasks.take(control, BOTH)
    assert again is not None and (again.job, again.attempts) == (run, 2)
    with pytest.raises(Stale):
        tasks.beat(control, task)
    tasks.finish(control, task)
    assert tasks.beat(control, again, {"read": 7}) is False


def test_a_worker_that_died_on_this_machine_is_known_to_be_dead_at_once(control: Database):
    run = put(control, add_pipeline(control))
    assert tasks.take(control, BOTH) is not None
    dead = leases.this_process().to_json() | {"pid": 2**22 + 1}
    with control.transaction() as connection:
        connection.execute(sa.update(tables.tasks).values(holder=dead))
    assert tasks.recover(control) == [run]


def test_what_a_worker_elsewhere_held_is_free_once_somebody_knows_that_it_is_gone(
    control: Database, monkeypatch: pytest.MonkeyPatch
):
    pipeline = add_pipeline(control)
    run = put(control, pipeline)
    here = leases.this_process()
    there = leases.Holder("node7", "another machine", 7, "1")
    monkeypatch.setattr(leases, "this_process", lambda: there)
    task = tasks.take(control, BOTH)
    lease = leases.acquire(control, "pipeline:p")
    monkeypatch.setattr(leases, "this_process", lambda: here)
    assert task is not None
    tasks.lapse(control, leases.Holder("node7", "another machine", 8, "1"))
    assert tasks.recover(control) == []
    with pytest.raises(AlreadyRunning):
        leases.acquire(control, "pipeline:p")
    tasks.lapse(control, there)
    assert tasks.recover(control) == [run]
    mine = leases.acquire(control, "pipeline:p")
    # It was not gone: it may write nothing more.
    with pytest.raises(Stale):
        lease.renew()
    with pytest.raises(Stale):
        tasks.beat(control, task)
    mine.release()


def test_a_task_that_kills_its_workers_is_given_up(control: Database):
    run = put(control, add_pipeline(control))
    for attempt in range(tasks.MOST_ATTEMPTS):
        assert tasks.take(control, BOTH) is not None, attempt
        with control.transaction() as connection:
            connection.execute(sa.update(tables.tasks).values(expires_at=control.now() - timedelta(seconds=1)))
        tasks.recover(control)
    assert tasks.take(control, BOTH) is None
    assert status_of(control, run) == "FAILED"


def test_a_task_that_is_given_back_waits_and_the_attempt_does_not_count(control: Database):
    run = put(control, add_pipeline(control))
    task = tasks.take(control, BOTH)
    assert task is not None
    tasks.give_back(control, task, after_s=3600)
    assert tasks.take(control, BOTH) is None
    assert status_of(control, run) == "QUEUED"
    with control.transaction() as connection:
        connection.execute(sa.update(tables.tasks).values(due_at=control.now()))
    again = tasks.take(control, BOTH)
    assert again is not None and again.attempts == 1


@pytest.fixture
def scheduled(home: Home, saved: Desk) -> Home:
    """A home whose pipeline `events` runs every two hours, from now on."""
    pipelines.change(home, "events", lambda _: Wish("events", "project", "warehouse", schedule=EVERY_TWO))
    return home


def test_a_run_by_hand_is_the_first_of_its_schedule(scheduled: Home):
    jobs.start(scheduled, "events")
    start = scheduled.database.now()
    assert scheduler.tick(scheduled, start) == scheduler.Ticked()
    assert scheduler.tick(scheduled, start + timedelta(hours=2.1)) == scheduler.Ticked(skipped=1)


@pytest.mark.spec("pipelines.22.4")
def test_a_tick_queues_what_is_due_and_puts_slots_on_record_that_a_run_was_in_the_way_of(scheduled: Home):
    start = scheduled.database.now()
    assert scheduler.tick(scheduled, start).queued == 1
    assert scheduler.tick(scheduled, start) == scheduler.Ticked()
    task = tasks.take(scheduled.database, BOTH)
    assert task is not None
    assert scheduler.tick(scheduled, start + timedelta(hours=2.5)) == scheduler.Ticked(skipped=1)
    tasks.finish(scheduled.database, task)
    assert scheduler.tick(scheduled, start + timedelta(hours=3.9)) == scheduler.Ticked()
    assert scheduler.tick(scheduled, start + timedelta(hours=4.1)).queued == 1
    assert [status for status, _ in statuses(scheduled)] == ["QUEUED", "SKIPPED", "QUEUED"]


@pytest.mark.spec("pipelines.22.4")
def test_run_now_leaves_the_schedule_as_it_is_and_does_nothing_while_a_run_goes_on(scheduled: Home, saved: Desk):
    scheduler.tick(scheduled)
    task = tasks.take(scheduled.database, BOTH)
    assert task is not None
    tasks.finish(scheduled.database, task)
    with scheduled.database.reading() as connection:
        before = slots.of(connection, saved.pipeline)
    first = jobs.start(scheduled, "events")
    again = jobs.start(scheduled, "events")
    assert (first.job_id, first.trigger, first.run.kind) == (again.job_id, "MANUAL", "HISTORICAL")
    with scheduled.database.reading() as connection:
        assert slots.of(connection, saved.pipeline) == before


def test_a_pipeline_on_demand_is_never_due(home: Home, saved: Desk):
    assert scheduler.tick(home, home.database.now() + timedelta(days=400)) == scheduler.Ticked()


def test_a_paused_pipeline_is_not_due_and_on_its_return_waits_for_its_next_slot(scheduled: Home):
    start = scheduled.database.now()
    scheduler.tick(scheduled, start)
    lifecycle.pause(scheduled, "events")
    assert statuses(scheduled) == [("CANCELLED", "SCHEDULE")]
    assert scheduler.tick(scheduled, start + timedelta(hours=5)) == scheduler.Ticked()
    with pytest.raises(ConfigError, match="paused"):
        jobs.start(scheduled, "events")
    lifecycle.resume(scheduled, "events")
    assert scheduler.tick(scheduled).queued == 0
    assert scheduler.tick(scheduled, start + timedelta(hours=2.1)).queued == 1


def test_loads_have_a_schedule_of_their_own_where_their_destination_says_so(scheduled: Home):
    lifecycle.load_every(scheduled, "warehouse", Schedule(every_s=3600))
    start = scheduled.database.now()
    # Both are due. One waits for the other; neither is left out for that.
    assert scheduler.tick(scheduled, start) == scheduler.Ticked(queued=2)
    found: dict[str, Any] = {}
    for _ in range(2):
        task = tasks.take(scheduled.database, BOTH)
        assert task is not None and tasks.take(scheduled.database, BOTH) is None
        found[task.kind] = task.arguments.get("loading")
        tasks.finish(scheduled.database, task)
    assert found == {"run": False, "load": None}
    assert scheduler.tick(scheduled, start + timedelta(hours=1.01)) == scheduler.Ticked(queued=1)
    assert scheduler.tick(scheduled, start + timedelta(hours=2.01)) == scheduler.Ticked(queued=1, skipped=1)
    lifecycle.load_every(scheduled, "warehouse", Schedule())
    assert scheduler.tick(scheduled, start + timedelta(hours=3.5)) == scheduler.Ticked()


@pytest.mark.spec("pipelines.22.16")
def test_of_12_sources_3_may_have_priority_and_a_second_pipeline_of_one_of_them_too(
    home: Home, clevertap: dict[str, Any], tmp_path: Any
):
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    for number in range(12):
        project = f"AA{number:X}-BBB-CCCC"
        connections.create(home, "source", f"s{number}", "clevertap", clevertap | {"project_id": project})
        pipelines.create(home, Wish(f"p{number}", f"s{number}", "warehouse", table_prefix=f"t{number}"))
    pipelines.create(home, Wish("twin", "s0", "warehouse", table_prefix="twin", schedule=EVERY_TWO))
    for number in range(3):
        assert lifecycle.prioritize(home, f"p{number}", "HIGH").priority == "HIGH"
    twin = lifecycle.prioritize(home, "twin", "HIGH")
    with home.database.reading() as connection:
        (slot,) = slots.of(connection, twin.id)
    assert slot.schedule == Schedule(every_s=1800)
    with pytest.raises(ConfigError) as refused:
        lifecycle.prioritize(home, "p3", "HIGH")
    assert refused.value.code == "too_many_high"
    lifecycle.prioritize(home, "p2", "NORMAL")
    assert lifecycle.prioritize(home, "p3", "HIGH").priority == "HIGH"


def test_of_many_that_shall_be_first_at_the_same_time_as_many_are_as_may(
    home: Home, clevertap: dict[str, Any], tmp_path: Any
):
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    names = [f"p{number}" for number in range(4)]
    for name in names:
        project = f"AA{name[1]}-BBB-CCCC"
        connections.create(home, "source", name, "clevertap", clevertap | {"project_id": project})
        pipelines.create(home, Wish(name, name, "warehouse", table_prefix=name))
    start, refused = threading.Barrier(len(names)), list[str]()

    def attempt(name: str) -> None:
        start.wait()
        try:
            lifecycle.prioritize(home, name, "HIGH")
        except ConfigError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=attempt, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pipelines.find(home, name).priority for name in names].count("HIGH") == 1
    assert refused == ["too_many_high"] * 3


def test_an_object_of_its_own_schedule_waits_for_the_pipeline_and_is_not_left_out_for_it(
    scheduled: Home, monkeypatch: pytest.MonkeyPatch
):
    script = Script({"Orders": [[{"id": 1}]], "Users": [[{"id": 1}]]})
    monkeypatch.setattr(connections, "build_source", script.build)
    objects.refresh(scheduled, "events")
    object_actions.set_schedule(scheduled, "events", "Users", Schedule(every_s=7200))
    start = scheduled.database.now()
    assert scheduler.tick(scheduled, start) == scheduler.Ticked(queued=2)
    assert scheduler.tick(scheduled, start + timedelta(hours=2)) == scheduler.Ticked(skipped=2)


def test_one_process_schedules_and_another_goes_on_when_that_one_ends(scheduled: Home):
    first_stops, second_stops = threading.Event(), threading.Event()
    first = threading.Thread(target=scheduler.serve, args=(scheduled, first_stops), kwargs={"tick_s": 0.02})
    first.start()
    deadline = datetime.now(UTC) + timedelta(seconds=120)
    while not statuses(scheduled) and datetime.now(UTC) < deadline:
        first_stops.wait(0.05)
    assert statuses(scheduled) == [("QUEUED", "SCHEDULE")]
    second = threading.Thread(target=scheduler.serve, args=(scheduled, second_stops), kwargs={"tick_s": 0.02})
    second.start()
    task = tasks.take(scheduled.database, BOTH)
    assert task is not None
    tasks.finish(scheduled.database, task)
    first_stops.set()
    first.join()
    pipelines.change(scheduled, "events", lambda _: Wish("events", "project", "warehouse", schedule={"every_s": 3600}))
    while len(statuses(scheduled)) < 2 and datetime.now(UTC) < deadline:
        second_stops.wait(0.05)
    second_stops.set()
    second.join()
    assert len(statuses(scheduled)) == 2
