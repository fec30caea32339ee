"""The statements that make a table fit and that publish rows into it, as text. Nothing here talks to a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from millrace.connect.destination import Change, Column, Load, Table
from millrace.connect.sql.dialect import Dialect
from millrace.data import types
from millrace.data.dataclass import dataclass
from millrace.errors import SchemaError

# The column of a load's temporary tables that says that a row is a delete.
GONE = "__mr_gone"
# Integers up to here are exact in a DOUBLE.
_EXACT = 1 << 53
FOREVER = "9999-12-31 23:59:59+00"


@dataclass(frozen=True, slots=True)
class Found:
    """A column as the destination has it; ``type`` None where its SQL type has no logical one."""

    name: str
    sql: str
    type: pa.DataType | None
    nullable: bool = True
    default: bool = False


def columns(table: Table) -> tuple[Column, ...]:
    """All columns of the table at the destination: those of the rows, then those that the destination fills."""
    own = [(table.meta.loaded_at, types.LONG), (table.meta.marked_deleted, types.BOOLEAN)]
    if table.mode == "history":
        own += [
            (table.meta.valid_from, types.TIMESTAMPTZ),
            (table.meta.valid_to, types.TIMESTAMPTZ),
            (table.meta.is_active, types.BOOLEAN),
        ]
    have = {column.name for column in table.columns}
    return table.columns + tuple(Column(name, type_) for name, type_ in own if name and name not in have)


def create(dialect: Dialect, table: Table, target: str) -> str:
    """CREATE TABLE for ``table`` under the qualified name ``target``."""
    lines = [f"{dialect.quoted(column.name)} {dialect.column(column.type)}" for column in columns(table)]
    if dialect.primary_key and table.key and table.mode == "merge":
        lines.append(f"PRIMARY KEY ({dialect.names(table.key)})")
    return f"CREATE TABLE {target} (\n  " + ",\n  ".join(lines) + "\n)"


def alter(dialect: Dialect, table: Table, target: str, found: Sequence[Found]) -> list[Change]:
    """What must be changed for the table as found to take every column of ``table``, each with its statement.

    Raises SchemaError where that cannot be done without harm.
    """
    wanted = columns(table)
    changes: list[Change] = []
    renamed: set[str] = set()
    for column in wanted:
        present = _present(dialect, table, column, found)
        if present is not None and dialect.fold(present.name) != dialect.fold(column.name):
            one, two = dialect.quoted(present.name), dialect.quoted(column.name)
            changes.append(
                Change("rename", table.name, column.name, f"ALTER TABLE {target} RENAME COLUMN {one} TO {two}")
            )
            renamed.add(present.name)
            present = replace(present, name=column.name)
        if present is None:
            # Whose rows are appended need no key, so those before may have had none.
            if column.name in table.key and table.mode != "append":
                raise _unfit(table, f"has no column {column.name!r}, which is part of the key")
            statement = f"ALTER TABLE {target} ADD COLUMN {dialect.quoted(column.name)} {dialect.column(column.type)}"
            changes.append(Change("add", table.name, column.name, statement))
        elif wider := _wider(dialect, table, column, present):
            changes.append(Change("widen", table.name, column.name, _widen(dialect, target, present, wider)))
    asked = {dialect.fold(column.name) for column in wanted}
    for column in found:
        spare = dialect.fold(column.name) not in asked and column.name not in renamed
        if spare and not column.nullable and not column.default:
            raise _unfit(table, f"has a column {column.name!r} of its own that must not be NULL and has no default")
    return changes


def _present(dialect: Dialect, table: Table, column: Column, found: Sequence[Found]) -> Found | None:
    """The column as found: by its name, else by one that it had before and that no other column asks for now."""
    have = {dialect.fold(one.name): one for one in found}
    if (present := have.get(dialect.fold(column.name))) is not None or not column.formerly:
        return present
    asked = {dialect.fold(one.name) for one in columns(table)}
    earlier = (dialect.fold(name) for name in reversed(column.formerly))
    return next((have[name] for name in earlier if name in have and name not in asked), None)


def stretch(dialect: Dialect, table: Table, target: str, found: Sequence[Found]) -> list[Change]:
    """What lets text columns with a bound take text of any length, each with its statement. No column of the key."""
    return [
        Change("widen", table.name, column.name, _widen(dialect, target, column, types.VARCHAR))
        for column in found
        if column.type is not None and types.length(column.type) is not None and column.name not in table.key
    ]


def _wider(dialect: Dialect, table: Table, column: Column, present: Found) -> pa.DataType | None:
    """The type that the column must get, or None where it takes the values as it is."""
    want, have = dialect.kept(column.type), present.type
    if have is None and types.kind(want) in dialect.open.get(present.sql, ()):
        return None
    if have is None:
        raise _unfit(table, f"keeps {column.name!r} as {present.sql}, which cannot take {types.name(column.type)}")
    if want == have or types.is_text(have) or (types.is_json(have) and not types.is_text(want)):
        return None
    # The mapping asks for it only while every value that it saw is exact in both; `inexact` asks for those of others.
    join = want if _to_double(have, want) else types.widen(want, have)
    if dialect.kept(join) == have:
        return None
    if types.is_text(join) and not types.is_text(want):
        raise _unfit(table, f"keeps {column.name!r} as {present.sql}, which cannot take {types.name(column.type)}")
    if column.name in table.key:
        raise _unfit(table, f"keeps the key column {column.name!r} as {present.sql}; {types.name(want)} is wanted")
    return join


def _widen(dialect: Dialect, target: str, present: Found, to: pa.DataType) -> str:
    name, sql = dialect.quoted(present.name), dialect.sql(to)
    assert present.type is not None
    if types.is_text(to):
        value = dialect.as_text(name, types.kind(present.type))
    else:
        value = f"CAST({name} AS {sql})"
    return dialect.widen.format(table=target, column=name, type=sql, value=value)


def inexact(dialect: Dialect, table: Table, target: str, found: Sequence[Found]) -> list[tuple[str, str]]:
    """For each column that `alter` makes a DOUBLE of a LONG: its name, and a query for how many values would change."""
    asked: list[tuple[str, str]] = []
    for column in columns(table):
        present = _present(dialect, table, column, found)
        if present is not None and _to_double(present.type, column.type):
            name = dialect.quoted(present.name)
            asked.append((column.name, f"SELECT count(*) FROM {target} WHERE {name} > {_EXACT} OR {name} < -{_EXACT}"))
    return asked


def _to_double(have: pa.DataType | None, want: pa.DataType) -> bool:
    return have == types.LONG and want == types.DOUBLE


def _unfit(table: Table, what: str) -> SchemaError:
    return SchemaError(
        f"The table {table.name!r} {what}.",
        hint="Mend the table by hand, or rebuild it with `millrace resync`.",
    )


@dataclass(frozen=True, slots=True)
class Merge:
    """The statements of one merge (loading.md 5) in the order in which they run.

    They read ``rows`` (all columns) and the temporary table `keys` (key, order, sequence and ``gone``, which says that
    a row is a delete). `newest` stands for `keys` itself (`all_newest`) where no key comes twice; `insert` alone
    serves where all rows go in.
    """

    repeated: str
    newest: str
    all_newest: str
    met: str
    counts: str
    chosen: str
    flag: str
    clear: str
    insert: str
    insert_chosen: str
    insert_gone: str


def order(table: Table) -> tuple[str, ...]:
    """Columns that say which of two versions of a key is newer, most significant first, without the sequence."""
    front = tuple(name for name in table.order if name != table.meta.ingested_at)
    return (*front, table.meta.ingested_at)


def keys(table: Table) -> tuple[str, ...]:
    """Columns that a merge needs to know before it touches the rest."""
    return tuple(dict.fromkeys((*table.key, *order(table))))


def newer(dialect: Dialect, table: Table, a: str, b: str) -> str:
    """Condition that version ``a`` is newer than ``b``. Where one of the two has no value, the next column decides;
    a stored row without time of ingestion counts as oldest."""
    condition = "FALSE"
    for name in reversed(order(table)):
        one, two = f"{a}.{dialect.quoted(name)}", f"{b}.{dialect.quoted(name)}"
        if condition == "FALSE":
            condition = f"COALESCE({one} > {two}, FALSE)"
        else:
            condition = f"(COALESCE({one} > {two}, FALSE) OR (COALESCE({one} = {two}, TRUE) AND {condition}))"
    return condition


def sorting(dialect: Dialect, table: Table, of: str = "") -> str:
    """What to order by for the newest version to come first."""
    front = f"{of}." if of else ""
    names = [f"{front}{dialect.quoted(name)} DESC{dialect.nulls_last}" for name in order(table)]
    return ", ".join([*names, f"{front}{dialect.quoted(table.meta.sequence)} DESC"])


def merge(dialect: Dialect, table: Table, target: str, *, rows: str, at_ms: int, filled: Sequence[str] = ()) -> Merge:
    """The statements of a merge of ``rows`` into ``target`` at the load time ``at_ms``.

    ``filled``: columns that some rows leave as they were; the temporary table `filled` has their values then, as
    ``value_0`` and so on (`connect.sql.unchanged`).
    """
    d, q, meta = dialect, dialect.quoted, table.meta
    keys_, newest, met, chosen = (temporary(d, name) for name in ("keys", "newest", "met", "chosen"))
    seq, gone, deletes = q(meta.sequence), q(GONE), meta.marked_deleted is not None
    part, narrow = d.names(table.key), f"{d.names(keys(table))}, {seq}, {gone}"
    place = "row_number() OVER (PARTITION BY {} ORDER BY {})"
    newest_first = sorting(d, table)
    places, which = f"{place.format(f'{part}, {gone}', newest_first)} AS __mr_place", "__mr_place = 1"
    if deletes:
        places += f", {place.format(part, newest_first)} AS __mr_overall"
        which += f" AND (NOT {gone} OR __mr_overall = 1)"
    fresh = f"NOT EXISTS (SELECT 1 FROM {met} AS m WHERE m.stale AND m.{seq} = {{}}.{seq})"
    alone = f"NOT EXISTS (SELECT 1 FROM {chosen} AS c WHERE c.gone_seq = g.{seq})"
    gone_seq, join, join_gone = f"CAST(NULL AS {d.types['LONG']})", "", ""
    if deletes:
        gone_seq = f"g.{seq}"
        join = f" LEFT JOIN {newest} AS g ON g.{gone} AND {equal(d, table.key, 'g', 'u')}"
        join_gone = f" LEFT JOIN {newest} AS g ON g.{seq} = c.gone_seq"
    plain, picked, by_delete = merged_values(d, table, at_ms)
    fill = ""
    if filled:
        fill = f" LEFT JOIN {temporary(d, 'filled')} AS f ON f.{seq} = r.{seq}"
        values = {
            name: f"CASE WHEN f.{seq} IS NULL THEN {plain[name]} ELSE f.value_{n} END" for n, name in enumerate(filled)
        }
        plain, picked = plain | values, picked | values
    flagged = {name: value for name, value in by_delete.items() if name not in table.key}
    flagged |= {name: f"COALESCE(g.{q(name)}, t.{q(name)})" for name in order(table)}
    sets = ", ".join(f"{q(name)} = {value}" for name, value in flagged.items())
    temp = f"CREATE {d.temp_words}"
    return Merge(
        repeated=f"SELECT count(*) FROM (SELECT {part} FROM {keys_} GROUP BY {part} HAVING count(*) > 1) AS k",
        newest=(
            f"{temp} {newest} AS SELECT {narrow}\nFROM (SELECT {narrow}, {places} FROM {keys_}) AS k WHERE {which}"
        ),
        all_newest=f"CREATE TEMP VIEW {newest} AS SELECT * FROM {keys_}",
        met=(
            f"{temp} {met} AS\nSELECT n.{seq}, n.{gone}, t.{d.row_id} AS spot, {newer(d, table, 't', 'n')} AS stale\n"
            f"FROM {target} AS t JOIN {newest} AS n ON {equal(d, table.key, 't', 'n')}"
        ),
        counts=(
            f"SELECT count(DISTINCT CASE WHEN NOT {gone} THEN {seq} END), "
            f"count(DISTINCT CASE WHEN NOT {gone} AND stale THEN {seq} END), "
            f"count(DISTINCT CASE WHEN {gone} AND stale THEN {seq} END)\nFROM {met}"
        ),
        chosen=(
            f"{temp} {chosen} AS\nSELECT u.{seq}, {gone_seq} AS gone_seq FROM {newest} AS u{join}\n"
            f"WHERE NOT u.{gone} AND {fresh.format('u')}"
        ),
        flag=(
            f"UPDATE {target} AS t SET {sets}\nFROM {met} AS x JOIN {newest} AS g ON g.{seq} = x.{seq}\n"
            f"WHERE t.{d.row_id} = x.spot AND g.{gone} AND {fresh.format('g')} AND {alone}"
        ),
        clear=(
            f"DELETE FROM {target} WHERE {d.row_id} IN\n"
            f"(SELECT x.spot FROM {met} AS x WHERE NOT x.{gone} AND {fresh.format('x')})"
        ),
        insert=insert(d, target, plain, f"FROM {rows} AS r{fill}"),
        insert_chosen=insert(
            d, target, picked, f"FROM {rows} AS r JOIN {chosen} AS c ON c.{seq} = r.{seq}{join_gone}{fill}"
        ),
        insert_gone=insert(
            d,
            target,
            by_delete,
            f"FROM {newest} AS g WHERE g.{gone} AND {alone} AND\n"
            f"NOT EXISTS (SELECT 1 FROM {met} AS m WHERE m.{seq} = g.{seq})",
        ),
    )


def merged_values(dialect: Dialect, table: Table, at_ms: int) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Value by column of a row as it came, of a row that a delete may have followed, and of a delete alone."""
    q, meta = dialect.quoted, table.meta
    plain = arrived(dialect, table)
    by_delete = {name: f"g.{q(name)}" for name in keys(table)}
    if meta.loaded_at:
        plain[meta.loaded_at] = by_delete[meta.loaded_at] = str(at_ms)
    picked = dict(plain)
    if meta.marked_deleted:
        plain[meta.marked_deleted], by_delete[meta.marked_deleted] = "FALSE", "TRUE"
        picked[meta.marked_deleted] = f"(g.{q(meta.sequence)} IS NOT NULL)"
        picked |= {name: f"COALESCE(g.{q(name)}, r.{q(name)})" for name in order(table)}
    return plain, picked, by_delete


