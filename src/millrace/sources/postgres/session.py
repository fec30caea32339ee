"""A connection to the server that reads, by ADBC: rows travel as binary COPY and come out as Arrow.

Source: https://arrow.apache.org/adbc/current/driver/postgresql.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from millrace.connect.source import Context
from millrace.connect.sql import libpq
from millrace.connect.sql.reading import objects
from millrace.connect.sql.reading.database import NotJoined, Part
from millrace.connect.sql.reading.relation import Relation
from millrace.data.writing import text
from millrace.errors import MillraceError, Transient
from millrace.sources.postgres.catalog import Described, literal, quoted
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.errors import state_of, translated, unknown_host
from millrace.sources.postgres.locks import NOT_FREE, PATIENCE_S, PAUSE_S, WAIT_MS, lock, locked, touch
from millrace.sources.postgres.rows import Rows
from millrace.sources.postgres.types import SESSION

# Bytes of rows in one batch.
_BATCH_BYTES = 8 << 20


class Server:
    """The connections to one server: those that nobody uses are lent again."""

    def __init__(self, config: Config, context: Context) -> None:
        self.config, self.context = config, context
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        # Others are made of the first one: the driver asks for all types that the server has only once.
        self._first: dbapi.Connection | None = None
        self._way = libpq.Way(config, context.reach)
        self._lock_timeout_ms: int | None = None

    @contextmanager
    def session(self) -> Generator[Session]:
        """A connection outside of a transaction. Raises what the settings or the server have against it."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        session = session or Session(self)
        try:
            yield session
        finally:
            if session.ended():
                with self._lock:
                    self._idle.append(session)
            else:
                # What it holds at the server would be in the way of others, and of ourselves.
                with self._lock:
                    self._first = None if session.connection is self._first else self._first
                session.close()

    def connected(self) -> dbapi.Connection:
        """A new connection."""
        with self._lock:
            if self._first is not None and self._way.stands:
                made = self._first.adbc_clone()
                made.adbc_connection.set_autocommit(True)
                return made
            self._first = dbapi.connect(self.uri(), autocommit=True)
            return self._first

    def uri(self) -> str:
        """Where the server is, for libpq; a tunnel to it is open where the settings want one. It holds the password."""
        try:
            return self._way.uri()
        except (OSError, UnicodeError) as cause:
            raise unknown_host(self.config.db_host, cause) from cause

    def lock_timeout_ms(self, session: Session) -> int:
        """How long a reader that holds locks waits for another one."""
        if self._lock_timeout_ms is None:
            ((self._lock_timeout_ms,),) = session.rows(WAIT_MS)
        return int(self._lock_timeout_ms or 1)

    def close(self) -> None:
        """All connections that are not lent end."""
        with self._lock:
            idle, self._idle = self._idle, []
            first, self._first = self._first, None
        for session in idle:
            session.close()
        if first is not None:
            with suppress(adbc_driver_manager.Error, RuntimeError):
                first.close()
        self._way.close()


