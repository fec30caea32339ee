"""Mappings to look at: every event type at a glance, and one of them field by field (loading.md 15.2)."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa
import sqlalchemy as sa

from millrace.control.books import commits
from millrace.control.books.records import RunRecord, latest_runs
from millrace.control.database import pages, tables
from millrace.control.database.pages import Page
from millrace.control.database.tables import segments
from millrace.control.mapper import fittings
from millrace.control.mapper.mapping_plans import around
from millrace.control.mapper.mapping_versions import kept
from millrace.control.pipeline import pipelines
from millrace.data import types
from millrace.data.dataclass import dataclass
from millrace.engine.mapping import Mapping, policy_of
from millrace.engine.standing import ApiStatus, Pending, Status, Warned, standing, warnings
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline

# Beside the statuses themselves: whatever needs a look, as pipelines do.
LOOK = "LOOK"


@dataclass(frozen=True, slots=True)
class Overview:
    """One event type at a glance. ``table`` None: it has none. ``fields`` counts those of the user that are known."""

    event_type: str
    table: str | None
    version: int
    changed_at: datetime
    fields: int
    status: Status
    mapping_status: ApiStatus
    auto_mapping: bool
    warnings: tuple[Warned, ...]
    error: str | None = None

    @property
    def needs_look(self) -> bool:
        """Something of it will bite: it has a warning, an error or no table. What is left out on purpose needs none."""
        return self.status != "SKIPPED" and (self.status == "UNMAPPED" or bool(self.warnings) or self.error is not None)


@dataclass(frozen=True, slots=True)
class Field:
    """A field and where it goes. ``column`` None: nowhere, and ``reason`` says why. ``present`` is the type that the
    column has at the destination, where that could be asked."""

    field: str
    column: str | None
    type: str | None
    present: str | None = None
    fixed: bool = False
    key: bool = False
    reason: str | None = None
    formerly: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A mapping field by field. ``ddl``: what the next load changes at the destination; None where it could not be
    asked, and ``unasked`` says why."""

    pipeline: str
    overview: Overview
    load_mode: str
    key: tuple[str, ...]
    policy: str
    fields: tuple[Field, ...]
    author: str | None
    reason: str | None
    ddl: tuple[str, ...] | None = None
    unasked: str | None = None
    waiting_rows: int = 0


def page(
    home: Home,
    pipeline: str,
    *,
    status: str | None = None,
    search: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Overview]:
    """Event types of the pipeline by name, after the cursor; with ``search`` those whose name, or whose table's name,
    has it, with ``status`` (stored, or of the API, or `LOOK`) those of that. Raises ConfigError for a status that there
    is not."""
    home.actor.must("view")
    wanted = None if status is None else _status(status)
    found = pipelines.find(home, pipeline)
    m = tables.mappings.c
    with home.database.reading() as connection:
        # Names are escaped in the database, so it cannot put them in order. Mappings are read for one page alone.
        known = connection.execute(sa.select(m.stream, m.table_name).where(m.pipeline_id == found.id).distinct()).all()
        like = {row.stream for row in known if search is None or _has(search, row.stream, row.table_name)}
        names = sorted(name for name in like if after is None or name > after)
        most = pages.checked_limit(limit) + 1
        views: list[Overview] = []
        for at in range(0, len(names), most):
            some = _views(connection, home, found, names[at : at + most])
            views += [
                one
                for one in some
                if (wanted in (None, one.status, one.mapping_status) or (wanted == LOOK and one.needs_look))
                and (search is None or _has(search, one.event_type, one.table))
            ]
            if len(views) >= most:
                break
    return pages.cut(views, limit, lambda one: one.event_type)


def _has(search: str, event_type: str, table: str | None) -> bool:
    return search.casefold() in f"{event_type} {table or ''}".casefold()


def _status(said: str) -> str:
    known = (*get_args(Status), *get_args(ApiStatus), LOOK)
    if said.upper() not in known:
        hint = f"There are: {', '.join(dict.fromkeys(known))}."
        raise ConfigError(f"{said!r} is not the status of a mapping", hint=hint, code="usage", path="status")
    return said.upper()


def _views(connection: sa.Connection, home: Home, pipeline: Pipeline, names: list[str]) -> list[Overview]:
    """Event types of these names, in this order, at a glance."""
    limits = fittings.naming_of(home, pipeline).limits
    m = tables.mappings.c
    of = (m.pipeline_id == pipeline.id, m.stream.in_(names))
    newest = sa.select(m.stream, sa.func.max(m.version).label("version")).where(*of).group_by(m.stream).subquery()
    query = sa.select(tables.mappings).where(*of)
    rows = connection.execute(query.join(newest, sa.and_(m.stream == newest.c.stream, m.version == newest.c.version)))
    latest = {row.stream: row for row in rows}
    pending = _pending(connection, pipeline.id)
    last = latest_runs(connection, [pipeline.id]).get(pipeline.name)
    views: list[Overview] = []
    for name in names:
        mapping = Mapping.from_json(latest[name].mapping)
        warned = warnings(mapping, limits, policy=pipeline.schema_policy)
        error = _said(last, mapping)
        views.append(_overview(mapping, latest[name].created_at, warned, pending.get(mapping.table), error))
    return views


