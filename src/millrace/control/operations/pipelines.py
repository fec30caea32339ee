"""Pipelines: which there are, and how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.observing import overview, status
from millrace.control.observing.overview import Glances, Health, Moved, ObjectLately, Order
from millrace.control.observing.status import PipelineStatus
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.names import Moment, Name
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Pipeline, State
from millrace.control.scheduling import schedule
from millrace.control.scheduling.priority import Priority
from millrace.control.scheduling.schedule import Schedule
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

Every = Annotated[str, Field(max_length=100, description="An interval: 30m, 6h, 1d.")]
Cron = Annotated[str, Field(max_length=200, description="Minute, hour, day of month, month, day of week.")]
TimeZone = Annotated[str, Field(max_length=100, description="Of the cron expression.")]
At = Annotated[str, Field(max_length=5, description="With 1d: the time of day, hh:mm in UTC.")]


@dataclass(frozen=True, slots=True)
class Restarted:
    """A pipeline that knows nothing of what it read."""

    pipeline: str
    tables: tuple[str, ...]
    dropped: bool


@dataclass(frozen=True, slots=True)
class Stands:
    """A pipeline, and whether and when it runs."""

    pipeline: str
    number: int
    state: State
    priority: Priority
    schedule: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A pipeline that was deleted. ``gone`` False: something of it ends at its next commit first."""

    pipeline: str
    gone: bool


@dataclass(frozen=True, slots=True)
class AutoMapping:
    """Whether tables and columns of a pipeline are made by themselves."""

    pipeline: str
    on: bool


@operation("GET", "/pipelines")
def names(home: Home) -> list[str]:
    """List the names of all pipelines."""
    return [one.name for one in pipelines.listed(home)]


@operation("GET", "/status")
def statuses(home: Home) -> list[PipelineStatus]:
    """Show how far every pipeline is: what is loaded, what waits, what needs a person."""
    return status.statuses(home)


@operation("GET", "/overview")
def overview_(
    home: Home,
    search: Annotated[
        str,
        Field(
            max_length=255,
            description="A part of a name or type, of a pipeline or one of its ends; its number, like 12 or #12.",
        ),
    ]
    | None = None,
    health: Annotated[Sequence[Health], Field(max_length=10, description="Only those that are so.")] = (),
    destination: Annotated[Name, Field(description="Only into this one.")] | None = None,
    source_type: Annotated[str, Field(max_length=100, description="Only from sources of this type.")] | None = None,
    order: Order = "name",
    after: After | None = None,
    limit: Limit = 50,
) -> Glances:
    """List pipelines as people look at them: how each is, its last run, and what it loaded in the last 24 hours."""
    return overview.page(
        home,
        search=search,
        health=health,
        destination=destination,
        source_type=source_type,
        order=order,
        after=after,
        limit=limit,
    )


@operation("GET", "/pipelines/{pipeline}/throughput")
def throughput(
    home: Home,
    pipeline: Name,
    since: Annotated[Moment, Field(description="From then on.")],
    by: Literal["hour", "day"] = "hour",
) -> list[Moved]:
    """Count the rows of a pipeline that were staged, loaded (of these, the billable ones and those of history) and
    refused, hour by hour or day by day, in UTC."""
    return overview.throughput(home, pipeline, by=by, since=since)


@operation("GET", "/pipelines/{pipeline}/objects-lately")
def lately(home: Home, pipeline: Name) -> list[ObjectLately]:
    """Count the rows of each object that were staged in each of the last 24 hours, and all that were loaded since then.

    Objects without any are left out.
    """
    return overview.by_object(home, pipeline)


@operation("GET", "/pipelines/{pipeline}/status")
def find(home: Home, pipeline: Name) -> PipelineStatus:
    """Show how far one pipeline is."""
    return status.statuses(home, pipeline)[0]


@operation("POST", "/pipelines/{pipeline}/reset", "pipelines.edit")
def reset(home: Home, pipeline: Name, drop_tables: bool = False) -> Restarted:
    """Forget how far a pipeline is: positions, staged rows and rejects go. Loaded rows stay, unless tables are
    dropped."""
    from millrace.control.running import runs

    return Restarted(pipeline, tuple(runs.reset(home, pipeline, drop_tables=drop_tables)), drop_tables)