def equal(dialect: Dialect, names: Sequence[str], a: str, b: str) -> str:
    """Condition that two rows are equal in the columns ``names``, none of which is null."""
    return " AND ".join(f"{a}.{dialect.quoted(name)} = {b}.{dialect.quoted(name)}" for name in names)


def append(dialect: Dialect, table: Table, target: str, *, rows: str, at_ms: int) -> str:
    """INSERT of all rows; a delete is a row with the flag."""
    q = dialect.quoted
    values = arrived(dialect, table)
    if table.meta.loaded_at:
        values[table.meta.loaded_at] = str(at_ms)
    if table.meta.marked_deleted:
        values[table.meta.marked_deleted] = f"COALESCE(r.{q(table.meta.op_type)} = 'D', FALSE)"
    return insert(dialect, target, values, f"FROM {rows} AS r")


def truncation(dialect: Dialect, table: Table, target: str, load: Load) -> tuple[str, str]:
    """How many rows a truncation deletes, and the UPDATE that marks them. The time of their ingestion stays: what came
    before it is newer than them, and what comes next is newer still."""
    q, meta = dialect.quoted, table.meta
    assert meta.marked_deleted is not None
    sets = {meta.marked_deleted: "TRUE"}
    alive = f"NOT COALESCE({q(meta.marked_deleted)}, FALSE)"
    if table.mode == "history":
        alive = f"COALESCE({q(meta.is_active)}, FALSE) AND {alive}"
        moment = dialect.moment.format(ms=load.truncated_at_ms)
        end = dialect.greater.format(a=q(meta.valid_from), b=f"{moment} - {dialect.millisecond}")
        sets |= {meta.is_active: "FALSE", meta.valid_to: end}
    if meta.loaded_at:
        sets[meta.loaded_at] = str(load.at_ms)
    if load.truncated_before_ms is not None:
        alive += f" AND COALESCE({q(meta.ingested_at)}, 0) < {load.truncated_before_ms}"
    said = ", ".join(f"{q(name)} = {value}" for name, value in sets.items())
    return f"SELECT count(*) FROM {target} WHERE {alive}", f"UPDATE {target} SET {said} WHERE {alive}"


def arrived(dialect: Dialect, table: Table) -> dict[str, str]:
    """Value by column of a staged row ``r``."""
    return {
        column.name: dialect.arriving.get(types.kind(column.type), "{c}").format(c=f"r.{dialect.quoted(column.name)}")
        for column in table.columns
    }


def insert(dialect: Dialect, target: str, values: Mapping[str, str], source: str) -> str:
    return f"INSERT INTO {target} ({dialect.names(list(values))})\nSELECT {', '.join(values.values())}\n{source}"


def temporary(dialect: Dialect, name: str) -> str:
    """The qualified name of one of a load's temporary tables."""
    return dialect.temp + dialect.quoted(f"__mr_{name}")