def shown(home: Home, pipeline: str, event_type: str, *, version: int | None = None, ask: bool = True) -> Shown:
    """The mapping of an event type, the latest or one version. ``ask``: the destination says what its table is like."""
    home.actor.must("view")
    found = pipelines.find(home, pipeline)
    of = kept(home, pipeline, event_type, version)
    there: dict[str, pa.DataType] | None = None
    ddl: tuple[str, ...] | None = None
    unasked: str | None = None
    with closing(around(home, found, event_type)) as at:
        latest = of.mapping.version == at.mapping.version
        if ask and latest:
            try:
                there = at.there()
                ddl = tuple(one.statement for one in at.changes(of.mapping)) if _loads(of.mapping) else ()
            except MillraceError as error:
                unasked = error.message
        warned = warnings(of.mapping, at.naming.limits, table=there, policy=found.schema_policy)
        with home.database.reading() as connection:
            pending = _pending(connection, found.id).get(of.mapping.table) if latest else None
            last = latest_runs(connection, [found.id]).get(pipeline) if latest else None
        return Shown(
            pipeline=pipeline,
            overview=_overview(of.mapping, of.created_at, warned, pending, _said(last, of.mapping)),
            load_mode=of.mapping.mode,
            key=of.mapping.key,
            policy=policy_of(of.mapping, found.schema_policy).name,
            fields=_fields(of.mapping, there or {}),
            author=of.author,
            reason=of.reason,
            ddl=ddl,
            unasked=unasked,
            waiting_rows=at.waiting_rows,
        )


def _loads(mapping: Mapping) -> bool:
    return mapping.mapped and not mapping.skipped and bool(mapping.columns)


def _overview(
    mapping: Mapping, changed_at: datetime, warned: list[Warned], pending: Pending | None, error: str | None
) -> Overview:
    stands = standing(mapping, warned, pending=pending, error=error)
    fields = {one.source for one in mapping.columns}
    fields |= {*mapping.ignored} | {name for name, _ in (*mapping.unmapped, *mapping.found)}
    return Overview(
        event_type=mapping.stream,
        table=mapping.table if mapping.mapped else None,
        version=mapping.version,
        changed_at=changed_at,
        fields=len(fields),
        status=stands.stored,
        mapping_status=stands.api,
        auto_mapping=mapping.auto,
        warnings=stands.warnings,
        error=stands.error,
    )


def _fields(mapping: Mapping, there: Dict[str, pa.DataType]) -> tuple[Field, ...]:
    found = dict(mapping.found)
    fields = [
        Field(
            field=one.source,
            column=one.name,
            type=types.name(one.type),
            present=types.name(there[one.name]) if one.name in there else None,
            fixed=one.fixed,
            key=one.source in mapping.key,
            formerly=one.formerly,
        )
        for one in mapping.columns
    ]
    without = {**dict.fromkeys(mapping.ignored, "IGNORED"), **dict(mapping.unmapped)}
    without |= {name: "UNMAPPED_EVENT_TYPE" for name in found if name not in without and mapping.of(name) is None}
    for name, reason in without.items():
        fields.append(Field(name, None, types.name(found[name]) if name in found else None, reason=reason))
    return tuple(fields)


def _pending(connection: sa.Connection, pipeline_id: str) -> dict[str, Pending]:
    """Tables that are still to be made or changed: rows of a newer version of their mapping wait for them."""
    s = segments.c
    query = (
        sa.select(s.table_name, s.generation, s.number, s.mapping_version)
        .where(s.pipeline_id == pipeline_id, s.state != "dropped")
        .order_by(s.number)
    )
    current = commits.current_tables(connection, pipeline_id)
    loaded: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for row in connection.execute(query):
        table = current.get(row.table_name)
        if table is None or table.generation != row.generation:
            continue
        into = waiting if row.number > table.loaded else loaded
        into[row.table_name] = max(into.get(row.table_name, 0), row.mapping_version or 0)
    found: dict[str, Pending] = {}
    for name, version in waiting.items():
        if not current[name].loaded:
            found[name] = "CREATING_TABLE"
        elif version > loaded.get(name, version):
            found[name] = "ALTERING"
    return found


# Errors that a table at the destination causes, and that a person mends there or in the mapping.
_OF_TABLES = frozenset({"schema", "NAME_CONFLICT", "TABLE_MISSING", "COLUMN_MISSING", "staged_type", "not_a_table"})


def _said(last: RunRecord | None, mapping: Mapping) -> str | None:
    """What the destination said of the table when the last run failed because of it."""
    error: Any = last.error if last is not None else None
    if error is None or error.code not in _OF_TABLES or mapping.table not in error.message:
        return None
    return error.message
