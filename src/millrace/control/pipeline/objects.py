"""Objects of a pipeline: the streams it has met, what people decide for each, and what is done with them.

What a status means: pipelines.md 5.2; what may be done with an object in which state: 9.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.connect.log import LOG
from millrace.control.database.db import Database, upsert
from millrace.control.database.tables import cursors, mappings, object_settings, run_objects, runs, slots, tasks
from millrace.control.pipeline.query_modes import QueryMode, chosen
from millrace.control.running import loading_statuses
from millrace.control.running.loading_statuses import LoadingStatus
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.connect.source import Stream
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline

ObjectState: TypeAlias = Literal["ACTIVE", "PAUSED", "SKIPPED"]
IngestionStatus: TypeAlias = Literal[
    "INIT",
    "SCHEDULED",
    "QUEUED",
    "STREAMING",
    "BOOTSTRAPPING",
    "PAUSED",
    "SKIPPED",
    "AWAITING_MAPPING",
    "NOT_INCLUDED",
    "HISTORICAL_LOAD_FINISHED",
    "DEFERRED",
    "FINISHED",
    "PERMISSION_DENIED",
    "LOG_EXPIRED",
    "FAILED",
]
Category: TypeAlias = Literal["ALL", "ACTIVE", "PAUSED", "FAILED", "SKIPPED"]

# What codes of errors mean for an object: the credentials may not read it; its changes are lost.
_FAILURES: Mapping[str, IngestionStatus] = {
    "auth": "PERMISSION_DENIED",
    "forbidden": "PERMISSION_DENIED",
    "PERMISSION_DENIED": "PERMISSION_DENIED",
    "log_expired": "LOG_EXPIRED",
}
FAILED: tuple[IngestionStatus, ...] = ("FAILED", *dict.fromkeys(_FAILURES.values()))

AT_WORK = ("IN_PROGRESS", "CANCELLING")


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a pipeline. ``status`` is about reading, ``loading`` about its own table.

    ``seen_at``: when the source last offered it; None: it never did. Once the source offers it no more its status is
    FINISHED, as it is not read again.
    """

    pipeline: str
    name: str
    state: ObjectState
    status: IngestionStatus
    loading: LoadingStatus
    historical: bool
    key: tuple[str, ...]
    load_mode: str
    query_mode: JSON
    schedule: JSON
    history: float | None
    positions: dict[str, JSON]
    last_ingested_at: datetime | None
    held_until: datetime | None
    last_error: JSON
    seen_at: datetime | None


def seen(database: Database, pipeline_id: str, offered: Iterable[Stream]) -> None:
    """The source offers these streams; those that nobody met before are active, and others that it had are gone."""
    from millrace.control.pipeline import pipelines

    now = datetime.now(UTC)
    offered = list(offered)
    mine = object_settings.c.pipeline_id == pipeline_id
    with database.joining() as connection:
        # What people decide for objects meanwhile comes before or after.
        pipelines.held(connection, pipeline_id)
        known = {row.stream: row for row in connection.execute(sa.select(object_settings).where(mine))}
        rows = [
            {
                "pipeline_id": pipeline_id,
                "stream": stream.name,
                "state": known[stream.name].state if stream.name in known else "ACTIVE",
                "historical": stream.historical,
                "key": list(stream.key),
                "query_mode": known[stream.name].query_mode if stream.name in known else None,
                "schedule": known[stream.name].schedule if stream.name in known else None,
                "seen_at": now,
                "changed_at": known[stream.name].changed_at if stream.name in known else now,
                "gone_at": None,
            }
            for stream in offered
        ]
        if not all(_same(row, known.get(row["stream"])) for row in rows):
            upsert(connection, object_settings, rows, key=["pipeline_id", "stream"])
        had = {name for name, row in known.items() if row.seen_at is not None and row.gone_at is None}
        if gone := had - {stream.name for stream in offered}:
            here = (mine, object_settings.c.stream.in_(gone))
            connection.execute(sa.update(object_settings).where(*here).values(gone_at=now))


def resting(database: Database, pipeline_id: str) -> frozenset[str]:
    """Streams that the pipeline does not read: paused, skipped, or on a schedule of their own."""
    o = object_settings.c
    query = sa.select(o.stream, o.state, o.schedule).where(o.pipeline_id == pipeline_id)
    with database.reading() as connection:
        return frozenset(
            row.stream for row in connection.execute(query) if row.state != "ACTIVE" or row.schedule is not None
        )


