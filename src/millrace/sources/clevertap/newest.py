"""Of answers that were awaited at the same time, which one tells of a person as they are now."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from millrace.data.dataclass import dataclass
from millrace.sources.clevertap.planner import Unit

# What a person is told by.
Key: TypeAlias = tuple[int, int]


class _Seen(msgspec.Struct):
    last_seen: Any = None
    ls: Any = None


_events = msgspec.json.Decoder(dict[str, _Seen]).decode
_devices = msgspec.json.Decoder(list[_Seen]).decode


def last_seen(events: str | None, devices: str | None) -> int:
    """When a person was last seen, in epoch seconds, by their events or on a device; 0 where nothing says it."""
    found: list[_Seen] = []
    with suppress(msgspec.MsgspecError):  # it is something else than counts of events
        found += _events(events).values() if events is not None else ()
    with suppress(msgspec.MsgspecError):  # it is something else than a list of devices
        found += _devices(devices) if devices is not None else ()
    return max((value for one in found for value in (one.last_seen, one.ls) if isinstance(value, int)), default=0)


@dataclass(frozen=True, slots=True)
class _Told:
    """What an answer said: the person as last seen then, and when it was asked for and came."""

    seen: int
    asked: int
    answered: int

    def newer(self, other: _Told) -> bool:
        """An answer that was asked for once the other had come is newer. Of two that were awaited at the same time it
        is the one in which the person was seen later, else the one that was asked for later."""
        if self.asked >= other.answered or other.asked >= self.answered:
            return self.asked > other.asked
        return (self.seen, self.asked) >= (other.seen, other.asked)


class Newest:
    """Says of answers, in whatever order they arrive, which tell nothing new of whom.

    Only answers are kept that others were awaited beside. ``begins`` is called by the thread of a walk, the rest by
    the one that takes what they read.
    """

    def __init__(self) -> None:
        self._told: dict[Key, _Told] = {}
        self._kept: deque[tuple[int, list[Key]]] = deque()
        # The earliest time at which the next answer of each walk can have been asked for.
        self._since: dict[Unit, int] = {}

    def begins(self, walk: Unit) -> None:
        self._since[walk] = time.monotonic_ns()

    def ends(self, walk: Unit) -> None:
        self._since.pop(walk, None)
        self._forget()

    def current(
        self, walk: Unit, asked: int, answered: int, people: Iterable[tuple[Key, int]]
    ) -> npt.NDArray[np.bool_]:
        """Which of ``people``, their keys and when they were last seen, are not told of as they were before."""
        current: list[bool] = []
        keys: list[Key] = []
        for key, seen in people:
            told, before = _Told(seen, asked, answered), self._told.get(key)
            current.append(before is None or told.newer(before))
            if current[-1]:
                self._told[key] = told
                keys.append(key)
        self._kept.append((answered, keys))
        if walk in self._since:
            self._since[walk] = max(self._since[walk], answered)
        self._forget()
        return np.array(current, bool)

    def _forget(self) -> None:
        """What came before all was asked for that can still come is older than that."""
        until = min(list(self._since.values()), default=time.monotonic_ns())
        while self._kept and self._kept[0][0] <= until:
            answered, keys = self._kept.popleft()
            for key in keys:
                if key in self._told and self._told[key].answered == answered:
                    del self._told[key]
