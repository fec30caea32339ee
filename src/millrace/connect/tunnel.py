"""A way to a server through SSH: a port of this machine whose connections come out at a host behind an SSH server.

Source: https://www.rfc-editor.org/rfc/rfc4254#section-7.2 (direct-tcpip)
"""

from __future__ import annotations

import io
import socket
import threading
from contextlib import suppress
from typing import Any

import paramiko

from millrace.connect.reach import Reach, resolved
from millrace.connect.ssh import SshSettings
from millrace.errors import AuthError, ConfigError, MillraceError, Transient, in_words

_CHUNK_BYTES = 1 << 16
_ALIVE_S = 30


class Tunnel:
    """An open tunnel to ``host``, as the SSH server knows it. ``address`` and ``port`` are where it begins here."""

    def __init__(self, login: SshSettings, host: str, port: int, reach: Reach, timeout_s: float) -> None:
        self._to = (host, port)
        self._transport = signed_in(login, reach, timeout_s)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address, self.port = self._listening.getsockname()
        threading.Thread(target=self._accept, daemon=True, name="millrace-tunnel").start()

    @property
    def open(self) -> bool:
        return bool(self._transport.is_active())

    def close(self) -> None:
        """Nothing comes through any more."""
        with suppress(OSError):
            # Whoever waits for a connection wakes up.
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._transport.close()

    def _accept(self) -> None:
        while True:
            try:
                here, origin = self._listening.accept()
            except OSError:
                return
            try:
                there = self._transport.open_channel("direct-tcpip", self._to, origin)
            except (paramiko.SSHException, EOFError):
                # The client sees a connection that ends at once.
                here.close()
                continue
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=_carry, args=(one, other), daemon=True, name="millrace-tunnel").start()


def dialed(login: SshSettings, host: str, port: int, reach: Reach, timeout_s: float) -> socket.socket:
    """A connection to ``host``, as the SSH server knows it, for drivers that take a socket. The way ends with it.

    Raises OSError where the SSH server does not get there.
    """
    transport = signed_in(login, reach, timeout_s)
    try:
        there = transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout_s)
    except (paramiko.SSHException, EOFError) as refusal:
        transport.close()
        raise OSError(f"the SSH server does not get there: {refusal}") from refusal
    here, end = socket.socketpair()

    def back() -> None:
        _carry(there, end)
        transport.close()

    threading.Thread(target=back, daemon=True, name="millrace-tunnel").start()
    threading.Thread(target=_carry, args=(end, there), daemon=True, name="millrace-tunnel").start()
    return here


def _carry(source: Any, target: Any) -> None:
    """What comes from one side goes to the other, until either ends."""
    with suppress(OSError, EOFError, paramiko.SSHException):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError, EOFError):
            end.close()


def signed_in(login: SshSettings, reach: Reach, timeout_s: float) -> paramiko.Transport:
    """A connection to the SSH server, which is the one that the settings mean, with its user signed in."""
    host, where = str(login.ssh_host), f"the SSH server {login.ssh_host}:{login.ssh_port}"
    try:
        address = resolved(host, login.ssh_port, reach.stores)[0]
    except (OSError, UnicodeError) as cause:
        raise ConfigError(
            f"the host of {where} is not known: {in_words(cause)}", path="ssh_host", code="ssh_host"
        ) from cause
    try:
        wire = socket.create_connection((address, login.ssh_port), timeout_s)
        transport = paramiko.Transport(wire)
    except OSError as cause:
        raise Transient(f"{where} cannot be reached: {in_words(cause)}", hint="Check ssh_host and ssh_port.") from cause
    try:
        transport.set_keepalive(_ALIVE_S)
        transport.start_client(timeout=timeout_s)
        _check_key(transport.get_remote_server_key(), login, where)
        _sign_in(transport, login, reach, where)
    except MillraceError:
        transport.close()
        raise
    except (paramiko.SSHException, EOFError, OSError) as cause:
        transport.close()
        raise Transient(
            f"{where} does not answer as an SSH server does: {in_words(cause)}", hint="Check ssh_port."
        ) from cause
    return transport


def _check_key(key: paramiko.PKey, login: SshSettings, where: str) -> None:
    """The server is the one that the settings mean; a stranger in its place would see the database's password."""
    found = f"{key.get_name()} {key.get_base64()}"
    wanted = [line.split() for line in (login.ssh_host_key or "").splitlines() if line.strip()]
    # A line of ssh-keyscan or known_hosts begins with the host; one of a key file does not.
    if any(" ".join(words[at : at + 2]) == found for words in wanted for at in (0, 1)):
        return
    raise ConfigError(
        f"{where} has another key than ssh_host_key says: {key.fingerprint}",
        hint="If that is the fingerprint of its key, set ssh_host_key to what `ssh-keyscan` prints for it.",
        path="ssh_host_key",
        code="ssh_host_key",
    )


def _sign_in(transport: paramiko.Transport, login: SshSettings, reach: Reach, where: str) -> None:
    user = str(login.ssh_user)
    try:
        if login.ssh_private_key is not None:
            transport.auth_publickey(user, _key(login))
        elif login.ssh_password is not None:
            transport.auth_password(user, login.ssh_password.get_secret_value())
        else:
            _by_agent(transport, user, reach)
    except paramiko.AuthenticationException as refusal:
        raise AuthError(
            f"{where} refused the user {user}",
            hint="Check ssh_user, and that its password or public key is known there.",
            path="ssh_user",
            code="ssh_auth",
        ) from refusal
    if not transport.is_authenticated():
        raise AuthError(f"{where} wants more than one proof of who {user} is", path="ssh_user", code="ssh_auth")


def _by_agent(transport: paramiko.Transport, user: str, reach: Reach) -> None:
    if not reach.everywhere:
        text = "keys of this machine's agent are for its operator alone"
        raise ConfigError(text, hint="Give ssh_private_key.", path="ssh_agent", code="ssh_agent")
    for key in paramiko.Agent().get_keys():
        with suppress(paramiko.AuthenticationException):
            transport.auth_publickey(user, key)
            return
    raise paramiko.AuthenticationException("no key of the agent")


def _key(login: SshSettings) -> paramiko.PKey:
    """The private key. Its text is in no message."""
    assert login.ssh_private_key is not None
    text = login.ssh_private_key.get_secret_value().strip() + "\n"
    passphrase = login.ssh_passphrase.get_secret_value() if login.ssh_passphrase is not None else None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException:
            path = "ssh_passphrase"
            raise ConfigError("the private key has a passphrase", path=path, code="ssh_key") from None
        except (paramiko.SSHException, ValueError):
            continue
    raise ConfigError(
        "ssh_private_key is no private key that can be read, or ssh_passphrase is wrong",
        hint="Give the text of an Ed25519, ECDSA or RSA key, as `ssh-keygen` writes it.",
        path="ssh_private_key",
        code="ssh_key",
    )
