"""How many events there are: as CleverTap counts them, and as the marks remember them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date

from millrace.connect.http.parallel import Got, interleaved
from millrace.connect.http.waits import Stopped
from millrace.connect.source import Count, Memory, Seen, Slice
from millrace.sources.clevertap.client import CleverTap, Unanswered, as_error
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.known import day_of, entries
from millrace.sources.clevertap.planner import day_from


def counts(
    client: CleverTap, config: Config, days: Iterable[tuple[str, date]], tell: Callable[[int, int], None]
) -> Iterator[Count]:
    """CleverTap's own count for each name and day, oldest days first; names that it does not serve are left out.

    ``tell`` hears after each how many are done, of how many.
    """
    wanted = sorted(set(days), key=lambda each: (each[1], each[0]))
    done = 0

    def one(name: str, day: date) -> Callable[[], Iterator[Count]]:
        def ask() -> Iterator[Count]:
            yield Count(name, day, client.count(name, day))

        return ask

    jobs = [one(name, day) for name, day in wanted]
    asked = interleaved(jobs, config.max_concurrency, closed=client.closed, abort=client.abort)
    with closing(asked):
        for item in asked:
            if isinstance(item, Got):
                yield item.item
                continue
            if isinstance(item.error, Stopped):
                return
            if item.error is not None and not _unserved(item.error):
                raise as_error(item.error) or item.error
            done += 1
            tell(done, len(wanted))


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
