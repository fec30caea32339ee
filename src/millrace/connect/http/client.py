"""One connection pool to one system: sends a request, gives back the whole reply, speaks in our errors."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import httpx

from millrace.connect.http.guard import guarded
from millrace.connect.reach import ANYWHERE, Reach
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError, Transient

CONNECT_S = 10.0
READ_S = 60.0
# A body that drips in without end is given up after this time, though every single read is in time.
WHOLE_S = 600.0
LARGEST_BODY = 256 * 2**20
_CHUNK = 2**20


class Unreachable(Transient):
    """No connection came about: the name does not resolve, or the host refuses."""

    code = "unreachable"


class Broken(Transient):
    """A connection ended, timed out or garbled before the reply was whole."""

    code = "broken_connection"


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


@cache
def tls() -> ssl.SSLContext:
    """Who is trusted; read once, which takes a while."""
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def from_httpx(error: Exception, where: str) -> MillraceError:
    """The error of ours that says the same. ``where`` is a host; URLs stay out, they may carry cursors."""
    text = str(error).split("\n")[0][:200] or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return Unreachable(f"{where} did not answer within {CONNECT_S:.0f} s", hint="Check the network and the host.")
    if isinstance(error, httpx.ConnectError):
        if "CERTIFICATE" in text.upper() or "SSL" in text.upper():
            return EnvironmentProblem(
                f"no trusted TLS connection to {where}: {text}",
                hint="Check the clock of this machine, its CA certificates (SSL_CERT_FILE) and any proxy.",
                code="tls",
            )
        return Unreachable(f"no connection to {where}: {text}", hint="Check the host name, network and firewall.")
    if isinstance(error, httpx.TimeoutException):
        return Broken(f"{where} fell silent for {READ_S:.0f} s")
    if isinstance(error, httpx.ProxyError):
        return Unreachable(f"the proxy refused the way to {where}: {text}", hint="Check HTTPS_PROXY and NO_PROXY.")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError):
        return ConfigError(f"a request to {where} cannot be sent: {text}", code="bad_request")
    return Broken(f"the connection to {where} broke: {text}")


class Client:
    """A pool of kept-alive connections to the system at ``base_url``. Safe to use from many threads.

    ``headers`` go with every request; secrets among them are never logged. Loopback hosts are asked for plain bodies
    (packing costs more than it saves there) and reached without a proxy. Where ``reach`` has limits, addresses are
    checked when they are connected to, and no proxy is used (`guard`).
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        *,
        connections: int = 8,
        reach: Reach = ANYWHERE,
    ) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self._base = base_url.rstrip("/")
        near = is_loopback(self.host)
        self._closed = threading.Event()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        free = reach.everywhere
        verify = tls() if parts.scheme == "https" else False
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.Client(
            headers={
                "User-Agent": f"millrace/{version('millrace')}",
                "Accept": "application/json",
                "Accept-Encoding": "identity" if near else "gzip",
                **(headers or {}),
            },
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            transport=None if free else guarded(httpx.HTTPTransport(verify=verify, limits=limits), reach.web),
            limits=limits,
            verify=verify,
            trust_env=free and not near,
            follow_redirects=False,
        )

    def send(self, method: str, target: str, *, content: bytes | None = None) -> Reply:
        """The reply to a request for ``target`` (path and query, sent byte for byte below the base URL).

        Any status is a reply. Raises Unreachable, Broken, EnvironmentProblem (TLS) and ConfigError.
        """
        began = time.monotonic()
        path = urlsplit(self._base).path + target
        request = self._http.build_request(
            method,
            self._base + target.partition("?")[0],
            content=content,
            headers={"Content-Type": "application/json"} if content is not None else None,
            extensions={"target": path.encode("ascii"), "trace": self._trace},
        )
        try:
            reply = self._http.send(request, stream=True)
            try:
                body = self._whole(reply, began)
            finally:
                reply.close()
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise from_httpx(error, self.host) from None
        except (OSError, RuntimeError) as error:
            # A pool that another thread has closed says so in several ways.
            raise Broken(f"the connection to {self.host} broke: {type(error).__name__}") from None
        return Reply(reply.status_code, dict(reply.headers), body, time.monotonic() - began)

    def abort(self) -> None:
        """Requests in flight end at once, in whatever thread they are; none can be sent any more."""
        self._closed.set()
        for held in list(self._sockets):
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Connections end. May be called twice."""
        self._closed.set()
        self._http.close()

    def _whole(self, reply: httpx.Response, began: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        for chunk in reply.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > LARGEST_BODY:
                raise Broken(f"a reply of {self.host} is larger than {LARGEST_BODY >> 20} MB")
            if time.monotonic() - began > WHOLE_S:
                raise Broken(f"a reply of {self.host} was not whole after {WHOLE_S:.0f} s")
        return b"".join(chunks)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remembers sockets, so that `abort` can wake threads that read from them."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            held = info["return_value"].get_extra_info("socket")
            if isinstance(held, socket.socket):
                self._sockets.add(held)
                if self._closed.is_set():
                    held.shutdown(socket.SHUT_RDWR)
