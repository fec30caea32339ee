"""Merges whose rows go straight into the table, as long as none has a key that is there: a unique index says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from millrace.connect.destination import Load, Table, Unloadable
from millrace.connect.sql.refusals import RowsRefused

if TYPE_CHECKING:
    from millrace.connect.sql.destination import SqlDestination
    from millrace.connect.sql.incoming import Incoming


class Straight:
    """What one destination knows of the tables that it loads. ``merges``: some load was merged all the same, which
    looks up keys: many at a time cost less each."""

    def __init__(self, destination: SqlDestination[Any]) -> None:
        self.merges = False
        self._destination = destination
        # Tables into which nothing but new keys was loaded, from the first row on.
        self._only_new: set[str] = set()

    def know(self, table: str) -> None:
        """Nothing but new keys was loaded into the table."""
        self._only_new.add(table)

    def forget(self, table: str) -> None:
        """What was known of the table's rows holds no more."""
        self._only_new.discard(table)

    def took(
        self,
        table: Table,
        target: str,
        load: Load,
        incoming: Incoming,
        unique: Callable[[], bool],
        *,
        possible: bool = True,
    ) -> bool:
        """The rows are in the table; False where they are to be merged, and nothing was done.

        ``unique``: whether an index refuses a second row with the same key. ``possible``: the system takes the rows as
        they are. Raises Unloadable.
        """
        if possible and self._all_new(table, target, incoming) and unique():
            self._destination.execute("SAVEPOINT straight")
            try:
                self._destination.append(table, target, load, incoming)
                return True
            except RowsRefused:
                self._destination.execute("ROLLBACK TO SAVEPOINT straight")
                if incoming.refusals:
                    raise Unloadable(incoming.refusals) from None
                self.forget(table.name)
        self.merges = True
        return False

    def _all_new(self, table: Table, target: str, incoming: Incoming) -> bool:
        """Whether all keys may be new: the table is empty, or all loads since then were like that."""
        if incoming.deletes or table.nest is not None:
            return False
        if table.name not in self._only_new and not self._destination.rows(f"SELECT 1 FROM {target} LIMIT 1"):
            self.know(table.name)
        return table.name in self._only_new
