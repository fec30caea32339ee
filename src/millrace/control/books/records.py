"""What faces show of runs and pipelines: frozen records that turn into JSON. Also the lines of the run log itself."""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import sqlalchemy as sa

from millrace.control.alerting import alert_runs
from millrace.control.books import run_objects
from millrace.control.database.db import Database
from millrace.control.database.tables import cursors, pipelines, run_counts, runs, segments
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Problem

if TYPE_CHECKING:
    from millrace.control.home import Home

RunKind: TypeAlias = Literal[
    "HISTORICAL",
    "INCREMENTAL",
    "RESYNC",
    "RESYNC_WITH_DROP_AND_LOAD",
    "REFRESHER",
    "LOAD",
    "REPLAY",
    "RAW_REPLAY",
    "REREAD",
]
RunStatus: TypeAlias = Literal[
    "QUEUED",
    "IN_PROGRESS",
    "CANCELLING",
    "COMPLETED",
    "COMPLETED_WITH_FAILURES",
    "FAILED",
    "CANCELLED",
    "SKIPPED",
    "DEFERRED",
    "DEFERRED_WITH_FAILURES",
]
# What people read in the log of activity.
DOES: Mapping[RunKind, str] = {
    "HISTORICAL": "history",
    "INCREMENTAL": "what is new",
    "RESYNC": "history again",
    "RESYNC_WITH_DROP_AND_LOAD": "history again, into fresh tables",
    "REFRESHER": "late events",
    "LOAD": "load alone",
    "REPLAY": "failed events again",
    "RAW_REPLAY": "kept rows again",
    "REREAD": "chosen days again",
}
ENDED: Mapping[str, str] = {
    "COMPLETED": "is completed",
    "COMPLETED_WITH_FAILURES": "is completed, with failed events",
    "FAILED": "failed",
    "CANCELLED": "was cancelled",
    "SKIPPED": "was skipped",
    "DEFERRED": "goes on later",
    "DEFERRED_WITH_FAILURES": "goes on later, with failed events",
}


class Noted(Protocol):
    """A word to the user about a run (`millrace.connect.source.Note` is one)."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def level(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Remark:
    """A word to the user about a run, as it was kept."""

    code: str
    message: str
    level: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the rows that a run read (I5).

    ``created``: rows that transformations and the splitting of nested values made beside those read. ``rejected`` by
    `stage/CODE`; ``dropped``: staged, then given up by a resync or reset before they were loaded; ``waiting``: on the
    stage. ``staged`` is the sum of what was put there.
    """

    read: int = 0
    loaded: int = 0
    filtered: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    dropped: int = 0
    waiting: int = 0
    staged: int = 0
    created: int = 0

    @property
    def rejected_rows(self) -> int:
        return sum(self.rejected.values())

    @property
    def filtered_rows(self) -> int:
        return sum(self.filtered.values())

    @property
    def even(self) -> bool:
        """Every row read or created is accounted for."""
        gone = self.loaded + self.filtered_rows + self.rejected_rows + self.dropped + self.waiting
        return self.read + self.created == gone


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. ``noted`` is what the source counted beside; ``load`` what this run's own loads did."""

    id: int
    pipeline: str
    kind: RunKind
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None
    balance: Balance
    streams: Mapping[str, Balance]
    noted: Mapping[str, int]
    load: Mapping[str, int]
    notes: tuple[Remark, ...]
    error: Problem | None


