"""Which columns tables have at the place of the log that is read.

Most servers write rows without the names of their columns. So the columns are kept with the position, and brought
along by the statements that change tables. They are held against the types that stand in front of every row; where
both do not fit, and the table as it is now does not either, nobody knows what the rows mean, and the log cannot be
gone on with (`log_expired`). A server that writes all of it (binlog_row_metadata = FULL) is believed.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from millrace.connect.log import expired
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.sources.mysql.log import columns
from millrace.sources.mysql.log.charsets import Charsets
from millrace.sources.mysql.log.columns import Known, Table
from millrace.sources.mysql.log.ddl import Altered, Dropped, Effect, Emptied, Made, Renamed
from millrace.sources.mysql.log.events import TableMap
from millrace.sources.mysql.log.values import Column


@dataclass(slots=True)
class Tracking:
    """Tables of ``database``. ``now`` asks for all of them as they are. ``keeping``: tables whose rows of the past the
    server keeps, with columns that nobody declared (`columns.PERIOD`)."""

    database: str
    charsets: Charsets
    now: Callable[[], Mapping[str, Table]]
    keeping: frozenset[str] = frozenset()
    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    _there: Mapping[str, Table] | None = None
    _packed: tuple[dict[str, Table], str] | None = None

    def columns_of(self, told: TableMap) -> list[Column]:
        """The columns of rows that the log says to be of that table. Raises ConfigError "log_expired"."""
        known = self._of(told)
        return [Column(*one) for one in zip(known, told.codes, told.metas, strict=True)]

    def past_of(self, told: TableMap) -> tuple[int | None, int]:
        """The place of the column with the end of a row, where the server keeps what rows were; and how many columns at
        the end nobody declared."""
        known, declared = self._of(told), self.tables.get(told.table) or self._present().get(told.table, ())
        names = [one.name for one in known]
        ends = {one.name for one in declared if one.type.endswith(columns.ROW_END)}
        if known[-len(columns.PERIOD) :] == columns.PERIOD and not {one.name for one in declared} & {*names[-2:]}:
            return len(names) - 1, len(columns.PERIOD)
        return next((place for place, name in enumerate(names) if name in ends), None), 0

    def _of(self, told: TableMap) -> Table:
        if told.names is not None:
            there = self.tables.get(told.table) or self._present().get(told.table, ())
            known = columns.of_map(told, there, self.charsets)
            assert known is not None
            return known
        found = self._fitting(self.tables.get(told.table), told)
        if found is not None:
            return found
        known = self._present(anew=True).get(told.table)
        found = self._fitting(known, told)
        if known is None or found is None:
            raise expired(
                f"nobody knows any more which columns {self.database}.{told.table} had when rows of it were changed; "
                "a server with binlog_row_metadata = FULL would say so in its log"
            )
        self.tables[told.table] = known
        return found

    def _fitting(self, known: Table | None, told: TableMap) -> Table | None:
        """The columns, if rows of such a table would be written as the log says: those of the past stand behind."""
        if known is None:
            return None
        whole = (known, (*known, *columns.PERIOD)) if told.table in self.keeping else (known,)
        return next((one for one in whole if columns.fits(one, told, self.charsets.widths)), None)

    def follow(self, effect: Effect) -> None:
        """The tables are as they are behind the statement."""
        match effect:
            case Altered(table, change) if table[0] == self.database and table[1] in self.tables:
                self._put(table[1], change(self.tables[table[1]]))
            case Made(table, made, like, _, maybe) if table[0] == self.database:
                if not (maybe and table[1] in self.tables):
                    other = self.tables.get(like[1]) if like is not None and like[0] == self.database else None
                    self._put(table[1], other if like is not None else made)
            case Renamed(table, to):
                moved = self.tables.pop(table[1], None) if table[0] == self.database else None
                if to[0] == self.database:
                    self._put(to[1], moved)
            case Emptied(table, True) if table[0] == self.database:
                self.tables.pop(table[1], None)
            case Dropped(database) if database == self.database:
                self.tables.clear()
            case _:
                pass

    def _put(self, name: str, made: Table | None) -> None:
        if made is None:
            # It is looked up when rows of it come.
            self.tables.pop(name, None)
            return
        there = {one.name: one for one in self._present().get(name, ())}
        # Where a text lacks its character set, its table or database has one, which only the server knows.
        self.tables[name] = tuple(
            Known(one.name, one.type, there[one.name].charset if one.name in there else "utf8mb4")
            if one.charset == "?"
            else one
            for one in made
        )

    def present(self, name: str) -> bool:
        """Whether the table is there now."""
        return name in self._present()

    def _present(self, *, anew: bool = False) -> Mapping[str, Table]:
        if self._there is None or anew:
            self._there = self.now()
        return self._there

    def to_json(self) -> JSON:
        """The tables, made small: a database may have thousands."""
        if self._packed is None or self._packed[0] != self.tables:
            text = json.dumps(columns.to_json(self.tables), separators=(",", ":"), sort_keys=True)
            self._packed = dict(self.tables), base64.b64encode(zlib.compress(text.encode(), 6)).decode()
        return self._packed[1]

    @staticmethod
    def tables_of(told: JSON) -> dict[str, Table]:
        found: Any = json.loads(zlib.decompress(base64.b64decode(told)))
        return columns.of_json(found)
