"""Acme: tables in one database file. Source: https://example.com/docs

The driver and the dialect here are DuckDB's, so that this folder works from the first minute. Put your system's in
their place.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import Field

from millrace.connect.config import DestinationConfig
from millrace.connect.destination import Table
from millrace.connect.source import Context
from millrace.connect.sql.destination import SqlDestination, other_key
from millrace.connect.sql.duckdb import DUCKDB
from millrace.connect.sql.incoming import Incoming
from millrace.connect.sql.refusals import RowsRefused
from millrace.connect.sql.statements import Found
from millrace.errors import ConfigError, EnvironmentProblem

# A dialect is data. Write your own in a module `dialect.py` of this folder; a type that a system lacks is kept as text.
ACME = replace(DUCKDB, name="acme", types={**DUCKDB.types, "TIMETZ": "VARCHAR"})

_turn = threading.RLock()


class Config(DestinationConfig):
    """Which database to write to."""

    path: Path = Field(description="The database file. It is made when there is none; its folder must exist.")


class Destination(SqlDestination[Config]):
    """Tables in one file. Loads of this process take turns."""

    Config = Config
    title = "Acme"
    limits = ACME.limits
    dialect = ACME

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._depth = 0

    # The connection, and the driver's errors in our words.

    @contextmanager
    def connected(self, *, keep: bool = False) -> Generator[None]:
        with _turn:
            self._depth += 1
            try:
                if self._connection is None:
                    with _translated(self.config.path):
                        self._connection = duckdb.connect(self.config.path)
                        self._connection.execute("SET TimeZone = 'UTC'")
                yield
            finally:
                self._depth -= 1
                if not keep and self._depth == 0:
                    self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        self.execute("BEGIN")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):
                self._live.execute("ROLLBACK")
            raise

    @property
    def _live(self) -> duckdb.DuckDBPyConnection:
        assert self._connection is not None
        return self._connection

    # Statements.

    def execute(self, sql: str, *values: Any) -> int:
        answer = self.rows(sql, *values)
        return int(answer[0][0]) if answer and isinstance(answer[0][0], int) else -1

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with _translated(self.config.path):
            return self._live.execute(sql, list(values)).fetchall()

    def query(self, sql: str, *, limit: int | None = None) -> pa.Table:
        with self.connected(), _translated(self.config.path):
            if len(self._live.extract_statements(sql)) != 1:
                raise ConfigError("A query is one statement.", code="sql")
            self._live.execute("BEGIN TRANSACTION READ ONLY")
            try:
                found: Any = self._live.sql(sql)  # None for a statement without an answer
                rows = pa.table({}) if found is None else found.to_arrow_reader().read_all()
                return rows if limit is None else rows.slice(0, limit)
            finally:
                self._live.execute("ROLLBACK")

    def marker(self, number: int) -> str:
        return f"${number}"

    # Names and shapes.

    def target(self, table: str) -> str:
        return self.dialect.path("main", table)

    def found(self, table: str) -> dict[str, Found] | None:
        rows = self.rows(
            "SELECT column_name, data_type, is_nullable, column_default FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = 'main' AND lower(table_name) = lower($1) "
            "ORDER BY column_index",
            table,
        )
        columns = (
            Found(name, sql, self.dialect.logical(sql), nullable=bool(nullable), default=default is not None)
            for name, sql, nullable, default in rows
        )
        return {column.name: column for column in columns} or None

    def instead(self, table: str) -> str | None:
        found = self.rows(
            "SELECT 1 FROM duckdb_views() "
            "WHERE database_name = current_database() AND schema_name = 'main' AND lower(view_name) = lower($1)",
            table,
        )
        return "view" if found else None

    def indexed(self, table: Table) -> None:
        """No index is made. A table of the user's that has a primary key must have this one."""
        found = self.rows(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY' "
            "AND database_name = current_database() AND schema_name = 'main' AND lower(table_name) = lower($1)",
            table.name,
        )
        if found and {str(name) for name in found[0][0]} != set(table.key):
            raise other_key(table, [str(name) for name in found[0][0]])

    def lock(self, table: str) -> None:
        """Loads of this process take turns, and the file has one writer."""

    def temporaries(self) -> list[tuple[str, str]]:
        return [
            (str(name), str(kind))
            for name, kind in self.rows(
                "SELECT table_name, 'TABLE' FROM duckdb_tables() WHERE database_name = 'temp' "
                "UNION ALL SELECT view_name, 'VIEW' FROM duckdb_views() WHERE database_name = 'temp'"
            )
        ]

    # The fastest road for Arrow.

    def take(self, name: str, rows: pa.RecordBatchReader) -> None:
        self._live.register("incoming", rows)
        try:
            self.execute(f"CREATE TEMP TABLE {self._temporary(name)} AS FROM incoming")
        finally:
            # In a transaction that failed nothing can be dropped; its end does it.
            with suppress(duckdb.Error):
                self._live.unregister("incoming")

    @contextmanager
    def offered(self, incoming: Incoming) -> Generator[str]:
        self.take("__mr_offered", incoming.reader())
        try:
            yield self._temporary("__mr_offered")
        finally:
            with suppress(duckdb.Error):
                self._live.execute(f"DROP TABLE {self._temporary('__mr_offered')}")

    def _temporary(self, name: str) -> str:
        return self.dialect.temp + self.dialect.quoted(name)


@contextmanager
def _translated(path: Path) -> Generator[None]:
    """Errors by who can act: the rows, the user, or this machine."""
    try:
        yield
    except duckdb.ConstraintException as error:
        raise RowsRefused(str(error), "CONSTRAINT_VIOLATION") from error
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        raise RowsRefused(str(error), "INCOMPATIBLE_TYPE") from error
    except (duckdb.IOException, duckdb.FatalException) as error:
        raise EnvironmentProblem(f"The file {path} cannot be used: {error}") from error
    except duckdb.Error as error:
        raise ConfigError(f"Acme refuses a statement: {error}", code="sql") from error
