"""Where the values of many rows begin and end, found column by column over all events at once.

How long a row is shows only when its values are walked through. So all events are walked side by side: first the first
row of each, then the second of those that have one, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from millrace.data.dataclass import dataclass
from millrace.data.native import library
from millrace.sources.mysql.log import events
from millrace.sources.mysql.log.events import DELETE, INSERT, UPDATE, Rows

Ints: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Flags: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

# What may be read behind the last value: as much as the longest of a fixed size has.
PADDING = bytes(64)

_FIXED = {
    events.TINY: 1, events.SHORT: 2, events.INT24: 3, events.LONG: 4, events.LONGLONG: 8, events.FLOAT: 4,
    events.DOUBLE: 8, events.YEAR: 1, events.DATE: 3, events.NEWDATE: 3, events.TIME: 3, events.DATETIME: 8,
    events.TIMESTAMP: 4,
}  # fmt: skip
_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes of so many digits of a decimal."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long values of a column are: ``fixed`` bytes, or what the ``prefix`` bytes in front of them say."""

    fixed: int = 0
    prefix: int = 0


def size_of(code: int, meta: int) -> Size | None:
    """None for a type that is not known."""
    if code in _FIXED:
        return Size(_FIXED[code])
    match code:
        case events.VARCHAR | events.VAR_STRING | events.STRING | events.VARCHAR_COMPRESSED:
            return Size(prefix=2 if meta > 255 else 1)
        case events.BLOB | events.BLOB_COMPRESSED | events.JSON | events.GEOMETRY | events.VECTOR:
            return Size(prefix=meta)
        case events.NEWDECIMAL:
            whole, part = (meta >> 8) - (meta & 255), meta & 255
            return Size(4 * (whole // 9 + part // 9) + _DIGITS[whole % 9] + _DIGITS[part % 9])
        case events.BIT:
            return Size((meta >> 8) + (meta & 255 > 0))
        case events.ENUM | events.SET:
            return Size(meta)
        case events.TIMESTAMP2:
            return Size(4 + (meta + 1) // 2)
        case events.DATETIME2:
            return Size(5 + (meta + 1) // 2)
        case events.TIME2:
            return Size(3 + (meta + 1) // 2)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Places:
    """Where the values of one column are, row by row. ``said`` False: the row does not tell its value."""

    start: Ints
    size: Ints
    null: Flags
    said: Flags

    def take(self, rows: Any) -> Places:
        return Places(self.start[rows], self.size[rows], self.null[rows], self.said[rows])

    def behind(self, other: Places) -> Places:
        """Those of the other, and where it does not tell them these."""
        return Places(
            np.where(other.said, other.start, self.start),
            np.where(other.said, other.size, self.size),
            np.where(other.said, other.null, self.null),
            other.said | self.said,
        )


@dataclass(frozen=True, slots=True)
class Located:
    """Rows of some events, in their order. ``kinds``, and of which ``event`` each is. ``old`` and ``new``: the images
    in front and behind, by column; where there is none nothing is said."""

    marks: np.ndarray[Any, np.dtype[np.uint8]]
    kinds: Ints
    event: Ints
    old: Sequence[Places]
    new: Sequence[Places]


_Image: TypeAlias = "list[tuple[Ints, Ints, Flags] | None]"


def located(rows: Sequence[Rows], sizes: Sequence[Size]) -> Located:
    """All rows of the events, whose table has columns of these sizes."""
    whole = b"".join([one.data for one in rows])
    marks = np.frombuffer(whole + PADDING, np.uint8)
    lengths = np.fromiter((len(one.data) for one in rows), np.int64, len(rows))
    ends = np.cumsum(lengths)
    if (native := library()) is not None:
        from millrace.sources.mysql.log.placing import placed  # with ctypes

        if (told := placed(native, marks, rows, ends, sizes)) is not None:
            return told
    starts = ends - lengths
    groups: dict[tuple[int, bytes, bytes], list[int]] = {}
    for place, one in enumerate(rows):
        groups.setdefault((one.kind, one.before, one.after), []).append(place)
    orders: list[Ints] = []
    kinds: list[Ints] = []
    found: tuple[list[_Image], list[_Image]] = ([], [])
    counts: list[int] = []
    for (kind, before, after), some in groups.items():
        which = np.array(some, np.int64)
        at, end, turn = starts[which], ends[which], 0
        front, behind = present(before, len(sizes)), present(after, len(sizes))
        while len(which):
            old: _Image = [None] * len(sizes)
            new: _Image = [None] * len(sizes)
            if kind != INSERT:
                old, at = _walk(marks, at, front, sizes)
            if kind != DELETE:
                new, at = _walk(marks, at, behind, sizes)
            # Rows of an event come in their order, and there are fewer than bytes.
            orders.append(which << 32 | turn)
            kinds.append(np.full(len(which), kind))
            found[0].append(old)
            found[1].append(new)
            counts.append(len(which))
            more = at < end
            if not more.all():
                which, at, end = which[more], at[more], end[more]
            turn += 1
    order = np.concatenate(orders) if orders else np.zeros(0, np.int64)
    sorting = np.argsort(order, kind="stable")
    return Located(
        marks,
        np.concatenate(kinds)[sorting] if kinds else order,
        order[sorting] >> 32,
        _joined(found[0], counts, len(sizes), sorting),
        _joined(found[1], counts, len(sizes), sorting),
    )


def present(bits: bytes, count: int) -> list[int]:
    return [place for place in range(count) if bits[place >> 3] >> (place & 7) & 1]


def _walk(marks: Any, at: Ints, present: Sequence[int], sizes: Sequence[Size]) -> tuple[_Image, Ints]:
    """Values of one image of each row, and where the next one begins."""
    bits = at
    at = at + (len(present) + 7) // 8
    found: _Image = [None] * len(sizes)
    for number, place in enumerate(present):
        null = (marks[bits + (number >> 3)] >> (number & 7) & 1).astype(np.bool_)
        one = sizes[place]
        if one.prefix:
            size = marks[at].astype(np.int64)
            for byte in range(1, one.prefix):
                size |= marks[at + byte].astype(np.int64) << 8 * byte
        else:
            size = np.full(len(at), one.fixed, np.int64)
        if null.any():
            size = np.where(null, 0, size)
            start = at + np.where(null, 0, one.prefix)
        else:
            start = at + one.prefix
        found[place] = (start, size, null)
        at = start + size
    return found, at


def _joined(images: Sequence[_Image], counts: Sequence[int], width: int, sorting: Ints) -> list[Places]:
    places: list[Places] = []
    for column in range(width):
        starts: list[Any] = []
        lengths: list[Any] = []
        nulls: list[Any] = []
        said: list[Any] = []
        for image, count in zip(images, counts, strict=True):
            one = image[column]
            if one is None:
                nothing = np.zeros(count, np.int64)
                one = nothing, nothing, np.ones(count, np.bool_)
                said.append(np.zeros(count, np.bool_))
            else:
                said.append(np.ones(count, np.bool_))
            starts.append(one[0])
            lengths.append(one[1])
            nulls.append(one[2])
        if starts:
            joined = [np.concatenate(some) for some in (starts, lengths, nulls, said)]
            places.append(Places(*joined).take(sorting))
        else:
            empty = np.zeros(0, np.int64)
            places.append(Places(empty, empty, empty.astype(np.bool_), empty.astype(np.bool_)))
    return places


__all__ = ["DELETE", "INSERT", "PADDING", "UPDATE", "Located", "Places", "Size", "located", "size_of"]
