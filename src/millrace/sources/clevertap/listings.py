"""What CleverTap lists of a project's schema: its events, and the properties of its people.

Their entries are in no document that one could rely on: fields that are known have columns of a declared type, others
become columns by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import pyarrow as pa
from msgspec import Raw

from millrace.connect.source import Reading, Stream
from millrace.data import json_text
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.rows import to_batch
from millrace.sources.clevertap import records
from millrace.sources.clevertap.client import Catalogue, CleverTap
from millrace.sources.clevertap.rows import JSON_TYPE, Shaped

EVENT_SCHEMA = Stream(
    "event_schema",
    key=("name",),
    schema=pa.schema(
        dict.fromkeys(("name", "type", "status"), pa.string()) | {"eventCount": pa.int64(), "properties": JSON_TYPE}
    ),
)
USER_PROPERTIES = Stream(
    "user_properties", key=("name",), schema=pa.schema({"name": pa.string(), "dataType": pa.string()})
)
STREAMS = {one.name: one for one in (EVENT_SCHEMA, USER_PROPERTIES)}
_KINDS: dict[str, Catalogue] = {EVENT_SCHEMA.name: "events", USER_PROPERTIES.name: "userProperties"}

_members = msgspec.json.Decoder(dict[str, Raw]).decode


def catalogue(client: CleverTap, reading: Reading, now: datetime, cursor: JSON) -> Iterator[Item]:
    """All entries of the stream's catalogue, of which those go on that are new or have changed."""
    name, which = reading.stream.name, records.mode(reading.lane, reading.load_mode)
    known = records.known_of(reading.memory, which)
    found = rows_of(STREAMS[name], client.catalogue(_KINDS[name]))
    told = yield from records.judged(found, known, which, name, now)
    yield Checkpoint(cursor, (*told.marks, *records.compacted(known)), told.counts)


def rows_of(stream: Stream, raws: Sequence[bytes]) -> Shaped:
    """The records as rows, and rejects for what cannot be one."""
    (key,) = stream.key

    def row_of(raw: bytes) -> dict[str, JSON]:
        return {name: _value(value) for name, value in _members(raw).items()}

    def key_of(row: dict[str, JSON]) -> bytes | None:
        told = row.get(key)
        return None if told in (None, "") or isinstance(told, Raw) else hashlib.sha256(str(told).encode()).digest()

    found = records.read(
        raws, row_of, key_of, what="record", keyless=("NULL_PRIMARY_KEY", f"the record has no {key!r}")
    )
    return records.shaped(to_batch(found.rows, stream.schema), found.keys, found.states, found.rejects)


def _value(raw: Raw) -> JSON:
    """What a member says; objects and lists as their bytes."""
    return raw if bytes(raw)[:1] in (b"{", b"[") else json_text.loads(bytes(raw).decode())
