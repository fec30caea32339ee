"""Arrow's rows as PostgreSQL's binary COPY, written by the native library (`native/pg_copy_out.c`)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa
from pyarrow import types as arrow

from millrace.data import native, types

# Blocks are of this size, or as long as their longest row.
BLOCK_BYTES = 1 << 18
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"

# `struct column` of the C code.
_COLUMN = struct.Struct("@iiqqPPP")
_BOOLEAN, _INT8, _INT16, _FIXED32, _FIXED64, _DAY, _MOMENT, _BYTES, _JSONB, _DECIMAL128, _DECIMAL256 = range(11)
_KINDS: dict[pa.DataType, int] = {
    types.BOOLEAN: _BOOLEAN,
    types.BYTE: _INT8,
    types.SHORT: _INT16,
    types.INTEGER: _FIXED32,
    types.LONG: _FIXED64,
    types.FLOAT: _FIXED32,
    types.DOUBLE: _FIXED64,
    types.DATE: _DAY,
    types.TIME: _FIXED64,
    types.TIMESTAMP: _MOMENT,
    types.TIMESTAMPTZ: _MOMENT,
    types.VARCHAR: _BYTES,
    types.BYTEARRAY: _BYTES,
    types.JSON: _JSONB,
}


class NotWritten(Exception):
    """A type or a value that PostgreSQL has no place for; what reads rows for a load lets none through."""


def blocks(rows: pa.RecordBatchReader) -> Iterator[bytes | memoryview]:
    """The bytes of a whole COPY; each block holds until the next is asked for. Raises NotWritten.

    The library must be in use. Types are those of `data/types.py`, text of a particular kind as its storage.
    """
    from ctypes import byref, c_int64, c_void_p

    library = native.library()
    assert library is not None
    write = library.millrace_pg_copy_out
    write.restype = c_int64
    yield _HEAD
    block = pa.allocate_buffer(BLOCK_BYTES)
    begun = c_int64()
    for batch in rows:
        columns = b"".join(_described(values) for values in batch.columns)
        begun.value = 0
        while (first := begun.value) < batch.num_rows:
            size = write(
                columns, batch.num_columns, c_int64(first), c_int64(batch.num_rows), c_void_p(block.address),
                c_int64(block.size), byref(begun),
            )  # fmt: skip
            if size < 0:
                raise NotWritten(f"a value of the rows {first} to {batch.num_rows} of a batch is none of PostgreSQL's")
            if begun.value == first:
                block = pa.allocate_buffer(2 * block.size)
                continue
            yield memoryview(block)[:size]
    yield _END


def _described(values: pa.Array) -> bytes:
    kind, scale = _kind(values.type)
    validity, *ends, held = types.storage(values).buffers()
    size, address = (held.size, held.address) if held is not None else (0, 0)
    # The C code looks at neither of the two's length.
    last = values.offset + len(values)
    if validity is not None and validity.size * 8 < last:
        raise NotWritten(f"the bits of a column end before its row {last}")
    if ends and len(values) and (ends[0] is None or ends[0].size < 4 * (last + 1)):
        raise NotWritten(f"the offsets of a column end before its row {last}")
    bits, offsets = (0 if one is None else one.address for one in (validity, ends[0] if ends else None))
    return _COLUMN.pack(kind, scale, values.offset, size, bits, address, offsets)


def _kind(type_: pa.DataType) -> tuple[int, int]:
    """The kind of the C code, and a decimal's scale."""
    if arrow.is_decimal(type_) and type_.scale >= 0:
        return _DECIMAL256 if arrow.is_decimal256(type_) else _DECIMAL128, type_.scale
    if (kind := _KINDS.get(type_)) is None:
        raise NotWritten(f"rows with a column of the type {type_} have no binary form here")
    return kind, 0
