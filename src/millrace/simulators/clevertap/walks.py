"""Walks over the rows of one event and a range of days: which rows each page holds, once and for all."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import field, replace

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap.chance import fraction, key
from millrace.simulators.clevertap.store import Flags, Keep, Project, Snapshot

MOST_WALKS = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a shard stands: the day by its position in the range, and the offset among that day's rows."""

    day: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A page: it starts at these places (one a shard) and, once served, stopped at those."""

    start: tuple[Place, ...]
    limit: int | None = None
    stop: tuple[Place, ...] | None = None


@dataclass(slots=True)
class Walk:
    """One opened cursor with all of its pages. ``project`` is None for an account that nobody knows."""

    number: int
    account: str
    api: str
    event: str
    query_hash: str
    project: Project | None
    days: range
    batch: int
    flags: Flags
    seen: Snapshot
    keep: Keep | None
    ttl_s: int
    tail_page: bool
    opened_at: int
    used_at: int
    dead: bool = False
    pages: list[Span] = field(default_factory=list[Span])
    cursors: dict[int, str] = field(default_factory=dict[int, str])
    waits: dict[int, int] = field(default_factory=dict[int, int])
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Page:
    """Records of a page as JSON, how many came of which day, and whether rows or a bare page follow."""

    records: list[bytes]
    by_day: tuple[tuple[int, int], ...]
    more: bool


class Walks:
    """The walks that are open, by number. The oldest are forgotten beyond a limit, as if they had expired."""

    def __init__(self, *, seed: int, shards: int) -> None:
        self._seed = seed
        self._shards = shards
        self._lock = threading.Lock()
        self._walks: OrderedDict[int, Walk] = OrderedDict()
        self._opened: dict[str, int] = {}
        self._count = 0

    def open(
        self,
        *,
        account: str,
        api: str,
        event: str,
        query_hash: str,
        project: Project | None,
        days: range,
        batch: int,
        flags: Flags,
        seen: Snapshot,
        keep: Keep | None,
        ttl_s: int,
        now_s: int,
    ) -> Walk:
        with self._lock:
            self._count += 1
            times = self._opened[query_hash] = self._opened.get(query_hash, 0) + 1
            walk = Walk(
                number=self._count,
                account=account,
                api=api,
                event=event,
                query_hash=query_hash,
                project=project,
                days=days,
                batch=batch,
                flags=flags,
                seen=seen,
                keep=keep,
                ttl_s=ttl_s,
                tail_page=fraction(key(self._seed, "tail", query_hash, times)) < 0.5,
                opened_at=now_s,
                used_at=now_s,
                pages=[Span((Place(),) * self._shards)],
            )
            self._walks[walk.number] = walk
            while len(self._walks) > MOST_WALKS:
                self._walks.popitem(last=False)
            return walk

    def find(self, number: int) -> Walk | None:
        return self._walks.get(number)

    def kill(self, account: str | None = None) -> None:
        with self._lock:
            for walk in self._walks.values():
                walk.dead = walk.dead or account is None or walk.account == account


def serve(walk: Walk, number: int, now_s: int) -> Page:
    """Page ``number`` (from 1) of a walk: always the same rows, with profiles as they are now.

    Raises IndexError for a page that the walk has not come to.
    """
    project = walk.project
    if project is None:
        return Page([], (), False)
    with walk.lock:
        span = walk.pages[number - 1]
        records, by_day, stop = _gather(walk, project, span, now_s)
        walk.pages[number - 1] = replace(span, stop=stop)
        more = number < len(walk.pages) or _anything_left(walk, project, stop)
        if not more and walk.tail_page and records:
            more = True
        if more and number == len(walk.pages):
            walk.pages.append(Span(stop))
        return Page(records, tuple(sorted(by_day.items())), more)


def shorten(walk: Walk, number: int, records: int) -> None:
    """The page, not served before, will hold at most so many records; the rest follow later."""
    with walk.lock:
        if walk.pages[number - 1].stop is None:
            walk.pages[number - 1] = replace(walk.pages[number - 1], limit=records)


def repeat(walk: Walk, number: int) -> None:
    """The page, not served before, will repeat the one before it; its own rows follow on the next."""
    with walk.lock:
        if number > 1 and walk.pages[number - 1].stop is None:
            walk.pages.insert(number - 1, walk.pages[number - 2])


def lose(walk: Walk, number: int, now_s: int) -> None:
    """The rows of the page, not served before, will never be served; the page holds those after them."""
    project = walk.project
    with walk.lock:
        span = walk.pages[number - 1]
        if project is not None and span.stop is None:
            walk.pages[number - 1] = Span(_gather(walk, project, span, now_s)[2])


def _gather(
    walk: Walk, project: Project, span: Span, now_s: int
) -> tuple[list[bytes], dict[int, int], tuple[Place, ...]]:
    """Records of a page and where it stops: an equal part of the batch from each shard, days in order."""
    profiles = project.profiles(walk.api, walk.flags, now_s)
    records: list[bytes] = []
    by_day: dict[int, int] = {}
    stops: list[Place] = []
    left = walk.batch if span.limit is None else span.limit
    for shard, place in enumerate(span.start):
        quota = min(walk.batch // len(span.start), left)
        while quota and place.day < len(walk.days):
            day = walk.days[place.day]
            found, offset = project.scan(walk.event, shard, day, place.offset, quota, walk.seen, walk.keep)
            if walk.api == "events":
                records += [profiles[device] + tail for device, tail in found]
            else:
                records += [profiles[device] for device, _ in found]
            left -= len(found)
            if found:
                by_day[day] = by_day.get(day, 0) + len(found)
            if len(found) == quota:
                place = Place(place.day, offset)
                break
            quota -= len(found)
            place = Place(place.day + 1, 0)
        stops.append(place)
    return records, by_day, tuple(stops)


def _anything_left(walk: Walk, project: Project, places: tuple[Place, ...]) -> bool:
    for shard, place in enumerate(places):
        offset = place.offset
        for day in walk.days[place.day :]:
            if project.scan(walk.event, shard, day, offset, 1, walk.seen, walk.keep)[0]:
                return True
            offset = 0
    return False
