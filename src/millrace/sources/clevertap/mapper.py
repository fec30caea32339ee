"""Records of one event name become columns: values, identity, and rejects for what cannot be a row.

Made of bytes and numpy alone, so that it runs as well in a process that has not imported Arrow (`beside.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import msgspec
import numpy as np

from millrace.sources.clevertap.canonical import all_canonical, canonical
from millrace.sources.clevertap.times import Ints, Moments
from millrace.sources.clevertap.wire import Answer, Profile, Record

# https://developer.clevertap.com/docs/hevodata names 100 MB for a row of the destination.
LARGEST_RECORD = 100 * 2**20

TEXT_FIELDS = ("platform", "email", "phone", "name", "push_token", "os_version", "app_version", "make", "model")
JSON_FIELDS = {"all_identities": "all_identities", "profile_events": "events"}

Bytes: TypeAlias = memoryview

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_MANY = 4096
_HIGHEST = 10**14
# Arrow counts the bytes of a column of texts with 32 bits.
_MOST_BYTES = 2**31 - 1
_BACKSLASH = b"\\"


class Reject(msgspec.Struct, frozen=True):
    """A record that cannot be a row: why, and its bytes."""

    code: str
    message: str
    raw: bytes


class Texts(msgspec.Struct, frozen=True):
    """A column of texts as Arrow lays them out: all bytes, where each text begins and the last ends (int32), and a bit
    for each row that has one (None: all have)."""

    data: Bytes
    offsets: Bytes
    there: Bytes | None = None


class Columns(msgspec.Struct, frozen=True):
    """Rows of one page. ``digits``: `ts` as it came; ``moment``: microseconds (both int64); ``state``: a short hash of
    what identity leaves out (uint64); ``hashes``: SHA-256 of each row's identity, 32 bytes each."""

    digits: Bytes
    moment: Bytes
    hashes: Bytes
    state: Bytes
    objects: Texts
    identities: Texts
    events: Texts
    sessions: Texts
    sources: Texts
    profiles: Texts
    extras: list[Texts]
    rejects: list[Reject]

    @property
    def rows(self) -> int:
        return len(self.digits) // 8


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
        self._sessions: dict[bytes, tuple[bytes, bytes | None]] = {}
        self._name_json = msgspec.json.encode(event)
        start = b'{"event_name":' + self._name_json.replace(b"%", b"%%") + b',"event_props":'
        self._identity = start + b'%b,"objectId":%b,"session_props":%b,"ts":%d}'

    def __call__(self, answer: Answer) -> Columns:
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
    ) -> Columns:
        profiles = [cast(Profile, record.profile) for record in records]
        devices = [bytes(profile.objectId) for profile in profiles]
        if _BACKSLASH in b"".join(devices):
            devices = [canonical(device) for device in devices]
        identities = _as_texts([profile.identity for profile in profiles])
        data = [bytes(profile.profileData) for profile in profiles]
        events = [bytes(record.event_props) for record in records]
        sessions = [bytes(record.session_props) for record in records]
        if b"null" in data or b"null" in events:
            data = [b"{}" if value == b"null" else value for value in data]
            events = [b"{}" if value == b"null" else value for value in events]
        known = [self._session(value) for value in sessions]
        sources = [
            record.session_source.encode() if record.session_source else source
            for record, (_, source) in zip(records, known, strict=True)
        ]
        extras = self._extras(profiles) if self._whole else []
        hashes = self._hashes(answer, kept, records, devices, events, [session for session, _ in known])
        return Columns(
            digits=digits.data.cast("B"),
            moment=moment.data.cast("B"),
            hashes=memoryview(hashes),
            state=memoryview(_states(identities, data, sources, extras)),
            objects=_texts(_unquoted(devices)),
            identities=_texts(identities),
            events=_texts(events),
            sessions=_texts([None if value == b"null" else value for value in sessions]),
            sources=_texts(sources),
            profiles=_texts(data),
            extras=[_texts(values) for values in extras],
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

    def _session(self, raw: bytes) -> tuple[bytes, bytes | None]:
        """The canonical form of session properties, and the source in them. Few are distinct, so they are kept."""
        known = self._sessions.get(raw)
        if known is None:
            if len(self._sessions) > _MANY:
                self._sessions.clear()
            known = self._sessions[raw] = (b"{}", None) if raw == b"null" else (canonical(raw), _source_of(raw))
        return known

    def _extras(self, profiles: Sequence[Profile]) -> list[list[bytes | None]]:
        """Values of the further columns: texts, then those that are JSON."""
        found: list[list[bytes | None]] = [
            [_as_text(bytes(getattr(profile, name))) for profile in profiles] for name in (*TEXT_FIELDS, "sdk_version")
        ]
        for name in JSON_FIELDS.values():
            values = [bytes(getattr(profile, name)) for profile in profiles]
            found.append([None if value == b"null" else value for value in values])
        return found


def _not_a_time(value: Any) -> str:
    return f"ts {str(value)[:40]!r} is no date and time in the form yyyyMMddHHmmss"


def _as_texts(values: list[str | int | None]) -> list[bytes | None]:
    return [value if value is None else str(value).encode() for value in values]


def _as_text(raw: bytes) -> bytes | None:
    if raw == b"null":
        return None
    return msgspec.json.decode(raw, type=str).encode() if raw[:1] == b'"' else raw


def _source_of(raw: bytes) -> bytes | None:
    if raw[:1] != b"{":
        return None
    return _as_text(bytes(_members(raw).get("session_source", msgspec.Raw(b"null"))))


def _unquoted(devices: list[bytes]) -> list[bytes]:
    plain = [device[1:-1] for device in devices]
    if _BACKSLASH in b"".join(plain):
        return [msgspec.json.decode(device, type=str).encode() for device in devices]
    return plain


def _texts(values: Sequence[bytes | None]) -> Texts:
    there: Bytes | None = None
    if None in values:
        there = np.packbits([value is not None for value in values], bitorder="little").data
        values = [value or b"" for value in values]
    texts = cast("Sequence[bytes]", values)
    ends = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=ends[1:])
    if ends[-1] > _MOST_BYTES:
        raise OverflowError(f"one column of a page has {ends[-1]:,} bytes, more than {_MOST_BYTES:,}")
    return Texts(memoryview(b"".join(texts)), ends.astype(np.int32).data.cast("B"), there)


def _states(
    identities: list[bytes | None],
    data: list[bytes],
    sources: list[bytes | None],
    extras: list[list[bytes | None]],
) -> bytes:
    """A short hash of each row's values that its identity leaves out."""
    blake2b = hashlib.blake2b
    parts: Any
    if extras:
        texts = len(TEXT_FIELDS) + 1
        spelled = [_spelled(identities), data, _spelled(sources), *map(_spelled, extras[:texts]), *extras[texts:]]
        parts = [repr(values).encode() for values in zip(*spelled, strict=True)]
    else:
        parts = [
            b"%b\x1f%b\x1f%b" % (identity or b"", value, source or b"")
            for identity, value, source in zip(identities, data, sources, strict=True)
        ]
    return b"".join([blake2b(part, digest_size=8).digest() for part in parts])


def _spelled(values: list[bytes | None]) -> list[str | None]:
    return [value if value is None else value.decode() for value in values]
