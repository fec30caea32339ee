"""Values of one column of many rows of the log, in its logical type; and which of them have none."""

from __future__ import annotations

import re
import socket
import uuid
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import of_type
from millrace.sources.mysql.log import binary_json, events, moments, numbers, shapes
from millrace.sources.mysql.log.charsets import Charsets
from millrace.sources.mysql.log.columns import Known
from millrace.sources.mysql.log.locating import Flags, Places, size_of
from millrace.sources.mysql.log.moments import Moments
from millrace.sources.mysql.types import Type, base, typed

_WHOLE = {events.TINY: 1, events.SHORT: 2, events.INT24: 3, events.LONG: 4, events.LONGLONG: 8}
_TEXTS = (
    events.VARCHAR, events.VAR_STRING, events.STRING, events.BLOB, events.BLOB_COMPRESSED, events.VARCHAR_COMPRESSED,
    events.VECTOR,
)  # fmt: skip
_COMPRESSED = (events.BLOB_COMPRESSED, events.VARCHAR_COMPRESSED)


@dataclass(frozen=True)
class Column:
    """A column as it was: what is known of it, its type in the log, and the details of that."""

    known: Known
    code: int
    meta: int

    @cached_property
    def type(self) -> Type:
        if self.code == events.NEWDECIMAL:
            return typed(f"decimal({self.meta >> 8},{self.meta & 255})")
        return typed(self.known.type)

    @property
    def readable(self) -> bool:
        return size_of(self.code, self.meta) is not None

    @cached_property
    def members(self) -> list[str]:
        """What an ENUM or a SET may be, in its order."""
        inside = self.known.type[self.known.type.index("(") + 1 : self.known.type.rindex(")")]
        return [one.replace("''", "'") for one in re.findall(r"'((?:[^']|'')*)'", inside)]


def decoded(column: Column, marks: Any, places: Places, charsets: Charsets) -> Moments:
    """The values. ``charsets`` brings text of other character sets to UTF-8."""
    code, meta, type_ = column.code, column.meta, column.type
    if code in _WHOLE:
        return _whole(column, marks, places)
    if code in _TEXTS:
        return _text(column, numbers.raw(marks, places), charsets)
    match code:
        case events.FLOAT | events.DOUBLE:
            return Moments(numbers.real(marks, places, 4 if code == events.FLOAT else 8).cast(type_.logical))
        case events.NEWDECIMAL:
            return Moments(numbers.decimal(marks, places, meta >> 8, meta & 255, type_.logical))
        case events.YEAR:
            years = marks[places.start].astype(np.int64)
            return Moments(pa.array(np.where(years == 0, 0, years + 1900), mask=places.null).cast(type_.logical))
        case events.BIT:
            if type_.form == "bit":
                return Moments(pa.array(marks[places.start] != 0, mask=places.null))
            return Moments(numbers.raw(marks, places))
        case events.ENUM | events.SET:
            return Moments(_members(column, numbers.little(marks, places.start, meta), places))
        case events.JSON:
            return _by_one(numbers.raw(marks, places), binary_json.text, types.JSON)
        case events.GEOMETRY:
            return _by_one(numbers.raw(marks, places), shapes.geojson, types.JSON)
        case _:
            return _moment(code, meta, marks, places)


def _moment(code: int, meta: int, marks: Any, places: Places) -> Moments:
    match code:
        case events.DATE | events.NEWDATE:
            return moments.date(marks, places)
        case events.DATETIME2:
            return moments.datetime(marks, places, meta)
        case events.TIMESTAMP2:
            return moments.timestamp(marks, places, meta)
        case events.TIME2:
            return moments.clock(marks, places, meta)
        case events.DATETIME:
            return moments.old_datetime(marks, places)
        case events.TIMESTAMP:
            return moments.timestamp(marks, places, 0, old=True)
        case events.TIME:
            return moments.old_clock(marks, places)
        case _:
            raise AssertionError(f"columns of type {code} are not read")


