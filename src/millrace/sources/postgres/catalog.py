"""What the database has: tables, views, their columns, keys and indexes, by its own catalog.

Source: https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from millrace.connect.sql.reading.relation import Column, Index, Kind, Relation
from millrace.data.dataclass import dataclass
from millrace.sources.postgres.types import Type, typed

# Rows of a page, where nobody has counted the rows of a table yet.
_ROWS_PER_PAGE = 60
_WHOLE = ("int2", "int4", "int8")
_MOMENTS = ("timestamp", "timestamptz", "date")
# Of these a value's text is not read back as the same value, or they have no order.
_UNPAGED = ("bytea", "json", "jsonb", "xml", "point", "bit", "varbit", "money", "interval", "float4")


class Asking(Protocol):
    """Somebody who can be asked for rows."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class Described:
    """A relation with the types of its columns, by name. ``table``: a statement can lock it, with its parts.
    ``partial``: policies of the server (row level security) show this user some of its rows. ``generated``: columns
    that the server computes, and that are left out where those were asked for that the log has."""

    relation: Relation
    types: Mapping[str, Type]
    table: bool = False
    partial: bool = False
    generated: tuple[str, ...] = ()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text literal, whatever standard_conforming_strings says."""
    escaped = value.replace("'", "''")
    return " E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in value else f"'{escaped}'"


# A table and all below it. The server's own pg_partition_tree would lock each of them, one after the other.
PARTS = """parts (id) AS (
  SELECT c.oid UNION ALL SELECT i.inhrelid FROM pg_inherits AS i JOIN parts ON i.inhparent = parts.id)"""

_VISIBLE = """
SELECT c.oid::int8 AS id, n.nspname::text AS space, c.relname::text AS name, c.relkind::text AS kind,
  COALESCE(p.tuples, c.reltuples)::float8 AS tuples, pg_relation_size(c.oid)::int8 AS size,
  c.relrowsecurity AND row_security_active(c.oid) AS partial
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (WITH RECURSIVE {parts} SELECT sum(GREATEST(l.reltuples, 0)) AS tuples
  FROM parts JOIN pg_class AS l ON l.oid = parts.id WHERE l.relkind <> 'p') AS p ON c.relkind = 'p'
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') {more}
ORDER BY n.nspname, c.relname"""

# The type below domains, and the first modifier that one of them has.
_COLUMNS = """
WITH RECURSIVE below (id, modifier, top) AS (
  SELECT t.oid, -1, t.oid FROM pg_type AS t
  UNION ALL
  SELECT t.typbasetype, CASE WHEN b.modifier < 0 THEN t.typtypmod ELSE b.modifier END, b.top
  FROM below AS b JOIN pg_type AS t ON t.oid = b.id WHERE t.typtype = 'd'
)
SELECT a.attrelid::int8, a.attname::text, format_type(a.atttypid, -1),
  CASE WHEN n.nspname = 'pg_catalog' AND t.typtype = 'b' THEN t.typname ELSE '' END::text,
  CASE WHEN a.atttypmod < 0 THEN b.modifier ELSE a.atttypmod END::int4, a.attnotnull OR base.typnotnull,
  coalesce(to_jsonb(a) ->> 'attgenerated', '') <> ''
FROM pg_attribute AS a
JOIN pg_type AS base ON base.oid = a.atttypid
JOIN below AS b ON b.top = a.atttypid JOIN pg_type AS t ON t.oid = b.id AND t.typtype <> 'd'
JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid IN ({ids})
ORDER BY a.attrelid, a.attnum"""

_INDEXES = """
SELECT i.indrelid::int8, i.indisprimary, i.indisunique, a.attname::text, i.indexrelid::int8
FROM pg_index AS i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid IN ({ids}) AND i.indisvalid AND i.indpred IS NULL AND k.place <= i.indnkeyatts
ORDER BY i.indrelid, i.indexrelid, k.place"""


def relations(
    asking: Asking, schemas: Sequence[str] = (), only: str | None = None, *, logged: bool = False
) -> dict[str, Described]:
    """All that the user may read, by name: ``schema.table``. ``only``: no other one. ``logged``: columns that the log
    has, which are those that the server does not compute."""
    more = f"AND n.nspname IN ({', '.join(map(literal, schemas))})" if schemas else ""
    if only is not None:
        more += f" AND n.nspname || '.' || c.relname = {literal(only)}"
    found = asking.rows(_VISIBLE.format(more=more, parts=PARTS))
    if not found:
        return {}
    ids = ", ".join(str(one[0]) for one in found)
    columns: dict[int, list[tuple[Any, ...]]] = {}
    generated: dict[int, list[str]] = {}
    for relation, *about, computed in asking.rows(_COLUMNS.format(ids=ids)):
        if logged and computed:
            generated.setdefault(relation, []).append(about[0])
        else:
            columns.setdefault(relation, []).append(tuple(about))
    keys, indexes = _indexes(asking.rows(_INDEXES.format(ids=ids)))
    cents = _money_scale(asking) if any(one[2] == "money" for some in columns.values() for one in some) else 2
    described: dict[str, Described] = {}
    for id_, space, name, kind, tuples, size, partial in found:
        if not (some := columns.get(id_)):
            continue
        described[f"{space}.{name}"] = Described(
            Relation(
                name=f"{space}.{name}",
                source=f"{quoted(space)}.{quoted(name)}",
                columns=tuple(column(one, type_, base, not fixed) for one, type_, base, _, fixed in some),
                key=keys.get(id_, ()),
                indexes=tuple(indexes.get(id_, ())),
                rows=_rows(tuples, size) if kind in "rpm" else None,
                # A view that is refreshed is written anew.
                versioned=kind in "rp",
            ),
            {one: typed(base, modifier, money_scale=cents) for one, _, base, modifier, _ in some},
            table=kind in "rp",
            partial=partial,
            generated=tuple(generated.get(id_, ())),
        )
    return described


def column(name: str, type_: str, base: str, nullable: bool) -> Column:
    """A column. ``type_``: for casts; ``base``: below its domains, empty for one outside pg_catalog."""
    kind: Kind = "whole" if base in _WHOLE else "moment" if base in _MOMENTS else "other"
    return Column(name, type_, kind, nullable=nullable, pageable=base not in _UNPAGED and not type_.endswith("[]"))


def _money_scale(asking: Asking) -> int:
    ((scale,),) = asking.rows("SELECT scale(CAST(CAST('0' AS money) AS numeric))")
    return int(scale)


def _rows(tuples: float, size: int) -> int:
    return int(tuples) if tuples >= 0 else size // 8192 * _ROWS_PER_PAGE


def _indexes(rows: Sequence[tuple[Any, ...]]) -> tuple[dict[int, tuple[str, ...]], dict[int, list[Index]]]:
    """Primary keys and indexes by relation; those with an expression do not count."""
    gathered: dict[tuple[int, int], list[str | None]] = {}
    words: dict[tuple[int, int], tuple[bool, bool]] = {}
    for relation, primary, unique, name, index in rows:
        gathered.setdefault((relation, index), []).append(name)
        words[relation, index] = (primary, unique)
    keys: dict[int, tuple[str, ...]] = {}
    indexes: dict[int, list[Index]] = {}
    for (relation, index), names in gathered.items():
        primary, unique = words[relation, index]
        known = tuple(name for name in names if name is not None)
        if len(known) < len(names):
            continue
        if primary:
            keys[relation] = known
        else:
            indexes.setdefault(relation, []).append(Index(known, unique))
    return keys, indexes
