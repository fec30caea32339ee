"""A threaded HTTP/1.1 server for simulators that can also misbehave on the wire. Knows nothing of any vendor."""

from __future__ import annotations

import contextlib
import gzip
import select
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote

from millrace.data.dataclass import dataclass

MAX_BODY_BYTES = 64 * 1024 * 1024
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """What came. ``path`` and ``query`` are raw (still percent-encoded); header names are lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    def params(self) -> dict[str, str]:
        """The query decoded once; the last of equal names wins. A plus sign stays one."""
        pairs = (part.partition("=") for part in self.query.split("&") if part)
        return {unquote(name): unquote(value) for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Wire:
    """How the answer leaves: drop by drop, in part, or not at all."""

    bytes_per_s: int | None = None
    never_s: float | None = None
    cut_at: float | None = None
    cut_form: Literal["length", "short"] = "length"
    reset: Literal["headers", "body"] | None = None

    @property
    def whole(self) -> bool:
        return self.never_s is None and self.cut_at is None and self.reset is None


FINE = Wire()


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    wire: Wire = FINE


App = Callable[[Request], Response]


class Server:
    """An app served on its own threads from ``start`` to ``stop``. Port 0 takes a free one."""

    def __init__(self, app: App, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._http = _Http((host, port), app)
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return self._http.server_address[1]

    def start(self) -> None:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No request is answered any more; open connections are closed."""
        self._http.stopping.set()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()
        self._http.hang_up()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], app: App) -> None:
        self.app = app
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def keep(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)

    def drop(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(connection)

    def hang_up(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is its own affair; anything else is shown by the default."""
        import sys

        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType] - stub is narrower


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "millrace-simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    server: _Http  # pyright: ignore[reportIncompatibleVariableOverride] - always made by _Http

    def setup(self) -> None:
        super().setup()
        self.server.keep(self.connection)

    def finish(self) -> None:
        self.server.drop(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are kept in the simulator's journal, not on stderr."""

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "chunked" in self.headers.get("Transfer-Encoding", "") or not length.isdigit():
            self.close_connection = True
            self._send(Response(411, b"the simulator needs a Content-Length"), gzip_asked=False)
            return
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(Response(413, b"body over 64 MiB"), gzip_asked=False)
            return
        body = self.rfile.read(int(length)) if length != "0" else b""
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.server.app(Request(self.command, path, query, headers, body))
        try:
            self._send(response, gzip_asked="gzip" in headers.get("accept-encoding", ""))
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = _answer

    def _send(self, response: Response, *, gzip_asked: bool) -> None:
        wire = response.wire
        if wire.never_s is not None:
            self._keep_silent(wire.never_s)
            return
        if wire.reset == "headers":
            self._reset()
            return
        body = response.body
        headers = dict(response.headers)
        if gzip_asked and len(body) > 256:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        sent = len(body)
        if wire.cut_at is not None or wire.reset == "body":
            sent = min(len(body) - 1, max(1, int(len(body) * (wire.cut_at or 0.5)))) if body else 0
        if wire.cut_form == "short":
            body = body[:sent]
        if self.close_connection or not wire.whole:
            self.close_connection = True
            headers["Connection"] = "close"
        else:
            headers["Connection"] = "keep-alive"
        head = self._head(response.status, len(body), headers)
        if self.command == "HEAD":
            self.connection.sendall(head)
            return
        self._write(head, memoryview(body)[:sent], wire.bytes_per_s)
        if wire.reset == "body":
            self._reset()

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> bytes:
        reason = self.responses.get(status, ("Unknown", ""))[0]
        lines = [f"HTTP/1.1 {status} {reason}", f"Server: {self.server_version}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _write(self, head: bytes, body: memoryview, bytes_per_s: int | None) -> None:
        if bytes_per_s is not None:
            self.connection.sendall(head)
            step = max(1, bytes_per_s // 20)
            for start in range(0, len(body), step):
                self.connection.sendall(body[start : start + step])
                if self.server.stopping.wait(step / bytes_per_s):
                    return
        elif len(body) < 65536:
            self.connection.sendall(head + bytes(body))
        else:
            self.connection.sendall(head)
            self.connection.sendall(body)

    def _reset(self) -> None:
        """The peer sees a TCP reset instead of an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # rfile holds the descriptor open; with it closed, close() below takes effect at once.
        self.rfile.close()
        self.server.drop(self.connection)
        self.connection.close()

    def _keep_silent(self, seconds: float) -> None:
        """Nothing is sent until the peer gives up, the time is over or the server stops."""
        self.close_connection = True
        waited = 0.0
        while waited < seconds and not self.server.stopping.wait(0.05):
            waited += 0.05
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return
