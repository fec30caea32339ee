"""The last moment that was read of a relation of which nobody tells what is newer: its rows are known by hashes.

A hash is of a whole row. Where columns come, go or change their type, every row has another one. So beside it stand
hashes of the values of each column, and rows are held against those of the columns that are as they were. They are
kept where rows are appended; where rows merge, some of the last moment may come again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from millrace.connect.sql.reading.database import Session
from millrace.connect.sql.reading.plan import Plan
from millrace.connect.sql.reading.statements import tail
from millrace.data.batch import JSON, Mark
from millrace.data.dataclass import dataclass
from millrace.data.rows import to_json
from millrace.errors import ObjectRefused

# Rows of the last moment whose hashes are kept; where there are more, all of them are read once more.
MOST_HASHES = 20_000
_ROW_BYTES, _VALUE_BYTES = 16, 8
_ROWS, _VALUES, _COLUMNS = "seen", "seen_values", "seen_columns"


@dataclass(frozen=True, slots=True)
class Known:
    """Rows that were seen. ``rows``: hashes of them; ``places``: where each of the columns that are as they were
    stands in ``values``, None where all columns are."""

    rows: frozenset[bytes]
    values: frozenset[bytes] = frozenset()
    places: Mapping[str, int] | None = None

    def without(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that were not seen."""
        if self.places is None:
            keep = [one not in self.rows for one in _hashes(rows)]
        else:
            keep = [one not in self.values for one in _by_value(rows, list(self.places))]
        return rows if all(keep) else rows.filter(pa.array(keep, pa.bool_()))

    def __bool__(self) -> bool:
        return bool(self.rows)


def condition(plan: Plan, moment: str) -> str:
    """Rows of the moment."""
    assert plan.mode.timestamp is not None
    column = plan.relation.of(plan.mode.timestamp)
    return f"{plan.database.quoted(column.name)} = {plan.database.literal(moment, column)}"


def marks(plan: Plan, session: Session, moment: JSON) -> tuple[Mark, ...]:
    """What is kept of the rows of a moment; nothing where they are too many."""
    rows: set[bytes] = set()
    values: set[bytes] = set()
    names: Sequence[str] = ()
    if moment is not None:
        last = tail(plan.database, [condition(plan, moment)], (), MOST_HASHES + 1)
        for part in session.parts(plan.relation, last, ()):
            names = part.rows.schema.names
            rows.update(_hashes(part.rows))
            if plan.appends:
                values.update(_by_value(part.rows, names))
    kept = rows if len(rows) <= MOST_HASHES else set[bytes]()
    columns = json.dumps([[name, plan.relation.of(name).type] for name in names]).encode()
    beside = bool(kept and values)
    return (
        Mark(_ROWS, b"".join(sorted(kept)) if kept else None, replace=True),
        Mark(_VALUES, b"".join(sorted(values)) if beside else None, replace=True),
        Mark(_COLUMNS, columns if beside else None, replace=True),
    )


def known(plan: Plan, moment: str) -> Known:
    """The rows of the moment that were seen, to be told from others now. Raises ObjectRefused "cannot_tell_apart"."""
    memory = plan.reading.memory
    rows = frozenset(_cut(memory.recall(_ROWS), _ROW_BYTES))
    before: list[list[str]] = json.loads((memory.recall(_COLUMNS) or (b"[]",))[-1])
    now = [[one.name, one.type] for one in plan.relation.columns]
    if not plan.appends or not before or before == now:
        return Known(rows)
    same = {name: place for place, (name, type_) in enumerate(before) if [name, type_] in now}
    identity = plan.relation.identity
    told_apart = identity and {*identity} <= same.keys()
    if not told_apart and len(same) < len(before):
        # Nothing says which row is which, so each of its former values would have to.
        raise ObjectRefused(
            f"columns of {plan.relation.name} are gone or of another type, and nothing tells which of its rows of "
            f"{moment} were appended before",
            hint="Read it into a fresh table: `millrace resync --mode drop-and-load`.",
            code="cannot_tell_apart",
        )
    data = b"".join(memory.recall(_VALUES))
    width = _VALUE_BYTES * len(before)
    told = (data[at : at + width] for at in range(0, len(data), width))
    values = frozenset(
        b"".join(one[place * _VALUE_BYTES : (place + 1) * _VALUE_BYTES] for place in same.values()) for one in told
    )
    return Known(rows, values, same)


def _cut(told: Sequence[bytes], width: int) -> list[bytes]:
    return [data[at : at + width] for data in told for at in range(0, len(data), width)]


def _hashes(rows: pa.RecordBatch) -> list[bytes]:
    return [hashlib.sha256(text.encode()).digest()[:_ROW_BYTES] for text in to_json(rows)]


def _by_value(rows: pa.RecordBatch, names: Sequence[str]) -> list[bytes]:
    """Of each row, the hashes of its values in the order of the names."""
    columns: list[Any] = [
        [hashlib.sha256(text.encode()).digest()[:_VALUE_BYTES] for text in to_json(rows.select([name]))]
        for name in names
    ]
    return [b"".join(one) for one in zip(*columns, strict=True)]
