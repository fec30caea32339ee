"""Garbage collection: what was loaded, given up or never committed leaves the stage; old log lines leave the books.

In every step the database says first that a file is not wanted any more, and then the file goes. A crash between the
two leaves a file that no row wants, which the next collection finds. The other order would leave a row that promises
rows which are gone, and `rewind` would trust it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control import activity
from millrace.control.books import file_notes, leases
from millrace.control.database.db import any_in
from millrace.control.database.people_tables import links, sessions
from millrace.control.database.tables import (
    cursor_history,
    deleted_jobs,
    pipelines,
    raw_files,
    reject_files,
    reject_groups,
    runs,
    segments,
)
from millrace.control.pipeline.pipelines import lease_name
from millrace.control.settings import workspace
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.engine.stage import Stage

# Files that no row names are left alone that long: a run writes files before it commits them.
UNNAMED_FOR = timedelta(days=1)

# So many runs of each pipeline stay, however old: the next one goes by them.
LATEST_RUNS = 100


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did. ``failed``: files that could not be deleted now; the next collection tries again."""

    segments: int = 0
    reject_files: int = 0
    unnamed: int = 0
    failed: int = 0
    raw_files: int = 0


def collect(
    home: Home, stage: Stage, *, now: datetime | None = None, stopping: threading.Event | None = None
) -> Collected:
    """Nothing is on the stage, nor in the run log, longer than the settings say. May run at any time, and again.

    When ``stopping`` is set it ends before the next file; the next collection finds those that are left.
    """
    ending = stopping or threading.Event()
    moment = now or home.database.now()
    settings = workspace(home.database)
    # One transaction: mostly there is nothing to do, and each of its own would cost as much as a commit of rows.
    with home.database.transaction():
        loaded = _drop_segments(home, moment, moment - timedelta(days=settings.retention_days))
        closed = _purge_rejects(home, moment, moment - timedelta(days=settings.reject_retention_days))
        raw = _drop_raw(home, moment)
        activity.expire(home, moment)
        forget_sessions(home, moment)
        with home.database.joining() as connection:
            file_notes.expire(connection, moment)
    forget_runs(home, moment)
    failed = _delete(stage, [*loaded, *closed, *raw], ending)
    unnamed = [] if ending.is_set() else _unnamed(home, stage, moment)
    failed += _delete(stage, unnamed, ending)
    return Collected(len(loaded), len(closed), len(unnamed), failed, len(raw))


def _drop_segments(home: Home, now: datetime, before: datetime) -> list[str]:
    """Segments loaded before that moment are dropped; their paths."""
    old = (segments.c.state == "loaded", segments.c.loaded_at < before)
    with home.database.joining() as connection:
        paths = list(connection.execute(sa.select(segments.c.path).where(*old)).scalars())
        if paths:
            connection.execute(sa.update(segments).where(*old).values(state="dropped", dropped_at=now))
    return paths


def _purge_rejects(home: Home, now: datetime, before: datetime) -> list[str]:
    """Rejects from before that moment are purged; paths of files without an open row."""
    files, groups = reject_files.c, reject_groups.c
    with home.database.joining() as connection:
        if not any_in(connection, reject_files):
            return []
        old = sa.select(files.id).where(files.created_at < before, files.counted.is_(True))
        connection.execute(
            sa.update(reject_groups)
            .where(groups.state == "open", groups.file_id.in_(old))
            .values(state="purged", closed_at=now)
        )
        open_ = sa.select(groups.file_id).where(groups.state == "open")
        done = (files.kept.is_(True), files.counted.is_(True), files.id.not_in(open_))
        paths = list(connection.execute(sa.select(files.path).where(*done)).scalars())
        if paths:
            connection.execute(sa.update(reject_files).where(*done).values(kept=False))
    return paths


def _drop_raw(home: Home, now: datetime) -> list[str]:
    """Rows as they were read are kept as long as their pipeline says; paths of the files that are dropped."""
    paths: list[str] = []
    with home.database.joining() as connection:
        if not any_in(connection, raw_files):
            return []
        f = raw_files.c
        holding = sa.select(pipelines.c.id, pipelines.c.options).where(
            pipelines.c.id.in_(sa.select(f.pipeline_id).where(f.kept.is_(True)))
        )
        for row in connection.execute(holding).all():
            before = now - timedelta(seconds=row.options.get("keep_raw_s") or 0)
            old = (f.pipeline_id == row.id, f.kept.is_(True), f.created_at < before)
            paths += connection.execute(sa.select(f.path).where(*old)).scalars()
            connection.execute(sa.update(raw_files).where(*old).values(kept=False))
    return paths


