"""When a pipeline is due: an interval or a cron expression. Spans are written 30m, 6h, 1d."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

SPAN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|sec|m|min|h|hr|hours?|d|days?|w|weeks?)\s*")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SHORTEST_S = 60
LONGEST_S = 36525 * 86400

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, 1)}
WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every ``every_s`` seconds, or at the times of ``cron`` in ``timezone``; neither: only on demand.

    ``at``: a time of day, hh:mm in UTC, from which an interval of 24 hours counts.
    """

    every_s: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    at: str | None = None


def to_json(schedule: Schedule) -> JSON:
    """The schedule as it is saved; None for on demand."""
    if schedule.cron:
        return {"cron": schedule.cron, "timezone": schedule.timezone}
    if not schedule.every_s:
        return None
    return {"every_s": schedule.every_s} | ({"at": schedule.at} if schedule.at else {})


def from_json(saved: JSON) -> Schedule:
    """The schedule that `to_json` saved."""
    return Schedule(**(saved or {}))


def told(schedule: Schedule) -> str:
    """`every 6h`, `cron 0 */6 * * * (UTC)`, `on demand`."""
    if schedule.cron:
        return f"cron {schedule.cron} ({schedule.timezone})"
    if not schedule.every_s:
        return "on demand"
    return f"every {spelled(schedule.every_s)}" + (f" at {schedule.at} UTC" if schedule.at else "")


class Frequent(Protocol):
    """What says how often it may be read (`millrace.connect.source.Source` does)."""

    def check_frequency(self, every_s: int, *, legacy: bool = False) -> None: ...