def _whole(column: Column, marks: Any, places: Places) -> Moments:
    unsigned = "unsigned" in column.known.type
    found = numbers.whole(marks, places, _WHOLE[column.code], unsigned=unsigned)
    if column.type.form != "flag":
        return Moments(found.cast(column.type.logical))
    bad: Flags = (marks[places.start] > 1) & ~places.null
    yes = pa.array(marks[places.start] == 1, mask=places.null | bad)
    return Moments(yes, bad if bad.any() else None, 0, lambda row: str(found[row].as_py()))


def _members(column: Column, raw: np.ndarray[Any, np.dtype[np.uint64]], places: Places) -> pa.Array:
    members = column.members
    given, which = np.unique(np.where(places.null, 0, raw), return_inverse=True)
    if column.code == events.ENUM:
        # 0 is the empty text that stands for a wrong value.
        texts = [members[number - 1] if 0 < number <= len(members) else "" for number in given.tolist()]
    else:
        texts = [",".join(one for place, one in enumerate(members) if number >> place & 1) for number in given.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(which, mask=places.null))


def _text(column: Column, raw: pa.Array, charsets: Charsets) -> Moments:
    if column.code in _COMPRESSED:
        raw = pa.array([None if one is None else _inflated(one) for one in raw.to_pylist()], pa.binary())
    word = base(column.known.type)
    if word in ("uuid", "inet4", "inet6"):
        return _by_one(raw, _uuid if word == "uuid" else _address, pa.string(), width=column.meta)
    if column.type.form == "json" and base(column.known.type) != "json":
        return _by_one(raw, shapes.geojson, types.JSON)
    if column.type.form == "bytes":
        return Moments(_padded(raw, column.meta) if column.code == events.STRING else raw)
    if not column.known.charset and column.type.form == "text":
        # A type that is not known here.
        return _sound(raw, pa.string())
    return _sound(charsets.utf_8(raw, column.known.charset), column.type.logical)


def _sound(raw: pa.Array, to: pa.DataType) -> Moments:
    """Bytes as text; those that are no UTF-8 are bad."""
    try:
        return Moments(of_type(raw.cast(pa.string()), to))
    except pa.ArrowInvalid:
        values = raw.to_pylist()
    bad = np.array([not _is_text(one) for one in values])
    kept = pa.array([None if odd else one for one, odd in zip(values, bad, strict=True)], pa.binary())
    return Moments(
        of_type(kept.cast(pa.string()), to), bad, 0, lambda row: values[row].decode(errors="backslashreplace")
    )


def _is_text(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_one(raw: pa.Array, read: Callable[[bytes], str], to: pa.DataType, *, width: int = 0) -> Moments:
    """Values that are read one by one; ``width``: zeros at their end are not in the log."""
    values: Sequence[bytes | None] = raw.to_pylist()
    texts: list[str | None] = []
    bad = np.zeros(len(values), np.bool_)
    for row, value in enumerate(values):
        try:
            texts.append(None if value is None else read(value.ljust(width, b"\0")))
        except ValueError:
            texts.append(None)
            bad[row] = True
    made = of_type(pa.array(texts, pa.string()), to)
    return Moments(made, bad if bad.any() else None, 0, lambda row: f"0x{(values[row] or b'').hex()}")


def _padded(raw: pa.Array, width: int) -> pa.Array:
    """BINARY(n) has n bytes; zeros at its end are not in the log."""
    if pc.all(pc.equal(pc.binary_length(raw), width)).as_py() in (True, None):
        return raw
    return pa.array([None if one is None else one.ljust(width, b"\0") for one in raw.to_pylist()], pa.binary())


def _uuid(value: bytes) -> str:
    return str(uuid.UUID(bytes=value))


def _address(value: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)


def _inflated(value: bytes) -> bytes:
    """MariaDB's compressed columns. Source: https://mariadb.com/kb/en/storage-engine-independent-column-compression/"""
    if not value or value[0] >> 4 != 8:
        return value[1:]
    return zlib.decompress(value[1 + (value[0] & 7) :], -zlib.MAX_WBITS if value[0] & 8 else zlib.MAX_WBITS)
