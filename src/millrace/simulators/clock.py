"""The time that a simulator believes in: it stands still until advanced, or runs with the machine's clock."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Literal

Running = Literal["frozen", "real"]


class Clock:
    """A clock that starts at ``start`` and moves by ``advance`` (frozen) or by itself as well (real).

    Whole epoch seconds, UTC. Threads may read and advance it at the same time.
    """

    def __init__(self, start: datetime | None = None, *, run: Running = "frozen") -> None:
        self.run: Running = run
        self._lock = threading.Lock()
        self._base_s = 0.0
        self._since_s = 0.0
        self.set(start or datetime.now(UTC))

    def epoch_s(self) -> int:
        if self.run == "real":
            return int(self._base_s + time.monotonic() - self._since_s)
        return int(self._base_s)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch_s(), UTC)

    def set(self, moment: datetime) -> None:
        """The clock shows ``moment``, which must be aware."""
        if moment.tzinfo is None:
            raise ValueError("the clock needs a moment with its time zone, for example 2026-03-14T10:00:00Z")
        with self._lock:
            self._base_s = moment.timestamp()
            self._since_s = time.monotonic()

    def advance(self, seconds: float = 0, *, hours: float = 0, days: float = 0) -> datetime:
        """The clock is that much later; time never goes back by this call."""
        span_s = seconds + hours * 3600 + days * 86400
        if span_s < 0:
            raise ValueError("a clock is advanced by a positive time; use set() to go back")
        with self._lock:
            self._base_s += span_s
        return self.now()
