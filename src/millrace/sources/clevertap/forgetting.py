"""How long marks are kept, and what is left undone once they are gone.

In append mode nothing but marks tells a row that is in the table from one that is not, so days whose marks are gone
are neither read again nor entered again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, timedelta

import numpy as np

from millrace.connect.source import Memory, Reading
from millrace.data.batch import Mark
from millrace.sources.clevertap import state
from millrace.sources.clevertap.config import LONGEST_WINDOW_DAYS, Config
from millrace.sources.clevertap.known import SEPARATOR, day_of, forgotten_before, forgotten_part, history_part
from millrace.sources.clevertap.planner import Unit, day_from, local_day, number

# Days of marks that are kept beyond those that may be read again.
_SLACK_DAYS = 2
# A reject can be replayed for so long at most (`reject_retention_days` of the workspace), and somewhat beyond.
_REJECTS_DAYS = 90 + _SLACK_DAYS
_REJECTING = "rejecting"
_STRAYS = "strays"
_STRETCH = np.dtype([("first", "<u4"), ("last", "<u4"), ("on", "<u4")])


def kept_days(config: Config) -> int:
    """How many days back marks are kept: those of the history and those that a look-back reads before them."""
    return config.historical_days + max(config.lookback_days, config.deep_lookback_days) + _SLACK_DAYS


def oldest(reading: Reading, event: str) -> date:
    """The first day of an event that may be read without doubling rows. A new event has forgotten nothing."""
    before = forgotten_before(event, reading.memory) if reading.load_mode == "append" else 0
    return day_from(before) if before else date.min


def rejecting_part(event: str) -> str:
    """The part that says in which days of an event records were rejected in append mode, and when."""
    return f"{event}{SEPARATOR}{_REJECTING}"


def rejecting(unit: Unit, today: date) -> Mark:
    """Records of the unit's days were rejected: their rows stay known for as long as a replay may bring them back."""
    entry = np.array([(number(unit.first), number(unit.last), number(today))], _STRETCH)
    return Mark(rejecting_part(unit.event), entry.tobytes())


def strays_part(event: str) -> str:
    """The part that says which days rows of an event had that came with other days, and when."""
    return f"{event}{SEPARATOR}{_STRAYS}"


def strays(event: str, days: Collection[int], today: date) -> Mark:
    """Rows with times of these days (YYYYMMDD) came with the days of another unit: the clock of a device was wrong.

    They come again whenever that unit's days are read, however long ago their own days are.
    """
    entries = np.array([(day, day, number(today)) for day in sorted(days)], _STRETCH)
    return Mark(strays_part(event), entries.tobytes())


def known_days(event: str, memory: Memory) -> Days:
    """The days of an event whose rows are known, if there were any."""
    return Days(forgotten_before(event, memory), _stretches(rejecting_part(event), memory))


class Days:
    """Days (YYYYMMDD) whose marks are there: all from one on, and some stretches before it."""

    def __init__(self, begins: int, stretches: np.ndarray[tuple[int], np.dtype[np.void]]) -> None:
        self._begins = begins
        self._stretches = stretches

    def __contains__(self, day: object) -> bool:
        assert isinstance(day, int)
        return day >= self._begins or bool(((self._stretches["first"] <= day) & (day <= self._stretches["last"])).any())


def pruned(
    config: Config, reading: Reading, position: state.Incremental, now: datetime, added: Mapping[str, bytes | bytearray]
) -> Iterator[Mark]:
    """Marks that forget days which no read and no replay will see again. Days of a history not yet complete are kept.

    With them goes, for each event, the day before which they are gone: changed settings may ask for those days. A row
    that says an earlier day than its own, within one window, has no entry of `strays`: in append mode, where it would
    be doubled, marks stay for the longest window more.
    ``added``: by part, the entries of `rejecting` and `strays` of this run, which the memory may not have yet.
    """
    memory = reading.memory
    today = local_day(now, config.zone)
    window = timedelta(days=LONGEST_WINDOW_DAYS if reading.load_mode == "append" else 0)
    most = today - timedelta(days=kept_days(config))
    deepest = timedelta(days=max(config.lookback_days, config.deep_lookback_days) + 1)
    parts = sorted({*memory.parts(), *added})
    complete = set(parts)
    limits: dict[str, date] = {}
    held: dict[str, list[Days]] = {}

    def limit_of(event: str) -> date:
        known = position.events.get(event)
        return min(most, local_day(known.mark, config.zone) - deepest) if known else most

    def still(part: str, since: int) -> Iterator[Mark]:
        found = _stretches(part, memory)
        left = np.append(found[found["on"] >= since], np.frombuffer(added.get(part, b""), _STRETCH))
        if (found["on"] < since).any():
            yield Mark(part, np.unique(left).tobytes() or None, replace=True)
        held.setdefault(part.rpartition(SEPARATOR)[0], []).append(Days(number(date.max), left))

    for part in parts:
        if part.endswith(SEPARATOR + _REJECTING):
            yield from still(part, number(today - timedelta(days=_REJECTS_DAYS)))
        elif part.endswith(SEPARATOR + _STRAYS):
            yield from still(part, number(limit_of(part.rpartition(SEPARATOR)[0])))
    for part in parts:
        found_day = day_of(part)
        if found_day is None or history_part(found_day[0]) not in complete:
            continue
        event, day = found_day
        limit = limit_of(event)
        if day < number(limit - window) and not any(day in days for days in held.get(event, ())):
            limits[event] = limit
            yield Mark(part, None, replace=True)

    for event, limit in limits.items():
        if (day := number(limit)) > forgotten_before(event, memory):
            yield Mark(forgotten_part(event), b"%08d" % day, replace=True)


def _stretches(part: str, memory: Memory) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.frombuffer(b"".join(memory.recall(part)), _STRETCH)
