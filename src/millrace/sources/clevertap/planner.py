"""What is to be read: which days of which events, in which order. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from millrace.connect.frequency import DAY_S, HOUR_S, MINUTE_S, Frequency
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

Days = tuple[date, date]

# Of the reference's page of the source: today's workspaces, and those from before its release 2.21.
FREQUENCY = Frequency(6 * HOUR_S, 30 * MINUTE_S, DAY_S)
LEGACY_FREQUENCY = Frequency(30 * MINUTE_S, 5 * MINUTE_S, DAY_S)


@dataclass(frozen=True, slots=True)
class Unit:
    """One walk: an event and the days it covers, both ends included."""

    event: str
    first: date
    last: date


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def number(day: date) -> int:
    """A day as CleverTap writes it: 20260314."""
    return day.year * 10_000 + day.month * 100 + day.day


def day_from(written: int) -> date:
    return date(written // 10_000, written // 100 % 100, written % 100)


def history(now: datetime, zone: ZoneInfo, days: int) -> Days:
    """The local days of the past ``days`` × 24 hours, and today: ``days`` + 1 dates."""
    return local_day(now - timedelta(days=days), zone), local_day(now, zone)


def windows(first: date, last: date, length: int) -> list[Days]:
    """Windows of at most ``length`` days that cover the days once, newest first."""
    found: list[Days] = []
    while last >= first:
        start = max(first, last - timedelta(days=length - 1))
        found.append((start, last))
        last = start - timedelta(days=1)
    return found


def without(days: Days, done: Iterable[Days]) -> list[Days]:
    """The stretches of ``days`` that none of ``done`` covers, newest first."""
    left = [days]
    for gone_first, gone_last in done:
        rest: list[Days] = []
        for first, last in left:
            if gone_last < first or gone_first > last:
                rest.append((first, last))
                continue
            if first < gone_first:
                rest.append((first, gone_first - timedelta(days=1)))
            if gone_last < last:
                rest.append((gone_last + timedelta(days=1), last))
        left = rest
    return sorted(left, reverse=True)


def joined(stretches: Iterable[Days]) -> list[Days]:
    """The same days as few stretches, in order; neighbours become one."""
    found: list[Days] = []
    for first, last in sorted(stretches):
        if found and first <= found[-1][1] + timedelta(days=1):
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def newest_first(units: Iterable[Unit], names: Sequence[str]) -> list[Unit]:
    """Today's windows of all events before yesterday's; events in the order of ``names``."""
    rank = {name: place for place, name in enumerate(names)}
    return sorted(units, key=lambda unit: (-unit.last.toordinal(), rank.get(unit.event, len(rank))))


def lookback(
    now: datetime,
    zone: ZoneInfo,
    *,
    days: int,
    every_hours: int,
    used_at: datetime | None,
    deep_days: int,
    deep_on: date | None,
) -> tuple[int, bool, bool]:
    """Days to read before the last mark, and whether the short and the deep look-back count as used by this run.

    The deep one is due once per local day, the short one when ``every_hours`` have passed since it was used.
    """
    deep = deep_days > 0 and deep_on != local_day(now, zone)
    short = days > 0 and (used_at is None or now - used_at >= timedelta(hours=every_hours))
    return max(deep_days if deep else 0, days if short or deep else 0), short or deep, deep


def check_frequency(seconds: float, *, legacy: bool = False) -> None:
    """Raises ConfigError when a schedule is not one that this source may have.

    Between 30 minutes (5 for workspaces with the legacy limits) and 24 hours; from one hour on, whole hours.
    """
    least = (LEGACY_FREQUENCY if legacy else FREQUENCY).shortest_s // MINUTE_S
    hint = f"Choose {least} minutes or more, or a whole number of hours from 1 to 24."
    if seconds < least * 60:
        raise ConfigError(f"every {seconds / 60:g} minutes is too often for CleverTap", hint=hint, path="schedule")
    if seconds > 24 * 3600:
        raise ConfigError(f"every {seconds / 3600:g} hours is too seldom for CleverTap", hint=hint, path="schedule")
    if seconds > 3600 and seconds % 3600:
        raise ConfigError(f"every {seconds / 3600:g} hours is not a whole number of hours", hint=hint, path="schedule")
    if seconds % 60:
        raise ConfigError(f"every {seconds:g} seconds is not a whole number of minutes", hint=hint, path="schedule")
