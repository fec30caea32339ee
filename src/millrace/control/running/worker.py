"""A worker: a process that takes tasks, does them through `runs`, and says every second how far it is.

It may be killed at any instruction (I8): its task goes to another one, which goes on from the last commit.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.control.books import records
from millrace.control.books.leases import AlreadyRunning
from millrace.control.database.db import Outdated
from millrace.control.home import Home
from millrace.control.metering import ingestion_limit
from millrace.control.observing import logs
from millrace.control.people.actors import SYSTEM
from millrace.control.running import runs, tasks
from millrace.control.running.crews import Order
from millrace.control.scheduling import priority
from millrace.engine.meter import Meter
from millrace.errors import EnvironmentProblem, MillraceError, Stale, Transient

if TYPE_CHECKING:
    from datetime import datetime

    from millrace.control.books.records import RunRecord
    from millrace.control.running.tasks import Task

POLL_S = 0.5

# A database that cannot be reached is looked for so often.
WAIT_S = 1.0

# What a person runs by hand ends at some time; the task is offered again so often meanwhile.
BUSY_S = 5.0

# A worker makes room for a fresh one after so many tasks: what libraries do not give back goes with it.
MOST_TASKS = 500

_log = logging.getLogger("millrace.worker")


def work(
    home: Home,
    stopping: threading.Event,
    *,
    number: int = 0,
    workers: int = 1,
    most: int = MOST_TASKS,
    poll_s: float = POLL_S,
) -> int:
    """Tasks are done until it shall stop, or ``most`` of them were; how many were.

    When it shall stop, the task at work ends at its next commit and waits for another worker. Raises Outdated when a
    newer version has the database; whoever is of that version goes on with the task.
    """
    done = 0
    while not stopping.is_set() and done < most:
        try:
            task = tasks.take(home.database, priority.preferred(done, number, workers))
        except Transient as error:
            _log.warning("no task could be taken: %s", error.message)
            task = None
        if task is None:
            stopping.wait(poll_s)
            continue
        perform(home.acting(SYSTEM.of(task.team_id)), task, stopping)
        done += 1
    return done


def perform(home: Home, task: Task, stopping: threading.Event) -> None:
    """The task is done, given back, or another worker has it; its run says what became of it."""
    meter, ending = Meter(), threading.Event()
    facts = {"task": task.id, "run": task.job, "pipeline": task.pipeline}
    if task.kind != "load" and (until := ingestion_limit.until(home.database, task.team_id)) is not None:
        tasks.give_back(home.database, task, after_s=_left_s(home, until))
        return
    with logs.at_work(**facts), _beating(home, task, meter, ending, stopping) as cancelled:
        try:
            _run(home, task, meter, ending)
        except AlreadyRunning:
            tasks.give_back(home.database, task, after_s=BUSY_S)
            return
        except Stale:
            _log.info("another worker has task %s of %s", task.id, task.pipeline)
            return
        except Outdated:
            raise
        except MillraceError as error:
            if error.code == "unknown_pipeline" and tasks.renamed(home.database, task):
                tasks.give_back(home.database, task)
                return
            _log.warning("run %s of %s stopped: %s", task.job, task.pipeline, error.message)
            tasks.fail_queued(home.database, task, error.problem)
        except Exception as error:
            # On record already, without secrets; the trace is for the log of this machine.
            _log.exception("run %s of %s stopped: %s", task.job, task.pipeline, type(error).__name__)
        # Nobody wants its end: the worker stops, or the team has read what it may in this window.
        if ending.is_set() and not cancelled.is_set():
            until = None if stopping.is_set() else ingestion_limit.until(home.database, task.team_id)
            tasks.give_back(home.database, task, after_s=_left_s(home, until))
        else:
            tasks.finish(home.database, task)
        _tell(home, task)


def _tell(home: Home, task: Task) -> None:
    """The log tells how the run stands, and what became of its rows."""
    try:
        run = records.run_record(home, task.job)
    except MillraceError as error:
        _log.warning("how run %s of %s stands is not known: %s", task.job, task.pipeline, error.message)
        return
    of = run.balance
    said = "run %s of %s %s: %s rows read, %s loaded, %s filtered, %s rejected, %s wait"
    how = "goes back to the queue" if run.status == "QUEUED" else records.ENDED.get(run.status, run.status.lower())
    _log.info(said, run.id, run.pipeline, how, of.read, of.loaded, of.filtered_rows, of.rejected_rows, of.waiting)


def _left_s(home: Home, until: datetime | None) -> float:
    return 0.0 if until is None else max(0.0, (until - home.database.now()).total_seconds())


def _run(home: Home, task: Task, meter: Meter, stopping: threading.Event) -> RunRecord:
    asked: dict[str, Any] = task.arguments
    only = tuple(asked.get("only", ()))
    part = asked.get("part", "run")
    stream = only[0] if part == "object" else ""
    order = Order(task.job, task.trigger, part, stream, begun=bool(asked.get("begun")))
    common: dict[str, Any] = {"meter": meter, "stopping": stopping, "order": order}
    if task.kind == "load":
        return runs.load(home, task.pipeline, **common)
    if task.kind == "resync":
        return runs.resync(home, task.pipeline, only=only, mode=asked.get("mode", "evolve-and-merge"), **common)
    forget = tuple(asked.get("lanes", ()))
    return runs.run(home, task.pipeline, only=only, loading=asked.get("loading", True), forget=forget, **common)


@contextmanager
def _beating(
    home: Home, task: Task, meter: Meter, ending: threading.Event, stopping: threading.Event
) -> Generator[threading.Event]:
    """A thread says how far the task is, and hears whether it shall end: because somebody wants that (the event that
    comes out is set then), because the worker stops, or because another one has the task."""
    over, cancelled = threading.Event(), threading.Event()

    def beat() -> None:
        while not over.wait(tasks.BEAT_S):
            if stopping.is_set():
                ending.set()
            try:
                if tasks.beat(home.database, task, snapshot(meter)):
                    cancelled.set()
                    ending.set()
            except (Stale, Outdated):
                ending.set()
                return
            except MillraceError:
                continue  # the database is busy or away; the lease outlasts that

    thread = threading.Thread(target=beat, name=f"beat of task {task.id}", daemon=True)
    thread.start()
    try:
        yield cancelled
    finally:
        over.set()
        thread.join()


def snapshot(meter: Meter) -> dict[str, Any]:
    """What a run has done so far, as JSON."""
    return {
        "read": meter.read,
        "created": meter.created,
        "staged": meter.staged,
        "filtered": meter.filtered,
        "rejected": meter.rejected,
        "loaded": meter.loaded,
        "size_bytes": meter.size_bytes,
        "progress": meter.progress,
        "awaiting": meter.awaiting,
        "stage": meter.stage,
    }


def main(argv: list[str] | None = None) -> int:
    """The process of a worker. It ends by SIGTERM, or when the one that started it is gone (its stdin closes)."""
    parser = argparse.ArgumentParser(prog="millrace-worker")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    typed = parser.parse_args(argv)
    logs.install()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    # Ctrl-C reaches the whole group of processes; who started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_orphaned, args=(stopping,), name="parent", daemon=True).start()
    try:
        if (home := _opened(typed.home, stopping)) is not None:
            with home:
                work(home, stopping, number=typed.number, workers=typed.workers)
    except (EnvironmentProblem, Transient) as error:
        # What it had at work is free at once when its process is gone; another one is started in its place.
        _log.error("%s. %s", error.message, error.hint or "")
        return error.exit_code
    return 0


def _opened(path: Path, stopping: threading.Event) -> Home | None:
    """The home, as soon as its database is there; None where the worker shall stop first."""
    while not stopping.is_set():
        try:
            return Home.open(path)
        except Transient as error:
            _log.warning("the worker waits: %s", error.message)
            stopping.wait(WAIT_S)
    return None


def _orphaned(stopping: threading.Event) -> None:
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as parent:
        while parent.read(1):
            continue
    stopping.set()


if __name__ == "__main__":
    sys.exit(main())
