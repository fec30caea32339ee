"""Garbage collection: what may go goes, what may still be needed stays, at any crash in between."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk, commit

from millrace.control import settings
from millrace.control.books import leases, records, retention
from millrace.control.database.tables import cursor_history, runs, segments
from millrace.control.failed import rejects
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle
from millrace.control.scheduling import scheduler
from millrace.data.batch import Segment
from millrace.engine.ledger import RejectFile
from millrace.engine.stage import Stage

OLD = timedelta(days=40)


@pytest.fixture
def stage(home: Home) -> Iterator[Stage]:
    stage = Stage(home.stage_url)
    yield stage
    stage.close()


def write(stage: Stage, age: timedelta = timedelta()) -> str:
    """A file on the stage that was written so long ago; its path."""
    spooled = stage.spool()
    spooled.write_bytes(uuid.uuid4().bytes)
    path = f"x/{uuid.uuid4().hex}.arrow"
    stage.put(spooled, path)
    file = Path(stage.root) / path
    at = file.stat().st_mtime - age.total_seconds()
    os.utime(file, (at, at))
    return path


def staged(stage: Stage, age: timedelta = timedelta()) -> Segment:
    return Segment("Events", "events", write(stage, age), 1, 16, "0" * 64)


def there(stage: Stage) -> set[str]:
    return {file.relative_to(stage.root).as_posix() for file in Path(stage.root).rglob("*.arrow")}


def release() -> None:
    """No run goes on any more."""
    leases._ours.clear()


def test_loaded_segments_go_after_their_time_and_waiting_ones_never(home: Home, saved: Desk, stage: Stage) -> None:
    books, _ = saved.books()
    first, second = staged(stage), staged(stage)
    books.commit(commit(read=2, segments=[first, second]))
    books.loaded("events", 1, 1, None)
    release()
    assert retention.collect(home, stage) == retention.Collected()
    later = home.database.now() + timedelta(days=8)
    assert retention.collect(home, stage, now=later).segments == 1
    assert there(stage) == {second.path}
    assert retention.collect(home, stage, now=later + timedelta(days=400)) == retention.Collected()
    assert [s.path for s in books.segments("events", 1, 0)] == [second.path]


def test_the_settings_say_how_long(home: Home, saved: Desk, stage: Stage) -> None:
    settings.change(home, retention_days=0)
    books, _ = saved.books()
    books.commit(commit(read=1, segments=[staged(stage)]))
    books.loaded("events", 1, 1, None)
    assert retention.collect(home, stage, now=home.database.now() + timedelta(seconds=1)).segments == 1
    assert there(stage) == set()


@pytest.mark.spec("pipelines.22.11")
def test_rejects_are_purged_after_their_time_and_closed_ones_at_once(home: Home, saved: Desk, stage: Stage) -> None:
    books, run = saved.books()
    group = ("Events", "mapping", "A")
    files = [RejectFile(write(stage), "0" * 64, 16, {group: 1}, {group: "m"}) for _ in range(2)]
    books.commit(commit(read=2, rejects=files))
    release()
    rejects.discard(home, rejects.Choice(file=rejects.listed(home)[0].file))
    assert retention.collect(home, stage).reject_files == 1
    assert there(stage) == {files[0].path}
    later = home.database.now() + timedelta(days=31)
    assert retention.collect(home, stage, now=later).reject_files == 1
    assert there(stage) == set()
    assert [one.state for one in rejects.listed(home, state=None)] == ["discarded", "purged"]
    assert records.run_record(home, run).balance.rejected == {"mapping/A": 2}
    assert retention.collect(home, stage, now=later) == retention.Collected()


def test_unfinished_work_of_dead_processes_goes_after_a_day(home: Home, saved: Desk, stage: Stage) -> None:
    books, _ = saved.books()
    kept = staged(stage, age=OLD)
    books.commit(commit(read=1, segments=[kept]))
    release()
    write(stage, age=timedelta(hours=25))
    young = write(stage, age=timedelta(hours=23))
    spooled = stage.spool()
    spooled.write_bytes(b"half")
    os.utime(spooled, (1, 1))
    assert retention.collect(home, stage).unnamed == 2
    assert there(stage) == {kept.path, young}


def test_files_of_a_run_that_still_goes_on_stay_however_old(home: Home, saved: Desk, stage: Stage) -> None:
    """A run may have written a file long ago and commit it only now."""
    saved.books()
    mine = write(stage, age=timedelta(hours=30))
    with home.database.transaction() as connection:
        began = home.database.now() - timedelta(hours=40)
        connection.execute(sa.update(leases.leases).values(acquired_at=began))
    assert retention.collect(home, stage).unnamed == 0
    assert there(stage) == {mine}
    release()
    assert retention.collect(home, stage).unnamed == 1


def test_a_server_that_has_scheduled_for_months_keeps_no_unfinished_work_on_the_stage(home: Home, stage: Stage) -> None:
    leases.acquire(home.database, scheduler.LEASE)
    with home.database.transaction() as connection:
        connection.execute(sa.update(leases.leases).values(acquired_at=home.database.now() - OLD))
    write(stage, age=timedelta(days=3))
    assert retention.collect(home, stage).unnamed == 1
    assert not there(stage)
    release()


def test_a_server_takes_away_what_is_past_its_time_though_nothing_runs(home: Home, saved: Desk, stage: Stage) -> None:
    books, _ = saved.books()
    old = staged(stage)
    books.commit(commit(read=1, segments=[old]))
    release()
    write(stage, age=timedelta(days=3))
    stops = threading.Event()
    server = threading.Thread(target=scheduler.serve, args=(home, stops), kwargs={"tick_s": 0.02})
    server.start()
    try:
        deadline = time.monotonic() + 60
        while there(stage) != {old.path}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        stops.set()
        server.join()


def test_a_crash_between_the_books_and_the_file_leaves_a_file_that_goes_later(
    home: Home, saved: Desk, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    books, _ = saved.books()
    books.commit(commit(read=1, segments=[staged(stage, age=OLD)]))
    books.loaded("events", 1, 1, None)
    release()
    later = home.database.now() + timedelta(days=8)

    def dies(path: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            retention.collect(home, stage, now=later)
    assert len(there(stage)) == 1
    assert list(books.segments("events", 1, 0)) == []
    assert retention.collect(home, stage, now=later).unnamed == 1
    assert there(stage) == set()


def test_a_file_that_cannot_be_deleted_now_is_tried_again(
    home: Home, saved: Desk, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(stage, age=OLD)

    def refuses(path: str) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(stage, "delete", refuses)
        assert retention.collect(home, stage).failed == 1
    assert retention.collect(home, stage) == retention.Collected(unnamed=1)


def test_dropped_generations_and_removed_pipelines_leave_the_stage(home: Home, saved: Desk, stage: Stage) -> None:
    books, _ = saved.books()
    books.commit(commit(read=1, segments=[staged(stage, age=OLD)]))
    books.new_generation("events")
    books.commit(commit(read=1, segments=[staged(stage, age=OLD)]))
    release()
    assert retention.collect(home, stage).unnamed == 1
    assert lifecycle.delete(home, "events")
    assert retention.collect(home, stage).unnamed == 1
    assert there(stage) == set()


def test_old_runs_are_forgotten_but_the_latest_and_those_with_waiting_rows(
    home: Home, saved: Desk, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LATEST_RUNS", 2)
    began: list[int] = []
    for turn in range(5):
        books, run = saved.books()
        books.commit(commit(cursor=turn, read=1, segments=[staged(stage)]))
        began.append(run)
        if turn != 1:
            with home.database.transaction() as connection:
                connection.execute(sa.update(segments).where(segments.c.run_id == run).values(state="loaded"))
        records.end_run(home.database, run, "COMPLETED", notes=[])
    release()
    retention.collect(home, stage, now=home.database.now() + timedelta(days=89))
    assert len(records.run_records(home)) == 5
    retention.collect(home, stage, now=home.database.now() + timedelta(days=91))
    with home.database.reading() as connection:
        left = connection.execute(sa.select(runs.c.id).order_by(runs.c.id)).scalars().all()
        positions = connection.execute(sa.select(cursor_history.c.run_id)).scalars().all()
    assert left == sorted(positions) == [began[1], *began[3:]]
    assert books.cursor("Events", "incremental") == 4


def test_now_is_a_moment_of_the_databases_clock(home: Home) -> None:
    assert isinstance(home.database.now(), datetime)
    assert home.database.now().tzinfo is not None
