"""Jobs: runs as people ask for them, follow them and end them (pipelines.md 10, 19.3-19.9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from millrace.connect import registry
from millrace.control.activity import Entity, Severity, wrote
from millrace.control.books import records, run_objects
from millrace.control.books.records import RunKind, RunRecord, RunStatus
from millrace.control.books.run_objects import ObjectRow
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.tables import connections, runs, segments
from millrace.control.database.tables import pipelines as pipelines_table
from millrace.control.database.tables import tasks as tasks_table
from millrace.control.pipeline import pipelines
from millrace.control.running import tasks
from millrace.control.running.tasks import Trigger, Wanted
from millrace.control.scheduling import slots
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

ACTIVE: tuple[RunStatus, ...] = ("QUEUED", "IN_PROGRESS", "CANCELLING")
RESYNCS: dict[str, RunKind] = {"evolve-and-merge": "RESYNC", "drop-and-load": "RESYNC_WITH_DROP_AND_LOAD"}
OUTCOMES = {"COMPLETED": "success", "NOT_INITIALIZED": "queued", "SKIPPED": "skipped"}


@dataclass(frozen=True, slots=True)
class Latency:
    """From staged to loaded, over the files of a job, in milliseconds."""

    min_ms: int
    mean_ms: int
    max_ms: int


@dataclass(frozen=True, slots=True)
class Job:
    """One job. ``run``: its counts and what it said. ``began_at`` is None while it waits.

    ``meter``: what it has done so far, as its worker said last at ``beat_at``. ``objects`` is empty in lists.
    """

    job_id: str
    run: RunRecord
    pipeline_number: int
    source_type: str
    destination: str
    trigger: str | None
    stage: str | None
    requested_at: datetime | None
    began_at: datetime | None
    ingested_at: datetime | None
    beat_at: datetime | None
    meter: Mapping[str, Any] | None
    latency: Latency | None
    object_counts: Mapping[str, int]
    objects: tuple[ObjectRow, ...] = ()

    @property
    def mode(self) -> Literal["HISTORICAL", "INCREMENTAL"]:
        historical = self.run.kind in ("HISTORICAL", "RESYNC", "RESYNC_WITH_DROP_AND_LOAD")
        return "HISTORICAL" if historical else "INCREMENTAL"

    @property
    def duration_ms(self) -> int | None:
        if self.began_at is None or self.run.ended_at is None:
            return None
        return (self.run.ended_at - self.began_at) // timedelta(milliseconds=1)


def page(
    home: Home,
    pipeline: str | None = None,
    *,
    statuses: Sequence[RunStatus] = (),
    limit: int = 50,
    after: str | None = None,
) -> Page[Job]:
    """Jobs of the team, or of one pipeline, the newest first; ``after`` is the cursor of the page before."""
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    mine = [pipelines_table.c.team_id == home.actor.team_id]
    if pipeline is not None:
        mine.append(runs.c.pipeline_id == pipelines.find(home, pipeline).id)
    if after is not None:
        mine.append(runs.c.id < pages.number(after))
    query = _query().where(*mine)
    if statuses and pipeline is not None:
        # Not by the index of statuses, in which the runs of one pipeline are far apart.
        query = query.where(sa.func.coalesce(runs.c.status, "").in_(statuses))
    elif statuses:
        # By that index, the newest of each status: among all runs those of a rare one are far apart.
        newest = sa.select(runs.c.id).join(pipelines_table).where(*mine).order_by(runs.c.id.desc()).limit(limit + 1)
        each = (newest.where(runs.c.status == status).subquery() for status in dict.fromkeys(statuses))
        query = _query().where(runs.c.id.in_(sa.union_all(*(sa.select(one.c.id) for one in each))))
    with home.database.reading() as connection:
        rows = connection.execute(query.order_by(runs.c.id.desc()).limit(limit + 1)).all()
        found = _jobs(connection, rows[:limit])
    more = len(rows) > limit
    return Page(tuple(found), str(found[-1].run.id) if more else None)


def find(home: Home, job: str | int) -> Job:
    """One job by its id or its number, with its objects. Raises ConfigError when there is none in the team."""
    home.actor.must("view")
    which = runs.c.id == job if isinstance(job, int) else runs.c.job_id == job
    with home.database.reading() as connection:
        rows = connection.execute(_query().where(which, pipelines_table.c.team_id == home.actor.team_id)).all()
        if not rows:
            raise ConfigError(f"there is no job {job}", hint="See `millrace runs`.", code="unknown_run")
        return _jobs(connection, rows, whole=True)[0]


def start(
    home: Home,
    pipeline: str,
    *,
    only: Sequence[str] = (),
    kind: tasks.Kind = "run",
    mode: str | None = None,
    lanes: Sequence[str] = (),
    trigger: Trigger | None = None,
) -> Job:
    """A job waits for a worker. Where one of the same pipeline that does it waits or goes on, nothing happens and it is
    answered; what asks for more than that one does waits behind it.

    ``mode``, of a resync: evolve-and-merge or drop-and-load. ``lanes``: objects that are named forget these lanes
    first, so that they are read from their beginning. The schedule is not touched (pipelines.md 8.6), but that a first
    slot, which would come at once, is this run. Raises
    ConfigError "wrong_state" unless the pipeline is active.
    """
    home.actor.must("pipelines.edit")
    found = pipelines.find(home, pipeline)
    if found.state != "ACTIVE":
        raise ConfigError(
            f"pipeline {pipeline} is {found.state.lower()}, so it cannot run",
            hint="Resume it first.",
            code="wrong_state",
        )
    now = home.database.now()
    arguments: dict[str, JSON] = {}
    if only:
        arguments["only"] = list(only)
    if mode is not None:
        arguments["mode"] = mode
    if lanes:
        arguments["lanes"] = list(lanes)
    with home.database.transaction() as connection:
        going = tasks.going(connection, found.id, kind, arguments)
        if going is None:
            asked = Asked(found.id, kind, trigger or _asked(home), arguments, tasks.BY_HAND)
            (going,) = queue(connection, [asked], now)
            severity: Severity = "MEDIUM" if kind == "resync" else "LOW"
            said = f"job {going} of {found.name} was asked for"
            wrote(home, severity, found.entity, "start", said, after={"kind": kind, **arguments}, run_id=going)
            if kind == "run" and not only:
                slots.begin_by_hand(connection, found.id, now)
    return find(home, going)


@dataclass(frozen=True, slots=True)
class Asked:
    """A task that shall be made. ``rank`` None: by what kind of run it is."""

    pipeline_id: str
    kind: tasks.Kind
    trigger: Trigger
    arguments: Mapping[str, JSON]
    rank: int | None = None


def queue(connection: sa.Connection, asked: Sequence[Asked], now: datetime) -> list[int]:
    """The tasks wait from now on, with all that their pipelines say of them; the numbers of their runs."""
    ids = [one.pipeline_id for one in asked]
    source, destination = connections.alias("source"), connections.alias("destination")
    about = {
        row.id: row
        for row in connection.execute(
            sa.select(
                pipelines_table.c.id,
                pipelines_table.c.priority,
                pipelines_table.c.source_id,
                source.c.type,
                destination.c.load_schedule,
            )
            .join(source, source.c.id == pipelines_table.c.source_id)
            .join(destination, destination.c.id == pipelines_table.c.destination_id)
            .where(pipelines_table.c.id.in_(ids))
        )
    }
    kinds = records.following_kinds(connection, ids)
    wanted = [_wanted(one, about[one.pipeline_id], kinds[one.pipeline_id][0]) for one in asked]
    return tasks.put(connection, wanted, now)


def _wanted(asked: Asked, about: Any, following: RunKind) -> Wanted:
    arguments = dict(asked.arguments)
    run_kind: RunKind = "LOAD"
    if asked.kind == "resync":
        run_kind = RESYNCS[str(arguments.get("mode", "evolve-and-merge"))]
    elif asked.kind == "run":
        run_kind = "HISTORICAL" if "historical" in arguments.get("lanes", ()) else following
        if about.load_schedule is not None:
            # Loads have a schedule of their own at this destination.
            arguments["loading"] = False
    rank = asked.rank
    if rank is None:
        rank = tasks.NEW if run_kind in ("INCREMENTAL", "LOAD") else tasks.HISTORY
    shared = asked.kind == "load" or registry.source(about.type).spreads
    exclusive = None if shared else about.source_id
    return Wanted(asked.pipeline_id, asked.kind, run_kind, asked.trigger, arguments, about.priority, rank, exclusive)


def cancel(home: Home, job: str | int) -> Job:
    """The job ends: at once where it waits, at its next commit where it goes on. What was committed stays.

    One that has ended stays as it is. Raises ConfigError for a run that somebody started by hand elsewhere.
    """
    home.actor.must("pipelines.edit")
    found = find(home, job)
    now = home.database.now()
    with home.database.transaction() as connection:
        row = connection.execute(sa.select(runs).where(runs.c.id == found.run.id)).one()
        ends = row.status == "QUEUED" and bool(tasks.drop_waiting(connection, row.pipeline_id, now, run=row.id))
        if not ends and row.status in ACTIVE:
            task = connection.execute(sa.select(tasks_table.c.id).where(tasks_table.c.run_id == row.id)).first()
            if task is None:
                raise ConfigError(
                    f"job {row.id} of pipeline {found.run.pipeline} was started by hand, not by the service",
                    hint="End it where it was started, with Ctrl-C: it stops at its next commit.",
                    code="by_hand",
                )
            wish = {"cancel_at": row.cancel_at or now, "status": "CANCELLING"}
            # It may have ended a moment ago.
            mine = sa.update(runs).where(runs.c.id == row.id, runs.c.ended_at.is_(None))
            ends = connection.execute(mine.values(wish)).rowcount == 1 and row.cancel_at is None
        if ends:
            entity = Entity("pipeline", row.pipeline_id, found.run.pipeline)
            told = f"job {row.id} of {found.run.pipeline} was cancelled"
            wrote(home, "MEDIUM", entity, "cancel", told, run_id=row.id)
    return find(home, found.run.id)


def retry(home: Home, job: str | int) -> Job:
    """What a job that failed, was cancelled or left something was about, once more, from the last commit on."""
    home.actor.must("pipelines.edit")
    found = find(home, job)
    if found.run.status in ACTIVE or found.run.status in ("COMPLETED", "SKIPPED"):
        raise ConfigError(
            f"job {found.run.id} is {found.run.status.lower().replace('_', ' ')}: there is nothing to try again",
            code="wrong_state",
        )
    bad = [one.stream for one in found.objects if not one.status.startswith("COMPLETED")]
    only = bad if bad and len(bad) < len(found.objects) else ()
    kind: tasks.Kind = "load" if found.run.kind == "LOAD" else "run"
    return start(home, found.run.pipeline, only=only if kind == "run" else (), kind=kind)


def restart_object(home: Home, job: str | int, stream: str) -> Job:
    """A historical job of one object of the job alone, from its beginning (pipelines.md 19.8)."""
    home.actor.must("pipelines.edit")
    found = find(home, job)
    if stream not in {one.stream for one in found.objects}:
        raise ConfigError(f"job {found.run.id} was not about an object {stream!r}", code="unknown_object")
    lanes = ("incremental", "historical")
    return start(home, found.run.pipeline, only=[stream], lanes=lanes, trigger="RESTART")


def _asked(home: Home) -> Trigger:
    return "API" if home.actor.kind == "key" else "MANUAL"


def _query() -> sa.Select[Any]:
    source, destination = connections.alias("source"), connections.alias("destination")
    return (
        sa.select(
            runs,
            pipelines_table.c.number,
            source.c.type.label("source_type"),
            destination.c.name.label("destination"),
        )
        .join(pipelines_table, pipelines_table.c.id == runs.c.pipeline_id)
        .join(source, source.c.id == pipelines_table.c.source_id)
        .join(destination, destination.c.id == pipelines_table.c.destination_id)
    )


def _jobs(connection: sa.Connection, rows: Sequence[Any], *, whole: bool = False) -> list[Job]:
    ids = [row.id for row in rows]
    record = {one.id: one for one in records.of(connection, ids)}
    objects = run_objects.of(connection, ids)
    latency = _latencies(connection, ids)
    return [
        Job(
            job_id=row.job_id,
            run=record[row.id],
            pipeline_number=row.number,
            source_type=row.source_type,
            destination=row.destination,
            trigger=row.trigger,
            stage=row.stage,
            requested_at=row.requested_at,
            began_at=None if row.status in ("QUEUED", "SKIPPED") and row.stage is None else row.started_at,
            ingested_at=row.ingested_at,
            beat_at=row.beat_at,
            meter=row.meter,
            latency=latency.get(row.id),
            object_counts=_counted(objects.get(row.id, ())),
            objects=tuple(objects.get(row.id, ())) if whole else (),
        )
        for row in rows
    ]


def _counted(rows: Sequence[ObjectRow]) -> dict[str, int]:
    found = Counter({"success": 0, "queued": 0, "skipped": 0, "failed": 0})
    for row in rows:
        found[OUTCOMES.get(row.status, "success" if row.status.startswith("COMPLETED") else "failed")] += row.ended
        found["queued"] += not row.ended
    return dict(found)


def _latencies(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Latency]:
    s = segments.c
    took = sa.cast(s.loaded_at, sa.BigInteger) - sa.cast(s.staged_at, sa.BigInteger)
    query = (
        sa.select(s.run_id, sa.func.min(took), sa.func.avg(took), sa.func.max(took))
        .where(s.run_id.in_(ids), s.loaded_at.is_not(None))
        .group_by(s.run_id)
    )
    return {
        run: Latency(int(least) // 1000, int(mean) // 1000, int(most) // 1000)
        for run, least, mean, most in connection.execute(query)
    }
