"""Records of one event name become rows: columns, identity, and rejects for what cannot be a row."""

from __future__ import annotations

import hashlib
import re
from binascii import hexlify
from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import columns
from millrace.data.batch import Batch
from millrace.data.dataclass import dataclass
from millrace.data.numbers import integers
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.mapper import JSON_FIELDS, TEXT_FIELDS, Columns, Reject, Texts
from millrace.sources.clevertap.times import Ints

JSON_TYPE = pa.json_()
STREAM = "Events"
# What a source has beside events.
OBJECTS = frozenset({"profiles", "event_schema", "user_properties", "message_reports", "campaigns", "campaign_reports"})

SCHEMA = pa.schema(
    [
        pa.field("event_name", pa.string()),
        pa.field("ts", pa.timestamp("us", "UTC")),
        pa.field("objectId", pa.string()),
        pa.field("identity", pa.string()),
        pa.field("event_props", JSON_TYPE),
        pa.field("session_props", JSON_TYPE),
        pa.field("session_source", pa.string()),
        pa.field("profileData", JSON_TYPE),
        pa.field("ts_raw", pa.int64()),
        columns.ours(columns.ID, pa.string()),
    ]
)
WHOLE_SCHEMA = pa.schema(
    [
        *SCHEMA,
        *[pa.field(name, pa.string()) for name in (*TEXT_FIELDS, "sdk_version")],
        *[pa.field(name, JSON_TYPE) for name in JSON_FIELDS],
    ]
)

_PUSH_TOKEN = re.compile(r'("push_token"\s*:\s*)("(?:[^"\\]|\\.)*"|[^,}\]\s]+)', re.DOTALL)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Shaped:
    """Rows of one page. The arrays have one entry per row: identity (16 bytes as two numbers), a short hash of what
    identity leaves out, local day (YYYYMMDD), and moment (microseconds)."""

    rows: pa.RecordBatch
    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    state: npt.NDArray[np.uint64]
    day: Ints
    moment: Ints
    rejects: list[Reject]


def rows_of(event: str, found: Columns) -> Shaped:
    """The rows of a page as Arrow. Their texts are not copied: they stay the bytes in ``found``."""
    digits = np.frombuffer(found.digits, np.int64)
    moment = np.frombuffer(found.moment, np.int64)
    rows = len(digits)
    numbers = np.frombuffer(found.hashes, ">u8").reshape(-1, 4)
    fields: list[pa.Array] = [
        pa.repeat(pa.scalar(event, pa.string()), rows),
        integers(moment).view(pa.timestamp("us", "UTC")),
        _texts(found.objects, rows),
        _texts(found.identities, rows),
        _json(found.events, rows),
        _json(found.sessions, rows),
        _texts(found.sources, rows),
        _json(found.profiles, rows),
        integers(digits),
        _hex(found.hashes),
    ]
    schema = SCHEMA
    if found.extras:
        schema = WHOLE_SCHEMA
        names = [field.name for field in WHOLE_SCHEMA][len(SCHEMA) :]
        for name, texts in zip(names, found.extras, strict=True):
            fields.append(_json(texts, rows) if name in JSON_FIELDS else _texts(texts, rows))
    return Shaped(
        rows=pa.RecordBatch.from_arrays(fields, schema=schema),
        high=numbers[:, 0].astype(np.uint64),
        low=numbers[:, 1].astype(np.uint64),
        state=np.frombuffer(found.state, np.uint64),
        day=digits // 1_000_000,
        moment=moment,
        rejects=found.rejects,
    )


def bound(event: str, rows: pa.RecordBatch, config: Config) -> pa.RecordBatch | Batch:
    """The rows, bound for the table where the settings want them; never for that of an object which is no event."""
    return rows if config.tables == "one" else Batch(event_type(event), rows)


def event_type(event: str) -> str:
    """The event type of an event that has a table of its own."""
    return f"{event} (event)" if event in OBJECTS else event


def refused(event: str, rejects: Sequence[Reject], now: datetime) -> pa.RecordBatch:
    """The rejects as rows of `columns.REJECTS`: the record with its event name, without its push token."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "stream": STREAM,
                "stage": "source",
                "code": reject.code,
                "message": f"{event}: {reject.message}",
                "row": _shown(event, reject.raw),
                "rejected_at": now,
            }
            for reject in rejects
        ],
        schema=columns.REJECTS,
    )


def reject_id(event: str, reject: Reject) -> bytes:
    """16 bytes that say which record was rejected, whatever its profile is by now."""
    try:
        members = _members(reject.raw)
        profile = members.pop("profile", msgspec.Raw(b"{}"))
        device = _members(profile).get("objectId", msgspec.Raw(b"null"))
        parts = [bytes(device), msgspec.json.encode(members, order="sorted")]
    except (msgspec.MsgspecError, RecursionError):
        parts = [reject.raw]
    return hashlib.sha256(b"\x1f".join([event.encode(), *parts])).digest()[:16]


def without_tokens(raw: bytes) -> str:
    """The record as text, without its push tokens."""
    return _PUSH_TOKEN.sub(r"\1null", raw.decode("utf-8", "replace"))


def _shown(event: str, raw: bytes) -> str:
    text = without_tokens(raw)
    name = msgspec.json.encode(event).decode()
    body = text.lstrip()
    if body.startswith("{"):
        rest = body[1:].lstrip()
        return f'{{"event_name":{name}{"" if rest.startswith("}") else ","}{rest}'
    return f'{{"event_name":{name},"record":{body}}}'


def _texts(texts: Texts, rows: int) -> pa.Array:
    there = None if texts.there is None else pa.py_buffer(texts.there)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(texts.offsets), pa.py_buffer(texts.data), there)


def _json(texts: Texts, rows: int) -> pa.Array:
    return pa.ExtensionArray.from_storage(JSON_TYPE, _texts(texts, rows))


def _hex(hashes: memoryview) -> pa.Array:
    rows = len(hashes) // 32
    offsets = np.arange(0, 64 * rows + 1, 64, dtype=np.int32)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(hexlify(hashes)))
