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
from dataclasses import dataclass, field
from io import FileIO
from typing import cast
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from millrace.sources.clevertap import wire
from millrace.sources.clevertap.mapper import Columns, Mapper, Reject, Texts
from millrace.sources.clevertap.times import Moments

# Smaller pages are mapped sooner than they are handed over.
LARGE_BYTES = 128 * 2**10
# Large pages until it is clear that a process will pay for its start.
ENOUGH = 4
MOST_PROCESSES = 3

_HEAD = struct.Struct("<QQ")
_ALIGNED = 64
_PIPE_BYTES = 2**20
_F_SETPIPE_SZ = 1031
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
_log = logging.getLogger("millrace.clevertap")


class Settings(msgspec.Struct, frozen=True):
    """What a mapper needs to know of a project."""

    timezone: str
    whole: bool
    by_record: bool


class _Said(msgspec.Struct, frozen=True):
    """What stands before the columns in an answer: the rest of the page, and the length of each buffer."""

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
        self._starting: list[_Process] = []
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._waiting = 0
        """Threads that wait for a process."""
        self._closed = False

    def read(self, event: str, body: bytes) -> wire.Answer:
        """The page in ``body``: `Mapped` when it is a success. Raises wire.NotJson."""
        worker = self._taken(large=len(body) >= LARGE_BYTES)
        if isinstance(worker, _Process):
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

    def _taken(self, *, large: bool, here: bool = False) -> _Here | _Process:
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
                self._starting = [_Process(self._settings) for _ in range(self._most)]
        for process in [process for process in self._starting if process.heard]:
            self._starting.remove(process)
            if process.ready():
                self._idle.append(process)
            else:
                process.end()

    def _asked(self, process: _Process, event: str, body: bytes) -> Mapped | None:
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


class _Process:
    """One process, from here."""

    def __init__(self, settings: Settings) -> None:
        kept = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("PYTHON")}
        self._process = subprocess.Popen(  # noqa: S603  this module, by this Python
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=kept,
            # Ctrl-C is for the one that runs; this one ends when its input does.
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = cast("FileIO", self._process.stdin), cast("FileIO", self._process.stdout)
        _widen(self._to, self._from)
        _send(self._to, msgspec.json.encode(settings), b"")

    @property
    def heard(self) -> bool:
        """Whether it has said something, or ended."""
        return bool(select.select([self._from], [], [], 0)[0])

    def ready(self) -> bool:
        """Whether what it said first is that it is ready."""
        try:
            return bytes(_receive(self._from)[0]) == _READY
        except OSError:
            return False

    def map(self, event: str, body: bytes) -> Mapped | None:
        """Raises OSError when the process is gone."""
        _send(self._to, event.encode(), body)
        head, rest = _receive(self._from)
        if not head:
            return None
        said = msgspec.msgpack.decode(head, type=_Said)
        columns = _joined(said, rest)
        envelope = wire.Envelope(status="success", cursor=said.cursor, next_cursor=said.next_cursor)
        return Mapped(envelope, b"", [], columns=columns)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        for stream in (self._to, self._from):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()


_READY = b"ready"


def serve(reader: FileIO, writer: FileIO) -> None:
    """The life of such a process: pages come, columns go, until the input ends."""
    try:
        here = _Here(msgspec.json.decode(bytes(_receive(reader)[0]), type=Settings))
        _send(writer, _READY, b"")
        while True:
            name, body = _receive(reader)
            try:
                found = here.map(bytes(name).decode(), bytes(body))
            except Exception:  # whoever asked does it again, and meets it where it can be told
                found = None
            if not isinstance(found, Mapped):
                _send(writer, b"", b"")
                continue
            buffers = _apart(found.columns)
            lengths = [-1 if buffer is None else len(buffer) for buffer in buffers]
            said = _Said(found.envelope.cursor, found.envelope.next_cursor, found.columns.rejects, lengths)
            _send(writer, msgspec.msgpack.encode(said), *(buffer or b"" for buffer in buffers), padded=True)
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


def _send(writer: FileIO, head: bytes, *parts: bytes | memoryview, padded: bool = False) -> None:
    """Two lengths, a head, and what follows it; with ``padded`` each part begins at a multiple of 64 bytes."""
    size = sum(_room(len(part)) if padded else len(part) for part in parts)
    _write(writer, _HEAD.pack(len(head), size) + head)
    for part in parts:
        _write(writer, part)
        if padded and (short := _room(len(part)) - len(part)):
            _write(writer, bytes(short))


def _write(writer: FileIO, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while len(left):
        left = left[writer.write(left) :]


def _receive(reader: FileIO) -> tuple[memoryview, memoryview]:
    """Raises EOFError's kin, OSError, when nobody writes any more."""
    head, rest = _HEAD.unpack(_exactly(reader, _HEAD.size))
    return _exactly(reader, head), _exactly(reader, rest)


def _exactly(reader: FileIO, size: int) -> memoryview:
    # Numpy's memory is aligned and not filled first.
    whole = np.empty(size, np.uint8).data
    at = 0
    while at < size:
        got = reader.readinto(whole[at:])
        if not got:
            raise BrokenPipeError("it said nothing more")
        at += got
    return whole


def _room(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


def _widen(*pipes: FileIO) -> None:
    """Pipes hold a third of a page, where the system lets them: fewer turns for each."""
    if sys.platform == "linux":
        import fcntl

        for pipe in pipes:
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    serve(FileIO(0, "rb", closefd=False), FileIO(1, "wb", closefd=False))
