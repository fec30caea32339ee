"""What runs tell people when they end: failures and whose they are, recovery, changes of tables, loads."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.activity import Entity
from millrace.control.alerting import alert_events
from millrace.control.alerting.alert_events import Code, Event, Severity
from millrace.control.database.tables import connections, mappings, pipelines, run_counts, run_objects, runs
from millrace.control.database.telling_tables import alert_channels
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, DataError, Transient

if TYPE_CHECKING:
    from millrace.control.books.records import Noted, RunStatus
    from millrace.errors import Problem

Side: TypeAlias = Literal["source", "destination", "neither"]

# The innermost of these packages that an error came through says whose it is.
_SIDES: Mapping[str, Side] = {
    "millrace.sources": "source",
    "millrace.destinations": "destination",
    "millrace.engine.stage": "neither",
    "millrace.engine.steps": "neither",
    "millrace.engine.python": "neither",
    "millrace.engine.blocks": "neither",
}

# Where none of them is on the way: what connectors are made of. A source that reads a database is itself on the way.
_SHARED: Mapping[str, Side] = {"millrace.connect.http": "source", "millrace.connect.sql": "destination"}

# Where these are not either, the half of the sync decides.
_HALVES: Mapping[str, Side] = {"millrace.engine.load": "destination", "millrace.engine.ingest": "source"}

# What sources note of logs that are cut before they are read.
_NOTED: Mapping[str, Code] = {
    "log_retention_risk": "LOG_RETENTION_RISK",
    "log_expired": "LOG_EXPIRED",
    "table_dropped": "TABLE_DROPPED",
}

_OF_LOGS: Sequence[Code] = ("LOG_RETENTION_RISK", "LOG_EXPIRED")

# A source that puts a pipeline off for so long is worth a word.
LONG_LIMITED_H = 24


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended. ``problem`` has no secret in it; ``side``: whose fault it was."""

    run_id: int
    status: RunStatus
    notes: Sequence[Noted] = ()
    problem: Problem | None = None
    side: Side = "neither"
    severity: Severity = "ERROR"


def side_of(error: BaseException) -> Side:
    """Whose error it is: where it was raised, as far as that can be told."""
    names = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    for known in (_SIDES, _SHARED, _HALVES):
        for name in reversed(names):
            for package, side in known.items():
                if name == package or name.startswith(f"{package}."):
                    return side
    return "neither"


def severity_of(error: BaseException) -> Severity:
    """Only a person can mend settings; time mends the rest, or it is our fault."""
    if isinstance(error, (ConfigError, DataError)):
        return "CRITICAL"
    return "WARNING" if isinstance(error, Transient) else "ERROR"


def ended(connection: sa.Connection, end: Ended) -> None:
    """What there is to tell of the run, in the transaction in which it ended."""
    run = connection.execute(
        sa.select(runs.c.kind, runs.c.started_at, pipelines)
        .join(pipelines, pipelines.c.id == runs.c.pipeline_id)
        .where(runs.c.id == end.run_id)
    ).one_or_none()
    if run is None or end.status in ("CANCELLED", "SKIPPED"):
        return
    pipeline = Entity("pipeline", run.id, run.name)
    if end.status == "FAILED":
        _failed(connection, run, pipeline, end)
    else:
        _worked(connection, run, pipeline, end)
    _noted(connection, run, pipeline, end)
    _tables(connection, run, pipeline, end.run_id)
    _loads(connection, run, end)


def failed(connection: sa.Connection, run_id: int, problem: Problem) -> None:
    """A run failed without a word of its own: its worker died, or it could not even begin."""
    ended(connection, Ended(run_id, "FAILED", problem=problem))


