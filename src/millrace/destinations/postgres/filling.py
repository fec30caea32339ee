"""New tables: their primary keys are put off, and one that is filled by one destination alone has no index either."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pyarrow as pa

from millrace.connect.destination import Table
from millrace.connect.sql import keys
from millrace.data.dataclass import dataclass
from millrace.destinations.postgres.indexes import Indexes


@dataclass(frozen=True, slots=True)
class Filled:
    """A table whose rows are all from one destination, and what is known of their keys."""

    table: Table
    keys: keys.Known


class Filling:
    """The tables that one destination has made. ``due``: those whose primary keys are put off."""

    def __init__(self, indexes: Indexes) -> None:
        self.due: dict[str, Table] = {}
        self._indexes = indexes
        # Those of them that it has filled alone; they have no index either.
        self._filled: dict[str, Filled] = {}
        self._grown: Filled | None = None

    def begin(self, table: Table) -> None:
        """The table is new."""
        self._indexes.put_off(table)
        self.due[table.name] = table
        self._filled[table.name] = Filled(table, keys.none())

    def alone(self, table: str) -> bool:
        """Whether the table was filled here alone, so that it has no index."""
        return table in self._filled

    def no_longer_alone(self, table: Table) -> None:
        """The keys that are known are no longer those of the table: an index keeps them."""
        if self._filled.pop(table.name, None):
            self._indexes.make_up(table)

    def forget(self, table: str) -> None:
        """What was known of the table's rows and key holds no more."""
        self.due.pop(table, None)
        self._filled.pop(table, None)

    def end_all(self) -> None:
        """Others may fill the tables from now on. Their keys are due still."""
        self._filled.clear()

    @contextmanager
    def loading(self, table: str) -> Generator[None]:
        """What `joins` said of the load holds behind the block alone: what the load did may be taken back."""
        filled = self._grown = self._filled.get(table)
        yield
        if filled is None:
            return
        if self._grown is None:
            self._filled.pop(table, None)
        else:
            self._filled[table] = self._grown

    def may_join(self, table: Table, some: pa.Array, count: int) -> bool:
        """Whether rows with so many keys, of which these are some, may be told to be new here. Where somebody else has
        made the key, that decides."""
        return self._filled[table.name].keys.has_room(some, count) and not self._indexes.keep_unique(table)

    def joins(self, table: Table, arriving: keys.Arriving) -> bool:
        """Whether all the keys that arrived with a load are new."""
        every = arriving.joined(self._filled[table.name].keys)
        self._grown = None if every is None else Filled(table, every)
        return every is not None

    def end(self, table: Table) -> None:
        """The table, filled here alone so far, has an index from now on."""
        self._grown = None
        self._indexes.make_up(table)
