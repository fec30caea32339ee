"""What one read of a relation needs to know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from millrace.connect.source import Context, Reading
from millrace.connect.sql.reading.database import Database
from millrace.connect.sql.reading.modes import QueryMode
from millrace.connect.sql.reading.relation import Relation
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ObjectRefused

# Rows of one statement, where another goes on behind its last row (pipelines.md 4.2).
PAGE_ROWS = 500_000
# Rows of one range of keys, and how many ranges there are at most (pipelines.md 2.3).
RANGE_ROWS, MOST_RANGES = 500_000, 64

# Under this part the incremental lane notes where it began, for the lane of history.
BEGINNING = "beginning"


def of_mode(cursor: JSON, mode: JSON, name: str, *, appends: bool) -> dict[str, Any] | None:
    """The cursor, where it belongs to the mode. Raises ObjectRefused "cannot_tell_apart" where rows that were read in
    another mode would be appended once more; one that reads everything each time appends it each time."""
    if not isinstance(cursor, dict):
        return None
    if cursor.get("mode") == mode:
        return cursor
    # Cursors of a database's log name no mode.
    was = cursor.get("mode", ["log"])[0]
    if appends and was != "full_load":
        raise ObjectRefused(
            f"{name} is queried otherwise than before (by {was}), and nothing tells which of its rows were appended",
            hint="Read it into a fresh table: `millrace resync --mode drop-and-load`. Or query it as before.",
            code="cannot_tell_apart",
        )
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """One read. ``parallelism``: connections for ranges of keys. ``whole_every``: from one reading of everything to
    the next. ``repeats_whole``: the incremental lane reads everything the first time too, as no other lane does."""

    database: Database
    relation: Relation
    mode: QueryMode
    reading: Reading
    context: Context
    parallelism: int = 2
    whole_every: timedelta = timedelta(hours=6)
    repeats_whole: bool = False
    page_rows: int = PAGE_ROWS
    range_rows: int = RANGE_ROWS

    @property
    def appends(self) -> bool:
        """Rows that come twice are there twice."""
        return self.reading.load_mode == "append" or not self.relation.identity

    def state(self) -> dict[str, Any] | None:
        """The cursor, where it belongs to this mode: the position has another meaning in every other.

        Raises ObjectRefused as `of_mode` does.
        """
        return of_mode(self.reading.cursor, self.mode.as_json(), self.relation.name, appends=self.appends)

    def cursor(self, **state: JSON) -> dict[str, JSON]:
        return {"v": 1, "mode": self.mode.as_json(), **state}