def forget_runs(home: Home, now: datetime) -> int:
    """Runs that ended longer ago than `job_retention_days`, and the positions that they left, are off the record; how
    many.

    The latest of each pipeline stay, and so do runs of which rows wait or rejects are kept: what becomes of those is
    counted there. Those of deleted pipelines are kept as long.
    """
    before = now - timedelta(days=workspace(home.database).job_retention_days)
    place = sa.func.row_number().over(partition_by=runs.c.pipeline_id, order_by=runs.c.id.desc()).label("place")
    aged = sa.select(runs.c.pipeline_id).where(runs.c.ended_at < before)
    every = sa.select(runs.c.id, runs.c.ended_at, place).where(runs.c.pipeline_id.in_(aged)).subquery()
    query = sa.select(every.c.id).where(every.c.place > LATEST_RUNS, every.c.ended_at < before)
    d = deleted_jobs.c
    burial = sa.select(d.run_id).where(d.ended_at < before).limit(1)
    with home.database.reading() as connection:
        old = list(connection.execute(query.order_by(every.c.id)).scalars())
        buried = any_in(connection, deleted_jobs) and connection.execute(burial).first() is not None
    found = 0
    if buried:
        with home.database.transaction() as connection:
            found += connection.execute(sa.delete(deleted_jobs).where(d.ended_at < before)).rowcount
    for some in _in_parts(old):
        with home.database.transaction() as connection:
            waiting = sa.select(segments.c.run_id).where(segments.c.state == "staged", segments.c.run_id.in_(some))
            kept = sa.select(reject_files.c.run_id).where(reject_files.c.kept, reject_files.c.run_id.in_(some))
            mine = (runs.c.id.in_(some), runs.c.id.not_in(waiting), runs.c.id.not_in(kept))
            gone = list(connection.execute(sa.select(runs.c.id).where(*mine)).scalars())
            connection.execute(sa.delete(cursor_history).where(cursor_history.c.run_id.in_(gone)))
            connection.execute(sa.delete(runs).where(runs.c.id.in_(gone)))
            found += len(gone)
    return found


def _unnamed(home: Home, stage: Stage, now: datetime) -> list[str]:
    """Old files that no row wants: the unfinished work of dead processes, and what a crash of ours left.

    The files are listed before the rows are read, so that one that is committed in between is found to be wanted.
    """
    with home.database.reading() as connection:
        working = leases.oldest_live(connection, now, lease_name(""))
    # A run that is still going may have written a file long ago and commit it only now. Who schedules writes none.
    since = now - UNNAMED_FOR if working is None else min(now - UNNAMED_FOR, working)
    found = list(stage.paths(now - since))
    if not found:
        return []
    with home.database.reading() as connection:
        wanted = set(connection.execute(sa.select(segments.c.path).where(segments.c.state != "dropped")).scalars())
        wanted |= set(connection.execute(sa.select(raw_files.c.path).where(raw_files.c.kept.is_(True))).scalars())
        wanted |= set(connection.execute(sa.select(reject_files.c.path).where(reject_files.c.kept.is_(True))).scalars())
    return [path for path in found if path not in wanted]


def forget_sessions(home: Home, now: datetime) -> None:
    """Sessions and links that are over leave the tables."""
    with home.database.joining() as connection:
        for table in (sessions, links):
            if any_in(connection, table):
                connection.execute(sa.delete(table).where(table.c.expires_at < now))


def _delete(stage: Stage, paths: Iterable[str], ending: threading.Event) -> int:
    """The files are gone; how many could not be deleted."""
    failed = 0
    for path in paths:
        if ending.is_set():
            break
        try:
            stage.delete(path)
        except (OSError, MillraceError):
            failed += 1
    return failed


def _in_parts(ids: list[int], size: int = 500) -> Iterable[list[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
