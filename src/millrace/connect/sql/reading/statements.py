"""Conditions and orders of the queries."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.connect.sql.reading.database import Database
from millrace.connect.sql.reading.relation import Relation


def after(database: Database, relation: Relation, names: Sequence[str], values: Sequence[str]) -> str:
    """Rows behind the one with these values, in the order of the columns."""
    columns = [relation.of(name) for name in names]
    quoted = [database.quoted(name) for name in names]
    literals = [database.literal(value, column) for value, column in zip(values, columns, strict=True)]
    if len(names) == 1:
        return f"{quoted[0]} > {literals[0]}"
    if database.rows_compare:
        return f"({', '.join(quoted)}) > ({', '.join(literals)})"
    # a > x OR (a = x AND (b > y OR …)), with a >= x in front, which an index can use.
    inner = f"{quoted[-1]} > {literals[-1]}"
    for name, literal in zip(quoted[-2::-1], literals[-2::-1], strict=True):
        inner = f"{name} > {literal} OR ({name} = {literal} AND ({inner}))"
    return f"{quoted[0]} >= {literals[0]} AND ({inner})"


def among(database: Database, relation: Relation, names: Sequence[str], keys: Sequence[Sequence[str]]) -> str:
    """Rows with one of these values of the columns."""
    columns = [relation.of(name) for name in names]
    rows = (
        (
            f"{database.quoted(column.name)} = {database.literal(value, column)}"
            for value, column in zip(key, columns, strict=True)
        )
        for key in keys
    )
    return " OR ".join(f"({' AND '.join(row)})" for row in rows)


def tail(database: Database, where: Sequence[str], order: Sequence[str] = (), limit: int | None = None) -> str:
    """What stands behind FROM."""
    conditions = [f"({one})" for one in where if one]
    words = [f"WHERE {' AND '.join(conditions)}"] if conditions else []
    if order:
        words.append(f"ORDER BY {', '.join(database.quoted(name) for name in order)}")
    if limit is not None:
        words.append(f"LIMIT {limit}")
    return " ".join(words)


def joined(word: str, conditions: Sequence[str]) -> str:
    """Conditions with AND or OR between; empty ones do not count."""
    return f" {word} ".join(f"({one})" for one in conditions if one)
