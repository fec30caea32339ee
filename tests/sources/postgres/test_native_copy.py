"""Bytes of a binary COPY become Arrow, and do no harm whatever they are (`make native-fuzz`)."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from ctypes import POINTER, c_int, c_void_p
from decimal import Decimal, localcontext
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sources.postgres.copied import Form, batches, form
from millrace.sources.postgres.links import Strange
from millrace.sources.postgres.types import typed

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TAIL = b"\xff\xff"

_libc = ctypes.CDLL(None)
_libc.malloc.restype, _libc.malloc.argtypes = c_void_p, [ctypes.c_size_t]


def table(messages: Sequence[bytes], forms: dict[str, Form], *, whole: bool = True, most_rows: int = 7) -> pa.Table:
    """The rows of these messages, each in memory of its own size, as libpq has it."""
    left = list(messages)

    @ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(c_void_p), c_int)
    def get(_connection: int, message: Any, _wait_not: int) -> int:
        if not left:
            return -1
        one = left.pop(0)
        message[0] = place = _libc.malloc(len(one) or 1)
        ctypes.memmove(place, one, len(one))
        return len(one)

    found: list[pa.RecordBatch] = []
    reading = batches(forms, ctypes.cast(get, c_void_p), ctypes.cast(_libc.free, c_void_p), most_rows=most_rows)
    while True:
        try:
            found.append(next(reading))
        except StopIteration as end:
            assert end.value is whole
            break
    for one in found:
        one.validate(full=all(column.type != pa.string() for column in one.columns))
    schema = pa.schema([pa.field(name, one.type) for name, one in forms.items()])
    return pa.Table.from_batches(found, None if found else schema)


def field(value: bytes | None) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def row(*values: bytes | None) -> bytes:
    return struct.pack(">h", len(values)) + b"".join(map(field, values))


def numeric(weight: int, sign: int, scale: int, *digits: int) -> bytes:
    return struct.pack(f">HhHH{len(digits)}H", len(digits), weight, sign, scale, *digits)


def plain(number: int, name: str = "", modifier: int = -1) -> Form:
    return form(number, modifier, typed(name, modifier))


def modifier(precision: int, scale: int) -> int:
    return ((precision << 16) | (scale & 0x7FF)) + 4


# A form, values on the wire, and the same in Arrow.
KINDS: dict[str, tuple[Form, Callable[[Any], bytes], Any, st.SearchStrategy[Any]]] = {
    "bool": (plain(16), lambda v: bytes([v]), None, st.booleans()),
    "int2": (plain(21), lambda v: struct.pack(">h", v), None, st.integers(-(2**15), 2**15 - 1)),
    "int4": (plain(23), lambda v: struct.pack(">i", v), None, st.integers(-(2**31), 2**31 - 1)),
    "int8": (plain(20), lambda v: struct.pack(">q", v), None, st.integers(-(2**63), 2**63 - 1)),
    "float8": (plain(701), lambda v: struct.pack(">d", v), None, st.floats(allow_nan=False)),
    "text": (plain(25), lambda v: v.encode(), None, st.text(max_size=300)),
    "bytea": (plain(17), bytes, None, st.binary(max_size=300)),
    "jsonb": (plain(3802), lambda v: b"\1" + v.encode(), None, st.text(max_size=300)),
    "uuid": (plain(2950), lambda v: v.bytes, str, st.uuids()),
}


@given(st.data())
def test_values_come_as_they_were_sent(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    kinds = [KINDS[name] for name in names]
    rows = data.draw(st.lists(st.tuples(*(st.none() | one[3] for one in kinds)), max_size=30))
    messages = [
        row(*(None if value is None else one[1](value) for one, value in zip(kinds, values, strict=True)))
        for values in rows
    ]
    # The header comes with the first row; the end is a message of its own, or with the header.
    joined = [HEAD + messages[0], *messages[1:], TAIL] if messages else [HEAD + TAIL]
    found = table(joined, {f"c{place}": one[0] for place, one in enumerate(kinds)})
    for place, (_, _, shown, _) in enumerate(kinds):
        wanted = [values[place] for values in rows]
        assert found.column(place).to_pylist() == [v if v is None or shown is None else shown(v) for v in wanted]


@given(
    st.lists(st.integers(0, 9999), max_size=12),
    st.integers(-6, 12),
    st.booleans(),
    st.integers(0, 40),
    st.integers(0, 37),
)
def test_a_number_is_the_same_as_text_and_as_a_decimal(
    digits: list[int], weight: int, minus: bool, scale: int, wide: int
) -> None:
    # As the server has them: without zeros in front.
    digits, weight = ([max(digits[0], 1), *digits[1:]], weight) if digits else ([], 0)
    with localcontext(prec=300):
        exact = sum((Decimal(one) * Decimal(10000) ** (weight - at) for at, one in enumerate(digits)), Decimal(0))
        cut = int(exact.scaleb(scale)) if scale else int(exact)
        sent = row(numeric(weight, 0x4000 if minus else 0, scale, *digits))
        (text,) = table([HEAD + sent, TAIL], {"n": plain(1700, "numeric")}).column("n").to_pylist()
        shown = str(abs(cut)).rjust(scale + 1, "0")
        wanted = f"{shown[: len(shown) - scale]}.{shown[len(shown) - scale :]}" if scale else shown
        assert text == ("-" if minus else "") + wanted
        as_decimal = {"n": plain(1700, "numeric", modifier(38, wide))}
        scaled = exact.scaleb(wide)
        if scaled != scaled.to_integral_value() or scaled > 2**127 - 1:
            with pytest.raises(Strange):
                table([HEAD + sent, TAIL], as_decimal)
        elif scaled < 10**38:
            (number,) = table([HEAD + sent, TAIL], as_decimal).column("n").to_pylist()
            assert number == (-exact if minus else exact)


def test_numbers_that_are_none_make_a_column_text() -> None:
    nan = numeric(0, 0xC000, 0)
    sent = [HEAD + row(numeric(0, 0, 2, 1, 5000)), row(nan), row(None), row(numeric(0, 0x4000, 2, 7)), TAIL]
    found = table(sent, {"n": plain(1700, "numeric", modifier(12, 2))})
    assert found.column("n").to_pylist() == ["1.50", "nan", None, "-7.00"]
    assert found.column("n").type == pa.string()
    infinite = numeric(0, 0xD000, 0)
    with pytest.raises(Strange):
        table([HEAD + row(infinite), TAIL], {"n": plain(1700, "numeric", modifier(12, 2))})
    several = [HEAD + row(infinite), row(numeric(0, 0xF000, 0)), row(nan), TAIL]
    assert table(several, {"n": plain(1700, "numeric")}).column("n").to_pylist() == ["inf", "-inf", "nan"]


def test_batches_end_and_text_grows() -> None:
    forms = {"n": plain(20), "text": plain(25)}
    count = 30_000
    sent = [row(struct.pack(">q", one), b"x" * (one % 40)) for one in range(count)]
    sent[17_777] = row(struct.pack(">q", 17_777), b"y" * (9 << 20))
    found = table([HEAD, *sent, TAIL], forms, most_rows=1 << 13)
    assert found.column("n").to_pylist() == list(range(count))
    lengths = [len(one) for one in found.column("text").to_pylist()]
    assert lengths == [9 << 20 if one == 17_777 else one % 40 for one in range(count)]
    assert found.column("n").num_chunks > 2


def test_rows_without_their_end_are_not_whole() -> None:
    rows = table([HEAD + row(b"a"), row(b"b")], {"t": plain(25)}, whole=False)
    assert rows.num_rows == 0


STRANGE = {
    "no header": [row(b"a"), TAIL],
    "a header of flags": [HEAD[:11] + b"\0\1\0\0" + bytes(4) + row(b"a"), TAIL],
    "too many fields": [HEAD + row(b"a", b"b"), TAIL],
    "too few": [HEAD + row(), TAIL],
    "a piece of a row": [HEAD + row(b"abc")[:-1], TAIL],
    "a length below nothing": [HEAD + b"\0\1\xff\xff\xff\xfe", TAIL],
    "rows behind the end": [HEAD + TAIL, row(b"a")],
    "one byte": [HEAD, b"\0", TAIL],
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_not_rows_is_told(what: str) -> None:
    with pytest.raises(Strange):
        table(STRANGE[what], {"t": plain(25)})


@pytest.mark.parametrize("number", [16, 20, 21, 23, 700, 701, 1082, 1083, 1114, 1700, 2950, 3802])
def test_a_value_of_another_length_is_told(number: int) -> None:
    with pytest.raises(Strange):
        table([HEAD + row(b"\2" * 13), TAIL], {"v": plain(number)})


def test_a_type_that_is_not_read_is_told() -> None:
    with pytest.raises(Strange):
        plain(1007)


ALL = {f"c{number}": plain(number) for number in (16, 17, 20, 21, 23, 701, 1082, 1114, 1700, 2950, 3802)}
ALL["n"] = plain(1700, "numeric", modifier(30, 5))
ROW = row(
    *(b"\1", b"bytes", bytes(8), bytes(2), bytes(4), bytes(8), bytes(4), bytes(8)),
    *(numeric(2, 0, 5, 1, 2, 3, 4), bytes(16), b"\1{}", numeric(1, 0x4000, 3, 1, 2, 3400)),
)


@given(st.data())
def test_any_bytes_do_no_harm(data: st.DataObject) -> None:
    message = bytearray(HEAD + ROW * 3 + TAIL)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(message) - 1))
        match data.draw(st.sampled_from(("set", "cut", "more", "big"))):
            case "set":
                message[at] = data.draw(st.integers(0, 255))
            case "cut":
                del message[at : at + data.draw(st.integers(1, 8))]
            case "more":
                message[at:at] = data.draw(st.binary(max_size=8))
            case _:
                message[at : at + 4] = struct.pack(">i", data.draw(st.sampled_from((2**31 - 1, -(2**31), -2, 65535))))
        if not message:
            return
    cut = data.draw(st.integers(0, len(message)))
    with suppress(Strange, AssertionError):
        table([one for one in (bytes(message[:cut]), bytes(message[cut:])) if one], ALL)
