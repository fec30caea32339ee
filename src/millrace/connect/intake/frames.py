"""How one request is kept in a file of the intake: its length, a checksum, and what came."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from millrace.data.dataclass import dataclass

Kind: TypeAlias = Literal["hook", "track"]

# Length and CRC-32 of what follows, each four bytes, little-endian.
_HEAD = struct.Struct("<II")
_about = msgspec.json.Decoder(tuple[Kind, int, str | None, str | None]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that was accepted.

    ``at_ms``: when. ``name``: the event name that its URL gave. ``request_id``: what its sender called it; the same
    request sent again has the same one. ``body``: JSON, as it came.
    """

    kind: Kind
    at_ms: int
    body: bytes
    name: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a file, from ``offset`` on, that are no whole entry. ``torn``: writing ended there."""

    offset: int
    torn: bool


def framed(entry: Entry) -> bytes:
    """The entry as bytes of a file."""
    inner = b"%b\n%b" % (_encode((entry.kind, entry.at_ms, entry.name, entry.request_id)), entry.body)
    return _HEAD.pack(len(inner), zlib.crc32(inner)) + inner


def entries(data: bytes, offset: int) -> Iterator[tuple[int, int, Entry] | Damage]:
    """The entries of a file, each with where it begins and where it ends; what is not whole ends them.

    ``offset``: where ``data`` begins in the file.
    """
    view = memoryview(data)
    at = 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            yield Damage(offset + at, torn=True)
            return
        length, checksum = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if end > len(data):
            yield Damage(offset + at, torn=True)
            return
        inner = bytes(view[at + _HEAD.size : end])
        if zlib.crc32(inner) != checksum or not length:
            yield Damage(offset + at, torn=False)
            return
        about, _, body = inner.partition(b"\n")
        kind, at_ms, name, request_id = _about(about)
        yield offset + at, offset + end, Entry(kind, at_ms, body, name, request_id)
        at = end