def begin_run(
    database: Database, pipeline_id: str, kind: RunKind, *, job: int | None = None, trigger: str = "MANUAL"
) -> int:
    """A run is in progress; its number. The caller holds the pipeline's lease.

    ``job``: the number of a run that was queued, or that an earlier worker left; it goes on under its number and, once
    begun, its kind. Raises ConfigError "unknown_pipeline" where that is one of another pipeline.
    """
    now = datetime.now(UTC)
    with database.joining() as connection:
        if job is not None:
            mine = (runs.c.id == job, runs.c.pipeline_id == pipeline_id)
            queued = connection.execute(sa.select(runs.c.stage).where(*mine)).one_or_none()
            if queued is None:
                # The name by which its pipeline was found is that of another one by now.
                raise ConfigError(
                    f"job {job} is of another pipeline", hint="It waits for a worker.", code="unknown_pipeline"
                )
            fresh = {"kind": kind, "started_at": now} if queued.stage is None else {}
            values = {"status": "IN_PROGRESS", "stage": "INGESTING", "ended_at": None, "error": None, **fresh}
            connection.execute(sa.update(runs).where(runs.c.id == job).values(values))
            return job
        row = {
            "pipeline_id": pipeline_id,
            "kind": kind,
            "status": "IN_PROGRESS",
            "started_at": now,
            "notes": [],
            "error": None,
            "job_id": str(uuid.uuid4()),
            "trigger": trigger,
            "stage": "INGESTING",
            "requested_at": now,
        }
        inserted = connection.execute(sa.insert(runs).values(row))
        assert inserted.inserted_primary_key is not None
        return inserted.inserted_primary_key[0]


def skip_run(connection: sa.Connection, pipeline_id: str, at: datetime) -> None:
    """A run was due and was left out, because one went on; nothing makes up for it."""
    kind, _ = following(connection, pipeline_id)
    row = {"pipeline_id": pipeline_id, "kind": kind, "status": "SKIPPED", "started_at": at, "ended_at": at}
    row |= {"notes": [], "error": None, "job_id": str(uuid.uuid4()), "trigger": "SCHEDULE", "requested_at": at}
    connection.execute(sa.insert(runs).values(row))


def of(connection: sa.Connection, run_ids: Sequence[int]) -> list[RunRecord]:
    """The runs of these numbers."""
    return _records(connection, sa.select(runs).where(runs.c.id.in_(run_ids)))


def kind_of(database: Database, run_id: int) -> RunKind | None:
    """What the run is, once it has begun; None before."""
    with database.reading() as connection:
        row = connection.execute(sa.select(runs.c.kind, runs.c.stage).where(runs.c.id == run_id)).one_or_none()
    return row.kind if row is not None and row.stage is not None else None


def end_run(
    database: Database,
    run_id: int,
    status: RunStatus,
    *,
    notes: Iterable[Noted] = (),
    error: Problem | None = None,
) -> None:
    """The run has ended so, and its objects say so. Texts must hold no secret any more (I7)."""
    said = [{"code": note.code, "message": note.message, "level": note.level} for note in notes]
    with database.joining() as connection:
        connection.execute(
            sa.update(runs)
            .where(runs.c.id == run_id)
            .values(
                status=status,
                stage="DONE",
                ended_at=datetime.now(UTC),
                notes=said,
                error=None if error is None else dataclasses.asdict(error),
            )
        )
        pipeline = connection.execute(sa.select(runs.c.pipeline_id).where(runs.c.id == run_id)).scalar()
        if pipeline is not None:
            run_objects.settle(connection, pipeline, run_id, failed=status == "FAILED")


def cancel_wished(database: Database, run_id: int) -> bool:
    """Somebody asked that the run ends."""
    with database.reading() as connection:
        return connection.execute(sa.select(runs.c.cancel_at).where(runs.c.id == run_id)).scalar() is not None


