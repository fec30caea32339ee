"""Pipelines: which there are, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass

from millrace.control import pipelines, status
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.names import Name
from millrace.control.status import PipelineStatus


@dataclass(frozen=True, slots=True)
class Restarted:
    """A pipeline that knows nothing of what it read."""

    pipeline: str
    tables: tuple[str, ...]
    dropped: bool


@operation("GET", "/pipelines")
def names(home: Home) -> list[str]:
    """List the names of all pipelines."""
    return [one.name for one in pipelines.listed(home)]


@operation("GET", "/status")
def statuses(home: Home) -> list[PipelineStatus]:
    """Show how far every pipeline is: what is loaded, what waits, what needs a person."""
    return status.statuses(home)


@operation("GET", "/pipelines/{pipeline}/status")
def find(home: Home, pipeline: Name) -> PipelineStatus:
    """Show how far one pipeline is."""
    return status.statuses(home, pipeline)[0]


@operation("POST", "/pipelines/{pipeline}/reset", "pipelines.edit")
def reset(home: Home, pipeline: Name, drop_tables: bool = False) -> Restarted:
    """Forget how far a pipeline is: positions, staged rows and rejects go. Loaded rows stay, unless tables are
    dropped."""
    from millrace.control import runs

    return Restarted(pipeline, tuple(runs.reset(home, pipeline, drop_tables=drop_tables)), drop_tables)


OPERATIONS = (names, statuses, find, reset)
