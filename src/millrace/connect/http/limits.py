"""How many requests may be in flight to one API of one account, over the whole process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

_LOOK_S = 0.05


class Limiter:
    """At most `width` holders at a time. The width may change while it is held."""

    def __init__(self, width: int) -> None:
        self._free = threading.Condition()
        self._width = width
        self._held = 0
        self._narrow_until = float("-inf")

    @property
    def held(self) -> int:
        return self._held

    def width(self, now: float) -> int:
        """How many may hold at ``now`` (seconds of the caller's monotonic clock)."""
        return 1 if now < self._narrow_until else self._width

    def resize(self, width: int) -> None:
        with self._free:
            self._width = width
            self._free.notify_all()

    def narrow(self, until: float) -> None:
        """Only one may hold until then. Those who hold now go on."""
        with self._free:
            self._narrow_until = max(self._narrow_until, until)

    @contextmanager
    def slot(self, now: Callable[[], float], check: Callable[[], None]) -> Generator[None]:
        """Holds one place. ``check`` is called while waiting and may raise to give up."""
        with self._free:
            while self._held >= self.width(now()):
                self._free.wait(_LOOK_S)
                check()
            self._held += 1
        try:
            yield
        finally:
            with self._free:
                self._held -= 1
                self._free.notify()


_limiters: dict[tuple[str, str, str], Limiter] = {}
_guard = threading.Lock()


def limiter(host: str, account: str, api: str, width: int) -> Limiter:
    """The one limiter of this process for an API of an account. The width asked for last holds."""
    with _guard:
        found = _limiters.get((host, account, api))
        if found is None:
            found = _limiters[(host, account, api)] = Limiter(width)
    found.resize(width)
    return found
