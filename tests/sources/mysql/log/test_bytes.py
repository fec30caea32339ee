"""What only MySQL writes into its log, of which a server is not always at hand: its bytes are read as it means them."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.data import types
from millrace.sources.mysql.log import binary_json, events, gtids, numbers
from millrace.sources.mysql.log.events import INSERT, UPDATE, Rows
from millrace.sources.mysql.log.locating import PADDING, Places, Size, located


def stored(value: object) -> tuple[int, bytes]:
    """A value as MySQL stores it in small collections: its kind and its bytes."""
    match value:
        case None | bool():
            return 4, bytes([0 if value is None else 1 if value else 2])
        case int():
            return 9, struct.pack("<q", value)
        case float():
            return 11, struct.pack("<d", value)
        case str():
            text = value.encode()
            return 12, bytes([len(text) & 127 | 128, len(text) >> 7]) + text
        case _:
            assert isinstance(value, dict | list)
            return (0 if isinstance(value, dict) else 2), _collection(value)


def _collection(value: dict[str, object] | list[object]) -> bytes:
    keys = [key.encode() for key in value] if isinstance(value, dict) else []
    values = list(value.values()) if isinstance(value, dict) else value
    at = 4 + 4 * len(keys) + 3 * len(values)
    head, body = b"", b""
    for key in keys:
        head += struct.pack("<HH", at + len(body), len(key))
        body += key
    for kind, data in map(stored, values):
        if kind == 4:
            head += bytes([kind]) + data + b"\0"
        else:
            head += bytes([kind]) + struct.pack("<H", at + len(body))
            body += data
    return struct.pack("<HH", len(values), at + len(body)) + head + body


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_binary_json_is_the_value_that_it_stores(value: object) -> None:
    kind, data = stored(value)
    assert json.loads(binary_json.text(bytes([kind]) + data)) == value


def test_binary_json_has_decimals_and_moments() -> None:
    decimal = bytes([15, 246, 5, 4, 2]) + bytes([0x80 | 12, 34])
    assert binary_json.text(decimal) == "12.34"
    packed = ((2024 * 13 + 2) << 5 | 29) << 17 | 23 << 12 | 59 << 6 | 58
    moment = bytes([15, 12, 8]) + (packed << 24 | 500_000).to_bytes(8, "little")
    assert binary_json.text(moment) == '"2024-02-29 23:59:58.500000"'
    with pytest.raises(ValueError, match="no JSON"):
        binary_json.text(b"\x0c\xff")


def test_events_that_are_compressed_together_are_what_they_were() -> None:
    inner = [bytes(4) + bytes([kind]) + bytes(4) + struct.pack("<I", 19 + 5) + bytes(6) + b"abcde" for kind in (2, 16)]
    whole = b"".join(inner)
    small = pa.Codec("zstd").compress(whole, asbytes=True)
    head = b"\x02\x01\x00" + b"\x03\x01" + bytes([len(whole)]) + b"\x01\x01" + bytes([len(small)]) + b"\x00"
    event = b"\0" + bytes(4) + bytes([40]) + bytes(14) + head + small
    assert list(events.payload(event)) == [b"\0" + one for one in inner]


@given(st.integers(1, 65).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, min(p, 30)))), st.data())
def test_a_decimal_is_what_was_written(shape: tuple[int, int], data: st.DataObject) -> None:
    digits, scale = shape
    values = data.draw(st.lists(st.integers(-(10**digits) + 1, 10**digits - 1), min_size=1, max_size=5))
    written = [_decimal(value, digits, scale) for value in values]
    size = len(written[0])
    marks = np.frombuffer(b"".join(written) + PADDING, np.uint8)
    start = np.arange(len(values)) * size
    nothing = np.zeros(len(values), np.bool_)
    places = Places(start, np.full(len(values), size), nothing, ~nothing)
    found = numbers.decimal(marks, places, digits, scale, types.decimal(digits, scale))
    assert found.to_pylist() == [_scaled(value, scale) for value in values]


def _scaled(value: int, scale: int) -> Decimal:
    return Decimal((int(value < 0), tuple(map(int, str(abs(value)))), -scale))


def _decimal(value: int, digits: int, scale: int) -> bytes:
    """As the server writes it: digits in groups of nine on both sides of the point."""
    text = f"{abs(value):0{digits}}"
    front, back = text[: digits - scale], text[digits - scale :]
    cut = len(front) % 9
    groups = [front[:cut], *(front[at : at + 9] for at in range(cut, len(front), 9))]
    groups += [back[at : at + 9] for at in range(0, len(back), 9)]
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    raw = b"".join(int(one).to_bytes(sizes[len(one)], "big") for one in groups if one)
    turned = bytes(one ^ (0xFF if value < 0 else 0) for one in raw)
    return bytes([turned[0] ^ 0x80]) + turned[1:]


TEXTS = st.lists(st.one_of(st.none(), st.binary(max_size=300)), min_size=2, max_size=2)


@given(st.lists(st.tuples(st.sampled_from([INSERT, UPDATE]), st.lists(TEXTS, min_size=1, max_size=4)), min_size=1))
def test_rows_found_side_by_side_are_those_found_one_by_one(
    written: list[tuple[int, list[list[bytes | None]]]],
) -> None:
    made: list[Rows] = []
    wanted: list[tuple[int, list[bytes | None]]] = []
    for kind, rows in written:
        data = b""
        for row in rows:
            image = bytes([sum((value is None) << place for place, value in enumerate(row))])
            image += b"".join(len(value).to_bytes(2, "little") + value for value in row if value is not None)
            # What was there before is all NULL.
            data += (b"\x03" if kind == UPDATE else b"") + image
            wanted.append((kind, row))
        made.append(Rows(kind, 1, b"\x03", b"\x03", data))
    found = located(made, [Size(prefix=2), Size(prefix=2)])
    columns = [numbers.raw(found.marks, one).to_pylist() for one in found.new]
    assert list(zip(found.kinds.tolist(), map(list, zip(*columns, strict=True)), strict=True)) == wanted
    assert all(one.null.all() for one in found.old)


def _unsigned(value: int) -> bytes:
    """As MySQL's serialization writes it: the low bits say how many bytes follow."""
    more = next((count for count in range(8) if value < 1 << 7 * (count + 1)), 8)
    if more == 8:
        return b"\xff" + value.to_bytes(8, "little")
    return (value << (more + 1) | (1 << more) - 1).to_bytes(more + 1, "little")


