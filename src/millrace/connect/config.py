"""Settings of connectors: one pydantic class is shape, check, documentation and form at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema

# A value that is sealed at rest and never shown. `json_schema_extra` lets forms draw a password field.
Secret = Annotated[SecretStr, WithJsonSchema({"type": "string", "format": "password", "writeOnly": True})]


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

    def inspect(self) -> None:
        """The files of this machine that the settings name are what they shall be; no other system is asked.

        Raises ConfigError with the key as its path.
        """


def _types(annotation: Any) -> set[Any]:
    args = getattr(annotation, "__args__", ())
    return {annotation}.union(*(_types(arg) for arg in args)) if args else {annotation}


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