def _failed(connection: sa.Connection, run: Any, pipeline: Entity, end: Ended) -> None:
    problem = end.problem
    code: Code = "JOB_FAILED"
    entity, whose = pipeline, f"pipeline {pipeline.name}"
    if end.side == "source":
        code, whose = "SOURCE_FAILED", f"the source of pipeline {pipeline.name}"
    elif end.side == "destination":
        code, entity = "DEST_FAILED", _destination(connection, run)
        whose = f"destination {entity.name}"
    said = problem.message if problem else "it ended without a word"
    body = [f"Job {end.run_id} of pipeline {pipeline.name}: {said.rstrip('.')}."]
    body += [problem.hint] if problem and problem.hint else []
    body.append("What was committed before is safe.")
    facts: dict[str, Any] = {"pipeline": pipeline.name, "run": end.run_id, "kind": run.kind}
    facts["error"] = problem.code if problem else None
    alert_events.tell(
        connection,
        run.team_id,
        Event(
            code,
            entity,
            f"{whose[0].upper()}{whose[1:]} failed",
            "\n".join(body),
            cause=problem.code if problem else "",
            severity=end.severity,
            facts=facts,
            run_id=end.run_id,
        ),
    )


def _worked(connection: sa.Connection, run: Any, pipeline: Entity, end: Ended) -> None:
    """What went wrong before is over; what a part of the objects meets is told."""
    objects = connection.execute(
        sa.select(run_objects.c.stream, run_objects.c.error).where(
            run_objects.c.run_id == end.run_id, run_objects.c.status == "FAILED"
        )
    ).all()
    for one in objects:
        said = (one.error or {}).get("message", "it could not be read")
        facts = {"pipeline": pipeline.name, "object": one.stream, "run": end.run_id}
        title = f"Object {one.stream} of pipeline {pipeline.name} failed"
        event = Event(
            "OBJECT_FAILED",
            pipeline,
            title,
            f"Job {end.run_id}: {said.rstrip('.')}.",
            one.stream,
            None,
            facts,
            end.run_id,
        )
        alert_events.tell(connection, run.team_id, event)
    reads = run.kind != "LOAD"
    splits = connection.execute(
        sa.select(connections.c.load_schedule).where(connections.c.id == run.destination_id)
    ).scalar()
    over: list[Code] = ["JOB_FAILED"]
    if reads:
        over.append("SOURCE_FAILED")
        if not objects:
            over.append("OBJECT_FAILED")
        if not end.status.startswith("DEFERRED"):
            over.append("RATE_LIMITED_LONG")
        noted = {_NOTED.get(note.code) for note in end.notes}
        over.extend(code for code in _OF_LOGS if code not in noted)
    alert_events.over(connection, run.team_id, pipeline, over, run_id=end.run_id)
    if splits is None or not reads:
        alert_events.over(connection, run.team_id, _destination(connection, run), ["DEST_FAILED"], run_id=end.run_id)
    if end.status.startswith("DEFERRED"):
        _limited(connection, run, pipeline, end)


def _limited(connection: sa.Connection, run: Any, pipeline: Entity, end: Ended) -> None:
    """The source has put the pipeline off again and again for a day."""
    mine = (runs.c.pipeline_id == run.id, runs.c.kind.in_(("HISTORICAL", "INCREMENTAL")), runs.c.ended_at.is_not(None))
    good = sa.select(sa.func.max(runs.c.ended_at)).where(*mine, runs.c.status.not_like("DEFERRED%"))
    last_good: datetime | None = connection.execute(good).scalar()
    first = sa.select(sa.func.min(runs.c.ended_at)).where(*mine, runs.c.status.like("DEFERRED%"))
    if last_good is not None:
        first = first.where(runs.c.ended_at > last_good)
    since: datetime | None = connection.execute(first).scalar()
    now: datetime | None = connection.execute(sa.select(runs.c.ended_at).where(runs.c.id == end.run_id)).scalar()
    if since is None or now is None or (now - since).total_seconds() < LONG_LIMITED_H * 3600:
        return
    body = f"Every run since {since:%Y-%m-%d %H:%M} UTC met a limit of the source. What was read is loaded."
    title = f"Pipeline {pipeline.name} has been held back by its source for over {LONG_LIMITED_H} hours"
    alert_events.tell(connection, run.team_id, Event("RATE_LIMITED_LONG", pipeline, title, body, run_id=end.run_id))


def _noted(connection: sa.Connection, run: Any, pipeline: Entity, end: Ended) -> None:
    for note in end.notes:
        if (code := _NOTED.get(note.code)) is None:
            continue
        titles = {
            "LOG_RETENTION_RISK": f"The log of pipeline {pipeline.name} may be cut before it is read",
            "LOG_EXPIRED": f"The log of pipeline {pipeline.name} was cut before it was read",
            "TABLE_DROPPED": f"A table of pipeline {pipeline.name} was dropped at the destination",
        }
        event = Event(code, pipeline, titles[code], f"{note.message}.", run_id=end.run_id)
        alert_events.tell(connection, run.team_id, event)


