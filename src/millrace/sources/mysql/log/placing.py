"""The places of values by the native library, row by row."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64
from typing import Any

import numpy as np

from millrace.sources.mysql.log.events import DELETE, INSERT, Rows
from millrace.sources.mysql.log.locating import Located, Places, Size, present


def placed(library: ctypes.CDLL, marks: Any, rows: Sequence[Rows], ends: Any, sizes: Sequence[Size]) -> Located | None:
    """None where the bytes are not as they should be. ``ends``: where the rows of each event end."""
    width = len(sizes)
    groups: dict[tuple[int, bytes, bytes], int] = {}
    which = np.array([groups.setdefault((one.kind, one.before, one.after), len(groups)) for one in rows], np.int64)
    told = np.zeros((len(groups), 2, width), np.uint8)
    pointers = np.zeros((len(groups), 2), np.uint64)
    for (kind, before, after), number in groups.items():
        for image, bits, absent in ((0, before, INSERT), (1, after, DELETE)):
            if kind != absent:
                told[number, image, present(bits, width)] = 1
                pointers[number, image] = told[number, image].ctypes.data
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
    events = np.stack([starts, ends, which], axis=1)
    widths = np.array([(one.fixed, one.prefix) for one in sizes], np.int32)

    def walked(count: int, found: Any) -> int:
        locate: Any = library.millrace_mysql_locate
        locate.restype = c_int64
        return locate(
            _at(marks), c_int64(len(marks)), _at(events), c_int64(len(rows)), _at(pointers), _at(widths),
            c_int64(width), c_int64(count), _at(found),
        )  # fmt: skip

    count = walked(0, np.zeros(5, np.uint64))
    if count < 0:
        return None
    shape = (2, width, count)
    start, size, event = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(count, np.int64)
    null, said = np.ones(shape, np.bool_), np.zeros(shape, np.bool_)
    walked(count, np.array([one.ctypes.data for one in (start, size, null, said, event)], np.uint64))
    kinds = np.fromiter((one.kind for one in rows), np.int64, len(rows))
    old, new = (
        [Places(start[image, one], size[image, one], null[image, one], said[image, one]) for one in range(width)]
        for image in (0, 1)
    )
    return Located(marks, kinds[event], event, old, new)


def _at(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
