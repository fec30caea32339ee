"""Statements on one connection to MySQL or MariaDB, with the driver's errors in our words."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeAlias

import pymysql
from pymysql.constants import COMMAND
from pymysql.converters import escape_string
from pymysql.protocol import OKPacketWrapper

from millrace.connect.mysql import binary
from millrace.connect.mysql.answers import Field, by_driver, columns_of, fields_of
from millrace.connect.mysql.binary import Form
from millrace.connect.mysql.errors import translated
from millrace.connect.mysql.parts import Listed, Part
from millrace.data.dataclass import dataclass
from millrace.data.native import library
from millrace.errors import ConfigError, MillraceError, Transient

Answer: TypeAlias = tuple[list[Field], list[list[bytes | None]]]
Family = Literal["mysql", "mariadb"]

# The oldest that have what is asked for: window functions, collations without padding, names changed by RENAME COLUMN.
OLDEST: dict[Family, tuple[int, ...]] = {"mysql": (8, 0, 17), "mariadb": (10, 5, 2)}
_BATCH_BYTES = 8 << 20
# What one packet to the server holds at most; larger ones are told apart by it.
_PACKET = 1 << 20
_TEMPORARY = re.compile(r"CREATE TEMPORARY TABLE (`(?:[^`]|``)*`)")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of lines that were sent: rows that went in, and how many complaints there were."""

    rows: int
    complaints: int


