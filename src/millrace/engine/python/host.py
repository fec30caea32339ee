"""A user's script as a step: guests behind a wall, a watch on each, and answers put together from what was touched."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress

import orjson
import pyarrow as pa

from millrace.data.batch import Batch
from millrace.data.dataclass import dataclass
from millrace.engine.python import jail
from millrace.engine.python.assembly import Assembly
from millrace.engine.python.frames import FORM, MORE, Answer, Garbage, answered, frame, request, rest, slices, visible
from millrace.engine.python.jail import Sandbox, probe
from millrace.engine.steps import Output, Stepped
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError, in_words

__all__ = ["PythonStep", "Sandbox", "ScriptLimits", "probe"]

# Rows that go to a guest at a time: many, which makes a frame cheap, but no more than these bytes beyond the least.
LEAST_ROWS = 2_000
MOST_ROWS = 5_000
_FRAME_BYTES = 2 << 20
# Processes that a batch may cost. Rows around the later ones are refused, not tried again.
MOST_FALLS = 100
_LOOK_S = 0.02
# A signal that comes just before the main thread waits does not wake it: it wakes by itself, and finds the signal.
_WAKES_S = 0.5
_START_S = 20.0
_PIPE = 1 << 20


@dataclass(frozen=True, slots=True)
class ScriptLimits:
    """What one event, one batch, and one guest may take. ``output_bytes``: of the answer to a part of a batch."""

    seconds_per_event: float = 5.0
    seconds_per_batch: float = 300.0
    memory_bytes: int = 256 << 20
    output_bytes: int = 64 << 20


class _Fallen(Exception):
    """A guest is gone, or had to be ended. ``event``: the row that it worked on, None where that is not known."""

    def __init__(self, code: str, message: str, event: int | None) -> None:
        super().__init__(message)
        self.code, self.message, self.event = code, message, event


@dataclass(frozen=True, slots=True)
class _Greeting:
    event_types: frozenset[str] | None
    fields: frozenset[str] | None


def _greeting(said: bytes) -> _Greeting:
    """What a guest says first. Raises ConfigError for a script that cannot be one, Garbage for anything else."""
    try:
        found = orjson.loads(said)
    except ValueError:
        raise Garbage("no greeting") from None
    match found:
        case {"error": {"message": str(message), "line": int() | None as line, "hint": str() | None as hint}}:
            raise ConfigError(
                f"the script cannot be used: {message}",
                hint=hint or "Mend that line.",
                path=None if line is None else f"line {line}",
                code="script",
            )
        case {"form": form, "event_types": list() | None as names, "fields": list() | None as fields} if form == FORM:
            return _Greeting(*(None if some is None else frozenset(map(str, some)) for some in (names, fields)))
        case {"form": int() as form} if form != FORM:
            raise EnvironmentProblem(
                "the programs of this installation are not of one version: it was changed while Millrace ran",
                hint="Start Millrace again.",
                code="changed_installation",
            )
        case _:
            raise Garbage("no greeting")


class Guest:
    """One process with the script in it. Not safe for several threads."""

    def __init__(self, source: str, wall: jail.Wall, limits: ScriptLimits, *, free: bool = False) -> None:
        self._limits = limits
        with tempfile.TemporaryFile() as shared:
            shared.write(bytes(16))
            shared.flush()
            self._shared = mmap.mmap(shared.fileno(), 16)
            try:
                self._process = jail.start(wall, shared.fileno(), memory_bytes=limits.memory_bytes)
            except OSError as cause:
                raise EnvironmentProblem(
                    f"no process can be started for the script: {in_words(cause)}", code="no_process"
                ) from cause
        self._progress = memoryview(self._shared).cast("q")
        self._seen = self._count = 0
        assert self._process.stdout is not None and self._process.stdin is not None
        self._reader, self._writer = self._process.stdout.fileno(), self._process.stdin.fileno()
        # A slice in few writes: each that finds the pipe full costs both sides a wait.
        for pipe in (self._reader, self._writer):
            with suppress(OSError, AttributeError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reader, selectors.EVENT_READ)
        try:
            said = self.ask(frame({"source": source, "free": free}), patience_s=_START_S + limits.seconds_per_event)
            greeting = _greeting(said)
        except (_Fallen, Garbage) as fallen:
            self.close()
            raise ConfigError(
                "the script ends its process, or hangs, before it sees an event",
                hint="Look at what stands outside of its functions.",
                code="script",
            ) from fallen
        except BaseException:
            self.close()
            raise
        self.event_types = greeting.event_types
        self.fields = greeting.fields

    @property
    def alive(self) -> bool:
        """It is there. A guest ends with the thread that started it."""
        return self._process.poll() is None

    def ask(
        self,
        message: bytes,
        *,
        count: int = 0,
        patience_s: float | None = None,
        until: float = math.inf,
        anew: bool = True,
    ) -> bytes:
        """The guest's answer about ``count`` events. Raises _Fallen when there is none; the guest is gone then.

        ``patience_s`` is for one event, ``until`` (`time.monotonic`) for all of them. ``anew`` False: it is in the
        middle of these events, and goes on with one of them.
        """
        if anew:
            self._progress[0] = self._seen = 0
        left = memoryview(message)
        parts: list[bytes] = []
        got, wanted = 0, None
        patience = self._limits.seconds_per_event if patience_s is None else patience_s
        self._count, since = count, time.monotonic()
        self._selector.modify(self._reader, selectors.EVENT_READ)
        self._selector.register(self._writer, selectors.EVENT_WRITE)
        writing = True
        try:
            while wanted is None or got < wanted + 8:
                ready = self._selector.select(_LOOK_S)
                for key, _ in ready:
                    if key.fd == self._writer:
                        left = left[self._send(left) :]
                        if not left:
                            self._selector.unregister(self._writer)
                            writing = False
                        continue
                    part = self._receive()
                    # What comes is one answer, made before its first byte: that it trickles is no progress.
                    since = since if parts else time.monotonic()
                    parts.append(part)
                    got += len(part)
                    if wanted is None and got >= 8:
                        parts = [b"".join(parts)]
                        wanted = int.from_bytes(parts[0][:8], "little")
                        if wanted > self._limits.output_bytes:
                            text = "the events that came out are too large together"
                            raise self._fallen("TRANSFORM_LIMIT", text, late=True)
                now, at = time.monotonic(), self._progress[0]
                # The script can write there too. It counts only forwards and not beyond the last event, so it ends.
                if self._seen < at <= count:
                    self._seen, since = at, now
                elif now - since > patience:
                    raise self._fallen("TRANSFORM_TIMEOUT", f"the script took more than {patience:g} s for one event")
                if now > until:
                    raise self._fallen("TRANSFORM_TIMEOUT", "the batch took longer than a batch may take")
        except OSError:
            told = self._told()
            raise self._fallen(
                "TRANSFORM_LIMIT",
                f"the script ended its process (more memory than it may have?){told}",
                late=self.alive,
            ) from None
        finally:
            if writing and self._process.poll() is None:
                with suppress(KeyError, ValueError):
                    self._selector.unregister(self._writer)
        whole = b"".join(parts)
        if len(whole) != wanted + 8:
            raise self._fallen("TRANSFORM_ERROR", "the script wrote into the pipes of its process", late=True)
        return whole[8:]

    def _send(self, left: memoryview) -> int:
        try:
            return os.write(self._writer, left[: 1 << 18])
        except BlockingIOError:
            return 0

    def _receive(self) -> bytes:
        try:
            part = os.read(self._reader, 1 << 20)
        except BlockingIOError:
            return b""
        if not part:
            raise BrokenPipeError("closed")
        return part

    def _told(self) -> str:
        """The signal that ended the process, in words; nothing where it runs on."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        return f"; signal {-code}" if code is not None and code < 0 else ""

    def _fallen(self, code: str, message: str, *, late: bool = False) -> _Fallen:
        """``late``: the script may have gone on to other events before it was noticed, so which one it was is open."""
        at = self._progress[0]
        self.close()
        known = at > 0 and not late
        return _Fallen(code, message, max(at if at <= self._count else 0, self._seen) - 1 if known else None)

    def kill(self) -> None:
        """The process ends, and whoever waits for its answer learns of it. For other threads."""
        if not self.alive:
            return
        for pid in jail.children(self._process.pid) or [self._process.pid]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """The process is gone. May be called twice."""
        if self._process.poll() is None:
            self._end()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._selector.close()

    def _end(self) -> None:
        """Kills what runs.

        The process that we started may stand outside of the guest's table of processes and wait for it. It goes last,
        so that it takes the others' remains with it; else they are left to the first process of the machine, which in
        a container seldom cares.
        """
        inner = jail.children(self._process.pid)
        for pid in inner:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if inner:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
                return
        self._process.kill()
        self._process.wait()