def listed(
    home: Home, pipeline: str, *, category: Category = "ALL", query_mode: QueryMode | None = None
) -> list[Object]:
    """The objects of a pipeline that are known, by name. ``category`` and ``query_mode`` leave out the others."""
    from millrace.control.pipeline import pipelines

    found = pipelines.find(home, pipeline)
    now = home.database.now()
    with home.database.reading() as connection:
        every = _objects(connection, found, now)
    if query_mode is not None:
        every = [one for one in every if chosen(one.query_mode) == query_mode]
    if category == "ALL":
        return every
    if category == "ACTIVE":
        return [one for one in every if one.state == "ACTIVE"]
    if category == "SKIPPED":
        return [one for one in every if one.state == "SKIPPED"]
    return [one for one in every if one.status == category or (category == "FAILED" and one.status in FAILED)]


def find(home: Home, pipeline: str, name: str) -> Object:
    """The object of that name, whatever the case of its letters. Raises ConfigError when the pipeline has none."""
    return named(by_name(listed(home, pipeline)), pipeline, name)


def by_name(every: Sequence[Object]) -> dict[str, Object]:
    """The objects as `named` finds them; of those that only the case of letters tells apart, the first."""
    return {one.name.lower(): one for one in reversed(every)}


def named(known: Mapping[str, Object], pipeline: str, name: str) -> Object:
    """The one of that name, whatever the case of its letters, of all of the pipeline. Raises ConfigError for none."""
    if (found := known.get(name.lower())) is not None:
        return found
    known_names = ", ".join(sorted(one.name for one in known.values()))
    raise ConfigError(
        f"pipeline {pipeline} has no object {name!r}",
        hint=f"Objects: {known_names}." if known else "Its objects are known after the first run, or a refresh.",
        code="unknown_object",
    )


def refresh(home: Home, pipeline: str) -> list[Object]:
    """The source was asked for its objects now. Raises what the source raises."""
    from millrace.control.pipeline import pipelines
    from millrace.control.running import crews

    home.actor.must("pipelines.edit")
    with crews.visit(home, pipeline) as ours:
        seen(home.database, pipelines.find(home, pipeline).id, ours.source().streams())
    return listed(home, pipeline)


def ensure_known(home: Home, pipeline: str) -> None:
    """The objects of a pipeline that never ran are asked for."""
    if not listed(home, pipeline):
        refresh(home, pipeline)


def _same(row: dict[str, Any], known: Any) -> bool:
    return (
        known is not None
        and (known.historical, known.key) == (row["historical"], row["key"])
        and known.seen_at is not None
        and known.gone_at is None
    )


def _objects(connection: sa.Connection, pipeline: Pipeline, now: datetime) -> list[Object]:
    mine = object_settings.c.pipeline_id == pipeline.id
    settings = {row.stream: row for row in connection.execute(sa.select(object_settings).where(mine))}
    at = {}
    for row in connection.execute(sa.select(cursors).where(cursors.c.pipeline_id == pipeline.id)):
        at.setdefault(row.stream, {})[row.lane] = row
    standing = connection.execute(sa.select(slots).where(slots.c.pipeline_id == pipeline.id)).all()
    held = {row.stream: row.held_until for row in standing if row.part in ("run", "object")}
    unmapped = _unmapped(connection, pipeline.id)
    latest = _latest(connection, pipeline.id)
    work = _at_work(connection, pipeline.id)
    shelf = loading_statuses.shelf(connection, pipeline.id)
    # The position in a log is that of no object.
    names = sorted({*settings, *at, *(pipeline.selected or ())} - {LOG})
    found: list[Object] = []
    for name in names:
        own, lanes = settings.get(name), at.get(name, {})
        state: ObjectState = own.state if own is not None else "ACTIVE"
        # Nobody skipped it: it was not chosen, the source has it since then, or it is read only where it is named.
        included = pipeline.selects(name) or state == "SKIPPED"
        if not included:
            state = "SKIPPED"
        until = held.get(name, held.get("")) if state == "ACTIVE" else None
        last = latest.get(name)
        history = lanes["historical"].progress if "historical" in lanes else None
        doing = work.get(name, work.get(""))
        status = _status(state, pipeline.state, doing, last, lanes, until, now, unmapped=name in unmapped)
        if not included:
            status = "NOT_INCLUDED"
        elif state == "ACTIVE" and own is not None and own.gone_at is not None:
            status = "FINISHED"
        found.append(
            Object(
                pipeline=pipeline.name,
                name=name,
                state=state,
                status=status,
                loading=shelf.status(name, doing, last),
                historical=bool(own.historical) if own is not None else "historical" in lanes,
                key=tuple(own.key) if own is not None else (),
                load_mode=pipeline.modes.get(name, pipeline.load_mode),
                query_mode=own.query_mode if own is not None else None,
                schedule=own.schedule if own is not None else None,
                history=history,
                positions={lane: row.cursor for lane, row in lanes.items()},
                last_ingested_at=max((row.committed_at for row in lanes.values()), default=None),
                held_until=until,
                last_error=last.error if last is not None and last.status == "FAILED" else None,
                seen_at=own.seen_at if own is not None else None,
            )
        )
    return found


