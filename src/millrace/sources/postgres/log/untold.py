"""What became of followed tables that the log does not tell of, seen by the catalogue as it was at an earlier run.

A partition that is attached, detached or dropped takes rows with it that were written when it was no part, or that
nobody deletes, and so does one that is truncated by itself; a column with a default fills rows that nobody writes, and
one of another type gives them other values; one with another name has none in rows that nobody writes. Only what is
sure is said.
Sources: https://www.postgresql.org/docs/current/logical-replication-restrictions.html, catalog-pg-inherits.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from millrace.connect.log import Followed
from millrace.connect.source import Clock, Note
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import Transient
from millrace.sources.postgres.log.publishing import Side
from millrace.sources.postgres.log.snapshots import Snapshot

# For so long whoever changes a partition is waited for.
_PATIENCE_S = 1
# So much an earlier version recalled of a table, and no files.
_SHORT = 3
# Place of the names of columns among what is recalled behind the partitions.
_NAMED = 2

_TABLES = """
SELECT n.nspname || '.' || c.relname, c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
  ARRAY(SELECT atttypid::int8 FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum),
  ARRAY(SELECT CASE WHEN a.attisdropped THEN '' ELSE a.attname::text END FROM pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum),
  y.xmin::text::int8, c.relfilenode::int8
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
SELECT p.root::int8, p.id::int8, n.nspname || '.' || c.relname, p.since::text::int8, y.xmin = p.since,
  c.relfilenode::int8, c.xmin::text::int8
FROM parts AS p JOIN pg_class AS c ON c.oid = p.id AND c.relkind = 'r'
JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_type AS y ON y.oid = c.reltype"""

_NAMES = """
SELECT c.oid::int8, n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::oid[])"""

_FILLED_PARTS = "SELECT id::int8 FROM unnest(%s::oid[]) AS id WHERE pg_relation_size(id) > 0"

_NEXT = "SELECT (txid_snapshot_xmax(txid_current_snapshot()) & 4294967295)::int8"

_PLACE = """
SELECT pg_relation_size(c.oid)::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
  has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'), pg_get_partition_constraintdef(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s::oid"""

# Since version 11 rows that were there have the default without being written. One that is another for each row, and
# each default of older versions, has all rows written anew.
_FILLED = """
SELECT a.attname::text, a.xmin::text::int8, EXISTS (
  SELECT 1 FROM pg_attribute AS l WHERE l.attname = a.attname AND to_jsonb(l) ->> 'atthasmissing' = 'true'
  AND (l.attrelid = a.attrelid OR l.attrelid = ANY (%s::oid[]))),
  (a.atthasdef OR a.attidentity <> '') AND COALESCE(to_jsonb(a) ->> 'attgenerated', '') = ''
FROM pg_attribute AS a WHERE a.attrelid = %s::oid AND a.attnum > %s AND NOT a.attisdropped ORDER BY a.attnum"""

# Columns, the transaction that changed each last, and whether they are in the log.
_COLUMNS = """
SELECT a.attnum::int4, a.attname::text, format_type(a.atttypid, a.atttypmod), a.xmin::text::int8,
  COALESCE(to_jsonb(a) ->> 'attgenerated', '') = ''
FROM pg_attribute AS a WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""

_ALTERED = "SELECT DISTINCT xmin::text::int8 FROM pg_attribute WHERE attrelid = %s::oid AND attnum > 0"

_ANEW = "read its history again into a fresh table (`millrace resync --mode drop-and-load`)"
_AGAIN = "read its history again (`millrace resync`)"


@dataclass(frozen=True, slots=True)
class Part:
    """A partition with rows of its own. ``since``: the transaction by which it came under its root; ``made_there``:
    the same that made it, so that it has no rows of before. ``file``: by a number, another one after it was truncated
    or written anew, of which ``changed`` is no earlier transaction. ``filled``: it has rows, or had some."""

    name: str
    since: int
    made_there: bool
    file: int
    changed: int
    filled: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A followed table in the catalogue. ``types``: numbers of those of all columns that it ever had, 0 where one went,
    and their ``names``, "" where one went; ``made``: the transaction that made it; ``file``: as of a part; ``next``: no
    earlier transaction than this came later."""

    id: int
    sql: str
    types: Sequence[int]
    names: Sequence[str]
    made: int
    file: int
    next: int
    parts: Mapping[int, Part]


