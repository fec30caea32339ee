"""MySQL and MariaDB: rows travel by LOAD DATA LOCAL, or by INSERT of many, into a temporary table and are merged there.

Changes of tables end the transaction they stand in
(https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html). So none is made in a load; where a table goes or takes
another's place, what shall happen is noted first, and whoever comes next brings it to its end.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field
from pymysql.constants import FIELD_TYPE

from millrace.connect.config import DestinationConfig
from millrace.connect.destination import Change, Column, Load, Loaded, Table
from millrace.connect.mysql.answers import Field as Answered
from millrace.connect.mysql.server import ServerSettings, opened
from millrace.connect.mysql.session import Session, marker
from millrace.connect.source import Context
from millrace.connect.sql import counting
from millrace.connect.sql.destination import SqlDestination, other_key
from millrace.connect.sql.history import Record
from millrace.connect.sql.incoming import Incoming, stamped
from millrace.connect.sql.refusals import RowsRefused
from millrace.connect.sql.statements import GONE, Found, Merge, temporary
from millrace.connect.sql.straight import Straight
from millrace.destinations.mysql import merging, reading, shape, versions, writing
from millrace.destinations.mysql.dialect import LIMITS, MYSQL, ON_MARIADB, ON_MYSQL
from millrace.destinations.mysql.whole import Whole
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.connect.local_days import LocalDays

_ROWS_IN = "rows_in"
# Waits for a lock that somebody else holds end after this; the load is tried again later.
_LOCK_TIMEOUT_S = 600
# Bytes of one INSERT, where the server takes as many.
_STATEMENT_BYTES = 4 << 20
# What a statement has beside the values, at most.
_SPARE_BYTES = 256 << 10

_SETTINGS = (
    # Values that do not fit are errors, 0 is 0, and names may stand in double quotes as elsewhere.
    "sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'",
    "time_zone = '+00:00'",
    "TRANSACTION ISOLATION LEVEL READ COMMITTED",
    f"innodb_lock_wait_timeout = {_LOCK_TIMEOUT_S}",
    f"lock_wait_timeout = {_LOCK_TIMEOUT_S}",
    "net_read_timeout = 600",
    "net_write_timeout = 600",
    # Keys longer than the default would be told apart by their beginnings.
    "max_sort_length = 4096",
)
# MariaDB joins without an index by hashes only when told to.
_ON_MARIADB = ("join_cache_level = 4", "join_buffer_space_limit = 134217728", "join_buffer_size = 67108864")


class Config(DestinationConfig, ServerSettings):
    local_infile: bool = Field(True, description="Send rows by LOAD DATA LOCAL INFILE where the server allows it.")


class Destination(SqlDestination[Config]):
    """Tables of one database. A load locks its table against other loads, by a lock of their own."""

    Config = Config
    title = "MySQL"
    limits = LIMITS
    dialect = MYSQL

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._open: Session | None = None
        self._straight = Straight(self)
        # The columns of the table that is loaded, and the name of the rows' number.
        self._shape: dict[str, Found] = {}
        self._sequence = ""
        self._rewritings: dict[Change, shape.Rewriting] = {}
        # Rows that were complained about are looked for by statements that say why.
        self._searching = False
        self._where = config.place(self.title)

    # The connection.

    @contextmanager
    def connected(self, *, keep: bool = False) -> Generator[None]:
        del keep  # an open connection is in nobody's way
        if self._open is None or not self._open.stands:
            self._connect()
        try:
            Whole(self._session, self).settled()
            yield
        except MillraceError as error:
            if error.code == "transient":
                self.close()
            raise

    @property
    def _session(self) -> Session:
        assert self._open is not None
        return self._open

    def _connect(self) -> None:
        session = Session(opened(self.config, self.context.reach, self._where), self._where)
        self.dialect = ON_MARIADB if session.family == "mariadb" else ON_MYSQL
        for setting in (*_SETTINGS, *(_ON_MARIADB if session.family == "mariadb" else ())):
            session.execute(f"SET SESSION {setting}")
        # Rows that are wider than a page only when every column has a value may come; the few that are get refused.
        with suppress(MillraceError):
            session.execute("SET SESSION innodb_strict_mode = OFF")
        self._open = session

    def ready(self) -> None:
        """The server lets this user in, and takes changes."""
        with self.connected():
            if self.rows("SELECT @@global.read_only")[0][0]:
                raise ConfigError(
                    f"{self._where} only allows reading: it is a replica, or set to read only.",
                    hint="Name the primary server.",
                    code="read_only",
                )

    @property
    def eager(self) -> bool:
        return not self._straight.merges

    def close(self) -> None:
        session, self._open = self._open, None
        if session is not None:
            session.close()

    # What SqlDestination asks for.

    @contextmanager
    def transaction(self) -> Generator[None]:
        with self._session.transaction():
            yield

    def execute(self, sql: str, *values: Any) -> int:
        return self._session.execute(sql, *values, brings_rows=sql.startswith(("INSERT", "UPDATE", "DELETE")))

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._session.rows(sql, *values)

    def marker(self, number: int) -> str:
        return marker(number)

    def target(self, table: str) -> str:
        return self.dialect.path(self.config.db_name, table)

    def lock(self, table: str) -> None:
        self._session.lock(f"{self.config.db_name}\0{table}", _LOCK_TIMEOUT_S)

    def prepared(self) -> None:
        # Two that change the same tables at once would be in each other's way.
        self._session.lock(self.config.db_name, _LOCK_TIMEOUT_S)

    def found(self, table: str) -> dict[str, Found] | None:
        rows = self.rows(
            "SELECT c.column_name, c.column_type, c.is_nullable, c.column_default, c.extra, c.column_comment "
            "FROM information_schema.columns AS c JOIN information_schema.tables AS t "
            "ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE' "
            f"WHERE c.table_schema = {marker(1)} AND c.table_name = {marker(2)} ORDER BY c.ordinal_position",
            self.config.db_name,
            table,
        )
        if not rows:
            return None
        json = self._json_columns(table) if self._session.family == "mariadb" else frozenset[str]()
        columns: dict[str, Found] = {}
        for name, type_, nullable, default, extra, comment in rows:
            sql = "json" if name in json else f"{type_}{' comment utc' if comment == 'UTC' else ''}".lower()
            filled = default not in (None, "NULL") or bool(extra)
            columns[name] = Found(name, sql, self.dialect.logical(sql), nullable=nullable == "YES", default=filled)
        return columns

    def instead(self, table: str) -> str | None:
        found = self.rows(
            f"SELECT table_type FROM information_schema.tables WHERE table_schema = {marker(1)} "
            f"AND table_name = {marker(2)} AND table_type NOT IN ('BASE TABLE', 'SYSTEM VERSIONED')",
            self.config.db_name,
            table,
        )
        return str(found[0][0]).lower() if found else None

    def _json_columns(self, table: str) -> frozenset[str]:
        """MariaDB's JSON is text with a check of the column's own name."""
        return frozenset(
            str(name)
            for name, check in self.rows(
                "SELECT constraint_name, check_clause FROM information_schema.check_constraints "
                f"WHERE constraint_schema = {marker(1)} AND table_name = {marker(2)}",
                self.config.db_name,
                table,
            )
            if str(check).lower().replace('"', "`") == f"json_valid({self.dialect.quoted(str(name))})".lower()
        )

    def temporaries(self) -> list[tuple[str, str]]:
        return []  # the session knows them

    def _clear_temporaries(self, names: Sequence[str]) -> None:
        self._session.drop_temporary(*(temporary(self.dialect, name) for name in (*names, *versions.MORE)))
        if "filled" in names:
            self._session.drop_temporary(*self._session.temporary(temporary(self.dialect, merging.SAID).strip("`")))

    # Shape.

    def _changes(self, table: Table, target: str, found: Mapping[str, Found] | None) -> list[Change]:
        fitted = shape.fitted(self.dialect, table, found)
        if found is None:
            return [Change("create", table.name, None, shape.create(self.dialect, fitted, target))]
        changes = shape.changes(self.dialect, fitted, target, list(found.values()))
        self._rewritings = {change: rewriting for change, rewriting in changes if rewriting is not None}
        return [change for change, _ in changes]

    def changed(self, table: Table, change: Change) -> None:
        if (rewriting := self._rewritings.get(change)) is None:
            self.execute(change.statement)
            return
        self.lock(table.name)
        if shape.WIDE in (self.found(table.name) or {}):
            self.execute(rewriting.forget)
        for statement in rewriting.statements:
            self.execute(statement)

    def _notes(self, table: Table) -> None:
        Whole(self._session, self).made(table.meta.loads)

    def indexed(self, table: Table) -> None:
        key, indexes = set(table.key), self._indexes(table.name)
        primary = indexes.get("PRIMARY")
        if table.mode == "merge":
            if primary is not None and set(primary.columns) != key:
                raise other_key(table, sorted(primary.columns))
            self._index(table, "mr_key", table.key, indexes)
            if table.nest is not None:
                self._index(table, "mr_ref", (table.nest.ref,), indexes)
            return
        # A key of single rows, from a time when the table was merged, would refuse the versions of a row.
        if primary is not None and set(primary.columns) == key:
            self._drop_key(table)
        if (ours := indexes.get("mr_key")) is not None and ours.unique:
            self.execute(f"ALTER TABLE {self.target(table.name)} DROP INDEX `mr_key`")
        if table.mode == "history":
            self._index(table, "mr_versions", (*table.key, table.meta.valid_from), indexes)

    def _indexes(self, table: str) -> dict[str, shape.Index]:
        found: dict[str, shape.Index] = {}
        for name, column, plain, whole in self.rows(
            "SELECT index_name, column_name, non_unique, sub_part IS NULL FROM information_schema.statistics "
            f"WHERE table_schema = {marker(1)} AND table_name = {marker(2)} ORDER BY index_name, seq_in_index",
            self.config.db_name,
            table,
        ):
            before = found.get(str(name))
            columns = (*(before.columns if before else ()), str(column))
            # An index of an expression has no column.
            whole = bool(whole) and column is not None and (before is None or before.whole)
            found[str(name)] = shape.Index(columns, unique=not plain, whole=whole)
        return found

    def _index(self, table: Table, name: str, columns: Sequence[str], indexes: dict[str, shape.Index]) -> None:
        """An index for the merge; unique unless it cannot be, or the table holds the same key twice."""
        if any(set(index.columns) == set(columns) for index in indexes.values()):
            return
        target, names = self.target(table.name), self.dialect.names(tuple(columns))
        parts, whole = shape.index_parts(self.dialect, columns, self.found(table.name) or {})
        twice = name == "mr_ref" or self.rows(f"SELECT 1 FROM {target} GROUP BY {names} HAVING count(*) > 1 LIMIT 1")
        unique = "UNIQUE " if whole and not twice else ""
        self.execute(f"CREATE {unique}INDEX {self.dialect.quoted(name)} ON {target} ({parts})")

    def _drop_key(self, table: Table) -> None:
        found = self.found(table.name) or {}
        loose = ", ".join(
            f"MODIFY COLUMN {self.dialect.quoted(name)} {shape.restored(self.dialect, found[name])} NULL"
            for name in table.key
        )
        self.execute(f"ALTER TABLE {self.target(table.name)} DROP PRIMARY KEY, {loose}")

    # Arrow's road in.

    def _incoming(self, table: Table, load: Load, *, thorough: bool = False) -> Incoming:
        incoming = super()._incoming(table, load, thorough=thorough)
        self._shape, self._sequence = dict(incoming.found), table.meta.sequence
        return incoming

    def merging(self, table: Table, target: str, *, rows: str, at_ms: int, filled: Sequence[str] = ()) -> Merge:
        return merging.merge(self.dialect, table, target, rows=rows, at_ms=at_ms, filled=filled)

    def filling(self, table: Table, target: str, lacking: Sequence[Column], rows: str) -> Sequence[str]:
        return merging.filling(self.dialect, table, target, lacking, rows)

    def recording(self, table: Table, target: str, *, at_ms: int) -> Record:
        return versions.record(self.dialect, table, target, at_ms=at_ms)

    def take(self, name: str, rows: pa.RecordBatchReader) -> None:
        columns = [
            f"{self.dialect.quoted(field.name)} {shape.staged(self.dialect, field.type, self._shape.get(field.name))}"
            for field in rows.schema
        ]
        if self._sequence in rows.schema.names:
            columns.append(f"PRIMARY KEY ({self.dialect.quoted(self._sequence)})")
        target = self.dialect.quoted(name)
        self.execute(f"CREATE TEMPORARY TABLE {target} ({', '.join(columns)}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC")
        self._write(target, rows, frozenset())

    @contextmanager
    def offered(self, incoming: Incoming) -> Generator[str]:
        self._clear_temporaries((_ROWS_IN,))
        self.take(f"__mr_{_ROWS_IN}", incoming.reader())
        self._raise_refusals(incoming)
        yield temporary(self.dialect, _ROWS_IN)
        self._clear_temporaries((_ROWS_IN,))

    def narrow(self, incoming: Incoming, rows: str, names: Sequence[str]) -> None:
        q, meta = self.dialect.quoted, incoming.table.meta
        gone = f"COALESCE({q(meta.op_type)} = 'D', FALSE)" if incoming.deletes else "FALSE"
        self.execute(
            f"CREATE TEMPORARY TABLE {temporary(self.dialect, 'keys')} (PRIMARY KEY ({q(meta.sequence)})) AS "
            f"SELECT {self.dialect.names(list(names))}, {q(meta.sequence)}, {gone} AS {GONE} FROM {rows}"
        )

    def append(self, table: Table, target: str, load: Load, incoming: Incoming) -> None:
        """Rows go straight into the table."""
        reader = incoming.reader([column.name for column in table.columns], gone=True)
        json = frozenset(name for name, one in incoming.found.items() if one.sql == "json")
        self._write(target, stamped(table, load, reader), json)

    def _merged(self, table: Table, target: str, load: Load, incoming: Incoming) -> Loaded:
        if self._straight.took(table, target, load, incoming, partial(self._keeps_unique, table)):
            return Loaded(0, inserted=incoming.count)
        return super()._merged(table, target, load, incoming)

    def _keeps_unique(self, table: Table) -> bool:
        """Whether an index refuses a second row with the same key."""
        return any(
            index.unique and index.whole and set(index.columns) == set(table.key)
            for index in self._indexes(table.name).values()
        )

    def _write(self, target: str, rows: pa.RecordBatchReader, json: frozenset[str]) -> None:
        """The rows are in the table, each of them, as it is. ``json``: its columns of that type."""
        if self.config.local_infile and self._session.takes_files and not self._searching:
            self._write_lines(target, rows, json)
        else:
            self._write_values(target, rows)

    def _write_lines(self, target: str, rows: pa.RecordBatchReader, json: frozenset[str]) -> None:
        # MySQL makes no JSON of bytes, and the lines are read as bytes, so that columns of bytes can be among them.
        variables = {
            name: f"@mr_{number}"
            for number, name in enumerate(rows.schema.names)
            if name in json and self._session.family == "mysql"
        }
        names = ", ".join(variables.get(name, self.dialect.quoted(name)) for name in rows.schema.names)
        sets = ", ".join(f"{self.dialect.quoted(n)} = CONVERT({v} USING utf8mb4)" for n, v in variables.items())
        count = 0

        def parts() -> Generator[memoryview]:
            nonlocal count
            for batch in rows:
                if batch.num_rows:
                    written = writing.lines(batch)
                    self._check_sizes(written)
                    count += written.rows
                    yield written.data[int(written.ends[0]) : int(written.ends[-1])]

        sent = self._session.send(
            f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE {target} CHARACTER SET binary {writing.FORMAT} ({names})"
            + (f" SET {sets}" if sets else ""),
            parts(),
        )
        # From a client the server takes lines that do not fit all the same, and lets others out; it only tells.
        if sent.rows != count or sent.complaints:
            raise self._session.complaint()

    def _write_values(self, target: str, rows: pa.RecordBatchReader) -> None:
        front = f"INSERT INTO {target} ({self.dialect.names(rows.schema.names)}) VALUES ".encode()
        most = min(_STATEMENT_BYTES, self._session.packet_bytes) - len(front) - 1
        for batch in rows:
            if not batch.num_rows:
                continue
            written = writing.values(batch)
            self._check_sizes(written)
            for first, last in writing.pieces(written, most):
                self._session.execute(front + bytes(written.bytes_of(first, last)[:-1]), brings_rows=True)

    def _diagnose(self, table: Table, load: Load, refused: RowsRefused) -> None:
        self._searching = True
        try:
            super()._diagnose(table, load, refused)
        finally:
            self._searching = False

    def _check_sizes(self, written: writing.Written) -> None:
        """No row is longer than what the server takes, and gives back, at once."""
        if written.sizes.max() > self._session.packet_bytes - _SPARE_BYTES:
            raise RowsRefused(
                f"the row is longer than the server's max_allowed_packet ({self._session.packet_bytes} bytes)",
                "ROW_TOO_LARGE",
            )

    # Whole tables.

    def swap(self, fresh: str, table: str) -> None:
        with self.connected(keep=True):
            self.must_be_table(table)
            Whole(self._session, self).swap(fresh, table)

    def drop(self, table: str) -> None:
        with self.connected(keep=True):
            self.must_be_table(table)
            Whole(self._session, self).drop(table)

    # Reading.

    def query(self, sql: str, *, limit: int | None = None) -> pa.Table:
        statement = sql.strip().rstrip(";")
        with self.connected():
            session = self._session
            # A transaction that only reads is not enough: a change of a table would end it, and happen.
            session.execute("SET SESSION TRANSACTION READ ONLY")
            try:
                if limit is not None:
                    session.execute(f"SET SESSION sql_select_limit = {limit}")
                fields, columns = session.answer(statement)
                if any(field.is_single for field in fields):
                    names = [self.dialect.quoted(field.name) for field in fields]
                    if len(set(names)) == len(names):
                        whole = (f"{q} + 0e0 AS {q}" if f.is_single else q for q, f in zip(names, fields, strict=True))
                        _, columns = session.answer(f"SELECT {', '.join(whole)} FROM ({statement}\n) AS answer")
                return reading.table(self._with_zones(fields), [values[:limit] for values in columns])
            finally:
                with suppress(MillraceError):
                    session.execute("SET SESSION TRANSACTION READ WRITE")
                    session.execute("SET SESSION sql_select_limit = DEFAULT")

    def stored(self, table: str, names: Sequence[str], only: Mapping[str, bool]) -> Iterator[pa.RecordBatch]:
        sql = counting.rows(self.dialect.quoted, self.target(table), names, only)
        with self.connected():
            fields, _ = self._session.answer(f"{sql} LIMIT 0")
            zoned = self._with_zones(fields)
            if any(field.is_single for field in fields):
                quoted = [self.dialect.quoted(name) for name in names]
                whole = (f"{q} + 0e0 AS {q}" if f.is_single else q for q, f in zip(quoted, fields, strict=True))
                sql = f"SELECT {', '.join(whole)} FROM ({sql}) AS stored"
            for _, columns in self._session.stream(sql):
                yield from reading.table(zoned, columns).to_batches()

    def _with_zones(self, fields: Sequence[Answered]) -> list[Answered]:
        """The columns of an answer, with what their tables say of moments."""
        tables = {field.origin[:2] for field in fields if field.type == FIELD_TYPE.DATETIME and field.origin[1]}
        zoned = {
            (*table, str(name))
            for table in tables
            for (name,) in self.rows(
                f"SELECT column_name FROM information_schema.columns WHERE table_schema = {marker(1)} "
                f"AND table_name = {marker(2)} AND data_type = 'datetime' AND column_comment = 'UTC'",
                *table,
            )
        }
        return [replace(field, utc=field.origin in zoned) for field in fields]

    def tally(
        self, table: str, name: str, at: str, days: LocalDays, only: Mapping[str, bool]
    ) -> Sequence[tuple[str, str, int]]:
        # As bytes: texts that differ in case, accents or spaces at the end are the same to the server, and are not.
        text = "CAST(CONVERT({c} USING utf8mb4) AS BINARY)"
        with self.connected():
            found = self.rows(counting.tally(self.dialect, self.target(table), name, at, days, only, text=text))
        return [(bytes(group).decode(), str(day), int(rows)) for group, day, rows in found]
