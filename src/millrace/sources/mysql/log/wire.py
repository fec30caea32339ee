"""The binary log as a server sends it to whoever says to be a replica: events, each whole and with its checksum seen.

Sources: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication.html,
https://mariadb.com/kb/en/replication-protocol/
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pymysql
from pymysql.connections import Connection

from millrace.connect.mysql.answers import by_driver, malformed, packet, refused
from millrace.connect.mysql.errors import translated
from millrace.errors import MillraceError, Transient
from millrace.sources.mysql.log import errors

_COM_BINLOG_DUMP = 0x12
# The server says that its log is at its end, where it would otherwise wait for more.
_NON_BLOCK = 1
_ERROR, _END = 0xFF, 0xFE
_BUFFER_BYTES = 1 << 18
# Behind a packet's first byte stands the head of the event: when, kind, server, size, where it ends, flags.
HEAD = 20
KIND = 5
_CHECKSUM_BYTES = 4

ROTATE, FORMAT = 4, 15

# What a server wants to hear before it sends all that it has: that checksums, and MariaDB's transaction numbers, are
# understood. Names of both kinds of server; the other one keeps them as variables without a meaning.
_PREPARED = (
    "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum",
    "SET @mariadb_slave_capability = 4",
    "SET SESSION net_write_timeout = 600",
)


def number(data: bytes, at: int, size: int) -> int:
    """A whole number without a sign, as the protocol writes them."""
    return int.from_bytes(data[at : at + size], "little")


def ends(event: bytes) -> int:
    """The position behind the event in its file; 0 for one that is in no file."""
    return number(event, 14, 4)


def when(event: bytes) -> int:
    """Seconds since 1970 at the server when the event was written."""
    return number(event, 1, 4)


class Dump:
    """One connection on which the log comes. ``server_id``: as which replica it is asked for; ``uuid`` likewise.

    A server ends an earlier connection of the same replica.
    """

    def __init__(self, connection: Connection[Any], where: str, server_id: int, uuid: str) -> None:
        self._connection, self._where = connection, where
        self._server_id = server_id
        try:
            with by_driver(connection), connection.cursor() as cursor:
                for statement in (*_PREPARED, f"SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"):
                    cursor.execute(statement)
                cursor.execute("SELECT @@GLOBAL.binlog_checksum <> 'NONE'")
                self._checksummed = bool((cursor.fetchone() or (0,))[0])
        except (pymysql.Error, OSError) as error:
            raise translated(error, where) from error

    def start(self, file: str, position: int) -> None:
        """The server begins to send what is behind the position."""
        wire: Any = self._connection
        try:
            wire._rfile = wire._sock.makefile("rb", _BUFFER_BYTES)
            head = position.to_bytes(4, "little") + _NON_BLOCK.to_bytes(2, "little")
            wire._execute_command(_COM_BINLOG_DUMP, head + self._server_id.to_bytes(4, "little") + file.encode())
        except (pymysql.Error, OSError) as error:
            raise translated(error, self._where) from error

    def events(self) -> Iterator[bytes]:
        """Packets with one event each, until the log is at its end. What is behind the event, its checksum, is cut
        off. Raises ConfigError "log_expired" where the server does not have it any more."""
        wire: Any = self._connection
        read = wire._rfile.read
        while True:
            try:
                data = packet(read)
            except (pymysql.Error, OSError) as error:
                raise translated(error, self._where) from error
            first = data[0] if data else None
            if first == _END and len(data) < 9:
                return
            if first == _ERROR:
                raise self._refused(data)
            if len(data) < HEAD:
                raise translated(malformed(), self._where)
            if data[KIND] == FORMAT:
                # Its own checksum is always there, in front of it the way of all others.
                self._checksummed = data[-_CHECKSUM_BYTES - 1] == 1
            if self._checksummed:
                if zlib.crc32(memoryview(data)[1:-_CHECKSUM_BYTES]) != number(data, len(data) - _CHECKSUM_BYTES, 4):
                    raise Transient(f"{self._where} sent an event of its log that does not have its checksum.")
                data = data[:-_CHECKSUM_BYTES]
            elif data[KIND] == FORMAT:
                data = data[:-_CHECKSUM_BYTES]
            yield data

    def close(self) -> None:
        """The connection ends, whatever the server still wants to send."""
        wire: Any = self._connection
        with suppress(pymysql.Error, OSError):
            wire._force_close()

    def _refused(self, data: bytes) -> MillraceError | Exception:
        try:
            refused(self._connection, data)
        except pymysql.Error as error:
            return errors.of_dump(error, self._where)
