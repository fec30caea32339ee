"""The tables that pipelines fill at a destination: how fresh each is, and which columns it has."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect.source import Context
from millrace.control.connecting import connections
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.tables import pipelines, segments, tables
from millrace.control.running.clock import clock as machine_clock
from millrace.data import types
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class Filled:
    """A table of a pipeline at a destination, in rows. Of several generations the newest is told of."""

    table: str
    pipeline: str
    event_type: str
    rows_loaded: int
    waiting_rows: int
    last_loaded_at: datetime | None


@dataclass(frozen=True, slots=True)
class ColumnThere:
    """A column as it is at the destination."""

    name: str
    type: str


def page(
    home: Home, destination: str, *, search: str | None = None, after: str | None = None, limit: int = 100
) -> Page[Filled]:
    """Tables by name, then by pipeline, after the cursor; with ``search`` those that have it in a name.

    A table that a full reload still fills beside the old one is not among them. Raises ConfigError "bad_cursor".
    """
    home.actor.must("view")
    found = connections.find(home, "destination", destination)
    most = pages.checked_limit(limit) + 1
    behind = None if after is None else _place(after)
    t, p = tables.c, pipelines.c
    newest = sa.func.max(t.generation).label("generation")
    known = (
        sa.select(t.name, t.pipeline_id, p.name.label("pipeline"), newest)
        .join(pipelines, p.id == t.pipeline_id)
        .where(p.destination_id == found.id, p.team_id == home.actor.team_id, sa.not_(t.fresh))
        .group_by(t.name, t.pipeline_id, p.name)
    )
    with home.database.reading() as connection:
        # Names are escaped in the database, so it cannot put them in order. Rows are summed up for one page alone.
        places = sorted(
            ((row.name, row.pipeline, row.pipeline_id, row.generation) for row in connection.execute(known)),
            key=lambda one: one[:2],
        )
        wanted = [
            one
            for one in places
            if (behind is None or one[:2] > behind)
            and (search is None or search.casefold() in f"{one[0]} {one[1]}".casefold())
        ][:most]
        sums = _sums(connection, wanted)
    rows = [sums[name, id_, generation] for name, _, id_, generation in wanted]
    filled = [
        Filled(
            row.name, pipeline, row.stream, int(row.rows_loaded or 0), int(row.waiting_rows or 0), row.last_loaded_at
        )
        for row, (_, pipeline, *_) in zip(rows, wanted, strict=True)
    ]
    return pages.cut(filled, limit, lambda one: json.dumps([one.table, one.pipeline]))


def columns(home: Home, destination: str, table: str) -> list[ColumnThere] | None:
    """The columns of a table at the destination as it says now, in their order; None where it has no such table."""
    home.actor.must("view")
    found = connections.find(home, "destination", destination)
    context = Context(clock=machine_clock(), confined=home.actor.kind != "operator")
    with closing(connections.build_destination(home, found.id, context)) as opened:
        there = opened.schema(table)
    return None if there is None else [ColumnThere(name, types.name(type_)) for name, type_ in there.items()]


def _sums(connection: sa.Connection, wanted: list[tuple[str, str, str, int]]) -> dict[tuple[str, str, int], Any]:
    """The tables of a page with their segments summed up, by name, pipeline's id and generation."""
    s, t = segments.c, tables.c
    loaded = sa.case((s.number <= t.loaded, s.rows - s.refused_rows), else_=0)
    waiting = sa.case((s.state == "staged", s.rows), else_=0)
    query = (
        sa.select(
            t.name,
            t.pipeline_id,
            t.generation,
            t.stream,
            sa.func.sum(loaded).label("rows_loaded"),
            sa.func.sum(waiting).label("waiting_rows"),
            sa.func.max(s.loaded_at).label("last_loaded_at"),
        )
        .outerjoin(
            segments,
            sa.and_(s.pipeline_id == t.pipeline_id, s.table_name == t.name, s.generation == t.generation),
        )
        .where(
            t.name.in_({name for name, *_ in wanted}),
            t.pipeline_id.in_({id_ for *_, id_, _ in wanted}),
        )
        .group_by(t.name, t.pipeline_id, t.generation, t.stream)
    )
    return {(row.name, row.pipeline_id, row.generation): row for row in connection.execute(query)}


def _place(cursor: str) -> tuple[str, str]:
    try:
        table, pipeline = json.loads(cursor)
    except (ValueError, TypeError):
        raise pages.bad_cursor(cursor) from None
    if not (isinstance(table, str) and isinstance(pipeline, str)):
        raise pages.bad_cursor(cursor)
    return table, pipeline