SERVER = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


@given(st.uuids(), st.from_regex("[a-z_][a-z0-9_]{0,31}", fullmatch=True), st.integers(1, 2**63 - 2))
def test_the_number_of_a_transaction_is_read_with_a_tag_and_without(server: UUID, tag: str, count: int) -> None:
    head = bytes(4) + bytes([42]) + bytes(14)
    fields = b"\x00" + _unsigned(1)
    fields += _unsigned(1) + b"".join(map(_unsigned, server.bytes))
    fields += _unsigned(2) + _unsigned(count * 2)
    fields += _unsigned(3) + _unsigned(len(tag)) + tag.encode()
    fields += _unsigned(4) + _unsigned(14)  # and more, that nobody asks for
    event = b"\0" + head + _unsigned(1) + _unsigned(len(fields) + 5) + _unsigned(4) + fields
    assert events.numbered(event) == f"{server}:{tag}:{count}"
    plain = b"\0" + bytes(4) + bytes([33]) + bytes(14) + b"\x01" + server.bytes + struct.pack("<Q", count)
    assert events.numbered(plain) == f"{server}:{count}"


@pytest.mark.parametrize(
    ("written", "last"),
    [
        ("3E11FA47-71CA-11E1-9E33-C80AA9429562:23", [f"{SERVER}:23"]),
        (f"{SERVER}:1-5", [f"{SERVER}:5"]),
        (f"{SERVER}:1-3:11:47-49", [f"{SERVER}:49"]),
        (f"{SERVER}:domain_1:7", [f"{SERVER}:domain_1:7"]),
        (f"{SERVER}:1-3:15-21:Domain_2:8-52:9", [f"{SERVER}:21", f"{SERVER}:domain_2:52"]),
        (
            f"2174b383-5441-11e8-b90a-c80aa9429562:1-3,\n{SERVER}:1-3",
            ["2174b383-5441-11e8-b90a-c80aa9429562:3", f"{SERVER}:3"],
        ),
        *((wrong, None) for wrong in ("", "yesterday", SERVER, f"{SERVER}:", f"{SERVER}:5-3", f"{SERVER}:0",
                                      f"{SERVER}:tag", f"{SERVER}:1-2-3", "0-1-2", f"{SERVER[:-1]}:1")),
    ],
)  # fmt: skip
def test_sets_of_numbers_are_read_as_mysql_writes_them(written: str, last: list[str] | None) -> None:
    assert gtids.last(written) == last
