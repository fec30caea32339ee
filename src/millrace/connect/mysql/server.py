"""The settings that lead to a MySQL or MariaDB server, and a connection to it.

Source: https://dev.mysql.com/doc/refman/8.4/en/connection-options.html (the words of ssl_mode)
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any, Literal, Self

import pymysql
from pydantic import Field, model_validator
from pymysql.constants import CLIENT

from millrace.connect.config import Secret, Settings
from millrace.connect.hosts import Hosts, placed
from millrace.connect.mysql.answers import by_driver
from millrace.connect.mysql.errors import not_reached, translated
from millrace.connect.reach import Reach, Walled, resolved
from millrace.connect.sql import strings
from millrace.connect.ssh import SshSettings
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError

# An answer may take long: a load waits for locks, a query thinks. A server that is gone is noticed by keep-alives.
_KEEPALIVE = (("idle", 30), ("intvl", 10), ("cnt", 6))

Mode = Literal["disabled", "preferred", "required", "verify_ca", "verify_identity"]


class Login(Settings):
    """Where the server is, and who comes."""

    db_host: Hosts = Field("", description="Host name or address of the server.")
    db_port: int = Field(3306, ge=1, le=65535, description="Port of the server.")
    db_name: str = Field("", description="Database.")
    db_user: str = Field("", description="User.")
    db_password: Secret | None = Field(None, description="Password of the user.")
    connection_string: Secret | None = Field(
        None, description="In place of host, port, database, user and password: `mysql://user:password@host/database`."
    )
    use_ssl: bool = Field(False, description="Refuse connections without encryption.")
    ssl_mode: Mode | None = Field(
        None,
        description="Encryption in MySQL's words. Left out: preferred, or with use_ssl required (verify_identity with "
        "a CA).",
    )
    ssl_ca: Path | None = Field(None, description="File with the certificates of the authority to trust.")
    ssl_cert: Path | None = Field(None, description="File with the client's certificate.")
    ssl_key: Path | None = Field(None, description="File with the client's key.")
    connect_timeout_s: int = Field(10, ge=1, description="Seconds to wait for a connection.")

    @property
    def mode(self) -> Mode:
        """What is asked of the encryption."""
        if self.ssl_mode is not None:
            return self.ssl_mode
        if not self.use_ssl:
            return "preferred"
        return "verify_identity" if self.ssl_ca else "required"

    @property
    def password(self) -> str:
        return self.db_password.get_secret_value() if self.db_password is not None else ""

    def place(self, title: str) -> str:
        """What messages call the server, without the password."""
        return f"{title} at {self.address}/{self.db_name}"

    @property
    def address(self) -> str:
        """Host and port as messages name them."""
        return placed(self.db_host, self.db_port)

    @model_validator(mode="before")
    @classmethod
    def _of_string(cls, given: Any) -> Any:
        return strings.spread(given, strings.of_mysql)

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        strings.whole(self)
        return self


class ServerSettings(SshSettings, Login):
    """The same, with the way to it."""


def opened(settings: ServerSettings, reach: Reach, where: str, **more: Any) -> pymysql.Connection[Any]:
    """A connection on which every statement is its own transaction; ``more`` goes to the driver.

    No file of this machine is ever sent, whatever a server asks for. Raises ConfigError, AuthError, Transient.
    """
    encryption = _encryption(settings)
    connection: pymysql.Connection[Any] = pymysql.connect(
        host=settings.db_host,
        port=settings.db_port,
        user=settings.db_user,
        # The driver would write a password in latin-1.
        password=settings.password.encode(),  # pyright: ignore[reportArgumentType]  bytes go as they are
        database=settings.db_name,
        charset="utf8mb4",
        autocommit=True,
        defer_connect=True,
        client_flag=CLIENT.LOCAL_FILES,
        read_timeout=settings.connect_timeout_s,
        program_name="millrace",
        **encryption,
        **more,
    )
    plug = _plugged(settings, reach, where)
    try:
        with by_driver(connection):
            connection.connect(plug)
    except (pymysql.Error, OSError) as error:
        plug.close()
        raise translated(error, where, entering=True) from error
    # The time limit was for the greeting.
    connection._read_timeout = None  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]  no other way
    return connection


def _plugged(settings: ServerSettings, reach: Reach, where: str) -> socket.socket:
    """A socket to the first address that answers, of those that may be reached."""
    host, port = settings.db_host, settings.db_port
    if settings.ssh_host is not None:
        return _through(settings, reach, where)
    if host.startswith(("/", "@")):
        if not reach.everywhere:
            raise Walled("connections of others than the operator may not reach sockets of this machine")
        return _socket_file(host, settings.connect_timeout_s, where)
    try:
        # Where all may be reached the system may resolve the name as it likes.
        hosts = [host] if reach.everywhere else list(resolved(host, port, reach.stores))
    except (OSError, UnicodeError) as error:
        raise not_reached(error, where) from error
    for number, address in enumerate(hosts, 1):
        try:
            plug = socket.create_connection((address, port), settings.connect_timeout_s)
        except (OSError, UnicodeError) as error:
            if number == len(hosts):
                raise not_reached(error, where) from error
            continue
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            # Not every system has all of them.
            if (option := getattr(socket, f"tcp_keep{name}".upper(), None)) is not None:
                plug.setsockopt(socket.IPPROTO_TCP, option, value)
        return plug
    raise AssertionError("a name has an address, or is unknown")


def _through(settings: ServerSettings, reach: Reach, where: str) -> socket.socket:
    # Imported here: few need it.
    from millrace.connect.tunnel import dialed

    try:
        return dialed(settings, settings.db_host, settings.db_port, reach, settings.connect_timeout_s)
    except OSError as error:
        raise not_reached(error, where) from error
    except MillraceError as error:
        if not isinstance(error, Walled):
            error.code = "mysql_1007"
        raise


def _socket_file(path: str, timeout_s: int, where: str) -> socket.socket:
    plug = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    plug.settimeout(timeout_s)
    try:
        plug.connect("\0" + path[1:] if path.startswith("@") else path)
    except OSError as error:
        plug.close()
        raise not_reached(error, where) from error
    return plug


def _encryption(settings: ServerSettings) -> dict[str, Any]:
    if settings.mode == "disabled":
        return {"ssl_disabled": True}
    if settings.mode == "preferred" and not settings.ssl_ca and not settings.ssl_cert:
        return {}
    try:
        context = ssl.create_default_context(cafile=str(settings.ssl_ca) if settings.ssl_ca else None)
        # Servers make their own certificates, which lack what the strict reading of the standard asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = settings.mode == "verify_identity"
        if not settings.mode.startswith("verify"):
            context.verify_mode = ssl.CERT_NONE
        if settings.ssl_cert:
            context.load_cert_chain(settings.ssl_cert, settings.ssl_key)
    except ssl.SSLError as error:
        raise ConfigError(
            f"A certificate or key of the settings cannot be read: {error.reason or error}.",
            hint="ssl_ca, ssl_cert and ssl_key name files in PEM; the key has no passphrase.",
            path="ssl_ca" if settings.ssl_ca and not settings.ssl_cert else "ssl_cert",
            code="ssl",
        ) from error
    except OSError as error:
        raise EnvironmentProblem(
            f"A file of certificates cannot be read: {error.strerror or error} ({error.filename}).",
            hint="Check ssl_ca, ssl_cert and ssl_key.",
        ) from error
    return {"ssl": context}