def check(schedule: Schedule, source: Frequent, *, legacy: bool) -> None:
    """Raises ConfigError when the schedule is none, or the source may not be read so often or so seldom."""
    zone(schedule.timezone)
    if schedule.every_s is not None:
        source.check_frequency(often_enough(schedule.every_s), legacy=legacy)
    if schedule.at is not None:
        start_of_day(schedule.at, schedule.every_s)
    if schedule.cron is not None:
        gap_s = cron(schedule.cron).shortest_gap_s()
        assert gap_s is not None
        # A source's intervals are whole hours, at most 24; what lies between the times of a cron is no matter.
        source.check_frequency(gap_s if gap_s <= 3600 else min(gap_s // 3600, 24) * 3600, legacy=legacy)


def start_of_day(text: str, every_s: int | None) -> str:
    """The time of day hh:mm. Raises ConfigError where it is none, or the interval is not 24 hours."""
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text) is None:
        raise ConfigError(f"{text!r} is not a time of day", hint="Write hours and minutes in UTC: 03:30.", path="at")
    if every_s != SECONDS["d"]:
        raise ConfigError("a start time goes only with an interval of 24 hours", hint="Write every: 1d.", path="at")
    return text


def seconds(text: str) -> int:
    """The seconds of a span like 30m, 6h or 1d. Raises ConfigError when it is none, none in whole seconds, or longer
    than a hundred years."""
    found = SPAN.fullmatch(text.lower())
    span = Decimal(found[1]) * SECONDS[found[2][0]] if found else Decimal(0)
    if span > LONGEST_S:
        raise _too_long()
    if not span or span != int(span):
        raise ConfigError(
            f"{text!r} is not a duration", hint="Write a number and a unit: 30m, 6h, 1d.", code="bad_duration"
        )
    return int(span)


def often_enough(every_s: int) -> int:
    """``every_s``, unless it is below a minute, the shortest interval of any pipeline, or above a hundred years: then
    ConfigError."""
    if every_s > LONGEST_S:
        raise _too_long()
    if every_s < SHORTEST_S:
        raise ConfigError(
            f"every {every_s} seconds is too often", hint="The shortest interval is 1m.", code="too_often"
        )
    return every_s


def _too_long() -> ConfigError:
    return ConfigError(
        "the duration is longer than a hundred years",
        hint="Write a shorter one: 30m, 6h, 1d. A pipeline without a schedule runs on demand.",
        code="bad_duration",
    )


def spelled(span_s: int) -> str:
    """The shortest text that `seconds` reads back as ``span_s``."""
    for unit in ("d", "h", "m"):
        if span_s % SECONDS[unit] == 0:
            return f"{span_s // SECONDS[unit]}{unit}"
    return f"{span_s}s"


@dataclass(frozen=True, slots=True)
class Cron:
    """The minutes, hours, days, months and weekdays (0 is Sunday) of an expression."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def matches(self, at: datetime) -> bool:
        """The local time ``at`` is one of the expression's. As in cron, two restricted day fields mean either."""
        return at.minute in self.minutes and at.hour in self.hours and self.falls_on(at)

    def falls_on(self, at: date) -> bool:
        """Some time of the day ``at`` is one of the expression's."""
        day, weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        today = (day or weekday) if not (self.any_day or self.any_weekday) else (day and weekday)
        return at.month in self.months and today

    def shortest_gap_s(self) -> int | None:
        """Seconds between the two of its times that are nearest to one another; None when it has no time at all.

        Clocks that are put forward or back are not looked at.
        """
        times = sorted(hour * 60 + minute for hour in self.hours for minute in self.minutes)
        days = list(self._days())
        if not days:
            return None
        gaps = [later - earlier for earlier, later in pairwise(times)]
        apart = min((later - earlier).days for earlier, later in pairwise(days))
        return 60 * min([*gaps, apart * 1440 - times[-1] + times[0]])

    def ever(self) -> bool:
        """It has a time at all."""
        return any(True for _ in self._days())

    def _days(self) -> Iterator[date]:
        # Eight years have every kind of year, and the 29th of February twice.
        return (day for number in range(8 * 366) if self.falls_on(day := date(2024, 1, 1) + timedelta(days=number)))


def cron(text: str) -> Cron:
    """The five fields of a cron expression. Raises ConfigError naming the field that is wrong."""
    parts = text.lower().split()
    if len(parts) != len(FIELDS):
        raise ConfigError(
            f"{text!r} has {len(parts)} fields; a cron expression has five",
            hint="Write minute, hour, day of month, month, day of week: '0 */6 * * *' is every six hours.",
            code="bad_cron",
        )
    minutes, hours, days, months, weekdays = (_field(part, at, text) for at, part in enumerate(parts))
    found = Cron(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        any_day=parts[2].startswith("*"),
        any_weekday=parts[4].startswith("*"),
    )
    if not found.ever():
        raise ConfigError(
            f"the days of the cron expression {text!r} never come",
            hint="Choose a day that the month has.",
            code="bad_cron",
        )
    return found


def _field(part: str, at: int, whole: str) -> frozenset[int]:
    low, high = RANGES[at]
    names = MONTHS if at == 3 else WEEKDAYS if at == 4 else {}
    values: set[int] = set()
    for item in part.split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        try:
            start = low if first == "*" else names[first] if first in names else int(first)
            if dash:
                end = names[last] if last in names else int(last)
            else:
                end = high if first == "*" or step else start
            stride = int(step) if step else 1
        except ValueError:
            start, end, stride = low, low, 0
        if stride < 1 or (dash and first == "*") or not low <= start <= end <= high:
            raise ConfigError(
                f"the {FIELDS[at]} {item!r} is not possible in the cron expression {whole!r}",
                hint=f"It lies between {low} and {high}; lists (1,2), ranges (1-5) and steps (*/6) work.",
                code="bad_cron",
            )
        values.update(range(start, end + 1, stride))
    return frozenset(values)


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ConfigError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as gone:
        raise ConfigError(
            f"there is no time zone {name!r}",
            hint="Use an IANA name: UTC, Asia/Kolkata, Europe/Berlin.",
            code="bad_zone",
        ) from gone
