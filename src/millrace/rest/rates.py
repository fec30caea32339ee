"""How often each user may ask: so many requests a minute (api.md A1). Counted in this process alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from millrace.data.dataclass import dataclass

WINDOW_S = 60.0

# Windows that are over are forgotten when there are more than this.
MOST_WINDOWS = 10_000


@dataclass(frozen=True, slots=True)
class Count:
    """How a window stands after a request. ``reset_s``: seconds until the next window."""

    limit: int
    remaining: int
    reset_s: int
    over: bool

    @property
    def headers(self) -> dict[str, str]:
        """What the caller is told with every answer."""
        told = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_s),
        }
        return told | ({"Retry-After": str(self.reset_s)} if self.over else {})


class Rates:
    """Windows of a minute, one for each caller; a window begins with the first request in it."""

    def __init__(self, limit: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._now = now
        self._windows: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def count(self, caller: str) -> Count:
        """One more request of ``caller``; one that is over the limit does not make the window longer."""
        return self._at(caller, 1)

    def look(self, caller: str) -> Count:
        """How the window of ``caller`` stands, over when no further request is allowed in it."""
        return self._at(caller, 0)

    def take_back(self, caller: str) -> None:
        """One request of ``caller`` less, which was not of the kind that counts."""
        with self._lock:
            began, used = self._windows.get(caller, (0.0, 0))
            if used:
                self._windows[caller] = (began, used - 1)

    def _at(self, caller: str, more: int) -> Count:
        now = self._now()
        with self._lock:
            began, used = self._windows.get(caller, (now, 0))
            if now - began >= WINDOW_S:
                began, used = now, 0
            over = used >= self.limit
            if more and not over:
                used += more
                if len(self._windows) >= MOST_WINDOWS and caller not in self._windows:
                    self._forget(now)
                self._windows[caller] = (began, used)
        return Count(self.limit, self.limit - used, max(1, int(began + WINDOW_S - now + 0.999)), over)

    def _forget(self, now: float) -> None:
        self._windows = {who: window for who, window in self._windows.items() if now - window[0] < WINDOW_S}
