"""Events of a binary log taken apart, as far as they say something of rows.

Sources: https://dev.mysql.com/doc/dev/mysql-server/latest/classbinary__log_1_1Binary__log__event.html,
https://mariadb.com/kb/en/replication-protocol/ (events from 160 on are MariaDB's own)
"""

from __future__ import annotations

import itertools
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import NamedTuple, TypeAlias

import pyarrow as pa

from millrace.data.dataclass import dataclass
from millrace.sources.mysql.log import gtids
from millrace.sources.mysql.log.wire import HEAD, KIND, number

QUERY, ROTATE, FORMAT, XID, TABLE_MAP = 2, 4, 15, 16, 19
PARTIAL_UPDATE, PAYLOAD, XA_PREPARE = 39, 40, 38
QUERY_COMPRESSED = 165
INCIDENT = 26
# A transaction, or a statement that is none, begins: MySQL's with a number, without one, with a tag; MariaDB's.
TAGGED_GTID, MARIADB_GTID = 42, 162
BEGINNINGS = frozenset((33, 34, TAGGED_GTID, MARIADB_GTID))

INSERT, UPDATE, DELETE = 0, 1, 2
ROWS: Mapping[int, tuple[int, int, bool]] = {
    **{code + kind: (kind, 1, False) for code in (23,) for kind in range(3)},
    **{code + kind: (kind, 2, False) for code in (30,) for kind in range(3)},
    **{code + kind: (kind, 1, True) for code in (166,) for kind in range(3)},
    **{code + kind: (kind, 2, True) for code in (169,) for kind in range(3)},
}
"""By kind of event: what happens to its rows, the version of its head, and whether MariaDB has compressed it."""


class Rows(NamedTuple):
    """Rows of one event. ``before`` and ``after``: bits of the columns that their images have. ``data``: the images,
    of an update the one before and the one behind it in turn."""

    kind: int
    table: int
    before: bytes
    after: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as the rows behind it are written. ``codes`` and ``metas``: type and its details of each column; of
    strings the type that they stand for. What a server does not write of names, signs, character sets and members of
    enumerations is None. ``body``: all of it, as it was written."""

    database: str
    table: str
    codes: tuple[int, ...]
    metas: tuple[int, ...]
    names: tuple[str, ...] | None = None
    unsigned: tuple[bool, ...] | None = None
    charsets: tuple[int, ...] | None = None
    members: tuple[tuple[bytes, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A statement, with the database that was its session's."""

    database: str
    text: str


@dataclass(frozen=True, slots=True)
class Gtid:
    """A transaction of MariaDB begins. ``alone``: it is one statement, without an end of its own."""

    text: str
    alone: bool
    prepared: bool = False


_Charsets: TypeAlias = Callable[[int], int]
"""The number of a character set, by the place of a column among those that have one."""


@dataclass(slots=True)
class _More:
    """What newer servers say of a table's columns beside their types, by number of the column."""

    unsigned: list[bool] | None = None
    texts: _Charsets | None = None
    choices: _Charsets | None = None
    """Of ENUM and SET, which are counted by themselves."""
    names: list[str] | None = None
    enums: list[tuple[bytes, ...]] = field(default_factory=list[tuple[bytes, ...]])
    sets: list[tuple[bytes, ...]] = field(default_factory=list[tuple[bytes, ...]])


# Types of columns, as a table map writes them.
DECIMAL, TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR = range(14)
NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = 14, 15, 16, 17, 18, 19
BLOB_COMPRESSED, VARCHAR_COMPRESSED, VECTOR = 140, 141, 242
JSON, NEWDECIMAL, ENUM, SET, BLOB, VAR_STRING, STRING, GEOMETRY = 245, 246, 247, 248, 252, 253, 254, 255
NUMERIC = frozenset((TINY, SHORT, INT24, LONG, LONGLONG, NEWDECIMAL, FLOAT, DOUBLE))
# Columns of which a table map tells the character set; a geometry is a kind of BLOB there.
CHARACTER = frozenset((STRING, VAR_STRING, VARCHAR, BLOB, BLOB_COMPRESSED, VARCHAR_COMPRESSED, GEOMETRY))
_TWO = frozenset((VARCHAR, VAR_STRING, BIT, NEWDECIMAL, STRING, ENUM, SET, VARCHAR_COMPRESSED))
_ONE = frozenset((FLOAT, DOUBLE, BLOB, BLOB_COMPRESSED, JSON, GEOMETRY, TIMESTAMP2, DATETIME2, TIME2, VECTOR))


def rows_of(event: bytes) -> Rows:
    """The rows of an event whose kind is among `ROWS`."""
    kind, version, compressed = ROWS[event[KIND]]
    at = HEAD + 8
    if version == 2:
        at += number(event, at, 2)
    count, at = length(event, at)
    size = (count + 7) // 8
    before = after = event[at : at + size]
    at += size
    if kind == UPDATE:
        after = event[at : at + size]
        at += size
    data = _decompressed(event[at:]) if compressed else event[at:]
    return Rows(kind, number(event, HEAD, 6), before, after, data)


def table_of(event: bytes) -> int:
    return number(event, HEAD, 6)


def table_map(body: bytes) -> TableMap:
    """The table that is written in ``body``, behind its number and flags."""
    size = body[0]
    database = body[1 : 1 + size].decode()
    at = size + 2
    size = body[at]
    table = body[at + 1 : at + 1 + size].decode()
    count, at = length(body, at + size + 2)
    types = body[at : at + count]
    size, at = length(body, at + count)
    codes: list[int] = []
    metas: list[int] = []
    end = at + size
    for code in types:
        real, meta, at = _detail(body, code, at)
        codes.append(real)
        metas.append(meta)
    at = end + (count + 7) // 8
    told = _optional(body, at)
    charsets = _charsets(told, codes)
    members = _members(told, codes) if told.enums or told.sets else None
    unsigned = None
    if told.unsigned is not None:
        signs = iter(told.unsigned)
        # YEAR counts among the numbers too where there are signs of them.
        unsigned = tuple(next(signs, False) if code in NUMERIC or code == YEAR else False for code in codes)
    names = tuple(told.names) if told.names is not None else None
    return TableMap(database, table, tuple(codes), tuple(metas), names, unsigned, charsets, members)


