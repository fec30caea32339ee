"""Columns that the native library makes are those that Python makes of the same answer, or Python makes them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.connect.mysql.wire import answer, reading

from millrace.connect.mysql.parts import Listed, Part
from millrace.connect.mysql.pieces import pieces
from millrace.data import native
from millrace.sources.mysql.decoding import Decoded, of_part
from millrace.sources.mysql.types import typed


def ascii_of(value: Any) -> bytes:
    return str(value).encode()


def decimals(digits: int, scale: int) -> st.SearchStrategy[bytes]:
    def said(number: int) -> bytes:
        text = f"{abs(number):0{scale + 1}d}"
        text = f"{text[:-scale]}.{text[-scale:]}" if scale else text
        return ("-" * (number < 0) + text).encode()

    most = 10**digits - 1
    return st.integers(-most, most).map(said) | st.sampled_from([said(most), said(-most), said(0), b"-" + said(0)])


def whole(bits: int) -> st.SearchStrategy[bytes]:
    most = 1 << bits - 1
    zeros = st.tuples(st.sampled_from([b"", b"0", b"00000000"]), st.integers(0, most - 1).map(ascii_of)).map(b"".join)
    return st.integers(-most, most - 1).map(ascii_of) | zeros | st.sampled_from([ascii_of(-most), ascii_of(most - 1)])


days = st.dates().map(ascii_of)
clocks = st.tuples(st.times(), st.integers(0, 6)).map(
    lambda one: (
        one[0].replace(microsecond=0).isoformat().encode()
        + (f".{one[0].microsecond:06d}"[: one[1] + 1].encode() if one[1] else b"")
    )
)
zeros = st.sampled_from([b"0000-00-00", b"2024-00-10", b"2024-02-00", b"0000-02-10", b"0000-00-00 00:00:00.000000"])

# What servers write of each type.
WRITTEN: dict[str, st.SearchStrategy[bytes]] = {
    "tinyint(4)": whole(8),
    "smallint": whole(16),
    "smallint unsigned": st.integers(0, 65535).map(ascii_of),
    "mediumint": whole(24),
    "int(11)": whole(32),
    "int unsigned zerofill": st.integers(0, 2**32 - 1).map(lambda number: f"{number:010d}".encode()),
    "bigint": whole(64),
    "bigint unsigned": st.integers(0, 2**64 - 1).map(ascii_of) | st.just(b"18446744073709551615"),
    "year": st.sampled_from([b"0000", b"1901", b"2155"]),
    "decimal(10,2)": decimals(10, 2),
    "decimal(18,18)": decimals(18, 18),
    "decimal(38,0)": decimals(38, 0),
    "decimal(38,20)": decimals(38, 20),
    "decimal(39,3)": decimals(39, 3),
    "decimal(65,30)": decimals(65, 30),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda one: repr(one).encode()),
    "double": st.floats(allow_nan=False, allow_infinity=False).map(lambda one: repr(one).encode()),
    "tinyint(1)": st.sampled_from([b"0", b"1"]),
    "bit(1)": st.sampled_from([b"\0", b"\1"]),
    "bit(12)": st.binary(min_size=2, max_size=2),
    "date": days | zeros,
    "datetime(6)": st.tuples(days, clocks).map(b" ".join) | zeros,
    "timestamp": st.tuples(days, clocks).map(b" ".join),
    "time(6)": clocks,
    "varchar(9)": st.text(max_size=20).map(str.encode),
    "json": st.sampled_from([b'{"a": 1}', b"[]", b"null", '"é"'.encode()]),
    "longblob": st.binary(max_size=20),
    "geometry": st.just(b'{"type": "Point", "coordinates": [1, -2.5]}'),
}
# What they write where modes allow it, or where a table has changed meanwhile; and bytes that nobody writes.
ODD = st.sampled_from([
    b"", b"-", b"+1", b" 1", b"1 ", b"0x10", b"1e3", b"1.", b".5", b"-.5", b"1.5", b"12.345", b"--1", b"inf",
    b"128", b"-129", b"32768", b"-32769", b"2147483648", b"9223372036854775808", b"-9223372036854775809", b"1" * 39,
    b"0" * 90 + b"1", b"99999999999999999999.99", b"2", b"\2", b"\0\0", b"838:59:59", b"-01:00:00", b"24:00:00",
    b"23:60:00", b"23:59:60", b"23:59:59.", b"23:59:59.1234567", b"2:00:00", b"2023-02-29", b"2024-02-30",
    b"1900-02-29", b"2000-02-29", b"2024-13-01", b"2024-1-1", b"2024-01-01T00:00:00", b"2024-01-01 00:00",
    b"2024-01-01 00:00:00Z", b"2024-01-01 24:00:00", b"2024-01-01 00:00:00.", b"2024-01-01 00:00:00.1234567",
    b"0000-01-01 99:99:99", b"0000", b"10000-01-01", b"-001-01-01", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80", b"\xe2\x82", b"abcdefgh\xff", b"\xf0\x9f\x92\xa7",
]) | st.binary(max_size=12)  # fmt: skip


def both(names: Sequence[str], rows: Sequence[Sequence[bytes | None]]) -> list[Any]:
    """What both ways make of an answer: columns, or the error."""
    types = [typed(name) for name in names]

    def made(part: Part) -> list[Decoded] | type[Exception]:
        try:
            return of_part(part, types)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            return type(error)

    library = native.library()
    assert library is not None, native.absent()
    with reading(answer(rows)) as connection:
        (piece,) = (made(part) for part in pieces(library, connection, len(names), 1 << 20))
    return [piece, made(Listed(list(zip(*rows, strict=True))))]


def assert_same(one: Any, other: Any) -> None:
    if isinstance(other, type):
        assert one == other
        return
    for mine, theirs in zip(one, other, strict=True):
        mine.values.validate(full=True)
        assert mine.values.type == theirs.values.type
        assert mine.values.equals(theirs.values)
        assert (mine.bad, mine.zeros) == (theirs.bad, theirs.zeros)


@settings(max_examples=15, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", WRITTEN)
def test_what_servers_write_is_the_same_by_both_ways(name: str, data: st.DataObject) -> None:
    column = data.draw(st.lists(st.none() | WRITTEN[name], min_size=1, max_size=20))
    assert_same(*both([name], [[one] for one in column]))


@settings(max_examples=40, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", WRITTEN)
def test_what_they_do_not_write_is_the_same_too(name: str, data: st.DataObject) -> None:
    column = data.draw(st.lists(st.none() | WRITTEN[name] | ODD, min_size=1, max_size=3))
    assert_same(*both([name], [[one] for one in column]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
@example(b"\xef\xbf\xbf\xee\x80\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xc2\x80")
def test_text_is_utf_8_and_nothing_else(value: bytes) -> None:
    mine, theirs = both(["longtext"], [[value], [None]])
    assert_same(mine, theirs)
    try:
        assert mine[0].values.to_pylist() == [value.decode(), None]
    except UnicodeDecodeError:
        assert mine[0].bad == (0,)


def test_values_are_not_only_the_same_but_right() -> None:
    names = [
        "bigint",
        "decimal(38,20)",
        "double",
        "date",
        "datetime(6)",
        "time(3)",
        "bit(1)",
        "tinyint(1)",
        "json",
        "longblob",
    ]
    row = [
        b"-9223372036854775808", b"-" + b"9" * 18 + b"." + b"9" * 20, b"5e-324", b"0001-01-01",
        b"9999-12-31 23:59:59.999999", b"23:59:59.120", b"\1", b"0", b'{"a": "\xc3\xa9"}', b"\xff\0",
    ]  # fmt: skip
    mine, _ = both(names, [row, [None] * len(row)])
    assert [one.values.to_pylist() for one in mine] == [
        [one, None]
        for one in (
            -(2**63), Decimal("-" + "9" * 18 + "." + "9" * 20), 5e-324, datetime.date(1, 1, 1),
            datetime.datetime(9999, 12, 31, 23, 59, 59, 999999), datetime.time(23, 59, 59, 120000), True, False,
            '{"a": "é"}', b"\xff\0",
        )
    ]  # fmt: skip


def test_one_odd_value_costs_no_other_column_its_speed() -> None:
    library = native.library()
    assert library is not None, native.absent()
    asked: list[int] = []
    with reading(answer([[b"1", b"26:00:00"], [b"2", b"01:00:00"]])) as connection:
        watched(asked, pieces(library, connection, 2, 1 << 20))
    assert asked == [1]


def watched(asked: list[int], parts: Iterable[Any]) -> list[Any]:
    """Reads all, and notes which columns Python was left."""

    def raw(part: Any, place: int) -> Any:
        asked.append(place)
        return type(part).raw(part, place)

    found: list[Any] = []
    for part in parts:
        part.raw = partial(raw, part)
        found.append(of_part(part, [typed("int"), typed("time")]))
        assert [one.bad for one in found[-1]] == [(), (0,)]
    return found


def test_the_list_of_types_has_one_of_each_form() -> None:
    assert {typed(name).form for name in WRITTEN} == {
        "number", "text", "bytes", "flag", "bit", "day", "moment", "clock", "json"
    }  # fmt: skip
