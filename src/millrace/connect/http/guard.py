"""Connections of `httpx` go to addresses that were looked at, and to no others; its errors become ours.

The address that was checked is the one that is connected to, so a name that resolves anew to another address (DNS
rebinding) gains nothing. Every hop of a redirect is a connection of its own, and is checked like the first.
"""

from __future__ import annotations

from collections.abc import Iterable

import httpcore
import httpx

from millrace.connect.http.client import CONNECT_S, READ_S
from millrace.connect.http.dialing import Broken, Unreachable
from millrace.connect.reach import Kind, Walled, resolved
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError


class _Checking(httpcore.NetworkBackend):
    """Connects to addresses of allowed kinds. Certificates are still checked against the name of the host."""

    def __init__(self, allowed: frozenset[Kind]) -> None:
        self._allowed = allowed
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = resolved(host, port, self._allowed)
        except (OSError, UnicodeError) as cause:
            raise httpcore.ConnectError(str(cause)) from cause
        options = list(socket_options) if socket_options is not None else None
        last: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return self._plain.connect_tcp(address, port, timeout, local_address, options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as cause:
                last = cause
        raise last

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        del path, timeout, socket_options
        raise Walled("requests may not reach sockets of this machine")

    def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)


def guarded(transport: httpx.HTTPTransport, allowed: frozenset[Kind]) -> httpx.HTTPTransport:
    """The transport, whose connections go to addresses of allowed kinds alone; `Walled` is raised for others.

    Its client must use no proxy of the environment: a proxy resolves the name by itself, where nobody checks.
    """
    # httpx has no argument for it. Tests connect through it, and tell if this is renamed.
    transport._pool._network_backend = _Checking(allowed)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]  as above
    return transport


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
