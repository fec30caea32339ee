"""Objects of a pipeline: what is read of it, how, and from where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.names import Moment, Name
from millrace.control.operations.pipelines import At, Cron, Every, TimeZone, planned
from millrace.control.operations.runs import Number
from millrace.control.pipeline import object_actions, objects, positions, query_modes
from millrace.control.pipeline.object_actions import Done
from millrace.control.pipeline.objects import Category, Object
from millrace.control.pipeline.positions import Position
from millrace.control.pipeline.query_modes import QueryMode
from millrace.data.dataclass import dataclass

Action: TypeAlias = Literal["run_now", "pause", "resume", "skip", "include", "restart", "restart_historical"]
Lane: TypeAlias = Literal["incremental", "historical"]
AppendAgain: TypeAlias = Annotated[
    bool, Field(description="Rows that come again may stand twice in tables that are appended to.")
]


@operation("GET", "/pipelines/{pipeline}/objects")
def list_(
    home: Home,
    pipeline: Name,
    category: Category = "ALL",
    query_mode: Annotated[QueryMode, Field(description="Only those that people chose this one for; auto: none.")]
    | None = None,
    search: Annotated[str, Field(max_length=255, description="A part of a name.")] | None = None,
    after: After | None = None,
    limit: Limit = 100,
) -> Page[Object]:
    """List the objects that are known of a pipeline, by name."""
    every = [
        one
        for one in objects.listed(home, pipeline, category=category, query_mode=query_mode)
        if (search is None or search.casefold() in one.name.casefold()) and (after is None or one.name > after)
    ]
    return pages.cut(every, limit, lambda one: one.name)


@operation("GET", "/pipelines/{pipeline}/objects/{object}")
def find(home: Home, pipeline: Name, object: Name) -> Object:
    """Show one object: what people decided for it, its status, and how far it was read."""
    return objects.find(home, pipeline, object)


@operation("POST", "/pipelines/{pipeline}/refresh-objects", "pipelines.edit")
def refresh(home: Home, pipeline: Name) -> list[Object]:
    """Ask the source for its objects now."""
    return objects.refresh(home, pipeline)


@operation("POST", "/pipelines/{pipeline}/object-actions", "pipelines.edit")
def act(
    home: Home,
    pipeline: Name,
    action: Action,
    objects: Annotated[Sequence[Name], Field(max_length=10_000, description="Null: all that allow it now.")]
    | None = None,
) -> list[Done]:
    """Do something with objects: run them now, pause, resume, skip, include, restart them, or their history alone.

    The answer says of each what came of it. One that does not allow it now says why.
    """
    return object_actions.bulk(home, pipeline, _names(home, pipeline, action) if objects is None else objects, action)


@operation("PUT", "/pipelines/{pipeline}/objects/{object}/position", "pipelines.edit")
def change_position(
    home: Home,
    pipeline: Name,
    object: Name,
    position: Annotated[Any, Field(description="As `positions` of the object has it; null: its beginning.")],
    lane: Lane = "incremental",
    append_again: AppendAgain = False,
) -> Object:
    """Read an object from another position on. What is read twice is merged where its table has a key."""
    return object_actions.change_position(home, pipeline, object, lane, position, append_again=append_again)


@operation("PUT", "/pipelines/{pipeline}/objects/{object}/position-at", "pipelines.edit")
def set_back(
    home: Home,
    pipeline: Name,
    object: Name,
    time: Annotated[Moment, Field(description="A moment that is over; without an offset it is UTC.")],
    lane: Lane = "incremental",
    append_again: AppendAgain = False,
) -> Object:
    """Read an object from where it was at a moment. What was read since then comes again."""
    return object_actions.set_back(home, pipeline, object, lane, time, append_again=append_again)


@operation("POST", "/pipelines/{pipeline}/positions/at", "pipelines.edit")
def set_back_all(
    home: Home,
    pipeline: Name,
    time: Annotated[Moment, Field(description="A moment that is over; without an offset it is UTC.")],
    objects: Annotated[Sequence[Name], Field(min_length=1, max_length=10_000, description="Names of objects.")],
    append_again: AppendAgain = False,
) -> list[Done]:
    """Read objects from where they were at a moment, by one job. The answer says of each what came of it."""
    return object_actions.set_back_all(home, pipeline, objects, time, append_again=append_again)


@operation("GET", "/pipelines/{pipeline}/objects/{object}/positions")
def history(
    home: Home,
    pipeline: Name,
    object: Name,
    lane: Lane = "incremental",
    limit: Annotated[int, Field(ge=1, le=1000, description="The latest so many.")] = 50,
) -> list[Position]:
    """List earlier positions of an object: the last one of each run, and each that was set by hand."""
    return positions.history(home, pipeline, objects.find(home, pipeline, object).name, lane, limit=limit)


@operation("POST", "/pipelines/{pipeline}/positions/back-to", "pipelines.edit")
def back_to(
    home: Home,
    pipeline: Name,
    run: Number,
    object: Annotated[Name, Field(description="Only this object.")] | None = None,
    append_again: AppendAgain = False,
) -> list[Position]:
    """Set positions back to where a run left them."""
    name = None if object is None else objects.find(home, pipeline, object).name
    return list(object_actions.back_to(home, pipeline, run, name=name, append_again=append_again))


@dataclass(frozen=True, slots=True)
class LogPosition:
    """How far a pipeline has read the log of its source. ``run`` None: set by hand."""

    pipeline: str
    position: str
    committed_at: datetime
    run: int | None


@operation("GET", "/pipelines/{pipeline}/log-position")
def log_position(home: Home, pipeline: Name) -> LogPosition:
    """Show how far the log of the source was read, in the words of that system."""
    found = positions.in_log(home, pipeline)
    if found is None:
        raise positions.no_log(pipeline)
    return _in_log(pipeline, found)


@operation("PUT", "/pipelines/{pipeline}/log-position", "pipelines.edit")
def move_log(
    home: Home,
    pipeline: Name,
    position: Annotated[
        str,
        Field(
            min_length=1,
            max_length=10_000,
            description="An LSN; a file with a position (mysql-bin.000042:4711), or a GTID; a resume token, or a time.",
        ),
    ],
    append_again: AppendAgain = False,
) -> LogPosition:
    """Read the log from another place on, which its system still has. What is read twice is merged where a table has a
    key; what is passed over is not read."""
    return _in_log(pipeline, object_actions.move_log(home, pipeline, position, append_again=append_again))


def _in_log(pipeline: str, found: Position) -> LogPosition:
    place: Any = found.cursor
    return LogPosition(pipeline, positions.log_text(place["position"]), found.committed_at, found.run)


@operation("PUT", "/pipelines/{pipeline}/objects/{object}/query-mode", "pipelines.edit")
def set_query_mode(
    home: Home, pipeline: Name, object: Name, config: Annotated[Mapping[str, Any], Field(max_length=20)]
) -> Object:
    """Choose how an object is queried: `mode`, and the keys of that mode."""
    return object_actions.set_query_mode(home, pipeline, object, query_modes.checked(config))


@operation("PUT", "/pipelines/{pipeline}/objects/{object}/schedule", "pipelines.edit")
def set_schedule(
    home: Home,
    pipeline: Name,
    object: Name,
    every: Every | None = None,
    cron: Cron | None = None,
    timezone: TimeZone = "UTC",
    at: At | None = None,
) -> Object:
    """Read an object by a schedule of its own; without one, with its pipeline."""
    wanted = planned(every, cron, timezone, at)
    return object_actions.set_schedule(home, pipeline, object, wanted)


OPERATIONS = (
    list_, find, refresh, act, change_position, set_back, set_back_all, history, back_to, log_position, move_log,
    set_query_mode, set_schedule,
)  # fmt: skip


def _names(home: Home, pipeline: str, action: Action) -> list[str]:
    return [one.name for one in objects.listed(home, pipeline) if action in object_actions.ALLOWED[one.state]]
