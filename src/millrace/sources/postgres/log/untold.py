"""What became of followed tables that the log does not tell of, seen by the catalogue as it was at an earlier run.

A partition that is attached, detached or dropped takes rows with it that were written when it was no part, or that
nobody deletes; a column with a default fills rows that nobody writes. Only what is sure is said.
Sources: https://www.postgresql.org/docs/current/logical-replication-restrictions.html, catalog-pg-inherits.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from millrace.connect.log import Followed
from millrace.connect.source import Clock, Note
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.sources.postgres.log.publishing import Side
from millrace.sources.postgres.log.snapshots import Snapshot

_TABLES = """
SELECT n.nspname || '.' || c.relname, c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
  (SELECT max(attnum) FROM pg_attribute AS a WHERE a.attrelid = c.oid)::int4, y.xmin::text::int8
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_type AS y ON y.oid = c.reltype
WHERE c.relkind IN ('r', 'p') AND n.nspname || '.' || c.relname = ANY (%s::text[])"""

# Of the links from the root down to a partition the newest is the one by which it came.
_PARTS = """
WITH RECURSIVE parts (root, id, since) AS (
  SELECT i.inhparent, i.inhrelid, i.xmin FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent
  WHERE c.relkind = 'p' AND c.oid = ANY (%s::oid[])
  UNION ALL
  SELECT p.root, i.inhrelid, CASE WHEN age(i.xmin) < age(p.since) THEN i.xmin ELSE p.since END
  FROM parts AS p JOIN pg_inherits AS i ON i.inhparent = p.id
)
SELECT p.root::int8, p.id::int8, n.nspname || '.' || c.relname, p.since::text::int8, y.xmin = p.since
FROM parts AS p JOIN pg_class AS c ON c.oid = p.id AND c.relkind = 'r'
JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_type AS y ON y.oid = c.reltype"""

_NAMES = """
SELECT c.oid::int8, n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::oid[])"""

_PLACE = """
SELECT pg_relation_size(c.oid)::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
  has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'), pg_get_partition_constraintdef(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s::oid"""

# Since version 11 rows that were there have the default without being written.
_FILLED = """
SELECT a.attname::text, a.xmin::text::int8 FROM pg_attribute AS a
WHERE a.attrelid = %s::oid AND a.attnum > %s AND NOT a.attisdropped AND EXISTS (
  SELECT 1 FROM pg_attribute AS l WHERE l.attname = a.attname AND to_jsonb(l) ->> 'atthasmissing' = 'true'
  AND (l.attrelid = a.attrelid OR l.attrelid = ANY (%s::oid[])))
ORDER BY a.attnum"""

_ANEW = "read its history again into a fresh table (`millrace resync --mode drop-and-load`)"
_AGAIN = "read its history again (`millrace resync`)"


