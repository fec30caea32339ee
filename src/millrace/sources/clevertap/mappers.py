"""Pages are read and mapped here, and in processes beside this one once enough of them come.

One thread at a time holds Python's lock, and reading, hashing and mapping need it for most of what a page takes. The
processes are given the bytes of pages and no credentials, and they keep nothing. Where none can be had, or one is
killed, or does not like a page, that page is mapped here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import struct
import subprocess
import sys
import threading
from dataclasses import field
from io import FileIO
from typing import cast
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from millrace.data.dataclass import dataclass
from millrace.sources.clevertap import wire
from millrace.sources.clevertap.mapper import Columns, Mapper, Reject, Texts
from millrace.sources.clevertap.shared import Shared
from millrace.sources.clevertap.times import Moments

# Smaller pages are mapped sooner than they are handed over.
LARGE_BYTES = 128 * 2**10
# Large pages until it is clear that a process will pay for its start.
ENOUGH = 4
MOST_PROCESSES = 3
# How much later such a process has its turn at a core than whoever loads, here or in a server of this machine: what
# waits to be loaded when all is read, one core loads alone.
BEHIND = 5

_LENGTH = struct.Struct("<Q")
_READY = b"ready"
_ALIGNED = 64
# What a Python needs to start here as it does there.
_ENVIRONMENT = ("PATH", "PYTHON", "LANG", "LC_", "LD_")
# A process has one thread, and gives back what a page took (`control/process.py` says how).
_SMALL = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "262144",
    "MALLOC_TRIM_THRESHOLD_": "262144",
    "OPENBLAS_NUM_THREADS": "1",
}
_log = logging.getLogger("millrace.clevertap")


class Settings(msgspec.Struct, frozen=True):
    """What a mapper needs to know of a project."""

    timezone: str
    whole: bool
    by_record: bool


class _Asked(msgspec.Struct, frozen=True):
    """A page lies in the memory for pages."""

    event: str
    length: int


class _Said(msgspec.Struct, frozen=True):
    """The columns lie in the memory for columns; what else the page says; lengths of the buffers, -1 for none."""

    cursor: str | None
    next_cursor: str | None
    rejects: list[Reject]
    lengths: list[int]


@dataclass(slots=True)
class Mapped(wire.Answer):
    """A page that was mapped already. It has no records any more."""

    columns: Columns = field(kw_only=True)


class Mappers:
    """Maps the pages of one project, one page here and one in each process at a time. Safe for several threads.

    There are at most ``most`` processes, and one less than there are cores.
    """

    def __init__(self, settings: Settings, most: int) -> None:
        self._settings = settings
        self._most = max(0, min(most, MOST_PROCESSES, _cores() - 1))
        self._turn = threading.Condition()
        self._large = 0
        self._here: _Here | None = _Here(settings)
        self._starting: list[Process] = []
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._waiting = 0
        """Threads that wait for a process."""
        self._closed = False

    @property
    def beside(self) -> list[int]:
        """The processes that are at work or ready for it."""
        with self._turn:
            return [process.number for process in (*self._idle, *self._busy)]

    @property
    def starting(self) -> list[int]:
        """The processes that have not said yet that they are ready."""
        with self._turn:
            return [process.number for process in self._starting]

    def read(self, event: str, body: bytes) -> wire.Answer:
        """The page in ``body``: `Mapped` when it is a success. Raises wire.NotJson."""
        worker = self._taken(large=len(body) >= LARGE_BYTES)
        if isinstance(worker, Process):
            found = self._asked(worker, event, body)
            if found is not None:
                return found
            worker = self._taken(large=False, here=True)
        assert isinstance(worker, _Here)
        try:
            return worker.map(event, body)
        finally:
            with self._turn:
                self._here = worker
                self._turn.notify_all()

    def close(self) -> None:
        """The processes end, at once; pages that come still are mapped here."""
        with self._turn:
            self._closed = True
            for process in (*self._starting, *self._idle):
                process.end()
            self._starting.clear()
            self._idle.clear()
            for process in self._busy:
                # Whoever waits for its answer closes it.
                process.kill()
            self._turn.notify_all()

    def _taken(self, *, large: bool, here: bool = False) -> _Here | Process:
        """Whose turn it is; with ``here`` no process. A process works best when the next page waits for it already, so
        a large page is mapped here only when every process has one waiting."""
        with self._turn:
            if large:
                self._start()
            while True:
                if self._idle and not here and (large or self._here is None):
                    process = self._idle.pop()
                    self._busy.add(process)
                    return process
                if self._here is not None and (not large or self._waiting >= len(self._busy)):
                    worker, self._here = self._here, None
                    return worker
                self._waiting += large
                self._turn.wait()
                self._waiting -= large

    def _start(self) -> None:
        """Processes are started when enough large pages have come, and work as soon as they say that they are ready."""
        self._large += 1
        if self._large == ENOUGH and not self._closed:
            with contextlib.suppress(OSError):
                self._starting = [Process(self._settings) for _ in range(self._most)]
        for process in [process for process in self._starting if process.heard]:
            self._starting.remove(process)
            if process.ready():
                self._idle.append(process)
            else:
                process.end()

    def _asked(self, process: Process, event: str, body: bytes) -> Mapped | None:
        """What the process makes of a page; None when that is not to be had."""
        alive = False
        try:
            found = process.map(event, body)
            alive = True
        except (OSError, msgspec.MsgspecError) as error:
            _log.info("a process that maps pages ended: %s", error)
            return None
        finally:
            with self._turn:
                self._busy.remove(process)
                if alive and not self._closed:
                    self._idle.append(process)
                else:
                    process.end()
                self._turn.notify_all()
        return found


class _Here:
    """The mappers of each event name. Not safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._moments = Moments(ZoneInfo(settings.timezone))
        self._mappers: dict[str, Mapper] = {}

    def map(self, event: str, body: bytes) -> wire.Answer:
        """Raises wire.NotJson."""
        known = self._settings
        answer = wire.read(body, whole=known.whole)
        if not answer.succeeded:
            return answer
        mapper = self._mappers.get(event)
        if mapper is None:
            mapper = self._mappers[event] = Mapper(event, self._moments, whole=known.whole, by_record=known.by_record)
        return Mapped(answer.envelope, b"", [], columns=mapper(answer))


