"""The indexes of a table: what each mode needs, and the key of a new table, which is made once it is filled."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from millrace.connect.destination import Table
from millrace.connect.sql.destination import SqlDestination, other_key
from millrace.connect.sql.refusals import RowsRefused
from millrace.connect.sql.statements import order
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError

# The comment of a table that was made without its primary key, which is due. It outlives the process.
KEY_DUE = "Millrace makes the primary key of this table once its first rows are in."
# Readers that come while a primary key waits for older ones wait as long.
_PRIMARY_TIMEOUT = "2s"
# At least so much memory sorts the keys of a new index, those of a few million rows without files. With a quarter of
# it, which servers give by themselves, 2,000,000 keys take 1.0 s in place of 0.8.
_SORTING_KB = 256 << 10


@dataclass(frozen=True, slots=True)
class Index:
    """An index of all rows on plain columns."""

    name: str
    primary: bool
    unique: bool
    columns: Set[str]


class Indexes:
    """Made, found and dropped inside the transaction of the destination."""

    def __init__(self, destination: SqlDestination[Any]) -> None:
        self._destination = destination
        self._dialect = destination.dialect

    def of(self, table: str) -> list[Index]:
        """The table's indexes."""
        return [
            Index(str(name), bool(primary), bool(unique), frozenset(columns.split("\n")))
            for name, primary, unique, columns in self._destination.rows(
                "SELECT c.relname::text, i.indisprimary, i.indisunique AND i.indimmediate, "
                "(SELECT string_agg(a.attname, E'\\n') FROM pg_attribute a "
                "WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) "
                "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "WHERE i.indrelid = $1::regclass AND i.indpred IS NULL AND i.indexprs IS NULL",
                self._destination.target(table),
            )
        ]

    def keep_unique(self, table: Table) -> bool:
        """Whether an index refuses a second row with the same key."""
        return any(index.unique and index.columns == set(table.key) for index in self.of(table.name))

    def fit(self, table: Table) -> None:
        """The table has the indexes that its mode needs, and no key that forbids it."""
        key, found = set(table.key), self.of(table.name)
        primary = next((index for index in found if index.primary), None)
        if table.mode == "merge":
            if primary is not None and primary.columns != key:
                raise other_key(table, sorted(primary.columns))
            if not any(index.columns == key for index in found):
                # Somebody else may be at it.
                self._destination.lock(table.name)
                if not any(index.columns == key for index in self.of(table.name)):
                    self._make(table, table.key)
            if primary is None:
                self.make_primary(table)
            if table.nest is not None and not any(index.columns == {table.nest.ref} for index in found):
                target = self._destination.target(table.name)
                self._destination.execute(f"CREATE INDEX ON {target} ({self._dialect.quoted(table.nest.ref)})")
            return
        # A key of single rows, from a time when the table was merged, would refuse the versions of a row.
        due = primary is None and self._due(table)
        if due or (primary is not None and primary.columns == key):
            for index in found:
                if index.columns == key and (index.primary or (due and index.unique)):
                    self._drop(table, index)
            for column in table.key:
                self._alter(table, f"ALTER COLUMN {self._dialect.quoted(column)} DROP NOT NULL")
        if due:
            self._comment(table, "NULL")
        if table.mode == "history":
            versions = (*table.key, table.meta.valid_from)
            if not any(index.columns == set(versions) for index in found):
                self._make(table, versions)

    def put_off(self, table: Table) -> None:
        """The table, which is new, has its key no more; the columns of the key stay NOT NULL."""
        for index in self.of(table.name):
            if index.primary:
                self._drop(table, index)
        self._comment(table, f"'{KEY_DUE}'")

    def make_up(self, table: Table) -> None:
        """The table, whose key was put off, has an index that keeps it unique.

        Where somebody else has put rows of the same keys in meanwhile, the newest of each key stays, as a merge has it.
        """
        if self.keep_unique(table):
            return
        # Somebody else may be at it.
        self._destination.lock(table.name)
        if self.keep_unique(table):
            return
        self._destination.execute("SAVEPOINT key_made")
        try:
            self._create(table, table.key, unique=True)
        except RowsRefused:
            self._destination.execute("ROLLBACK TO SAVEPOINT key_made")
            self._destination.execute(self._without_older(table))
            self._create(table, table.key, unique=True)

    def make_primary(self, table: Table) -> None:
        """The index that keeps a table unique becomes its primary key, where that was put off.

        For a moment nobody may read the table. Where somebody reads for longer, the index stays what it is: merges need
        no more. The next `ensure` tries again.
        """
        if not self._due(table) or not self.keep_unique(table):
            return
        self._destination.execute("SAVEPOINT primary_made")
        try:
            ((before,),) = self._destination.rows("SELECT current_setting('lock_timeout')")
            self._destination.execute(f"SET LOCAL lock_timeout = '{_PRIMARY_TIMEOUT}'")
            self._destination.execute(f"LOCK TABLE {self._destination.target(table.name)} IN ACCESS EXCLUSIVE MODE")
            self._become_primary(table)
            self._destination.execute(f"SET LOCAL lock_timeout = '{before}'")
        except MillraceError:
            # The timeout is what it was before, too. A lost connection is told here.
            self._destination.execute("ROLLBACK TO SAVEPOINT primary_made")

    def _become_primary(self, table: Table) -> None:
        found, indexes = self._destination.found(table.name) or {}, self.of(table.name)
        if any(index.primary for index in indexes):
            return
        index = next((one for one in indexes if one.unique and one.columns == set(table.key)), None)
        if index is not None and not any(found[column].nullable for column in table.key):
            self._alter(table, f"ADD PRIMARY KEY USING INDEX {self._dialect.quoted(index.name)}")
            self._comment(table, "NULL")

    def _due(self, table: Table) -> bool:
        """Whether the table was made by a load, which has put its primary key off."""
        return bool(
            self._destination.rows(
                "SELECT 1 FROM pg_class WHERE oid = $1::regclass AND relkind = 'r' "
                "AND obj_description(oid, 'pg_class') = $2",
                self._destination.target(table.name),
                KEY_DUE,
            )
        )

    def _comment(self, table: Table, text: str) -> None:
        self._destination.execute(f"COMMENT ON TABLE {self._destination.target(table.name)} IS {text}")

    def _make(self, table: Table, columns: Sequence[str]) -> None:
        """An index for the merge; unique unless the table holds the same key twice, from a time of appending."""
        self._create(table, columns, unique=not self._twice(table, columns))

    def _create(self, table: Table, columns: Sequence[str], *, unique: bool) -> None:
        target, names = self._destination.target(table.name), self._dialect.names(tuple(columns))
        # For this transaction alone.
        self._destination.rows(
            "SELECT set_config('maintenance_work_mem', "
            f"greatest(pg_size_bytes(current_setting('maintenance_work_mem')) / 1024, {_SORTING_KB}) || 'kB', true)"
        )
        self._destination.execute(f"CREATE {'UNIQUE ' if unique else ''}INDEX ON {target} ({names})")

    def _twice(self, table: Table, columns: Sequence[str]) -> bool:
        target, names = self._destination.target(table.name), self._dialect.names(tuple(columns))
        return bool(self._destination.rows(f"SELECT 1 FROM {target} GROUP BY {names} HAVING count(*) > 1 LIMIT 1"))

    def _without_older(self, table: Table) -> str:
        target, names = self._destination.target(table.name), self._dialect.names(table.key)
        newest_first = ", ".join(f"{self._dialect.quoted(column)} DESC NULLS LAST" for column in order(table))
        return (
            f"DELETE FROM {target} WHERE ctid IN (SELECT place FROM (SELECT ctid AS place, row_number() OVER "
            f"(PARTITION BY {names} ORDER BY {newest_first}, ctid DESC) AS age FROM {target}) AS aged WHERE age > 1)"
        )

    def _drop(self, table: Table, index: Index) -> None:
        if index.primary:
            # A key's constraint is called as its index.
            self._alter(table, f"DROP CONSTRAINT {self._dialect.quoted(index.name)}")
        else:
            self._destination.execute(f"DROP INDEX {self._destination.target(index.name)}")

    def _alter(self, table: Table, what: str) -> None:
        self._destination.execute(f"ALTER TABLE {self._destination.target(table.name)} {what}")
