"""Every point at which a process can die on the way of a row, enumerated: a run that ends at the n-th of them."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from millrace.connect.sql.destination import SqlDestination
from millrace.engine.stage import Draft


class Killed(BaseException):
    """The process is gone. No handler of an ordinary error sees it."""


class Points:
    """Counts the points that a run passes, and kills it at one of them; from then on nothing works any more.

    A point is a name and how often it was passed, so that threads which take turns differently meet the same points.
    """

    def __init__(self, at: tuple[str, int] | None = None) -> None:
        self.at = at
        self.passed: Counter[str] = Counter()
        self.dead = False
        self._lock = threading.Lock()

    def hit(self, name: str) -> None:
        with self._lock:
            if self.dead:
                raise Killed(name)
            self.passed[name] += 1
            if self.at == (name, self.passed[name]):
                self.dead = True
                raise Killed(f"{name} {self.passed[name]}")

    def all(self) -> list[tuple[str, int]]:
        return [(name, number) for name, count in sorted(self.passed.items()) for number in range(1, count + 1)]


@contextmanager
def counting(points: Points) -> Iterator[None]:
    """Writes, fsyncs, renames, commits, destination statements and network calls are points, before and after."""
    with pytest.MonkeyPatch.context() as patch:
        _around(patch, points, os, "fsync", "fsync")
        _around(patch, points, Path, "replace", "rename")
        _around(patch, points, Draft, "add", "write")
        _around(patch, points, httpx.Client, "send", "http")
        for name in ("execute", "copy_in"):
            _around(patch, points, SqlDestination, name, f"destination {name}")
            for family in SqlDestination.__subclasses__():
                if name in vars(family):
                    _around(patch, points, family, name, f"destination {name}")
        listeners = [(event, _listener(points, event)) for event in ("begin", "commit", "after_cursor_execute")]
        for event, listener in listeners:
            sa.event.listen(sa.Engine, event, listener)
        try:
            yield
        finally:
            for event, listener in listeners:
                sa.event.remove(sa.Engine, event, listener)


def _listener(points: Points, event: str) -> Callable[..., None]:
    def listen(*_: Any) -> None:
        points.hit(f"books {event}")

    return listen


def _around(patch: pytest.MonkeyPatch, points: Points, owner: Any, name: str, label: str) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        points.hit(f"before {label}")
        result = real(*args, **kwargs)
        points.hit(f"after {label}")
        return result

    patch.setattr(owner, name, wrapped)
