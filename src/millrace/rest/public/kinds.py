"""Types of sources and destinations under the names that the public API has for them: `CLEVERTAP` for `clevertap`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from millrace.connect import registry
from millrace.connect.source import Source
from millrace.control.connecting.connections import Kind
from millrace.errors import ConfigError, EnvironmentProblem
from millrace.rest.public.shapes import Told

# Names of the API that are not ours in capitals.
_OTHERS: dict[str, str] = {"POSTGRESQL": "postgres"}


class TypeTold(Told):
    """A type of connection."""

    name: str
    display_name: str


def ours(name: str) -> str:
    """Our name of a type, known or not."""
    return _OTHERS.get(name.upper(), name.lower())


@lru_cache
def told(kind: Kind, type_: str) -> TypeTold:
    """A type as the API names it; one whose connector is gone keeps its name."""
    try:
        family: type[Any] = registry.source(type_) if kind == "source" else registry.destination(type_)
    except (ConfigError, EnvironmentProblem):
        return TypeTold(name=type_.upper(), display_name=type_)
    return TypeTold(name=type_.upper(), display_name=family.title)


def source_of(type_: str) -> type[Source[Any]]:
    """The class of a source type of the API. Raises ConfigError "unknown_type" for one that there is not."""
    return registry.source(ours(type_))
