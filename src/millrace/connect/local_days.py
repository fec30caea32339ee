"""Days of a time zone, as Python's table of zones has them. Destinations have tables of their own, which may differ."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from millrace.data.dataclass import dataclass

# No zone changes its offset and changes it back within it.
_STEP = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class LocalDays:
    """The days from ``first`` to ``last`` of a time zone, both included."""

    first: date
    last: date
    timezone: str

    @property
    def span(self) -> tuple[datetime, datetime]:
        """UTC from before their beginning to behind their end: no zone is a day away from it."""
        day = timedelta(days=1)
        begin = datetime.combine(max(self.first, date.min + 2 * day), time(), UTC) - day
        return begin, datetime.combine(min(self.last, date.max - 2 * day), time(), UTC) + 2 * day

    def offsets(self) -> list[tuple[datetime, int]]:
        """How many seconds local time is ahead of UTC, each with the moment from which on it is so; rising."""
        zone = ZoneInfo(self.timezone)
        moment, end = self.span
        found = [(moment, _offset(moment, zone))]
        while moment < end:
            following = min(moment + _STEP, end)
            if _offset(following, zone) != found[-1][1]:
                changed = _change(moment, following, zone)
                found.append((changed, _offset(changed, zone)))
            moment = following
        return found


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The second between the two at which the offset changes."""
    old = _offset(before, zone)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (middle, after) if _offset(middle, zone) == old else (before, middle)
    return after


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)