class Session:
    """One connection. Temporary tables made in a transaction that fails are gone with it, as all that it did.

    Values are bound to `marker(1)`, `marker(2)` …, which no name can hold.
    """

    def __init__(self, connection: pymysql.Connection[Any], where: str) -> None:
        self._connection = connection
        self._where = where
        self._locks: list[str] = []
        self._temporary: set[str] = set()
        told = str(self.rows("SELECT version()")[0][0])
        self.family: Family = "mariadb" if "mariadb" in told.lower() else "mysql"
        self.version = tuple(int(part) for part in re.findall(r"\d+", told)[:3])
        if self.version < OLDEST[self.family]:
            oldest = ".".join(map(str, OLDEST[self.family]))
            raise ConfigError(
                f"{where} is {told}; {self.family} {oldest} or newer is needed.",
                hint="Bring the server to a newer version.",
                code="server_version",
            )
        local, packet = self.rows("SELECT @@local_infile, @@max_allowed_packet")[0]
        self.takes_files = bool(local)
        self.packet_bytes = int(packet)

    @property
    def stands(self) -> bool:
        """The connection was not lost, as far as is known here."""
        return bool(self._connection.open)

    def close(self) -> None:
        with suppress(pymysql.Error, OSError):
            self._connection.close()

    def break_off(self) -> None:
        """Whatever waits for the server ends with an error; another thread may say so."""
        connection: Any = self._connection
        if (plug := connection._sock) is not None:
            with suppress(OSError):
                _give_up(plug)
                plug.shutdown(socket.SHUT_RDWR)

    # Statements.

    def execute(self, sql: str | bytes, *values: Any, brings_rows: bool = False) -> int:
        """How many rows the statement changed."""
        text = _bound(sql, values) if isinstance(sql, str) else sql
        with self._translated(rows=brings_rows), by_driver(self._connection):
            changed = self._connection.query(text)  # pyright: ignore[reportArgumentType]  bytes go as they are
        if isinstance(sql, str) and (made := _TEMPORARY.match(sql)):
            self._temporary.add(made[1])
        return int(changed)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._translated(), by_driver(self._connection), self._connection.cursor() as cursor:
            cursor.execute(_bound(sql, values))
            return [tuple(row) for row in cursor.fetchall()]

    def answer(self, sql: str) -> Answer:
        """What a statement answers: its columns, and the values of each as the server wrote them."""
        parts = list(self.stream(sql))
        fields = parts[0][0]
        return fields, [[one for _, columns in parts for one in columns[place]] for place in range(len(fields))]

    def stream(self, sql: str, most_bytes: int = _BATCH_BYTES) -> Iterator[Answer]:
        """The same in parts of about so many bytes, at least one. What is not read to its end spoils the session."""
        with self._unbuffered(sql) as (fields, _):
            for columns in columns_of(self._connection, len(fields), most_bytes):
                yield fields, columns

    def parts(self, sql: str, most_bytes: int = _BATCH_BYTES) -> Iterator[Part]:
        """The rows of an answer, as the native library takes them where it is in use."""
        found = library()
        with self._unbuffered(sql, prepared=found is not None) as (fields, form):
            if found is not None:
                from millrace.connect.mysql.pieces import pieces  # with ctypes

                yield from pieces(found, self._connection, len(fields), most_bytes, form)
            else:
                for columns in columns_of(self._connection, len(fields), most_bytes):
                    if columns[0]:
                        yield Listed(columns)

    @contextmanager
    def _unbuffered(self, sql: str, *, prepared: bool = False) -> Generator[tuple[list[Field], Form | None]]:
        """The columns of an answer whose rows are to be read meanwhile; where they come in the binary protocol, how."""
        connection: Any = self._connection
        with self._translated():
            statement = binary.begun(connection, sql) if prepared else None
            if statement is None:
                with by_driver(connection):
                    connection.query(sql, unbuffered=True)
            result = connection._result
            if not result.unbuffered_active:
                raise ConfigError(f"{self._where} has no rows to show for this statement.", code="sql")
            try:
                yield fields_of(result.fields), statement.form if statement is not None else None
            finally:
                if result.unbuffered_active:
                    # Nobody knows how much more would come.
                    result.unbuffered_active = False
                    if connection._sock is not None:
                        _give_up(connection._sock)
                    self.close()
            if statement is not None:
                statement.close()

    def send(self, sql: str, parts: Iterable[memoryview]) -> Sent:
        """LOAD DATA LOCAL of lines that are made meanwhile. Whichever file the server asks for, it gets these alone.

        An error of whoever makes the lines goes through; the server has what came before it, until it is rolled back.
        """
        connection: Any = self._connection
        failure: BaseException | None = None
        with self._translated(rows=True):
            connection._execute_command(COMMAND.COM_QUERY, sql)
            with by_driver(connection):
                packet: Any = connection._read_packet()
            if not packet.is_load_local_packet():
                raise ConfigError(f"{self._where} does not take the rows that it asked for.", code="sql")
            try:
                for part in parts:
                    for start in range(0, len(part), _PACKET):
                        connection.write_packet(part[start : start + _PACKET])
            except (pymysql.Error, OSError):
                raise
            except BaseException as error:
                failure = error
            # An empty packet says that this was all.
            connection.write_packet(b"")
            with by_driver(connection):
                ended = OKPacketWrapper(connection._read_packet())
        if failure is not None:
            raise failure
        return Sent(int(ended.affected_rows), int(ended.warning_count))

    def complaint(self) -> Exception:
        """The first thing that the server complained about, as an error."""
        for level, number, said in self.rows("SHOW WARNINGS LIMIT 64"):
            if level != "Note":
                return translated(pymysql.DataError(int(number), str(said)), self._where, rows=True)
        return ConfigError(f"{self._where} left rows out and does not say why.", code="sql")

    @contextmanager
    def _translated(self, *, rows: bool = False) -> Generator[None]:
        try:
            yield
        except RuntimeError as error:
            # What the driver says when it is asked for a file; the server still waits for an answer.
            self.close()
            raise ConfigError(
                f"{self._where} asked for a file of this machine, and gets none.",
                hint="Find out who changed what the server says.",
                code="sql",
            ) from error
        except (pymysql.Error, OSError) as error:
            raise translated(error, self._where, rows=rows) from error

    # Transactions and locks.

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commits at the end, rolls back on any exception; locks that were taken inside are given back."""
        self.execute("START TRANSACTION")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(MillraceError):
                self.execute("ROLLBACK")
                self.drop_temporary(*self._temporary)
            raise
        finally:
            with suppress(MillraceError):
                self.unlock()

    def drop_temporary(self, *names: str) -> None:
        """Temporary tables, by their quoted names, are gone."""
        gone = self._temporary.intersection(names)
        if gone:
            self.execute(f"DROP TEMPORARY TABLE IF EXISTS {', '.join(sorted(gone))}")
            self._temporary -= gone

    def temporary(self, start: str) -> list[str]:
        """Quoted names of the temporary tables whose names start so."""
        return [name for name in self._temporary if name.startswith(f"`{start}")]

    def lock(self, what: str, timeout_s: int) -> None:
        """Nobody else holds the lock of that name until the transaction ends, or this connection.

        The server's own locks of tables would end the transaction. Raises Transient where somebody holds it too long.
        """
        name = f"millrace:{hashlib.sha256(what.encode()).hexdigest()[:40]}"
        taken = self.rows(f"SELECT GET_LOCK({marker(1)}, {timeout_s})", name)[0][0]
        if taken != 1:
            raise Transient(f"{self._where} could not go on: somebody else has been loading for {timeout_s} seconds.")
        self._locks.append(name)

    def unlock(self) -> None:
        names, self._locks = self._locks, []
        for name in names:
            self.rows(f"SELECT RELEASE_LOCK({marker(1)})", name)


def _give_up(plug: socket.socket) -> None:
    """When it is closed the server hears at once that nobody reads on. Else one that waits to write would notice after
    a minute or two, and keep its locks on the table until then."""
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _bound(sql: str, values: Sequence[str | int | None]) -> str:
    for number, value in enumerate(values, 1):
        text = f"'{escape_string(value)}'" if isinstance(value, str) else "NULL" if value is None else str(int(value))
        sql = sql.replace(marker(number), text)
    return sql


def marker(number: int) -> str:
    """The placeholder of a bound value. Neither names nor statements may have the character NUL."""
    return f"\0{number}\0"
