"""Tables as MySQL can have them: keys that an index takes, and rows that are not wider than the server allows.

Sources: https://dev.mysql.com/doc/refman/8.4/en/column-count-limit.html,
https://dev.mysql.com/doc/refman/8.4/en/innodb-limits.html; lengths of keys: destinations.md 5 and 14.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from millrace.connect.destination import Change, Column, Table
from millrace.connect.sql import statements
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.statements import Found
from millrace.data import types
from millrace.data.dataclass import dataclass
from millrace.destinations.mysql.dialect import REWRITTEN

# What all columns of a row may have together, text of any length and bytes apart; a little is left for the rest.
ROW_BYTES = 65_000
# Longer text is kept apart from the row.
LONGEST_VARCHAR = 16_000
# Characters of a text in a key, and bytes of all columns of an index together.
KEY_CHARACTERS = 255
INDEX_BYTES = 3072
# The column in which the values of another are rewritten, before it takes the other's place.
WIDE = "__mr_wide"
_BYTES = 4  # of a character, at most


def fitted(dialect: Dialect, table: Table, found: Mapping[str, Found] | None) -> Table:
    """The table with text of a bound that it can have; columns that are there already are left to `alter`."""
    have = found or {}
    keyed = table.key if table.mode != "append" else ()
    most = _characters(dialect, table, keyed)
    made: list[Column] = []
    for column in table.columns:
        length = types.length(column.type)
        if column.name in keyed and types.kind(column.type) in ("VARCHAR", "XML", "UUID", "GEO", "JSON"):
            made.append(replace(column, type=types.varchar(min(length or most, most))))
        elif length is not None and length > LONGEST_VARCHAR:
            made.append(replace(column, type=types.VARCHAR))
        else:
            made.append(column)
    others = [one.sql for one in have.values()]
    others += [dialect.sql(column.type) for column in made if column.name not in have]
    over = sum(map(_size, others)) - ROW_BYTES
    longest_first = sorted(
        (number for number, column in enumerate(made) if column.name not in have and column.name not in keyed),
        key=lambda number: -_size(dialect.sql(made[number].type)),
    )
    for number in longest_first:
        if over <= 0 or types.length(made[number].type) is None:
            break
        over -= _size(dialect.sql(made[number].type)) - _size("longtext")
        made[number] = replace(made[number], type=types.VARCHAR)
    return replace(table, columns=tuple(made))


def _characters(dialect: Dialect, table: Table, keyed: Sequence[str]) -> int:
    """How long a text of the key may be, so that all of them fit an index."""
    own = {column.name: column.type for column in table.columns}
    sizes = {name: _size(dialect.sql(own[name])) for name in keyed if name in own}
    texts = [name for name in sizes if types.kind(own[name]) not in _FIXED]
    room = INDEX_BYTES - 8 - sum(size for name, size in sizes.items() if name not in texts)
    return max(1, min(KEY_CHARACTERS, room // _BYTES // len(texts))) if texts else KEY_CHARACTERS


_FIXED = ("BOOLEAN", "BYTE", "SHORT", "INTEGER", "LONG", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIME", "TIMETZ",
          "TIMESTAMP", "TIMESTAMPTZ")  # fmt: skip


def _size(sql: str) -> int:
    """Bytes that a column takes of a row's, at most."""
    sql = sql.lower()
    if match := re.match(r"(?:var)?char\((\d+)\)", sql):
        return int(match[1]) * _BYTES + 2
    if match := re.match(r"(?:var)?binary\((\d+)\)", sql):
        return int(match[1]) + 2
    if sql.startswith("decimal"):
        return 32
    if re.match(r"\w*(?:text|blob|json)", sql):
        return 12
    return 8


def create(dialect: Dialect, table: Table, target: str) -> str:
    """CREATE TABLE with text that is compared byte by byte."""
    keyed = table.key if table.mode != "append" else ()
    lines = [
        f"{dialect.quoted(column.name)} {_definition(dialect, column.type, keyed=column.name in keyed)}"
        for column in statements.columns(table)
    ]
    if table.key and table.mode == "merge":
        lines.append(f"PRIMARY KEY ({dialect.names(table.key)})")
    words = dialect.types["VARCHAR"].partition(" ")[2]
    return f"CREATE TABLE {target} (\n  " + ",\n  ".join(lines) + f"\n) ENGINE=InnoDB ROW_FORMAT=DYNAMIC {words}"


