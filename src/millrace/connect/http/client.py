"""One connection pool to one system: sends a request, gives back the whole reply, speaks in our errors."""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import os
import select
import socket
import threading
import time
import zlib
from collections.abc import Mapping
from urllib.parse import urlsplit
from weakref import WeakSet

from millrace.connect.http.dialing import Broken, Route, Unreachable, broken, proxy_of
from millrace.connect.reach import ANYWHERE, Reach
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError
from millrace.version import VERSION

__all__ = ["Broken", "Client", "Reply", "Unreachable", "is_loopback", "may_be_plain"]

CONNECT_S = 10.0
READ_S = 60.0
# A body that drips in without end is given up after this time, though every single read is in time.
WHOLE_S = 600.0
LARGEST_BODY = 256 * 2**20
_CHUNK = 2**17
# A connection that nobody has used for longer may have been dropped on its way without a word.
_IDLE_S = 5.0
_UNPACKED_AT_ONCE = 2**20
# zlib's window, and gzip's head and tail around it.
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. ``body`` is unpacked; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def may_be_plain(host: str) -> bool:
    """Whether credentials may go to the host without encryption: this machine, or one in $MILLRACE_HTTP_HOSTS."""
    return is_loopback(host) or host in os.environ.get("MILLRACE_HTTP_HOSTS", "").lower().split(",")


class Client:
    """A pool of kept-alive connections to the system at ``base_url``. Safe to use from many threads.

    ``headers`` go with every request; secrets among them are never logged. Loopback hosts are asked for plain bodies
    (packing costs more than it saves there) and reached without a proxy. Where ``reach`` has limits, addresses are
    checked when they are connected to, and no proxy is used. ``connections``: so many are kept while nobody needs
    them. Redirects are not followed, and cookies are not kept.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        *,
        connections: int = 8,
        reach: Reach = ANYWHERE,
        proxied: bool = False,
    ) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self._path = parts.path.rstrip("/")
        near, secure, free = is_loopback(self.host), parts.scheme == "https", reach.everywhere
        self._route = Route(
            host=self.host,
            port=parts.port or (443 if secure else 80),
            secure=secure,
            connect_s=CONNECT_S,
            read_s=READ_S,
            proxy=proxy_of(parts) if (free or proxied) and not near else None,
            allowed=None if free else reach.web,
        )
        self._headers = {
            "User-Agent": f"millrace/{VERSION}",
            "Accept": "application/json",
            "Accept-Encoding": "identity" if near else "gzip",
            **(headers or {}),
        }
        if self._route.absolute and self._route.proxy is not None:
            self._headers |= self._route.proxy.headers
        self._keeping = connections
        self._turn = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._closed = threading.Event()
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def send(self, method: str, target: str, *, content: bytes | None = None) -> Reply:
        """The reply to a request for ``target`` (path and query, sent byte for byte below the base URL).

        Any status is a reply. Raises Unreachable, Broken, EnvironmentProblem (TLS) and ConfigError.
        """
        began = time.monotonic()
        connection = self._taken()
        try:
            reply = self._asked(connection, method, self._route.absolute + self._path + target, content)
            body = self._whole(reply, began)
        except BaseException as error:
            connection.close()
            # A connection that another thread has closed says so in several ways.
            if isinstance(error, (OSError, ValueError, AttributeError, http.client.HTTPException, zlib.error)):
                raise broken(error, self.host, READ_S) from None
            raise
        self._give_back(connection)
        headers: dict[str, str] = {}
        for name, text in reply.getheaders():
            name = name.lower()
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        return Reply(reply.status, headers, body, time.monotonic() - began)

    def abort(self) -> None:
        """Requests in flight end at once, in whatever thread they are; none can be sent any more."""
        self._closed.set()
        for held in list(self._sockets):
            _shut(held)

    def close(self) -> None:
        """Connections end. May be called twice."""
        self._closed.set()
        with self._turn:
            for _, connection in self._idle:
                connection.close()
            self._idle.clear()

    def _taken(self) -> http.client.HTTPConnection:
        """A connection that is open and that nobody else uses."""
        if self._closed.is_set():
            raise Broken(f"the connection to {self.host} broke: it was closed")
        while True:
            with self._turn:
                if not self._idle:
                    break
                since, connection = self._idle.pop()
            if time.monotonic() - since < _IDLE_S and not _has_ended(connection):
                return connection
            connection.close()
        return self._route.dialled(self._opened, self._closed)

    def _opened(self, held: socket.socket) -> None:
        """`abort` can wake threads that wait for this socket."""
        self._sockets.add(held)
        if self._closed.is_set():
            _shut(held)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._turn:
            if connection.sock is not None and len(self._idle) < self._keeping and not self._closed.is_set():
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, target: str, content: bytes | None
    ) -> http.client.HTTPResponse:
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, text in self._headers.items():
                connection.putheader(name, text)
            if content is not None:
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(content)))
        except (ValueError, http.client.InvalidURL):
            # What it says may hold a secret (I7).
            raise ConfigError(
                f"a request to {self.host} cannot be sent: its path or a header has characters that may not be there",
                code="bad_request",
            ) from None
        connection.endheaders(content)
        return connection.getresponse()

    def _whole(self, reply: http.client.HTTPResponse, began: float) -> bytes:
        # It grows in place, and what is in it is handed on without a copy: pages have megabytes.
        whole = io.BytesIO()
        came = False
        packed = reply.headers.get("Content-Encoding", "identity").lower() in ("gzip", "x-gzip")
        unpacking = zlib.decompressobj(_GZIP) if packed else None
        while reply.length != 0 and (chunk := reply.read1(_CHUNK)):
            came = True
            while chunk:
                part = chunk if unpacking is None else unpacking.decompress(chunk, _UNPACKED_AT_ONCE)
                chunk = b"" if unpacking is None else unpacking.unconsumed_tail
                whole.write(part)
                if whole.tell() > LARGEST_BODY:
                    raise Broken(f"a reply of {self.host} is larger than {LARGEST_BODY >> 20} MB")
            if time.monotonic() - began > WHOLE_S:
                raise Broken(f"a reply of {self.host} was not whole after {WHOLE_S:.0f} s")
        if reply.length:
            raise http.client.IncompleteRead(b"", reply.length)
        reply.read()  # nothing is left, and the connection knows that it is free now
        if unpacking is not None and came and not unpacking.eof:
            raise zlib.error("it ends too soon")
        return whole.getvalue()


def _shut(held: socket.socket) -> None:
    """Who waits for the socket waits no longer."""
    with contextlib.suppress(OSError):
        # Not TLS's own, after which what another thread is just saying would go on in the clear (I7).
        socket.socket.shutdown(held, socket.SHUT_RDWR)


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the other side has ended the connection, or said what nobody asked for."""
    looking = select.poll()
    looking.register(connection.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(looking.poll(0))
