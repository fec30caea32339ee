"""The scheduler: what is due becomes a task. One process at a time holds its lease; when that one goes, another does.

It starts nothing itself and keeps nothing in memory, so it may end at any moment.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.control import activity, kept_answers
from millrace.control.alerting import alert_routing, alert_watch
from millrace.control.books import leases, records, retention
from millrace.control.books.leases import AlreadyRunning, Lease
from millrace.control.database.db import Outdated
from millrace.control.failed import second_tries
from millrace.control.pipeline import intakes, lifecycle
from millrace.control.running import jobs, tasks
from millrace.control.running.jobs import Asked
from millrace.control.scheduling import due, set_back, slots
from millrace.data.dataclass import dataclass
from millrace.engine.stage import Stage
from millrace.errors import MillraceError, Stale

if TYPE_CHECKING:
    import sqlalchemy as sa

    from millrace.control.home import Home
    from millrace.control.scheduling.slots import Slot

LEASE = "scheduler"

RENEWED_S = leases.LEASE_S / 4

# One transaction looks after so many schedules at most, so that workers come in between.
CHUNK = 200

TICK_S = 1.0
HOUSEKEEPING_S = 3600.0

# So often it looks at limits, late pipelines and what is told every few hours.
LOOK_S = 60.0

_log = logging.getLogger("millrace.scheduler")


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick did: runs that were queued, slots that were skipped, tasks that were taken from the dead."""

    queued: int = 0
    skipped: int = 0
    recovered: int = 0


def tick(home: Home, now: datetime | None = None, *, lease: Lease | None = None) -> Ticked:
    """All that is due is queued or on record as skipped, and tasks of dead workers wait again.

    Each part of what is due is kept only under the scheduler's ``lease``, which is renewed with it. Raises Stale where
    another process has that.
    """
    moment, began = now or home.database.now(), time.monotonic()
    recovered = len(tasks.recover(home.database))
    lifecycle.bury(home)
    done: Counter[str] = Counter()
    while True:
        with home.database.reading() as connection:
            found = slots.due_now(connection, moment, limit=CHUNK)
        if found:
            with home.database.transaction() as connection:
                if lease is not None:  # I4
                    longer = leases.LEASE_S + time.monotonic() - began
                    leases.confirm(connection, lease, moment + timedelta(seconds=longer))
                done.update(_tend(connection, found, moment))
        if len(found) < CHUNK:
            return Ticked(done["queued"], done["skipped"], recovered)


def serve(home: Home, stopping: threading.Event, *, tick_s: float = TICK_S) -> None:
    """Ticks until it shall stop, whenever this process holds the scheduler's lease; else it waits for that.

    It ends too where a newer version has upgraded the database. How often it does what is by a clock that nobody sets.
    """
    lease: Lease | None = None
    keeping, ended = None, threading.Event()
    renewed = kept_house = looked = -math.inf
    # When a scheduler was seen last, by the clock of the database: this one, or whoever has the lease.
    seen: tuple[float, datetime | None] = -math.inf, None
    try:
        while not stopping.is_set():
            try:
                home.database.check()
                if lease is None and (last := leases.last_seen(home.database, LEASE)) != seen[1]:
                    seen = time.monotonic(), last
                # The answer may take long, before or after the database looked at its clock.
                asked, now, at = time.monotonic(), home.database.now(), time.monotonic()
                # While nobody scheduled the clock went on; but it never shows less than it did, unless it was set.
                then = now if seen[1] is None else seen[1] + timedelta(seconds=asked - seen[0])
                by = then - now if then - now >= set_back.LEAST else timedelta()
                if lease is None:
                    sure = asked - seen[0] >= set_back.SURE_S
                    if by and not sure:
                        stopping.wait(tick_s)
                        continue
                    # The later time stays in the database until all has followed.
                    seconds, silent = leases.LEASE_S + by.total_seconds(), seen[1] if sure else None
                    lease = leases.acquire(home.database, LEASE, seconds=seconds, what="the scheduler", silent=silent)
                    renewed = at
                    _log.info("this process schedules from now on")
                if by:
                    set_back.follow(home, lease, by, now, since=now - timedelta(seconds=at - seen[0]))
                    renewed = at
                    _log.warning("the clock was set back by %d s; what waits goes with it", by.total_seconds())
                elif at - renewed > RENEWED_S:
                    lease.renew()
                    renewed = at
                seen = at, now
                tick(home, now, lease=lease)
                if at - looked >= LOOK_S:
                    looked = at
                    second_tries.look(home, now)
                    alert_watch.look(home, now)
                if at - kept_house >= HOUSEKEEPING_S and (keeping is None or not keeping.is_alive()):
                    # A stage may be large and slow to answer; what is due does not wait for it.
                    kept_house = at
                    keeping = threading.Thread(target=_keep_house, args=(home, now, ended), name="house", daemon=True)
                    keeping.start()
            except AlreadyRunning:
                stopping.wait(tick_s)
            except Outdated:
                return
            except Stale:
                _log.info("another process schedules now")
                lease = None
            except (MillraceError, OSError) as error:
                # The database is busy or away: the next tick finds the same.
                _log.warning("a tick failed: %s", getattr(error, "message", type(error).__name__))
            stopping.wait(tick_s)
    finally:
        ended.set()
        if lease is not None:
            try:
                now = home.database.now()
                lease.release(seen=max(now, seen[1] or now))
            except Outdated:
                pass  # this process ends; a lease of the dead is free
            except MillraceError as error:
                _log.warning("the scheduler's lease could not be given back: %s", error.message)
        if keeping is not None:
            keeping.join()


def _keep_house(home: Home, now: datetime, ended: threading.Event) -> None:
    """What is past its time is gone, from the books and from the stage. What cannot go now goes an hour later."""
    try:
        activity.expire(home, now)
        alert_routing.expire(home, now)
        kept_answers.expire(home, now)
        intakes.expire(home)
        with closing(Stage(home.stage_url)) as stage:
            retention.collect(home, stage, now=now, stopping=ended)
    except (MillraceError, OSError) as error:
        said = getattr(error, "message", type(error).__name__)
        _log.warning("what is past its time could not be removed, and is tried again in an hour: %s", said)


def _tend(connection: sa.Connection, found: Sequence[Slot], now: datetime) -> Counter[str]:
    done: Counter[str] = Counter()
    busy = tasks.busy(connection, [slot.pipeline_id for slot in found], now)
    asked: list[Asked] = []
    for slot in found:
        running = busy.keeps(slot.pipeline_id, slot.part, slot.stream)
        verdict, standing = due.passed(slot.standing, slot.schedule, now, running=running)
        if not slots.move(connection, slot, standing):
            continue  # somebody changed it since; the next round sees how it is now
        if verdict == "skip":
            if slot.part != "load":
                records.skip_run(connection, slot.pipeline_id, slot.standing.slot_at or now)
            done["skipped"] += 1
        elif verdict is not None:
            arguments = {"part": slot.part} | ({"only": [slot.stream]} if slot.part == "object" else {})
            trigger = "SCHEDULE" if verdict == "run" else "RETRY"
            kind = "load" if slot.part == "load" else "run"
            asked.append(Asked(slot.pipeline_id, kind, trigger, arguments))
            done["queued"] += 1
    jobs.queue(connection, asked, now)
    return done
