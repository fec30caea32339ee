"""The generated history of an account: the rows of one shard and one local day, from the seed alone.

Any unit can be made at any time in any order and comes out the same; nothing here looks at a clock.
"""

from __future__ import annotations

import math
import random
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from millrace.simulators.clevertap import scenes
from millrace.simulators.clevertap.chance import fraction, key
from millrace.simulators.clevertap.config import Account, Settings
from millrace.simulators.clevertap.people import People
from millrace.simulators.clevertap.rows import Rows, Unit

WEEK = (0.9, 0.85, 0.9, 0.95, 1.15, 1.3, 1.05)
# Hours of the day as often as sessions start in them: quiet nights, a noon peak, a long evening.
HOURS = [
    h
    for h, weight in enumerate((2, 1, 1, 1, 1, 2, 3, 5, 6, 6, 6, 7, 9, 8, 6, 6, 7, 8, 10, 12, 12, 10, 7, 4))
    for _ in range(weight)
]
RELEASE_DAYS = 14
YEAR_S = 365 * 86400


class Generator:
    def __init__(self, settings: Settings, account: Account, people: People, *, first_day: int) -> None:
        self.people = people
        self.first_day = first_day
        self._account = account
        self._settings = settings
        self._zone = ZoneInfo(account.timezone)
        self._key = key(settings.seed, account.id, "rows")

    def version(self, day: int) -> str:
        """The app's version on a local day; a new one every fortnight."""
        return f"6.{max(0, day - self.first_day) // RELEASE_DAYS}.0"

    def unit(self, shard: int, day: int) -> Unit:
        """All rows of a shard that are filed under a local day (an ordinal), by event."""
        if day < self.first_day:
            return {}
        scene = Day(self._settings, self._account, self._zone, day, day - self.first_day, self.version(day))
        people, base = self.people, self._key ^ (day << 24)
        expected = people.appointments.get(day, frozenset[int]())
        weight = self._account.sessions_per_day * WEEK[date.fromordinal(day).weekday()]
        for device in people.by_shard[shard]:
            user = people.user_of(device)
            draw = fraction(base + device)
            installed = people.install_day(user)
            if installed > day:
                continue
            sessions = 1 if installed == day or user in expected else 0
            mean = people.activity(user) * weight
            none = math.exp(-mean)
            if draw >= none:
                sessions = max(sessions, 1 if draw < none * (1 + mean) else 2 if draw < 0.97 else 3)
            quiet = sessions == 0
            if quiet and not 0.4 < draw < 0.41:
                continue
            scene.rng.seed(base ^ (device << 1))
            scene.enter(people, device, first=installed == day)
            if quiet:
                scenes.without_session(scene)
            for number in range(sessions):
                scenes.session(scene, number)
        return scene.unit


class Day:
    """One local day as it is being written: whose turn it is, and the rows so far."""

    def __init__(
        self, settings: Settings, account: Account, zone: ZoneInfo, day: int, since: int, version: str
    ) -> None:
        self.unit: Unit = {}
        self.rng = random.Random()  # noqa: S311 - data, not secrets
        self.day, self.since, self.version = day, since, version
        self.drifting = settings.drift.enabled
        self.profile = account.profile
        self.account_id = account.id
        self.is_release = since > 0 and since % RELEASE_DAYS == 0
        self._late = settings.late
        self._doubled = settings.duplicates.probability
        self._zone = zone
        start = datetime.combine(date.fromordinal(day), time(), zone)
        end = datetime.combine(date.fromordinal(day) + timedelta(days=1), time(), zone)
        self.start = int(start.timestamp())
        self.length_s = int(end.timestamp()) - self.start
        self._even = start.utcoffset() == end.utcoffset()
        self._date = int(date.fromordinal(day).strftime("%Y%m%d")) * 1_000_000
        self.people: People
        self.device = self.user = 0
        self.is_app = self.first = False
        self.common = b""

    def enter(self, people: People, device: int, *, first: bool) -> None:
        """From here on rows are this device's."""
        self.people, self.device, self.first = people, device, first
        self.user = people.user_of(device)
        self.is_app = people.platform(device) != "Web"
        if not self.is_app:
            self.common = b'"CT Source":"Web"'
        elif self.drifting and self.since % 9 == 4:
            self.common = b'"CT Source":"Mobile","CT App Version":%d' % (60000 + self.since // RELEASE_DAYS * 100)
        else:
            self.common = b'"CT Source":"Mobile","CT App Version":"%s"' % self.version.encode()

    def moment(self) -> int:
        """A second of this day, by its daily curve; now and then exactly its first or its last."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.006:
            return 0 if draw < 0.003 else self.length_s - 1
        hour = HOURS[int(rng.random() * len(HOURS))]
        second = hour * 3600 + int(rng.random() * 3600)
        if not self._even and (hour >= 3 or (hour == 2 and rng.random() < 0.5)):
            # The clocks of nearly all zones change before three; what comes later keeps its place on the wall.
            second = max(0, second + self.length_s - 86400)
        return min(second, self.length_s - 1)

    def put(
        self, event: str, second: int, props: bytes, session: bytes = b"", *, after_s: int = 0, ahead_s: int = 0
    ) -> None:
        """A row of the device whose turn it is, ``second`` seconds into the day.

        It can be seen ``after_s`` later, or later still when it is one of the late ones; ``ahead_s`` is by how much the
        device's clock is ahead: such a row is filed under the day on which it came.
        """
        rng = self.rng
        second = min(second, self.length_s - 1)
        at = self.start + second
        if self._even and not ahead_s:
            ts = self._date + second // 3600 * 10000 + second % 3600 // 60 * 100 + second % 60
        else:
            ts = int(datetime.fromtimestamp(at + ahead_s, self._zone).strftime("%Y%m%d%H%M%S"))
        visible = at + after_s
        draw = rng.random()
        if draw < self._late.probability:
            visible += int(rng.random() * self._late.max_days * 86400)
        if session:
            tail = b',"ts":%d,"event_props":{%b},"session_props":{%b}}' % (ts, props, session[1:])
        else:
            tail = b',"ts":%d,"event_props":{%b}}' % (ts, props)
        rows = self.unit.get(event)
        if rows is None:
            rows = self.unit[event] = Rows()
        rows.append(self.device, at + ahead_s, visible, tail)
        if rng.random() < self._doubled:
            rows.append(self.device, at + ahead_s, visible, tail, copy=True)
