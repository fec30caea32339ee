"""PostgreSQL: rows travel by binary COPY into a temporary table and are merged there.

Source: https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from millrace.connect.config import DestinationConfig
from millrace.connect.destination import Change, Load, Loaded, Table
from millrace.connect.source import Context
from millrace.connect.sql import counting, keys
from millrace.connect.sql.destination import SqlDestination
from millrace.connect.sql.incoming import Incoming, stamped
from millrace.connect.sql.libpq import ServerSettings, Way
from millrace.connect.sql.statements import GONE, Found, temporary
from millrace.connect.sql.straight import Straight
from millrace.data import types
from millrace.data.columns import UNCHANGED
from millrace.destinations.postgres.dialect import LIMITS, POSTGRES
from millrace.destinations.postgres.errors import translated
from millrace.destinations.postgres.filling import Filling
from millrace.destinations.postgres.indexes import Indexes
from millrace.destinations.postgres.reading import readable, streamed
from millrace.destinations.postgres.sessions import Refused, Session, opened
from millrace.errors import MillraceError, Transient, in_words

if TYPE_CHECKING:
    from adbc_driver_postgresql import dbapi

_ROWS_IN = "rows_in"
# Waits for a lock that somebody else holds end after this; the load is tried again later.
_LOCK_TIMEOUT = "600s"
# Sorting and hashing of one load; PostgreSQL spills to disk beyond it.
_WORK_MEM = "64MB"
# What shares the names of tables, by its letter in the catalogue.
_KINDS = {
    "v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence", "i": "index", "I": "index",
    "c": "type",
}  # fmt: skip


class Config(DestinationConfig, ServerSettings):
    schema_name: str = Field("public", min_length=1, description="Schema in which the tables are made.")


class Destination(SqlDestination[Config]):
    """Tables in one schema of a PostgreSQL database. A load locks its table against other writers, not readers."""

    Config = Config
    title = "PostgreSQL"
    limits = LIMITS
    dialect = POSTGRES
    takes_nul = False

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._session: Session | None = None
        self._indexes = Indexes(self)
        self._filling = Filling(self._indexes)
        self._straight = Straight(self)
        self._where = config.where
        self._way = Way(config, self.context.reach)

    # The connection.

    @contextmanager
    def connected(self, *, keep: bool = False) -> Generator[None]:
        del keep  # an open connection is in nobody's way
        if self._session is None:
            self._open()
        try:
            yield
        except MillraceError as error:
            if error.code == "transient":
                self.close()
            raise

    def ready(self) -> None:
        """The server lets this user in, is no standby, and the schema is there and open to it, or can be made."""
        with self.connected():
            ((read_only,),) = self.rows("SELECT current_setting('transaction_read_only') = 'on'")
            schema = self.rows(
                "SELECT has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE') OR EXISTS "
                "(SELECT 1 FROM pg_class WHERE relnamespace = n.oid AND relname = $2) "
                "FROM pg_namespace AS n WHERE nspname = $1",
                self.config.schema_name,
                self.loads,
            )
            ((may_create,),) = self.rows("SELECT has_database_privilege(current_database(), 'CREATE')")
        if read_only:
            raise translated("25006", "it is a standby, or set to read only", self._where)
        if schema and not all(schema[0]):
            raise translated("42501", f"permission denied for schema {self.config.schema_name}", self._where)
        if not schema and not may_create:
            raise translated("42501", f"permission denied to make the schema {self.config.schema_name}", self._where)

    def expect(self) -> None:
        if self._session is None:
            self._open()

    @property
    def eager(self) -> bool:
        return not self._straight.merges

    def close(self) -> None:
        session, self._session = self._session, None
        self._filling.end_all()
        if session is not None:
            session.close()
        self._way.close()

    def _open(self) -> None:
        try:
            uri = self._way.uri()
        except (OSError, UnicodeError) as cause:
            host = self.config.db_host
            raise translated(
                None, f'could not translate host name "{host}" to address: {in_words(cause)}', host
            ) from cause
        settings = (
            "TimeZone = 'UTC'",
            "DateStyle = 'ISO'",
            "client_min_messages = error",
            f"lock_timeout = '{_LOCK_TIMEOUT}'",
            f"work_mem = '{_WORK_MEM}'",
            "extra_float_digits = 3",
            # A user's query finds the tables without naming their schema.
            f"search_path = {self.dialect.quoted(self.config.schema_name)}, public",
        )
        with self.translated():
            self._session = opened(uri, settings)

    @contextmanager
    def translated(self) -> Generator[None]:
        """The driver's errors come out as ours."""
        try:
            yield
        except Refused as error:
            raise translated(error.state, error.text, self._where, self.config.db_user, self.config.db_name) from error

    # What SqlDestination asks for.

    @contextmanager
    def transaction(self) -> Generator[None]:
        self.execute("BEGIN")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(MillraceError):
                self.execute("ROLLBACK")
            raise

    def execute(self, sql: str, *values: Any) -> int:
        assert self._session is not None
        with self.translated():
            return self._session.execute(sql, values)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        assert self._session is not None
        with self.translated():
            return self._session.rows(sql, values)

    def marker(self, number: int) -> str:
        return f"${number}"

    def target(self, table: str) -> str:
        return self.dialect.path(self.config.schema_name, table)

    def lock(self, table: str) -> None:
        self.execute(f"LOCK TABLE {self.target(table)} IN SHARE ROW EXCLUSIVE MODE")

    def prepared(self) -> None:
        # Two that make the same table at once would collide in the catalogue.
        self.rows("SELECT pg_advisory_xact_lock(hashtext('millrace'), hashtext($1))", self.config.schema_name)
        if not self.rows("SELECT 1 FROM pg_namespace WHERE nspname = $1", self.config.schema_name):
            self.execute(f"CREATE SCHEMA {self.dialect.quoted(self.config.schema_name)}")

    def found(self, table: str) -> dict[str, Found] | None:
        rows = self.rows(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
            "a.atthasdef OR a.attidentity <> '' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 "
            "AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            self.config.schema_name,
            table,
        )
        columns = (
            Found(name, sql, self.dialect.logical(sql), nullable=not required, default=bool(default))
            for name, sql, required, default in rows
        )
        return {column.name: column for column in columns} or None

    def instead(self, table: str) -> str | None:
        found = self.rows(
            "SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind NOT IN ('r', 'p')",
            self.config.schema_name,
            table,
        )
        return _KINDS.get(str(found[0][0]), "thing of another kind") if found else None

    def temporaries(self) -> list[tuple[str, str]]:
        return [
            (str(name), "VIEW" if kind == "v" else "TABLE")
            for name, kind in self.rows(
                "SELECT relname::text, relkind::text FROM pg_class "
                "WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'v')"
            )
        ]

    def ensure(self, table: Table) -> list[Change]:
        due = self._filling.due.get(table.name)
        if due is not None and (due.mode, due.key) != (table.mode, table.key):
            # What `completed` would keep unique is so no more.
            self._forget(table.name)
        try:
            return super().ensure(table)
        except BaseException:
            self._forget(table.name)
            raise

    def changed(self, table: Table, change: Change) -> None:
        super().changed(table, change)
        if change.kind == "create":
            self._forget(table.name)
            # Rows that may be deletes are merged from the first load on, which needs the key.
            deletes = table.meta.marked_deleted is not None
            if table.mode == "merge" and len(table.key) == 1 and table.nest is None and not deletes:
                self._filling.begin(table)
        elif change.column in table.key:
            self._filling.no_longer_alone(table)

    def indexed(self, table: Table) -> None:
        if not self._filling.alone(table.name):
            self._indexes.fit(table)

    def unfinished(self) -> Sequence[Table]:
        return [*self._filling.due.values()]

    def completed(self, left: Sequence[Table] = ()) -> None:
        self._filling.due |= {table.name: table for table in left}
        # All rows are in: what stands in the way of their keys now ends no run, and the next `ensure` makes them.
        with suppress(Transient):
            for table in self.unfinished():
                self._make_up(table)

    def swap(self, fresh: str, table: str) -> None:
        if (due := self._filling.due.get(fresh)) is not None:
            self._make_up(due)
        super().swap(fresh, table)
        self._forget(fresh)
        self._forget(table)

    def drop(self, table: str) -> None:
        self._forget(table)
        super().drop(table)

    def _make_up(self, table: Table) -> None:
        with self.connected(), self.transaction():
            if self.found(table.name) is not None:
                self._indexes.make_up(table)
                self._indexes.make_primary(table)
        self._filling.forget(table.name)

    def _forget(self, table: str) -> None:
        """What was known of the table's rows and key holds no more."""
        self._filling.forget(table)
        self._straight.forget(table)

    # Arrow's road in.

    def take(self, name: str, rows: pa.RecordBatchReader) -> None:
        columns = ", ".join(
            f"{self.dialect.quoted(field.name)} {self.dialect.sql(field.type)}" for field in rows.schema
        )
        made = f"{self.dialect.temp}{self.dialect.quoted(name)}"
        self.execute(f"CREATE TEMP TABLE {made} ({columns})")
        self._put(rows, None, name, made)

    def _put(self, rows: pa.RecordBatchReader, schema: str | None, table: str, into: str) -> None:
        assert self._session is not None
        with self.translated():
            self._session.put(rows, schema, table, into)

    @contextmanager
    def offered(self, incoming: Incoming) -> Generator[str]:
        self._clear_temporaries((_ROWS_IN,))
        self.take(f"__mr_{_ROWS_IN}", incoming.reader())
        self._raise_refusals(incoming)
        self.analyzed(_ROWS_IN)
        yield temporary(self.dialect, _ROWS_IN)
        self._clear_temporaries((_ROWS_IN,))

    def narrow(self, incoming: Incoming, rows: str, names: Sequence[str]) -> None:
        q, meta = self.dialect.quoted, incoming.table.meta
        gone = f"COALESCE({q(meta.op_type)} = 'D', FALSE)" if incoming.deletes else "FALSE"
        self.execute(
            f"CREATE TEMP TABLE {temporary(self.dialect, 'keys')} AS "
            f"SELECT {self.dialect.names(list(names))}, {q(meta.sequence)}, {gone} AS {GONE} FROM {rows}"
        )

    def analyzed(self, *names: str) -> None:
        for name in names:
            self.execute(f"ANALYZE {temporary(self.dialect, name)}")

    def append(self, table: Table, target: str, load: Load, incoming: Incoming) -> None:
        """Rows go straight into the table where every column's type is one that the driver writes."""
        if not self._plain(table, incoming):
            return super().append(table, target, load, incoming)
        self._copy(table, load, incoming)
        return None

    def _plain(self, table: Table, incoming: Incoming) -> bool:
        """Whether the driver writes the type of every column as it is."""
        return all(
            (found := incoming.found[column.name]).type is not None
            and types.kind(found.type) not in self.dialect.arriving
            for column in table.columns
        )

    def _copy(self, table: Table, load: Load, incoming: Incoming, passing: keys.Arriving | None = None) -> None:
        reader = incoming.reader([column.name for column in table.columns], gone=True)
        rows = stamped(table, load, reader)
        if passing is not None:
            rows = _noted(rows, table.key[0], passing)
        self._put(rows, self.config.schema_name, table.name, self.target(table.name))

    def load(self, table: Table, load: Load) -> Loaded:
        with self._filling.loading(table.name):
            return super().load(table, load)

    def _merged(self, table: Table, target: str, load: Load, incoming: Incoming) -> Loaded:
        """Rows go straight into the table as long as none has a key that is there.

        While this destination fills a new table it knows the keys itself; later the table's unique index says so.
        """
        plain = self._plain(table, incoming)
        if self._filling.alone(table.name):
            if plain and self._joined(table, load, incoming):
                return Loaded(0, inserted=incoming.count)
            self._filling.end(table)
            self._straight.know(table.name)
        unique = partial(self._indexes.keep_unique, table)
        if self._straight.took(table, target, load, incoming, unique, possible=plain):
            return Loaded(0, inserted=incoming.count)
        return super()._merged(table, target, load, incoming)

    def _joined(self, table: Table, load: Load, incoming: Incoming) -> bool:
        """The rows are in the table, of which this destination knows all keys, and theirs are new; False where they are
        not, or the rows are more than new ones, and nothing was done."""
        if incoming.deletes or UNCHANGED in load.rows.schema.names:
            return False
        first = next(iter(incoming.reader(table.key)))
        if not self._filling.may_join(table, first.column(0), incoming.count):
            return False
        self.execute("SAVEPOINT joined")
        passing = keys.Arriving()
        self._copy(table, load, incoming, passing)
        if self._filling.joins(table, passing):
            return True
        self.execute("ROLLBACK TO SAVEPOINT joined")
        return False

    # Reading.

    def stored(self, table: str, names: Sequence[str], only: Mapping[str, bool]) -> Iterator[pa.RecordBatch]:
        with self._answers() as cursor:
            yield from streamed(cursor, counting.rows(self.dialect.quoted, self.target(table), names, only))

    def query(self, sql: str, *, limit: int | None = None) -> pa.Table:
        with self._answers() as cursor:
            return readable(cursor, sql, limit)

    @contextmanager
    def _answers(self) -> Generator[dbapi.Cursor]:
        with self.connected():
            assert self._session is not None
            with self.translated(), self._session.answers() as cursor:
                yield cursor


def _noted(rows: pa.RecordBatchReader, key: str, passing: keys.Arriving) -> pa.RecordBatchReader:
    """The rows, whose keys are noted as they pass."""

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            passing.add(batch.column(key))
            yield batch

    return pa.RecordBatchReader.from_batches(rows.schema, batches())
