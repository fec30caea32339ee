"""What a worker makes of tasks: limits of a source, wishes to end, failures; and what jobs say of that."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk
from tests.control.sources import Paged, Script

from millrace.control.books import leases
from millrace.control.connecting import connections
from millrace.control.database import tables, telling_tables
from millrace.control.home import Home
from millrace.control.mapper import mapping_copies, mapping_versions, mappings
from millrace.control.pipeline import lifecycle, object_actions, objects, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs, tasks, worker
from millrace.control.running.jobs import Job
from millrace.control.scheduling import scheduler
from millrace.control.scheduling.schedule import Schedule
from millrace.control.transforming import transformations
from millrace.engine import ingest, loading
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError, RateLimited, Transient

BOTH = ("HIGH", "NORMAL")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Workers are the same on both kinds of database; their statements are tested on both elsewhere."""
    return f"sqlite:///{tmp_path / 'millrace.db'}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint is a commit, workers hear wishes at once, and a busy destination is not waited for."""
    monkeypatch.setattr(ingest, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "BEAT_S", 0.02)
    monkeypatch.setattr(loading, "LOAD_WAITS_S", ())


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"row {number}"} for number in range(first, last)]


@pytest.fixture
def script(saved: Desk, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The pipeline `events` reads three streams of three pages each."""
    names = ("Orders", "Users", "Visits")
    found = Script({name: [rows(0, 5), rows(5, 10), rows(10, 15)] for name in names})
    monkeypatch.setattr(connections, "build_source", found.build)
    return found


def heard(home: Home) -> None:
    """The worker has said some times how far it is: of what was wished before, it knows by the second time."""
    said: set[Any] = set()
    until = time.monotonic() + 60
    while len(said) < 4:
        assert time.monotonic() < until
        with home.database.reading() as connection:
            said.add(connection.execute(sa.select(sa.func.max(tables.runs.c.beat_at))).scalar())
        time.sleep(0.005)


def perform(home: Home, stopping: threading.Event | None = None) -> Job:
    """The next task is done by a worker; its job as it is then."""
    task = tasks.take(home.database, BOTH)
    assert task is not None
    worker.perform(home, task, stopping or threading.Event())
    return jobs.find(home, task.job)


def test_the_log_tells_when_a_run_begins_and_what_became_of_its_rows(
    home: Home, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "millrace.worker")
    number = jobs.start(home, "events").run.id
    perform(home)
    assert caplog.messages == [
        f"run {number} of events begins: manual",
        f"run {number} of events is completed: 45 rows read, 45 loaded, 0 filtered, 0 rejected, 0 wait",
    ]


def test_the_log_tells_that_a_run_goes_back_to_the_queue_when_its_worker_ends(
    home: Home, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "millrace.worker")
    number, stopping = jobs.start(home, "events").run.id, threading.Event()

    def end() -> None:
        stopping.set()
        heard(home)

    script.before["Users", 1] = end
    perform(home, stopping)
    assert caplog.messages[0] == f"run {number} of events begins: manual"
    assert [line.partition(":")[0] for line in caplog.messages[1:]] == [
        f"run {number} of events goes back to the queue"
    ]


def test_the_log_tells_of_a_run_that_failed_what_became_of_its_rows(
    home: Home, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise Transient("the line is cut")

    caplog.set_level("INFO", "millrace.worker")
    number = jobs.start(home, "events").run.id
    script.before["Users", 1] = broken
    perform(home)
    assert caplog.messages == [
        f"run {number} of events begins: manual",
        f"run {number} of events stopped: the line is cut",
        f"run {number} of events failed: 35 rows read, 35 loaded, 0 filtered, 0 rejected, 0 wait",
    ]


def test_a_run_begins_once_its_pipeline_is_free_and_though_nobody_knows_who_asked_for_it(
    home: Home, script: Script, saved: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "millrace.worker")
    number = jobs.start(home, "events").run.id
    with home.database.transaction() as connection:
        connection.execute(sa.update(tables.runs).values(trigger=None))
    with leases.held(home.database, f"pipeline {saved.pipeline}"):
        assert perform(home).run.status == "QUEUED"
        assert caplog.messages == []
    with home.database.transaction() as connection:
        connection.execute(sa.update(tables.tasks).values(due_at=home.database.now()))
    perform(home)
    assert [line.partition(":")[0] for line in caplog.messages] == [
        f"run {number} of events begins",
        f"run {number} of events is completed",
    ]


def table(tmp_path: Path, name: str) -> list[int]:
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
        return sorted(id_ for (id_,) in connection.execute(f"SELECT id FROM {name}").fetchall())


def told(job: Job) -> dict[str, str]:
    return {one.stream: one.status for one in job.objects}


def limited(scope: Any = "endpoint", retry_after_s: float | None = None) -> Any:
    def step() -> None:
        raise RateLimited("no more calls", scope=scope, retry_after_s=retry_after_s)

    return step


@pytest.mark.spec("pipelines.22.8")
def test_a_limit_in_the_middle_defers_the_object_keeps_what_was_read_and_goes_on_from_there(
    home: Home, script: Script, tmp_path: Path
):
    script.before["Users", 1] = limited()
    jobs.start(home, "events")
    first = perform(home)
    assert (first.run.status, first.run.kind) == ("DEFERRED", "HISTORICAL")
    assert told(first) == {"Orders": "COMPLETED", "Users": "DEFERRED", "Visits": "COMPLETED"}
    assert (len(table(tmp_path, "users")), len(table(tmp_path, "orders"))) == (5, 15)
    assert objects.find(home, "events", "Users").status == "DEFERRED"
    script.before.clear()
    script.read.clear()
    jobs.start(home, "events")
    second = perform(home)
    assert (second.run.status, second.run.kind) == ("COMPLETED", "HISTORICAL")
    assert script.read == [("Users", 1), ("Users", 2)]
    assert table(tmp_path, "users") == list(range(15))
    jobs.start(home, "events")
    assert perform(home).run.kind == "INCREMENTAL"


@pytest.mark.spec("pipelines.22.8")
def test_a_limit_of_the_credential_leaves_all_objects_that_were_still_to_be_read(home: Home, script: Script):
    script.before["Users", 1] = limited("credential")
    jobs.start(home, "events")
    job = perform(home)
    assert told(job) == {"Orders": "COMPLETED", "Users": "DEFERRED", "Visits": "DEFERRED"}
    assert ("Visits", 0) not in script.read


def test_a_limit_that_says_when_it_ends_holds_the_schedule_back_until_then(home: Home, script: Script, saved: Desk):
    script.before["Orders", 0] = limited("credential", retry_after_s=7200)
    lifecycle_wish = Wish("events", "project", "warehouse", schedule={"every_s": 1800})
    pipelines.change(home, "events", lambda _: lifecycle_wish)
    jobs.start(home, "events")
    job = perform(home)
    assert job.run.status == "DEFERRED"
    due = saved.scalar(sa.select(tables.slots.c.due_at))
    assert job.run.ended_at is not None
    assert (due - job.run.ended_at).total_seconds() == pytest.approx(7200, abs=60)


@pytest.mark.spec("pipelines.22.10")
def test_a_job_that_is_cancelled_keeps_what_it_committed_and_the_next_one_goes_on_from_there(
    home: Home, script: Script, tmp_path: Path
):
    asked = jobs.start(home, "events")

    def wish() -> None:
        assert jobs.cancel(home, asked.job_id).run.status == "CANCELLING"
        heard(home)

    script.before["Users", 1] = wish
    job = perform(home)
    assert (job.run.status, job.run.kind, job.run.balance.even) == ("CANCELLED", "HISTORICAL", True)
    assert told(job) == {"Orders": "COMPLETED", "Users": "CANCELLED", "Visits": "SKIPPED"}
    assert job.run.balance.loaded == job.run.balance.read
    before = len(script.read)
    script.before.clear()
    again = jobs.retry(home, asked.job_id)
    done = perform(home)
    # Cancelled over the history: the next one is over the history again, and reads what is missing.
    assert (done.job_id, done.run.status, done.run.kind) == (again.job_id, "COMPLETED", "HISTORICAL")
    assert sorted(set(script.read)) == sorted((name, number) for name in script.pages for number in range(3))
    assert len(script.read) == len(set(script.read)), script.read[before:]
    for name in ("orders", "users", "visits"):
        assert table(tmp_path, name) == list(range(15))


@pytest.mark.spec("pipelines.22.10")
def test_a_job_that_waits_is_cancelled_at_once_and_one_that_ended_stays_as_it_is(home: Home, script: Script):
    asked = jobs.start(home, "events")
    assert jobs.cancel(home, asked.job_id).run.status == "CANCELLED"
    assert tasks.take(home.database, BOTH) is None
    assert jobs.cancel(home, asked.job_id).run.status == "CANCELLED"
    jobs.start(home, "events")
    done = perform(home)
    assert jobs.cancel(home, done.job_id).run.status == "COMPLETED"


def test_a_worker_that_is_told_to_end_gives_its_task_back_and_another_ends_the_same_job(
    home: Home, script: Script, tmp_path: Path
):
    asked, stopping = jobs.start(home, "events"), threading.Event()

    def end() -> None:
        stopping.set()
        heard(home)

    script.before["Users", 1] = end
    assert perform(home, stopping).run.status == "QUEUED"
    script.before.clear()
    done = perform(home)
    assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED")
    assert (done.run.balance.read, done.run.balance.loaded, done.run.balance.even) == (45, 45, True)
    assert told(done) == dict.fromkeys(("Orders", "Users", "Visits"), "COMPLETED")


@pytest.mark.parametrize("wished", [True, False], ids=["cancelled", "the worker ends"])
@pytest.mark.parametrize("error", [Transient, EnvironmentProblem])
def test_a_job_that_is_asked_to_end_while_a_system_does_not_answer_has_not_failed(
    home: Home, script: Script, tmp_path: Path, wished: bool, error: type[MillraceError]
):
    asked, stopping = jobs.start(home, "events"), threading.Event()

    def away() -> None:
        if wished:
            jobs.cancel(home, asked.job_id)
        else:
            stopping.set()
        heard(home)
        raise error("nobody answers")

    script.before["Users", 1] = away
    job = perform(home, stopping)
    assert job.run.status == ("CANCELLED" if wished else "QUEUED")
    assert (job.run.error.message if job.run.error else None) == ("nobody answers" if wished else None)
    with home.database.reading() as connection:
        assert not connection.execute(sa.select(telling_tables.alert_events)).all()
        assert connection.execute(sa.select(tables.tasks.c.attempts)).scalar() == (None if wished else 0)
    script.before.clear()
    if wished:
        jobs.start(home, "events")
    assert perform(home).run.status == "COMPLETED"
    assert table(tmp_path, "users") == list(range(15))


@pytest.mark.parametrize("late", [False, True], ids=["its worker hears it", "nobody hears it"])
@pytest.mark.parametrize("away", [False, True], ids=["it ends well", "a system does not answer"])
def test_a_job_that_is_cancelled_while_an_ending_worker_closes_its_connectors_is_cancelled(
    home: Home, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool, late: bool
):
    asked, stopping = jobs.start(home, "events"), threading.Event()
    if late:
        # It hears that it shall stop, and nothing else any more.
        monkeypatch.setattr(tasks, "beat", lambda *_: False)

    def end() -> None:
        stopping.set()
        time.sleep(0.2) if late else heard(home)
        if away:
            raise Transient("nobody answers")

    def closing(_: Paged) -> None:
        jobs.cancel(home, asked.job_id)
        if not late:
            heard(home)

    script.before["Users", 1] = end
    with monkeypatch.context() as patch:
        patch.setattr(Paged, "close", closing)
        job = perform(home, stopping)
    assert (job.run.status, job.run.error) == ("CANCELLED", None)
    objects_ = ("FAILED", "CANCELLED") if away else ("CANCELLED", "SKIPPED")
    assert tuple(told(job).values()) == ("COMPLETED", *objects_)
    with home.database.reading() as connection:
        assert not connection.execute(sa.select(tables.tasks)).all()
        assert not connection.execute(sa.select(telling_tables.alert_events)).all()
    script.before.clear()
    jobs.start(home, "events")
    assert perform(home).run.status == "COMPLETED"
    assert table(tmp_path, "users") == list(range(15))


def test_a_job_that_could_not_begin_and_is_cancelled_has_not_failed(
    home: Home, script: Script, monkeypatch: pytest.MonkeyPatch
):
    asked = jobs.start(home, "events")

    def away(*_: Any) -> None:
        jobs.cancel(home, asked.job_id)
        raise Transient("nobody answers")

    monkeypatch.setattr(connections, "secrets_of", away)
    assert perform(home).run.status == "CANCELLED"
    with home.database.reading() as connection:
        assert not connection.execute(sa.select(telling_tables.alert_events)).all()


def test_a_failed_job_says_what_failed_and_is_retried_for_that_alone(home: Home, script: Script):
    def broken() -> None:
        raise Transient("the line is cut")

    script.before["Users", 1] = broken
    jobs.start(home, "events")
    failed = perform(home)
    assert (failed.run.status, failed.run.error and failed.run.error.message) == ("FAILED", "the line is cut")
    assert told(failed) == {"Orders": "COMPLETED", "Users": "FAILED", "Visits": "COMPLETED"}
    assert failed.object_counts == {"success": 2, "queued": 0, "skipped": 0, "failed": 1}
    assert objects.find(home, "events", "Users").status == "FAILED"
    script.before.clear()
    script.read.clear()
    jobs.retry(home, failed.job_id)
    assert perform(home).run.status == "COMPLETED"
    assert script.read == [("Users", 1), ("Users", 2)]


def test_one_object_of_a_job_is_restarted_alone_from_its_beginning(home: Home, script: Script, tmp_path: Path):
    jobs.start(home, "events")
    first = perform(home)
    script.read.clear()
    again = jobs.restart_object(home, first.job_id, "Users")
    assert (again.trigger, again.run.kind) == ("RESTART", "HISTORICAL")
    assert perform(home).run.status == "COMPLETED"
    assert script.read == [("Users", 0), ("Users", 1), ("Users", 2)]
    assert table(tmp_path, "users") == list(range(15))


def test_where_loads_have_a_schedule_of_their_own_a_run_only_reads_and_a_load_brings_the_rows(
    home: Home, script: Script, tmp_path: Path
):
    lifecycle.load_every(home, "warehouse", Schedule(every_s=3600))
    jobs.start(home, "events")
    read = perform(home)
    assert (read.run.status, read.run.balance.loaded, read.run.balance.waiting) == ("COMPLETED", 0, 45)
    (load,) = lifecycle.load_now(home, "warehouse")
    assert load.run.kind == "LOAD"
    assert perform(home).run.status == "COMPLETED"
    assert jobs.find(home, read.job_id).run.balance.loaded == 45
    assert table(tmp_path, "orders") == list(range(15))


def test_what_was_read_before_a_pause_is_still_loaded(home: Home, script: Script, tmp_path: Path):
    lifecycle.load_every(home, "warehouse", Schedule(every_s=3600))
    jobs.start(home, "events")
    perform(home)
    lifecycle.pause(home, "events")
    assert perform(home).run.kind == "LOAD"
    assert table(tmp_path, "orders") == list(range(15))


def test_a_deleted_pipeline_is_gone_with_its_rows_that_wait_and_loaded_rows_stay(
    home: Home, script: Script, tmp_path: Path
):
    jobs.start(home, "events")
    perform(home)
    jobs.start(home, "events")
    task = tasks.take(home.database, BOTH)
    assert task is not None
    assert lifecycle.delete(home, "events") is False
    assert jobs.find(home, task.job).run.status == "CANCELLING"
    assert lifecycle.bury(home) == 0
    tasks.finish(home.database, task)
    assert lifecycle.bury(home) == 1
    with pytest.raises(ConfigError, match="no pipeline"):
        pipelines.find(home, "events")
    assert table(tmp_path, "orders") == list(range(15))


def test_an_object_of_its_own_schedule_is_not_read_with_the_others(home: Home, script: Script):
    objects.ensure_known(home, "events")
    object_actions.set_schedule(home, "events", "Users", Schedule(every_s=3600))
    jobs.start(home, "events")
    assert set(told(perform(home))) == {"Orders", "Visits"}


def test_a_run_goes_on_though_its_pipeline_gets_another_name_in_its_midst(home: Home, script: Script, tmp_path: Path):
    """Also before its first row, when its transformation is not built yet, and its failed rows are not looked for."""
    transformations.deploy(home, "events", "python", "def transform(event):\n    return event\n")
    names = iter(f"named {number}" for number in range(1, 10))

    def rename() -> None:
        lifecycle.rename(home, pipelines.listed(home)[0].name, next(names))

    build = script.build

    def building(*_: Any) -> Paged:
        rename()
        return build()

    script.before["Users", 1] = rename
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "build_source", building)
        jobs.start(home, "events")
        done = perform(home)
    assert (done.run.status, done.run.pipeline) == ("COMPLETED", "named 2")
    assert table(tmp_path, "Orders") == table(tmp_path, "Users") == [*range(15)]
    lifecycle.rename(home, "named 2", "events")
    assert lifecycle.rename(home, "events", "events").name == "events"


def test_a_task_that_was_taken_under_another_name_is_done_by_the_next_worker(
    home: Home, script: Script, tmp_path: Path
):
    number = jobs.start(home, "events").run.id
    task = tasks.take(home.database, BOTH)
    assert task is not None
    lifecycle.rename(home, "events", "people")
    worker.perform(home, task, threading.Event())
    waits = jobs.find(home, number)
    assert (waits.run.status, waits.run.pipeline) == ("QUEUED", "people")
    assert perform(home).run.status == "COMPLETED"
    assert table(tmp_path, "Orders") == [*range(15)]


def test_a_task_is_not_done_with_the_pipeline_that_has_the_name_of_its_own_by_now(home: Home, script: Script):
    pipelines.create(home, replace(pipelines.find(home, "events").wish, name="other", table_prefix="o_"))
    number = jobs.start(home, "events").run.id
    task = tasks.take(home.database, BOTH)
    assert task is not None
    lifecycle.rename(home, "events", "people")
    lifecycle.rename(home, "other", "events")
    worker.perform(home, task, threading.Event())
    waits = jobs.find(home, number)
    assert (waits.run.status, waits.run.pipeline, script.read) == ("QUEUED", "people", [])
    assert perform(home).run.pipeline == "people"
    assert [one.run.pipeline for one in jobs.page(home).items] == ["people"]


def test_a_task_of_a_pipeline_that_is_gone_does_not_come_again(home: Home, script: Script):
    jobs.start(home, "events")
    task = tasks.take(home.database, BOTH)
    assert task is not None
    with home.database.transaction() as connection:
        connection.execute(sa.delete(tables.pipelines))
    worker.perform(home, task, threading.Event())
    assert tasks.take(home.database, BOTH) is None


def test_a_copy_has_read_nothing_is_paused_and_fills_other_tables(home: Home, script: Script):
    jobs.start(home, "events")
    perform(home)
    object_actions.pause(home, "events", "Users")
    copy = lifecycle.clone(home, "events", table_prefix="copy")
    assert (copy.name, copy.state, copy.table_prefix) == ("events (copy)", "PAUSED", "copy_")
    assert {one.name: (one.state, one.positions) for one in objects.listed(home, copy.name)} == {
        "Orders": ("ACTIVE", {}),
        "Users": ("PAUSED", {}),
        "Visits": ("ACTIVE", {}),
    }
    with pytest.raises(ConfigError, match="same tables"):
        lifecycle.clone(home, "events", table_prefix="")


def test_a_copy_maps_rows_as_people_decided_for_the_original_and_reads_objects_by_their_own_schedules(
    home: Home, script: Script, tmp_path: Path
):
    jobs.start(home, "events")
    perform(home)
    mappings.rename_column(home, "events", "Orders", "name", "title")
    mappings.skip(home, "events", "Users")
    object_actions.set_schedule(home, "events", "Visits", Schedule(every_s=7200))
    lifecycle.clone(home, "events", new_name="copy", table_prefix="copy")
    assert scheduler.tick(home).queued == 1, "of the original alone"
    lifecycle.resume(home, "copy")
    jobs.start(home, "copy")
    perform(home)
    # The original's object still waits for a worker.
    assert scheduler.tick(home, home.database.now() + timedelta(hours=3)) == scheduler.Ticked(queued=1, skipped=1)
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as shown:
        assert sorted(one for (one,) in shown.execute("SELECT title FROM copy_orders").fetchall()) == sorted(
            f"row {number}" for number in range(15)
        )
        assert shown.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'copy_users'").fetchone() == (0,)
    kept = mappings.kept(home, "copy", "Orders", 1)
    assert kept.reason == "copied from pipeline events"


def test_tables_of_a_copy_have_its_prefix_in_place_of_the_one_before(home: Home, script: Script):
    wish = replace(pipelines.find(home, "events").wish, name="raw", table_prefix="RawData2")
    pipelines.create(home, wish)
    jobs.start(home, "raw")
    perform(home)
    copy = lifecycle.clone(home, "raw", table_prefix="copy")
    found = [mapping_versions.latest(home, one)["Orders"].table for one in (pipelines.find(home, "raw"), copy)]
    assert found == ["raw_data_2_orders", "copy_orders"]


def test_a_copy_is_whole_or_is_not_there(home: Home, script: Script, monkeypatch: pytest.MonkeyPatch):
    objects.ensure_known(home, "events")
    object_actions.skip(home, "events", "Users")

    def broken(*_: object) -> None:
        raise EnvironmentProblem("the database went away", code="gone")

    with monkeypatch.context() as patched, pytest.raises(EnvironmentProblem):
        patched.setattr(mapping_copies, "keep", broken)
        lifecycle.clone(home, "events", new_name="copy", table_prefix="copy")
    assert [one.name for one in pipelines.listed(home)] == ["events"]
    lifecycle.clone(home, "events", new_name="copy", table_prefix="copy")
    assert {one.name: one.state for one in objects.listed(home, "copy")}["Users"] == "SKIPPED"


@pytest.mark.parametrize("second", [lifecycle.pause, lifecycle.delete])
def test_of_two_who_decide_at_once_about_a_pipeline_the_later_is_refused(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch, second: Any
):
    truly = lifecycle._allowed

    def meanwhile(home: Home, name: str, action: Any) -> Any:
        found = truly(home, name, action)
        monkeypatch.setattr(lifecycle, "_allowed", truly)
        jobs.start(home, name)
        assert tasks.take(home.database, BOTH), "so that it does not go at once"
        lifecycle.delete(home, name)
        return found

    monkeypatch.setattr(lifecycle, "_allowed", meanwhile)
    with pytest.raises(ConfigError) as caught:
        second(home, "events")
    assert caught.value.code == "wrong_state"
    assert pipelines.find(home, "events").state == "DELETING"


@pytest.mark.spec("pipelines.22.14")
@pytest.mark.parametrize(
    ("mode", "kind", "left"),
    [("evolve-and-merge", "RESYNC", 15), ("drop-and-load", "RESYNC_WITH_DROP_AND_LOAD", 10)],
)
def test_a_resync_keeps_the_table_or_replaces_it_and_goes_on_where_a_worker_left_it(
    home: Home, script: Script, tmp_path: Path, mode: str, kind: str, left: int
):
    jobs.start(home, "events")
    perform(home)
    for name in script.pages:
        script.pages[name] = [rows(0, 5), rows(5, 10)]
    script.read.clear()
    stopping = threading.Event()

    def end() -> None:
        stopping.set()
        heard(home)

    script.before["Users", 0] = end
    asked = jobs.start(home, "events", kind="resync", mode=mode)
    assert perform(home, stopping).run.status == "QUEUED"
    script.before.clear()
    done = perform(home)
    assert (done.job_id, done.run.kind, done.run.status) == (asked.job_id, kind, "COMPLETED")
    # What the first worker had read is not read again.
    assert sorted(script.read) == sorted((name, number) for name in script.pages for number in range(2))
    for name in ("orders", "users", "visits"):
        assert table(tmp_path, name) == list(range(left))
