"""A connection over which the server sends its log.

Sources: https://www.postgresql.org/docs/current/protocol-replication.html, protocol-logical-replication.html
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq

from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError, Transient
from millrace.sources.postgres.catalog import literal
from millrace.sources.postgres.types import AS_IT_IS, SESSION

# Microseconds from 1970 to 2000, from where the server counts.
_EPOCH_US = 946_684_800_000_000
# Whoever is silent for longer is taken for gone by the server (wal_sender_timeout, 60 s as it comes).
_FEEDBACK_S = 5.0
# So is who stages and commits what was read for longer: that may take so long at least, from version 12 on.
_SILENT = """
SELECT set_config('wal_sender_timeout', '5min', false) FROM pg_settings
WHERE name = 'wal_sender_timeout' AND context = 'user' AND setting::int8 BETWEEN 1 AND 299999"""


def lsn(text: str) -> int:
    """A place in the log as a number."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


@dataclass(frozen=True, slots=True)
class Patience:
    """With a command that waits for others at the server: so long at most, and until the run shall stop. Then it is
    cancelled by the number of its process."""

    most_s: float
    stopping: Callable[[], bool]
    cancel: Callable[[int], None]
    late: Transient


class Wire:
    """One replication connection. ``translated`` makes our error of the server's state and words."""

    def __init__(
        self, uri: str, translated: Callable[[str | None, str], MillraceError], timeout_s: float = 10.0
    ) -> None:
        self._translated = translated
        self._pgconn = _connected(f"{uri}&replication=database", timeout_s)
        if self._pgconn.status != pq.ConnStatus.OK:
            words = self._pgconn.error_message.decode(errors="replace") or "connection failed: timeout expired"
            self._pgconn.finish()
            raise translated(None, words)
        self._confirmed = 0
        self._told_at = time.monotonic()
        for name, value in SESSION.items():
            self.ask(f"SET {name} = {literal(value)}")
        self.ask(AS_IT_IS)
        self.ask(_SILENT)

    def ask(self, command: str, patience: Patience | None = None) -> list[tuple[str | None, ...]]:
        """Rows of one command. Raises what the ``patience`` has to say when that ends."""
        with self._errors():
            return self._answer(command, patience)

    def _answer(self, command: str, patience: Patience | None) -> list[tuple[str | None, ...]]:
        self._pgconn.send_query(command.encode())
        began = time.monotonic()
        while self._pgconn.is_busy():
            self._wait(0.2)
            self._pgconn.consume_input()
            if patience and (patience.stopping() or time.monotonic() - began > patience.most_s):
                patience.cancel(self._pgconn.backend_pid)
                raise patience.late
        rows: list[tuple[str | None, ...]] = []
        while (result := self._pgconn.get_result()) is not None:
            self._checked(result)
            for row in range(result.ntuples):
                values = (result.get_value(row, column) for column in range(result.nfields))
                rows.append(tuple(None if one is None else one.decode(errors="replace") for one in values))
            if result.status == pq.ExecStatus.COPY_BOTH:
                break
        return rows

    def start(self, slot: str, at: int, options: dict[str, str]) -> None:
        """The server sends what was committed behind ``at``."""
        said = ", ".join(f"\"{name}\" '{value}'" for name, value in options.items())
        self.ask(f'START_REPLICATION SLOT "{slot}" LOGICAL {lsn_text(at)} ({said})')
        self._confirmed = at
        self.feedback()

    def messages(self, pause_s: float) -> Iterator[memoryview | None]:
        """Messages as they come; None when nothing came for so long."""
        get, now = self._pgconn.get_copy_data, time.monotonic
        count = 0
        with self._errors():
            while True:
                size, data = get(1)
                if size > 0:
                    count += 1
                    if not count & 0xFF and now() - self._told_at > _FEEDBACK_S:
                        self.feedback()
                    yield data
                    continue
                if size < 0:
                    result = self._pgconn.get_result()
                    if result is not None:
                        self._checked(result)
                    raise Transient("the server ended the connection over which it sends its log")
                if now() - self._told_at > _FEEDBACK_S:
                    self.feedback()
                if not self._wait(pause_s):
                    yield None
                self._pgconn.consume_input()

    def confirm(self, at: int) -> None:
        """All up to ``at`` is durable with us, and the server hears of it."""
        self._confirmed = max(self._confirmed, at)
        self.feedback()

    def feedback(self, *, answer: bool = False) -> None:
        """The server hears how far we are; with ``answer`` it shall say how far it is itself."""
        at = self._confirmed.to_bytes(8, "big")
        moment = (time.time_ns() // 1000 - _EPOCH_US).to_bytes(8, "big", signed=True)
        with self._errors():
            self._pgconn.put_copy_data(b"r" + at + at + at + moment + (b"\1" if answer else b"\0"))
            while self._pgconn.flush():
                select.select([], [self._pgconn.socket], [], 1.0)
        self._told_at = time.monotonic()

    def finish(self, wait_s: float = 2.0) -> None:
        """The server has read what it was told, unless it takes too long; then the connection ends."""
        with suppress(psycopg.Error, MillraceError, OSError):
            self._pgconn.put_copy_end()
            self._pgconn.flush()
            until = time.monotonic() + wait_s
            while time.monotonic() < until:
                size, _ = self._pgconn.get_copy_data(1)
                if size < 0:
                    break
                if size == 0:
                    self._wait(0.1)
                    self._pgconn.consume_input()
        self.close()

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._pgconn.finish()

    def _wait(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._pgconn.socket], [], [], seconds)
        return bool(ready)

    def _checked(self, result: Any) -> None:
        if result.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
            state = result.error_field(pq.DiagnosticField.SQLSTATE)
            words = result.error_message.decode(errors="replace")
            raise self._translated(state.decode() if state else None, words)

    def _errors(self) -> _Errors:
        return _Errors(self)

    def failed(self, error: psycopg.Error) -> MillraceError:
        return self._translated(None, str(error))


def _connected(uri: str, timeout_s: float) -> pq.abc.PGconn:
    """A connection, whose status says whether it is one.

    Step by step, because other threads run between the steps: the server may be behind a tunnel of this process.
    """
    pgconn = pq.PGconn.connect_start(uri.encode())
    until = time.monotonic() + timeout_s
    turn = pq.PollingStatus.WRITING
    while pgconn.status != pq.ConnStatus.BAD and turn in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
        left = until - time.monotonic()
        sockets = [pgconn.socket]
        reads, writes = (sockets, []) if turn == pq.PollingStatus.READING else ([], sockets)
        if left <= 0 or not any(select.select(reads, writes, [], left)):
            break
        turn = pgconn.connect_poll()
    return pgconn


class _Errors:
    """What libpq says comes out as ours."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, psycopg.Error):
            raise self._wire.failed(error) from error
