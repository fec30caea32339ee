"""How many rows a relation has now, in ranges of its key where that is a whole number."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.connect.source import Total
from millrace.connect.sql.reading.database import Database, Session
from millrace.connect.sql.reading.relation import Relation
from millrace.connect.sql.reading.statements import tail

# Ranges in which rows are counted: enough to say where some are missing.
RANGES = 16


def totals(database: Database, relation: Relation, above: int | None) -> Sequence[Total]:
    """Rows by ranges, in one state of the database; those with a key ``above`` alone, where that is given."""
    with database.session() as session:
        key = _numbered(relation)
        if key is None:
            return [Total(int(session.value(f"SELECT count(*) FROM {relation.source}") or 0))]
        name = database.quoted(key)
        if above is not None:
            return [Total(_count(session, database, relation, f"{name} > {above}"), key, above + 1)]
        low = session.value(f"SELECT min({name}) FROM {relation.source}")
        high = session.value(f"SELECT max({name}) FROM {relation.source}")
        if low is None or high is None:
            return [Total(0, key)]
        ranges = cut(int(low), int(high))
        found: list[Total] = []
        for first, last in ranges:
            conditions = [f"{name} >= {first}"] if first is not None else []
            conditions += [f"{name} <= {last}"] if last is not None else []
            found.append(Total(_count(session, database, relation, *conditions), key, first, last))
        return found


def cut(low: int, high: int) -> list[tuple[int | None, int | None]]:
    """Ranges without a gap from ``low`` to ``high``; the first and the last have no end on their outer side."""
    parts = min(RANGES, high - low + 1)
    edges = [low + (high - low + 1) * place // parts for place in range(1, parts)]
    return list(zip([None, *edges], [*(edge - 1 for edge in edges), None], strict=True))


def _numbered(relation: Relation) -> str | None:
    """The key, where it is one column of whole numbers."""
    if len(relation.identity) != 1:
        return None
    column = relation.of(relation.identity[0])
    return column.name if column.kind == "whole" else None


def _count(session: Session, database: Database, relation: Relation, *conditions: str) -> int:
    return int(session.value(f"SELECT count(*) FROM {relation.source} {tail(database, conditions)}") or 0)
