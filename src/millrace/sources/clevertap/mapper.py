"""Records of one event name become columns: values, identity, and rejects for what cannot be a row.

Made of bytes and numpy alone, so that it runs as well in a process that has not imported Arrow (`beside.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, TypeAlias, cast

import msgspec
import numpy as np
from msgspec import Raw

from millrace.sources.clevertap.canonical import Shape, all_canonical, canonical, has_minus_zero, written
from millrace.sources.clevertap.times import Ints, Moments
from millrace.sources.clevertap.wire import Answer, Profile, Record

# https://developer.clevertap.com/docs/hevodata names 100 MB for a row of the destination.
LARGEST_RECORD = 100 * 2**20

TEXT_FIELDS = ("platform", "email", "phone", "name", "push_token", "os_version", "app_version", "make", "model")
JSON_FIELDS = {"all_identities": "all_identities", "profile_events": "events"}

Bytes: TypeAlias = memoryview

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_MANY = 4096
_HIGHEST = 10**14
# Arrow counts the bytes of a column of texts with 32 bits.
_MOST_BYTES = 2**31 - 1
_BACKSLASH = b"\\"
_NULL = b"null"
_EMPTY = Raw(b"{}")
_NO_TEXT = b"\xff"
# Copying one that is begun costs less than to begin one.
_state = hashlib.blake2b(digest_size=8)


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


class Identity(msgspec.Struct, gc=False):
    """What makes an event the same event, in the order in which it is written. JSON but for ``ts``."""

    event_name: Raw
    event_props: Any
    objectId: Raw
    session_props: Raw
    ts: int


class Session(msgspec.Struct, frozen=True):
    """What session properties say: their canonical form, their text if there is one, and the source in them."""

    canonical: Raw
    text: bytes | None
    source: bytes | None


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
        self._sessions = _Sessions()
        self._name = Raw(msgspec.json.encode(event))
        self._shape = Shape()

    def __call__(self, answer: Answer) -> Columns:
        rejects = [Reject("UNREADABLE_RECORD", f"not readable as JSON: {why}", raw) for raw, why in answer.spoiled]
        records = answer.records
        kept: Sequence[int] = range(len(records))
        times = [record.ts for record in records]
        if self._doubtful(answer, times):
            kept = self._sorted_out(answer, rejects)
            records = [records[place] for place in kept]
            times = [record.ts for record in records]
        digits = np.array(times, np.int64)
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

    def _doubtful(self, answer: Answer, times: list[Any]) -> bool:
        """Whether some record may have no device, no whole number as time, or too many bytes."""
        if len(answer.body) > self._largest:
            return True
        if not times:
            return False
        if set(map(type, times)) != {int} or min(times) < 10**13 or max(times) >= 10**14:
            return True
        # One look at all devices: each a string that is not empty and has nothing escaped. A string of JSON holds no
        # line break, so that they can stand one in a line.
        try:
            devices = b"\n".join([profile.objectId for profile in _profiles(answer.records)])
        except AttributeError:  # a record has no profile
            return True
        count = len(answer.records)
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
        profiles = _profiles(records)
        devices = [profile.objectId for profile in profiles]
        if _BACKSLASH in b"".join(devices):
            devices = [Raw(canonical(bytes(device))) for device in devices]
        identities = _as_texts([profile.identity for profile in profiles])
        data = _objects([profile.profileData for profile in profiles])
        events = _objects([record.event_props for record in records])
        said = [self._sessions[raw] for raw in map(bytes, [record.session_props for record in records])]
        sources = [session.source for session in said]
        named = [record.session_source for record in records]
        if any(named):
            sources = [name.encode() if name else source for name, source in zip(named, sources, strict=True)]
        extras = self._extras(profiles) if self._whole else []
        hashes = self._hashes(answer, kept, digits, devices, events, said)
        return Columns(
            digits=digits.data.cast("B"),
            moment=moment.data.cast("B"),
            hashes=memoryview(hashes),
            state=memoryview(_states(identities, data, sources, extras)),
            objects=_unquoted(devices),
            identities=_texts(identities),
            events=_texts(events),
            sessions=_texts([session.text for session in said]),
            sources=_texts(sources),
            profiles=_texts(data),
            extras=[_texts(values) for values in extras],
            rejects=rejects,
        )

    def _hashes(
        self,
        answer: Answer,
        kept: Sequence[int],
        digits: Ints,
        devices: list[Raw],
        events: list[Raw],
        sessions: list[Session],
    ) -> bytes:
        """The SHA-256 of each row's identity, one after the other."""
        if self._by_record:
            raws = answer.raws()
            return _digests(map(self._whole_identity, [raws[place] for place in kept]))
        rest = (devices, [session.canonical for session in sessions], digits.tolist())
        shape = self._shape
        while shape.fit and not has_minus_zero(events):
            try:
                return _digests(map(written, map(Identity, repeat(self._name), map(shape.read, events), *rest)))
            except msgspec.ValidationError:
                if not shape.learn(events):
                    break
            except (msgspec.MsgspecError, RecursionError):
                break
        plain = map(Raw, all_canonical(list(map(bytes, events))))
        return _digests(map(written, map(Identity, repeat(self._name), plain, *rest)))

    def _whole_identity(self, raw: bytes) -> bytes:
        members = _members(raw)
        members["event_name"] = self._name
        return canonical(msgspec.json.encode(members))

    def _extras(self, profiles: Sequence[Profile]) -> list[list[bytes | None]]:
        """Values of the further columns: texts, then those that are JSON."""
        found: list[list[bytes | None]] = [
            [_as_text(bytes(getattr(profile, name))) for profile in profiles] for name in (*TEXT_FIELDS, "sdk_version")
        ]
        for name in JSON_FIELDS.values():
            values = [bytes(getattr(profile, name)) for profile in profiles]
            found.append([None if value == b"null" else value for value in values])
        return found


