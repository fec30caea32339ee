"""Connections that take Arrow's rows by binary COPY: psycopg, with the bytes of the native library, or else ADBC.

What is read as Arrow comes by ADBC alone.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from millrace.data import native
from millrace.destinations.postgres import copying

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi


class Refused(Exception):
    """What the server or the driver says, with its SQLSTATE where there is one."""

    def __init__(self, state: str | None, text: str) -> None:
        super().__init__(text)
        self.state, self.text = state, text


class Session(Protocol):
    """One connection; each statement is its own transaction until `BEGIN`. All methods but `close` raise Refused."""

    def execute(self, sql: str, values: Sequence[Any]) -> int:
        """Rows that were changed, -1 where that is unknown. Values are bound to `$1` …"""
        ...

    def rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]: ...

    def put(self, rows: pa.RecordBatchReader, schema: str | None, table: str, into: str) -> None:
        """The rows are in the table ``into``, which is ``table`` in ``schema``, or a temporary one. The types of its
        columns are those that the dialect gives to the rows'."""
        ...

    def answers(self) -> AbstractContextManager[dbapi.Cursor]:
        """For answers in Arrow, in a transaction that changes nothing; no other one is open."""
        ...

    def close(self) -> None: ...


def opened(uri: str, settings: Sequence[str]) -> Session:
    """A connection with these settings, of the kind that costs less where rows go in. Raises Refused."""
    return (ByAdbc if native.library() is None else ByPsycopg)(uri, settings)


def _set(session: Session, settings: Sequence[str]) -> None:
    try:
        for setting in settings:
            session.execute(f"SET {setting}", ())
    except BaseException:
        session.close()
        raise


class ByAdbc:
    def __init__(self, uri: str, settings: Sequence[str]) -> None:
        from adbc_driver_postgresql import dbapi

        with _said_by_adbc():
            self._connection = dbapi.connect(uri, autocommit=True)
        _set(self, settings)

    @contextmanager
    def _cursor(self) -> Generator[dbapi.Cursor]:
        with _said_by_adbc(), self._connection.cursor() as cursor:
            yield cursor

    def execute(self, sql: str, values: Sequence[Any]) -> int:
        with self._cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.rowcount

    def rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(sql, values or None)
            return [tuple(row) for row in cursor.fetchall()]

    def put(self, rows: pa.RecordBatchReader, schema: str | None, table: str, into: str) -> None:
        del into
        with self._cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema, temporary=schema is None)

    @contextmanager
    def answers(self) -> Generator[dbapi.Cursor]:
        self.execute("BEGIN READ ONLY", ())
        try:
            with self._cursor() as cursor:
                yield cursor
        finally:
            with suppress(Refused):
                self.execute("ROLLBACK", ())

    def close(self) -> None:
        with suppress(Refused), _said_by_adbc():
            self._connection.close()


class ByPsycopg:
    def __init__(self, uri: str, settings: Sequence[str]) -> None:
        import psycopg

        self._uri, self._settings = uri, settings
        self._answering: ByAdbc | None = None
        with _said_by_psycopg():
            self._connection: psycopg.Connection = psycopg.connect(
                uri,
                autocommit=True,
                cursor_factory=psycopg.RawCursor,
                # A table may have got other columns since a statement was prepared.
                prepare_threshold=None,
            )
        _set(self, settings)

    def execute(self, sql: str, values: Sequence[Any]) -> int:
        with _said_by_psycopg(), self._connection.cursor() as cursor:
            return cursor.execute(sql.encode(), values or None).rowcount

    def rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with _said_by_psycopg(), self._connection.cursor() as cursor:
            return cursor.execute(sql.encode(), values or None).fetchall()

    def put(self, rows: pa.RecordBatchReader, schema: str | None, table: str, into: str) -> None:
        del schema, table
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in rows.schema.names)
        with (
            _said_by_psycopg(),
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {into} ({names}) FROM STDIN (FORMAT BINARY)".encode()) as copy,
        ):
            for block in copying.blocks(rows):
                copy.write(block)

    @contextmanager
    def answers(self) -> Generator[dbapi.Cursor]:
        if self._answering is None:
            self._answering = ByAdbc(self._uri, self._settings)
        with self._answering.answers() as cursor:
            yield cursor

    def close(self) -> None:
        self._connection.close()
        if self._answering is not None:
            self._answering.close()


@contextmanager
def _said_by_adbc() -> Generator[None]:
    import adbc_driver_manager

    try:
        yield
    except adbc_driver_manager.Error as error:
        raise Refused(error.sqlstate, str(error)) from error


@contextmanager
def _said_by_psycopg() -> Generator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary
        # Of several hosts that were tried the last one's words are told, as libpq put them.
        text = f"ERROR:  {said}" if said else str(error).rpartition("connection failed: ")[2]
        raise Refused(error.sqlstate, text) from error