def end_interrupted(database: Database, pipeline_id: str, *, but: int | None = None) -> list[int]:
    """Runs of the pipeline that a dead process left in progress have failed, ``but`` the one that goes on.

    The caller holds the lease, and has not begun its own run yet.
    """
    error = Problem(
        "interrupted",
        "the process of this run ended without a word (killed, or the machine went down)",
        "Nothing is lost: the next run goes on from the last commit.",
    )
    mine = [runs.c.pipeline_id == pipeline_id, runs.c.status.in_(["IN_PROGRESS", "CANCELLING"])]
    if but is not None:
        mine.append(runs.c.id != but)
    with database.joining() as connection:
        found = list(connection.execute(sa.select(runs.c.id).where(*mine)).scalars())
        if not found:
            return []
        connection.execute(
            sa.update(runs)
            .where(*mine)
            .values(status="FAILED", stage="DONE", ended_at=datetime.now(UTC), error=dataclasses.asdict(error))
        )
        for run in found:
            run_objects.settle(connection, pipeline_id, run, failed=True)
            alert_runs.failed(connection, run, error)
    return found


def following(connection: sa.Connection, pipeline_id: str) -> tuple[RunKind, list[str]]:
    """What kind of run comes next, and of which objects (none named: all that are selected).

    One over the history comes again until it ends well. Where a limit left some objects of it, these alone are read
    (pipelines.md 19.7).
    """
    kind, last = following_kinds(connection, [pipeline_id])[pipeline_id]
    return kind, [] if last is None else run_objects.deferred(connection, last)


def following_kinds(connection: sa.Connection, pipeline_ids: Sequence[str]) -> dict[str, tuple[RunKind, int | None]]:
    """What kind of run comes next for each of the pipelines, and the run over the history that a limit ended."""
    begun = sa.select(cursors.c.pipeline_id).where(cursors.c.pipeline_id.in_(pipeline_ids)).distinct()
    started = set(connection.execute(begun).scalars())
    own = runs.alias("own")
    newest = (
        sa.select(sa.func.max(own.c.id))
        .where(
            own.c.pipeline_id == pipelines.c.id,
            own.c.kind.in_(("HISTORICAL", "INCREMENTAL")),
            own.c.status.not_in(("QUEUED", "IN_PROGRESS", "CANCELLING", "SKIPPED")),
        )
        .scalar_subquery()
    )
    latest = sa.select(newest).where(pipelines.c.id.in_(started))
    query = sa.select(runs.c.id, runs.c.pipeline_id, runs.c.kind, runs.c.status).where(runs.c.id.in_(latest))
    last = {row.pipeline_id: row for row in connection.execute(query)}
    found: dict[str, tuple[RunKind, int | None]] = {}
    for one in pipeline_ids:
        run = last.get(one)
        if one not in started:
            found[one] = ("HISTORICAL", None)
        elif run is None or run.kind == "INCREMENTAL" or run.status.startswith("COMPLETED"):
            found[one] = ("INCREMENTAL", None)
        else:
            found[one] = ("HISTORICAL", run.id if run.status.startswith("DEFERRED") else None)
    return found


def has_ended(database: Database, pipeline_id: str) -> bool:
    """A run of the pipeline came to its end before."""
    ended = runs.c.status.in_(("COMPLETED", "COMPLETED_WITH_FAILURES"))
    with database.reading() as connection:
        query = sa.select(runs.c.id).where(runs.c.pipeline_id == pipeline_id, ended).limit(1)
        return connection.execute(query).first() is not None


def run_record(home: Home, run_id: int) -> RunRecord:
    """One run. Raises ConfigError when there is none of that number."""
    home.actor.must("view")
    with home.database.reading() as connection:
        ours = pipelines.c.team_id == home.actor.team_id
        found = _records(connection, sa.select(runs).join(pipelines).where(runs.c.id == run_id, ours))
    if not found:
        raise ConfigError(f"there is no run {run_id}", hint="See `millrace runs`.", code="unknown_run")
    return found[0]


def run_records(
    home: Home, pipeline: str | None = None, *, limit: int = 50, before: int | None = None
) -> list[RunRecord]:
    """The latest runs, of one pipeline by name or of all, the newest first; with ``before``, those before that one."""
    home.actor.must("view")
    query = sa.select(runs).join(pipelines).where(pipelines.c.team_id == home.actor.team_id)
    if pipeline is not None:
        query = query.where(pipelines.c.name == pipeline)
    if before is not None:
        query = query.where(runs.c.id < before)
    query = query.order_by(runs.c.id.desc()).limit(limit)
    with home.database.reading() as connection:
        return _records(connection, query)