def slice_rows(rows: pa.RecordBatch, guests: int) -> int:
    """How many rows of the batch go to a guest at a time, so that none waits long for the others at its end."""
    count = rows.num_rows
    if count <= LEAST_ROWS:
        return LEAST_ROWS
    most = min(MOST_ROWS, max(LEAST_ROWS, _FRAME_BYTES * count // max(1, rows.nbytes)))
    each = math.ceil(count / (guests * math.ceil(count / (guests * most))))
    return max(each, LEAST_ROWS)


class PythonStep:
    """A script as a step (`millrace.engine.steps.Step`). Its guests live until it is closed.

    ``trusted``: it may run where this machine offers no wall. ``wall``: this one, for tests. ``keys``: the fields that
    tell rows apart in event types that it made before. Raises ConfigError for a script that cannot be one, with its
    line, and where there is no wall.
    """

    def __init__(
        self,
        source: str,
        *,
        limits: ScriptLimits | None = None,
        workers: int | None = None,
        trusted: bool = False,
        wall: jail.Wall | None = None,
        free: bool = False,
        traced: bool = False,
        keys: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._source = source
        self._limits = limits or ScriptLimits()
        self._wall: jail.Wall = wall or jail.chosen(trusted=trusted)
        self._free = free
        self._traced = traced
        self._idle: list[Guest] = []
        self._guests: set[Guest] = set()
        self._closed = False
        self.printed: list[str] = []
        self._assembly = Assembly(dict(keys or {}), traced)
        first = self._guest()
        self.event_types = first.event_types
        # The columns that go to a guest at once: those that the script names, all as soon as it wants another one.
        self._wanted = first.fields
        self._idle.append(first)
        self._workers = workers or min(2, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._workers, "millrace-script")
        # All threads begin here: one that Ctrl-C meets at its beginning is the pool's no more, and asks its guest on.
        begun = threading.Barrier(self._workers)
        list(self._pool.map(lambda _: begun.wait(), range(self._workers)))
        self._until = math.inf
        self._falls = 0

    def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
        """What the script makes of the rows; see `Step.apply`."""
        if self.event_types is not None and batch.stream not in self.event_types:
            origin = pa.array(range(batch.rows.num_rows), pa.int32())
            return Stepped((Output(batch.stream, batch.rows, origin),))
        seen = visible(batch.rows.schema, key)
        parts = list(slices(batch.rows, slice_rows(batch.rows, self._workers)))
        self._until, self._falls = time.monotonic() + self._limits.seconds_per_batch, 0
        jobs = [self._pool.submit(self._sliced, batch.stream, rows, seen, key) for _, rows in parts]
        try:
            left = {*jobs}
            while left:
                done, left = wait(left, _WAKES_S, FIRST_EXCEPTION)
                for job in done:
                    job.result()
        except BaseException:
            # Somebody pressed Ctrl-C, or no process can be started: nobody waits for the others.
            self.close()
            raise
        answers = [job.result() for job in jobs]
        for answer in answers:
            self.printed.extend(answer.printed[: max(0, 100 - len(self.printed))])
        return self._assembly.assembled(batch, key, [start for start, _ in parts], answers)

    def close(self) -> None:
        self._closed = True
        # Guests first: they end with the threads that started them, and would leave remains.
        while self._idle:
            self._drop(self._idle.pop())
        for guest in list(self._guests):
            guest.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        # What came to be meanwhile.
        for guest in list(self._guests):
            self._drop(guest)

    def _guest(self) -> Guest:
        if self._closed:
            raise MillraceError("the step is closed", code="closed_step")
        made = Guest(self._source, self._wall, self._limits, free=self._free)
        self._guests.add(made)
        if self._closed:
            made.kill()
        return made

    def _drop(self, guest: Guest) -> None:
        guest.close()
        self._guests.discard(guest)

    def _ready(self) -> Guest:
        while self._idle:
            with suppress(IndexError):
                if (guest := self._idle.pop()).alive:
                    return guest
                self._drop(guest)
        return self._guest()

    def _sliced(self, stream: str, rows: pa.RecordBatch, seen: Sequence[str], key: Sequence[str]) -> Answer:
        """The answer to a slice. Rows at which a guest falls are refused; those around them go to another guest."""
        if time.monotonic() > self._until:
            return Answer.refused(
                "TRANSFORM_TIMEOUT",
                f"the script took more than {self._limits.seconds_per_batch:g} s for a batch, and never saw this event",
                rows.num_rows,
            )
        guest = self._ready()
        try:
            try:
                wanted = self._wanted
                message = request(stream, rows, seen, key, wanted=wanted, traced=self._traced)
                body = guest.ask(message, count=rows.num_rows, until=self._until)
                if body == MORE and wanted is not None:
                    self._wanted = None
                    message = rest(rows, seen, wanted)
                    body = guest.ask(message, count=rows.num_rows, until=self._until, anew=False)
                answer = answered(body, rows.num_rows, {name for name in rows.schema.names if name not in seen})
            except Garbage as garbage:
                raise _Fallen(
                    "TRANSFORM_ERROR", f"the script's process answered with nonsense: {garbage}", None
                ) from None
        except BaseException as wrong:
            self._drop(guest)
            if isinstance(wrong, _Fallen):
                return self._around(stream, rows, seen, key, wrong)
            raise
        self._idle.append(guest)
        return answer

    def _around(
        self, stream: str, rows: pa.RecordBatch, seen: Sequence[str], key: Sequence[str], fallen: _Fallen
    ) -> Answer:
        count = rows.num_rows
        if count == 1:
            return Answer.refused(fallen.code, fallen.message)
        self._falls += 1
        if self._falls > MOST_FALLS:
            return Answer.refused(
                "TRANSFORM_LIMIT",
                f"the script ended {MOST_FALLS} processes at other events of the batch; this one was not tried again. "
                f"The last time: {fallen.message}",
                count,
            )
        if fallen.event is not None and 0 <= fallen.event < count:
            at = fallen.event
            parts = [(0, at), (at, 1), (at + 1, count - at - 1)]
            known = {at: Answer.refused(fallen.code, fallen.message)}
        else:
            # Which one it was is not known: halves are tried, and halves of those.
            parts, known = [(0, count // 2), (count // 2, count - count // 2)], dict[int, Answer]()
        done: list[tuple[int, Answer]] = []
        for start, length in parts:
            if length:
                answer = known.get(start) if length == 1 else None
                answer = answer or self._sliced(stream, rows.slice(start, length), seen, key)
                done.append((start, answer))
        return Answer.joined(done)
