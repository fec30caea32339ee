"""The intake at one server: who may send, how much may wait, and what was accepted made durable."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from millrace.connect.intake.frames import Entry, framed
from millrace.connect.intake.place import Place
from millrace.control.home import Home
from millrace.control.people import keys
from millrace.control.pipeline import hooks, intakes
from millrace.control.pipeline.hooks import Directory
from millrace.data.dataclass import dataclass
from millrace.rest.hooks.groups import Group, Told

# Method, route, status and seconds of a request that was answered.
Count: TypeAlias = Callable[[str, str, int, float], None]

# Pairs of keys that are known for a second.
MOST_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Room:
    """How much may come. ``body_bytes``: of one request. ``held_bytes``: of all that are being received or written.
    ``backlog_bytes``: of one pipeline, kept and not yet read. ``body_timeout_s``: for the whole body of a request."""

    body_bytes: int = 16 << 20
    held_bytes: int = 256 << 20
    backlog_bytes: int = 2 << 30
    body_timeout_s: float = 30.0


# The backlog is measured so often at most; what came since is added.
MEASURED_S = 2.0

# Groups that are written at the same time, each of another pipeline.
WRITERS = 4


@dataclass(slots=True)
class _Measured:
    at: float
    bytes: int
    written_bytes: int


class Receiving:
    """Used in one event loop. ``count``: told of every request that was answered."""

    def __init__(self, home: Home, room: Room, count: Count) -> None:
        self.room = room
        self.count = count
        self.held_bytes = 0
        self._home = home
        self._directory = Directory(home.database)
        self._threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="intake")
        self._place: Place | None = None
        # A process never goes on with the part of another one.
        self._part = uuid.uuid4().hex[:16]
        self._by_key: dict[tuple[str, str, str, str | None], tuple[float, str]] = {}
        self._groups: dict[str, Group] = {}
        self._measured: dict[str, _Measured] = {}

    async def pipeline_id(self, token: str) -> str | None:
        """The pipeline that may be told with this token; None where there is none."""
        if self._directory.stale:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._directory.refresh)
        return self._directory.pipeline_id(token)

    async def by_key(self, pair: tuple[str, str], pipeline: str, address: str | None) -> str:
        """The pipeline of that name, told by the holder of an API key. What is right is known for a second, as tokens
        are. Raises AuthError, Forbidden, and ConfigError where there is none that is told things."""
        asked = (*pair, pipeline, address)
        known = self._by_key.get(asked)
        if known is not None and time.monotonic() - known[0] < hooks.FRESH_S:
            return known[1]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._asked, pair, pipeline, address)
        if len(self._by_key) >= MOST_KEYS:
            self._by_key.clear()
        self._by_key[asked] = (time.monotonic(), found)
        return found

    def _asked(self, pair: tuple[str, str], pipeline: str, address: str | None) -> str:
        actor = keys.authenticate(self._home, *pair, address=address)
        actor.must("pipelines.edit")
        return hooks.told(self._home.acting(actor), pipeline)

    def taking(self, token: str) -> str | None:
        """The pipeline that may be told with this token, where it is known without asking anybody that it takes more;
        None also where that must be asked first."""
        if self._directory.stale or (pipeline_id := self._directory.pipeline_id(token)) is None:
            return None
        found = self._measured.get(pipeline_id)
        if found is None or time.monotonic() - found.at >= MEASURED_S:
            return None
        return pipeline_id if self._waiting_bytes(pipeline_id, found) < self.room.backlog_bytes else None

    async def full(self, pipeline_id: str) -> bool:
        """Whether so much waits for the pipeline that no more is taken now."""
        found = self._measured.get(pipeline_id)
        now = time.monotonic()
        if found is None or now - found.at >= MEASURED_S:
            if found is not None:
                found.at = now  # one request measures, the others go on with what is known
            loop = asyncio.get_running_loop()
            written = self._written(pipeline_id)
            size = await loop.run_in_executor(self._threads, self._backlog, pipeline_id)
            found = self._measured[pipeline_id] = _Measured(now, size, written)
        return self._waiting_bytes(pipeline_id, found) >= self.room.backlog_bytes

    async def keep(self, pipeline_id: str, entry: Entry) -> None:
        """The entry is durable. Raises OSError or a MillraceError, and nobody knows then."""
        await self._group(pipeline_id).put(framed(entry))

    def keep_soon(self, pipeline_id: str, entry: Entry, told: Told) -> None:
        """The entry is on its way to the disk; ``told`` is called when it is durable, or when nobody knows."""
        self._group(pipeline_id).add(framed(entry), told)

    def close(self) -> None:
        """What was begun is written, and the parts are whole."""
        self._threads.shutdown()
        for group in self._groups.values():
            group.close()

    def _group(self, pipeline_id: str) -> Group:
        group = self._groups.get(pipeline_id)
        if group is None:
            group = self._groups[pipeline_id] = Group(self._at().writer(pipeline_id, self._part), self._threads)
        return group

    def _written(self, pipeline_id: str) -> int:
        group = self._groups.get(pipeline_id)
        return group.written_bytes if group is not None else 0

    def _waiting_bytes(self, pipeline_id: str, found: _Measured) -> int:
        return found.bytes + self._written(pipeline_id) - found.written_bytes

    def _backlog(self, pipeline_id: str) -> int:
        return sum(file.size_bytes for file in self._at().files(pipeline_id))

    def _at(self) -> Place:
        if self._place is None:
            self._place = intakes.place(self._home)
        return self._place