@dataclass(frozen=True, slots=True)
class Emptied:
    """A partition in which no row of before is left, though the log may not have told of it: only where the table
    ``root`` is truncated as a whole, it does."""

    name: str
    id: int
    part: str
    root: int


def tables(side: Side, names: list[str]) -> dict[str, Table]:
    """The tables as the catalogue has them now."""
    ((next_,),) = side.rows(_NEXT)
    found = side.rows(_TABLES, names)
    told = side.rows(_PARTS, [id_ for _, id_, *_ in found])
    filled = _filled(side, [id_ for _, id_, *_ in told])
    parts: dict[int, dict[int, Part]] = {}
    for root, id_, *about in told:
        parts.setdefault(root, {})[id_] = Part(*about, filled=id_ in filled)
    return {
        name: Table(id_, sql, types, names, made, file, next_, parts.get(id_, {}))
        for name, id_, sql, types, names, made, file in found
    }


def _filled(side: Side, parts: list[int]) -> set[int]:
    """Those that have rows. Of those that somebody is changing nobody knows, and they are among them."""
    if not parts:
        return set()
    side.run(f"SET lock_timeout = '{_PATIENCE_S} s'")
    try:
        return {id_ for (id_,) in side.rows(_FILLED_PARTS, parts)}
    except Transient:
        return {*parts}
    finally:
        side.run("RESET lock_timeout")


