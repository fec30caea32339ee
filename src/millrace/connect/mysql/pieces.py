"""Answers as pieces of the bytes in which they came, and columns that the native library makes of them.

The driver has sent the statement and read the columns' names. Its own reading makes an object of every packet.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import addressof, byref, c_int32, c_int64, c_void_p
from functools import cached_property
from typing import Any

import pyarrow as pa
from pymysql.connections import Connection
from pymysql.err import OperationalError

from millrace.connect.mysql.answers import LONGEST, malformed, packet, refused, row
from millrace.connect.mysql.binary import LETTERS, REAL, Form
from millrace.connect.mysql.parts import Kind, Listed, Made, Part, Wanted

_PIECE = 1 << 20
_MORE, _FULL, _END, _ERROR, _LONG, _ORDER, _BROKEN = range(7)


# How many bits a value takes; what is not here has offsets.
_BITS = {
    Kind.INT16: 16, Kind.INT32: 32, Kind.INT64: 64, Kind.DECIMAL: 128, Kind.FLAG: 1, Kind.BIT: 1, Kind.DAY: 32,
    Kind.MOMENT: 64, Kind.CLOCK: 64, Kind.DOUBLE: 64,
}  # fmt: skip


class _Scan(ctypes.Structure):
    _fields_ = (
        ("at", c_int64),
        ("last", c_int64),
        ("rows", c_int64),
        ("sequence", c_int32),
        ("width", c_int32),
    )


class _Column(ctypes.Structure):
    _fields_ = (
        ("valid", c_void_p),
        ("values", c_void_p),
        ("data", c_void_p),
        ("room", c_int64),
        ("kind", c_int32),
        ("digits", c_int32),
        ("scale", c_int32),
        ("odd", c_int32),
        ("nulls", c_int64),
        ("zeros", c_int64),
    )


class Piece:
    """Whole rows, as long as nobody asks for the next piece."""

    def __init__(
        self, library: ctypes.CDLL, held: memoryview, scan: _Scan, sizes: Sequence[int], form: Form | None
    ) -> None:
        self._library, self._held, self._sizes, self._form = library, held, sizes, form
        self._last = scan.last
        self.count: int = scan.rows

    def made(self, wanted: Sequence[Wanted]) -> list[Made | None]:
        """The columns; None for those in which a value is odd."""
        wanted = [self._as_it_comes(place, one) for place, one in enumerate(wanted)]
        columns = (_Column * len(wanted))()
        buffers = [
            self._room(column, one, size) for column, one, size in zip(columns, wanted, self._sizes, strict=True)
        ]
        fill: Any = self._library.millrace_mysql_fill
        fill.restype = c_int64
        done = fill(
            _address(self._held), c_int64(len(self._held)), c_int64(self.count), c_int32(len(wanted)), columns,
            self._form and self._form.wires,
        )  # fmt: skip
        if done != self.count:
            raise AssertionError(f"of {self.count} rows that were found {done} were read")
        return [
            None if column.odd or one.kind == Kind.LEFT else self._made(column, one, some)
            for column, one, some in zip(columns, wanted, buffers, strict=True)
        ]

    def _as_it_comes(self, place: int, wanted: Wanted) -> Wanted:
        """A number with a point that comes as text is made of its bytes."""
        if wanted.kind != Kind.DOUBLE or (self._form is not None and self._form.wires[place] == REAL):
            return wanted
        return Wanted(Kind.BYTES, pa.binary())

    def raw(self, place: int) -> Sequence[bytes | None]:
        if self._form is not None and self._form.wires[place] != LETTERS:
            return [self._form.row(one)[place] for one in self._packets()]
        wanted = [Wanted(Kind.LEFT, pa.null())] * len(self._sizes)
        wanted[place] = Wanted(Kind.BYTES, pa.binary())
        found = self.made(wanted)[place]
        assert found is not None, "bytes are never odd"
        return found.values.to_pylist()

    def last(self, place: int) -> bytes | None:
        return self._last_row[place]

    @cached_property
    def _last_row(self) -> list[bytes | None]:
        data = bytes(self._held[self._last + 4 :])
        return row(data, len(self._sizes)) if self._form is None else self._form.row(data)

    def _packets(self) -> Iterator[bytes]:
        at = 0
        while at < len(self._held):
            end = at + 4 + int.from_bytes(self._held[at : at + 3], "little")
            yield bytes(self._held[at + 4 : end])
            at = end

    def _room(self, column: Any, wanted: Wanted, size: int) -> list[pa.Buffer]:
        column.kind = wanted.kind
        if wanted.kind == Kind.LEFT:
            return []
        if wanted.kind == Kind.DECIMAL:
            column.digits, column.scale = wanted.type.precision, wanted.type.scale
        bits = _BITS.get(wanted.kind)
        # Nulls and bits are zeros where nothing is written.
        buffers = [_zeros(-(-self.count // 8)), _zeros(-(-self.count * bits // 8) if bits else 4 * (self.count + 1))]
        if not bits:
            buffers.append(pa.allocate_buffer(size))
            column.data, column.room = buffers[2].address, size
        column.valid, column.values = buffers[0].address, buffers[1].address
        return buffers

    def _made(self, column: Any, wanted: Wanted, buffers: list[pa.Buffer | None]) -> Made:
        if not column.nulls:
            buffers = [None, *buffers[1:]]
        storage = wanted.type.storage_type if isinstance(wanted.type, pa.BaseExtensionType) else wanted.type
        values = pa.Array.from_buffers(storage, self.count, buffers, column.nulls)
        if storage is not wanted.type:
            values = pa.ExtensionArray.from_storage(wanted.type, values)
        return Made(values, column.zeros)


def _zeros(size: int) -> pa.Buffer:
    return pa.py_buffer(bytearray(size))


def _address(held: memoryview) -> c_void_p:
    return c_void_p(addressof(ctypes.c_char.from_buffer(held)))


def pieces(
    library: ctypes.CDLL, connection: Connection[Any], width: int, most_bytes: int, form: Form | None = None
) -> Iterator[Part]:
    """An answer that was asked for unbuffered, in pieces of about so many bytes. A row that is longer than a packet may
    be comes as a list. ``form``: how rows of the binary protocol come; None for those of the text protocol."""
    wire: Any = connection
    tap = _Tap(wire._rfile)
    find: Any = library.millrace_mysql_scan
    scan = _Scan(sequence=wire._next_seq_id, width=width)
    sizes = (c_int64 * width)()
    held, end = memoryview(bytearray(most_bytes + 2 * _PIECE)), 0
    while True:
        state: int = find(_address(held), c_int64(end), c_int64(most_bytes), byref(scan), sizes, form and form.wires)
        if state == _MORE:
            if len(held) - end < _PIECE:
                held = _grown(held, end)
            end += tap.into(held[end:])
            continue
        if scan.rows:
            yield Piece(library, held[: scan.at], scan, list(sizes), form)
        tap.back = held[scan.at : end]
        if state == _LONG:
            data = packet(tap.take)
            scan.sequence = scan.sequence + len(data) // LONGEST + 1 & 0xFF
            yield Listed([[one] for one in (row(data, width) if form is None else form.row(data))])
        elif state != _FULL:
            if state in (_END, _ERROR):
                data = packet(tap.take)
                if state == _ERROR:
                    refused(connection, data)
            if state != _END or tap.back:
                raise malformed()
            break
        # What came of the next rows goes to the front; the two may overlap.
        end = len(tap.back)
        held[:end] = bytes(tap.back)
        scan.at = scan.rows = 0
        sizes = (c_int64 * width)()
    wire._result.unbuffered_active = False
    wire._result.connection = None


def _grown(held: memoryview, end: int) -> memoryview:
    more = memoryview(bytearray(2 * len(held)))
    more[:end] = held[:end]
    return more


class _Tap:
    """Bytes of the connection: those that the driver has read already, then the socket's own."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._drained = False
        self.back = memoryview(b"")
        """What was read, and is read first."""

    def into(self, view: memoryview) -> int:
        """How many bytes came, as many as there are. ``view`` has room for all that the driver keeps."""
        if self._drained:
            count = int(self._file.raw.readinto(view))
        else:
            some: bytes = self._file.read1(len(view))
            count, self._drained = len(some), True
            view[:count] = some
        if not count:
            raise OperationalError(2013, "Lost connection to MySQL server during query")
        return count

    def take(self, count: int) -> bytes:
        """So many bytes; fewer where the connection was lost."""
        found, self.back = bytes(self.back[:count]), self.back[count:]
        if len(found) < count:
            found += self._file.read(count - len(found))
            self._drained = False
        return found
