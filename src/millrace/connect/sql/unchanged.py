"""Rows of a merge that do not say all of their columns: what they leave out stays as it was.

A log tells of an update without the large values that it did not touch. The newest row of a key takes each of them from
the latest row before it in the same load that has it, else from the table. All of that is looked up before the merge
changes the table. A load whose rows say everything does not come here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from millrace.connect.destination import Column, Table
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.statements import GONE, arrived, equal, newer, sorting, temporary
from millrace.data.columns import BETWEEN, UNCHANGED
from millrace.data.dataclass import dataclass

TEMPORARIES = ("latest", "said", "filled")


def query(dialect: Dialect) -> str:
    """The distinct values of `UNCHANGED` among the rows of `keys`."""
    name = dialect.quoted(UNCHANGED)
    return f"SELECT DISTINCT {name} FROM {temporary(dialect, 'keys')} WHERE {name} IS NOT NULL"


def columns_of(table: Table, found: Iterable[str]) -> tuple[Column, ...]:
    """Columns that some of the rows leave out, by what `query` found. Rows may call them as they were called before."""
    names = {name for text in found for name in text.split(BETWEEN)}
    return tuple(
        column for column in table.columns if names & {column.name, *column.formerly} and column.name not in table.key
    )


@dataclass(frozen=True, slots=True)
class Filling:
    """The temporary table `filled`: for each newest row that leaves something out, the values of ``columns``."""

    dialect: Dialect
    table: Table
    target: str
    columns: Sequence[Column]

    def statements(self, rows: str) -> tuple[str, ...]:
        """In the order in which they run, behind `newest` and before the table is touched."""
        return self._latest(), self._said(rows), self._filled()

    def _latest(self) -> str:
        """For each key, the number of the latest row that says each column."""
        d, seq = self.dialect, self.dialect.quoted(self.table.meta.sequence)
        keys, names, part = temporary(d, "keys"), d.names(self.table.key), d.names(self.table.key, "k")
        unchanged = d.quoted(UNCHANGED)
        inner = ", ".join(
            f"{self._lacks(column, 'k')} AS lacks_{n}, row_number() OVER (PARTITION BY {part}, "
            f"{self._lacks(column, 'k')} ORDER BY {sorting(d, self.table, 'k')}) AS place_{n}"
            for n, column in enumerate(self.columns)
        )
        outer = ", ".join(
            f"max(CASE WHEN NOT lacks_{n} AND place_{n} = 1 THEN {seq} END) AS seq_{n}"
            for n in range(len(self.columns))
        )
        return (
            f"CREATE {d.temp_words} {temporary(d, 'latest')} AS\nSELECT {names}, {outer}\n"
            f"FROM (SELECT {part}, k.{seq}, {inner} FROM {keys} AS k\n"
            f"WHERE NOT k.{d.quoted(GONE)} AND EXISTS (SELECT 1 FROM {keys} AS p "
            f"WHERE p.{unchanged} IS NOT NULL AND {equal(d, self.table.key, 'p', 'k')})\n"
            f"AND NOT EXISTS (SELECT 1 FROM {self.target} AS t WHERE {equal(d, self.table.key, 't', 'k')} "
            f"AND {newer(d, self.table, 't', 'k')})) AS x\nGROUP BY {names}"
        )

    def _said(self, rows: str) -> str:
        """Values of the rows that are asked."""
        d, seq = self.dialect, self.dialect.quoted(self.table.meta.sequence)
        came = arrived(d, self.table)
        values = ", ".join(f"{came[column.name]} AS value_{n}" for n, column in enumerate(self.columns))
        asked = " UNION ALL ".join(
            f"SELECT seq_{n} FROM {temporary(d, 'latest')} WHERE seq_{n} IS NOT NULL" for n in range(len(self.columns))
        )
        return (
            f"CREATE {d.temp_words} {temporary(d, 'said')} AS\nSELECT r.{seq}, {values}\nFROM {rows} AS r "
            f"WHERE r.{seq} IN ({asked})"
        )

    def _filled(self) -> str:
        d, seq = self.dialect, self.dialect.quoted(self.table.meta.sequence)
        values = ", ".join(
            f"CASE WHEN l.seq_{n} IS NULL THEN t.{d.quoted(column.name)} ELSE v{n}.value_{n} END AS value_{n}"
            for n, column in enumerate(self.columns)
        )
        joins = "\n".join(
            f"LEFT JOIN {temporary(d, 'said')} AS v{n} ON v{n}.{seq} = l.seq_{n}" for n in range(len(self.columns))
        )
        names = ", ".join(f"value_{n}" for n in range(len(self.columns)))
        # A table that was appended to before may hold a key twice; any of those is as good.
        return (
            f"CREATE {d.temp_words} {temporary(d, 'filled')} AS\nSELECT {seq}, {names}\n"
            f"FROM (SELECT u.{seq}, {values}, row_number() OVER (PARTITION BY u.{seq} ORDER BY u.{seq}) AS place\n"
            f"FROM {temporary(d, 'newest')} AS n JOIN {temporary(d, 'keys')} AS u ON u.{seq} = n.{seq}\n"
            f"LEFT JOIN {temporary(d, 'latest')} AS l ON {equal(d, self.table.key, 'l', 'u')}\n{joins}\n"
            f"LEFT JOIN {self.target} AS t ON {equal(d, self.table.key, 't', 'u')}\n"
            f"WHERE NOT u.{d.quoted(GONE)} AND u.{d.quoted(UNCHANGED)} IS NOT NULL) AS x WHERE place = 1"
        )

    def _lacks(self, column: Column, of: str) -> str:
        """Condition that a row leaves the column out."""
        found = f"{of}.{self.dialect.quoted(UNCHANGED)}"
        names = (name.replace("'", "''") for name in (column.name, *column.formerly))
        tests = (f"strpos({found}, chr(31) || '{name}' || chr(31)) > 0" for name in names)
        return f"COALESCE({' OR '.join(tests)}, FALSE)"