@dataclass(frozen=True, slots=True)
class Part:
    """A partition with rows of its own. ``since``: the transaction by which it came under its root; ``made_there``:
    the same that made it, so that it has no rows of before."""

    name: str
    since: int
    made_there: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A followed table in the catalogue. ``columns``: the highest number that a column of it ever had; ``made``: the
    transaction that made it."""

    id: int
    sql: str
    columns: int
    made: int
    parts: Mapping[int, Part]


def tables(side: Side, names: list[str]) -> dict[str, Table]:
    """The tables as the catalogue has them now."""
    found = side.rows(_TABLES, names)
    parts: dict[int, dict[int, Part]] = {}
    for root, id_, *about in side.rows(_PARTS, [id_ for _, id_, *_ in found]):
        parts.setdefault(root, {})[id_] = Part(*about)
    return {name: Table(id_, sql, most, made, parts.get(id_, {})) for name, id_, sql, most, made in found}


def kept(now: Mapping[str, Table]) -> JSON:
    """What the position recalls of the tables."""
    return {
        name: [one.id, one.columns, {str(id_): [part.name, part.since] for id_, part in one.parts.items()}]
        for name, one in now.items()
    }


def awaiting(before: JSON, streams: Mapping[str, Followed]) -> JSON:
    """What is recalled of tables whose histories are being read: by that they are compared when it is done."""
    reading = {name for name, one in streams.items() if one.history and not one.history.get("done")}
    return {name: known for name, known in before.items() if name in reading}


def notes(
    side: Side, clock: Clock, before: JSON, now: Mapping[str, Table], streams: Mapping[str, Followed]
) -> Iterator[Note]:
    """What a person should know of tables that were followed ``before`` (`kept`) and whose histories were read."""
    left = {name: known[0] for name, known in before.items() if name not in now}
    called = dict(side.rows(_NAMES, [*left.values()])) if left else {}
    for name, id_ in left.items():
        new = called.get(id_, name)
        if new != name:
            yield Note(
                "rows_lost",
                f"{name} is called {new} now: rows that were read before stay in the table of {name}, and those of "
                f"{new} are the rows of another object",
            )
    for name, (id_, columns, parts) in before.items():
        history: Any = streams[name].history if name in streams else None
        if name not in now or not (history and history.get("done") and history.get("snapshot")):
            continue
        table, read = now[name], Snapshot.of(history["snapshot"])
        if table.id != id_:
            if not read.sees(table.made):
                text = f"{name} is another table than before: rows of the old one are not marked as deleted, and rows"
                yield Note("rows_lost", f"{text} that the new one came with are not in the log: {_ANEW}")
            continue
        yield from _of_parts(_Look(side, clock), name, table, parts, read)
        yield from _of_columns(_Look(side, clock), name, table, columns, read)


def _of_parts(look: _Look, name: str, table: Table, before: JSON, read: Snapshot) -> Iterator[Note]:
    later = {id_: part for id_, part in sorted(table.parts.items()) if not read.sees(part.since)}
    came = [
        part.name
        for id_, part in later.items()
        if str(id_) not in before and not part.made_there and look.has_older(table.sql, part.since, id_)
    ]
    if came:
        text = f"rows that were in {', '.join(came)} when that became a part of {name} are not in the log"
        yield Note("rows_lost", f"{text}: {_AGAIN}")
    away = [part.name for id_, part in later.items() if before.get(str(id_), ("", part.since))[1] != part.since]
    if away:
        text = f"{', '.join(away)} was no part of {name} for a while: what changed in it meanwhile is not in the log"
        yield Note("rows_lost", f"{text}: {_ANEW}")
    gone = [part for id_, (part, _) in before.items() if int(id_) not in table.parts]
    if gone:
        text = f"rows that went with {', '.join(gone)}, no part of {name} any more, are not marked as deleted"
        yield Note("rows_lost", f"{text}: {_ANEW}")


def _of_columns(look: _Look, name: str, table: Table, before: int, read: Snapshot) -> Iterator[Note]:
    if table.columns <= before:
        return
    for column, since in look.side.rows(_FILLED, table.id, before, [*table.parts]):
        if not read.sees(since) and look.has_older(table.sql, since):
            text = f"{name}.{column} came with a default: rows that were there before have NULL in its place"
            yield Note("rows_lost", f"{text}: {_AGAIN}")


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks for rows that were written before a transaction."""

    side: Side
    clock: Clock

    def has_older(self, source: str, transaction: int, part: int | None = None) -> bool:
        """Whether the table, or the partition of it, has such rows."""
        within = ""
        if part is not None:
            ((size, own, may, limits),) = self.side.rows(_PLACE, part)
            if not size:
                return False
            if may:
                source = own
            else:
                # Through its root, which the user may read; its limits keep the others from being looked through.
                within = f"AND tableoid = {part} AND {limits}"
        sql = f"SELECT EXISTS (SELECT 1 FROM {source} WHERE age(xmin) > age('{transaction}'::xid) {within})"
        with self.side.reading(source, self.clock):
            ((found,),) = self.side.rows(sql)
        return found
