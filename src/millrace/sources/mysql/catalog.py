"""What the database has: tables, views, their columns, keys and indexes.

Source: https://dev.mysql.com/doc/refman/8.4/en/information-schema.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Protocol

from millrace.connect.mysql.session import marker
from millrace.connect.sql.reading.relation import Column, Index, Kind, Relation
from millrace.data.dataclass import dataclass
from millrace.sources.mysql.types import MOMENTS, UNPAGED, WHOLE, Type, base, typed


class Asking(Protocol):
    """Somebody who can be asked for rows."""

    family: Any

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class Described:
    """A relation with the types of its columns, by name. ``view``: it has no rows of its own.
    ``past``: of a relation of which the server keeps what its rows were (MariaDB's system versioning) the column with
    the moment in which a row ended, "" where nobody declared it; else None. ``logged``: its log has rows.
    ``virtual``: columns that the server computes when it reads them."""

    relation: Relation
    types: Mapping[str, Type]
    view: bool = False
    past: str | None = None
    logged: bool = True
    virtual: frozenset[str] = frozenset()


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def relations(asking: Asking, database: str, only: str | None = None) -> dict[str, Described]:
    """All tables and views of the database that the user may read, by name. ``only``: no other one."""
    one, two = marker(1), marker(2)
    which, given = (f" AND table_name = {two}", (database, only)) if only is not None else ("", (database,))
    tables = asking.rows(
        "SELECT table_name, table_type, table_rows FROM information_schema.tables "
        f"WHERE table_schema = {one}{which} AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') "
        "ORDER BY table_name",
        *given,
    )
    columns: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for table, *about in asking.rows(
        "SELECT table_name, column_name, column_type, is_nullable, generation_expression, extra "
        "FROM information_schema.columns "
        f"WHERE table_schema = {one}{which} ORDER BY table_name, ordinal_position",
        *given,
    ):
        columns[table].append(tuple(about))
    json = _json_columns(asking, which, given)
    keys, indexes = _indexes(asking, which, given)
    described: dict[str, Described] = {}
    for name, kind, rows in tables:
        if not (some := columns.get(name)):
            continue
        known = {column: typed("json" if (name, column) in json else str(type_)) for column, type_, *_ in some}
        ends = [(column, str(type_)) for column, type_, _, made, _ in some if made == "ROW END"]
        past = (ends[0][0] if ends else "") if kind == "SYSTEM VERSIONED" else None
        described[name] = Described(
            Relation(
                name=name,
                source=f"{quoted(database)}.{quoted(name)}",
                columns=tuple(
                    described_column(column, known[column], nullable=nullable == "YES")
                    for column, _, nullable, *_ in some
                ),
                # The end of a row is in each key of such a table; rows of now have the same one.
                key=tuple(one for one in keys.get(name, ()) if one != past),
                indexes=tuple(
                    Index(tuple(one for one in index.columns if one != past), index.unique)
                    for index in indexes.get(name, ())
                    if index.columns != (past,)
                ),
                rows=int(rows) if rows is not None and kind != "VIEW" else None,
            ),
            known,
            kind == "VIEW",
            past,
            # Whether a row stands is known of a transaction's number when it has ended: the log has statements.
            past is None or not any(type_.startswith("bigint") for _, type_ in ends),
            frozenset(column for column, *_, extra in some if extra == "VIRTUAL GENERATED"),
        )
    return described


def described_column(name: str, type_: Type, *, nullable: bool) -> Column:
    word = base(type_.name)
    kind: Kind = "whole" if word in WHOLE else "moment" if word in MOMENTS else "other"
    return Column(name, type_.name, kind, nullable=nullable, pageable=word not in UNPAGED)


def _json_columns(asking: Asking, which: str, given: tuple[Any, ...]) -> set[tuple[str, str]]:
    """MariaDB's JSON is text with a check of the column's own name."""
    if asking.family != "mariadb":
        return set()
    found = asking.rows(
        "SELECT table_name, constraint_name, check_clause FROM information_schema.check_constraints "
        f"WHERE constraint_schema = {marker(1)}{which}",
        *given,
    )
    return {(table, name) for table, name, check in found if str(check) == f"json_valid({quoted(name)})"}


def _indexes(
    asking: Asking, which: str, given: tuple[Any, ...]
) -> tuple[dict[str, tuple[str, ...]], dict[str, list[Index]]]:
    """Primary keys and indexes by table; those with an expression, or the beginning of a column, do not count."""
    gathered: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    unique: dict[tuple[str, str], bool] = {}
    for table, index, column, plain, part in asking.rows(
        "SELECT table_name, index_name, column_name, non_unique, sub_part FROM information_schema.statistics "
        f"WHERE table_schema = {marker(1)}{which} AND index_type = 'BTREE' "
        "ORDER BY table_name, index_name, seq_in_index",
        *given,
    ):
        gathered[table, index].append(None if part is not None else column)
        unique[table, index] = not plain
    keys: dict[str, tuple[str, ...]] = {}
    indexes: dict[str, list[Index]] = defaultdict(list)
    for (table, index), names in gathered.items():
        known = tuple(name for name in names if name is not None)
        if len(known) < len(names):
            continue
        if index == "PRIMARY":
            keys[table] = known
        else:
            indexes[table].append(Index(known, unique[table, index]))
    return keys, indexes
