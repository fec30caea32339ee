"""Prepared statements, whose rows come as the server has them: it writes no text of numbers and moments.

Sources: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html,
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html,
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import COMMAND, FIELD_TYPE, FLAG
from pymysql.protocol import FieldDescriptorPacket

from millrace.connect.mysql.answers import Field, by_driver, fields_of, malformed, row
from millrace.data.dataclass import dataclass

# How values come: as in the text protocol, as whole numbers of so many bytes (with _UNSIGNED beside it where they have
# no sign), and as others. The numbers are those of native/mysql_rows.c.
LETTERS, _UNSIGNED, REAL, _DATE, _DATETIME, _TIME = 0, 16, 32, 33, 34, 35
_WIRES = {
    FIELD_TYPE.TINY: 1,
    FIELD_TYPE.SHORT: 2,
    FIELD_TYPE.YEAR: 2,
    FIELD_TYPE.INT24: 4,
    FIELD_TYPE.LONG: 4,
    FIELD_TYPE.LONGLONG: 8,
    FIELD_TYPE.DOUBLE: REAL,
    FIELD_TYPE.DATE: _DATE,
    FIELD_TYPE.DATETIME: _DATETIME,
    FIELD_TYPE.TIMESTAMP: _DATETIME,
    FIELD_TYPE.TIME: _TIME,
} | dict.fromkeys(
    (
        FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING,
        FIELD_TYPE.ENUM, FIELD_TYPE.SET, FIELD_TYPE.BIT, FIELD_TYPE.JSON, FIELD_TYPE.GEOMETRY, FIELD_TYPE.NULL,
        FIELD_TYPE.TINY_BLOB, FIELD_TYPE.BLOB, FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB,
    ),
    LETTERS,
)  # fmt: skip
# So many bytes days and times have, without those that are zero at their end.
_MOMENTS = {_DATE: (0, 4, 7, 11), _DATETIME: (0, 4, 7, 11), _TIME: (0, 8, 12)}
# Numbers of errors that are the driver's own: nobody answers, or not in the protocol.
_DRIVERS = range(2000, 3000)
# What it knew of tables was given up between the two, as where many tables are read and it keeps few.
_NEED_REPREPARE = 1615


@dataclass(frozen=True, slots=True)
class Form:
    """How each column comes, a byte for each, and how many digits its seconds have behind the point."""

    wires: bytes
    scales: tuple[int, ...]

    @staticmethod
    def of(fields: Sequence[Field]) -> Form | None:
        """None where a column comes in a way that is not read here, as a FLOAT, of which the text has six digits."""
        wires = [_wire(field) for field in fields]
        known = bytes(wire for wire in wires if wire is not None)
        return Form(known, tuple(field.scale for field in fields)) if len(known) == len(wires) else None

    def row(self, data: bytes) -> list[bytes | None]:
        """The values of one row, of which ``data`` is the packet, as the text protocol has them."""
        at = 1 + (len(self.wires) + 9) // 8
        found: list[bytes | None] = []
        if len(data) < at or data[0]:
            raise malformed()
        for place, (wire, scale) in enumerate(zip(self.wires, self.scales, strict=True), 2):
            if data[1 + place // 8] >> place % 8 & 1:
                found.append(None)
                continue
            size = _size(data[at : at + 9], wire)
            part = data[at : at + size]
            if len(part) < size:
                raise malformed()
            found.append(_text(part, wire, scale))
            at += size
        if at != len(data):
            raise malformed()
        return found


def _wire(field: Field) -> int | None:
    wire = _WIRES.get(field.type)
    return wire | _UNSIGNED if wire in (1, 2, 4, 8) and field.flags & FLAG.UNSIGNED else wire


def _size(front: bytes, wire: int) -> int:
    """How many bytes a value has that begins so, what says its length among them."""
    if wire == REAL:
        return 8
    if 0 < wire < REAL:
        return wire & ~_UNSIGNED
    if not front or (wire != LETTERS and front[0] not in _MOMENTS[wire]):
        raise malformed()
    extra = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(front[0], 0) if wire == LETTERS else 0
    return 1 + extra + (int.from_bytes(front[1 : 1 + extra], "little") if extra else front[0])


def _text(part: bytes, wire: int, scale: int) -> bytes | None:
    if wire == LETTERS:
        return row(part, 1)[0]
    if wire == REAL:
        return repr(struct.unpack("<d", part)[0]).removesuffix(".0").encode()
    if wire < REAL:
        return str(int.from_bytes(part, "little", signed=not wire & _UNSIGNED)).encode()
    if wire == _TIME:
        minus, days, *clock = struct.unpack("<BIBBBI", part[1:].ljust(12, b"\0"))
        clock[0] += 24 * days
        return f"{'-' * minus}{_clock(clock, scale)}".encode()
    year, month, day, *clock = struct.unpack("<HBBBBBI", part[1:].ljust(11, b"\0"))
    date = f"{year:04}-{month:02}-{day:02}"
    return (date if wire == _DATE else f"{date} {_clock(clock, scale)}").encode()


def _clock(clock: Sequence[int], scale: int) -> str:
    hours, minutes, seconds, micros = clock
    # Of some expressions nobody says how many digits there are.
    digits = f"{micros:06}"[:scale] if scale <= 6 else f"{micros:06}" if micros else ""
    return f"{hours:02}:{minutes:02}:{seconds:02}" + (f".{digits}" if digits else "")


class Prepared:
    """A statement that runs, whose rows are to be read in its form."""

    def __init__(self, connection: Connection[Any], number: int, form: Form) -> None:
        self._connection, self._number, self.form = connection, number, form

    def close(self) -> None:
        """The server forgets the statement, whose rows were read."""
        wire: Any = self._connection
        wire._execute_command(COMMAND.COM_STMT_CLOSE, struct.pack("<I", self._number))


def begun(connection: Connection[Any], sql: str) -> Prepared | None:
    """The statement runs, and its columns are read; None where it has to be sent as text. What is wrong with it is told
    when it is sent so."""
    wire: Any = connection
    try:
        with by_driver(connection):
            number, fields = _prepared(wire, sql)
    except pymysql.MySQLError as error:
        if not connection.open or error.args[0] in _DRIVERS:
            raise
        return None
    if not fields or Form.of(fields) is None:
        wire._execute_command(COMMAND.COM_STMT_CLOSE, struct.pack("<I", number))
        return None
    try:
        with by_driver(connection):
            wire._execute_command(COMMAND.COM_STMT_EXECUTE, struct.pack("<IBI", number, 0, 1))
            wire._read_query_result(unbuffered=True)
    except pymysql.MySQLError as error:
        if error.args[0] != _NEED_REPREPARE:
            raise
        wire._execute_command(COMMAND.COM_STMT_CLOSE, struct.pack("<I", number))
        return None
    form = Form.of(fields_of(wire._result.fields)) if wire._result.unbuffered_active else None
    if form is None:
        raise malformed()
    return Prepared(connection, number, form)


def _prepared(wire: Any, sql: str) -> tuple[int, list[Field]]:
    """The statement's number, and its columns; none of one that asks for values."""
    wire._execute_command(COMMAND.COM_STMT_PREPARE, sql.encode(wire.encoding, "surrogateescape"))
    _, number, columns, asks, _, _ = struct.unpack("<BIHHBH", wire._read_packet().get_all_data()[:12])
    found: list[Any] = []
    for count in (asks, columns):
        found = [wire._read_packet(FieldDescriptorPacket) for _ in range(count)]
        if count:
            wire._read_packet()
    return number, [] if asks else fields_of(found)
