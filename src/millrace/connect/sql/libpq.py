"""How libpq is told where a PostgreSQL server is and who comes: for the source and the destination alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, TypeAlias
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from millrace.connect.reach import ANYWHERE, Reach, Walled, resolved

SslMode: TypeAlias = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class Login(Protocol):
    """The settings of a connection. Without an ``ssl_mode`` it is prefer, or with ``use_ssl`` require, and verify-full
    where an authority is named."""

    @property
    def db_host(self) -> str: ...
    @property
    def db_port(self) -> int: ...
    @property
    def db_name(self) -> str: ...
    @property
    def db_user(self) -> str: ...
    @property
    def db_password(self) -> SecretStr: ...
    @property
    def use_ssl(self) -> bool: ...
    @property
    def ssl_mode(self) -> SslMode | None: ...
    @property
    def ssl_ca(self) -> Path | None: ...
    @property
    def ssl_cert(self) -> Path | None: ...
    @property
    def ssl_key(self) -> Path | None: ...
    @property
    def connect_timeout_s(self) -> int: ...


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
        "keepalives_idle": "30",
        "tcp_user_timeout": "60000",
    }
    for name, path in (("sslrootcert", login.ssl_ca), ("sslcert", login.ssl_cert), ("sslkey", login.ssl_key)):
        if path:
            options[name] = str(path)
    user, password = quote(login.db_user, safe=""), quote(login.db_password.get_secret_value(), safe="")
    database = quote(login.db_name, safe="")
    if through is not None:
        options |= {"host": login.db_host, "hostaddr": through[0], "port": str(through[1])}
        return f"postgresql://{user}:{password}@/{database}?{_query(options)}"
    if not reach.everywhere:
        options |= _looked_at(login.db_host, login.db_port, reach)
        return f"postgresql://{user}:{password}@/{database}?{_query(options)}"
    host = f"[{login.db_host}]" if ":" in login.db_host else quote(login.db_host, safe="")
    return f"postgresql://{user}:{password}@{host}:{login.db_port}/{database}?{_query(options)}"


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
