"""Settings of connectors: one pydantic class is shape, check, documentation and form at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, WithJsonSchema, field_validator
from pydantic.fields import FieldInfo

from millrace.connect.listed_names import ListedNames

# A value that is sealed at rest and never shown. `json_schema_extra` lets forms draw a password field.
Secret = Annotated[SecretStr, WithJsonSchema({"type": "string", "format": "password", "writeOnly": True})]

_PATHS = frozenset({"path", "file-path", "directory-path"})

# What says where a connection leads, and so who is sent its secrets. The owner of a bucket is not sent them.
_AIMS = ("base_url", "db_host", "db_port", "endpoint", "host", "port", "ssh_host", "ssh_port", "url")
_TOLD = frozenset({"http", "https", "sftp"})


class Settings(BaseModel):
    """Settings of one connector. Unknown keys are refused; secrets are `Secret` fields."""

    # An error of pydantic is a text too, and would show what was typed, secrets among it.
    # What checks them is made when something is checked: of most classes that are imported, nothing is.
    model_config = ConfigDict(
        extra="forbid", validate_default=True, frozen=True, hide_input_in_errors=True, defer_build=True
    )

    @classmethod
    def secret_keys(cls) -> frozenset[str]:
        """Names of the fields whose values must never be shown."""
        return frozenset(name for name, field in cls.model_fields.items() if SecretStr in _types(field.annotation))

    @classmethod
    def path_keys(cls) -> frozenset[str]:
        """Names of the fields that name a file or a folder of this machine."""
        return frozenset(
            name
            for name, field in cls.model_fields.items()
            if Path in _types(field.annotation)
            or (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("format") in _PATHS)
        )

    @classmethod
    def names_key(cls) -> str | None:
        """The field that names a file of names, marked `x-names` so that forms show them; `names_in` reads it.

        The mark says for which values of other fields the system is asked for names too.
        """
        return next((name for name, field in cls.model_fields.items() if _likes(field, "x-names")), None)

    @classmethod
    def asks_for_names(cls, config: Mapping[str, Any]) -> bool:
        """Whether the system is asked for names with these settings, which may lack some (`Source.listed_names`)."""
        key = cls.names_key()
        return key is not None and _matching(_likes(cls.model_fields[key], "x-names"), config)

    @classmethod
    def reads_names(cls, config: Mapping[str, Any]) -> bool:
        """Whether the file of names is read with these settings, which may lack some (`x-when`)."""
        key = cls.names_key()
        return key is not None and _matching(_likes(cls.model_fields[key], "x-when"), config)

    @classmethod
    def names_in(cls, path: str) -> ListedNames:
        """What the file at ``path`` says, before anything is saved. Raises ConfigError with the key as its path."""
        # For its author: of a connector whose settings have such a file, and that does not say how it is read.
        raise NotImplementedError(f"{cls.__module__} names a file of names, and does not read it")

    @classmethod
    def aims(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Where a connection with these settings, which may lack some, leads; of a URL its scheme and host."""
        found: dict[str, Any] = {}
        for key, field in cls.model_fields.items():
            if key not in _AIMS or key in cls.secret_keys():
                continue
            value = str(config.get(key, field.default))
            try:
                parts = urlsplit(value) if "://" in value else None
            except ValueError:
                parts = None  # no URL at all, as whoever checks the settings will say
            found[key] = value if parts is None else (parts.scheme, parts.netloc) if parts.scheme in _TOLD else None
        return found | {key: config[key] for key in ("connection_string",) if config.get(key) is not None}

    @field_validator("*", mode="before")
    @classmethod
    def _text_that_can_be(cls, value: object, info: ValidationInfo) -> object:
        """No system takes a NUL in a text, some read it to there; and an empty path would be this folder."""
        if isinstance(value, str):
            if "\0" in value:
                raise ValueError(f"{info.field_name!r} holds a NUL character")
            if not value.strip() and info.field_name in cls.path_keys():
                raise ValueError(f"{info.field_name!r} is empty; it must be the path of a file or a folder")
        return value

    def inspect(self) -> None:
        """The files of this machine that the settings name are what they shall be; no other system is asked.

        Raises ConfigError with the key as its path.
        """


def _types(annotation: Any) -> set[Any]:
    args = getattr(annotation, "__args__", ())
    return {annotation}.union(*(_types(arg) for arg in args)) if args else {annotation}


def _likes(field: FieldInfo, mark: str) -> dict[str, str]:
    extra = field.json_schema_extra
    found: Any = extra.get(mark) if isinstance(extra, dict) else None
    return found or {}


def _matching(likes: Mapping[str, str], config: Mapping[str, Any]) -> bool:
    return all(re.search(like, str(config.get(other) or ""), re.IGNORECASE) for other, like in likes.items())


class SourceConfig(Settings):
    """Settings that every source has."""

    def account(self) -> str:
        """What counts as one and the same system, a host or an account, however many connections lead there."""
        return self.model_dump_json(exclude=set(self.secret_keys()))


class DestinationConfig(Settings):
    """Settings that every destination has."""

    sanitize_names: bool = Field(True, description="Bring table and column names into the destination's form.")
    populate_loaded_timestamp: bool = Field(
        True, description="Add a column with the time when a row was loaded, in epoch milliseconds."
    )
    on_oversize: Literal["FAIL", "TRUNCATE", "NULL"] = Field(
        "FAIL",
        description="Text that is longer than its column may become: the row is rejected, or what the policy for types "
        "says (FAIL), the text is cut (TRUNCATE) or left out (NULL). Keys and JSON are never cut.",
    )
