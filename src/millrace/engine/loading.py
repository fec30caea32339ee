"""The thread that loads while rows are read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from millrace.connect.destination import Destination, Table
from millrace.errors import Transient

if TYPE_CHECKING:
    from millrace.engine.sync import Sync

# While rows are read, loads wait for as many as the destination says, or so long. Each load looks through the keys of
# the whole table, so loads grow with it, and the looking stays a small part of the writing. Destinations that are
# `eager` get what there is: the less waits when reading ends, the less is loaded while nothing is read.
ENOUGH_SHARE = 8
ENOUGH_S = 60.0

# What was opened for a load that follows is free for others again where reading goes on for longer.
EXPECTED_S = 1.0

# Waits between the attempts of one load while a destination does not answer; then its rows stay staged.
LOAD_WAITS_S = (1.0, 5.0, 15.0)


class Loader(threading.Thread):
    """Loads in a thread of its own whenever enough was committed, and once more at the end."""

    def __init__(self, sync: Sync) -> None:
        super().__init__(name="millrace-load", daemon=True)
        self._sync = sync
        self._work = threading.Event()
        self._expecting = self._ending = False
        self._error: BaseException | None = None
        self._unfinished: Sequence[Table] = ()
        self._staged, self._since = sync.meter.staged, sync.clock.monotonic()

    def wake(self) -> None:
        """Something was committed: it is loaded now where enough waits."""
        self._work.set()

    def expect(self) -> None:
        """Rows have come, or the last of them: they are loaded in a moment, or may be."""
        if self._sync.meter.read:
            self._expecting = True
            self._work.set()

    def end(self) -> None:
        """All is committed: the last of it is loaded now."""
        self._sync.meter.stage, self._sync.meter.progress = "loading", None
        self._ending = True
        self._work.set()

    def finish(self) -> BaseException | None:
        """All that was committed is loaded, or this is why not."""
        self.end()
        self.join()
        return self._error

    def run(self) -> None:
        destination: Destination[Any] | None = None
        until: float | None = None
        try:
            destination = self._sync.open_destination()
            destination.prepare()
            while True:
                left = None if until is None else max(until - self._sync.clock.monotonic(), 0)
                if not self._work.wait(left):
                    if destination is not None:
                        destination.completed()
                        self._let_go(destination)
                    destination = until = None
                    continue
                self._work.clear()
                ending = self._ending
                if destination is None:
                    destination = self._opened()
                if self._expecting and not ending:
                    self._expecting = False
                    until = self._sync.clock.monotonic() + EXPECTED_S
                    with suppress(Exception):  # the load raises it
                        # Where all is gone, it is not made anew before somebody could say so (`miss`).
                        if not self._sync.lost(destination):
                            destination.expect()
                if not ending and not self._enough(destination):
                    continue
                destination, until = self._attempt(destination), None
                if ending:
                    self._sync.settle(destination)
                    destination.completed()
                    self._sync.miss(destination)
                    return
        except BaseException as error:  # it is raised again in the run's own thread
            self._error = error
        finally:
            if destination is not None:
                destination.close()

    def _enough(self, destination: Destination[Any]) -> bool:
        """Whether what waits is worth a load, which begins then."""
        staged, now = self._sync.meter.staged, self._sync.clock.monotonic()
        enough = 1 if destination.eager else max(destination.enough_rows, self._staged // ENOUGH_SHARE)
        if staged - self._staged < enough and now - self._since < ENOUGH_S:
            return False
        self._staged, self._since = staged, now
        return True

    def _attempt(self, destination: Destination[Any]) -> Destination[Any]:
        for wait in (*LOAD_WAITS_S, None):
            try:
                self._sync.load(destination)
            except Transient as failure:
                if wait is None or self._sync.stopping.is_set():
                    raise
                self._let_go(destination)
                self._sync.meter.awaiting = f"the destination: {failure.message}"
                self._sync.clock.sleep(failure.retry_after_s or wait)
                self._sync.meter.awaiting = ""
                destination = self._opened()
            else:
                return destination
        return destination

    def _let_go(self, destination: Destination[Any]) -> None:
        destination.close()
        # Nobody else knows what its loads have put off.
        self._unfinished = destination.unfinished()

    def _opened(self) -> Destination[Any]:
        destination = self._sync.open_destination()
        if self._unfinished:
            destination.completed(self._unfinished)
        return destination
