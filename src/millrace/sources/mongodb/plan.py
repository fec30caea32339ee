"""What one read of an object by queries needs to know."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from millrace.connect.source import Context, Reading
from millrace.connect.sql.reading import modes
from millrace.connect.sql.reading.modes import QueryMode
from millrace.connect.sql.reading.plan import of_mode
from millrace.connect.sql.reading.relation import Column, Kind, Relation
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.sources.mongodb.catalog import ID, Object
from millrace.sources.mongodb.client import Server
from millrace.sources.mongodb.documents import Rows

# Documents of one batch of rows, and of one range of a history; the most ranges that there are.
BATCH_ROWS = 5_000
RANGE_ROWS, MOST_RANGES = 200_000, 64

# Names that drivers for MongoDB give to what the modes of databases know by other names.
_UPDATED = ("updatedAt", "modifiedAt", "lastModified", "updateTime")


@dataclass(frozen=True, slots=True)
class Plan:
    """One read. ``mode`` and ``relation``: how it is queried, None where changes come from the log."""

    server: Server
    object: Object
    reading: Reading
    context: Context
    rows: Rows
    mode: QueryMode | None = None
    relation: Relation | None = None
    range_rows: int = RANGE_ROWS

    @property
    def whole_every(self) -> timedelta:
        return timedelta(hours=self.server.config.full_load_every_hours)

    @property
    def queried(self) -> QueryMode:
        assert self.mode is not None
        return self.mode

    def queried_by(self, relation: Relation, mode: QueryMode) -> Plan:
        return replace(self, relation=relation, mode=mode)

    def state(self) -> dict[str, Any] | None:
        """The cursor, where it belongs to this mode: the position has another meaning in every other.

        Raises ObjectRefused as `of_mode` does.
        """
        return of_mode(self.reading.cursor, self._mode, self.object.name, appends=self.reading.load_mode == "append")

    def cursor(self, **state: JSON) -> dict[str, JSON]:
        return {"v": 1, "mode": self._mode, **state}

    @property
    def _mode(self) -> JSON:
        return self.mode.as_json() if self.mode is not None else ["log"]


def chosen(setting: JSON, relation: Relation) -> QueryMode:
    """The mode that a person chose, or the best one where nobody did. Raises ObjectRefused as `modes.chosen` does.

    A field that a person names is taken for what it shall be where no document that was looked at has it.
    """
    updated = next((name for name in _UPDATED if _serves(relation, name)), None)
    if setting is None or setting == "auto":
        found = modes.best(relation)
        return QueryMode("delta", updated) if found.mode == "full_load" and updated is not None else found
    parts: dict[str, Any] = {"mode": setting} if isinstance(setting, str) else dict(setting)
    if updated is not None and modes.best(relation).timestamp is None:
        parts.setdefault("timestamp_column_name", updated)
    if not parts.get("unique_column_name") and (id_ := relation.find(ID)) is not None and id_.pageable:
        parts.setdefault("incrementing_column_name", ID)
    named: tuple[tuple[str, Kind], ...] = (("timestamp_column_name", "moment"), ("incrementing_column_name", "whole"))
    unseen = [Column(str(parts[role]), "unseen", kind) for role, kind in named if parts.get(role)]
    unseen = [one for one in unseen if relation.find(one.name) is None]
    return modes.chosen(parts, replace(relation, columns=(*relation.columns, *unseen)))


def _serves(relation: Relation, name: str) -> bool:
    column = relation.find(name)
    return column is not None and column.kind == "moment" and not column.nullable and relation.indexed(column.name)