def latest_runs(connection: sa.Connection, pipeline_ids: Sequence[str]) -> dict[str, RunRecord]:
    """The latest run of each pipeline that has one, by the pipeline's name."""
    # One look into the index for each pipeline, however many runs there are.
    own = runs.alias("own")
    newest = sa.select(sa.func.max(own.c.id)).where(own.c.pipeline_id == pipelines.c.id).scalar_subquery()
    latest = sa.select(newest).where(pipelines.c.id.in_(pipeline_ids))
    return {record.pipeline: record for record in _records(connection, sa.select(runs).where(runs.c.id.in_(latest)))}


def to_json(record: Any) -> Any:
    """The record in JSON's own values: dataclasses as objects, moments as ISO 8601 UTC, with their properties."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        named = {field.name: to_json(getattr(record, field.name)) for field in dataclasses.fields(record)}
        derived = [name for name, value in vars(type(record)).items() if isinstance(value, property)]
        return named | {name: to_json(getattr(record, name)) for name in derived}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple, set, frozenset)):
        return [to_json(value) for value in record]
    if isinstance(record, datetime):
        return record.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return record


def _records(connection: sa.Connection, query: sa.Select[Any]) -> list[RunRecord]:
    found = connection.execute(query).all()
    ids = [row.id for row in found]
    theirs = pipelines.c.id.in_({row.pipeline_id for row in found})
    named = {row.id: row.name for row in connection.execute(sa.select(pipelines.c.id, pipelines.c.name).where(theirs))}
    counted = connection.execute(sa.select(run_counts).where(run_counts.c.run_id.in_(ids))).all()
    waiting = connection.execute(
        sa.select(segments.c.run_id, segments.c.stream, sa.func.sum(segments.c.rows).label("rows"))
        .where(segments.c.run_id.in_(ids), segments.c.state == "staged")
        .group_by(segments.c.run_id, segments.c.stream)
    ).all()
    numbers: dict[int, Counter[tuple[str, str, str]]] = {run: Counter() for run in ids}
    for row in counted:
        numbers[row.run_id][row.stream, row.kind, row.name] += row.n
    for row in waiting:
        numbers[row.run_id][row.stream, "waiting", ""] += int(row.rows)
    return [_record(row, named[row.pipeline_id], numbers[row.id]) for row in found]


def _record(row: Any, pipeline: str, numbers: Counter[tuple[str, str, str]]) -> RunRecord:
    def of(kind: str, stream: str | None = None) -> dict[str, int]:
        found: Counter[str] = Counter()
        for (where, what, name), n in sorted(numbers.items()):
            if what == kind and stream in (None, where) and n:
                found[name] += n
        return dict(found)

    def balance(stream: str | None = None) -> Balance:
        return Balance(
            read=of("read", stream).get("", 0),
            loaded=of("loaded", stream).get("", 0),
            filtered=of("filtered", stream),
            rejected=of("rejected", stream),
            dropped=of("dropped", stream).get("", 0),
            waiting=of("waiting", stream).get("", 0),
            staged=of("staged", stream).get("", 0),
            created=of("created", stream).get("", 0),
        )

    return RunRecord(
        id=row.id,
        pipeline=pipeline,
        kind=row.kind,
        status=row.status,
        started_at=row.started_at,
        ended_at=row.ended_at,
        balance=balance(),
        streams={stream: balance(stream) for stream in sorted({stream for stream, _, _ in numbers})},
        noted=of("noted"),
        load=of("load"),
        notes=tuple(Remark(**note) for note in row.notes),
        error=Problem(**row.error) if row.error else None,
    )
