"""What the service that runs a database changes about the settings of its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from millrace.connect.source import Variant

# They are reached over networks of others.
ENCRYPTED = {"use_ssl": True}

# Those that run every database. Their guides: `variants` of each source.
CLOUDS = (
    Variant("rds", "Amazon RDS", ENCRYPTED),
    Variant("aurora", "Amazon Aurora", ENCRYPTED),
    Variant("azure", "Azure", ENCRYPTED),
    Variant("google", "Google Cloud SQL", ENCRYPTED),
)


def with_defaults(given: Any, variants: Sequence[Variant]) -> Any:
    """The settings, with the defaults of their variant where they say nothing.

    Whoever says an ``ssl_mode`` has said whether to encrypt.
    """
    if not isinstance(given, dict):
        return given
    settings = cast(dict[str, Any], given)
    for one in variants:
        if one.name == settings.get("variant"):
            said = settings.keys() | ({"use_ssl"} if settings.get("ssl_mode") is not None else set[str]())
            return {**{name: value for name, value in one.defaults.items() if name not in said}, **settings}
    return settings


def check_log(variant: str, variants: Sequence[Variant], ingestion_mode: str) -> None:
    """Raises ValueError where a log shall be read that nobody may follow."""
    one = next((one for one in variants if one.name == variant), None)
    if one is not None and not one.logged and ingestion_mode == "log":
        raise ValueError(f"ingestion_mode log is nothing that {one.title} lets anybody do: choose table or custom_sql")
