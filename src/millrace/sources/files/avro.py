"""Avro: rows in the types of the file's schema (https://avro.apache.org/docs/1.12.0/specification/).

Blocks and codecs are taken apart here, so that what a block holds is never more than is read of it at once, and that
snappy and zstandard need no package of their own; what a block's bytes mean is fastavro's part.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import SchemaParseException

from millrace.data import types
from millrace.data.batch import JSON
from millrace.data.rows import to_batch
from millrace.errors import DataError
from millrace.sources.files.avro_weight import Weight, weight
from millrace.sources.files.parts import BYTES, LARGEST, ROWS, Bad, Part, Unreadable

_MAGIC = b"Obj\x01"
# So many values at least are held as Python objects before they become a part.
_CELLS = 4_000_000
_PLAIN = {
    "boolean": types.BOOLEAN, "int": types.INTEGER, "long": types.LONG, "float": types.FLOAT, "double": types.DOUBLE,
    "bytes": types.BYTEARRAY, "fixed": types.BYTEARRAY, "string": types.VARCHAR, "enum": types.VARCHAR,
}  # fmt: skip
_LOGICAL = {
    "date": types.DATE, "time-millis": types.TIME, "time-micros": types.TIME, "timestamp-millis": types.TIMESTAMPTZ,
    "timestamp-micros": types.TIMESTAMPTZ, "local-timestamp-millis": types.TIMESTAMP,
    "local-timestamp-micros": types.TIMESTAMP,
}  # fmt: skip


def read(stream: BinaryIO) -> Iterator[Part]:
    """The rows of a file, which are records."""
    if stream.read(4) != _MAGIC:
        raise Unreadable("it is no Avro file")
    about, sync = _header(stream)
    codec = about.get("avro.codec", b"null").decode("ascii", "replace")
    written: Any = msgspec.json.decode(about.get("avro.schema", b""))
    if not isinstance(written, dict) or written.get("type") != "record":
        raise Unreadable("its schema is not that of records")
    parsed, declared, row = _parsed(written)
    many = max(1, min(ROWS, _CELLS // max(1, row.bytes + row.free)))
    rows: list[dict[str, JSON]] = []
    size = upto = 0
    broken: Exception | None = None
    try:
        for count, block in _blocks(stream, sync, codec):
            if count * max(1, row.bytes) > len(block):
                raise Unreadable(f"the block behind row {upto} says that it has more rows than there are bytes for")
            file = io.BytesIO(block)
            for _ in range(count):
                rows.append(_record(file, parsed))
                upto += 1
                if len(rows) >= many:
                    yield _part(rows, declared, upto)
                    rows, size = [], 0
            if file.tell() != len(block):
                raise Unreadable(f"the block that ends with row {upto} is longer than its rows")
            size += len(block)
            if size >= BYTES:
                yield _part(rows, declared, upto)
                rows, size = [], 0
    except Exception as error:
        broken = error
    if rows:
        yield _part(rows, declared, upto)
    if broken is not None:
        raise broken


def _parsed(written: Any) -> tuple[Any, pa.Schema, Weight]:
    try:
        parsed = parse_schema(written)
        return parsed, _declared(written["fields"]), weight(parsed, {})
    except (AttributeError, LookupError, SchemaParseException, TypeError, ValueError) as error:
        raise Unreadable(f"its schema is none: {error!r}"[:500]) from error


def _record(file: io.BytesIO, schema: Any) -> dict[str, JSON]:
    try:
        found: Any = schemaless_reader(file, schema, None)
    except (ArithmeticError, EOFError, LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"what stands there does not fit its schema: {error!r}"[:500]) from error
    return found


def _part(rows: list[dict[str, JSON]], declared: pa.Schema, upto: int) -> Part:
    first = upto - len(rows) + 1
    numbers = np.arange(first, upto + 1, dtype=np.int64)
    try:
        return Part(to_batch(rows, declared), numbers, (), upto)
    except DataError:
        good, bad = [], list[Bad]()
        for number, row in enumerate(rows, first):
            try:
                to_batch([row], declared)
                good.append(number - first)
            except DataError as error:
                bad.append(Bad(number, repr(row)[:LARGEST], error.message))
        return Part(to_batch([rows[place] for place in good], declared), numbers[good], bad, upto)


def _declared(fields: list[dict[str, Any]]) -> pa.Schema:
    """The types of fields that have one of their own; others are of the type of their values."""
    found = ((field["name"], _type(field["type"])) for field in fields)
    return pa.schema([pa.field(name, type_) for name, type_ in found if type_ is not None])


def _type(written: Any) -> pa.DataType | None:
    if isinstance(written, list):
        some = [one for one in written if one != "null"]
        return _type(some[0]) if len(some) == 1 else None
    if isinstance(written, str):
        return _PLAIN.get(written)
    logical = written.get("logicalType")
    if logical == "decimal":
        precision, scale = written.get("precision", 0), written.get("scale", 0)
        fits = 1 <= precision <= types.MAX_PRECISION and 0 <= scale <= precision
        return types.decimal(precision, scale) if fits else None
    if logical is not None:
        return _LOGICAL.get(logical)
    return _type(written["type"])


def _header(stream: BinaryIO) -> tuple[dict[str, bytes], bytes]:
    about: dict[str, bytes] = {}
    while count := _number(stream):
        if count < 0:
            _number(stream)
        for _ in range(abs(count)):
            name = _exactly(stream, _size(stream)).decode("utf-8", "replace")
            about[name] = _exactly(stream, _size(stream))
    return about, _exactly(stream, 16)


def _blocks(stream: BinaryIO, sync: bytes, codec: str) -> Iterator[tuple[int, bytes]]:
    while (count := _number(stream, may_end=True)) is not None:
        content = _exactly(stream, _size(stream))
        if _exactly(stream, 16) != sync:
            raise Unreadable("a block of it does not end where it says")
        if count < 0:
            raise Unreadable("a block of it has less than no rows")
        yield count, _unpacked(content, codec)


def _unpacked(content: bytes, codec: str) -> bytes:
    match codec:
        case "null":
            return content
        case "deflate":
            return _limited(zlib.decompressobj(-15), content)
        case "bzip2":
            return _limited(bz2.BZ2Decompressor(), content)
        case "xz":
            return _limited(lzma.LZMADecompressor(), content)
        case "snappy":
            size = _number_of(content, signed=False)
            if size > LARGEST:
                raise Unreadable("a block of it is too large")
            unpacked = pa.decompress(content[:-4], size, "snappy", asbytes=True)
            if zlib.crc32(unpacked).to_bytes(4, "big") != content[-4:]:
                raise Unreadable("a block of it has another checksum than it says")
            return unpacked
        case "zstandard":
            with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as unpacking:
                found = unpacking.read(LARGEST + 1)
            if len(found) > LARGEST:
                raise Unreadable("a block of it is too large")
            return found
        case _:
            raise Unreadable(f"its codec {codec[:40]!r} is not known")


def _limited(unpacking: Any, content: bytes) -> bytes:
    found = unpacking.decompress(content, LARGEST)
    if not unpacking.eof:
        raise Unreadable("a block of it is cut off, or too large")
    return found


def _size(stream: BinaryIO) -> int:
    size = _number(stream)
    if size is None or not 0 <= size <= LARGEST:
        raise Unreadable("a part of it is of a size that cannot be")
    return size


def _exactly(stream: BinaryIO, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := stream.read(size - len(found))):
        found += more
    if len(found) < size:
        raise Unreadable("it is cut off")
    return found


def _number(stream: BinaryIO, *, may_end: bool = False) -> int | None:
    """A number of variable length; None where the file ends, if it may."""
    content = b""
    while len(content) < 10:
        byte = stream.read(1)
        if not byte:
            if may_end and not content:
                return None
            raise Unreadable("it is cut off")
        content += byte
        if byte[0] < 0x80:
            return _number_of(content)
    raise Unreadable("a number in it is longer than numbers are")


def _number_of(content: bytes, *, signed: bool = True) -> int:
    found = 0
    for place, byte in enumerate(content[:10]):
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    return (found >> 1) ^ -(found & 1) if signed else found
