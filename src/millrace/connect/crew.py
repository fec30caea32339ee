"""Threads that work off numbered places of one list, and hand what they make to whoever asks for it."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Generic, Self, TypeVar

Part = TypeVar("Part")

# Parts that wait between the threads and whoever takes them, for each thread.
_WAITING = 2
_LOOK_S = 0.2

# The threads give way to what loads the rows: on a machine with few cores, rows would else be read in half of the time
# and loaded in the other, by one connection while the other cores wait.
_NICE = 10


class Crew(Generic[Part]):
    """``count`` threads, each of which calls ``work`` with the crew and its own number, from 0 on.

    Their work is to ask for a place (`next`) until there is none, and to `put` parts of it. The crew keeps few parts:
    whoever makes them waits for whoever takes them.
    """

    def __init__(self, count: int, places: Iterable[int], work: Callable[[Crew[Part], int], None]) -> None:
        self._left = list(places)
        self._work = work
        self._out: queue.Queue[tuple[int, Part | None] | BaseException | None] = queue.Queue(_WAITING * count)
        self._taking = threading.Lock()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True, name="millrace-range")
            for number in range(count)
        ]

    @contextmanager
    def working(self, cancel: Callable[[], None] = lambda: None) -> Generator[Self]:
        """The threads run within, and none behind. ``cancel`` ends what keeps them from looking up."""
        try:
            for thread in self._threads:
                thread.start()
            yield self
        finally:
            self._ended.set()
            if any(thread.is_alive() for thread in self._threads):
                cancel()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()

    def parts(self) -> Generator[tuple[int, Part | None]]:
        """Parts with their places, as they come; None behind the last of a place. Raises what a thread raised."""
        running = len(self._threads)
        while running:
            item = self._out.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item

    def next(self) -> int | None:
        """The next place that nobody has; None where there is none, or nobody wants it any more."""
        with self._taking:
            return self._left.pop(0) if self._left and not self._ended.is_set() else None

    def put(self, place: int, part: Part | None) -> bool:
        """Hands over a part, or None behind the last one of the place. False when nobody wants it any more."""
        return self._put((place, part))

    def _run(self, number: int) -> None:
        if sys.platform == "linux":
            # Elsewhere a thread has no priority of its own. Where a sandbox forbids it, it is only slower.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self._work(self, number)
            self._put(None)
        except BaseException as error:  # it is raised again by whoever takes the parts
            self._put(error)

    def _put(self, item: tuple[int, Part | None] | BaseException | None) -> bool:
        while not self._ended.is_set():
            try:
                self._out.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False
