"""Settings of the MongoDB source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from millrace.connect.config import Secret, Settings, SourceConfig
from millrace.connect.hosts import placed
from millrace.connect.ssh import SshSettings

SslMode = Literal["disable", "require", "verify-ca", "verify-full"]
ReadFrom = Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"]

DEFAULT_PORT = 27017
# Names of databases that the server keeps for itself.
OWN_DATABASES = frozenset(("admin", "local", "config"))


class Login(Settings):
    """Which deployment it is, and who comes."""

    db_host: str | None = Field(
        None,
        min_length=1,
        description="Hosts: all members of the replica set, or all routers of a sharded cluster, with commas between "
        "them; a host may bring its own port (`a.example.com:27018`).",
    )
    db_port: int = Field(DEFAULT_PORT, ge=1, le=65535, description="Port of hosts that do not bring one.")
    connection_string: Secret | None = Field(
        None,
        description="In place of hosts, user and password: `mongodb://…`, or `mongodb+srv://…` as Atlas shows it.",
    )
    db_user: str | None = Field(None, min_length=1, description="User, who needs to read only.")
    db_password: Secret | None = Field(None, description="Password of the user.")
    auth_database: str = Field("admin", min_length=1, description="Database in which the user was made.")
    auth_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "MONGODB-X509"] | None = Field(
        None, description="How the user proves who it is; left out: what the server offers for passwords."
    )
    replica_set: str | None = Field(
        None, min_length=1, description="Name of the replica set: one with another name is refused."
    )
    use_ssl: bool = Field(False, description="Refuse connections without encryption.")
    ssl_mode: SslMode | None = Field(
        None, description="How much of the server's certificate is checked. Left out: with use_ssl verify-full."
    )
    ssl_ca: Path | None = Field(None, description="File with the certificates of the authority to trust.")
    ssl_cert: Path | None = Field(None, description="One file with the client's certificate and its key.")
    ssl_passphrase: Secret | None = Field(None, description="What the key of the client is encrypted with.")
    connect_timeout_s: int = Field(10, ge=1, description="Seconds to wait for a server that can be asked.")


class Config(SourceConfig, SshSettings, Login):
    """Which deployment is read, by whom, and how."""

    db_names: list[str] = Field(
        default_factory=list[str], description="Databases that are read; left out: all that the user may read."
    )
    ingestion_mode: Literal["log", "table"] = Field(
        "log", description="log: changes from change streams. table: collections by queries."
    )
    merge_collections: bool = Field(
        False,
        description="Collections of the same name in several databases go to one table, with the name of the database "
        "in a column of its own.",
    )
    read_preference: ReadFrom = Field("primary", description="Members that are asked, in MongoDB's own words.")
    load_historical_data: bool = Field(True, description="Load what collections had before the pipeline began.")
    historical_parallelism: int = Field(2, ge=1, le=16, description="Connections that read one collection's history.")
    full_load_every_hours: int = Field(
        6, ge=0, le=168, description="Hours from one reading of a whole collection to the next; 0: each run reads it."
    )
    special_values: Literal["reject", "null"] = Field(
        "reject",
        description="Values that no type of a warehouse has (dates before year 1, NaN among decimals): reject the "
        "document, or leave the value out.",
    )
    plain_ids: bool = Field(
        False,
        description="Write every _id as plainly as can be, also where another one would look the same: for collections "
        "whose _id has one type alone.",
    )

    @property
    def hosts(self) -> list[tuple[str, int]]:
        """Hosts with their ports; of a connection string those that it names."""
        text = self.db_host or ""
        if self.connection_string is not None:
            text = urlsplit(self.connection_string.get_secret_value()).netloc.rpartition("@")[2]
        return [parted(one.strip(), self.db_port) for one in text.split(",") if one.strip()]

    @property
    def encrypted(self) -> bool:
        """The settings ask for encryption. A connection string may do so too."""
        return self.use_ssl if self.ssl_mode is None else self.ssl_mode != "disable"

    @property
    def where(self) -> str:
        """The deployment as messages name it, without user and password."""
        return "MongoDB at " + ",".join(placed(host, port) for host, port in self.hosts)

    def account(self) -> str:
        return ",".join(sorted(f"{host.lower()}:{port}" for host, port in self.hosts))

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.db_host is None) == (self.connection_string is None):
            raise ValueError("give db_host, or a connection_string in its place")
        if self.connection_string is not None:
            self._right_string(self.connection_string.get_secret_value())
        elif not self.hosts:
            raise ValueError("db_host names no host")
        if not all(0 < port < 65536 for _, port in self.hosts):
            raise ValueError("a port of a host is none: ports are numbers from 1 to 65535")
        if self.db_password is not None and self.db_user is None:
            raise ValueError("db_user is missing: name whose password db_password is")
        if self.auth_mechanism == "MONGODB-X509" and self.ssl_cert is None:
            raise ValueError("ssl_cert is missing: auth_mechanism MONGODB-X509 signs in with a certificate")
        if own := OWN_DATABASES.intersection(self.db_names):
            raise ValueError(f"db_names has {', '.join(sorted(own))}, which the server keeps for itself")
        self._one_way()
        return self

    def _right_string(self, text: str) -> None:
        """The words of what is wrong never show the string: it may hold a password."""
        if not text.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("connection_string does not begin with mongodb:// or mongodb+srv://")
        try:
            whole = re.fullmatch(r"mongodb(\+srv)?://(?:[^@/?#]*@)?[^@/?#]+(?:/[^@?#]*)?(?:\?[^@#]*)?", text)
            count = len(self.hosts) if whole else 0
        except ValueError:
            count = 0
        if not count:
            raise ValueError(
                "connection_string cannot be read; characters like @ : / in a user or a password are written as %40 …"
            )
        if self.db_user is not None or self.db_password is not None:
            raise ValueError(
                "the user and the password are part of connection_string, or db_host is given in its place"
            )
        if text.startswith("mongodb+srv://") and count != 1:
            raise ValueError("connection_string with mongodb+srv:// names one host, whose records name the others")

    def _one_way(self) -> None:
        if self.ssh_host is None:
            return
        if len(self.hosts) != 1 or (
            self.connection_string is not None and self.connection_string.get_secret_value().startswith("mongodb+srv")
        ):
            raise ValueError("through ssh_host one server is reached: name one host, the primary")


def parted(text: str, port: int) -> tuple[str, int]:
    """Host and port of one server. IPv6 addresses with a port stand in brackets.

    Raises ValueError for what is neither.
    """
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else port
    host, colon, rest = text.rpartition(":")
    if not colon or ":" in host:
        return text, port
    if not rest.isdigit():
        raise ValueError(f"{text!r} is no host with a port")
    return host, int(rest)
