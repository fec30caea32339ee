"""Settings of a source of files: where they are, which of them are read, and what is in them."""

from __future__ import annotations

import codecs
from typing import Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from millrace.connect.config import Secret, SourceConfig
from millrace.connect.files.bucket import BucketSettings, asked_where
from millrace.connect.files.store import SCHEMES
from millrace.connect.ssh import SshSettings

Format: TypeAlias = Literal["csv", "tsv", "json", "parquet", "avro", "xml", "clevertap"]

# Formats by the ending of a name, in front of that of a compression.
ENDINGS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".parquet": "parquet", ".avro": "avro", ".xml": "xml",
}  # fmt: skip


_SFTP = asked_where("^sftp://")


class Config(SourceConfig, BucketSettings):
    """Which files to read, and how."""

    url: str = Field(
        min_length=1,
        description="A local folder, a bucket with a prefix (s3://bucket/prefix, gs://, az://), or "
        "sftp://user@host:port/folder.",
        examples=["s3://bucket/orders"],
        json_schema_extra={"format": "directory-path"},
    )
    pattern: str = Field(
        "*",
        min_length=1,
        description="Which files are read, like *.csv or daily/**/*.json. Without a slash it is compared with the name "
        "alone. Names that begin with _ or . are never read.",
    )
    format: Format | None = Field(
        None,
        description="What is in the files; left out: by the ending of each (.csv, .jsonl.gz …). clevertap: exports of "
        "events in JSON.",
    )
    objects: Literal["folders", "one"] = Field(
        "folders", description="Each folder below the URL is an object (folders), or all files together are one (one)."
    )
    object_name: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Name of the object of files that are in no folder of their own.",
    )
    key: tuple[str, ...] = Field(
        (), description="Columns that tell rows apart; left out: the file and the number of the row."
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="CSV: the character between fields; left out: a comma, or a tab."
    )
    header: bool = Field(True, description="CSV and TSV: the first row has the names of columns.")
    quote: str = Field('"', max_length=1, description="CSV and TSV: the character around fields; empty: there is none.")
    encoding: str = Field("utf-8", description="Encoding of CSV, TSV and JSON files, like utf-8, latin-1 or utf-16.")
    types: Literal["values", "text"] = Field(
        "values",
        description="CSV, TSV and XML: columns have the type that their values say (values), or all are text (text).",
    )
    timezone: str = Field("UTC", description="CleverTap: time zone of the project (IANA name); times are local to it.")
    ssh_password: Secret | None = Field(None, description="SFTP: password of the user.", json_schema_extra=_SFTP)
    ssh_private_key: Secret | None = Field(
        None, description="SFTP: private key of the user, the text of the file.", json_schema_extra=_SFTP
    )
    ssh_passphrase: Secret | None = Field(
        None, description="SFTP: what the private key is encrypted with.", json_schema_extra=_SFTP
    )
    ssh_host_key: str | None = Field(
        None,
        description="SFTP: public key of the server, as `ssh-keyscan` prints it: another server is refused.",
        json_schema_extra=_SFTP,
    )

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, name: str) -> str:
        try:
            found = codecs.lookup(name)
            "a".encode(name).decode(name)
        except (LookupError, UnicodeError):
            raise ValueError(f"there is no encoding {name!r} of text; use utf-8, latin-1, cp1252 or utf-16") from None
        return found.name

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {name!r}; use an IANA name such as Europe/Berlin") from None
        return name

    @field_validator("delimiter", "quote")
    @classmethod
    def _one_byte(cls, found: str | None) -> str | None:
        if found and (not found.isascii() or found in "\r\n"):
            raise ValueError("it must be one ASCII character, and no line break")
        return found

    @model_validator(mode="after")
    def _place(self) -> Self:
        if self.is_sftp:
            parts = urlsplit(self.url)
            if parts.password:
                raise ValueError("the url has a password in it; give it as ssh_password")
            if not parts.hostname or not parts.username:
                raise ValueError("the url must be like sftp://user@host/folder")
            if not self.ssh_host_key:
                raise ValueError("ssh_host_key is missing: give what `ssh-keyscan` prints for the server")
            if (self.ssh_password is None) == (self.ssh_private_key is None):
                raise ValueError("give one of ssh_password and ssh_private_key")
        elif "://" in self.url and not self.is_bucket:
            raise ValueError(f"the url is of an unknown kind; known are folders, sftp:// and {', '.join(SCHEMES)}")
        if self.quote and self.quote == self.delimiter:
            raise ValueError("delimiter and quote are the same character")
        return self

    @property
    def is_sftp(self) -> bool:
        return self.url.lower().startswith("sftp://")

    @property
    def is_bucket(self) -> bool:
        return self.url.startswith(SCHEMES)

    def login(self) -> SshSettings:
        """Who comes to the SFTP server."""
        parts = urlsplit(self.url)
        return SshSettings(
            ssh_host=parts.hostname,
            ssh_port=parts.port or 22,
            ssh_user=unquote(parts.username or ""),
            ssh_password=self.ssh_password,
            ssh_private_key=self.ssh_private_key,
            ssh_passphrase=self.ssh_passphrase,
            ssh_agent=False,
            ssh_host_key=self.ssh_host_key,
        )

    def folder(self) -> str:
        """The folder at the SFTP server."""
        return unquote(urlsplit(self.url).path) or "/"