class Process:
    """One process, from here. Pages and columns lie in memory that both see; what is said of them goes by pipes."""

    def __init__(self, settings: Settings) -> None:
        kept = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}
        self._page, self._columns = Shared(), Shared()
        shared = (self._page.fileno(), self._columns.fileno())
        self._process = subprocess.Popen(  # noqa: S603  this module, by this Python
            [sys.executable, "-m", __name__, *map(str, shared)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=kept | _SMALL,
            pass_fds=shared,
            # Ctrl-C is for the one that runs; this one ends when its input does. It stays in the session: where the
            # kernel gives each session its share of the cores, one of its own would go before whoever loads.
            process_group=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = cast("FileIO", self._process.stdin), cast("FileIO", self._process.stdout)
        _say(self._to, settings)

    @property
    def number(self) -> int:
        return self._process.pid

    @property
    def heard(self) -> bool:
        """Whether it has said something, or ended."""
        return bool(select.select([self._from], [], [], 0)[0])

    def ready(self) -> bool:
        """Whether what it said first is that it is ready."""
        try:
            return _hear(self._from) == _READY
        except OSError:
            return False

    def map(self, event: str, body: bytes) -> Mapped | None:
        """Raises OSError when the process is gone."""
        self._page.room(len(body))[: len(body)] = body
        _say(self._to, _Asked(event, len(body)))
        said = msgspec.msgpack.decode(_hear(self._from), type=_Said | None)
        if said is None:
            return None
        size = sum(_room(max(length, 0)) for length in said.lengths)
        # Numpy's memory is aligned, and not filled first.
        whole = np.empty(size, np.uint8)
        whole[:] = np.frombuffer(self._columns.seen(size), np.uint8)
        envelope = wire.Envelope(status="success", cursor=said.cursor, next_cursor=said.next_cursor)
        return Mapped(envelope, b"", [], columns=_joined(said, whole.data))

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        for stream in (self._to, self._from, self._page, self._columns):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()


def serve(reader: FileIO, writer: FileIO, page: Shared, columns: Shared) -> None:
    """The life of such a process: pages come, columns go, until the input ends."""
    with contextlib.suppress(OSError):  # some sandboxes refuse it
        os.nice(BEHIND)
    try:
        here = _Here(msgspec.msgpack.decode(_hear(reader), type=Settings))
        writer.write(_LENGTH.pack(len(_READY)) + _READY)
        while True:
            asked = msgspec.msgpack.decode(_hear(reader), type=_Asked)
            try:
                found = here.map(asked.event, bytes(page.seen(asked.length)))
            except Exception:  # whoever asked does it again, and meets it where it can be told
                found = None
            if not isinstance(found, Mapped):
                _say(writer, None)
                continue
            buffers = _apart(found.columns)
            lengths = [-1 if buffer is None else len(buffer) for buffer in buffers]
            at, room = 0, columns.room(sum(_room(max(length, 0)) for length in lengths))
            for buffer in buffers:
                if buffer is not None:
                    room[at : at + len(buffer)] = buffer
                    at += _room(len(buffer))
            del room
            _say(writer, _Said(found.envelope.cursor, found.envelope.next_cursor, found.columns.rejects, lengths))
    except OSError:
        return


_TEXTS = ("objects", "identities", "events", "sessions", "sources", "profiles")
_NUMBERS = ("digits", "moment", "hashes", "state")


def _apart(columns: Columns) -> list[memoryview | None]:
    """The buffers of the columns, in the order in which `_joined` takes them."""
    found: list[memoryview | None] = [getattr(columns, name) for name in _NUMBERS]
    for texts in [*(getattr(columns, name) for name in _TEXTS), *columns.extras]:
        found += [texts.data, texts.offsets, texts.there]
    return found


def _joined(said: _Said, rest: memoryview) -> Columns:
    buffers: list[memoryview | None] = []
    at = 0
    for length in said.lengths:
        buffers.append(None if length < 0 else rest[at : at + length])
        at += _room(max(length, 0))
    numbers = dict(zip(_NUMBERS, cast("list[memoryview]", buffers), strict=False))
    columns = [
        Texts(cast("memoryview", data), cast("memoryview", offsets), there)
        for data, offsets, there in zip(*[iter(buffers[len(_NUMBERS) :])] * 3, strict=True)
    ]
    texts = dict(zip(_TEXTS, columns, strict=False))
    return Columns(**numbers, **texts, extras=columns[len(_TEXTS) :], rejects=said.rejects)


def _say(writer: FileIO, what: msgspec.Struct | None) -> None:
    text = msgspec.msgpack.encode(what)
    left = memoryview(_LENGTH.pack(len(text)) + text)
    while len(left):
        left = left[writer.write(left) :]


def _hear(reader: FileIO) -> bytes:
    """Raises OSError when nobody says anything any more."""
    return _exactly(reader, _LENGTH.unpack(_exactly(reader, _LENGTH.size))[0])


def _exactly(reader: FileIO, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = reader.read(size)
        if not part:
            raise BrokenPipeError("it said nothing more")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _room(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    serve(FileIO(0, closefd=False), FileIO(1, "wb", closefd=False), *(Shared(int(number)) for number in sys.argv[1:]))