def _detail(body: bytes, code: int, at: int) -> tuple[int, int, int]:
    """The type that is meant, its detail, and where the next one begins."""
    if code in _ONE:
        return code, body[at], at + 1
    if code not in _TWO:
        return code, 0, at
    first, second = body[at], body[at + 1]
    if code in (STRING, ENUM, SET):
        # Two bits of a length above 255 are where every type has ones.
        if first & 0x30 != 0x30:
            return first | 0x30, (first & 0x30 ^ 0x30) << 4 | second, at + 2
        return first, second, at + 2
    if code == NEWDECIMAL:
        return code, first << 8 | second, at + 2
    return code, first | second << 8, at + 2


def _optional(body: bytes, at: int) -> _More:
    told = _More()
    while at < len(body):
        kind = body[at]
        size, at = length(body, at + 1)
        value = body[at : at + size]
        at += size
        match kind:
            case 1:
                told.unsigned = [bool(value[place // 8] >> (7 - place % 8) & 1) for place in range(8 * len(value))]
            case 2:
                told.texts = _usual(value)
            case 3:
                told.texts = list(_numbers(value)).__getitem__
            case 4:
                told.names = [text.decode() for text in _texts(value)]
            case 5:
                told.sets = list(_lists(value))
            case 6:
                told.enums = list(_lists(value))
            case 10:
                told.choices = _usual(value)
            case 11:
                told.choices = list(_numbers(value)).__getitem__
            case _:
                pass  # shapes, keys and what is visible: known otherwise, or of no matter
    return told


def _usual(value: bytes) -> _Charsets:
    """One character set for all, but for some."""
    first, *pairs = _numbers(value)
    others = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return lambda place: others.get(place, first)


def _charsets(told: _More, codes: list[int]) -> tuple[int, ...] | None:
    if told.texts is None and told.choices is None:
        return None
    texts, choices = itertools.count(), itertools.count()
    return tuple(
        told.texts(next(texts)) if code in CHARACTER and told.texts is not None
        else told.choices(next(choices)) if code in (ENUM, SET) and told.choices is not None
        else 0
        for code in codes
    )  # fmt: skip


def _members(told: _More, codes: list[int]) -> tuple[tuple[bytes, ...], ...]:
    enums, sets = iter(told.enums), iter(told.sets)
    return tuple(next(enums, ()) if code == ENUM else next(sets, ()) if code == SET else () for code in codes)


def query(event: bytes) -> Query:
    size = event[HEAD + 8]
    at = HEAD + 13 + number(event, HEAD + 11, 2)
    database = event[at : at + size].decode()
    text = event[at + size + 1 :]
    if event[KIND] == QUERY_COMPRESSED:
        text = _decompressed(text)
    return Query(database, text.decode(errors="replace"))


def gtid(event: bytes) -> Gtid:
    """Of MariaDB; of MySQL, whose statements that stand alone are told by their words, without its number."""
    if event[KIND] != MARIADB_GTID:
        return Gtid("", alone=False)
    flags = event[HEAD + 12]
    text = f"{number(event, HEAD + 8, 4)}-{number(event, 6, 4)}-{number(event, HEAD, 8)}"
    return Gtid(text, alone=bool(flags & 1), prepared=bool(flags & 0xC0))


def numbered(event: bytes) -> str:
    """The number of the transaction that begins, as the server's own tools write it."""
    if event[KIND] == MARIADB_GTID:
        return gtid(event).text
    if event[KIND] == TAGGED_GTID:
        return gtids.tagged(event)
    at = HEAD + 1
    return f"{uuid.UUID(bytes=event[at : at + 16])}:{number(event, at + 16, 8)}"


def rotation(event: bytes) -> tuple[str, int]:
    """The file in which the log goes on, and where."""
    return event[HEAD + 8 :].decode(), number(event, HEAD, 8)


def payload(event: bytes) -> Iterator[bytes]:
    """The events that MySQL has compressed together, as they would come alone; none of them has a place of its own."""
    at, about = HEAD, dict[int, int]()
    while True:
        kind, at = length(event, at)
        if kind == 0:
            break
        size, at = length(event, at)
        about[kind], _ = length(event, at)
        at += size
    data = event[at:]
    if about.get(2, 255) == 0:
        data = pa.Codec("zstd").decompress(data, about[3], asbytes=True)
    at = 0
    while at < len(data):
        size = number(data, at + 9, 4)
        yield b"\0" + data[at : at + 13] + bytes(4) + data[at + 17 : at + size]
        at += size


def length(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3}.get(first, 8)
    return number(data, at + 1, size), at + 1 + size


def _numbers(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        one, at = length(data, at)
        yield one


def _texts(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size, at = length(data, at)
        yield data[at : at + size]
        at += size


def _lists(data: bytes) -> Iterator[tuple[bytes, ...]]:
    at = 0
    while at < len(data):
        count, at = length(data, at)
        found: list[bytes] = []
        for _ in range(count):
            size, at = length(data, at)
            found.append(data[at : at + size])
            at += size
        yield tuple(found)


def _decompressed(data: bytes) -> bytes:
    """MariaDB's compression: how long the number of bytes is, that number, and what zlib made."""
    return zlib.decompress(data[1 + (data[0] & 7) :])
