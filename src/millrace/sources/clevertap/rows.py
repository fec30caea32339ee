"""Records of one event name become rows: columns, identity, and rejects for what cannot be a row."""

from __future__ import annotations

import hashlib
import re
from binascii import hexlify
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import columns
from millrace.sources.clevertap.canonical import all_canonical, canonical
from millrace.sources.clevertap.times import Ints, Moments
from millrace.sources.clevertap.wire import Answer, Profile, Record

JSON_TYPE = pa.json_()
STREAM = "Events"
# https://developer.clevertap.com/docs/hevodata names 100 MB for a row of the destination.
LARGEST_RECORD = 100 * 2**20

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
_TEXT_FIELDS = ("platform", "email", "phone", "name", "push_token", "os_version", "app_version", "make", "model")
_JSON_FIELDS = {"all_identities": "all_identities", "profile_events": "events"}
WHOLE_SCHEMA = pa.schema(
    [
        *SCHEMA,
        *[pa.field(name, pa.string()) for name in (*_TEXT_FIELDS, "sdk_version")],
        *[pa.field(name, JSON_TYPE) for name in _JSON_FIELDS],
    ]
)

_PUSH_TOKEN = re.compile(r'("push_token"\s*:\s*)("(?:[^"\\]|\\.)*"|[^,}\]\s]+)', re.DOTALL)
_PLAIN_ID = re.compile(rb'"[^"\\]+"').fullmatch
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_MANY = 4096
_HIGHEST = 10**14
_BACKSLASH = b"\\"


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that cannot be a row: why, and its bytes."""

    code: str
    message: str
    raw: bytes


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


class Mapper:
    """Maps the records of one event name. Not safe for several threads."""

    def __init__(
        self,
        event: str,
        moments: Moments,
        *,
        whole: bool = False,
        by_record: bool = False,
        largest: int = LARGEST_RECORD,
    ) -> None:
        self._event = event
        self._moments = moments
        self._whole = whole
        self._by_record = by_record
        self._largest = largest
        self._sessions: dict[bytes, tuple[bytes, str | None]] = {}
        self._name_json = msgspec.json.encode(event)
        start = b'{"event_name":' + self._name_json.replace(b"%", b"%%") + b',"event_props":'
        self._identity = start + b'%b,"objectId":%b,"session_props":%b,"ts":%d}'

    def __call__(self, answer: Answer) -> Shaped:
        rejects = [Reject("UNREADABLE_RECORD", f"not readable as JSON: {why}", raw) for raw, why in answer.spoiled]
        records = answer.records
        kept: Sequence[int] = range(len(records))
        if self._doubtful(answer):
            kept = self._sorted_out(answer, rejects)
            records = [records[place] for place in kept]
        digits = np.array([record.ts for record in records], np.int64)
        moment, good = self._moments(digits)
        if not good.all():
            raws = answer.raws()
            rejects += [
                Reject("BAD_TIMESTAMP", _not_a_time(digits[place]), raws[kept[place]])
                for place in np.flatnonzero(~good).tolist()
            ]
            kept = [kept[place] for place in np.flatnonzero(good).tolist()]
            records = [answer.records[place] for place in kept]
            digits, moment = digits[good], moment[good]
        try:
            return self._shaped(answer, records, kept, digits, moment, rejects)
        except RecursionError:
            shallow = self._shallow(answer, kept, rejects)
        fit = [number for number, place in enumerate(kept) if place in shallow]
        records = [records[number] for number in fit]
        return self._shaped(answer, records, [kept[number] for number in fit], digits[fit], moment[fit], rejects)

    def _doubtful(self, answer: Answer) -> bool:
        """Whether some record may have no device, no whole number as time, or too many bytes."""
        if len(answer.body) > self._largest:
            return True
        records = answer.records
        if not records:
            return False
        times = [record.ts for record in records]
        if set(map(type, times)) != {int} or min(times) < 10**13 or max(times) >= 10**14:
            return True
        if None in [record.profile for record in records]:
            return True
        # One look at all devices: each a string that is not empty and has nothing escaped. A string of JSON holds no
        # line break, so that they can stand one in a line.
        devices = b"\n".join([bytes(cast(Profile, record.profile).objectId) for record in records])
        count = len(records)
        quoted = devices.startswith(b'"') and devices.count(b'\n"') == count - 1 and devices.count(b'"') == 2 * count
        return not quoted or _BACKSLASH in devices or b'""' in devices

    def _sorted_out(self, answer: Answer, rejects: list[Reject]) -> list[int]:
        """The places of records that can be rows, as far as one can say without looking at the calendar."""
        raws = answer.raws()
        kept: list[int] = []
        for place, record in enumerate(answer.records):
            raw = raws[place]
            if len(raw) > self._largest:
                why = f"the record has {len(raw):,} bytes, more than {self._largest:,}"
                rejects.append(Reject("ROW_TOO_LARGE", why, raw))
            elif record.profile is None:
                rejects.append(Reject("MISSING_PROFILE", "the record has no profile, so no device", raw))
            elif bytes(record.profile.objectId)[:1] != b'"' or bytes(record.profile.objectId) == b'""':
                rejects.append(Reject("MISSING_OBJECT_ID", "the profile has no objectId", raw))
            elif type(record.ts) is not int or not 10**13 <= record.ts < _HIGHEST:
                rejects.append(Reject("BAD_TIMESTAMP", _not_a_time(record.ts), raw))
            else:
                kept.append(place)
        return kept

    def _shallow(self, answer: Answer, kept: Sequence[int], rejects: list[Reject]) -> set[int]:
        """The places of records whose values are not nested beyond what can be walked."""
        raws = answer.raws()
        fit: set[int] = set()
        for place in kept:
            try:
                self._whole_identity(raws[place])
            except RecursionError:
                rejects.append(Reject("TOO_DEEP", "the record's values are nested too deeply", raws[place]))
            else:
                fit.add(place)
        return fit

    def _shaped(
        self,
        answer: Answer,
        records: Sequence[Record],
        kept: Sequence[int],
        digits: Ints,
        moment: Ints,
        rejects: list[Reject],
    ) -> Shaped:
        profiles = [cast(Profile, record.profile) for record in records]
        devices = [bytes(profile.objectId) for profile in profiles]
        if _BACKSLASH in b"".join(devices):
            devices = [canonical(device) for device in devices]
        identities = _texts([profile.identity for profile in profiles])
        data = [bytes(profile.profileData) for profile in profiles]
        events = [bytes(record.event_props) for record in records]
        sessions = [bytes(record.session_props) for record in records]
        if b"null" in data or b"null" in events:
            data = [b"{}" if value == b"null" else value for value in data]
            events = [b"{}" if value == b"null" else value for value in events]
        known = [self._session(value) for value in sessions]
        sources = [record.session_source or source for record, (_, source) in zip(records, known, strict=True)]
        extras = self._extras(profiles) if self._whole else []
        hashes = self._hashes(answer, kept, records, devices, events, [session for session, _ in known])
        state = _states(identities, data, sources, extras)
        fields: list[pa.Array] = [
            pa.repeat(pa.scalar(self._event, pa.string()), len(records)),
            pa.array(moment, pa.int64()).view(pa.timestamp("us", "UTC")),
            self._objects(devices),
            pa.array(identities, pa.string()),
            _json(events),
            _json([None if value == b"null" else value for value in sessions]),
            pa.array(sources, pa.string()),
            _json(data),
            pa.array(digits, pa.int64()),
            _hex(hashes),
            *[_json(values) if json else pa.array(values, pa.string()) for values, json in extras],
        ]
        numbers = np.frombuffer(hashes, ">u8").reshape(-1, 4)
        return Shaped(
            rows=pa.RecordBatch.from_arrays(fields, schema=WHOLE_SCHEMA if self._whole else SCHEMA),
            high=numbers[:, 0].astype(np.uint64),
            low=numbers[:, 1].astype(np.uint64),
            state=state,
            day=digits // 1_000_000,
            moment=moment,
            rejects=rejects,
        )

    def _hashes(
        self,
        answer: Answer,
        kept: Sequence[int],
        records: Sequence[Record],
        devices: list[bytes],
        events: list[bytes],
        sessions: list[bytes],
    ) -> bytes:
        """The SHA-256 of each row's identity, one after the other."""
        sha256 = hashlib.sha256
        if self._by_record:
            raws = answer.raws()
            return b"".join([sha256(self._whole_identity(raws[place])).digest() for place in kept])
        identity = self._identity
        properties = all_canonical(events)
        return b"".join(
            [
                sha256(identity % (event, device, session, record.ts)).digest()
                for record, device, event, session in zip(records, devices, properties, sessions, strict=True)
            ]
        )

    def _whole_identity(self, raw: bytes) -> bytes:
        members = _members(raw)
        members["event_name"] = msgspec.Raw(self._name_json)
        return canonical(msgspec.json.encode(members))

    def _session(self, raw: bytes) -> tuple[bytes, str | None]:
        """The canonical form of session properties, and the source in them. Few are distinct, so they are kept."""
        known = self._sessions.get(raw)
        if known is None:
            if len(self._sessions) > _MANY:
                self._sessions.clear()
            known = self._sessions[raw] = (b"{}", None) if raw == b"null" else (canonical(raw), _source_of(raw))
        return known

    def _objects(self, devices: list[bytes]) -> pa.Array:
        plain = [device[1:-1] for device in devices]
        if _BACKSLASH in b"".join(plain):
            return pa.array([msgspec.json.decode(device, type=str) for device in devices], pa.string())
        return pa.array(plain, pa.binary()).view(pa.string())

    def _extras(self, profiles: Sequence[Profile]) -> list[tuple[list[Any], bool]]:
        """Values of the further columns, and whether they are JSON."""
        found: list[tuple[list[Any], bool]] = [
            ([_as_text(bytes(getattr(profile, name))) for profile in profiles], False)
            for name in (*_TEXT_FIELDS, "sdk_version")
        ]
        for name in _JSON_FIELDS.values():
            values = [bytes(getattr(profile, name)) for profile in profiles]
            found.append(([None if value == b"null" else value for value in values], True))
        return found


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


