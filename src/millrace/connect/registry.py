"""Finds connectors by folder or entry point, and imports one at its first use."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from millrace.connect.destination import Destination
from millrace.connect.source import Source
from millrace.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

SOURCES = "millrace.sources"
DESTINATIONS = "millrace.destinations"


def names(kind: str) -> list[str]:
    """Types that can be used in `type:`; ``kind`` is the package of the family."""
    return sorted(_folders(kind) | {point.name for point in _installed(kind, tuple(sys.path))})


def known(kind: str, type_: str) -> bool:
    """Whether the type can be used. Types that Millrace brings are known without a look at installed packages."""
    return type_ in _folders(kind) or type_ in names(kind)


def source(type_: str) -> type[Source[Any]]:
    """The class of a source type. Raises ConfigError when there is none of that name."""
    return _find(SOURCES, "source", "Source", type_)


def destination(type_: str) -> type[Destination[Any]]:
    """The class of a destination type. Raises ConfigError when there is none of that name."""
    return _find(DESTINATIONS, "destination", "Destination", type_)


def guide(connector: type[Source[Any]] | type[Destination[Any]], variant: str = "") -> str:
    """How the connector is set up, in Markdown: the README of its folder, or the page of a variant of it; empty where
    it has none."""
    package = connector.__module__.rpartition(".")[0]
    try:
        return files(package).joinpath(f"variants/{variant}.md" if variant else "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError, ModuleNotFoundError):
        return ""


def _find(kind: str, module: str, attribute: str, type_: str) -> Any:
    # Folders go first: what other packages bring is looked for only where it must be.
    if type_ in _folders(kind):
        return _ours(kind, module, attribute, type_)
    known = names(kind)
    if type_ not in known:
        from difflib import get_close_matches

        near = get_close_matches(type_, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known types: {', '.join(known)}."
        raise ConfigError(f"there is no {module} of type {type_!r}", hint=hint, code="unknown_type")
    return next(point for point in _installed(kind, tuple(sys.path)) if point.name == type_).load()


def _ours(kind: str, module: str, attribute: str, type_: str) -> Any:
    try:
        return getattr(importlib.import_module(f"{kind}.{type_}.{module}"), attribute)
    except ModuleNotFoundError as gone:
        if gone.name and gone.name.startswith("millrace"):
            raise
        raise EnvironmentProblem(
            f"the {module} {type_!r} needs the Python package {gone.name!r}",
            hint=f"Install it: pip install 'millrace[{type_}]'.",
            code="missing_driver",
        ) from gone


@lru_cache
def _folders(kind: str) -> frozenset[str]:
    """Connectors that Millrace brings. One that is added while a process runs is found by the next."""
    package = importlib.import_module(kind)
    return frozenset(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)


@lru_cache
def _installed(kind: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Connectors that packages on ``path`` bring. Looking for them opens a file of every package there is."""
    del path
    # Imported here: connectors of ours are found without.
    from importlib.metadata import entry_points

    return tuple(entry_points(group=kind))
