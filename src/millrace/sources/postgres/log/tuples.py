"""Rows as pgoutput writes them: one by one where they must be looked at, and many at once column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from millrace.data.dataclass import dataclass

Tuple: TypeAlias = "list[bytes | Literal[False] | None]"
"""Values as the server writes them; None is NULL, False a large value that did not change and is not told."""

_TEXT, _NULL, _UNCHANGED = b"tnu"
# What may be read behind the last value: its mark and a length.
_PADDING = bytes(8)


def parsed(data: bytes, at: int) -> tuple[Tuple, int]:
    """The row that begins at ``at``, and where it ends."""
    count = data[at] << 8 | data[at + 1]
    at += 2
    values: Tuple = []
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            values.append(data[at + 5 : end])
            at = end
        else:
            values.append(None if kind == _NULL else False)
            at += 1
    return values, at


def written(values: Tuple) -> bytes:
    """The row as the server would write it."""
    parts = [len(values).to_bytes(2, "big")]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is False:
            parts.append(b"u")
        else:
            parts += (b"t", len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one column of many rows. ``unsaid``: the rows that do not tell theirs."""

    values: list[bytes | None]
    unsaid: Sequence[int]

    def array(self) -> pa.Array:
        return pa.array(self.values, pa.binary())


def columns(rows: Sequence[bytes], count: int) -> list[Column]:
    """The ``count`` columns of rows, each of which is written behind one byte."""
    whole = b"".join(rows)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    at = np.cumsum(lengths) - lengths + 3
    found: list[Column] = []
    marks = np.frombuffer(whole + _PADDING, np.uint8)
    for _ in range(count):
        kind = marks[at]
        texts = kind == _TEXT
        size = _big_endian(marks, at + 1)
        begin = at + 5
        end = begin + np.where(texts, size, 0)
        if texts.all():
            values: list[Any] = [whole[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        else:
            values = [
                whole[a:b] if text else None
                for a, b, text in zip(begin.tolist(), end.tolist(), texts.tolist(), strict=True)
            ]
        found.append(Column(values, np.flatnonzero(kind == _UNCHANGED).tolist()))
        at = np.where(texts, end, at + 1)
    return found


def _big_endian(marks: np.ndarray[Any, Any], at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    size = marks[at].astype(np.int64)
    for place in range(1, 4):
        size = size << 8 | marks[at + place]
    return size