def _shown(event: str, raw: bytes) -> str:
    text = _PUSH_TOKEN.sub(r"\1null", raw.decode("utf-8", "replace"))
    name = msgspec.json.encode(event).decode()
    body = text.lstrip()
    if body.startswith("{"):
        rest = body[1:].lstrip()
        return f'{{"event_name":{name}{"" if rest.startswith("}") else ","}{rest}'
    return f'{{"event_name":{name},"record":{body}}}'


def _not_a_time(value: Any) -> str:
    return f"ts {str(value)[:40]!r} is no date and time in the form yyyyMMddHHmmss"


def _texts(values: list[str | int | None]) -> list[str | None]:
    return [str(value) if type(value) is int else cast("str | None", value) for value in values]


def _as_text(raw: bytes) -> str | None:
    if raw == b"null":
        return None
    return msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else raw.decode()


def _source_of(raw: bytes) -> str | None:
    if raw[:1] != b"{":
        return None
    source = bytes(_members(raw).get("session_source", msgspec.Raw(b"null")))
    return _as_text(source)


def _json(values: Sequence[bytes | None]) -> pa.Array:
    return pa.ExtensionArray.from_storage(JSON_TYPE, pa.array(values, pa.binary()).view(pa.string()))


def _hex(hashes: bytes) -> pa.Array:
    rows = len(hashes) // 32
    offsets = np.arange(0, 64 * rows + 1, 64, dtype=np.int32)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(hexlify(hashes)))


def _states(
    identities: list[str | None],
    data: list[bytes],
    sources: list[str | None],
    extras: list[tuple[list[Any], bool]],
) -> npt.NDArray[np.uint64]:
    """A short hash of each row's values that its identity leaves out."""
    blake2b = hashlib.blake2b
    parts: Any
    if extras:
        parts = [
            repr(values).encode()
            for values in zip(identities, data, sources, *[each for each, _ in extras], strict=True)
        ]
    else:
        parts = [
            b"%b\x1f%b\x1f%b" % ((identity or "").encode(), value, (source or "").encode())
            for identity, value, source in zip(identities, data, sources, strict=True)
        ]
    joined = b"".join([blake2b(part, digest_size=8).digest() for part in parts])
    return np.frombuffer(joined, np.uint64)
