"""Links by ADBC: rows travel as binary COPY and come out as Arrow. For where there is no native library.

Source: https://arrow.apache.org/adbc/current/driver/postgresql.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from millrace.sources.postgres.errors import state_of
from millrace.sources.postgres.links import BATCH_BYTES, Failed, in_letters
from millrace.sources.postgres.types import Type


class Adbc:
    """Makes links of the first one: the driver asks for all types that the server has only once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dbapi.Connection | None = None

    def link(self, uri: Callable[[], str], *, stands: bool, tunnelled: bool) -> AdbcLink:
        """A new link. ``stands``: what was made of an earlier `uri` still leads there. Raises Failed."""
        with self._lock, _failing():
            if self._first is not None and stands:
                made = self._first.adbc_clone()
                made.adbc_connection.set_autocommit(True)
            else:
                self._first = made = dbapi.connect(uri(), autocommit=True)
        return AdbcLink(made, tunnelled, lambda: self._forget(made))

    def _forget(self, made: dbapi.Connection) -> None:
        with self._lock:
            self._first = None if made is self._first else self._first

    def close(self) -> None:
        with self._lock:
            first, self._first = self._first, None
        if first is not None:
            with suppress(adbc_driver_manager.Error, RuntimeError):
                first.close()


class AdbcLink:
    """One connection of the driver."""

    def __init__(self, connection: dbapi.Connection, tunnelled: bool, closed: Callable[[], None]) -> None:
        self._connection, self._tunnelled, self._closed = connection, tunnelled, closed

    def selected(self, type_: Type) -> str:
        return type_.sql

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with _failing(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def batches(self, sql: str, types: Mapping[str, Type]) -> Generator[pa.RecordBatch]:
        del types
        with _failing(), closing(self._connection.cursor()) as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": BATCH_BYTES})
            cursor.execute(sql)
            reader = cursor.fetch_record_batch()
            while (batch := _next(reader)) is not None:
                yield batch

    def cancel(self) -> None:
        # Through a tunnel the driver cannot: it lets no other thread run meanwhile, that of the tunnel neither. What
        # runs ends with its next batch.
        if not self._tunnelled:
            with suppress(adbc_driver_manager.Error):
                self._connection.adbc_cancel()

    def close(self) -> None:
        self._closed()
        with suppress(adbc_driver_manager.Error):
            self._connection.close()


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """What ends a stream comes out in pyarrow's errors, with the server's words alone."""
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except (pa.ArrowException, OSError) as error:
        raise Failed(state_of(str(error)), str(error)) from error


@contextmanager
def _failing() -> Generator[None]:
    try:
        # The server's words are read so too.
        with in_letters():
            yield
    except adbc_driver_manager.Error as error:
        raise Failed(error.sqlstate or None, str(error)) from error
