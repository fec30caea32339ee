"""Settings of the PostgreSQL source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from millrace.connect.config import Secret, SourceConfig
from millrace.connect.sql.libpq import SslMode


class Config(SourceConfig):
    """Which database is read, by whom, and how."""

    db_host: str = Field(
        description="Host name or address of the server; of a replica to spare the primary.", min_length=1
    )
    db_port: int = Field(5432, ge=1, le=65535, description="Port of the server.")
    db_name: str = Field(description="Database.", min_length=1)
    db_user: str = Field(description="User, who needs to read only.")
    db_password: Secret = Field(description="Password of the user.")
    ingestion_mode: Literal["log", "table", "custom_sql"] = Field(
        "table",
        description="log: changes from the write-ahead log. table: tables by queries. custom_sql: one query of yours.",
    )
    schemas: list[str] = Field(
        default_factory=list[str], description="Schemas whose tables are read; left out: all that the user may use."
    )
    publication_name: str | None = Field(
        None,
        min_length=1,
        description="A publication that you made, where the user may not make one; of ingestion_mode log.",
    )
    custom_sql: str | None = Field(None, description="The query of ingestion_mode custom_sql: one SELECT.")
    custom_sql_name: str = Field("query", min_length=1, max_length=255, description="Name of the query as an object.")
    load_historical_data: bool = Field(True, description="Load what tables had before the pipeline began.")
    historical_parallelism: int = Field(2, ge=1, le=16, description="Connections that read one table's history.")
    full_load_every_hours: int = Field(
        6, ge=0, le=168, description="Hours from one reading of a whole table to the next; 0: each run reads it."
    )
    special_values: Literal["reject", "null"] = Field(
        "reject",
        description="Values that no type of a warehouse has (infinite dates, NaN among decimals): reject the row, or "
        "leave the value out.",
    )
    use_ssl: bool = Field(False, description="Refuse connections without encryption.")
    ssl_mode: SslMode | None = Field(
        None,
        description="Encryption in libpq's words. Left out: prefer, or with use_ssl require (verify-full with a CA).",
    )
    ssl_ca: Path | None = Field(None, description="File with the certificates of the authority to trust.")
    ssl_cert: Path | None = Field(None, description="File with the client's certificate.")
    ssl_key: Path | None = Field(None, description="File with the client's key.")
    ssh_host: str | None = Field(None, description="SSH server through which the database is reached.")
    ssh_port: int = Field(22, ge=1, le=65535, description="Port of the SSH server.")
    ssh_user: str | None = Field(None, description="User at the SSH server.")
    ssh_password: Secret | None = Field(None, description="Password of that user.")
    ssh_private_key: Secret | None = Field(None, description="Private key of that user: the text of the file.")
    ssh_passphrase: Secret | None = Field(None, description="What the private key is encrypted with.")
    ssh_agent: bool = Field(False, description="Let the agent of this machine sign in at the SSH server.")
    ssh_host_key: str | None = Field(
        None, description="Public key of the SSH server, as `ssh-keyscan` prints it: another server is refused."
    )
    connect_timeout_s: int = Field(10, ge=1, description="Seconds to wait for a connection.")

    def account(self) -> str:
        return f"{self.db_host.lower()}:{self.db_port}"

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.ingestion_mode == "custom_sql" and not (self.custom_sql or "").strip():
            raise ValueError("custom_sql is missing: write the query that ingestion_mode custom_sql reads")
        if self.publication_name is not None and self.ingestion_mode != "log":
            raise ValueError("publication_name is of ingestion_mode: log alone")
        if self.ingestion_mode != "custom_sql" and self.custom_sql is not None:
            raise ValueError("custom_sql is read with ingestion_mode: custom_sql alone")
        self._whole_way()
        return self

    def _whole_way(self) -> None:
        if self.ssh_host is None:
            return
        if not self.ssh_user:
            raise ValueError("ssh_user is missing: name who signs in at the SSH server")
        if not self.ssh_host_key:
            raise ValueError("ssh_host_key is missing: give what `ssh-keyscan` prints for the SSH server")
        if (self.ssh_password is not None) + (self.ssh_private_key is not None) + self.ssh_agent != 1:
            raise ValueError("give one of ssh_password, ssh_private_key and ssh_agent")
