"""The table of all that can be asked of Millrace: one module for each noun, one function for each operation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from millrace.control.desk import Errand, Operation

NOUNS = (
    "connections",
    "tables",
    "documents",
    "pipelines",
    "destinations",
    "sync",
    "reconcile",
    "runs",
    "rejects",
    "transformations",
    "mappings",
    "settings",
    "activity",
    "users",
    "keys",
    "teams",
    "jobs",
    "objects",
    "file_log",
    "drafts",
    "usage",
    "alerts",
    "sign_on",
    "hooks",
    "simulation",
)


def table() -> list[Operation[..., Any] | Errand[..., Any]]:
    """Every operation, noun by noun."""
    return [one for noun in NOUNS for one in import_module(f"{__name__}.{noun}").OPERATIONS]
