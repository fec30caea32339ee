"""How libpq is told where a PostgreSQL server is and who comes: for the source and the destination alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias
from urllib.parse import quote, urlencode

from pydantic import Field, model_validator

from millrace.connect.config import Secret, Settings
from millrace.connect.hosts import Hosts, placed
from millrace.connect.reach import ANYWHERE, Reach, Walled, resolved
from millrace.connect.sql import strings
from millrace.connect.ssh import SshSettings

if TYPE_CHECKING:
    from millrace.connect.tunnel import Tunnel

# How it is said that the other side went away; in the middle of TLS too, where none of it tells of the settings.
_LOST = re.compile(
    r"SSL SYSCALL error: [^\n]*|SSL error: unexpected eof[^\n]*|SSL connection has been closed unexpectedly"
    r"|server closed the connection unexpectedly|could not (?:send|receive) [^\n]*"
)
# The statement that the driver quotes.
_QUOTED = re.compile(r"(?<=Failed to execute query) '.*'(?=: )|\nQuery was:.*", re.DOTALL)

SslMode: TypeAlias = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class Login(Settings):
    """Where the server is, and who comes. Without an ``ssl_mode`` it is prefer, or with ``use_ssl`` require, and
    verify-full where an authority is named."""

    db_host: Hosts = Field("", description="Host name or address of the server; of a replica to spare the primary.")
    db_port: int = Field(5432, ge=1, le=65535, description="Port of the server.")
    db_name: str = Field("", description="Database.")
    db_user: str = Field("", description="User.")
    db_password: Secret | None = Field(None, description="Password of the user.")
    connection_string: Secret | None = Field(
        None,
        description="In place of host, port, database, user and password: `postgresql://…`, or `host=… dbname=…`.",
    )
    use_ssl: bool = Field(False, description="Refuse connections without encryption.")
    ssl_mode: SslMode | None = Field(
        None,
        description="Encryption in libpq's words. Left out: prefer, or with use_ssl require (verify-full with a CA).",
    )
    ssl_ca: Path | None = Field(None, description="File with the certificates of the authority to trust.")
    ssl_cert: Path | None = Field(None, description="File with the client's certificate.")
    ssl_key: Path | None = Field(None, description="File with the client's key.")
    connect_timeout_s: int = Field(10, ge=1, description="Seconds to wait for a connection.")

    @property
    def password(self) -> str:
        return self.db_password.get_secret_value() if self.db_password is not None else ""

    @property
    def address(self) -> str:
        """Host and port as messages name them."""
        return placed(self.db_host, self.db_port)

    @property
    def where(self) -> str:
        """The server and database as messages name them, without user and password."""
        return f"PostgreSQL at {self.address}/{self.db_name}"

    @model_validator(mode="before")
    @classmethod
    def _of_string(cls, given: Any) -> Any:
        return strings.spread(given, strings.of_libpq)

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        strings.whole(self)
        return self


class ServerSettings(SshSettings, Login):
    """The same, with the way to it."""


class Way:
    """The way to a server. A tunnel on it is opened when it is needed, and again when it is gone."""

    def __init__(self, settings: ServerSettings, reach: Reach) -> None:
        self._settings, self._reach = settings, reach
        self._tunnel: Tunnel | None = None

    @property
    def stands(self) -> bool:
        """What was made of an earlier `uri` still leads there."""
        return self._tunnel is None or self._tunnel.open

    def uri(self) -> str:
        """What `uri` says now. Raises what it raises, and what is in the way of a tunnel."""
        settings, reach = self._settings, self._reach
        if settings.ssh_host is None:
            return uri(settings, reach)
        # Imported here: few need it.
        from millrace.connect.tunnel import Tunnel

        if self._tunnel is None or not self._tunnel.open:
            self._tunnel = Tunnel(settings, settings.db_host, settings.db_port, reach, settings.connect_timeout_s)
        return uri(settings, through=(self._tunnel.address, self._tunnel.port))

    def close(self) -> None:
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.close()


def uri(login: Login, reach: Reach = ANYWHERE, *, through: tuple[str, int] | None = None) -> str:
    """What libpq takes; holds the password.

    Where ``reach`` has limits, it has the addresses to connect to, which were looked at, beside the names of their
    hosts. ``through``: address and port at which a tunnel to the server begins. Raises Walled; OSError or UnicodeError
    for a host that is not known.
    """
    options = {
        "sslmode": login.ssl_mode or (("verify-full" if login.ssl_ca else "require") if login.use_ssl else "prefer"),
        "connect_timeout": str(login.connect_timeout_s),
        "application_name": "millrace",
        # Text goes as Arrow has it, whatever the database, the role or the environment of this process would have.
        "client_encoding": "UTF8",
        "keepalives_idle": "30",
        "tcp_user_timeout": "60000",
    }
    for name, path in (("sslrootcert", login.ssl_ca), ("sslcert", login.ssl_cert), ("sslkey", login.ssl_key)):
        if path:
            options[name] = str(path)
    user, password = quote(login.db_user, safe=""), quote(login.password, safe="")
    database = quote(login.db_name, safe="")
    if through is not None:
        options |= {"host": login.db_host, "hostaddr": through[0], "port": str(through[1])}
    elif not reach.everywhere:
        options |= _looked_at(login.db_host, login.db_port, reach)
    else:
        options |= {"host": login.db_host, "port": str(login.db_port)}
    return f"postgresql://{user}:{password}@/{database}?{_query(options)}"


def without_query(text: str) -> str:
    """What the driver says of a connection without the statement: names of tables and columns tell nothing of it."""
    return _QUOTED.sub("", text)


def lost(text: str) -> tuple[str | None, str]:
    """That the other side went away, None where nothing says so; and what is said besides.

    Source: https://github.com/postgres/postgres/blob/REL_17_STABLE/src/interfaces/libpq/fe-secure-openssl.c
    """
    found = _LOST.search(text)
    return found[0] if found else None, _LOST.sub("", text)


def _looked_at(every_host: str, port: int, reach: Reach) -> dict[str, str]:
    """Hosts, and the address of each: libpq tries one after the other and checks certificates by the host
    (https://www.postgresql.org/docs/current/libpq-connect.html, hostaddr)."""
    hosts: list[str] = []
    addresses: list[str] = []
    for host in every_host.split(","):
        if not host or host.startswith(("/", "@")):
            raise Walled("connections of others than the operator may not reach sockets of this machine")
        found = resolved(host, port, reach.stores)
        hosts += [host] * len(found)
        addresses += found
    return {"host": ",".join(hosts), "hostaddr": ",".join(addresses), "port": str(port)}


def _query(options: Mapping[str, str]) -> str:
    return urlencode(options, quote_via=quote)
