"""Connections to one host by the standard library's HTTP, of which a page of megabytes takes a third of the time that
it takes by `httpx`; and in whose words their errors are."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import certifi

from millrace.connect.reach import Kind, check, resolved
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem, Transient


class Unreachable(Transient):
    """No connection came about: the name does not resolve, or the host refuses."""

    code = "unreachable"


class Broken(Transient):
    """A connection ended, timed out or garbled before the reply was whole."""

    code = "broken_connection"


@cache
def tls() -> ssl.SSLContext:
    """Who is trusted; read once, which takes a while."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    context = ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that speaks plain HTTP, with what it wants to be told."""

    host: str
    port: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """How the host of a base URL is reached. ``allowed``: kinds of addresses that may be; None: all, unlooked at.
    A proxy looks names up by itself: what this machine knows of the host is looked at first, the rest is up to it.

    ``connect_s`` and ``read_s``: how long a connection may take, and how long it may be silent then.
    """

    host: str
    port: int
    secure: bool
    connect_s: float
    read_s: float
    proxy: Proxy | None = None
    allowed: frozenset[Kind] | None = None

    @property
    def absolute(self) -> str:
        """What stands before a path when it is asked for: nothing, but to a proxy that asks in our place."""
        if self.proxy is None or self.secure:
            return ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def dialled(self, opened: Callable[[socket.socket], None], unwanted: threading.Event) -> http.client.HTTPConnection:
        """A connection that is open. ``opened`` is told of its socket before anybody waits for an answer. Once it is
        ``unwanted``, no other address of the host is tried.

        Raises Unreachable, EnvironmentProblem (TLS), and Walled for an address that is not allowed.
        """
        try:
            return self._dialled(opened, unwanted)
        except ssl.SSLError as error:
            raise EnvironmentProblem(
                f"no trusted TLS connection to {self.host}: {_said(error)}",
                hint="Check the clock of this machine, its CA certificates (SSL_CERT_FILE) and any proxy.",
                code="tls",
            ) from None
        except TimeoutError:
            raise Unreachable(
                f"{self.host} did not answer within {self.connect_s:.0f} s", hint="Check the network and the host."
            ) from None
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            if self.proxy is not None:
                raise Unreachable(
                    f"no way to {self.host} by the proxy {self.proxy.host}: {_said(error)}",
                    hint="Check HTTPS_PROXY and NO_PROXY.",
                ) from None
            raise Unreachable(
                f"no connection to {self.host}: {_said(error)}", hint="Check the host name, network and firewall."
            ) from None

    def _dialled(
        self, opened: Callable[[socket.socket], None], unwanted: threading.Event
    ) -> http.client.HTTPConnection:
        if self.secure:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(self.host, self.port, context=tls())
        else:
            connection = http.client.HTTPConnection(self.host, self.port)
        # Where this one has ended, another is dialled here, not by the library, which looks at no address.
        connection.auto_open = 0
        plain = self._socket(unwanted)
        try:
            opened(plain)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.proxy is not None and self.secure:
                _ask_through(plain, self.proxy, f"{self.host}:{self.port}")
            if self.secure:
                plain = tls().wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
                opened(plain)
                plain.do_handshake()
            plain.settimeout(self.read_s)
        except BaseException:
            plain.close()
            raise
        connection.sock = plain
        return connection

    def _socket(self, unwanted: threading.Event) -> socket.socket:
        if self.proxy is not None:
            if self.allowed is not None:
                check(self.host, self.port, self.allowed)
            return socket.create_connection((self.proxy.host, self.proxy.port), self.connect_s)
        if self.allowed is None:
            # As bytes, which typeshed does not know of: for text Python imports what names of all alphabets become.
            host: Any = self.host.encode() if self.host.isascii() else self.host
            return socket.create_connection((host, self.port), self.connect_s)
        # The address that was looked at is the one that is connected to, whatever the name means a moment later.
        last: OSError = OSError(f"{self.host} has no address")
        for address in resolved(self.host, self.port, self.allowed):
            if unwanted.is_set():
                break
            try:
                return socket.create_connection((address, self.port), self.connect_s)
            except OSError as error:
                last = error
        raise last


def proxy_of(parts: SplitResult) -> Proxy | None:
    """The proxy that the environment names for a URL. Raises ConfigError for one that cannot be used."""
    # Imported here: it is large, and a source on this machine does without.
    from urllib.request import getproxies, proxy_bypass

    known = getproxies()
    found = known.get(parts.scheme) or known.get("all")
    if not found or proxy_bypass(parts.hostname or ""):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise ConfigError(
            f"the proxy for {parts.hostname} is none that speaks HTTP ({proxy.scheme}://)",
            hint="Set HTTPS_PROXY to http://<host>:<port>, or name the host in NO_PROXY.",
            code="proxy",
        )
    headers: dict[str, str] = {}
    if proxy.username is not None:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(proxy.hostname, proxy.port or 80, headers)


def broken(error: Exception, where: str, read_s: float) -> Broken:
    """The error of a request that was begun. What it says stays out: it may hold secrets (I7)."""
    if isinstance(error, TimeoutError):
        return Broken(f"{where} fell silent for {read_s:.0f} s")
    return Broken(f"the connection to {where} broke: {type(error).__name__}")


def _ask_through(plain: socket.socket, proxy: Proxy, target: str) -> None:
    """The proxy has made a way to the target. Raises OSError when it refuses."""
    lines = [
        f"CONNECT {target} HTTP/1.1",
        f"Host: {target}",
        *(f"{name}: {text}" for name, text in proxy.headers.items()),
    ]
    plain.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    reply = http.client.HTTPResponse(plain, method="CONNECT")
    try:
        reply.begin()
        if reply.status != http.client.OK:
            raise OSError(f"it answers {reply.status} {reply.reason}")
    finally:
        reply.close()


def _said(error: BaseException) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
