"""How the driver is told where a deployment is and who comes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import MongoClient, pool_shared
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.synchronous.pool import Pool

from millrace.connect.hosts import placed
from millrace.connect.reach import Reach, Walled, resolved
from millrace.connect.source import Context
from millrace.connect.tunnel import Tunnel
from millrace.errors import ConfigError, MillraceError
from millrace.sources.mongodb.config import Config, SslMode
from millrace.sources.mongodb.errors import translated
from millrace.sources.mongodb.values import DECODING

Client = MongoClient[RawBSONDocument]
"""Documents stay the bytes that the server sent, where nothing else is said."""

# Options of a connection string that are heard; files of this machine are named by settings of their own.
_HEARD = frozenset(
    name.lower()
    for name in (
        "replicaSet", "authSource", "authMechanism", "readPreference", "readPreferenceTags", "maxStalenessSeconds",
        "directConnection", "loadBalanced", "tls", "ssl", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames",
        "tlsInsecure", "retryReads", "retryWrites", "w", "wtimeoutMS", "journal", "appName", "connectTimeoutMS",
        "socketTimeoutMS", "serverSelectionTimeoutMS", "heartbeatFrequencyMS", "localThresholdMS", "maxPoolSize",
        "minPoolSize", "maxIdleTimeMS", "waitQueueTimeoutMS", "compressors", "zlibCompressionLevel", "readConcernLevel",
        "srvMaxHosts", "srvServiceName",
    )
)  # fmt: skip
_TLS: Mapping[SslMode, dict[str, Any]] = {
    "disable": {"tls": False},
    "require": {"tls": True, "tlsAllowInvalidCertificates": True},
    "verify-ca": {"tls": True, "tlsAllowInvalidHostnames": True},
    "verify-full": {"tls": True},
}


class Server:
    """One deployment as one pipeline asks it. Connections are made at first use."""

    def __init__(self, config: Config, context: Context) -> None:
        self.config, self._context = config, context
        self._client: Client | None = None
        self._tunnel: Tunnel | None = None

    @property
    def client(self) -> Client:
        """The driver's client, which may be used by several threads."""
        if self._client is None:
            self._client = self._made()
        return self._client

    @contextmanager
    def asked(self, object_: str | None = None) -> Generator[Client]:
        """The client; what it raises within is ours. ``object_``: nothing but this one is asked for."""
        client, config = self.client, self.config
        plain = not config.encrypted and config.connection_string is None
        with translated(config.where, lambda: _troubles(client), plain=plain, object_=object_):
            yield client

    @contextmanager
    def session(self, since: Timestamp | None = None, *, snapshot: bool = False) -> Generator[ClientSession]:
        """Reads in it see what was committed up to ``since`` at least; with ``snapshot`` all see one state."""
        with self.client.start_session(causal_consistency=not snapshot, snapshot=snapshot) as session:
            if since is not None and not snapshot:
                session.advance_operation_time(since)
            yield session

    def hello(self) -> dict[str, Any]:
        """What a member that is asked says of itself."""
        with self.asked() as client:
            return client.admin.command("hello", read_preference=client.read_preference)

    def now(self) -> Timestamp | None:
        """The time of the last change that is committed for good; None where the server knows no such time."""
        said = self.hello()
        written = said.get("lastWrite", {}).get("majorityOpTime", {})
        return written.get("ts") or said.get("operationTime")

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(PyMongoError):
                client.close()
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.close()

    def _made(self) -> Client:
        config, reach = self.config, self._context.reach
        options: dict[str, Any] = {
            "appname": "millrace",
            "document_class": RawBSONDocument,
            "tz_aware": True,
            "tzinfo": UTC,
            "datetime_conversion": DECODING.datetime_conversion,
            "serverSelectionTimeoutMS": config.connect_timeout_s * 1000,
            "connectTimeoutMS": config.connect_timeout_s * 1000,
            "readPreference": config.read_preference,
            **_encryption(config),
        }
        if config.replica_set is not None:
            options["replicaSet"] = config.replica_set
        if not reach.everywhere:
            options["_pool_class"] = _walled(reach)
        if config.ssh_host is not None:
            return self._through(config, reach, options)
        if config.connection_string is not None:
            text = config.connection_string.get_secret_value()
            heard(text)
            # What the settings do not say is as the string has it.
            if "read_preference" not in config.model_fields_set:
                del options["readPreference"]
            with translated(config.where):
                return MongoClient(text, **options)
        with translated(config.where):
            return MongoClient([placed(*one) for one in config.hosts], **options, **_who(config))

    def _through(self, config: Config, reach: Reach, options: dict[str, Any]) -> Client:
        """A tunnel leads to one server, and names of other members mean nothing here."""
        ((host, port),) = config.hosts
        try:
            self._tunnel = Tunnel(config, host, port, reach, config.connect_timeout_s)
        except MillraceError as error:
            if not isinstance(error, Walled):
                error.code = "mongodb_1007"
            raise
        options |= {"directConnection": True, "_pool_class": Pool}
        options.pop("replicaSet", None)
        if options.get("tls"):
            # The certificate is of the server's name, not of the tunnel's beginning.
            options["tlsAllowInvalidHostnames"] = True
        place = placed(self._tunnel.address, self._tunnel.port)
        with translated(config.where):
            if config.connection_string is None:
                return MongoClient([place], **options, **_who(config))
            parts = urlsplit(config.connection_string.get_secret_value())
            heard(config.connection_string.get_secret_value())
            who, at, _ = parts.netloc.rpartition("@")
            query = "&".join(
                f"{name}={quote_plus(value)}"
                for name, value in parse_qsl(parts.query)
                if name.lower() not in ("replicaset", "directconnection")
            )
            return MongoClient(f"mongodb://{who}{at}{place}{parts.path or '/'}?{query}", **options)


