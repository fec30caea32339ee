"""How a relation is queried: what a person chose, checked, or what fits it best (pipelines.md 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from millrace.connect.sql.reading.relation import Column, Relation
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ObjectRefused

Mode: TypeAlias = Literal["full_load", "delta", "increment_append_only", "change_data_capture", "xmin"]

# Names of the modes: those of settings, and those of the public API.
MODES: Mapping[str, Mode] = {
    "full_load": "full_load",
    "full load": "full_load",
    "delta": "delta",
    "timestamp": "delta",
    "increment_append_only": "increment_append_only",
    "incrementing": "increment_append_only",
    "unique_incrementing": "increment_append_only",
    "change_data_capture": "change_data_capture",
    "timestamp+incrementing": "change_data_capture",
    "xmin": "xmin",
}
_UPDATED = ("updated_at", "modified_at", "last_modified", "updated_ts", "update_time")
_TIMES, _COUNTS = ("delta", "change_data_capture"), ("increment_append_only", "change_data_capture")


@dataclass(frozen=True, slots=True)
class QueryMode:
    """A way to query a relation. ``timestamp`` and ``incrementing``: columns, where the mode has them. ``delay_ms``:
    rows younger than that wait for a later run."""

    mode: Mode
    timestamp: str | None = None
    incrementing: str | None = None
    delay_ms: int = 0

    def as_json(self) -> JSON:
        """What a cursor must agree with to be gone on from."""
        return [self.mode, self.timestamp, self.incrementing]


def chosen(setting: JSON, relation: Relation) -> QueryMode:
    """The mode that a person chose, or the best one where nobody did. ``setting``: a name, or a name under ``mode``
    beside its columns. Raises ObjectRefused where the relation does not have what the mode needs."""
    if setting is None or setting == "auto":
        return best(relation)
    parts: dict[str, Any] = {"mode": setting} if isinstance(setting, str) else dict(setting)
    mode = MODES.get(str(parts.get("mode")))
    if mode is None:
        names = ", ".join(dict.fromkeys(MODES.values()))
        raise _wrong(relation, f"there is no query mode {parts.get('mode')!r}", f"There are {names}.")
    best_ = best(relation)
    timestamp = incrementing = None
    if mode in _TIMES:
        timestamp = _named(parts.get("timestamp_column_name") or best_.timestamp, mode, "timestamp", relation)
    if mode in _COUNTS:
        wanted = parts.get("incrementing_column_name") or parts.get("unique_column_name") or _counter(relation)
        incrementing = _named(wanted, mode, "incrementing", relation)
    if mode == "xmin" and not relation.versioned:
        raise _wrong(relation, "it has no xmin, so it cannot be read by it", "Choose another query mode.")
    delay = int(parts.get("timestamp_delay_interval_ms") or 0)
    return QueryMode(mode, timestamp, incrementing, delay)


def best(relation: Relation) -> QueryMode:
    """The mode that sees most of what happens to rows at the least cost; new rows alone is never chosen by itself,
    for it misses updates (pipelines.md 4.3)."""
    columns = [relation.find(name) for name in _UPDATED]
    updated = next(
        (
            column.name
            for column in columns
            if column and column.kind == "moment" and not column.nullable and relation.indexed(column.name)
        ),
        None,
    )
    if updated is None:
        return QueryMode("full_load")
    counter = _counter(relation)
    if counter is not None and relation.key == (counter,):
        return QueryMode("change_data_capture", updated, counter)
    return QueryMode("delta", updated)


def _counter(relation: Relation) -> str | None:
    """The column of whole numbers that alone tells rows apart."""
    if len(relation.identity) != 1:
        return None
    column = relation.of(relation.identity[0])
    return column.name if column.kind == "whole" else None


def _named(name: Any, mode: Mode, role: str, relation: Relation) -> str:
    if not name:
        text = f"query mode {mode} needs a column, {role}_column_name"
        raise _wrong(relation, text, f"Columns: {', '.join(column.name for column in relation.columns)}.")
    column = relation.find(str(name))
    if column is None:
        text = f"it has no column {name!r} for query mode {mode}"
        raise _wrong(relation, text, f"Columns: {', '.join(column.name for column in relation.columns)}.")
    if not _serves(column, role):
        fitting = [one.name for one in relation.columns if _serves(one, role)]
        hint = f"Columns that can: {', '.join(fitting)}." if fitting else "Choose full_load."
        raise _wrong(relation, f"column {column.name} ({column.type}) cannot be the {role} column", hint)
    return column.name


def _serves(column: Column, role: str) -> bool:
    return column.kind == "moment" if role == "timestamp" else column.pageable


def _wrong(relation: Relation, text: str, hint: str) -> ObjectRefused:
    return ObjectRefused(
        f"{relation.name}: {text}", hint=hint, path=f"objects.{relation.name}.query_mode", code="query_mode"
    )