@operation("POST", "/pipelines/{pipeline}/pause", "pipelines.edit")
def pause(home: Home, pipeline: Name) -> Stands:
    """Read nothing more. What goes on ends at its next commit; what was read is still loaded."""
    return stands(lifecycle.pause(home, pipeline))


@operation("POST", "/pipelines/{pipeline}/resume", "pipelines.edit")
def resume(home: Home, pipeline: Name) -> Stands:
    """Run by the schedule again, from its next time on."""
    return stands(lifecycle.resume(home, pipeline))


@operation("DELETE", "/pipelines/{pipeline}", "pipelines.delete")
def delete(home: Home, pipeline: Name) -> Deleted:
    """Delete a pipeline, with its books, its transformations and its rows that wait. Loaded rows stay."""
    return Deleted(pipeline, lifecycle.delete(home, pipeline))


@operation("POST", "/pipelines/{pipeline}/clone", "pipelines.create", status=201)
def clone(
    home: Home,
    pipeline: Name,
    table_prefix: Annotated[str, Field(max_length=255, description="Another one than the pipeline has.")],
    name: Annotated[Name, Field(description="Left out: as the pipeline, and that it is a copy.")] | None = None,
) -> Stands:
    """Make a copy that has read nothing yet, paused: same connections, objects, transformation and schedule."""
    return stands(lifecycle.clone(home, pipeline, new_name=name, table_prefix=table_prefix))


@operation("POST", "/pipelines/{pipeline}/rename", "pipelines.edit")
def rename(home: Home, pipeline: Name, to: Name) -> Stands:
    """Let it have another name. All else stays; a YAML file that names it must say the new name from now on, or it
    makes another pipeline."""
    return stands(lifecycle.rename(home, pipeline, to))


@operation("GET", "/pipelines/{pipeline}/auto-mapping")
def mapped_automatically(home: Home, pipeline: Name) -> AutoMapping:
    """Show whether tables and columns are made by themselves."""
    return AutoMapping(pipeline, pipelines.find(home, pipeline).auto_mapping)


@operation("PUT", "/pipelines/{pipeline}/auto-mapping", "pipelines.edit")
def map_automatically(home: Home, pipeline: Name, on: bool) -> AutoMapping:
    """Make tables and columns by themselves, or by hand, from the next run on. Event types with a choice of their own
    keep it."""
    return AutoMapping(pipeline, lifecycle.map_automatically(home, pipeline, on).auto_mapping)


@operation("PUT", "/pipelines/{pipeline}/priority", "pipelines.edit")
def prioritize(home: Home, pipeline: Name, priority: Priority) -> Stands:
    """Let a pipeline go first and run as often as its source allows, or stand with the others."""
    return stands(lifecycle.prioritize(home, pipeline, priority))


@operation("PUT", "/pipelines/{pipeline}/schedule", "pipelines.edit")
def reschedule(
    home: Home,
    pipeline: Name,
    every: Every | None = None,
    cron: Cron | None = None,
    timezone: TimeZone = "UTC",
    at: At | None = None,
) -> Stands:
    """Run by another schedule; without one, on demand."""
    return stands(lifecycle.reschedule(home, pipeline, planned(every, cron, timezone, at) or Schedule()))


OPERATIONS = (
    names, statuses, overview_, throughput, lately, find, reset, pause, resume, delete, clone, rename, prioritize,
    reschedule, mapped_automatically, map_automatically,
)  # fmt: skip


def stands(found: Pipeline) -> Stands:
    """A pipeline as it is told after a change."""
    told = schedule.told(schedule.from_json(found.schedule))
    return Stands(found.name, found.number, found.state, found.priority, told)


def planned(every: str | None, cron: str | None, timezone: str, at: str | None) -> Schedule | None:
    """The schedule that is said; None where none is. Raises ConfigError for what is none."""
    if every is not None and cron is not None:
        raise ConfigError("a schedule has either an interval or a cron expression", path="cron", code="usage")
    if every is not None:
        return Schedule(every_s=schedule.often_enough(schedule.seconds(every)), at=at)
    if at is not None:
        raise ConfigError("a start time goes only with an interval of 24 hours", path="at", code="usage")
    return None if cron is None else Schedule(cron=cron, timezone=timezone)