def majority(client: Client, database: str, collection: str) -> Any:
    """A collection as bytes of its documents, of what is committed for good."""
    found = client.get_database(database, codec_options=DECODING, read_concern=ReadConcern("majority"))
    return found.get_collection(collection)


def heard(text: str) -> None:
    """Raises ConfigError for a connection string with an option that is none of those that may stand in one."""
    for name, _ in parse_qsl(urlsplit(text).query, keep_blank_values=True):
        if name.lower() not in _HEARD:
            raise ConfigError(
                f"connection_string has the option {name}, which is not heard",
                hint="Take it away. Files with certificates are named by ssl_ca and ssl_cert.",
                path="connection_string",
                code="mongodb_settings",
            )


def _troubles(client: Client) -> list[BaseException]:
    servers = client.topology_description.server_descriptions().values()
    return [one.error for one in servers if one.error is not None]


def _who(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if config.db_user is not None:
        found["username"] = config.db_user
        found["authSource"] = config.auth_database
    if config.db_password is not None:
        found["password"] = config.db_password.get_secret_value()
    if config.auth_mechanism is not None:
        found["authMechanism"] = config.auth_mechanism
        if config.auth_mechanism in ("MONGODB-X509", "PLAIN"):
            found["authSource"] = "$external"
    return found


def _encryption(config: Config) -> dict[str, Any]:
    mode = config.ssl_mode
    if mode is None:
        if not config.use_ssl:
            # A connection string says for itself whether it is encrypted.
            return {} if config.connection_string is not None else {"tls": False}
        mode = "verify-full"
    found = dict(_TLS[mode])
    if not found["tls"]:
        return found
    if config.ssl_ca is not None:
        found["tlsCAFile"] = str(config.ssl_ca)
    if config.ssl_cert is not None:
        found["tlsCertificateKeyFile"] = str(config.ssl_cert)
    if config.ssl_passphrase is not None:
        found["tlsCertificateKeyFilePassword"] = config.ssl_passphrase.get_secret_value()
    return found


def _walled(reach: Reach) -> type[Pool]:
    """Connections go to addresses that were looked at, and to no others: members that a server names may be anywhere,
    and a name may lead elsewhere a moment later. Certificates are still checked against the name."""

    class Looking(Pool):
        def connect(self, handler: Any = None) -> Any:
            host, port = str(self.address[0]), int(self.address[1] or 0)
            if host.startswith(("/", "@")) or host.endswith(".sock"):
                raise Walled("connections of others than the operator may not reach sockets of this machine")
            try:
                _dialling.places = resolved(host, port, reach.stores)
            except (OSError, UnicodeError) as unknown:
                _dialling.places = unknown
            try:
                return super().connect(handler)
            finally:
                _dialling.places = None

    return Looking


# Addresses of the host to which this thread connects now, or why it has none; None: the driver may look it up itself.
_dialling = threading.local()
# The driver has no argument for it. Tests connect through it, and tell if this is renamed.
_plain: Callable[..., socket.socket] = pool_shared._create_connection  # pyright: ignore[reportPrivateUsage]


def _dialled(address: tuple[str, int | None], options: Any) -> socket.socket:
    places: Sequence[str] | Exception | None = getattr(_dialling, "places", None)
    if places is None:
        return _plain(address, options)
    last = places if isinstance(places, Exception) else OSError(f"{address[0]} has no address")
    for place in [] if isinstance(places, Exception) else places:
        try:
            return _plain((place, address[1]), options)
        except OSError as refused:
            last = refused
    raise last


pool_shared._create_connection = _dialled  # pyright: ignore[reportPrivateUsage]
