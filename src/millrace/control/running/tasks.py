"""Tasks: what workers take, one conditional UPDATE for each. A worker that dies costs a lease and nothing more (I4)."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.alerting import alert_runs
from millrace.control.books import leases, run_objects
from millrace.control.database.db import Database
from millrace.control.database.tables import pipelines, runs, tasks
from millrace.control.scheduling.priority import Priority
from millrace.data.dataclass import dataclass
from millrace.errors import Problem, Stale

if TYPE_CHECKING:
    from millrace.control.books.records import RunKind
    from millrace.control.scheduling.slots import Part
    from millrace.data.batch import JSON

Kind: TypeAlias = Literal["run", "load", "resync"]
Trigger: TypeAlias = Literal[
    "SCHEDULE", "RETRY", "MANUAL", "API", "RESTART", "QUERY_MODE_CHANGE", "INCLUDE", "PRIORITY", "REPLAY"
]

# A worker says so often that it lives; without a word for the lease's time its task goes to another.
BEAT_S = 1.0
LEASE_S = 60.0

# A task whose worker died so often is given up: it may be what kills them.
MOST_ATTEMPTS = 5

# What goes first within a priority: what a person asked for, what is new, what was there before (pipelines.md 2.3).
BY_HAND, NEW, HISTORY = 0, 1, 2

_TAKING_LOCK = 0x6D696C74

# Arguments of a task that reads again what was read.
_ANEW = ("lanes", "mode")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A task to be. ``exclusive``: the source connection, where only one task at a time may read from it."""

    pipeline_id: str
    kind: Kind
    run_kind: RunKind
    trigger: Trigger
    arguments: JSON
    priority: Priority = "NORMAL"
    rank: int = NEW
    exclusive: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task in the hands of the worker with this ``token``; ``job`` is the number of its run."""

    id: int
    pipeline_id: str
    pipeline: str
    team_id: str
    kind: Kind
    arguments: JSON
    trigger: Trigger
    job: int
    attempts: int
    token: str


def put(connection: sa.Connection, wanted: Sequence[Wanted], now: datetime) -> list[int]:
    """The tasks wait for workers, and their runs are on record as queued; the numbers of those runs."""
    found: list[int] = []
    for one in wanted:
        row = {
            "pipeline_id": one.pipeline_id,
            "kind": one.run_kind,
            "status": "QUEUED",
            "started_at": now,
            "notes": [],
            "error": None,
            "job_id": str(uuid.uuid4()),
            "trigger": one.trigger,
            "requested_at": now,
        }
        inserted = connection.execute(sa.insert(runs).values(row))
        assert inserted.inserted_primary_key is not None
        found.append(int(inserted.inserted_primary_key[0]))
    rows = [
        {
            "pipeline_id": one.pipeline_id,
            "kind": one.kind,
            "arguments": one.arguments,
            "priority": one.priority,
            "rank": one.rank,
            "due_at": now,
            "run_id": run,
            "exclusive": one.exclusive,
            "attempts": 0,
            "token": None,
            "holder": None,
            "expires_at": None,
            "created_at": now,
        }
        for one, run in zip(wanted, found, strict=True)
    ]
    if rows:
        connection.execute(sa.insert(tasks), rows)
    return found


def going(connection: sa.Connection, pipeline_id: str, kind: Kind, arguments: Mapping[str, JSON]) -> int | None:
    """The run of a task of the pipeline, waiting or at work, that does what is asked for; of the tasks that load, or of
    those that read.

    A run that asks for nothing else is any run. What shall be read anew is done by a task that does just that and has
    not begun; what is asked for some objects, by one that is about them too.
    """
    same = tasks.c.kind == "load" if kind == "load" else tasks.c.kind != "load"
    query = sa.select(tasks.c.run_id, tasks.c.kind, tasks.c.arguments, tasks.c.token)
    anew = {name: arguments[name] for name in _ANEW if name in arguments}
    for row in connection.execute(query.where(tasks.c.pipeline_id == pipeline_id, same).order_by(tasks.c.id)):
        asked, theirs = {*arguments.get("only", ())}, {*row.arguments.get("only", ())}
        about = not theirs or (asked and asked <= theirs)
        if anew or kind == "resync":
            alike = row.kind == kind and {name: row.arguments[name] for name in _ANEW if name in row.arguments} == anew
            if alike and row.token is None and (asked == theirs or (about and asked)):
                return row.run_id
        elif about or not asked:
            return row.run_id
    return None


@dataclass(frozen=True, slots=True)
class Busy:
    """What goes on with some pipelines: tasks that wait or are at work, by pipeline, part and object; and pipelines
    that somebody runs by hand."""

    tasks: frozenset[tuple[str, Part, str]]
    by_hand: frozenset[str]

    def keeps(self, pipeline_id: str, part: Part, stream: str) -> bool:
        """The same goes on already. A read, a load, and an object with a schedule of its own may wait for another."""
        return (pipeline_id, part, stream) in self.tasks or pipeline_id in self.by_hand


def busy(connection: sa.Connection, pipeline_ids: Sequence[str], now: datetime) -> Busy:
    """What goes on with these pipelines."""
    found: set[tuple[str, Part, str]] = set()
    query = sa.select(tasks.c.pipeline_id, tasks.c.kind, tasks.c.arguments).where(tasks.c.pipeline_id.in_(pipeline_ids))
    for row in connection.execute(query):
        alone = row.arguments.get("part") == "object"
        part: Part = "load" if row.kind == "load" else "object" if alone else "run"
        found.add((row.pipeline_id, part, row.arguments["only"][0] if alone else ""))
    served = {one for one, _, _ in found}
    held = leases.held_of(connection, [f"pipeline {one}" for one in pipeline_ids if one not in served], now)
    return Busy(frozenset(found), frozenset(name.removeprefix("pipeline ") for name in held))


def take(database: Database, preferred: Sequence[Priority]) -> Task | None:
    """A task that is ours now, of the first of the priorities that has one; None when nothing can be begun.

    One pipeline has one task at work, and so has a source connection that says so.
    """
    now = database.now()
    with database.reading() as connection:
        if connection.execute(_free(now).limit(1)).first() is None:
            return None
    with database.transaction() as connection:
        if not database.is_sqlite:
            # Two workers that look at the same moment must see each other's choice; SQLite has one writer anyway.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TAKING_LOCK})
        for priority in preferred:
            query = _free(now).where(tasks.c.priority == priority)
            found = connection.execute(query.order_by(tasks.c.rank, tasks.c.due_at, tasks.c.id).limit(1)).first()
            if found is not None:
                return _taken(connection, found.id, now)
    return None


def beat(
    database: Database, task: Task, meter: JSON = None, *, seconds: float = LEASE_S, stage: str | None = None
) -> bool:
    """The task is ours for as long again, and what it has done is seen by others; True when it shall end.

    Raises Stale when another worker has it.
    """
    now = database.now()
    with database.transaction() as connection:
        kept = connection.execute(
            sa.update(tasks)
            .where(tasks.c.id == task.id, tasks.c.token == task.token)
            .values(expires_at=now + timedelta(seconds=seconds))
        )
        if kept.rowcount != 1:
            raise Stale(f"another worker has task {task.id} of pipeline {task.pipeline}")
        told: dict[str, Any] = {"meter": meter, "beat_at": now} | ({"stage": stage} if stage else {})
        connection.execute(sa.update(runs).where(runs.c.id == task.job).values(told))
        return connection.execute(sa.select(runs.c.cancel_at).where(runs.c.id == task.job)).scalar() is not None


def begun(database: Database, run: int) -> None:
    """What the run shall forget before it reads, it has forgotten: another attempt goes on from there."""
    with database.transaction() as connection:
        arguments = connection.execute(sa.select(tasks.c.arguments).where(tasks.c.run_id == run)).scalar()
        if arguments is not None:
            known = {**arguments, "begun": True}
            connection.execute(sa.update(tasks).where(tasks.c.run_id == run).values(arguments=known))


def holders(database: Database) -> list[leases.Holder]:
    """The processes that have a task at work."""
    with database.reading() as connection:
        found = connection.execute(sa.select(tasks.c.holder).where(tasks.c.token.is_not(None))).scalars()
        return [leases.Holder.from_json(one) for one in found]


def finish(database: Database, task: Task) -> None:
    """The task is done, whatever became of it; a run that shall end has ended. Nothing happens when another worker has
    it."""
    now = database.now()
    with database.transaction() as connection:
        _finished(connection, task, now)


def give_back(database: Database, task: Task, *, after_s: float = 0.0, died: bool = False) -> None:
    """The task waits again, for ``after_s``; its run is queued and goes on where it stopped. Unless it ``died`` of it,
    the attempt does not count. One that shall end has ended instead."""
    now = database.now()
    with database.transaction() as connection:
        if connection.execute(sa.select(runs.c.cancel_at).where(runs.c.id == task.job)).scalar() is not None:
            _finished(connection, task, now)
            return
        _free_again(connection, task.id, task.token, now + timedelta(seconds=after_s), forgiven=not died)


def renamed(database: Database, task: Task) -> bool:
    """The pipeline of the task has another name than when the task was taken."""
    with database.reading() as connection:
        name = connection.execute(sa.select(pipelines.c.name).where(pipelines.c.id == task.pipeline_id)).scalar()
    return name not in (None, task.pipeline)


def fail_queued(database: Database, task: Task, problem: Problem) -> None:
    """A run that could not even begin has failed of this; one that began says for itself how it ended, and one that
    shall end ends with its task."""
    now = database.now()
    with database.transaction() as connection:
        changed = connection.execute(
            sa.update(runs)
            .where(runs.c.id == task.job, runs.c.status == "QUEUED")
            .values(status="FAILED", ended_at=now, stage="DONE", error=dataclasses.asdict(problem))
        )
        if changed.rowcount:
            alert_runs.failed(connection, task.job, problem)


def recover(database: Database) -> list[int]:
    """Tasks of workers that are dead, or said nothing for too long, wait again; the numbers of their runs.

    A run that somebody wanted to end has ended; so has one whose worker died too often.
    """
    now = database.now()
    with database.reading() as connection:
        held = connection.execute(sa.select(tasks).where(tasks.c.token.is_not(None))).all()
    lost = [row for row in held if row.expires_at <= now or leases.is_dead(row.holder)]
    if not lost:
        return []
    freed: list[int] = []
    with database.transaction() as connection:
        for row in lost:
            wish = connection.execute(sa.select(runs.c.cancel_at).where(runs.c.id == row.run_id)).scalar()
            if wish is None and row.attempts < MOST_ATTEMPTS:
                if _free_again(connection, row.id, row.token, now, forgiven=False):
                    freed.append(row.run_id)
                continue
            gone = connection.execute(sa.delete(tasks).where(tasks.c.id == row.id, tasks.c.token == row.token))
            if gone.rowcount == 1:
                _close(connection, row.pipeline_id, row.run_id, now, cancelled=wish is not None)
    return freed


def lapse(database: Database, gone: leases.Holder) -> None:
    """What a process of another machine holds is free now, because somebody knows that it is gone: its task, and the
    leases. Were it alive all the same, its next commit and its next beat would be refused (I4)."""
    now, holder = database.now(), gone.to_json()
    with database.transaction() as connection:
        for table in (tasks, leases.leases):
            connection.execute(sa.update(table).where(table.c.holder == holder).values(expires_at=now))


def drop_waiting(connection: sa.Connection, pipeline_id: str, now: datetime, *, run: int | None = None) -> list[int]:
    """Tasks of the pipeline that nobody has taken, or the one of that run, are gone and their runs cancelled."""
    mine = [tasks.c.pipeline_id == pipeline_id, tasks.c.token.is_(None)]
    if run is not None:
        mine.append(tasks.c.run_id == run)
    found = [int(number) for number in connection.execute(sa.select(tasks.c.run_id).where(*mine)).scalars()]
    connection.execute(sa.delete(tasks).where(*mine))
    for number in found:
        _close(connection, pipeline_id, number, now, cancelled=True)
    return found


def _free(now: datetime) -> sa.Select[Any]:
    """Tasks that may be begun."""
    other = tasks.alias("other")
    at_work = other.c.token.is_not(None)
    same_pipeline = sa.exists().where(other.c.pipeline_id == tasks.c.pipeline_id, at_work)
    same_source = sa.exists().where(other.c.exclusive == tasks.c.exclusive, at_work)
    return sa.select(tasks.c.id).where(
        tasks.c.token.is_(None),
        tasks.c.due_at <= now,
        ~same_pipeline.correlate(tasks),
        sa.or_(tasks.c.exclusive.is_(None), ~same_source.correlate(tasks)),
    )


def _taken(connection: sa.Connection, id_: int, now: datetime) -> Task | None:
    token = str(uuid.uuid4())
    taken = connection.execute(
        sa.update(tasks)
        .where(tasks.c.id == id_, tasks.c.token.is_(None))
        .values(
            token=token,
            holder=leases.this_process().to_json(),
            expires_at=now + timedelta(seconds=LEASE_S),
            attempts=tasks.c.attempts + 1,
        )
    )
    if taken.rowcount != 1:
        return None
    row = connection.execute(
        sa.select(tasks, pipelines.c.name, pipelines.c.team_id, runs.c.trigger)
        .join(pipelines, pipelines.c.id == tasks.c.pipeline_id)
        .join(runs, runs.c.id == tasks.c.run_id)
        .where(tasks.c.id == id_)
    ).one()
    return Task(
        id=row.id,
        pipeline_id=row.pipeline_id,
        pipeline=row.name,
        team_id=row.team_id,
        kind=row.kind,
        arguments=row.arguments,
        trigger=row.trigger or "MANUAL",  # one that a version before jobs began
        job=row.run_id,
        attempts=row.attempts,
        token=token,
    )


def _free_again(connection: sa.Connection, id_: int, token: str, due_at: datetime, *, forgiven: bool) -> bool:
    values: dict[str, Any] = {"token": None, "holder": None, "expires_at": None, "due_at": due_at}
    if forgiven:
        values["attempts"] = tasks.c.attempts - 1
    freed = connection.execute(sa.update(tasks).where(tasks.c.id == id_, tasks.c.token == token).values(values))
    if freed.rowcount != 1:
        return False
    job = sa.select(tasks.c.run_id).where(tasks.c.id == id_).scalar_subquery()
    again = {"status": "QUEUED", "ended_at": None, "error": None}
    connection.execute(sa.update(runs).where(runs.c.id == job).values(again))
    return True


def _finished(connection: sa.Connection, task: Task, now: datetime) -> None:
    mine = connection.execute(sa.delete(tasks).where(tasks.c.id == task.id, tasks.c.token == task.token))
    # Whoever asked for its end after its worker looked for the last time has nobody else who hears it.
    open_ = (runs.c.id == task.job, runs.c.cancel_at.is_not(None), runs.c.ended_at.is_(None))
    if mine.rowcount == 1 and connection.execute(sa.select(runs.c.id).where(*open_)).first() is not None:
        _close(connection, task.pipeline_id, task.job, now, cancelled=True)


def _close(connection: sa.Connection, pipeline_id: str, run: int, now: datetime, *, cancelled: bool) -> None:
    error = Problem(
        "worker_died",
        f"the worker of this run died {MOST_ATTEMPTS} times",
        "Look for what ends it (memory, a script); then run the pipeline again. Nothing that was committed is lost.",
    )
    values: dict[str, Any] = {"status": "CANCELLED", "ended_at": now, "stage": "DONE"}
    if not cancelled:
        values |= {"status": "FAILED", "error": dataclasses.asdict(error)}
    connection.execute(sa.update(runs).where(runs.c.id == run).values(values))
    run_objects.settle(connection, pipeline_id, run, failed=not cancelled)
    if not cancelled:
        alert_runs.failed(connection, run, error)
