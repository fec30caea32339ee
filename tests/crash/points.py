"""Every point at which a process can die on the way of a row, enumerated: a run that ends at the n-th of them."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from millrace.connect import registry
from millrace.connect.http.client import Client
from millrace.connect.sql.destination import SqlDestination
from millrace.control.database.db import Database
from millrace.engine import loading
from millrace.engine.stage import Draft

# Points after which a disk, a database or another system is as it was after the point before.
NOTHING_LASTS = ("before ", "within ", "set ")

# What is asked of a source, and what is added to files of which nothing knows yet: each of them leaves what the next of
# its kind leaves, and a little less, until a rename or a commit makes something of it.
UNKNOWN_YET = ("after http", "after write", "after fsync")


class Killed(BaseException):
    """The process is gone. No handler of an ordinary error sees it."""


class Points:
    """Counts the points that a run passes, and kills it at one of them; from then on nothing works any more.

    A point is a name and how often it was passed, so that threads which take turns differently meet the same points.
    """

    def __init__(self, at: tuple[str, int] | None = None) -> None:
        self.at = at
        self.passed: Counter[str] = Counter()
        self._order: list[tuple[str, int]] = []
        self.dead = False
        self._lock = threading.Lock()

    def alive(self) -> None:
        """Nothing, or the end: a dead process starts nothing more."""
        if self.dead:
            raise Killed("dead")

    def hit(self, name: str) -> None:
        with self._lock:
            if self.dead:
                raise Killed(name)
            self.passed[name] += 1
            self._order.append((name, self.passed[name]))
            if self.at == (name, self.passed[name]):
                self.dead = True
                raise Killed(f"{name} {self.passed[name]}")

    def all(self) -> list[tuple[str, int]]:
        return [(name, number) for name, count in sorted(self.passed.items()) for number in range(1, count + 1)]

    def effects(self) -> list[tuple[str, int]]:
        """One point for each thing of a run that lasts. A death at another point leaves what the last of these left.

        Statements within a transaction, the moment before its commit and settings of a connection leave nothing: the
        databases see to it. Of what nothing knows yet, the last of each kind before something does is a point.
        """
        found: list[tuple[str, int]] = []
        waiting: dict[str, int] = {}
        for name, number in self._order:
            if name.startswith(NOTHING_LASTS):
                continue
            if name in UNKNOWN_YET:
                waiting[name] = number
            else:
                found += [*waiting.items(), (name, number)]
                waiting = {}
        return [*found, *waiting.items()]


@contextmanager
def counting(points: Points) -> Iterator[None]:
    """Writes, fsyncs, renames, commits, statements at the destination and network calls are points.

    A point lies after each of them, and one before each commit: between the end of one and the start of the next
    nothing happens that could be seen from outside. Statements of the control database are not points of their own,
    for its transactions are: SQLite and PostgreSQL see to it that nothing lies between.
    """
    for type_ in ("duckdb", "postgres"):
        registry.destination(type_)
    with pytest.MonkeyPatch.context() as patch:
        _around(patch, points, os, "fsync", "fsync")
        _around(patch, points, Path, "replace", "rename")
        _around(patch, points, Draft, "add", "write")
        _around(patch, points, Client, "send", "http")
        for family in SqlDestination.__subclasses__():
            open_now = threading.local()
            _around(patch, points, family, "execute", "destination execute", open_now)
            _around(patch, points, family, "take", "destination copy", open_now)
            _transaction(patch, points, family, "destination", open_now)
            # Few rows load while others are still read, as many do.
            patch.setattr(family, "enough_rows", 1)
        _transaction(patch, points, Database, "books")
        patch.setattr(loading, "ENOUGH_SHARE", 1 << 40)
        yield


def _transaction(
    patch: pytest.MonkeyPatch, points: Points, owner: Any, label: str, open_now: threading.local | None = None
) -> None:
    real = owner.transaction
    mine = open_now or threading.local()

    @contextmanager
    def wrapped(self: Any) -> Iterator[Any]:
        points.alive()
        mine.open = True
        try:
            with real(self) as value:
                yield value
                points.hit(f"before {label} commit")
        finally:
            mine.open = False
        points.hit(f"after {label} commit")

    patch.setattr(owner, "transaction", wrapped)


def _around(
    patch: pytest.MonkeyPatch,
    points: Points,
    owner: Any,
    name: str,
    label: str,
    open_now: threading.local | None = None,
) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        points.alive()
        result = real(*args, **kwargs)
        points.hit(f"{_when(open_now, args)} {label}")
        return result

    patch.setattr(owner, name, wrapped)


def _when(open_now: threading.local | None, args: tuple[Any, ...]) -> str:
    """Whether what was done lasts: it does not within a transaction, nor when a connection was told how to work."""
    if getattr(open_now, "open", False):
        return "within"
    return "set" if any(isinstance(word, str) and word.startswith("SET ") for word in args[1:2]) else "after"