def _tables(connection: sa.Connection, run: Any, pipeline: Entity, run_id: int) -> None:
    """Versions of mappings that the run found by itself."""
    m = mappings.c
    found = connection.execute(
        sa.select(m.stream, m.version, m.mapping)
        .where(m.pipeline_id == run.id, m.created_at >= run.started_at, m.author.is_(None))
        .order_by(m.stream, m.version)
    ).all()
    if not found or run.kind == "HISTORICAL":
        return  # of a first run everything is new
    # Imported here: the usual run changes nothing.
    from millrace.control.mapper.mapping_versions import differences
    from millrace.engine.mapping import Mapping as Shape

    for row in found:
        earlier = sa.select(m.mapping).where(m.pipeline_id == run.id, m.stream == row.stream, m.version < row.version)
        before = connection.execute(earlier.order_by(m.version.desc()).limit(1)).scalar()
        changes = differences(Shape.from_json(before) if before else None, Shape.from_json(row.mapping))
        if not changes:
            continue
        code: Code = "SCHEMA_CHANGED"
        if any((one.after or "").startswith("no column") for one in changes):
            code = "SCHEMA_CHANGE_BLOCKED"
        elif before and any(one.what.startswith("field ") and one.before and one.after for one in changes):
            code = "COLUMN_RESIZED"
        lines = [f"{one.what}: {one.before or 'not there'} -> {one.after or 'not there'}" for one in changes]
        facts: dict[str, Any] = {"pipeline": pipeline.name, "object": row.stream, "version": row.version}
        title = f"{row.stream} of pipeline {pipeline.name} has changed" if before else (
            f"{row.stream} is new in pipeline {pipeline.name}"
        )  # fmt: skip
        event = Event(code, pipeline, title, "\n".join(lines), row.stream, None, facts, run_id)
        alert_events.tell(connection, run.team_id, event)


def _loads(connection: sa.Connection, run: Any, end: Ended) -> None:
    """Loads are told where a channel wants them (api.md D)."""
    if end.status == "FAILED" and end.side != "destination":
        return
    if not _wants_loads(connection, run.team_id):
        return
    r = run_counts.c
    mine = (r.run_id == end.run_id, r.kind == "load", r.name == "rows")
    rows = connection.execute(sa.select(sa.func.sum(r.n)).where(*mine)).scalar()
    if not rows and end.status != "FAILED":
        return
    names = connection.execute(sa.select(run_objects.c.tables).where(run_objects.c.run_id == end.run_id)).scalars()
    tables: Iterable[str] = sorted({name for one in names for name in one})
    destination = _destination(connection, run)
    number = connection.execute(sa.select(connections.c.number).where(connections.c.id == destination.id)).scalar()
    facts: dict[str, Any] = {"destination_id": number, "tables": list(tables), "rows": int(rows or 0)}
    facts |= {"pipeline": run.name, "run": end.run_id}
    failed = end.status == "FAILED"
    title = f"Job {end.run_id} of pipeline {run.name} " + (
        "could not load" if failed else f"loaded {int(rows or 0):,} rows"
    )
    body = end.problem.message if failed and end.problem else ", ".join(tables)
    code: Code = "LOAD_FAILED" if failed else "LOAD_COMPLETED"
    event = Event(code, destination, title, body, facts=facts, run_id=end.run_id)
    alert_events.tell(connection, run.team_id, event)


def _wants_loads(connection: sa.Connection, team_id: str) -> bool:
    c = alert_channels.c
    found = connection.execute(sa.select(c.wanted).where(c.team_id == team_id, c.enabled)).scalars()
    return any("load" in (wanted.get("categories") or ()) for wanted in found)


def _destination(connection: sa.Connection, run: Any) -> Entity:
    name = connection.execute(sa.select(connections.c.name).where(connections.c.id == run.destination_id)).scalar_one()
    return Entity("destination", run.destination_id, name)
