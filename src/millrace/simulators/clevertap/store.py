"""One account's rows and profiles: generated ones and added ones behind the same questions."""

from __future__ import annotations

import hashlib
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap.catalog import CATALOG, EXPORTABLE, FIRST, LAST, EventType
from millrace.simulators.clevertap.config import Account, Settings
from millrace.simulators.clevertap.generator import Generator
from millrace.simulators.clevertap.jsontext import JSON, dumps, event_id, exact
from millrace.simulators.clevertap.people import People, shard_of
from millrace.simulators.clevertap.rows import NO_ROWS, Rows, Shelf

APP_FIELDS = ("os_version", "app_version", "make", "model", "sdk_version", "browser")

Status = Literal["active", "discarded", "unknown"]
Keep = Callable[[int, bytes, int], bool]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a reader may see: rows visible by ``at`` (epoch seconds) and inserted up to number ``added``."""

    at: int
    added: int


@dataclass(frozen=True, slots=True)
class Flags:
    app: bool = True
    events: bool = True
    profile: bool = True


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One event as the account holds it. Props are JSON text exactly as served.

    ``copies`` is how often a walk serves it, ``genuine`` how many of these are events of their own (twins); the rest
    are duplicates that the API makes. ``day`` is the local date under which it is served.
    """

    event_name: str
    objectId: str
    ts: int
    event_props: str
    session_props: str | None
    copies: int
    genuine: int
    hevo_id: str
    visible_at: datetime
    day: date


