"""Connection strings, as services show them, in place of the single settings of a database.

Sources: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING,
https://dev.mysql.com/doc/refman/8.4/en/connecting-using-uri-or-key-value-pairs.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

KEY = "connection_string"
_NEEDED = ("db_host", "db_name", "db_user")
# What a string of libpq may say, and the setting that it is. Those that name files of the machine are not heard: whose
# files they are is looked at where settings of their own name them.
_LIBPQ = {
    "host": "db_host",
    "port": "db_port",
    "dbname": "db_name",
    "user": "db_user",
    "password": "db_password",
    "sslmode": "ssl_mode",
    "connect_timeout": "connect_timeout_s",
}
_FILES = {"sslrootcert": "ssl_ca", "sslcert": "ssl_cert", "sslkey": "ssl_key", "ssl-ca": "ssl_ca"}
# These change nothing about where is read, and as whom.
_OURS = frozenset(("application_name", "fallback_application_name", "keepalives", "keepalives_idle", "client_encoding"))


def spread(given: Any, read: Callable[[str], Mapping[str, Any]]) -> Any:
    """The settings, with those that the connection string among them says in ``read``'s words.

    Raises ValueError, in whose words the string does not stand: it may hold a password.
    """
    if not isinstance(given, dict):
        return given
    settings = cast(dict[str, Any], given)
    text = settings.get(KEY)
    text = text.get_secret_value() if isinstance(text, SecretStr) else text
    if not isinstance(text, str):
        return settings
    said = read(text.strip())
    for name, value in said.items():
        if settings.get(name) is not None and _plain(settings[name]) != value:
            raise ValueError(f"{name} is part of connection_string too: give it in one of them")
    return {**settings, **said}


def whole(config: Any) -> None:
    """Raises ValueError where neither the settings nor a connection string say what is needed."""
    for name in _NEEDED:
        if not getattr(config, name):
            raise ValueError(f"{name} is missing: give it, or a connection_string that says it")
    if config.db_password is None:
        raise ValueError("db_password is missing: give it, or a connection_string that says it")


def of_libpq(text: str) -> dict[str, Any]:
    """What `postgresql://…`, `postgres://…` or `key=value …` says, as settings."""
    # Imported here: it brings a driver, and few need it.
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = {name: str(value) for name, value in conninfo_to_dict(text).items() if value is not None}
    except ProgrammingError:
        raise ValueError(
            "connection_string is none of PostgreSQL's: it is postgresql://user:password@host:5432/database, or "
            "host=… dbname=…; characters like @ : / in a user or a password are written as %40 …"
        ) from None
    said = {_LIBPQ[name]: value for name, value in found.items() if name in _LIBPQ}
    _heard(found.keys() - _LIBPQ.keys() - _OURS)
    if ports := set(said.get("db_port", "").split(",")) - {""}:
        if len(ports) > 1:
            raise ValueError("connection_string has several ports: its hosts are read at one")
        said["db_port"] = ports.pop()
    return _numbered(said)


def of_mysql(text: str) -> dict[str, Any]:
    """What `mysql://user:password@host:3306/database?ssl-mode=REQUIRED` says, as settings."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or "/" in parts.path[1:]:
        raise ValueError(
            "connection_string is none of MySQL's: it is mysql://user:password@host:3306/database; characters like "
            "@ : / in a user or a password are written as %40 …"
        )
    options = {name.lower().replace("_", "-"): value for name, value in parse_qsl(parts.query)}
    mode = options.pop("ssl-mode", options.pop("sslmode", ""))
    _heard(options.keys())
    found = {
        "db_host": parts.hostname,
        "db_port": str(port or ""),
        "db_name": unquote(parts.path[1:]),
        "db_user": unquote(parts.username or ""),
        "ssl_mode": mode.lower().replace("-", "_"),
    }
    said = {name: value for name, value in found.items() if value}
    if parts.password is not None:
        said["db_password"] = unquote(parts.password)
    return _numbered(said)


def _heard(rest: Iterable[str]) -> None:
    for name in sorted(rest):
        if name in _FILES:
            raise ValueError(f"connection_string has {name}: give the file as {_FILES[name]}")
        raise ValueError(f"connection_string has the option {name}, which is not heard: take it out")


def _numbered(said: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = dict(said)
    for name in ("db_port", "connect_timeout_s"):
        if name in found:
            found[name] = int(found[name]) if str(found[name]).isdigit() else found[name]
    return found


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
