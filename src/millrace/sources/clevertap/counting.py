"""How many events there are: as CleverTap counts them, and as the marks remember them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta

from millrace.connect.http.parallel import Got, interleaved
from millrace.connect.http.waits import Stopped
from millrace.connect.source import Count, Memory, Seen, Slice
from millrace.errors import AuthError
from millrace.sources.clevertap.client import CleverTap, Unanswered, as_error
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.known import day_of, entries
from millrace.sources.clevertap.planner import Unit, day_from, joined, windows

_MONTH_DAYS = 31
_log = logging.getLogger("millrace.clevertap")


def counts(
    client: CleverTap, config: Config, days: Iterable[tuple[str, date]], tell: Callable[[int, int], None]
) -> Iterator[Count]:
    """CleverTap's own count for each name and day, oldest days first; names that it does not serve are left out.

    A month of a name is one request where CleverTap's trends can be had and agree with its counts; otherwise each day
    is one. ``tell`` hears how many days of names are done, of how many.
    """
    wanted = _units(days)
    total = sum(_length(unit) for unit in wanted)
    done, left = 0, [_length(unit) for unit in wanted]
    trends = _Trends(client)

    def one(unit: Unit) -> Callable[[], Iterator[Count]]:
        def ask() -> Iterator[Count]:
            found = trends.of(unit)
            for passed in range(_length(unit)):
                day = unit.first + timedelta(days=passed)
                yield Count(unit.event, day, client.count(unit.event, day, day) if found is None else found.get(day, 0))

        return ask

    jobs = [one(unit) for unit in wanted]
    asked = interleaved(jobs, config.max_concurrency, closed=client.closed, abort=client.abort)
    with closing(asked):
        for item in asked:
            if isinstance(item, Got):
                left[item.job] -= 1
                yield item.item
            elif isinstance(item.error, Stopped):
                return
            elif item.error is not None and not _unserved(item.error):
                raise as_error(item.error) or item.error
            else:
                left[item.job] = 0
            if done != total - sum(left):
                done = total - sum(left)
                tell(done, total)


class _Trends:
    """Counts of many days in one request, as long as they agree with those of the API that counts. Thread-safe."""

    def __init__(self, client: CleverTap) -> None:
        self._client = client
        self._guard = threading.Lock()
        self._usable = True
        self._agreed: set[bool] = set()

    def of(self, unit: Unit) -> dict[date, int] | None:
        """Events of each day of the unit, but for days without any; None when days are to be asked for one by one."""
        if not self._usable or unit.first == unit.last:
            return None
        try:
            found = self._client.trend(unit.event, unit.first, unit.last)
        except (Unanswered, AuthError) as failure:
            if not _unserved(failure):
                self._stop(str(failure))
            return None
        if found is None:
            return None
        # That nothing is counted tells little of how something would be, so each is compared once.
        some = any(found.values())
        with self._guard:
            if self._usable and some not in self._agreed:
                self._compare(unit, found)
                self._agreed.add(some)
        return found if self._usable else None

    def _compare(self, unit: Unit, found: dict[date, int]) -> None:
        # The last day may be today, and still grow. One day alone also shows whether days begin at the same time.
        last = unit.last - timedelta(days=1)
        most = max(
            (day for day, rows in found.items() if rows and day <= last), key=lambda day: found[day], default=None
        )
        first, last = (most, most) if most else (unit.first, last)
        told, counted = found.get(first, 0) if most else 0, self._client.count(unit.event, first, last)
        if counted != told:
            self._stop(f"{told} of {unit.event} from {first} to {last}, where {counted} are counted")

    def _stop(self, why: str) -> None:
        if self._usable:
            _log.info("CleverTap's trends are not used, days are counted one by one: %s", why)
        self._usable = False


def _units(days: Iterable[tuple[str, date]]) -> list[Unit]:
    """The days as stretches of at most a month, oldest first."""
    by_name: dict[str, set[date]] = {}
    for name, day in days:
        by_name.setdefault(name, set()).add(day)
    units = [
        Unit(name, *window)
        for name, found in by_name.items()
        for stretch in joined((day, day) for day in found)
        for window in windows(*stretch, _MONTH_DAYS)
    ]
    return sorted(units, key=lambda unit: (unit.first, unit.event))


def _length(unit: Unit) -> int:
    return (unit.last - unit.first).days + 1


def seen(memory: Memory, slices: Sequence[Slice]) -> Iterator[Seen]:
    """What the marks say was read of each name and day in the slices."""
    for part in memory.parts():
        found = day_of(part)
        if found is None:
            continue
        name, day = found[0], day_from(found[1])
        if any(each.first <= day <= each.last and each.name in (None, name) for each in slices):
            rows = entries(memory.recall(part))
            yield Seen(name, day, len(rows), int(rows["count"].sum()))


def _unserved(error: BaseException) -> bool:
    return isinstance(error, Unanswered) and error.meaning in ("invalid_event", "not_exportable")