class Session:
    """One connection. After an error, or what was not read to its end, it is of no use any more."""

    def __init__(self, server: Server) -> None:
        self._server, self._config = server, server.config
        self._clock, self._stopping = server.context.clock, server.context.stopping.is_set
        # The driver does not say what happens when a connection is closed while it is cancelled.
        self._ending = threading.Lock()
        self._sound = True
        with self._translated():
            self.connection = server.connected()
        self._described: Mapping[str, Described] = {}
        self._left_out: Callable[[str, int], None] = lambda _column, _count: None
        for name, value in SESSION.items():
            self._execute(f"SET {name} = {literal(value)}")

    def begin(self, relations: Sequence[Described], snapshot: str | None = None) -> None:
        """From now on one state of the database is seen, nothing can be written, and the relations stay as they are.

        Their locks come before the state: a table that is written anew between the two would be empty in it. Nothing
        is waited for while a lock is held. Raises Transient where others hold the relations for long, and NotJoined
        where somebody waits for them and the state is that of ``snapshot``.
        """
        until = self._clock.monotonic() + PATIENCE_S
        while not self._began(relations, snapshot):
            if snapshot is not None:
                raise NotJoined
            if self._stopping() or self._clock.monotonic() > until:
                raise locked(one.relation.name for one in relations)
            self._clock.sleep(PAUSE_S)

    def _began(self, relations: Sequence[Described], snapshot: str | None) -> bool:
        most_ms = self._server.lock_timeout_ms(self)
        self._execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._execute(f"SET LOCAL lock_timeout = {most_ms}")
        tables = [one.relation.source for one in relations if one.table]
        if tables and not self._free(lock(tables)):
            return False
        if snapshot is not None:
            self._execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")
        return all(self._free(touch(one.relation.source)) for one in relations if not one.table)

    def _free(self, sql: str) -> bool:
        """The statement has its locks; False, and the transaction has ended, where somebody else has one of them."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
        except adbc_driver_manager.Error as error:
            if error.sqlstate != NOT_FREE:
                with self._translated():
                    raise
            self._execute("ROLLBACK")
            return False
        return True

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def value(self, sql: str) -> str | None:
        return self._asked(f"SELECT CAST(({sql}) AS pg_catalog.text)")[0][0]

    def pairs(self, sql: str) -> list[tuple[int, int]]:
        return [(int(one), int(other)) for one, other in self._asked(sql)]

    def values(self, sql: str) -> list[str]:
        found = self._asked(f"SELECT CAST(v AS pg_catalog.text) FROM ({sql}) AS found (v)")
        return [one for (one,) in found if one is not None]

    def snapshot(self) -> str | None:
        return self.rows("SELECT pg_export_snapshot()")[0][0]

    def described(self, relations: Mapping[str, Described], left_out: Callable[[str, int], None]) -> Session:
        """The session reads these relations; ``left_out`` is told of values that were left out of a column."""
        self._described, self._left_out = relations, left_out
        return self

    def parts(self, relation: Relation, tail: str, cursor: Sequence[str]) -> Iterator[Part]:
        known = self._described[relation.name].types
        chosen = [one.name for one in relation.columns]
        columns = ", ".join(f"{known[name].sql.format(c=quoted(name))} AS {quoted(name)}" for name in chosen)
        rows = Rows(relation.name, known, self._config.special_values, self._clock.now)
        places = [chosen.index(name) for name in cursor]
        with objects.asked(relation.name), self._translated(), closing(self.connection.cursor()) as statement:
            statement.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": _BATCH_BYTES})
            statement.execute(f"SELECT {columns} FROM {relation.source} {tail}")
            for batch in self._batches(statement.fetch_record_batch()):
                try:
                    good, refused = rows.of(batch)
                except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as cause:
                    raise Transient(
                        f"{relation.name} has changed while it was read: a column has another type.",
                        hint="Run again: columns are looked up anew.",
                    ) from cause
                last = batch.slice(batch.num_rows - 1)
                self._sound = False
                yield Part(good, refused, tuple(_text(last.column(place)) for place in places), batch.num_rows)
                self._sound = True
        for name, count in rows.left_out.items():
            self._left_out(f"{relation.name}.{name}", count)

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """Batches with rows. What ends a stream comes out in pyarrow's errors, with the server's words alone."""
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowException, OSError) as error:
                self._sound = False
                raise translated(state_of(str(error)), str(error), self._config.where) from error
            if batch.num_rows:
                yield batch

    def cancel(self) -> None:
        """Whatever runs on the connection ends; may be called by another thread."""
        self._sound = False
        if self._config.ssh_host is not None:
            # The driver cancels by a connection of its own, and lets no other thread run meanwhile: not the tunnel's
            # either. What runs ends with its next batch.
            return
        with self._ending, suppress(adbc_driver_manager.Error):
            self.connection.adbc_cancel()

    def ended(self) -> bool:
        """No transaction is open any more; False where the connection is of no use."""
        with suppress(MillraceError):
            if self._sound:
                self._execute("ROLLBACK")
        return self._sound

    def close(self) -> None:
        with self._ending, suppress(adbc_driver_manager.Error):
            self.connection.close()

    def _asked(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a statement about the relation that is read."""
        (name,) = self._described
        with objects.asked(name):
            return self.rows(sql)

    def _execute(self, sql: str) -> None:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(sql)

    @contextmanager
    def _translated(self) -> Generator[None]:
        config = self._config
        try:
            yield
        except adbc_driver_manager.Error as error:
            self._sound = False
            state = error.sqlstate or None
            raise translated(state, str(error), config.where, config.db_user, config.db_name) from error


def _text(value: pa.Array) -> str | None:
    """The value of a cursor's column as the driver gave it, in a form that the server reads."""
    stored = value
    if isinstance(value.type, pa.BaseExtensionType) and value.type != pa.uuid():
        stored = value.storage
    if pa.types.is_binary(stored.type):
        return None
    from millrace.data.foreign import entered

    return text(entered(stored).values).values[0].as_py()
