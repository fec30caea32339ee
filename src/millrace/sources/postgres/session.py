"""A connection to the server that reads: rows travel as binary COPY and come out as Arrow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.connect.source import Context
from millrace.connect.sql import libpq
from millrace.connect.sql.reading import objects
from millrace.connect.sql.reading.database import NotJoined, Part
from millrace.connect.sql.reading.relation import Relation
from millrace.data.writing import text
from millrace.errors import MillraceError, Transient
from millrace.sources.postgres.catalog import Described, literal, quoted
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.errors import translated, unknown_host
from millrace.sources.postgres.links import Failed, Link, Strange, in_letters
from millrace.sources.postgres.locks import NOT_FREE, PATIENCE_S, PAUSE_S, WAIT_MS, lock, locked, touch
from millrace.sources.postgres.rows import Rows
from millrace.sources.postgres.types import AS_IT_IS, SESSION

if TYPE_CHECKING:
    from millrace.sources.postgres.by_adbc import Adbc


class Server:
    """The connections to one server: those that nobody uses are lent again."""

    def __init__(self, config: Config, context: Context) -> None:
        self.config, self.context = config, context
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._adbc: Adbc | None = None
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
                session.close()

    def connected(self) -> Link:
        """A new connection: of libpq with the native library, where both are there. Raises Failed."""
        # Either is imported alone: the other brings what is not needed then.
        from millrace.sources.postgres import by_copy

        if by_copy.able():
            return by_copy.CopyLink(self._locked_uri())
        from millrace.sources.postgres.by_adbc import Adbc

        with self._lock:
            self._adbc = self._adbc or Adbc()
        tunnelled = self.config.ssh_host is not None
        return self._adbc.link(self.uri, stands=self._way.stands, tunnelled=tunnelled)

    def _locked_uri(self) -> str:
        # Two at once would open two tunnels.
        with self._lock:
            return self.uri()

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
        for session in idle:
            session.close()
        if self._adbc is not None:
            self._adbc.close()
        self._way.close()


class Session:
    """One connection. After an error, or what was not read to its end, it is of no use any more."""

    def __init__(self, server: Server) -> None:
        self._server, self._config = server, server.config
        self._clock, self._stopping = server.context.clock, server.context.stopping.is_set
        # A link is not closed while it is cancelled.
        self._ending = threading.Lock()
        self._sound, self._midway = True, False
        with self._translated():
            self._link = server.connected()
        self._described: Mapping[str, Described] = {}
        self._left_out: Callable[[str, int], None] = lambda _column, _count: None
        for name, value in SESSION.items():
            self._execute(f"SET {name} = {literal(value)}")
        self._execute(AS_IT_IS)

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
            self._link.rows(sql)
        except Failed as error:
            if error.state != NOT_FREE:
                with self._translated():
                    raise
            self._execute("ROLLBACK")
            return False
        return True

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._translated():
            return self._link.rows(sql)

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
        every = self._described[relation.name].types
        known = {one.name: every[one.name] for one in relation.columns}
        columns = ", ".join(
            f"{self._link.selected(type_).format(c=quoted(name))} AS {quoted(name)}" for name, type_ in known.items()
        )
        rows = Rows(relation.name, known, self._config.special_values, self._clock.now)
        places = [[*known].index(name) for name in cursor]
        sql = f"SELECT {columns} FROM {relation.source} {tail}"
        self._midway = True
        with objects.asked(relation.name), self._translated(), closing(self._link.batches(sql, known)) as batches:
            while (batch := _next(relation, batches)) is not None:
                if not batch.num_rows:
                    continue
                with _as_foreseen(relation):
                    good, refused = rows.of(batch)
                last = batch.slice(batch.num_rows - 1)
                yield Part(good, refused, tuple(_text(last.column(place)) for place in places), batch.num_rows)
        self._midway = False
        for name, count in rows.left_out.items():
            self._left_out(f"{relation.name}.{name}", count)

    def cancel(self) -> None:
        """Whatever runs on the connection ends; may be called by another thread."""
        self._sound = False
        with self._ending:
            self._link.cancel()

    def ended(self) -> bool:
        """No transaction is open any more; False where the connection is of no use."""
        with suppress(MillraceError):
            if self._sound and not self._midway:
                self._execute("ROLLBACK")
        return self._sound and not self._midway

    def close(self) -> None:
        with self._ending:
            self._link.close()

    def _asked(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a statement about the relation that is read."""
        (name,) = self._described
        with objects.asked(name):
            return self.rows(sql)

    def _execute(self, sql: str) -> None:
        self.rows(sql)

    @contextmanager
    def _translated(self) -> Generator[None]:
        config = self._config
        try:
            yield
        except Failed as error:
            self._sound = False
            raise translated(error.state, str(error), config.where, config.db_user, config.db_name) from error


def _next(relation: Relation, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    with _as_foreseen(relation):
        return next(batches, None)


@contextmanager
def _as_foreseen(relation: Relation) -> Generator[None]:
    """Values are of the types that the columns had when they were looked up."""
    try:
        yield
    except (Strange, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as cause:
        raise Transient(
            f"{relation.name} has changed while it was read: a column has another type.",
            hint="Run again: columns are looked up anew.",
        ) from cause


def _text(value: pa.Array) -> str | None:
    """The value of a cursor's column as the driver gave it, in a form that the server reads."""
    stored = value
    if isinstance(value.type, pa.BaseExtensionType) and value.type != pa.uuid():
        stored = value.storage
    if pa.types.is_binary(stored.type):
        return None
    from millrace.data.foreign import entered

    with in_letters():
        return text(entered(stored).values).values[0].as_py()
