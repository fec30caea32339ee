"""MySQL's JSON as it is stored, as text in the words of the server.

Source: https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html
"""

from __future__ import annotations

import base64
import json
import struct

from millrace.sources.mysql.log.events import DATE, DATETIME, NEWDECIMAL, TIME, TIMESTAMP

_LITERALS = {0: "null", 1: "true", 2: "false"}
_NUMBERS = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q", 11: "<d"}
_SMALL, _STRING, _OPAQUE = (0, 2), 12, 15


def text(data: bytes) -> str:
    """The value; null of no bytes. Raises ValueError for what is none."""
    if not data:
        return "null"
    try:
        return _value(data, data[0], 1)
    except (struct.error, IndexError, KeyError) as cause:
        raise ValueError("these bytes are no JSON of MySQL") from cause


def _value(data: bytes, kind: int, at: int) -> str:
    if kind < 4:
        return _collection(data, kind, at)
    if kind == 4:
        return _LITERALS[data[at]]
    if kind in _NUMBERS:
        (number,) = struct.unpack_from(_NUMBERS[kind], data, at)
        return repr(number)
    if kind == _STRING:
        size, at = _length(data, at)
        return json.dumps(data[at : at + size].decode(), ensure_ascii=False)
    if kind == _OPAQUE:
        size, begin = _length(data, at + 1)
        return _opaque(data[at], data[begin : begin + size])
    raise ValueError(f"there is no kind {kind} of JSON")


def _collection(data: bytes, kind: int, at: int) -> str:
    """An object or an array: counts and offsets are of two bytes in small ones, of four in large ones, and are
    counted from where it begins."""
    size = 2 if kind in _SMALL else 4
    word = "<H" if size == 2 else "<I"
    (count,) = struct.unpack_from(word, data, at)
    place = at + 2 * size
    keys: list[str] = []
    if kind < 2:
        for _ in range(count):
            (begin,) = struct.unpack_from(word, data, place)
            (length,) = struct.unpack_from("<H", data, place + size)
            keys.append(json.dumps(data[at + begin : at + begin + length].decode(), ensure_ascii=False))
            place += size + 2
    values: list[str] = []
    for _ in range(count):
        one = data[place]
        if one in (4, 5, 6) or (size == 4 and one in (7, 8)):
            values.append(_value(data, one, place + 1))
        else:
            (begin,) = struct.unpack_from(word, data, place + 1)
            values.append(_value(data, one, at + begin))
        place += size + 1
    if kind < 2:
        return "{" + ", ".join(f"{key}: {value}" for key, value in zip(keys, values, strict=True)) + "}"
    return f"[{', '.join(values)}]"


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A number in sevens of bits, of which all but the last say that more come."""
    found = 0
    for turn in range(5):
        found |= (data[at] & 0x7F) << 7 * turn
        at += 1
        if not data[at - 1] & 0x80:
            break
    return found, at


def _opaque(kind: int, data: bytes) -> str:
    if kind == NEWDECIMAL:
        return _decimal(data)
    if kind in (DATE, DATETIME, TIMESTAMP, TIME):
        return f'"{_moment(kind, int.from_bytes(data[:8], "little", signed=True))}"'
    return f'"base64:type{kind}:{base64.b64encode(data).decode()}"'


def _moment(kind: int, packed: int) -> str:
    size, micros = abs(packed) >> 24, abs(packed) & 0xFFFFFF
    clock = f"{size >> 6 & 63:02}:{size & 63:02}.{micros:06}"
    if kind == TIME:
        return f"{'-' if packed < 0 else ''}{size >> 12 & 0x3FF:02}:{clock}"
    days, hours = size >> 17, size >> 12 & 31
    date = f"{(days >> 5) // 13:04}-{(days >> 5) % 13:02}-{days & 31:02}"
    return date if kind == DATE else f"{date} {hours:02}:{clock}"


def _decimal(data: bytes) -> str:
    digits, scale = data[0], data[1]
    above = digits - scale
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    groups = [above % 9] * (above % 9 > 0) + [9] * (above // 9 + scale // 9) + [scale % 9] * (scale % 9 > 0)
    below = not data[2] & 0x80
    turned = bytes(one ^ (0xFF if below else 0) ^ (0x80 if place == 0 else 0) for place, one in enumerate(data[2:]))
    total, at = 0, 0
    for group in groups:
        total = total * 10**group + int.from_bytes(turned[at : at + sizes[group]], "big")
        at += sizes[group]
    shown = f"{total:0{scale + 1}}"
    front = "-" if below and total else ""
    return f"{front}{shown[:-scale]}.{shown[-scale:]}" if scale else front + shown
