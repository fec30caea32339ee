"""The statements of a merge, as MySQL has them.

MySQL's rows have no number, so a row of the table is found by its key; and a statement may name each temporary table
but once (https://dev.mysql.com/doc/refman/8.4/en/temporary-table-problems.html), so each of them knows more.
"""

from __future__ import annotations

from collections.abc import Sequence

from millrace.connect.destination import Column, Table
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.statements import (
    GONE,
    Merge,
    arrived,
    equal,
    insert,
    keys,
    merged_values,
    newer,
    order,
    sorting,
    temporary,
)
from millrace.data.columns import BETWEEN, UNCHANGED

# Columns of the temporary tables: the delete that follows a row; whether the table has a newer row of the key.
_AFTER, _STALE = "__mr_after", "__mr_stale"


def merge(dialect: Dialect, table: Table, target: str, *, rows: str, at_ms: int, filled: Sequence[str] = ()) -> Merge:
    """The statements of a merge of ``rows`` into ``target`` at the load time ``at_ms``; ``filled`` as elsewhere.

    `met` has one row for each row of `newest` whose key is in the table, however often it is there.
    """
    d, q, meta = dialect, dialect.quoted, table.meta
    keys_, newest, met, chosen = (temporary(d, name) for name in ("keys", "newest", "met", "chosen"))
    seq, gone, after, stale = q(meta.sequence), q(GONE), q(_AFTER), q(_STALE)
    part, narrow = d.names(table.key), f"{d.names(keys(table))}, {seq}, {gone}"
    newest_first = sorting(d, table)
    over = f"OVER (PARTITION BY {part} ORDER BY {newest_first})"
    places, which = (
        f"row_number() OVER (PARTITION BY {part}, {gone} ORDER BY {newest_first}) AS __mr_place",
        "__mr_place = 1",
    )
    no_delete, join, join_gone = "CAST(NULL AS SIGNED)", "", ""
    last = no_delete
    if meta.marked_deleted is not None:
        last = f"CASE WHEN {gone} THEN NULL ELSE __mr_last END"
        places += f", row_number() {over} AS __mr_overall"
        places += f", first_value(CASE WHEN {gone} THEN {seq} END) {over} AS __mr_last"
        which += f" AND (NOT {gone} OR __mr_overall = 1)"
        join = f"\nLEFT JOIN {newest} AS g ON g.{seq} = c.{after}"
        join_gone = f"\nLEFT JOIN {chosen} AS c ON c.{after} = g.{seq}"
    temp = f"CREATE {d.temp_words}"
    plain, picked, by_delete = merged_values(d, table, at_ms)
    fill = ""
    if filled:
        fill = f"\nLEFT JOIN {temporary(d, 'filled')} AS f ON f.{seq} = r.{seq}"
        values = {
            name: f"CASE WHEN f.{seq} IS NULL THEN {plain[name]} ELSE f.value_{n} END" for n, name in enumerate(filled)
        }
        plain, picked = plain | values, picked | values
    flagged = {name: value for name, value in by_delete.items() if name not in table.key}
    flagged |= {name: f"COALESCE(g.{q(name)}, t.{q(name)})" for name in order(table)}
    return Merge(
        repeated=f"SELECT count(*) FROM (SELECT {part} FROM {keys_} GROUP BY {part} HAVING count(*) > 1) AS k",
        newest=(
            f"{temp} {newest} (PRIMARY KEY ({seq})) AS SELECT {narrow}, {last} AS {after}\n"
            f"FROM (SELECT {narrow}, {places} FROM {keys_}) AS k WHERE {which}"
        ),
        all_newest=(f"{temp} {newest} (PRIMARY KEY ({seq})) AS SELECT {narrow}, {no_delete} AS {after} FROM {keys_}"),
        met=(
            f"{temp} {met} (PRIMARY KEY ({seq})) AS\n"
            f"SELECT {d.names(table.key, 'n')}, n.{seq}, n.{gone}, max({newer(d, table, 't', 'n')}) AS {stale}\n"
            f"FROM {newest} AS n JOIN {target} AS t ON {equal(d, table.key, 't', 'n')}\n"
            f"GROUP BY {d.names(table.key, 'n')}, n.{seq}, n.{gone}"
        ),
        counts=(
            f"SELECT count(CASE WHEN NOT {gone} THEN 1 END), count(CASE WHEN NOT {gone} AND {stale} THEN 1 END), "
            f"count(CASE WHEN {gone} AND {stale} THEN 1 END)\nFROM {met}"
        ),
        chosen=(
            f"{temp} {chosen} (PRIMARY KEY ({seq}), KEY ({after})) AS\n"
            f"SELECT u.{seq}, u.{after} FROM {newest} AS u LEFT JOIN {met} AS m ON m.{seq} = u.{seq}\n"
            f"WHERE NOT u.{gone} AND NOT COALESCE(m.{stale}, FALSE)"
        ),
        flag=d.update(
            target,
            flagged,
            f"{met} AS x JOIN {newest} AS g ON g.{seq} = x.{seq}{join_gone}",
            f"{equal(d, table.key, 't', 'x')} AND x.{gone} AND NOT x.{stale} AND c.{seq} IS NULL",
        ),
        clear=(
            f"DELETE t FROM {target} AS t JOIN {met} AS x ON {equal(d, table.key, 't', 'x')}\n"
            f"WHERE NOT x.{gone} AND NOT x.{stale}"
        ),
        insert=insert(d, target, plain, f"FROM {rows} AS r{fill}"),
        insert_chosen=insert(
            d, target, picked, f"FROM {chosen} AS c JOIN {rows} AS r ON r.{seq} = c.{seq}{join}{fill}"
        ),
        insert_gone=insert(
            d,
            target,
            by_delete,
            f"FROM {newest} AS g{join_gone}\nLEFT JOIN {met} AS m ON m.{seq} = g.{seq}\n"
            f"WHERE g.{gone} AND c.{seq} IS NULL AND m.{seq} IS NULL",
        ),
    )