def _definition(dialect: Dialect, type_: pa.DataType, *, keyed: bool) -> str:
    if keyed and types.kind(type_) == "BYTEARRAY":
        return f"VARBINARY({KEY_CHARACTERS})"
    return dialect.column(type_)


@dataclass(frozen=True, slots=True)
class Rewriting:
    """How a column becomes text in the form of new values: a column beside it is filled, and takes its place in one
    statement. A process that dies in between leaves the column as it was, and one that the next attempt drops."""

    statements: tuple[str, ...]
    forget: str


def changes(
    dialect: Dialect, table: Table, target: str, found: Sequence[Found]
) -> list[tuple[Change, Rewriting | None]]:
    """What `statements.alter` says, in MySQL's words."""
    have = {one.name: one for one in found}
    made: list[tuple[Change, Rewriting | None]] = []
    renamed: dict[str, str] = {}
    for change in statements.alter(dialect, table, target, found):
        name = change.column or ""
        if change.kind == "rename":
            earlier = change.statement.partition(" RENAME COLUMN ")[2].removesuffix(f" TO {dialect.quoted(name)}")
            renamed[name] = next(one.name for one in found if dialect.quoted(one.name) == earlier)
        present = have.get(renamed.get(name, name)) or next(
            (one for one in found if dialect.fold(one.name) == dialect.fold(name)), None
        )
        if change.kind != "widen" or present is None or present.type is None:
            made.append((change, None))
            continue
        text = dialect.types["VARCHAR"]
        if types.kind(present.type) in REWRITTEN and change.statement.endswith(text):
            rewriting = _rewriting(dialect, target, replace(present, name=name), found, renamed)
            made.append((replace(change, statement=";\n".join(rewriting.statements)), rewriting))
        else:
            must = "" if present.nullable else " NOT NULL"
            made.append((replace(change, statement=change.statement + must), None))
    return made


def _rewriting(
    dialect: Dialect, target: str, column: Found, found: Sequence[Found], renamed: Mapping[str, str]
) -> Rewriting:
    assert column.type is not None
    name, wide, text = dialect.quoted(column.name), dialect.quoted(WIDE), dialect.types["VARCHAR"]
    now = {earlier: later for later, earlier in renamed.items()}
    names = [now.get(one.name, one.name) for one in found if one.name != WIDE]
    before = names.index(column.name)
    where = "FIRST" if before == 0 else f"AFTER {dialect.quoted(names[before - 1])}"
    must = "" if column.nullable else " NOT NULL"
    return Rewriting(
        (
            f"ALTER TABLE {target} ADD COLUMN {wide} {text}",
            f"UPDATE {target} SET {wide} = {dialect.as_text(name, types.kind(column.type))}",
            f"ALTER TABLE {target} DROP COLUMN {name}, CHANGE COLUMN {wide} {name} {text}{must} {where}",
        ),
        f"ALTER TABLE {target} DROP COLUMN {wide}",
    )


def index_parts(dialect: Dialect, columns: Sequence[str], found: Mapping[str, Found]) -> tuple[str, bool]:
    """The columns of an index, and whether it can be unique: of long text an index has but the beginning."""
    long = [name for name in columns if name in found and re.match(r"\w*(?:text|blob|json)", found[name].sql.lower())]
    room = INDEX_BYTES - sum(_size(found[name].sql) for name in columns if name in found and name not in long)
    most = max(1, min(KEY_CHARACTERS, room // _BYTES // len(long))) if long else 0
    parts = [f"{dialect.quoted(name)}({most})" if name in long else dialect.quoted(name) for name in columns]
    return ", ".join(parts), not long


@dataclass(frozen=True, slots=True)
class Index:
    """Columns of an index, whether it is unique, and whether it has all of each column."""

    columns: tuple[str, ...]
    unique: bool
    whole: bool


def restored(dialect: Dialect, found: Found) -> str:
    """The type of a column as it is, with all that MODIFY would otherwise forget."""
    words = dialect.types["VARCHAR"].partition(" ")[2]
    if found.sql.endswith(" comment utc"):
        return dialect.types["TIMESTAMPTZ"]
    return f"{found.sql} {words}" if re.match(r"(?:var)?char|\w*text", found.sql) else found.sql


def staged(dialect: Dialect, type_: pa.DataType, found: Found | None) -> str:
    """The type of a column of a load's temporary table: that of the table's own, JSON as the text that it is."""
    if found is None or found.sql == "json" or found.type is None:
        return dialect.sql(type_)
    return restored(dialect, found)