def _status(
    state: ObjectState,
    pipeline_state: str,
    work: Any,
    last: Any,
    lanes: dict[str, Any],
    held_until: datetime | None,
    now: datetime,
    *,
    unmapped: bool,
) -> IngestionStatus:
    """The status that people see (pipelines.md 5.2, 21)."""
    if state == "SKIPPED":
        return "SKIPPED"
    if state == "PAUSED" or pipeline_state == "PAUSED":
        return "PAUSED"
    if unmapped:
        return "AWAITING_MAPPING"
    if work is not None and work.status in AT_WORK:
        return "BOOTSTRAPPING" if work.kind in ("HISTORICAL", "RESYNC", "RESYNC_WITH_DROP_AND_LOAD") else "STREAMING"
    if work is not None:
        return "QUEUED"
    if last is not None and last.status.startswith("DEFERRED"):
        return "DEFERRED"
    if last is not None and last.status == "FAILED":
        return _FAILURES.get((last.error or {}).get("code", ""), "FAILED")
    if held_until is not None and held_until > now:
        return "DEFERRED"
    if lanes.keys() == {"historical"} and lanes["historical"].progress == 1.0:
        return "HISTORICAL_LOAD_FINISHED"
    return "SCHEDULED" if lanes else "INIT"


def _unmapped(connection: sa.Connection, pipeline_id: str) -> set[str]:
    """Streams whose mapping says that they wait for a person."""
    newest = (
        sa.select(mappings.c.stream, sa.func.max(mappings.c.version).label("version"))
        .where(mappings.c.pipeline_id == pipeline_id)
        .group_by(mappings.c.stream)
        .subquery()
    )
    query = (
        sa.select(mappings.c.stream, mappings.c.mapping)
        .join(newest, sa.and_(newest.c.stream == mappings.c.stream, newest.c.version == mappings.c.version))
        .where(mappings.c.pipeline_id == pipeline_id)
    )
    return {row.stream for row in connection.execute(query) if not row.mapping.get("mapped", True)}


def _latest(connection: sa.Connection, pipeline_id: str) -> dict[str, Any]:
    """What the latest run that had to do with it did with each object."""
    newest = (
        sa.select(run_objects.c.stream, sa.func.max(run_objects.c.run_id).label("run"))
        .join(runs, runs.c.id == run_objects.c.run_id)
        .where(runs.c.pipeline_id == pipeline_id, run_objects.c.status.not_in(("NOT_INITIALIZED", "SKIPPED")))
        .group_by(run_objects.c.stream)
        .subquery()
    )
    query = sa.select(run_objects).join(
        newest, sa.and_(newest.c.stream == run_objects.c.stream, newest.c.run == run_objects.c.run_id)
    )
    return {row.stream: row for row in connection.execute(query)}


def _at_work(connection: sa.Connection, pipeline_id: str) -> dict[str, Any]:
    """The run that waits or goes on, for each object that it is about; under "" for all of them."""
    query = (
        sa.select(runs.c.id, runs.c.kind, runs.c.status, tasks.c.arguments)
        .outerjoin(tasks, tasks.c.run_id == runs.c.id)
        .where(runs.c.pipeline_id == pipeline_id, runs.c.status.in_(("QUEUED", *AT_WORK)))
        .order_by(runs.c.id)
    )
    found: dict[str, Any] = {}
    for row in connection.execute(query):
        names: Sequence[str] = (row.arguments or {}).get("only") or [""]
        for name in names:
            found[name] = row
    return found
