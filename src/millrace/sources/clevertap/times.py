"""CleverTap's `ts`, 14 digits of local time, as moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_LOWEST, _HIGHEST = 10**13, 10**14
_DAY_S = 86_400


def distinct(values: Ints) -> tuple[Ints, Ints]:
    """The distinct values, rising, and for each value its place among them: `np.unique`, without masked arrays.

    To import these, as `np.unique` does, takes longer than all the pages of a small sync.
    """
    order = np.argsort(values, kind="stable")
    rising = values[order]
    starts = np.ones(len(values), bool)
    starts[1:] = rising[1:] != rising[:-1]
    place = np.empty(len(values), np.int64)
    place[order] = np.cumsum(starts) - 1
    return rising[starts], place


class Moments:
    """Turns local digits of one zone into microseconds since 1970 UTC.

    A local time that the clock showed twice means the first; one that it skipped takes the offset before the gap.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._steady: dict[int, int | None] = {}

    def __call__(self, digits: Ints) -> tuple[Ints, Flags]:
        """Microseconds, and which of the digits are a date and time at all (the others' microseconds mean nothing)."""
        day, clock = np.divmod(digits, 1_000_000)
        hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
        good = (digits >= _LOWEST) & (digits < _HIGHEST) & (hour < 24) & (minute < 60) & (second < 60)
        local = hour * 3600 + minute * 60 + second
        days, place = distinct(day)
        midnights = np.zeros(len(days), np.int64)
        offsets = np.zeros(len(days), np.int64)
        moving: list[int] = []
        for number, date in enumerate(days.tolist()):
            midnight = _midnight(date)
            if midnight is None:
                good &= place != number
                continue
            midnights[number] = round((midnight - datetime(1970, 1, 1)).total_seconds())
            offset = self._offset(date, midnight)
            if offset is None:
                moving.append(number)
            else:
                offsets[number] = offset
        seconds = midnights[place] + local - offsets[place]
        for number in moving:
            rows = np.flatnonzero((place == number) & good)
            seconds[rows] -= self._one_by_one(seconds[rows])
        return seconds * 1_000_000, good

    def _offset(self, date: int, midnight: datetime) -> int | None:
        """Seconds east of Greenwich on that day; None when they change in its course."""
        if date not in self._steady:
            last = 24 if date < 99991231 else 23
            hours = [midnight + timedelta(hours=hour) for hour in range(last + 1)]
            found = {self._at(hour, fold) for hour in hours for fold in (0, 1)}
            self._steady[date] = found.pop() if len(found) == 1 else None
        return self._steady[date]

    def _one_by_one(self, local: Ints) -> Ints:
        times, place = distinct(local)
        start = datetime(1970, 1, 1)
        offsets = [self._at(start + timedelta(seconds=time), 0) for time in times.tolist()]
        return np.array(offsets, np.int64)[place]

    def _at(self, local: datetime, fold: int) -> int:
        try:
            offset = local.replace(tzinfo=self._zone, fold=fold).utcoffset()
        except OverflowError:
            offset = None
        return round(offset.total_seconds()) if offset else 0


def _midnight(date: int) -> datetime | None:
    try:
        return datetime(date // 10_000, date // 100 % 100, date % 100)
    except (ValueError, OverflowError):
        return None


def digits(moment: datetime, zone: ZoneInfo) -> int:
    """The 14 local digits of a moment."""
    return int(moment.astimezone(zone).strftime("%Y%m%d%H%M%S"))


def microseconds(moment: datetime) -> int:
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def as_ints(values: list[Any]) -> Ints:
    return np.array(values, np.int64)
