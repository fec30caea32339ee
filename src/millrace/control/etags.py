"""Tags of what people change: another one after each change, so that nobody overwrites what they have not seen.

A tag is of what was chosen and saved, not of how far a run is. It is compared in the transaction that makes the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.database.tables import connections, mappings, pipelines, settings, transformations
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

Kind: TypeAlias = Literal["pipeline", "source", "destination", "mapping", "transformation", "settings"]


@dataclass(frozen=True, slots=True)
class Thing:
    """What has a tag. ``name``: of its connection or pipeline, or the number of that; ``stream``: of a mapping."""

    kind: Kind
    team_id: str
    name: str | int = ""
    stream: str = ""


def tag(connection: sa.Connection, thing: Thing, *, held: bool = False) -> str | None:
    """The tag as it is; None where there is no such thing. ``held``: it stays so until this transaction ends."""
    parts = _parts(connection, thing, held)
    if parts is None:
        return None
    return sha256(repr((thing.kind, *parts)).encode()).hexdigest()[:32]


def must_be(connection: sa.Connection, thing: Thing, wanted: Sequence[str]) -> None:
    """The tag is one of those. Raises ConfigError "changed_meanwhile"."""
    if tag(connection, thing, held=True) not in wanted:
        raise ConfigError(
            f"the {thing.kind} was changed since you read it",
            hint="Read it again, and make your change to what it is now.",
            code="changed_meanwhile",
            path="If-Match",
        )


def _parts(connection: sa.Connection, thing: Thing, held: bool) -> tuple[Any, ...] | None:
    if thing.kind == "settings":
        rows = connection.execute(sa.select(settings.c.key, settings.c.changed_at).order_by(settings.c.key)).all()
        return tuple(tuple(row) for row in rows)
    if thing.kind in ("source", "destination"):
        c = connections.c
        mine = (c.team_id == thing.team_id, c.kind == thing.kind, _named(connections, thing.name))
        found = connection.execute(_held(sa.select(c.id, c.changed_at).where(*mine), held)).one_or_none()
        return None if found is None else tuple(found)
    p = pipelines.c
    mine = (p.team_id == thing.team_id, _named(pipelines, thing.name))
    found = connection.execute(_held(sa.select(p.id, p.changed_at, p.source_id).where(*mine), held)).one_or_none()
    if found is None:
        return None
    if thing.kind == "pipeline":
        # What is shown as a pipeline has settings of its source, and they are changed through it.
        source = sa.select(connections.c.changed_at).where(connections.c.id == found.source_id)
        return (found.id, found.changed_at, connection.execute(source).scalar())
    if thing.kind == "mapping":
        m = mappings.c
        latest = sa.select(sa.func.max(m.version)).where(m.pipeline_id == found.id, m.stream == thing.stream)
        version = connection.execute(latest).scalar()
        return None if version is None else (found.id, thing.stream, version)
    t = transformations.c
    versions = sa.select(t.version, t.created_at).where(t.pipeline_id == found.id)
    rows = connection.execute(versions.order_by(t.version)).all()
    return (found.id, rows[-1].version if rows else 0, next((row.created_at for row in rows if row.version == 0), None))


def _held(query: sa.Select[*tuple[Any, ...]], held: bool) -> sa.Select[*tuple[Any, ...]]:
    """The row is locked. SQLite has one writer anyway, and knows no word for it."""
    return query.with_for_update() if held else query


def _named(table: sa.Table, name: str | int) -> sa.ColumnElement[bool]:
    return table.c.number == name if isinstance(name, int) else table.c.name == name
