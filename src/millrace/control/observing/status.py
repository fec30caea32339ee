"""How far every pipeline is: what was read, what is loaded, what waits, what needs a person."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.books import file_notes, leases
from millrace.control.books.records import RunRecord, latest_runs
from millrace.control.database.tables import segments, tables
from millrace.control.failed import rejects
from millrace.control.pipeline import pipelines, positions
from millrace.control.scheduling import slots
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """How far one lane of a stream was read, durably on the stage. ``progress`` 0 to 1, where the source knows it."""

    lane: str
    cursor: Any
    progress: float | None
    committed_at: datetime
    run: int | None


@dataclass(frozen=True, slots=True)
class TableStatus:
    """How far a table is loaded: ``loaded`` of ``staged`` segments, and the same in rows; the difference waits."""

    table: str
    stream: str
    generation: int
    fresh: bool
    complete: bool
    staged: int
    loaded: int
    rows_staged: int
    rows_loaded: int
    waiting_rows: int
    waiting_bytes: int
    last_loaded_at: datetime | None

    @property
    def waiting_segments(self) -> int:
        return self.staged - self.loaded


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream: the positions that it was read to, and the tables that its rows go to."""

    stream: str
    lanes: tuple[LaneStatus, ...]
    tables: tuple[TableStatus, ...]

    @property
    def history(self) -> float | None:
        """Share of the history that was read, 0 to 1; None where there is none or the source does not know."""
        return next((lane.progress for lane in self.lanes if lane.lane == "historical"), None)


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """One pipeline at a glance. ``running`` is the process that works on it now.

    ``next_at``: when its schedule lets it run next; None while nothing is planned. ``failed_files``: those that its
    source could not read.
    """

    name: str
    state: str
    source: str
    source_type: str
    destination: str
    destination_type: str
    load_mode: str
    schedule: Any
    next_at: datetime | None
    streams: tuple[StreamStatus, ...]
    last_run: RunRecord | None
    running: str | None
    open_rejects: int
    failed_files: int

    @property
    def waiting_segments(self) -> int:
        return sum(table.waiting_segments for stream in self.streams for table in stream.tables)

    @property
    def waiting_rows(self) -> int:
        return sum(table.waiting_rows for stream in self.streams for table in stream.tables)

    @property
    def waiting_bytes(self) -> int:
        return sum(table.waiting_bytes for stream in self.streams for table in stream.tables)

    @property
    def rows_loaded(self) -> int:
        return sum(table.rows_loaded for stream in self.streams for table in stream.tables)


def statuses(home: Home, pipeline: str | None = None) -> list[PipelineStatus]:
    """Every pipeline by name, or the one of that name. Raises ConfigError when there is none of that name."""
    home.actor.must("view")
    found = pipelines.listed(home) if pipeline is None else [pipelines.find(home, pipeline)]
    ids = [one.id for one in found]
    now = home.database.now()
    with home.database.reading() as connection:
        runs, due = latest_runs(connection, ids), slots.next_runs(connection, ids)
        open_ = rejects.count_open(connection)
        files = {row.pipeline_id: int(row.n) for row in connection.execute(file_notes.failed_by_pipeline())}
        return [
            _status(
                connection, one, runs.get(one.name), due.get(one.id), open_.get(one.id, 0), files.get(one.id, 0), now
            )
            for one in found
        ]


def _status(
    connection: sa.Connection,
    pipeline: Pipeline,
    last_run: RunRecord | None,
    next_at: datetime | None,
    open_rejects: int,
    failed_files: int,
    now: datetime,
) -> PipelineStatus:
    lanes: dict[str, list[LaneStatus]] = {}
    for at in positions.of(connection, pipeline.id):
        lanes.setdefault(at.stream, []).append(LaneStatus(at.lane, at.cursor, at.progress, at.committed_at, at.run))
    filled: dict[str, list[TableStatus]] = {}
    for table in _tables(connection, pipeline.id):
        filled.setdefault(table.stream, []).append(table)
    names = sorted({*lanes, *filled, *(pipeline.selected or ())})
    holder = leases.found(connection, pipelines.lease_name(pipeline.id), now)
    return PipelineStatus(
        name=pipeline.name,
        state=pipeline.state,
        source=pipeline.source,
        source_type=pipeline.source_type,
        destination=pipeline.destination,
        destination_type=pipeline.destination_type,
        load_mode=pipeline.load_mode,
        schedule=pipeline.schedule,
        next_at=next_at,
        streams=tuple(StreamStatus(name, tuple(lanes.get(name, ())), tuple(filled.get(name, ()))) for name in names),
        last_run=last_run,
        running=f"process {holder.pid} on {holder.host}" if holder else None,
        open_rejects=open_rejects,
        failed_files=failed_files,
    )


def _tables(connection: sa.Connection, pipeline_id: str) -> list[TableStatus]:
    """The current generation of every table of the pipeline, with its segments summed up."""
    s, t = segments.c, tables.c
    newest = (
        sa.select(t.name, sa.func.max(t.generation).label("generation"))
        .where(t.pipeline_id == pipeline_id)
        .group_by(t.name)
        .subquery()
    )
    is_loaded, is_staged = s.number <= t.loaded, s.state == "staged"

    def total(what: sa.ColumnElement[Any], when: sa.ColumnElement[bool] | None = None) -> sa.ColumnElement[Any]:
        return sa.func.coalesce(sa.func.sum(what if when is None else sa.case((when, what), else_=0)), 0)

    query = (
        sa.select(
            tables,
            total(s.rows).label("rows_staged"),
            total(s.rows - s.refused_rows, is_loaded).label("rows_loaded"),
            total(s.rows, is_staged).label("waiting_rows"),
            total(s.size_bytes, is_staged).label("waiting_bytes"),
            sa.func.max(s.loaded_at).label("last_loaded_at"),
        )
        .join(newest, sa.and_(t.name == newest.c.name, t.generation == newest.c.generation))
        .outerjoin(
            segments,
            sa.and_(s.pipeline_id == t.pipeline_id, s.table_name == t.name, s.generation == t.generation),
        )
        .where(t.pipeline_id == pipeline_id)
        .group_by(*tables.primary_key.columns)
        .order_by(t.name)
    )
    return [
        TableStatus(
            table=row.name,
            stream=row.stream,
            generation=row.generation,
            fresh=row.fresh,
            complete=row.complete,
            staged=row.last,
            loaded=row.loaded,
            rows_staged=int(row.rows_staged),
            rows_loaded=int(row.rows_loaded),
            waiting_rows=int(row.waiting_rows),
            waiting_bytes=int(row.waiting_bytes),
            last_loaded_at=row.last_loaded_at,
        )
        for row in connection.execute(query)
    ]
