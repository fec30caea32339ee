"""Rows of the binary protocol are those that were sent, by the native library and by Python, whatever comes."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymysql.constants import FIELD_TYPE, FLAG
from tests.connect.mysql.test_pieces import STATES, Column, Scan, library
from tests.connect.mysql.wire import bodies, payload, reading

from millrace.connect.mysql.answers import Field
from millrace.connect.mysql.binary import Form
from millrace.connect.mysql.parts import Kind, Listed, Part, Wanted
from millrace.connect.mysql.pieces import pieces
from millrace.sources.mysql.decoding import Decoded, of_part
from millrace.sources.mysql.types import typed

# A value as it comes, and as the text protocol has it.
Value = tuple[bytes, bytes]


def whole(form: str, *, unsigned: bool = False) -> st.SearchStrategy[Value]:
    bits = 8 * struct.calcsize(form)
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
    numbers = st.sampled_from([low, high, 0, 1]) | st.integers(low, high)
    return numbers.map(lambda one: (struct.pack("<" + form, one), str(one).encode()))


def _cut(parts: bytes, sizes: Sequence[int]) -> bytes:
    """As few bytes as servers send: those at the end that are zero are left out."""
    for size in sizes:
        if not any(parts[size:]):
            return bytes([size]) + parts[:size]
    return bytes([len(parts)]) + parts


def moment(one: tuple[int, int, int], clock: tuple[int, int, int, int], scale: int) -> Value:
    (year, month, day), (hour, minute, second, micros) = one, clock
    micros = micros // 10 ** (6 - scale) * 10 ** (6 - scale)
    parts = struct.pack("<HBBBBBI", year, month, day, hour, minute, second, micros)
    text = f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
    return _cut(parts, (0, 4, 7)), (text + (f".{micros:06}"[: scale + 1] if scale else "")).encode()


def span(minus: bool, days: int, clock: tuple[int, int, int, int]) -> Value:
    hour, minute, second, micros = clock
    if not any((days, *clock)):
        return b"\0", b"00:00:00.000000"
    parts = struct.pack("<BIBBBI", minus, days, hour, minute, second, micros)
    text = f"{'-' * minus}{24 * days + hour:02}:{minute:02}:{second:02}.{micros:06}"
    return _cut(parts, (8,)), text.encode()


years = st.tuples(st.integers(0, 9999), st.integers(0, 12), st.integers(0, 31))
clocks = st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.sampled_from([0, 500_000, 999_999]))
nights = st.just((0, 0, 0, 0))
texts = st.binary(max_size=300).map(lambda one: (payload([one]), one))
TYPES: dict[str, tuple[int, int, int, st.SearchStrategy[Value]]] = {
    "tinyint(4)": (FIELD_TYPE.TINY, 0, 0, whole("b")),
    "tinyint(1)": (FIELD_TYPE.TINY, 0, 0, whole("b")),
    "tinyint unsigned": (FIELD_TYPE.TINY, FLAG.UNSIGNED, 0, whole("B", unsigned=True)),
    "smallint": (FIELD_TYPE.SHORT, 0, 0, whole("h")),
    "year": (FIELD_TYPE.YEAR, FLAG.UNSIGNED, 0, whole("H", unsigned=True)),
    "mediumint": (FIELD_TYPE.INT24, 0, 0, whole("i")),
    "int": (FIELD_TYPE.LONG, 0, 0, whole("i")),
    "int unsigned": (FIELD_TYPE.LONG, FLAG.UNSIGNED, 0, whole("I", unsigned=True)),
    "bigint": (FIELD_TYPE.LONGLONG, 0, 0, whole("q")),
    "bigint unsigned": (FIELD_TYPE.LONGLONG, FLAG.UNSIGNED, 0, whole("Q", unsigned=True)),
    # What a statement asks for may have become another type than the table had.
    "decimal(5,0)": (FIELD_TYPE.LONGLONG, 0, 0, whole("q")),
    "decimal(20,2)": (FIELD_TYPE.LONGLONG, 0, 0, whole("q")),
    "double": (
        FIELD_TYPE.DOUBLE, 0, 31,
        st.floats(allow_nan=False, allow_infinity=False).map(
            lambda one: (struct.pack("<d", one), repr(one).removesuffix(".0").encode())
        ),
    ),
    "date": (
        FIELD_TYPE.DATE, 0, 0, st.builds(moment, years, nights, st.just(0)).map(lambda one: (one[0], one[1][:10])),
    ),
    "datetime": (FIELD_TYPE.DATETIME, 0, 0, st.builds(moment, years, clocks, st.just(0))),
    "datetime(6)": (FIELD_TYPE.DATETIME, 0, 6, st.builds(moment, years, clocks | nights, st.just(6))),
    "timestamp(3)": (FIELD_TYPE.TIMESTAMP, 0, 3, st.builds(moment, years, clocks, st.just(3))),
    "time(6)": (FIELD_TYPE.TIME, 0, 6, st.builds(span, st.booleans(), st.integers(0, 34), clocks | nights)),
    "varchar(300)": (FIELD_TYPE.VAR_STRING, 0, 0, texts),
    "longblob": (FIELD_TYPE.BLOB, 0, 0, texts),
}  # fmt: skip


def form_of(names: Sequence[str]) -> Form:
    found = Form.of([Field(name, TYPES[name][0], 63, TYPES[name][1], 0, TYPES[name][2]) for name in names])
    assert found is not None
    return found


def body(row: Sequence[Value | None]) -> bytes:
    nulls = sum(1 << place for place, one in enumerate(row, 2) if one is None)
    return b"\0" + nulls.to_bytes((len(row) + 9) // 8, "little") + b"".join(one[0] for one in row if one is not None)


names_of = st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=10)
tables = names_of.flatmap(
    lambda names: st.tuples(
        st.just(names), st.lists(st.tuples(*[st.none() | TYPES[name][3] for name in names]), min_size=1, max_size=6)
    )
)


def columns(part: Part, names: Sequence[str]) -> list[Decoded | None]:
    """Each column by itself: one that Python cannot make either is None."""
    found: list[Decoded | None] = []
    for place, name in enumerate(names):
        found.append(None)
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            found[-1] = of_part(_One(part, place, len(names)), [typed(name)])[0]
    return found


class _One:
    """One column of a part."""

    def __init__(self, part: Part, place: int, width: int) -> None:
        self._part, self._place, self._width, self.count = part, place, width, part.count

    def made(self, wanted: Any) -> Any:
        every = [Wanted(Kind.LEFT, pa.null())] * self._width
        (every[self._place],) = wanted
        return [self._part.made(every)[self._place]]

    def raw(self, place: int) -> Sequence[bytes | None]:
        return self._part.raw(self._place + place)

    def last(self, place: int) -> bytes | None:
        return self._part.last(self._place + place)


@settings(max_examples=150, deadline=None)
@given(tables)
def test_rows_are_those_that_were_sent_and_their_columns_those_of_the_text(
    table: tuple[list[str], list[Sequence[Value | None]]],
) -> None:
    names, rows = table
    said = [[None if one is None else one[1] for one in row] for row in rows]
    form = form_of(names)
    assert [form.row(body(row)) for row in rows] == said
    with reading(bodies([body(row) for row in rows])) as connection:
        for part in pieces(library(), connection, len(names), 1 << 20, form):
            plain = Listed(list(zip(*said, strict=True)))
            for place in range(len(names)):
                assert list(part.raw(place)) == list(plain.raw(place))
                assert part.last(place) == plain.last(place)
            for mine, theirs, name in zip(columns(part, names), columns(plain, names), names, strict=True):
                if mine is None or theirs is None:
                    assert mine is theirs, name
                    continue
                mine.values.validate(full=True)
                assert mine.values.equals(theirs.values), name
                assert (mine.bad, mine.zeros) == (theirs.bad, theirs.zeros), name


def test_a_row_that_is_longer_than_a_packet_is_put_together() -> None:
    form = form_of(["bigint", "longblob"])
    long = b"\xee" * (2 * 0xFFFFFF + 3)
    rows = [[(struct.pack("<q", place), b""), (payload([one]), one)] for place, one in enumerate((b"a", long, b"c"))]
    with reading(bodies([body(row) for row in rows])) as connection:
        found = [part.raw(1) for part in pieces(library(), connection, 2, 1 << 20, form)]
    assert [value for some in found for value in some] == [b"a", long, b"c"]


changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=5)


@settings(max_examples=200, deadline=None)
@given(tables, changes, st.integers(0, 40), st.data())
def test_no_bytes_are_read_or_written_that_are_not_there(
    table: tuple[list[str], list[Sequence[Value | None]]], changed: list[tuple[int, int]], cut: int, data: st.DataObject
) -> None:
    """With sanitizers each buffer is of just the size that it may have (`make native-fuzz`)."""
    names, rows = table
    form, width = form_of(names), len(names)
    sent = bytearray(bodies([body(row) for row in rows]))
    for place, byte in changed:
        sent[place % len(sent)] = byte
    sent = bytes(sent[: len(sent) - cut])
    held = ctypes.create_string_buffer(sent, max(len(sent), 1))
    scan, sizes = Scan(sequence=5, width=width), (ctypes.c_int64 * width)()
    count, bytes_ = ctypes.c_int64, len(sent)
    said = library().millrace_mysql_scan(held, count(bytes_), count(1 << 20), ctypes.byref(scan), sizes, form.wires)
    kinds = [data.draw(st.sampled_from(Kind)) for _ in names]
    made, kept = (Column * width)(), list[Any]()
    for column, kind, size in zip(made, kinds, sizes, strict=True):
        wide = 4 * (scan.rows + 1) if kind in (Kind.BYTES, Kind.TEXT) else 16 * scan.rows
        buffers = [ctypes.create_string_buffer(max(one, 1)) for one in ((scan.rows + 7) // 8, wide, size)]
        column.valid, column.values, column.data = (ctypes.addressof(one) for one in buffers)
        column.room, column.kind, column.digits, column.scale = size, kind, 38, 0
        kept.append(buffers)
    fill: Any = library().millrace_mysql_fill
    fill.restype = ctypes.c_int64
    assert fill(held, count(scan.at), count(scan.rows), ctypes.c_int32(width), made, form.wires) == scan.rows
    # What is taken for a row is one, and what is not taken for one is none.
    at = 0
    for _ in range(scan.rows):
        end = at + 4 + int.from_bytes(sent[at : at + 3], "little")
        form.row(sent[at + 4 : end])
        at = end
    assert at == scan.at
    if STATES[said] == "broken" and sent[at + 4 : at + 5] == b"\0":
        with pytest.raises(pymysql.OperationalError, match="Malformed"):
            form.row(sent[at + 4 : at + 4 + int.from_bytes(sent[at : at + 3], "little")])


@pytest.mark.parametrize(
    "sent", [b"\0", b"\0\0", b"\1\0\5\0\0\0", b"\0\0\5\0\0", b"\0\0\5\0\0\0\0", b"\0\0\0\0\0\5\0\0\0"]
)
def test_what_is_no_row_is_told(sent: bytes) -> None:
    form = form_of(["int"])
    with reading(bodies([sent]), keeps_open=True) as connection:
        with pytest.raises(pymysql.OperationalError, match="Malformed"):
            list(pieces(library(), connection, 1, 1 << 20, form))
        with pytest.raises(pymysql.OperationalError, match="Malformed"):
            form.row(sent)


def test_a_column_that_is_not_read_here_has_no_form() -> None:
    assert Form.of([Field("a", FIELD_TYPE.FLOAT, 63, 0, 0, 31)]) is None
    assert Form.of([Field("a", FIELD_TYPE.LONG, 63, 0, 0, 0), Field("b", 243, 63, 0, 0, 0)]) is None