def kept(now: Mapping[str, Table]) -> JSON:
    """What the position recalls of the tables."""
    return {
        name: [
            one.id,
            [*one.types],
            {str(id_): [part.name, part.since, part.file, part.filled] for id_, part in one.parts.items()},
            one.file,
            one.next,
            [*one.names],
        ]
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
        new = called.get(id_)
        if new is None:
            text = f"{name} was dropped: its rows stay as they were read, without what changed before it went"
            yield Note("rows_lost", text)
        elif new != name:
            yield Note(
                "rows_lost",
                f"{name} is called {new} now: rows that were read before stay in the table of {name}, and those of "
                f"{new} are the rows of another object",
            )
    for name, (id_, types, parts, *files) in before.items():
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
        rewritten = _rewritten(table, parts, files)
        # An earlier version recalled how many columns there were, and not their types.
        many, types = (types, []) if isinstance(types, int) else (len(types), types)
        yield from _of_columns(_Look(side, clock), name, table, many, rewritten, read)
        # An earlier version recalled no names.
        yield from _of_names(_Look(side, clock), name, table, files[_NAMED] if len(files) > _NAMED else (), read)
        if rewritten:
            yield from _of_types(_Look(side, clock), name, table, many, types, files[1], read)


def emptied(
    side: Side, clock: Clock, before: JSON, now: Mapping[str, Table], streams: Mapping[str, Followed]
) -> list[Emptied]:
    """Partitions with none of the rows that they had ``before``, though none was deleted by itself."""
    found: list[Emptied] = []
    for name, (id_, _, parts, *files) in before.items():
        history: Any = streams[name].history if name in streams else None
        table = now.get(name)
        if table is None or table.id != id_ or not files:
            continue
        if not (history and history.get("done") and history.get("snapshot")):
            continue
        look, read = _Look(side, clock), Snapshot.of(history["snapshot"])
        for part_id, part in sorted(table.parts.items()):
            _, since, file, filled = parts.get(str(part_id), (None, None, None, False))
            if since != part.since or not filled or file in (None, part.file) or read.sees(part.changed):
                continue
            if look.has_older(table.sql, files[1], part_id) or look.altered(table, read, part_id):
                continue
            found.append(Emptied(name, part_id, part.name, table.id))
    return found


def note_of(one: Emptied) -> Note:
    """What a person should know of it."""
    text = f"{one.part} was truncated or written anew by itself: rows of {one.name} that went with that are not marked"
    return Note("rows_lost", f"{text} as deleted: {_ANEW}")


def settled(seen: JSON, before: JSON, waiting: Sequence[Emptied], truncated: Collection[int]) -> JSON:
    """What is recalled while partitions are ``waiting`` for what the log tells of their roots: as they were
    ``before``. Of tables that the log told to be ``truncated`` no file is known, for they may just have got it."""
    recalled = dict(seen)
    for name, known in seen.items():
        if known[0] in truncated and len(known) > _SHORT:
            parts = {id_: [part, since, None, filled] for id_, (part, since, _, filled) in known[2].items()}
            recalled[name] = [*known[:2], parts, *known[3:]]
    for one in waiting:
        id_, columns, parts, file, _, names = recalled[one.name]
        parts = parts | {str(one.id): before[one.name][2][str(one.id)]}
        recalled[one.name] = [id_, columns, parts, file, before[one.name][4], names]
    return recalled


def _rewritten(table: Table, parts: JSON, files: Sequence[int]) -> bool:
    """Whether rows of the table may have been written anew since; False where nobody knows the files of before."""
    if not files:
        return False
    were = {int(id_): known[2] for id_, known in parts.items()}
    return files[0] != table.file or any(were.get(id_) != part.file for id_, part in table.parts.items())


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
    gone = [part for id_, (part, *_) in before.items() if int(id_) not in table.parts]
    if gone:
        text = f"rows that went with {', '.join(gone)}, no part of {name} any more, are not marked as deleted"
        yield Note("rows_lost", f"{text}: {_ANEW}")


def _of_columns(look: _Look, name: str, table: Table, before: int, rewritten: bool, read: Snapshot) -> Iterator[Note]:
    if len(table.types) <= before:
        return
    for column, since, filled, fills in look.side.rows(_FILLED, [*table.parts], table.id, before):
        if read.sees(since):
            continue
        if (filled and look.has_older(table.sql, since)) or (rewritten and fills and look.altered(table, read)):
            text = f"{name}.{column} came with a default: rows that were there before have NULL in its place"
            yield Note("rows_lost", f"{text}: {_AGAIN}")


def _of_names(look: _Look, name: str, table: Table, before: Sequence[str], read: Snapshot) -> Iterator[Note]:
    pairs = zip(before, table.names, strict=False)  # behind those of before are new ones
    called = {number: old for number, (old, new) in enumerate(pairs, 1) if old and new and old != new}
    for number, column, _, since, logged in look.side.rows(_COLUMNS, table.id) if called else ():
        if number in called and logged and not read.sees(since) and look.has_older(table.sql, since):
            text = f"{name}.{column} was called {called[number]}: rows that were read before have its values there"
            yield Note("column_changed", f"{text}: {_AGAIN}")


def _of_types(
    look: _Look, name: str, table: Table, many: int, before: Sequence[int], next_: int, read: Snapshot
) -> Iterator[Note]:
    """The ``many`` columns that were there ``before`` and whose change wrote all rows anew; ``next_``: of then."""
    changed = [one for one in look.side.rows(_COLUMNS, table.id) if not read.sees(one[3])]
    retyped = {
        number for number, *_ in changed if number <= len(before) and before[number - 1] != table.types[number - 1]
    }
    # What wrote rows anew for another column may have changed no more of this one than its default.
    others = {since for number, _, _, since, _ in changed if number > many or number in retyped}
    altered = bool(changed) and look.altered(table, read)
    for number, column, type_, since, logged in changed:
        if number > many or not logged:
            continue
        if number in retyped:
            # It may have been changed once more since, without that: then no row is of before, and some of in between.
            anew = altered or (look.has_older(table.sql, since) and not look.has_older(table.sql, next_))
        else:
            anew = altered and since not in others and look.has_of(table.sql, [since])
        if anew:
            text = f"{name}.{column} is {type_} since all rows were written anew: where USING gave them other values"
            yield Note("column_changed", f"{text}, rows that were read before have the old ones: {_AGAIN}")


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks for rows by the transaction that wrote them."""

    side: Side
    clock: Clock

    def has_older(self, source: str, transaction: int, part: int | None = None) -> bool:
        """Whether the table, or the partition of it, has such rows."""
        return self._has(source, f"age(xmin) > age('{transaction}'::xid)", part)

    def altered(self, table: Table, read: Snapshot, part: int | None = None) -> bool:
        """Whether it has rows that were written when a column was added or changed, and a history did not see that: all
        are written anew then."""
        since = [one for (one,) in self.side.rows(_ALTERED, table.id) if not read.sees(one)]
        return bool(since) and self.has_of(table.sql, since, part)

    def has_of(self, source: str, transactions: Sequence[int], part: int | None = None) -> bool:
        """Whether it has rows that one of the transactions wrote."""
        listed = ", ".join(f"'{one}'::xid" for one in transactions)
        return self._has(source, f"xmin IN ({listed})", part)

    def _has(self, source: str, condition: str, part: int | None) -> bool:
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
        sql = f"SELECT EXISTS (SELECT 1 FROM {source} WHERE {condition} {within})"
        with self.side.reading(source, self.clock):
            ((found,),) = self.side.rows(sql)
        return found
