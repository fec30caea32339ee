"""How long to wait before asking again, and waiting that can be called off."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence

from millrace.connect.source import Context
from millrace.data.dataclass import dataclass

_SLICE_S = 0.5


class Stopped(Exception):
    """The run shall end, or nobody reads any more. Not an error: what was handed over stays good."""


def doubling(first_s: float, cap_s: float, tries: int) -> Iterator[float]:
    """Waits before the 2nd, 3rd … try, each twice the one before: ``tries`` - 1 of them."""
    for attempt in range(tries - 1):
        yield min(first_s * 2.0**attempt, cap_s)


def listed(steps_s: Sequence[float], cap_s: float, total_s: float, *, jitter: float = 0.1) -> Iterator[float]:
    """The waits of ``steps_s``, then ``cap_s`` again and again, each ± ``jitter``, until ``total_s`` have passed."""
    passed = attempt = 0
    while passed < total_s:
        step = steps_s[attempt] if attempt < len(steps_s) else cap_s
        wait = min(step * random.uniform(1 - jitter, 1 + jitter), total_s - passed)  # noqa: S311  no secret depends on it
        yield wait
        passed += wait
        attempt += 1


@dataclass(frozen=True, slots=True)
class Patience:
    """Waits on the clock of a context. Ends early, with `Stopped`, when the run shall stop or ``closed`` is set."""

    context: Context
    closed: threading.Event

    def check(self) -> None:
        """Raises Stopped when no new request should be sent."""
        if self.closed.is_set() or self.context.stopping.is_set():
            raise Stopped

    def rest(self, seconds: float, awaited: str) -> None:
        self.context.awaiting(awaited)
        until = self.context.clock.monotonic() + seconds
        try:
            while (left := until - self.context.clock.monotonic()) > 0:
                self.check()
                self.context.clock.sleep(min(left, _SLICE_S))
            self.check()
        finally:
            self.context.awaiting("")
