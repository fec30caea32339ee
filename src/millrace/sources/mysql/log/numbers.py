"""Numbers, bits and raw bytes of rows, many at once. Bytes of a value are where `Places` says.

Source: https://dev.mysql.com/doc/refman/8.4/en/precision-math-decimal-characteristics.html (digits in groups of nine)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from millrace.sources.mysql.log.locating import Ints, Places

# Bytes of a group of so many digits.
_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_INT64_DIGITS, _DECIMAL128_DIGITS = 18, 38
_SIGN = 1 << 63


def little(marks: Any, start: Ints, size: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Numbers without a sign, the smallest byte first."""
    found = marks[start].astype(np.uint64)
    for byte in range(1, size):
        found |= marks[start + byte].astype(np.uint64) << np.uint64(8 * byte)
    return found


def big(marks: Any, start: Ints, size: int) -> Ints:
    """Numbers without a sign below 2^63, the largest byte first."""
    found = np.zeros(len(start), np.int64)
    for byte in range(size):
        found = found << 8 | marks[start + byte]
    return found


def whole(marks: Any, places: Places, size: int, *, unsigned: bool) -> pa.Array:
    raw = little(marks, places.start, size)
    if unsigned:
        return pa.array(raw, mask=places.null)
    sign = np.uint64(1 << (8 * size - 1))
    return pa.array((raw ^ sign).view(np.int64) - np.int64(1 << (8 * size - 1)) if size < 8 else raw.view(np.int64),
                    mask=places.null)  # fmt: skip


def real(marks: Any, places: Places, size: int) -> pa.Array:
    raw = little(marks, places.start, size)
    return pa.array(raw.astype(np.uint32).view(np.float32) if size == 4 else raw.view(np.float64), mask=places.null)


def decimal(marks: Any, places: Places, digits: int, scale: int, to: pa.DataType) -> pa.Array:
    """Decimals of so many digits. The first bit says that a number is not below zero; all bits of others are turned."""
    above = digits - scale
    groups = [above % 9] * (above % 9 > 0) + [9] * (above // 9 + scale // 9) + [scale % 9] * (scale % 9 > 0)
    positive = marks[places.start] & 0x80 > 0
    turned = np.where(positive, 0, 0xFF)
    total: Any = np.zeros(len(places.start), np.int64)
    at, first = places.start, 0x80
    if digits > _INT64_DIGITS:
        total = total.astype(object)
    for group in groups:
        part = np.zeros(len(total), np.int64)
        for byte in range(_DIGITS[group]):
            part = part << 8 | marks[at + byte] ^ turned ^ first
            first = 0
        total = total * 10**group + part
        at = at + _DIGITS[group]
    total = np.where(positive, total, -total)
    bits = pa.array(~places.null).buffers()[1]
    return pa.Array.from_buffers(to, len(total), [bits, pa.py_buffer(_words(total, places, to))])


def _words(total: Any, places: Places, to: pa.DataType) -> Any:
    """Numbers as Arrow keeps decimals."""
    wide = to.bit_width // 8
    if total.dtype != object:
        # Of what is no value the bytes are as they happen to be.
        words = np.empty((len(total), wide // 8), np.int64)
        words[:, 0] = total
        words[:, 1:] = (total >> 63)[:, None]
        return words.tobytes()
    kept = np.where(places.null, 0, total)
    return b"".join([int(one).to_bytes(wide, "little", signed=True) for one in kept])


def raw(marks: Any, places: Places) -> pa.Array:
    """The bytes of each value. Values of later rows are further behind, so what is between two of them can be told as
    values too, which are dropped."""
    count = len(places.start)
    edges = np.empty(2 * count + 1, np.int64)
    # A value that is not told has no place; it stands behind the one before.
    end = np.maximum.accumulate(np.where(places.null, 0, places.start + places.size)) if count else places.start
    edges[0:-1:2] = np.where(places.null, np.concatenate([[0], end[:-1]]) if count else end, places.start)
    edges[1::2] = end
    edges[-1] = end[-1] if count else 0
    if (edges[1:] < edges[:-1]).any():
        # A row that got another key is told twice, and both may be of one image.
        whole_ = bytes(marks)
        spans = zip(places.start.tolist(), places.size.tolist(), places.null.tolist(), strict=True)
        return pa.array([None if null else whole_[at : at + size] for at, size, null in spans], pa.binary())
    nulls = np.zeros(2 * count, np.bool_)
    nulls[::2] = places.null
    every = pa.Array.from_buffers(
        pa.binary(),
        2 * count,
        [pa.array(~nulls).buffers()[1], pa.py_buffer(edges.astype(np.int32)), pa.py_buffer(marks)],
    )
    return every.take(pa.array(np.arange(0, 2 * count, 2)))
