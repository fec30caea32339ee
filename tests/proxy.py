"""A TCP proxy that does something to the connection after so many bytes: it cuts, resets or delays, or calls."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 1 << 14
DELAY_S = 0.3


@dataclass
class Pair:
    """One connection: the client's side and the server's."""

    client: socket.socket
    server: socket.socket

    def cut(self) -> None:
        """Both sides see an orderly end, wherever their messages were."""
        for one in (self.client, self.server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Both sides see that the other is gone."""
        for one in (self.client, self.server):
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Whoever waits for bytes of it wakes up; until then the kernel would keep it open.
                one.shutdown(socket.SHUT_RD)
            one.close()

    def delay(self) -> None:
        time.sleep(DELAY_S)


Action = Callable[[Pair], None]


@dataclass
class Proxy:
    """Between ``port`` of ``host``, this machine, and the port ``to``. Bytes of both directions and all connections
    count."""

    to: int
    host: str = "127.0.0.1"
    passed: int = 0
    done: int = 0
    """Actions that came to pass."""
    _at: tuple[int, Action] | None = None
    _again: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pairs: list[Pair] = field(default_factory=list[Pair])

    def __post_init__(self) -> None:
        self._listening = socket.create_server(
            (self.host, 0), family=socket.AF_INET6 if ":" in self.host else socket.AF_INET
        )
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def at(self, count: int, action: Action, *, again: bool = False) -> Generator[None]:
        """While the block runs: what happens to the connection that carries the byte of this number, counted anew;
        ``again``: and to that which carries as many behind it, and so on."""
        with self._lock:
            self.passed, self._at, self._again = 0, (count, action), again
        try:
            yield
        finally:
            with self._lock:
                self._at = None

    def close(self) -> None:
        self._listening.close()
        for pair in self._pairs:
            pair.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            pair = Pair(client, server)
            self._pairs.append(pair)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(pair, source, target), daemon=True).start()

    def _carry(self, pair: Pair, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                before, action = self._count(len(data))
                if action is not None:
                    target.sendall(data[:before])
                    action(pair)
                    data = data[before:]
                target.sendall(data)
        pair.cut()

    def _count(self, size: int) -> tuple[int, Action | None]:
        """How many of the bytes come before the point, and what is to be done there."""
        with self._lock:
            began, self.passed = self.passed, self.passed + size
            if self._at is None or self.passed < self._at[0]:
                return size, None
            count, action = self._at
            self._at = (self.passed + count, action) if self._again else None
            self.done += 1
            return max(count - began, 0), action