def _profiles(records: Sequence[Record]) -> list[Profile]:
    """The profiles of records that have one."""
    return cast("list[Profile]", [record.profile for record in records])


class _Sessions(dict[bytes, Session]):
    """Session properties by their bytes. Few are distinct, so they are kept."""

    def __missing__(self, raw: bytes) -> Session:
        if len(self) > _MANY:
            self.clear()
        if raw == _NULL:
            found = Session(_EMPTY, None, None)
        else:
            found = Session(Raw(canonical(raw)), raw, _source_of(raw))
        self[raw] = found
        return found


def _digests(texts: Iterable[bytes]) -> bytes:
    return b"".join([found.digest() for found in map(hashlib.sha256, texts)])


def _objects(raws: list[Raw]) -> list[Raw]:
    """The same, with no properties where they are null."""
    if len(_NULL) in map(len, raws):
        return [_EMPTY if bytes(raw) == _NULL else raw for raw in raws]
    return raws


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
    return _as_text(bytes(_members(raw).get("session_source", Raw(_NULL))))


def _unquoted(devices: list[Raw]) -> Texts:
    """The texts of strings of JSON, none of which holds a line break."""
    lines = b"\n".join(devices)
    if _BACKSLASH in lines:
        return _texts([msgspec.json.decode(device, type=str).encode() for device in devices])
    return Texts(memoryview(lines[1:-1].replace(b'"\n"', b"")), _offsets(_lengths(devices) - 2))


def _texts(values: Sequence[Raw | bytes | None]) -> Texts:
    there: Bytes | None = None
    texts = cast("Sequence[Raw | bytes]", values)
    try:
        lengths = _lengths(texts)
    except TypeError:  # some are None; to look for it takes longer than to meet it
        there = np.packbits([value is not None for value in values], bitorder="little").data
        texts = [value or b"" for value in values]
        lengths = _lengths(texts)
    return Texts(memoryview(b"".join(texts)), _offsets(lengths), there)


def _lengths(texts: Sequence[Raw | bytes]) -> Ints:
    return np.fromiter(map(len, texts), np.int64, len(texts))


def _offsets(lengths: Ints) -> Bytes:
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    if ends[-1] > _MOST_BYTES:
        raise OverflowError(f"one column of a page has {ends[-1]:,} bytes, more than {_MOST_BYTES:,}")
    return ends.astype(np.int32).data.cast("B")


def _states(
    identities: list[bytes | None],
    data: list[Raw],
    sources: list[bytes | None],
    extras: list[list[bytes | None]],
) -> bytes:
    """A short hash of each row's values that its identity leaves out."""
    known = map(_told_apart, identities)
    parts: Iterable[bytes] = map(b"\x1f".join, zip(known, data, map(_or_empty, sources), strict=True))
    if extras:
        marked = [[b"\x1e" if value is None else b"\x1f" + value for value in values] for values in extras]
        parts = map(b"".join, zip(parts, *marked, strict=True))
    found: list[bytes] = []
    for part in parts:
        state = _state.copy()
        state.update(part)
        found.append(state.digest())
    return b"".join(found)


def _or_empty(value: bytes | None) -> bytes:
    return value or b""


def _told_apart(identity: bytes | None) -> bytes:
    """An empty identity is another state than none. No text has that byte."""
    return _NO_TEXT if identity == b"" else identity or b""
