"""DuckDB: one file, one writer at a time, Arrow read where it lies. Source: https://duckdb.org/docs/current/"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from millrace.connect.config import DestinationConfig
from millrace.connect.destination import Load, Loaded, Table
from millrace.connect.source import Context
from millrace.connect.sql import counting, keys
from millrace.connect.sql.destination import SqlDestination, other_key
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.duckdb import LIMITS, OLD_FORMATS, OLD_TABLES, TABLES, readable
from millrace.connect.sql.incoming import Incoming
from millrace.connect.sql.refusals import RowsRefused
from millrace.connect.sql.statements import Found, append
from millrace.data.columns import UNCHANGED
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem

# Imported where it is used, mostly by the thread that loads (`prepare`): it takes a thirtieth of a small sync.
if TYPE_CHECKING:
    import duckdb

# A load streams, so more memory does not make it faster; what exceeds it goes to a folder beside the file. But some
# rows do not fit at all: then a load is tried again with the next of these, up to half of the machine's memory.
MEMORY_MB = (64, 256, 1024, 4096)
_PAUSE_S = 0.05

# So long one load after the other has the file before it is free for a moment: who waits for it is not left waiting,
# and where there are many tables it is not opened for each of them, which takes longer the more there are.
TURN_S = 1.0
# When a file is closed, DuckDB joins row groups that are not full and writes anew what lies between them. Loads of
# fewer rows than this pay for one such task; larger ones would pay as much as for themselves, and leave it to these.
FEW_ROWS = 10_000
# Rows that DuckDB keeps, and compresses, together. What each of its threads has of a load at the end and is not as much
# as this is put together by one of them, so that in loads of a few row groups the others do nothing.
ROW_GROUP = 122_880
# As many threads count as a load can keep at work (`engine.load.MOST_ROWS`).
_MOST_THREADS = 4

# How DuckDB and the system say that a disk is full; the last is what goes to the folder beside the file.
_NO_ROOM = ("No space left", "File too large", "Disk quota exceeded", "disk is full", "failed to offload data block")
# How DuckDB says in a commit that its memory is used up.
_NO_MEMORY = ("failed to pin block", "could not allocate block")


@dataclass(slots=True)
class _Writers:
    """Those of this process that write one file: whose turn it is, and how many transactions they began."""

    turn: threading.RLock = field(default_factory=threading.RLock)
    transactions: int = 0


_writers: dict[str, _Writers] = {}
_writers_guard = threading.Lock()


class Config(DestinationConfig):
    path: Path = Field(description="The DuckDB file. It is made when there is none; its folder must exist.")
    schema_name: str = Field("main", min_length=1, description="Schema in which the tables are made.")
    lock_timeout_s: float = Field(30.0, ge=0, description="Seconds to wait for a file that another process has open.")
    memory_limit: str | None = Field(
        None,
        pattern=r"^\d+(\.\d+)?\s*([KMGT]i?B)$",
        description="Memory of DuckDB, for example 200MB or 2GB; when not set 64MB, and more for a load that needs it.",
    )
    threads: int | None = Field(None, ge=1, description="Threads of DuckDB; all cores when not set.")


class Destination(SqlDestination[Config]):
    """Tables in one DuckDB file. Loads into one file take turns: by a lock inside a process, by waiting across them."""

    Config = Config
    title = "DuckDB"
    limits = LIMITS
    dialect: Dialect = TABLES

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._catalog = ""
        self._depth = 0
        self._together = False
        self._opened = 0.0
        self._memory = list(_memory_limits()) if config.memory_limit is None else [config.memory_limit]
        self._file = os.path.realpath(config.path)
        with _writers_guard:
            self._writers = _writers.setdefault(self._file, _Writers())
        self._turn = self._writers.turn
        # Of each table that had no rows before this destination put new ones in, and nobody else since: their keys.
        self._keys: dict[str, keys.Known] = {}
        self._grown: keys.Known | None = None
        # When others got their turn, while loads follow one another.
        self._freed: float | None = None
        # The last transaction of this destination, and the file as it was left.
        self._last = 0
        self._left: object = None

    # The connection.

    @contextmanager
    def connected(self, *, keep: bool = False) -> Generator[None]:
        self._give_way()
        with self._turn:
            self._depth += 1
            try:
                self._open()
                yield
            finally:
                self._depth -= 1
                # The file is free for other processes while this one reads its source.
                if not keep and self._depth == 0:
                    self.close()

    @contextmanager
    def together(self) -> Generator[None]:
        self._together = True
        try:
            yield
        finally:
            self._together = False
            with self._turn:
                if self._depth == 0:
                    self.close()

    def _turn_ends(self) -> None:
        """The file is free for others, unless loads follow one another and it has not been ours for long."""
        with self._turn:
            if self._depth or self._connection is None:
                return
            if self._together and self.context.clock.monotonic() - self._opened < TURN_S:
                return
            self.close()
            self._freed = self.context.clock.monotonic() if self._together else None

    def _give_way(self) -> None:
        """Others had time to take the file since it was freed for them. Who waits for it asks every `_PAUSE_S`."""
        freed, self._freed = self._freed, None
        if freed is not None and (left := freed + 2 * _PAUSE_S - self.context.clock.monotonic()) > 0:
            self.context.clock.sleep(left)

    def prepare(self) -> None:
        import duckdb

        del duckdb

    def ready(self) -> None:
        """The file can be opened for writing, or made. One that somebody has open is waited for by the load."""
        with self._turn:
            self._look()
            if not Path(self._file).exists():
                self._room_for_one()
                return
            import duckdb

            try:
                duckdb.connect(self._file).close()
            except duckdb.Error as error:
                if _lock_holder(str(error)) is None:
                    raise self._translated(error) from error

    def expect(self) -> None:
        """The file is opened, which takes as long as a small load, unless somebody has it open."""
        with self._turn:
            self._open(wait_s=0)

    @property
    def enough_rows(self) -> int:
        return 2 * ROW_GROUP * min(self.config.threads or os.cpu_count() or 1, _MOST_THREADS)

    def vanished(self) -> bool:
        return not Path(self._file).exists()

    def _room_for_one(self) -> None:
        """A file can be made in the folder. It has another name: whoever makes the real one meanwhile keeps it."""
        try:
            with tempfile.NamedTemporaryFile(dir=Path(self._file).parent, prefix=".millrace-"):
                pass
        except OSError as error:
            if _full(str(error)):
                raise self._no_room() from error
            raise ConfigError(
                f"The DuckDB file {self.config.path} cannot be made: {error.strerror}.",
                hint="Choose a folder on a disk where this user may make files.",
                path="path",
                code="not_writable",
            ) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._left = _touched(self._file)

    def _open(self, *, wait_s: float | None = None) -> None:
        if self._connection is not None:
            return
        import duckdb

        self._look()
        until = self.context.clock.monotonic() + (self.config.lock_timeout_s if wait_s is None else wait_s)
        while True:
            try:
                connection = duckdb.connect(self._file)
                break
            except duckdb.Error as error:
                held = _lock_holder(str(error))
                if held is None:
                    raise self._translated(error) from error
                if self.context.clock.monotonic() >= until:
                    raise EnvironmentProblem(
                        f"The DuckDB file {self.config.path} is locked by {held}.",
                        hint="Close that program, or set a longer lock_timeout_s.",
                        code="locked",
                    ) from error
                self.context.awaiting(f"{self.config.path} is locked by {held}")
            self.context.clock.sleep(_PAUSE_S)
        self._connection, self._opened = connection, self.context.clock.monotonic()
        if self._left != _touched(self._file):
            # Somebody else may have put rows in.
            self._keys.clear()
        try:
            with self.translated():
                self._set_up(connection)
        except BaseException:
            # Half set up it would serve the next who asks, who shall see the same error.
            self.close()
            raise

    def _set_up(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{self._memory[0]}'")
        connection.execute("SET preserve_insertion_order = false")
        if self.config.threads:
            connection.execute(f"SET threads = {self.config.threads}")
        name, version = connection.execute(
            "SELECT database_name, tags['storage_version'] FROM duckdb_databases() "
            "WHERE database_name = current_database()"
        ).fetchall()[0]
        self._catalog = str(name)
        self.dialect = OLD_TABLES if str(version).startswith(OLD_FORMATS) else TABLES
        if self.config.schema_name != "main":
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.dialect.quoted(self.config.schema_name)}")
            # A user's query finds the tables without naming their schema.
            connection.execute(f"USE {self.dialect.path(self._catalog, self.config.schema_name)}")

    def _look(self) -> None:
        """The path can hold a database, or the error says which part of it cannot."""
        path = Path(self._file)
        if path.is_dir():
            raise ConfigError(
                f"{self.config.path} is a folder, not a DuckDB file.",
                hint="Give the path of a file; it is made when there is none.",
                path="path",
                code="bad_path",
            )
        if not path.parent.is_dir():
            raise ConfigError(
                f"The folder {path.parent} of the DuckDB file does not exist.",
                hint="Make the folder, or change the path.",
                path="path",
                code="bad_path",
            )
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ConfigError(
                f"The DuckDB file {self.config.path} cannot be written.",
                hint="Give this user the right to write it, or change the path.",
                path="path",
                code="not_writable",
            )
        if _of_another_kind(path):
            raise self._no_database()

    @contextmanager
    def translated(self) -> Generator[None]:
        """DuckDB's errors come out as ours."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: duckdb.Error) -> Exception:
        import duckdb

        text = str(error)
        if isinstance(error, duckdb.ConstraintException):
            return RowsRefused(text, "CONSTRAINT_VIOLATION")
        if isinstance(error, (duckdb.ConversionException, duckdb.OutOfRangeException)):
            return RowsRefused(text, "INCOMPATIBLE_TYPE")
        if isinstance(error, duckdb.InvalidInputException) and "invalid unicode" in text.lower():
            return RowsRefused("a text is not valid UTF-8", "INCOMPATIBLE_TYPE")
        if _full(text):
            return self._no_room()
        if isinstance(error, duckdb.OutOfMemoryException) or any(words in text for words in _NO_MEMORY):
            return EnvironmentProblem(
                f"DuckDB needs more memory than {self._memory[0]}.",
                hint="Set a higher memory_limit at the destination.",
                code="memory",
            )
        if "not a valid DuckDB database file" in text:
            return self._no_database()
        if isinstance(error, (duckdb.IOException, duckdb.FatalException, duckdb.InternalException)):
            return EnvironmentProblem(
                f"The DuckDB file {self.config.path} cannot be used: {text}",
                hint="Check that this user may write the file and its folder, and that the disk is sound.",
                path="path",
            )
        return ConfigError(f"DuckDB refuses a statement: {text}", code="sql")

    def _no_database(self) -> ConfigError:
        return ConfigError(
            f"{self.config.path} exists and is not a DuckDB database.",
            hint="Choose another path.",
            path="path",
            code="bad_path",
        )

    def _no_room(self) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"The disk under {self.config.path} is full; nothing of this load was kept.",
            hint="Free some space and run again.",
            code="DISK_FULL",
        )

    def load(self, table: Table, load: Load) -> Loaded:
        try:
            with self.connected(keep=True):
                return self._load(table, load)
        finally:
            self._turn_ends()

    def _load(self, table: Table, load: Load) -> Loaded:
        self.execute(f"SET max_vacuum_tasks = {int(load.rows.count < FEW_ROWS)}")
        while True:
            self._grown = None
            try:
                loaded = super().load(table, load)
                break
            except BaseException as error:
                if _code(error) != "memory" or len(self._memory) == 1:
                    # Where a commit was not answered, nobody knows what the table has.
                    self._keys.pop(table.name, None)
                    raise
            # It was rolled back. Later loads of these rows' kind begin with what this one needs.
            del self._memory[0]
            self.execute(f"SET memory_limit = '{self._memory[0]}'")
        if self._grown is None:
            self._keys.pop(table.name, None)
        else:
            self._keys[table.name] = self._grown
        return loaded

    def _merged(self, table: Table, target: str, load: Load, incoming: Incoming) -> Loaded:
        """Rows go straight into the table as long as the key of each is new since the table was empty."""
        known = self._known(table, target, load, incoming)
        self._grown = None if known is None else self._joined(table, known, incoming)
        if self._grown is None:
            return super()._merged(table, target, load, incoming)
        with self.offered(incoming) as rows:
            self.execute(append(self.dialect, table, target, rows=rows, at_ms=load.at_ms))
        return Loaded(0, inserted=incoming.count)

    def _known(self, table: Table, target: str, load: Load, incoming: Incoming) -> keys.Known | None:
        """Hashes of all keys that the table has; None when they are not known, or rows are more than new ones."""
        if incoming.deletes or table.nest is not None or len(table.key) > 1 or UNCHANGED in load.rows.schema.names:
            return None
        if table.name not in self._keys and not self.rows(f"SELECT 1 FROM {target} LIMIT 1"):
            # Keys that are not equal by their letters may be so by a collation.
            made = self.rows(
                "SELECT sql FROM duckdb_tables() WHERE database_name = $1 AND schema_name = $2 "
                "AND lower(table_name) = lower($3)",
                self._catalog,
                self.config.schema_name,
                table.name,
            )
            return keys.none() if made and "COLLATE" not in str(made[0][0]).upper() else None
        return self._keys.get(table.name)

    def _joined(self, table: Table, known: keys.Known, incoming: Incoming) -> keys.Known | None:
        """The keys that are known, and those that come; None when some of them may be the same."""
        every = keys.joined(known, (batch.column(0) for batch in incoming.reader(table.key)))
        self._raise_refusals(incoming)
        return every

    def swap(self, fresh: str, table: str) -> None:
        self._keys.clear()
        super().swap(fresh, table)

    # What SqlDestination asks for.

    @property
    def _live(self) -> duckdb.DuckDBPyConnection:
        assert self._connection is not None
        return self._connection

    @contextmanager
    def transaction(self) -> Generator[None]:
        import duckdb

        if self._last != self._writers.transactions:
            # Another destination of this process has written.
            self._keys.clear()
        self._last = self._writers.transactions = self._writers.transactions + 1
        with self.translated():
            self._live.execute("BEGIN")
        try:
            yield
            with self.translated():
                self._live.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):
                self._live.execute("ROLLBACK")
            raise

    def execute(self, sql: str, *values: Any) -> int:
        with self.translated():
            answer = self._live.execute(sql, list(values)).fetchall()
        return int(answer[0][0]) if answer and isinstance(answer[0][0], int) else -1

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.translated():
            return self._live.execute(sql, list(values)).fetchall()

    def marker(self, number: int) -> str:
        return f"${number}"

    def target(self, table: str) -> str:
        return self.dialect.path(self._catalog, self.config.schema_name, table)

    def lock(self, table: str) -> None:
        """The process's lock and the file's are held already."""

    def found(self, table: str) -> dict[str, Found] | None:
        where = "database_name = $1 AND schema_name = $2 AND lower({}_name) = lower($3)"
        there = self.rows(
            f"SELECT table_name FROM duckdb_tables() WHERE {where.format('table')} "
            f"UNION ALL SELECT view_name FROM duckdb_views() WHERE {where.format('view')}",
            self._catalog,
            self.config.schema_name,
            table,
        )
        if not there:
            return None
        # `duckdb_columns()` says the same, but takes all views of the system apart, which costs 10 ms each time a file
        # is opened. Asked for a table that is not there, this fails, and the transaction with it.
        rows = self.rows(
            'SELECT name, type, "notnull", dflt_value FROM pragma_table_info($1)', self.target(there[0][0])
        )
        columns = (
            Found(name, sql, self.dialect.logical(sql), nullable=not required, default=default is not None)
            for name, sql, required, default in rows
        )
        return {column.name: column for column in columns}

    def instead(self, table: str) -> str | None:
        found = self.rows(
            "SELECT 1 FROM duckdb_views() "
            "WHERE database_name = $1 AND schema_name = $2 AND lower(view_name) = lower($3)",
            self._catalog,
            self.config.schema_name,
            table,
        )
        return "view" if found else None

    def temporaries(self) -> list[tuple[str, str]]:
        return [
            (str(name), str(kind))
            for name, kind in self.rows(
                "SELECT table_name, 'TABLE' FROM duckdb_tables() WHERE database_name = 'temp' "
                "UNION ALL SELECT view_name, 'VIEW' FROM duckdb_views() WHERE database_name = 'temp'"
            )
        ]

    def take(self, name: str, rows: pa.RecordBatchReader) -> None:
        with self._stream("__mr_stream", rows):
            self.execute(f"CREATE TEMP TABLE {self.dialect.temp}{self.dialect.quoted(name)} AS FROM __mr_stream")

    @contextmanager
    def offered(self, incoming: Incoming) -> Generator[str]:
        with self._stream("__mr_rows_in", _Rereading(incoming)):
            yield "__mr_rows_in"

    @contextmanager
    def _stream(self, name: str, source: object) -> Generator[None]:
        import duckdb

        self._live.register(name, source)
        try:
            yield
        finally:
            # In a transaction that failed nothing can be dropped; its end does it.
            with suppress(duckdb.Error):
                self._live.unregister(name)

    # Reading.

    def query(self, sql: str, *, limit: int | None = None) -> pa.Table:
        import duckdb

        with self.connected(), self.translated():
            statements = self._live.extract_statements(sql)
            if len(statements) != 1:
                raise ConfigError("A query is one statement.", code="sql")
            if self.context.confined:
                # Nobody can take that back as long as the database is open.
                self._live.execute("SET enable_external_access = false")
            self._live.execute("BEGIN TRANSACTION READ ONLY")
            try:
                found: Any = self._live.sql(statements[0].query)  # None for a statement without an answer
                return pa.table({}) if found is None else _first(readable(found).to_arrow_reader(), limit)
            finally:
                with suppress(duckdb.Error):
                    self._live.execute("ROLLBACK")

    def stored(self, table: str, names: Sequence[str], only: Mapping[str, bool]) -> Iterator[pa.RecordBatch]:
        with self.connected(), self.translated():
            found = self._live.sql(counting.rows(self.dialect.quoted, self.target(table), names, only))
            yield from readable(found).to_arrow_reader()

    def indexed(self, table: Table) -> None:
        """No index is made: it would cost memory and time at each load, and the merge keeps keys unique."""
        found = self.rows("SELECT name FROM pragma_table_info($1) WHERE pk", self.target(table.name))
        key = [str(name) for (name,) in found]
        if key and set(key) != set(table.key):
            raise other_key(table, key)


