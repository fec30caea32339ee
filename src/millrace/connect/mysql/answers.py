"""Answers as the server sends them: what it says of each column, and the values, column by column.

Sources: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html,
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html#sect_protocol_basic_dt_int_le
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import pyarrow as pa
from pymysql.connections import Connection
from pymysql.constants import FIELD_TYPE, FLAG
from pymysql.err import OperationalError
from pymysql.protocol import MysqlPacket

from millrace.data.dataclass import dataclass

_INTEGERS = (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24, FIELD_TYPE.YEAR)
_BINARY = 63  # the number of the character set of bytes


@dataclass(frozen=True, slots=True)
class Field:
    """A column of an answer: its name, type, character set, flags, length and digits behind the point. ``utc``: its
    moments are of UTC, by what the table says of it."""

    name: str
    type: int
    charset: int
    flags: int
    length: int
    scale: int
    origin: tuple[str, str, str] = ("", "", "")
    """Database, table and column that it is of; empty for what was computed."""
    utc: bool = False

    @property
    def is_single(self) -> bool:
        """A FLOAT, of which the server writes but six digits."""
        return self.type == FIELD_TYPE.FLOAT

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of its values; text where Arrow has none."""
        if self.type == FIELD_TYPE.TINY and self.length == 1:
            return pa.bool_()
        if self.type in _INTEGERS:
            unsigned = self.type == FIELD_TYPE.LONGLONG and self.flags & FLAG.UNSIGNED
            return pa.uint64() if unsigned else pa.int64()
        if self.type in (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE):
            return pa.float64()
        if self.type in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
            digits = self.length - (self.scale > 0) - (not self.flags & FLAG.UNSIGNED)
            return pa.decimal128(digits, self.scale) if 0 < digits <= 38 else pa.decimal256(76, self.scale)
        if self.type in (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE):
            return pa.date32()
        if self.type in (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP):
            return pa.timestamp("us", "UTC" if self.utc or self.type == FIELD_TYPE.TIMESTAMP else None)
        if self.type == FIELD_TYPE.TIME:
            return pa.time64("us")
        if self.type == FIELD_TYPE.BIT or (self.charset == _BINARY and self.type != FIELD_TYPE.JSON):
            return pa.binary()
        return pa.string()


def fields_of(found: Sequence[Any]) -> list[Field]:
    """Columns, as the driver has them."""
    return [
        Field(
            one.name, one.type_code, one.charsetnr, one.flags, one.length, one.scale,
            (_text(one.db), _text(one.org_table), _text(one.org_name)),
        )
        for one in found
    ]  # fmt: skip


def _text(part: str | bytes) -> str:
    return part.decode() if isinstance(part, bytes) else part


LONGEST = 0xFFFFFF
_NULL, _TWO, _THREE, _END, _ERROR = 0xFB, 0xFC, 0xFD, 0xFE, 0xFF


def columns_of(connection: Connection[Any], width: int, most_bytes: int) -> Iterator[list[list[bytes | None]]]:
    """The values of an answer that was asked for unbuffered, by column, as often as so many bytes have come.

    The driver's own reading makes an object of every packet.
    """
    wire: Any = connection
    read, size = wire._rfile.read, 0
    columns: list[list[bytes | None]] = [[] for _ in range(width)]
    adds = [column.append for column in columns]
    while True:
        data = packet(read)
        if not data:
            raise malformed()
        first = data[0]
        if first == _END and len(data) < 9:
            break
        if first == _ERROR:
            refused(connection, data)
        size += _put(data, adds)
        if size >= most_bytes:
            yield columns
            columns, size = [[] for _ in range(width)], 0
            adds = [column.append for column in columns]
    wire._result.unbuffered_active = False
    wire._result.connection = None
    yield columns


def malformed() -> OperationalError:
    return OperationalError(2027, "Malformed packet")


@contextmanager
def by_driver(connection: Connection[Any]) -> Generator[None]:
    """Packets that the driver cannot take apart, such as those that end too early, are malformed ones, behind which
    nobody knows what comes."""
    try:
        yield
    except (struct.error, IndexError, AssertionError, UnicodeDecodeError) as error:
        wire: Any = connection
        wire._force_close()
        raise malformed() from error


def refused(connection: Connection[Any], data: bytes) -> NoReturn:
    """What the server says in a packet of an error is raised."""
    with by_driver(connection):
        MysqlPacket(data, "utf8").raise_for_error()
    raise malformed()


def row(data: bytes, width: int) -> list[bytes | None]:
    """The values of one row, of which ``data`` is the packet."""
    found: list[bytes | None] = []
    _put(data, [found.append] * width)
    return found


def _put(data: bytes, adds: Sequence[Callable[[bytes | None], None]]) -> int:
    """Each value goes to where its column is gathered. How many bytes there were, which are all of the packet."""
    at = 0
    try:
        for add in adds:
            length = data[at]
            at += 1
            if length >= _NULL:
                if length == _NULL:
                    add(None)
                    continue
                if length == _ERROR:
                    raise malformed()
                count = 2 if length == _TWO else 3 if length == _THREE else 8
                length = int.from_bytes(data[at : at + count], "little")
                at += count
            end = at + length
            add(data[at:end])
            at = end
    except IndexError:
        raise malformed() from None
    # What is cut from behind the end of the packet is shorter than it says.
    if at != len(data):
        raise malformed()
    return at


def packet(read: Callable[[int], bytes]) -> bytes:
    """The next packet, put together where it is longer than one may be. ``read``: so many bytes of the connection."""
    parts: list[bytes] = []
    while True:
        head = read(4)
        if len(head) < 4:
            raise OperationalError(2013, "Lost connection to MySQL server during query")
        length = head[0] | head[1] << 8 | head[2] << 16
        data = read(length)
        if len(data) < length:
            raise OperationalError(2013, "Lost connection to MySQL server during query")
        if length < LONGEST and not parts:
            return data
        parts.append(data)
        if length < LONGEST:
            return b"".join(parts)