# The temporary tables of `filling`; `said` has one for each column.
SAID = "said_"


def filling(dialect: Dialect, table: Table, target: str, lacking: Sequence[Column], rows: str) -> tuple[str, ...]:
    """The statements that make `filled` (`connect.sql.unchanged`): for each newest row that leaves something out, the
    values of the columns ``lacking``."""
    d, seq, part = dialect, dialect.quoted(table.meta.sequence), dialect.names(table.key)
    keys_, latest, newest = (temporary(d, name) for name in ("keys", "latest", "newest"))
    numbers = range(len(lacking))
    temp, by_seq = f"CREATE {d.temp_words}", f"(PRIMARY KEY ({seq})) AS"
    lacks = [_lacks(d, column) for column in lacking]
    inner = ", ".join(
        f"{lacks[n]} AS lacks_{n}, row_number() OVER (PARTITION BY {d.names(table.key, 'k')}, {lacks[n]} "
        f"ORDER BY {sorting(d, table, 'k')}) AS place_{n}"
        for n in numbers
    )
    outer = ", ".join(f"max(CASE WHEN NOT lacks_{n} AND place_{n} = 1 THEN {seq} END) AS seq_{n}" for n in numbers)
    some = f"max(k.{d.quoted(UNCHANGED)} IS NOT NULL) OVER (PARTITION BY {d.names(table.key, 'k')})"
    came = arrived(d, table)
    values = ", ".join(
        f"CASE WHEN l.seq_{n} IS NULL THEN t.{d.quoted(column.name)} ELSE v{n}.value END AS value_{n}"
        for n, column in enumerate(lacking)
    )
    joins = "\n".join(f"LEFT JOIN {temporary(d, f'{SAID}{n}')} AS v{n} ON v{n}.{seq} = l.seq_{n}" for n in numbers)
    return (
        f"{temp} {latest} AS\nSELECT {part}, {outer}\n"
        f"FROM (SELECT {d.names(table.key, 'k')}, k.{seq}, {some} AS partial, {inner} FROM {keys_} AS k\n"
        f"WHERE NOT k.{d.quoted(GONE)} AND NOT EXISTS (SELECT 1 FROM {target} AS t "
        f"WHERE {equal(d, table.key, 't', 'k')} AND {newer(d, table, 't', 'k')})) AS x\n"
        f"WHERE partial GROUP BY {part}",
        *(
            f"{temp} {temporary(d, f'{SAID}{n}')} {by_seq}\nSELECT r.{seq}, {came[column.name]} AS value\n"
            f"FROM {latest} AS l JOIN {rows} AS r ON r.{seq} = l.seq_{n}"
            for n, column in enumerate(lacking)
        ),
        f"{temp} {temporary(d, 'filled')} {by_seq}\nSELECT {seq}, {', '.join(f'value_{n}' for n in numbers)}\n"
        f"FROM (SELECT u.{seq}, {values}, row_number() OVER (PARTITION BY u.{seq} ORDER BY u.{seq}) AS place\n"
        f"FROM {newest} AS n JOIN {keys_} AS u ON u.{seq} = n.{seq}\n"
        f"LEFT JOIN {latest} AS l ON {equal(d, table.key, 'l', 'u')}\n{joins}\n"
        f"LEFT JOIN {target} AS t ON {equal(d, table.key, 't', 'u')}\n"
        f"WHERE NOT u.{d.quoted(GONE)} AND u.{d.quoted(UNCHANGED)} IS NOT NULL) AS x WHERE place = 1",
    )


def _lacks(dialect: Dialect, column: Column) -> str:
    """Condition that a row ``k`` leaves the column out."""
    found = f"k.{dialect.quoted(UNCHANGED)}"
    names = (name.replace("\\", "\\\\").replace("'", "''") for name in (column.name, *column.formerly))
    tests = (f"instr({found}, '{BETWEEN}{name}{BETWEEN}') > 0" for name in names)
    return f"COALESCE({' OR '.join(tests)}, FALSE)"
