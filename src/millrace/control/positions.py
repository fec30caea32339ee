"""Positions: how far each lane of each stream was read, seen and set by hand, with their history (pipelines.md 9.3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.connect.log import LOG
from millrace.control import leases
from millrace.control.activity import Entity, wrote
from millrace.control.pipelines import find, lease_name
from millrace.control.tables import cursor_history, cursors, marks
from millrace.data.batch import JSON, Lane
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class Position:
    """Where a lane of a stream is, or was. ``run`` None: set by hand. ``cursor`` None: nothing was read."""

    stream: str
    lane: Lane
    cursor: JSON
    progress: float | None
    committed_at: datetime
    run: int | None


def listed(home: Home, pipeline: str) -> list[Position]:
    """The position of every lane that was read, by stream and lane."""
    home.actor.must("view")
    id_ = find(home, pipeline).id
    with home.database.reading() as connection:
        return of(connection, id_)


def of(connection: sa.Connection, pipeline_id: str) -> list[Position]:
    """The positions of a pipeline by its id."""
    query = sa.select(cursors).where(cursors.c.pipeline_id == pipeline_id).order_by(cursors.c.stream, cursors.c.lane)
    found = connection.execute(query).all()
    return [Position(r.stream, r.lane, r.cursor, r.progress, r.committed_at, r.run_id) for r in found]


def of_log(home: Home, pipeline: str) -> JSON:
    """How far the log of the source was read, as the source has it; None for a pipeline that follows none, or has not
    begun to."""
    found = next((one.cursor for one in listed(home, pipeline) if one.stream == LOG), None)
    return None if found is None else found["position"]


def history(home: Home, pipeline: str, stream: str, lane: Lane, *, limit: int = 50) -> list[Position]:
    """Earlier positions of a lane, the latest first: the last one of every run, and each that was set by hand."""
    home.actor.must("view")
    id_ = find(home, pipeline).id
    query = sa.select(cursor_history).where(
        cursor_history.c.pipeline_id == id_, cursor_history.c.stream == stream, cursor_history.c.lane == lane
    )
    with home.database.reading() as connection:
        found = connection.execute(query.order_by(cursor_history.c.id.desc()).limit(limit)).all()
    return [Position(r.stream, r.lane, r.cursor, r.progress, r.committed_at, r.run_id) for r in found]


def put(
    home: Home,
    pipeline: str,
    stream: str,
    lane: Lane,
    cursor: JSON,
    *,
    progress: float | None = None,
    memory: bool = False,
) -> Position:
    """The lane is at ``cursor`` (None: at its beginning), and the next run reads from there.

    With ``memory`` False the source forgets what it marked as read, so that rows read again count as new; a table
    with a key takes them without doubling. Raises AlreadyRunning while the pipeline runs.
    """
    home.actor.must("pipelines.edit")
    position = Position(stream, lane, cursor, progress, datetime.now(UTC), None)
    _put(home, pipeline, [position], memory=memory)
    return position


def as_of(home: Home, pipeline: str, stream: str, lane: Lane, moment: datetime) -> JSON:
    """The position at that moment: whoever reads from there gets all that was read since, and all that is new.

    None, the beginning, where nothing had been read by then, or it is no longer on record.
    """
    home.actor.must("view")
    h = cursor_history.c
    mine = (h.pipeline_id == find(home, pipeline).id, h.stream == stream, h.lane == lane, h.committed_at <= moment)
    with home.database.reading() as connection:
        return connection.execute(sa.select(h.cursor).where(*mine).order_by(h.id.desc()).limit(1)).scalar()


def back_to(home: Home, pipeline: str, run: int, *, stream: str | None = None, memory: bool = False) -> list[Position]:
    """Every lane that the run committed, of one stream or of all, is where that run left it.

    Raises ConfigError when the run committed nothing, or its history is no longer kept.
    """
    home.actor.must("pipelines.edit")
    id_ = find(home, pipeline).id
    query = sa.select(cursor_history).where(cursor_history.c.pipeline_id == id_, cursor_history.c.run_id == run)
    if stream is not None:
        query = query.where(cursor_history.c.stream == stream)
    with home.database.reading() as connection:
        found = connection.execute(query.order_by(cursor_history.c.stream, cursor_history.c.lane)).all()
    if not found:
        raise ConfigError(
            f"run {run} of pipeline {pipeline!r} committed no position" + (f" of {stream!r}" if stream else ""),
            hint="See `millrace runs` for its runs.",
            code="unknown_position",
        )
    now = datetime.now(UTC)
    positions = [Position(r.stream, r.lane, r.cursor, r.progress, now, None) for r in found]
    _put(home, pipeline, positions, memory=memory)
    return positions


def _put(home: Home, pipeline: str, positions: Sequence[Position], *, memory: bool) -> None:
    """All of the positions hold, or none."""
    id_ = find(home, pipeline).id
    with leases.held(home.database, lease_name(id_), what=f"pipeline {pipeline}") as lease:
        expires_at = home.database.now() + timedelta(seconds=leases.LEASE_S)
        with home.database.transaction() as connection:
            leases.confirm(connection, lease, expires_at)  # I4
            for one in positions:
                entity = Entity("position", id_, f"{pipeline}/{one.stream}/{one.lane}")
                wrote(home, "MEDIUM", entity, "change", f"{entity.name} was set by hand", after={"cursor": one.cursor})
                mine = (cursors.c.pipeline_id == id_, cursors.c.stream == one.stream, cursors.c.lane == one.lane)
                row = {
                    "pipeline_id": id_,
                    "stream": one.stream,
                    "lane": one.lane,
                    "cursor": one.cursor,
                    "progress": one.progress,
                    "committed_at": one.committed_at,
                    "run_id": None,
                }
                connection.execute(sa.delete(cursors).where(*mine))
                if one.cursor is not None:
                    connection.execute(sa.insert(cursors).values(row))
                connection.execute(sa.insert(cursor_history).values(row))
                if not memory:
                    forgotten = (marks.c.pipeline_id == id_, marks.c.stream == one.stream)
                    connection.execute(sa.delete(marks).where(*forgotten))
