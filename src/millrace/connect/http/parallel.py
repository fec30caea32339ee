"""Several readers at a time, one consumer: what they read comes out interleaved, by pull."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

from millrace.data.dataclass import dataclass

T = TypeVar("T")
_LOOK_S = 0.1
_JOIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Got(Generic[T]):
    """Job number ``job`` has read ``item``."""

    job: int
    item: T


@dataclass(frozen=True, slots=True)
class Ended:
    """Job number ``job`` is over; ``error`` is what ended it early."""

    job: int
    error: BaseException | None = None


def interleaved(
    jobs: Sequence[Callable[[], Iterator[T]]],
    width: int,
    *,
    closed: threading.Event,
    abort: Callable[[], None],
) -> Generator[Got[T] | Ended, None, None]:
    """Runs at most ``width`` jobs at a time, in order of their numbers, each in a thread.

    A job that is ahead waits: at most one item per thread is made and not yet taken. When the consumer closes, or a
    job fails in a way the consumer does not bear, ``closed`` is set, ``abort`` is called to wake threads that wait
    for a socket, and the threads end.
    """
    waiting = deque(range(len(jobs)))
    ready: queue.Queue[Got[T] | Ended] = queue.Queue(maxsize=1)

    def hand_over(item: Got[T] | Ended) -> bool:
        while not closed.is_set():
            try:
                ready.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        while not closed.is_set():
            try:
                job = waiting.popleft()
            except IndexError:
                return
            error: BaseException | None = None
            try:
                for item in jobs[job]():
                    if not hand_over(Got(job, item)):
                        return
            except BaseException as raised:  # handed to the consumer, who decides
                error = raised
            if not hand_over(Ended(job, error)):
                return

    threads = [
        threading.Thread(target=work, name=f"read-{number}", daemon=True) for number in range(min(width, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    left = len(jobs)
    try:
        while left:
            item = ready.get()
            left -= isinstance(item, Ended)
            yield item
    finally:
        if left:
            closed.set()
            abort()
        for thread in threads:
            thread.join(_JOIN_S)
