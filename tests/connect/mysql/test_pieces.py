"""Answers are split into rows by the native library as by a plain reading of the same bytes, whatever comes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymysql.constants import CLIENT
from tests.connect.mysql.wire import END, OK_END, Row, answer, packets, payload, reading

from millrace.connect.mysql.answers import columns_of, row
from millrace.connect.mysql.parts import Kind, Part, Wanted
from millrace.connect.mysql.pieces import pieces
from millrace.data import native

BYTES = Wanted(Kind.BYTES, pa.binary())
ERROR = b"\xff\x25\x05#70100Query execution was interrupted"


def library() -> ctypes.CDLL:
    found = native.library()
    assert found is not None, native.absent()
    return found


def rows_of(part: Part, width: int) -> list[Row]:
    """Rows as bytes, by the library where it made them."""
    columns = [part.raw(place) for place in range(width)]
    found: list[Row] = list(zip(*columns, strict=True))
    assert len(found) == part.count
    assert tuple(part.last(place) for place in range(width)) == found[-1]
    return found


def taken(connection: pymysql.Connection[Any], width: int, most_bytes: int = 1 << 20) -> list[Row]:
    return [one for part in pieces(library(), connection, width, most_bytes) for one in rows_of(part, width)]


values = st.none() | st.binary(max_size=6) | st.integers(245, 260).map(bytes) | st.just(bytes(70_000))
tables = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[values] * width), max_size=12))


@settings(max_examples=40, deadline=None)
@given(tables, st.integers(1, 2000), st.integers(0, 255), st.randoms())
def test_rows_are_those_that_were_sent_wherever_pieces_end(
    table: list[Row], most_bytes: int, sequence: int, random: Any
) -> None:
    sent, width = answer(table, sequence=sequence), len(table[0]) if table else 1
    cuts = sorted(random.randint(0, len(sent)) for _ in range(3))
    parts = [sent[one:other] for one, other in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    with reading(*parts, keeps_open=True, sequence=sequence) as connection:
        assert taken(connection, width, most_bytes) == table
        wire: Any = connection
        assert not wire._result.unbuffered_active


@pytest.mark.parametrize("size", [0xFFFFFF - 5, 0xFFFFFF - 4, 0xFFFFFF, 2 * 0xFFFFFF - 8, 2 * 0xFFFFFF + 3])
def test_a_row_that_is_longer_than_a_packet_is_put_together(size: int) -> None:
    table: list[Row] = [(b"a", b"1"), (b"\xee" * size, b"2"), (None, b"3"), (b"c", None)]
    with reading(answer(table)) as connection:
        assert taken(connection, 2) == table
    with reading(answer(table)) as connection:
        assert [one for part in columns_of(connection, 2, 1 << 20) for one in zip(*part, strict=True)] == table


@pytest.mark.parametrize("first", [[], [(b"1",), (b"2",)]])
def test_what_the_server_says_in_place_of_more_rows_is_raised(first: list[Row]) -> None:
    for sequence in (5 + len(first), 0):
        sent = answer(first)[: -len(END) - 4] + packets(ERROR, sequence)
        with reading(sent, keeps_open=True) as connection:
            found = pieces(library(), connection, 1, 1 << 20)
            if first:
                assert rows_of(next(found), 1) == first
            with pytest.raises(pymysql.OperationalError, match="interrupted") as raised:
                next(found)
            assert raised.value.args[0] == 1317


@settings(max_examples=40, deadline=None)
@given(tables.filter(bool), st.data())
def test_a_connection_that_is_lost_is_never_taken_for_the_end(table: list[Row], data: st.DataObject) -> None:
    sent, width = answer(table), len(table[0])
    at = data.draw(st.integers(0, len(sent) - 1))
    with reading(sent[:at]) as connection, pytest.raises(pymysql.OperationalError) as raised:
        taken(connection, width, 100)
    assert raised.value.args[0] == 2013


@pytest.mark.parametrize(
    "sent",
    [
        answer([(b"1",)], sequence=6),
        answer([(b"1",)])[:-1] + b"\x00" + b"more",
        packets(b"", 5),
        packets(b"\x05abcd", 5),
        packets(b"\x03abcd", 5),
        packets(b"\xfc\x01", 5),
        packets(b"\xfd\xff\xff\xff", 5),
        b"\xff\xff\xff\x09",
    ],
)
def test_what_is_no_answer_is_told(sent: bytes) -> None:
    with reading(sent, keeps_open=True) as connection, pytest.raises(pymysql.OperationalError, match="Malformed"):
        taken(connection, 1)


@pytest.mark.parametrize(
    "body",
    [
        OK_END,
        b"\xfe" + bytes([0] * 6 + [1, 0]) + b"a",
        b"\xfe" * 9,
        b"\x05abcd",
        b"\x03abcd",
        b"\xfc\x01",
        b"\xfc\x02\0a",
        b"",
        b"\xff",
        b"\xff\x25",
        b"\xff\x25\x05",
        b"\xff\x25\x05#\xc3\x28000",
    ],
)
def test_a_packet_that_is_neither_a_row_nor_an_end_nor_an_error_is_told_both_ways(body: bytes) -> None:
    sent = packets(b"\x01a", 5) + packets(body, 6)
    with reading(sent, keeps_open=True) as connection, pytest.raises(pymysql.OperationalError, match="Malformed"):
        taken(connection, 1)
    with reading(sent, keeps_open=True) as connection, pytest.raises(pymysql.OperationalError, match="Malformed"):
        list(columns_of(connection, 1, 1 << 20))
    with reading(b"") as connection:
        assert not connection.client_flag & CLIENT.DEPRECATE_EOF


def plainly(sent: bytes, width: int, sequence: int) -> tuple[list[Row], str]:
    """The rows of bytes, and how they end, by a reading that trusts nothing."""
    at, found = 0, list[Row]()
    while len(sent) - at >= 4:
        count, number = int.from_bytes(sent[at : at + 3], "little"), sent[at + 3]
        body = sent[at + 4 : at + 4 + count]
        if count == 0xFFFFFF:
            return found, "long" if number == sequence else "order"
        if len(body) < count:
            break
        if not body:
            return found, "broken"
        if body[0] == 0xFF:
            return found, "error"
        if number != sequence:
            return found, "order"
        if body[0] == 0xFE and count < 9:
            return found, "end"
        sound = b"\xff" not in _marks(body, width) and _size(body, width) == len(body)
        try:
            one = row(body, width)
        except pymysql.OperationalError:
            assert not sound
            return found, "broken"
        assert sound
        found.append(tuple(one))
        at, sequence = at + 4 + count, (sequence + 1) & 255
    return found, "more"


def _walk(body: bytes, width: int) -> Sequence[tuple[int, int]]:
    """The mark of each value and where the value ends."""
    at, found = 0, list[tuple[int, int]]()
    for _ in range(width):
        mark = body[at] if at < len(body) else 0
        extra = {0xFB: 0, 0xFC: 2, 0xFD: 3, 0xFE: 8}.get(mark, 0)
        length = 0 if mark >= 0xFB else mark
        if extra:
            length = int.from_bytes(body[at + 1 : at + 1 + extra], "little")
        at += 1 + extra + length
        found.append((mark, at))
    return found


def _marks(body: bytes, width: int) -> bytes:
    return bytes(mark for mark, _ in _walk(body, width))


def _size(body: bytes, width: int) -> int:
    return _walk(body, width)[-1][1]


STATES = ("more", "full", "end", "error", "long", "order", "broken")


class Scan(ctypes.Structure):
    _fields_ = (
        ("at", ctypes.c_int64),
        ("last", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("sequence", ctypes.c_int32),
        ("width", ctypes.c_int32),
    )


class Column(ctypes.Structure):
    _fields_ = (
        ("valid", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("room", ctypes.c_int64),
        ("kind", ctypes.c_int32),
        ("digits", ctypes.c_int32),
        ("scale", ctypes.c_int32),
        ("odd", ctypes.c_int32),
        ("nulls", ctypes.c_int64),
        ("zeros", ctypes.c_int64),
    )


written = st.sampled_from([
    None, b"", b"0", b"1", b"-12", b"9223372036854775808", b"12.50", b"-0.05", b"2024-02-29", b"2024-02-30",
    b"0000-00-00", b"2024-02-29 23:59:59.5", b"2024-02-29 23:59:59.1234567", b"12:00:00", b"-12:00:00", "é💧".encode(),
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x00", b"99999999999999999999999999999999999999.99",
])  # fmt: skip
changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(written, written, written), max_size=8), changes, st.integers(0, 40), st.data())
def test_no_bytes_are_read_or_written_that_are_not_there(
    table: list[Row], changed: list[tuple[int, int]], cut: int, data: st.DataObject
) -> None:
    """With sanitizers each buffer is of just the size that it may have (`make native-fuzz`)."""
    sent = bytearray(answer(table))
    for place, byte in changed:
        sent[place % len(sent)] = byte
    sent = bytes(sent[: len(sent) - cut])
    held = ctypes.create_string_buffer(sent, len(sent)) if sent else ctypes.create_string_buffer(1)
    scan, sizes = Scan(sequence=5, width=3), (ctypes.c_int64 * 3)()
    found, state = plainly(sent, 3, 5)
    said = library().millrace_mysql_scan(
        held, ctypes.c_int64(len(sent)), ctypes.c_int64(1 << 20), ctypes.byref(scan), sizes, None
    )
    assert (STATES[said], scan.rows) == (state, len(found))
    needed = [sum(len(one[place] or b"") for one in found) for place in range(3)]
    # A row that turned out to be broken may count in part.
    assert list(sizes) == needed or (state == "broken" and all(map(int.__ge__, sizes, needed)))
    # More rows than there are, and less room than they need: what does not fit makes a column odd.
    rows = len(found) + data.draw(st.integers(0, 2))
    kinds = data.draw(st.tuples(*[st.sampled_from(Kind)] * 3))
    columns, kept = (Column * 3)(), list[Any]()
    for column, kind, size in zip(columns, kinds, needed, strict=True):
        room = max(size - data.draw(st.sampled_from([0, 0, 0, 1, 7])), 0)
        wide = 4 * (rows + 1) if kind in (Kind.BYTES, Kind.TEXT) else 16 * rows
        buffers = [ctypes.create_string_buffer(max(one, 1)) for one in ((rows + 7) // 8, wide, room)]
        column.valid, column.values, column.data = (ctypes.addressof(one) for one in buffers)
        column.room, column.kind, column.digits, column.scale = room, kind, 38, 2
        kept.append(buffers)
    fill: Any = library().millrace_mysql_fill
    fill.restype = ctypes.c_int64
    done = fill(held, ctypes.c_int64(scan.at), ctypes.c_int64(rows), ctypes.c_int32(3), columns, None)
    assert done == len(found)


def test_payloads_of_these_tests_are_the_protocols() -> None:
    assert payload([b"a", None, b"x" * 251]) == b"\x01a\xfb\xfc\xfb\x00" + b"x" * 251
    assert row(payload([b"a", None, b"x" * 70_000]), 3) == [b"a", None, b"x" * 70_000]