class _Rereading:
    """Rows that DuckDB asks for anew at each scan."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._incoming.reader().__arrow_c_stream__(requested_schema)


def _first(reader: pa.RecordBatchReader, limit: int | None) -> pa.Table:
    """The first ``limit`` rows."""
    if limit is None:
        return reader.read_all()
    batches: list[pa.RecordBatch] = []
    left = limit
    for batch in reader:
        batches.append(batch.slice(0, left))
        left -= batches[-1].num_rows
        if left <= 0:
            break
    return pa.Table.from_batches(batches, schema=reader.schema)


def _code(error: BaseException) -> str | None:
    return error.code if isinstance(error, EnvironmentProblem) else None


def _touched(file: str) -> object:
    """What of a database's files is different once somebody has written to them. They must not be opened for that:
    whoever closes a file loses the locks that its process has on it."""
    found: list[tuple[int, int, int] | None] = []
    for path in (Path(file), Path(f"{file}.wal")):
        try:
            about = path.stat()
            found.append((about.st_ino, about.st_size, about.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _of_another_kind(path: Path) -> bool:
    """Whether the file is none of DuckDB's, which it would look up an extension for on the network (SQLite's)."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    # Source: https://duckdb.org/docs/current/internals/storage. A shorter file may be one that is just being made.
    return len(head) == 12 and head[8:] != b"DUCK"


def _memory_limits() -> Iterator[str]:
    half_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2_000_000
    for mb in MEMORY_MB:
        if mb <= half_mb or mb == MEMORY_MB[0]:
            yield f"{mb}MB"


def _lock_holder(text: str) -> str | None:
    """Who has the file open, when that is what the error says."""
    if "Could not set lock on file" not in text:
        return None
    pid = re.search(r"\(PID (\d+)\)", text)
    return f"the process {pid[1]}" if pid else "another process"


def _full(text: str) -> bool:
    return any(words in text for words in _NO_ROOM)
