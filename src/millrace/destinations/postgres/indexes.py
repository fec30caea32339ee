"""The indexes of a table: what each mode needs, and the key of a new table, which is made once it is filled."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from millrace.connect.destination import Table
from millrace.connect.sql.destination import SqlDestination, other_key
from millrace.connect.sql.refusals import RowsRefused
from millrace.data.dataclass import dataclass


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
                    self._make_key(table)
            if table.nest is not None and not any(index.columns == {table.nest.ref} for index in found):
                target = self._destination.target(table.name)
                self._destination.execute(f"CREATE INDEX ON {target} ({self._dialect.quoted(table.nest.ref)})")
            return
        # A key of single rows, from a time when the table was merged, would refuse the versions of a row.
        if primary is not None and primary.columns == key:
            self._drop(table, primary)
            for column in table.key:
                self._alter(table, f"ALTER COLUMN {self._dialect.quoted(column)} DROP NOT NULL")
        if table.mode == "history":
            versions = (*table.key, table.meta.valid_from)
            if not any(index.columns == set(versions) for index in found):
                self._make(table, versions)

    def put_off(self, table: Table) -> None:
        """The table, which is new, has its key no more; the columns of the key stay NOT NULL."""
        for index in self.of(table.name):
            if index.primary:
                self._drop(table, index)

    def make_up(self, table: Table) -> None:
        """The table has its key, which was put off.

        Where somebody else has put rows of the same keys in meanwhile, the newest of each key stays, as a merge has it.
        """
        if self.keep_unique(table):
            return
        self._destination.execute("SAVEPOINT key_made")
        try:
            self._make_primary(table)
        except RowsRefused:
            self._destination.execute("ROLLBACK TO SAVEPOINT key_made")
            self._destination.execute(self._without_older(table))
            self._make_primary(table)

    def _make_key(self, table: Table) -> None:
        """A key for the merge: the primary one, if the table was made for that, else an index."""
        found = self._destination.found(table.name) or {}
        if any(found[column].nullable for column in table.key) or self._twice(table, table.key):
            self._make(table, table.key)
        else:
            self._make_primary(table)

    def _make_primary(self, table: Table) -> None:
        """Readers go on while the index is made, and wait only for the moment in which it becomes the primary key."""
        before = {index.name for index in self.of(table.name)}
        self._create(table, table.key, unique=True)
        (made,) = (index for index in self.of(table.name) if index.name not in before)
        self._alter(table, f"ADD PRIMARY KEY USING INDEX {self._dialect.quoted(made.name)}")

    def _make(self, table: Table, columns: Sequence[str]) -> None:
        """An index for the merge; unique unless the table holds the same key twice, from a time of appending."""
        self._create(table, columns, unique=not self._twice(table, columns))

    def _create(self, table: Table, columns: Sequence[str], *, unique: bool) -> None:
        target, names = self._destination.target(table.name), self._dialect.names(tuple(columns))
        self._destination.execute(f"CREATE {'UNIQUE ' if unique else ''}INDEX ON {target} ({names})")

    def _twice(self, table: Table, columns: Sequence[str]) -> bool:
        target, names = self._destination.target(table.name), self._dialect.names(tuple(columns))
        return bool(self._destination.rows(f"SELECT 1 FROM {target} GROUP BY {names} HAVING count(*) > 1 LIMIT 1"))

    def _without_older(self, table: Table) -> str:
        target, names = self._destination.target(table.name), self._dialect.names(table.key)
        order = ", ".join(
            f"{self._dialect.quoted(column)} DESC NULLS LAST" for column in table.order or (table.meta.ingested_at,)
        )
        return (
            f"DELETE FROM {target} WHERE ctid IN (SELECT place FROM (SELECT ctid AS place, row_number() OVER "
            f"(PARTITION BY {names} ORDER BY {order}, ctid DESC) AS age FROM {target}) AS aged WHERE age > 1)"
        )

    def _drop(self, table: Table, primary: Index) -> None:
        # A key's constraint is called as its index.
        self._alter(table, f"DROP CONSTRAINT {self._dialect.quoted(primary.name)}")

    def _alter(self, table: Table, what: str) -> None:
        self._destination.execute(f"ALTER TABLE {self._destination.target(table.name)} {what}")
