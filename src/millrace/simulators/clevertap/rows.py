"""Rows as they are kept: encoded once, served many times; beyond a memory limit they wait in a spool file."""

from __future__ import annotations

import pickle
import tempfile
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import field

from millrace.data.dataclass import dataclass


def _longs() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Rows:
    """Rows of one event, one shard and one day, in columns. They only ever grow, at the end.

    ``tail`` is the JSON of a record after its profile: `,"ts":…,"event_props":{…}}`. ``at`` and ``visible`` are epoch
    seconds, ``copy`` is 1 for a row that repeats the one before without being an event of its own, ``added`` is
    the number of the insertion (0 for generated rows).
    """

    device: array[int] = field(default_factory=_longs)
    at: array[int] = field(default_factory=_longs)
    visible: array[int] = field(default_factory=_longs)
    tail: list[bytes] = field(default_factory=list[bytes])
    copy: bytearray = field(default_factory=bytearray)
    added: array[int] = field(default_factory=_longs)
    settled_at: int = 0

    def __len__(self) -> int:
        return len(self.tail)

    def append(self, device: int, at: int, visible: int, tail: bytes, *, copy: bool = False, added: int = 0) -> None:
        self.device.append(device)
        self.at.append(at)
        self.visible.append(visible)
        self.copy.append(copy)
        self.added.append(added)
        self.settled_at = max(self.settled_at, visible)
        self.tail.append(tail)

    def size_bytes(self) -> int:
        return 33 * len(self) + sum(map(len, self.tail)) + 40 * len(self)


Unit = dict[str, Rows]
NO_ROWS = Rows()


class Shelf:
    """Generated units by (shard, day), made at first use and never twice.

    At most ``memory_bytes`` of encoded rows stay in memory; what is used least goes to an unnamed temporary file and
    comes back from there. The file vanishes with the process.
    """

    def __init__(self, make: Callable[[int, int], Unit], *, memory_bytes: int) -> None:
        self._make = make
        self._limit = memory_bytes
        self._held: OrderedDict[tuple[int, int, str], tuple[Rows, int]] = OrderedDict()
        self._held_bytes = 0
        self._known: dict[tuple[int, int], frozenset[str]] = {}
        self._spooled: dict[tuple[int, int, str], tuple[int, int]] = {}
        self._spool = None
        self._lock = threading.RLock()

    def rows(self, shard: int, day: int, event: str) -> Rows:
        with self._lock:
            names = self._known.get((shard, day))
            if names is None:
                names = self._fill(shard, day)
            if event not in names:
                return NO_ROWS
            key = (shard, day, event)
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held[0]
            rows = self._read(key)
            self._hold(key, rows)
            return rows

    def names(self, shard: int, day: int) -> frozenset[str]:
        """The events that have rows in this unit."""
        with self._lock:
            known = self._known.get((shard, day))
            return self._fill(shard, day) if known is None else known

    def close(self) -> None:
        with self._lock:
            if self._spool is not None:
                self._spool.close()

    def _fill(self, shard: int, day: int) -> frozenset[str]:
        unit = self._make(shard, day)
        names = frozenset(unit)
        self._known[shard, day] = names
        for event, rows in unit.items():
            self._hold((shard, day, event), rows)
        return names

    def _hold(self, key: tuple[int, int, str], rows: Rows) -> None:
        size = rows.size_bytes()
        self._held[key] = (rows, size)
        self._held_bytes += size
        while self._held_bytes > self._limit and len(self._held) > 1:
            oldest, (gone, gone_bytes) = self._held.popitem(last=False)
            self._held_bytes -= gone_bytes
            if oldest not in self._spooled:
                self._write(oldest, gone)

    def _write(self, key: tuple[int, int, str], rows: Rows) -> None:
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(prefix="millrace-simulator-")  # noqa: SIM115 - lives with the shelf
        data = pickle.dumps(rows, 5)
        start = self._spool.seek(0, 2)
        self._spool.write(data)
        self._spooled[key] = (start, len(data))

    def _read(self, key: tuple[int, int, str]) -> Rows:
        assert self._spool is not None
        start, length = self._spooled[key]
        self._spool.seek(start)
        rows = pickle.loads(self._spool.read(length))  # noqa: S301 - written by this process to its own unnamed file
        assert isinstance(rows, Rows)
        return rows
