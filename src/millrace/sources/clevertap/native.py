"""Pages mapped by the native library (`native/clevertap.c`): those in which nothing is odd, as `mapper` would."""

from __future__ import annotations

import ctypes
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from millrace.data import native
from millrace.sources.clevertap.mapper import JSON_FIELDS, LARGEST_RECORD, TEXT_FIELDS, Bytes, Columns, Texts
from millrace.sources.clevertap.times import Moments
from millrace.sources.clevertap.wire import Envelope

# Room that clevertap.c has around what stands in a page: for each of so many events that wait to be hashed.
_LANES, _AROUND = 8, 256
# Fewer bytes make no record that can be a row.
_LEAST_RECORD = len(b'{"profile":{"objectId":"a"},"ts":20260101000000}')

_Buffer: TypeAlias = npt.NDArray[np.uint8]
_Buffers: TypeAlias = tuple[_Buffer, _Buffer, _Buffer]
_envelope = msgspec.json.Decoder(Envelope).decode


class _Texts(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("there", ctypes.c_void_p),
        ("missing", ctypes.c_int64),
    )


_EXTRAS = len(TEXT_FIELDS) + 1 + len(JSON_FIELDS)
_COLUMNS = ("objects", "identities", "events", "sessions", "sources", "profiles")


class _Page(ctypes.Structure):
    _fields_ = (
        ("most", ctypes.c_int64),
        ("whole", ctypes.c_int64),
        ("digits", ctypes.c_void_p),
        ("hashes", ctypes.c_void_p),
        ("state", ctypes.c_void_p),
        *((name, _Texts) for name in _COLUMNS),
        ("texts", ctypes.c_void_p),
        ("spare", ctypes.c_void_p),
        ("session", ctypes.c_void_p),
        ("records_from", ctypes.c_int64),
        ("records_to", ctypes.c_int64),
        ("extras", _Texts * _EXTRAS),
    )


def mapped(event: str, body: bytes, moments: Moments, *, whole: bool = False) -> tuple[Envelope, Columns] | None:
    """The rows of a page; None where something in it is odd, or there is no library, so that `mapper` must have it.

    Safe for several threads: most of the work is done without Python's lock. ``moments`` is used with it.
    """
    library = native.library()
    if library is None or len(body) > LARGEST_RECORD:
        return None
    name = msgspec.json.encode(event)
    most = len(body) // _LEAST_RECORD + 1
    # Memory that nobody writes to is none: the kernel makes it when it is touched.
    numbers = {name: np.empty(size * most, np.uint8) for name, size in (("digits", 8), ("hashes", 32), ("state", 8))}
    texts = {name: _room(len(body), most) for name in _COLUMNS}
    extras = [_room(len(body), most) for _ in range(_EXTRAS if whole else 0)]
    scratch = {
        "texts": np.empty(len(body) + _LANES * (len(name) + _AROUND), np.uint8),
        "spare": np.empty(len(body) + _AROUND, np.uint8),
        "session": np.empty(len(body) + _AROUND, np.uint8),
    }
    page = _Page(
        most=most,
        whole=whole,
        extras=(_Texts * _EXTRAS)(*map(_seen, extras)),
        **{name: buffer.ctypes.data for name, buffer in (numbers | scratch).items()},
        **{name: _seen(buffers) for name, buffers in texts.items()},
    )
    call = library.clevertap_page
    call.restype = ctypes.c_int64
    rows = call(body, ctypes.c_int64(len(body)), name, ctypes.c_int64(len(name)), ctypes.byref(page))
    if rows < 0:
        return None
    try:
        envelope = _envelope(body[: page.records_from] + b"null" + body[page.records_to :])
    except msgspec.MsgspecError:
        return None
    moment, good = moments(numbers["digits"][: 8 * rows].view(np.int64))
    if envelope.status != "success" or not good.all():
        return None
    columns = Columns(
        digits=_cut(numbers["digits"], 8 * rows),
        moment=moment.data.cast("B"),
        hashes=_cut(numbers["hashes"], 32 * rows),
        state=_cut(numbers["state"], 8 * rows),
        **{name: _column(getattr(page, name), buffers, rows) for name, buffers in texts.items()},
        extras=[_column(page.extras[place], buffers, rows) for place, buffers in enumerate(extras)],
        rejects=[],
    )
    return envelope, columns


def _room(size: int, most: int) -> _Buffers:
    return np.empty(size, np.uint8), np.empty(4 * (most + 1), np.uint8), np.empty(most // 8 + 1, np.uint8)


def _seen(buffers: _Buffers) -> _Texts:
    return _Texts(*(buffer.ctypes.data for buffer in buffers))


def _column(found: _Texts, buffers: _Buffers, rows: int) -> Texts:
    data, offsets, there = buffers
    return Texts(
        _cut(data, int(offsets.view(np.int32)[rows])),
        _cut(offsets, 4 * (rows + 1)),
        _cut(there, -(-rows // 8)) if found.missing else None,
    )


def _cut(buffer: _Buffer, size: int) -> Bytes:
    return buffer[:size].data
