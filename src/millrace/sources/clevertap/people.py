"""People: the records of the Get User Profiles API become rows, one for each person.

A person is told by their identity, and by their first device as long as nobody knows who it is. What the API says of
people is in no schema (https://developer.clevertap.com/docs/get-user-profiles-api), so what has no column of its own
stands in the column `other`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec
import pyarrow as pa
from msgspec import Raw

from millrace.connect.http.parallel import Ended
from millrace.data import columns
from millrace.data.batch import Item, Mark
from millrace.sources.clevertap import records
from millrace.sources.clevertap.client import Page, Walked
from millrace.sources.clevertap.known import Known
from millrace.sources.clevertap.newest import Key, Newest, last_seen
from millrace.sources.clevertap.planner import Unit
from millrace.sources.clevertap.rows import JSON_TYPE, Shaped
from millrace.sources.clevertap.sweep import Sweep, Walk

PROFILES = "profiles"

_TEXTS = ("identity", "objectId", "email", "name", "phone")
_JSONS = ("all_identities", "profileData", "events", "platformInfo")
SCHEMA = pa.schema(
    [
        *[pa.field(name, pa.string()) for name in _TEXTS],
        *[pa.field(name, JSON_TYPE) for name in (*_JSONS, "other")],
        columns.ours(columns.ID, pa.string()),
    ]
)

_NULL = Raw(b"null")
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_devices = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_text = msgspec.json.Decoder(str).decode


class PeopleSweep(Sweep):
    """One pass over units, of which each person goes on once, and again when they changed meanwhile: what was said of
    them earlier does not take the place of what was said later, whichever arrives first."""

    api: Walked = "profiles"
    _people: Known | None = None
    _newest: Newest | None = None

    def _job(self, unit: Unit) -> Callable[[], Iterator[Page]]:
        walk, newest = super()._job(unit), self._current

        def begun() -> Iterator[Page]:
            newest.begins(unit)
            yield from walk()

        return begun

    @property
    def _current(self) -> Newest:
        self._newest = self._newest or Newest()
        return self._newest

    def _begin(self, unit: Unit) -> Walk:
        del unit
        if self._people is None:
            self._people = records.known_of(self._memory, self._mode)
        return Walk(self._people)

    def _page(self, unit: Unit, walk: Walk, page: Page) -> Iterator[Item]:
        walk.pages += 1
        walk.upto = page.upto
        found = rows_of(page.answer.raws())
        self.tally.read += len(found.high) + len(found.rejects)
        now = self._context.clock.now()
        current = self._current.current(unit, page.answer.asked, page.answer.answered, _people(found))
        told = yield from records.judged(found, walk.known, self._mode, PROFILES, now, by=unit.event, current=current)
        if told.marks or told.counts:
            yield self._checkpoint(told.marks, told.counts)

    def _end(self, unit: Unit, walk: Walk | None, end: Ended) -> list[Mark]:
        self._current.ends(unit)
        return super()._end(unit, walk, end)

    def _compacted(self, unit: Unit, walk: Walk) -> list[Mark]:
        """Nobody else reads them once the last unit is at its end."""
        del unit
        return records.compacted(walk.known) if self.over else []


def _people(found: Shaped) -> Iterator[tuple[Key, int]]:
    """Of each row what the person is told by, and when they were last seen."""
    said = (found.rows.column(name).storage.to_pylist() for name in ("events", "platformInfo"))
    for high, low, events, devices in zip(found.high.tolist(), found.low.tolist(), *said, strict=True):
        yield (high, low), last_seen(events, devices)


def rows_of(raws: Sequence[bytes]) -> Shaped:
    """The people as rows, and rejects for what cannot be one."""
    keyless = ("MISSING_OBJECT_ID", "the record has neither identity nor objectId")
    found = records.read(raws, _row, _key, what="person", keyless=keyless)
    rows = [row | {columns.ID: key.hex()} for row, key in zip(found.rows, found.keys, strict=True)]
    batch = pa.RecordBatch.from_arrays([_column(field, rows) for field in SCHEMA], schema=SCHEMA)
    return records.shaped(batch, found.keys, found.states, found.rejects)


def _row(raw: bytes) -> dict[str, str | None]:
    members = _members(raw)
    device = members.pop("objectId", _NULL)
    if not _said(device):
        device = _first_device(members.get("platformInfo", _NULL))
    row = {name: _told(members.pop(name, _NULL)) for name in _TEXTS if name != "objectId"}
    row |= {name: _json(members.pop(name, _NULL)) for name in _JSONS}
    row["objectId"] = _told(device)
    row["profileData"] = row["profileData"] or "{}"
    row["other"] = msgspec.json.encode(members).decode() if members else None
    return row


def _first_device(info: Raw) -> Raw:
    """The objectId of the first device that has one."""
    devices: list[dict[str, Raw]] = []
    with suppress(msgspec.ValidationError):  # it is something else than a list of devices
        devices = _devices(info)
    return next((each["objectId"] for each in devices if _said(each.get("objectId", _NULL))), _NULL)


def _said(raw: Raw) -> bool:
    return bytes(raw) not in (b"null", b'""')


def _told(raw: Raw) -> str | None:
    """The text of a string; of anything else but null its JSON."""
    if bytes(raw) == b"null":
        return None
    return _text(raw) if bytes(raw)[:1] == b'"' else bytes(raw).decode()


def _json(raw: Raw) -> str | None:
    return None if bytes(raw) == b"null" else bytes(raw).decode()


def _key(row: dict[str, str | None]) -> bytes | None:
    """32 bytes that say which person it is."""
    for name in ("identity", "objectId"):
        if value := row[name]:
            return hashlib.sha256(msgspec.json.encode({name: value})).digest()
    return None


def _column(field: pa.Field, rows: Sequence[dict[str, str | None]]) -> pa.Array:
    texts = pa.array([row[field.name] for row in rows], pa.string())
    return pa.ExtensionArray.from_storage(JSON_TYPE, texts) if field.type == JSON_TYPE else texts