class Project:
    """An account at work. All methods may be called from several threads."""

    def __init__(self, settings: Settings, account: Account, *, now: datetime) -> None:
        self.account = account
        self.zone = ZoneInfo(account.timezone)
        self.first_day = now.astimezone(self.zone).toordinal() - account.days
        self.shards = settings.shards
        self._lock = threading.RLock()
        self.people = People(
            seed=settings.seed,
            account=account.id,
            users=account.users,
            days=account.days,
            first_day=self.first_day,
            shards=settings.shards,
        )
        self.generator = Generator(settings, account, self.people, first_day=self.first_day)
        self._shelf = Shelf(self.generator.unit, memory_bytes=settings.memory_mb * 1024 * 1024)
        self._catalog: dict[str, EventType] = {e.name: e for e in CATALOG} if account.users else {}
        if not settings.drift.enabled:
            self._catalog = {name: replace(e, from_day=FIRST, until_day=LAST) for name, e in self._catalog.items()}
        for name in account.events:
            self._catalog.setdefault(name, EventType(name, ()))
        self._extra: dict[tuple[int, int, str], Rows] = {}
        self._made: dict[str, int] = {}
        self._made_ids: list[str] = []
        self._overlay: dict[int, dict[str, JSON]] = {}
        self._profiles: dict[tuple[str, Flags], Profiles] = {}
        self.added = 0

    def close(self) -> None:
        self._shelf.close()

    def local_day(self, epoch_s: int) -> int:
        """The ordinal of the local date at that moment."""
        return datetime.fromtimestamp(epoch_s, self.zone).toordinal()

    def event_types(self, epoch_s: int) -> list[tuple[EventType, Status]]:
        """What the schema page lists at that moment: names not yet seen are not there, discarded ones are."""
        since = self.local_day(epoch_s) - self.first_day
        with self._lock:
            return [
                (event, "discarded" if since >= event.until_day else "active")
                for event in self._catalog.values()
                if since >= event.from_day
            ]

    def status(self, name: str, epoch_s: int) -> Status:
        event = self._catalog.get(name)
        since = self.local_day(epoch_s) - self.first_day
        if event is None or since < event.from_day:
            return "unknown"
        return "discarded" if since >= event.until_day else "active"

    def add(
        self,
        event: str,
        object_id: str,
        *,
        ts: str,
        at: int,
        day: int,
        visible_at: int,
        event_props: JSON = None,
        session_props: JSON = None,
        copies: int = 1,
    ) -> None:
        """The account holds one more event; open walks do not see it. ``ts`` is the JSON that is served as ts."""
        tail = b',"ts":%b,"event_props":%b' % (ts.encode(), dumps({} if event_props is None else event_props))
        if session_props is not None:
            tail += b',"session_props":' + dumps(session_props)
        tail += b"}"
        with self._lock:
            self._catalog.setdefault(event, EventType(event, ()))
            device = self._device(object_id)
            rows = self._extra.setdefault((shard_of(object_id, self.shards), day, event), Rows())
            self.added += 1
            for copy in range(copies):
                rows.append(device, at, visible_at, tail, copy=copy > 0, added=self.added)

    def add_event(self, event: str, object_id: str, *, at: int, visible_at: int, event_props: JSON, now_s: int) -> None:
        """The account holds an event of that moment (epoch seconds); one in the future is filed under today."""
        ts = datetime.fromtimestamp(at, self.zone).strftime("%Y%m%d%H%M%S")
        day = min(self.local_day(at), self.local_day(now_s))
        self.add(event, object_id, ts=ts, at=at, day=day, visible_at=visible_at, event_props=event_props)

    def snapshot(self, epoch_s: int) -> Snapshot:
        with self._lock:
            return Snapshot(epoch_s, self.added)

    def scan(
        self, event: str, shard: int, day: int, start: int, quota: int, seen: Snapshot, keep: Keep | None = None
    ) -> tuple[list[tuple[int, bytes]], int]:
        """Up to ``quota`` visible rows (device, tail) from offset ``start``, and the offset after the last one."""
        rows = self._shelf.rows(shard, day, event) if len(self.people) else NO_ROWS
        extra = self._extra.get((shard, day, event), NO_ROWS)
        found: list[tuple[int, bytes]] = []
        if start < len(rows):
            if keep is None and rows.settled_at <= seen.at:
                stop = min(start + quota, len(rows))
                found = list(zip(rows.device[start:stop], rows.tail[start:stop], strict=True))
            else:
                found, stop = _sift(rows, start, quota, seen, keep)
            start = stop
        if start >= len(rows) and len(found) < quota and len(extra):
            more, stop = _sift(extra, start - len(rows), quota - len(found), seen, keep)
            found += more
            start = len(rows) + stop
        return found, start

    def rows(
        self, days: Iterable[int], seen: Snapshot, *, event: str | None = None, shards: Iterable[int] | None = None
    ) -> Iterator[tuple[str, int, Rows, int]]:
        """Every visible row of these days as (event, day, rows, index), one unit at a time in memory."""
        wanted = list(range(self.shards) if shards is None else shards)
        for day in days:
            for shard in wanted:
                for name in self.names(shard, day) if event is None else (event,):
                    for rows in (
                        self._shelf.rows(shard, day, name) if len(self.people) else NO_ROWS,
                        self._extra.get((shard, day, name), NO_ROWS),
                    ):
                        for i in range(len(rows)):
                            if rows.visible[i] <= seen.at and rows.added[i] <= seen.added:
                                yield name, day, rows, i

    def names(self, shard: int, day: int) -> list[str]:
        """Names of the events that have rows in a unit, sorted."""
        names = set(self._shelf.names(shard, day)) if len(self.people) else set[str]()
        with self._lock:
            names.update(name for s, d, name in self._extra if s == shard and d == day)
        return sorted(names)

    def days(self, epoch_s: int) -> range:
        """The ordinals of all local days that can hold rows by then."""
        last = self.local_day(epoch_s)
        with self._lock:
            extra = [day for _, day, _ in self._extra]
        first = self.first_day if len(self.people) else last
        return range(min([first, *extra]), max([last, *extra]) + 1)

    def ledger(self, days: Iterable[int], seen: Snapshot, *, event: str | None = None) -> Iterator[LedgerRow]:
        """The truth: every event of these days with its copies, as `event_id` names it."""
        for day in days:
            for shard in range(self.shards):
                for name in self.names(shard, day) if event is None else (event,):
                    alike: dict[tuple[int, bytes], list[int]] = {}
                    for _, _, rows, i in self.rows((day,), seen, event=name, shards=(shard,)):
                        counts = alike.setdefault((rows.device[i], rows.tail[i]), [0, 0, rows.visible[i]])
                        counts[0] += 1
                        counts[1] += not rows.copy[i]
                        counts[2] = min(counts[2], rows.visible[i])
                    for (device, tail), (copies, genuine, visible) in alike.items():
                        yield self._ledger_row(name, device, tail, copies, genuine, visible, day)

    def _ledger_row(
        self, name: str, device: int, tail: bytes, copies: int, genuine: int, visible: int, day: int
    ) -> LedgerRow:
        text = tail.decode()
        ts, end = exact(text, len(',"ts":'))
        start = end + len(',"event_props":')
        props, end = exact(text, start)
        props_text, session, session_text = text[start:end], None, None
        if text[end] == ",":
            start = end + len(',"session_props":')
            session, end = exact(text, start)
            session_text = text[start:end]
        object_id = self.object_id(device)
        return LedgerRow(
            name,
            object_id,
            int(ts),
            props_text,
            session_text,
            copies,
            genuine,
            event_id(name, object_id, ts, props, session),
            datetime.fromtimestamp(visible, UTC),
            date.fromordinal(day),
        )

    def object_id(self, device: int) -> str:
        known = len(self.people)
        return self.people.object_id(device) if device < known else self._made_ids[device - known]

    def find(self, object_id: str) -> int | None:
        """The device number of an objectId, generated or added."""
        number = self.people.number(object_id) if len(self.people) else None
        return self._made.get(object_id) if number is None else number

    def set_profile(self, object_id: str, profile: Mapping[str, JSON], *, merge: bool = False) -> None:
        """From now on reads show these fields; with ``merge``, over those that are there (`profileData` by key)."""
        with self._lock:
            device = self._device(object_id)
            new = dict(profile)
            if merge:
                old = self._overlay.get(device, {})
                data = old.get("profileData", {}) | new.get("profileData", {})
                new = old | new | ({"profileData": data} if data else {})
            self._overlay[device] = new
            for cache in self._profiles.values():
                cache.pop(device, None)

    def device_of_identity(self, identity: str) -> int | None:
        """The (first) device of a person, by identity."""
        with self._lock:
            for device, profile in self._overlay.items():
                if profile.get("identity") == identity:
                    return device
        user = self.people.user_of_identity(identity)
        return None if user is None else self.people.devices_of(user)[0]

    def device_of_email(self, email: str) -> int | None:
        with self._lock:
            for device, profile in self._overlay.items():
                if profile.get("email") == email:
                    return device
        user = self.people.user_of_email(email)
        return None if user is None else self.people.devices_of(user)[0]

    def object_id_for_identity(self, identity: str) -> str:
        """The device to which a server-side upload for this identity goes; a made-up one for a new person."""
        device = self.device_of_identity(identity)
        if device is not None:
            return self.object_id(device)
        return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()

    def person(self, device: int) -> int | str:
        """What all devices of one person have in common."""
        if device < len(self.people):
            return self.people.user_of(device)
        return self._overlay.get(device, {}).get("identity") or self._made_ids[device - len(self.people)]

    def profile(self, device: int, epoch_s: int, flags: Flags) -> dict[str, JSON]:
        """The profile of a device as a read at this moment shows it."""
        day = self.local_day(epoch_s)
        overlay = self._overlay.get(device, {})
        if device < len(self.people):
            fields = self.people.fields(device, day)
            if flags.app:
                fields |= self.people.app_fields(device, self.generator.version(day))
            if flags.profile:
                fields["profileData"] = self.people.custom(device, day)
            if flags.events:
                fields["events"] = self.people.summary(device, day, EXPORTABLE)
        else:
            object_id = self._made_ids[device - len(self.people)]
            platform = "Android" if object_id.startswith("__") else "iOS" if object_id.startswith("-") else "Web"
            fields = {"objectId": object_id, "platform": platform}
        hidden = (() if flags.app else APP_FIELDS) + (() if flags.profile else ("profileData",))
        hidden += () if flags.events else ("events",)
        shown = {name: value for name, value in overlay.items() if name not in hidden}
        if "profileData" in shown and "profileData" in fields:
            shown["profileData"] = fields["profileData"] | shown["profileData"]
        return fields | shown

    def profiles(self, api: str, flags: Flags, epoch_s: int) -> Profiles:
        """Encoded profiles as of this hour: the beginning of a record of ``api``, by device number."""
        hour = epoch_s // 3600
        with self._lock:
            cache = self._profiles.get((api, flags))
            if cache is None or cache.hour != hour:
                make = self._record_start if api == "events" else self._person_record
                cache = Profiles(hour, lambda device: make(device, epoch_s, flags))
                self._profiles[api, flags] = cache
            elif len(cache) > MOST_PROFILES:
                cache.clear()
            return cache

    def _record_start(self, device: int, epoch_s: int, flags: Flags) -> bytes:
        return b'{"profile":' + dumps(self.profile(device, epoch_s, flags))

    def _person_record(self, device: int, epoch_s: int, flags: Flags) -> bytes:
        return dumps(self.person_record(device, epoch_s, flags))

    def person_record(self, device: int, epoch_s: int, flags: Flags) -> dict[str, JSON]:
        """The record of the profile APIs: a person with all of its devices."""
        one = self.profile(device, epoch_s, Flags(app=True, events=flags.events, profile=flags.profile))
        record = {k: one[k] for k in ("identity", "email", "name", "phone", "profileData", "events") if k in one}
        devices = self.people.devices_of(self.people.user_of(device)) if device < len(self.people) else [device]
        platforms: list[dict[str, JSON]] = []
        for each in devices:
            fields = self.profile(each, epoch_s, Flags())
            kept = ("platform", *(APP_FIELDS[:4] if flags.app else ()), "push_token", "objectId")
            platforms.append({k: fields[k] for k in kept if k in fields} | {"ls": epoch_s // 86400 * 86400})
        return record | {"platformInfo": platforms}

    def _device(self, object_id: str) -> int:
        number = self.find(object_id)
        if number is None:
            number = self._made[object_id] = len(self.people) + len(self._made_ids)
            self._made_ids.append(object_id)
        return number


MOST_PROFILES = 60_000


class Profiles(dict[int, bytes]):
    """Encoded profiles by device, rendered at first use, good for one hour of the clock."""

    def __init__(self, hour: int, make: Callable[[int], bytes]) -> None:
        super().__init__()
        self.hour = hour
        self._make = make

    def __missing__(self, device: int) -> bytes:
        made = self[device] = self._make(device)
        return made


def _sift(rows: Rows, start: int, quota: int, seen: Snapshot, keep: Keep | None) -> tuple[list[tuple[int, bytes]], int]:
    found: list[tuple[int, bytes]] = []
    visible: array[int] = rows.visible
    for i in range(start, len(rows)):
        if visible[i] > seen.at or rows.added[i] > seen.added:
            continue
        if keep is not None and not keep(rows.device[i], rows.tail[i], rows.at[i]):
            continue
        if len(found) == quota:
            return found, i
        found.append((rows.device[i], rows.tail[i]))
    return found, len(rows)
