"""What is in destinations, and when rows are loaded into them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from millrace.control.connecting import connections
from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.observing import destination_tables
from millrace.control.observing.destination_tables import ColumnThere, Filled
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.names import Name
from millrace.control.operations.pipelines import At, Cron, Every, TimeZone, planned
from millrace.control.pipeline import lifecycle
from millrace.control.scheduling import schedule
from millrace.control.scheduling.schedule import Schedule
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Loads:
    """When what is staged for a destination is loaded. ``own`` None: with every run."""

    destination: str
    schedule: str
    own: Any


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table at a destination; none where there is no such table yet."""

    destination: str
    table: str
    exists: bool
    columns: tuple[ColumnThere, ...]


@operation("GET", "/destinations/{destination}/tables")
def tables(
    home: Home,
    destination: Name,
    search: Annotated[str, Field(max_length=1000, description="A part of the name of a table or pipeline.")]
    | None = None,
    after: After | None = None,
    limit: Limit = 100,
) -> Page[Filled]:
    """List the tables that pipelines fill at a destination, with their rows, and how fresh they are."""
    return destination_tables.page(home, destination, search=search, after=after, limit=limit)


@operation("GET", "/destinations/{destination}/columns")
def columns(
    home: Home,
    destination: Name,
    table: Annotated[str, Field(min_length=1, max_length=1000, description="Name of the table there.")],
) -> Columns:
    """List the columns of a table as the destination has it now."""
    found = destination_tables.columns(home, destination, table)
    return Columns(destination, table, found is not None, tuple(found or ()))


@operation("GET", "/destinations/{destination}/load-schedule")
def loads(home: Home, destination: Name) -> Loads:
    """Show when what is staged for a destination is loaded."""
    found = connections.find(home, "destination", destination)
    return _loads(destination, schedule.from_json(connections.load_schedules(home).get(found.id)))


@operation("PUT", "/destinations/{destination}/load-schedule", "destinations.edit")
def load_every(
    home: Home,
    destination: Name,
    every: Every | None = None,
    cron: Cron | None = None,
    timezone: TimeZone = "UTC",
    at: At | None = None,
) -> Loads:
    """Load what is staged for a destination by a schedule of its own; without one, with every run."""
    wanted = planned(every, cron, timezone, at) or Schedule()
    lifecycle.load_every(home, destination, wanted)
    return _loads(destination, wanted)


@operation("DELETE", "/destinations/{destination}/load-schedule", "destinations.edit")
def load_with_runs(home: Home, destination: Name) -> Loads:
    """Load what is staged for a destination with every run, as at first."""
    lifecycle.load_every(home, destination, Schedule())
    return _loads(destination, Schedule())


@operation("POST", "/destinations/{destination}/load", "destinations.edit")
def load_now(home: Home, destination: Name) -> list[int]:
    """Load what waits for a destination as soon as workers are free. Answers the numbers of the jobs."""
    return [job.run.id for job in lifecycle.load_now(home, destination)]


OPERATIONS = (tables, columns, loads, load_every, load_with_runs, load_now)


def _loads(destination: str, found: Schedule) -> Loads:
    own = schedule.to_json(found)
    return Loads(destination, "with every run" if own is None else schedule.told(found), own)
