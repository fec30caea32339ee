"""Settings of a bucket, for every connector that has one, and who may open it."""

from __future__ import annotations

import re

from pydantic import Field, JsonValue, SecretStr, field_validator

from millrace.connect.config import Secret, Settings
from millrace.connect.files.store import SCHEMES, Store
from millrace.connect.reach import Reach, check_url, web_url
from millrace.errors import ConfigError

# The client of buckets takes nothing else, and ends in a way that nobody can catch where it is given it.
_ENDPOINT = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[\w./~-]*)?", re.ASCII)
# The client makes addresses of them: with a sign of a URL in it, it would be another server's.
_REGION = re.compile(r"[\w-]{1,64}", re.ASCII)
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


def asked_where(place: str) -> dict[str, JsonValue]:
    """Forms ask for the field where the connector's place, its url or its path, is like this."""
    return {"x-when": {"url": place, "path": place}}


_S3, _GCS, _AZURE = map(asked_where, ("^s3://", "^gs://", "^az://"))


class BucketSettings(Settings):
    """What the service of a bucket needs to know. What is left out comes from the environment."""

    region: str | None = Field(None, description="Region of an S3 bucket.", json_schema_extra=_S3)
    endpoint: str | None = Field(
        None, description="Address of a service that speaks S3, for example MinIO.", json_schema_extra=_S3
    )
    access_key_id: str | None = Field(
        None, description="Key of an S3 bucket; left out: from the environment.", json_schema_extra=_S3
    )
    secret_access_key: Secret | None = Field(None, description="Secret of that key.", json_schema_extra=_S3)
    service_account_key: Secret | None = Field(
        None, description="Google Cloud Storage: the JSON text of a service account's key.", json_schema_extra=_GCS
    )
    account_name: str | None = Field(
        None, description="Azure Blob Storage: name of the storage account.", json_schema_extra=_AZURE
    )
    account_key: Secret | None = Field(
        None, description="Azure Blob Storage: key of the account.", json_schema_extra=_AZURE
    )
    sas_token: Secret | None = Field(
        None, description="Azure Blob Storage: a shared access signature, instead of a key.", json_schema_extra=_AZURE
    )

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, url: str | None) -> str | None:
        if url is not None and (_ENDPOINT.fullmatch(url) is None or web_url(url) is None):
            raise ValueError("an endpoint is like https://HOST or http://HOST:PORT")
        return url

    @field_validator("region")
    @classmethod
    def _region(cls, name: str | None) -> str | None:
        if name is not None and _REGION.fullmatch(name) is None:
            raise ValueError("a region is a name like eu-central-1, of letters, digits, - and _")
        return name

    @field_validator("account_name")
    @classmethod
    def _account(cls, name: str | None) -> str | None:
        if name is not None and _ACCOUNT.fullmatch(name) is None:
            raise ValueError(
                "the name of a storage account has 3 to 24 signs, small letters and digits; give no address"
            )
        return name

    @property
    def has_keys(self) -> bool:
        """A bucket is opened with what these settings say, not with what the server has."""
        return (
            (self.access_key_id is not None and self.secret_access_key is not None)
            or self.service_account_key is not None
            or (self.account_name is not None and (self.account_key or self.sas_token) is not None)
        )

    def options(self) -> dict[str, str]:
        """The same as its client calls it; holds the secrets."""
        given = {
            "region": self.region,
            "endpoint": self.endpoint,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "google_service_account_key": self.service_account_key,
            "azure_storage_account_name": self.account_name,
            "azure_storage_account_key": self.account_key,
            "azure_storage_sas_token": self.sas_token,
        }
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in given.items()
            if value is not None
        }


def opened(root: str, settings: BucketSettings, reach: Reach) -> Store:
    """The store at a local path or a bucket's URL. Raises ConfigError, also where whoever asks may not open it."""
    if not reach.everywhere and settings.endpoint is not None:
        check_url(settings.endpoint, reach.stores)
        if not settings.has_keys:
            # Who named the service would be sent what signs with the server's own credentials.
            raise ConfigError(
                "a service that is named by its endpoint needs keys of its own",
                hint="Give access_key_id and secret_access_key.",
                path="access_key_id",
                code="own_keys",
            )
    if not reach.credentials and not settings.has_keys and root.startswith(SCHEMES):
        # Else whoever may save a connection reads and writes wherever the server may.
        raise ConfigError(
            "this bucket has no keys, and the server's own are for connections of its operator alone",
            hint="Give keys of its own. Where every bucket that the server may open is open to all who save "
            "connections, an administrator may set `settings: {allow_server_credentials: true}` with `millrace apply`.",
            path="access_key_id",
            code="server_credentials",
        )
    return Store.at(root, settings.options(), allowed=None if reach.everywhere else reach.stores)
