"""A proxy of this process for clients that resolve names and follow redirects by themselves.

A bucket's service that a user named may answer with a redirect to anywhere, and its name may lead elsewhere a moment
later. Each connection of such a client begins here, where the address is looked at, and goes to that very address.
It listens on this machine alone and asks for a password that only this process knows. The client does not tell it for a
plain request to which another server redirected, so there is no way there at all.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from millrace.connect.reach import Kind, Walled, resolved

CONNECT_S, SILENT_S = 10.0, 300.0
_PIECE = 256 << 10

# Those are between two ends of one connection (RFC 9110, 7.6.1).
_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding",
     "upgrade"}
)  # fmt: skip


@cache
def through(allowed: frozenset[Kind]) -> str:
    """The URL of a proxy that leads to addresses of these kinds alone, with its password. It ends with the process."""
    password = secrets.token_urlsafe(24)
    wanted = "Basic " + base64.b64encode(f"gate:{password}".encode()).decode()
    handler = type("Gate", (_Gate,), {"allowed": allowed, "wanted": wanted})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, name="gate", daemon=True).start()
    return f"http://gate:{password}@127.0.0.1:{server.server_port}"


# Threads do not come along into a child.
os.register_at_fork(after_in_child=through.cache_clear)


class _Gate(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SILENT_S
    allowed: ClassVar[frozenset[Kind]]
    wanted: ClassVar[str]

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: URLs may carry what is secret."""

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if (there := self._connected(host.strip("[]"), port)) is None:
            return
        with closing(there):
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
            back.start()
            _pump(self.connection, there)
            back.join()
        self.close_connection = True

    def _passed_on(self) -> None:
        """One request and its answer; each takes a connection of its own, so that each is looked at."""
        self.close_connection = True
        parts = urlsplit(self.path)
        if parts.scheme != "http" or not parts.hostname or "transfer-encoding" in self.headers:
            self._refuse(400, "what is asked for is no plain request to a server")
            return
        if (there := self._connected(parts.hostname, str(parts.port or 80))) is None:
            return
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80)
        connection.sock = there
        with closing(connection):
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            try:
                connection.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in _HOP:
                        connection.putheader(name, value)
                connection.putheader("Connection", "close")
                connection.endheaders()
                for piece in self._body():
                    connection.send(piece)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException):
                self._refuse(502, "the server broke the connection off")
                return
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            # An answer that breaks off is shorter than it said, which its reader sees.
            with suppress(OSError, http.client.HTTPException):
                while piece := answer.read(_PIECE):
                    self.wfile.write(piece)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _passed_on

    def _connected(self, host: str, port: str) -> socket.socket | None:
        """A connection to an address of an allowed kind; None where the caller was told why there is none."""
        given = self.headers.get("proxy-authorization", "")
        if not hmac.compare_digest(given.encode(), self.wanted.encode()):
            self._refuse(
                407,
                "this is for its own process, and leads nowhere that another server redirects to",
                ("Proxy-Authenticate", 'Basic realm="gate"'),
            )
            return None
        try:
            addresses = resolved(host, int(port), self.allowed)
            return socket.create_connection((addresses[0], int(port)), timeout=CONNECT_S)
        except Walled as walled:
            self._refuse(403, walled.message)
        except (OSError, ValueError, IndexError):
            self._refuse(502, f"there is no connection to {host}")
        return None

    def _body(self) -> Iterator[bytes]:
        left = int(self.headers.get("content-length") or 0)
        while left and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece

    def _refuse(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        self.close_connection = True
        body = text.encode()
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body))), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """All bytes of one end go to the other, until there are no more."""
    with suppress(OSError):
        source.settimeout(SILENT_S)
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
