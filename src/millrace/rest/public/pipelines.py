"""Pipelines (api.md A2): list, create, read, delete, pause, source, schedule."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from millrace.connect import registry
from millrace.connect.destination import Strategy
from millrace.connect.frequency import FOLLOWING_S
from millrace.connect.source import Context
from millrace.control.connecting import connections, files
from millrace.control.connecting.connections import Connection
from millrace.control.database.pages import Page
from millrace.control.home import Home
from millrace.control.observing import health
from millrace.control.pipeline import lifecycle, object_actions, pipelines, positions
from millrace.control.pipeline.pipelines import Pipeline, Wish
from millrace.control.running import jobs
from millrace.control.scheduling import schedule
from millrace.control.scheduling.priority import Priority
from millrace.control.settings import workspace
from millrace.data.batch import JSON
from millrace.errors import ConfigError, MillraceError
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened
from millrace.rest.later import Addresses
from millrace.rest.permits import CreatingPipelines, DeletingPipelines, EditingPipelines, Viewing
from millrace.rest.public import kinds
from millrace.rest.public.configured import ObjectConfiguration, configure
from millrace.rest.public.kinds import TypeTold
from millrace.rest.public.shapes import (
    Asked,
    Data,
    Limit,
    Listed,
    OnOff,
    PipelineId,
    StartingAfter,
    Told,
    listed,
    moment,
)
from millrace.rest.public.wording import worded

router = Addresses(prefix="/pipelines", tags=["pipelines"], route_class=KeyRoute)

# Keys of a wish that the API calls otherwise.
WORDS = {"table_prefix": "destination_table_prefix", "name": "source_name"}


class SourceTold(Told):
    """The source of a pipeline, without its secrets."""

    id: int
    name: str
    type: TypeTold
    config: Mapping[str, Any]


class DestinationTold(Told):
    """The destination of a pipeline."""

    id: int
    name: str
    type: TypeTold


class ScheduleTold(Told):
    """When a pipeline runs. `frequency` in minutes; `cron_expression` in the time of `timezone`."""

    type: Literal["FREQUENCY", "CRON", "ON_DEMAND"]
    frequency: int | None = None
    cron_expression: str | None = None
    timezone: str | None = None


class PipelineTold(Told):
    """A pipeline. Moments are milliseconds since 1970."""

    id: int
    name: str
    status: Literal["ACTIVE", "PAUSED", "DRAFT", "DELETING"]
    health_status: Literal["OK", "FAILED"]
    priority: Priority
    source: SourceTold
    destination: DestinationTold
    auto_mapping: OnOff
    destination_table_prefix: str | None
    json_parsing_strategy: Strategy | None
    schedule: ScheduleTold
    created_ts: int | None
    updated_ts: int | None


class NewPipeline(Asked):
    """A pipeline to be made, with its source."""

    source_type: str = Field(min_length=1, max_length=64, examples=["CLEVERTAP"])
    source_name: str | None = Field(None, min_length=1, max_length=255)
    source_config: dict[str, Any]
    destination_id: int = Field(ge=1, lt=1 << 63)
    destination_table_prefix: str | None = Field(None, max_length=64)
    auto_mapping: OnOff = "ENABLED"
    json_parsing_strategy: Strategy | None = None
    object_configurations: list[ObjectConfiguration] | None = Field(None, max_length=10_000)
    status: Literal["ACTIVE", "PAUSED", "STREAMING", "SINKING"] = Field(
        "ACTIVE", description="SINKING: what was read is loaded, and nothing more is read; as PAUSED is."
    )


class NewStatus(Asked):
    """Whether a pipeline runs. Some callers say `state`."""

    status: Annotated[Literal["ACTIVE", "PAUSED"], Field(validation_alias=AliasChoices("status", "state"))]


class NewPriority(Asked):
    """How a pipeline stands beside others."""

    priority: Priority


class PriorityTold(Told):
    """How a pipeline stands beside others."""

    priority: Priority


class PositionTold(Told):
    """Where reading is. What a kind of position does not have is null."""

    type: str
    display_position: str
    offset: int | None = None
    file_name: str | None = None
    field_name: str | None = None
    timezone: str | None = None
    keys: Any = None
    month: int | None = None
    year: int | None = None


class NewPosition(Asked):
    """A place in the log of a database: a file and the bytes before the place, or without a file the number of an
    LSN; or `display_position`, which logs of all kinds have."""

    file_name: str | None = Field(None, min_length=1, max_length=255)
    offset: int | None = Field(None, ge=0, lt=1 << 63)
    display_position: str | None = Field(None, min_length=1, max_length=10_000)


class NewSchedule(Asked):
    """How often a pipeline runs, in minutes."""

    frequency: int = Field(ge=1, le=527_040)


@router.get("")
def pipelines_listed(home: Viewing, limit: Limit = 20, starting_after: StartingAfter = None) -> Listed[PipelineTold]:
    """Pipelines by their numbers."""
    found = pipelines.page(home, after=opened(starting_after), limit=limit)
    return listed(found, told(home, found))


@router.post("", status_code=201)
def pipeline_created(home: CreatingPipelines, body: NewPipeline) -> Data[PipelineTold]:
    """A pipeline from a new source into a destination that there is. It runs as often as is usual for its source, and
    at once unless it shall rest."""
    destination = _destination(home, body.destination_id)
    name = body.source_name or _free_name(home, body.source_type)
    options: dict[str, JSON] = {}
    if body.json_parsing_strategy is not None:
        options["json_parsing_strategy"] = body.json_parsing_strategy
    type_ = kinds.ours(body.source_type)
    with worded({"name": "source_name"}, below="source_config"):
        config = files.placed(home, connections.config_class("source", type_), body.source_config)
        source = connections.create(home, "source", name, type_, config)
    usual = registry.source(type_).frequency(legacy=workspace(home.database).legacy_frequency)
    with closing(connections.build_source(home, source.id, Context())) as built:
        follows = built.log() is not None
    wish = Wish(
        name=name,
        source=source.name,
        destination=destination.name,
        table_prefix=body.destination_table_prefix or "",
        auto_mapping=body.auto_mapping == "ENABLED",
        schedule=schedule.to_json(schedule.Schedule(every_s=FOLLOWING_S if follows else usual.default_s)),
        options=options,
    )
    # Nothing is read of it before its objects are as wanted.
    resting = body.status in ("PAUSED", "SINKING")
    rests = resting or bool(body.object_configurations)
    made: Pipeline | None = None
    try:
        with worded(WORDS):
            made = pipelines.create(home, wish, state="PAUSED" if rests else "ACTIVE")
        if body.object_configurations:
            configure(home, made.name, body.object_configurations)
    except MillraceError:
        if made is not None:
            lifecycle.delete(home, made.name)
        with suppress(ConfigError):
            connections.remove(home, "source", source.name)
        raise
    if rests and not resting:
        pipelines.set_state(home, made.name, "ACTIVE")
        jobs.start(home, made.name)
    return Data(data=one(home, made.number))


@router.get("/{pipeline_id}")
def pipeline_read(home: Viewing, pipeline_id: PipelineId) -> Data[PipelineTold]:
    """One pipeline."""
    return Data(data=one(home, pipeline_id))


@router.delete("/{pipeline_id}", status_code=204)
def pipeline_deleted(home: DeletingPipelines, pipeline_id: PipelineId) -> None:
    """The pipeline is gone; what it loaded stays. One that is gone already is no error."""
    try:
        found = pipelines.numbered(home, pipeline_id)
    except ConfigError:
        return
    lifecycle.delete(home, found.name)
    # What was made with the pipeline goes with it. A source that others use stays.
    if found.source == found.name:
        with suppress(ConfigError):
            connections.remove(home, "source", found.source)


@router.put("/{pipeline_id}/status")
def pipeline_status_set(home: EditingPipelines, pipeline_id: PipelineId, body: NewStatus) -> Data[PipelineTold]:
    """The pipeline runs on its schedule, or it does not."""
    found = pipelines.numbered(home, pipeline_id)
    if body.status != found.state:
        (lifecycle.pause if body.status == "PAUSED" else lifecycle.resume)(home, found.name)
    return Data(data=one(home, pipeline_id))


@router.put("/{pipeline_id}/source")
def pipeline_source_set(home: EditingPipelines, pipeline_id: PipelineId, body: dict[str, Any]) -> Data[PipelineTold]:
    """The source has other settings from the next run on; secrets that are left out stay."""
    found = pipelines.numbered(home, pipeline_id)
    config = files.placed(home, connections.config_class("source", found.source_type), body)
    connections.change(home, "source", found.source, config=config, keep_secrets=True)
    return Data(data=one(home, pipeline_id))


@router.get("/{pipeline_id}/schedule")
def pipeline_schedule(home: Viewing, pipeline_id: PipelineId) -> Data[ScheduleTold]:
    """When the pipeline runs."""
    return Data(data=_schedule(pipelines.numbered(home, pipeline_id)))


@router.put("/{pipeline_id}/schedule")
def pipeline_schedule_set(home: EditingPipelines, pipeline_id: PipelineId, body: NewSchedule) -> Data[ScheduleTold]:
    """The pipeline runs every so many minutes from now on."""
    found = pipelines.numbered(home, pipeline_id)
    every_s = schedule.often_enough(body.frequency * 60)
    with worded({"schedule": "frequency"}):
        changed = lifecycle.reschedule(home, found.name, schedule.Schedule(every_s=every_s))
    return Data(data=_schedule(changed))


@router.post("/{pipeline_id}/run-now", status_code=204)
def pipeline_run_now(home: EditingPipelines, pipeline_id: PipelineId) -> None:
    """The pipeline reads what is new, as soon as a worker is free. Nothing happens where it does so already."""
    jobs.start(home, pipelines.numbered(home, pipeline_id).name)


@router.put("/{pipeline_id}/priority")
def pipeline_priority_set(home: EditingPipelines, pipeline_id: PipelineId, body: NewPriority) -> Data[PriorityTold]:
    """The pipeline goes before others, or with them."""
    found = lifecycle.prioritize(home, pipelines.numbered(home, pipeline_id).name, body.priority)
    return Data(data=PriorityTold(priority=found.priority))


@router.get("/{pipeline_id}/position")
def pipeline_position(home: Viewing, pipeline_id: PipelineId) -> Data[PositionTold]:
    """Where a pipeline is in the log of its database; other pipelines have positions of their objects."""
    found = pipelines.numbered(home, pipeline_id)
    place = positions.of_log(home, found.name)
    if place is None:
        raise _no_log(found)
    text = positions.log_text(place)
    return Data(
        data=PositionTold(type="LOG", display_position=text, file_name=place.get("file"), offset=place.get("position"))
    )


@router.put("/{pipeline_id}/position", status_code=204)
def pipeline_position_set(home: EditingPipelines, pipeline_id: PipelineId, body: NewPosition) -> None:
    """The log is read from that place on, at once. One that its database does not have any more is refused."""
    found = pipelines.numbered(home, pipeline_id)
    place = positions.of_log(home, found.name)
    if place is None:
        raise _no_log(found)
    if (wanted := _wanted(body)) != positions.log_text(place):
        object_actions.move_log(home, found.name, wanted)


def told(home: Home, page: Page[Pipeline]) -> list[PipelineTold]:
    """Pipelines as they are shown, with two questions to the database for all of them together."""
    ends = connections.by_ids(home, (id_ for found in page.items for id_ in (found.source_id, found.destination_id)))
    well = health.healths(home, [found.id for found in page.items])
    return [_told(found, ends[found.source_id], ends[found.destination_id], well[found.id]) for found in page.items]


def one(home: Home, number: int) -> PipelineTold:
    """The pipeline of that number as it is shown. Raises ConfigError when there is none."""
    return told(home, Page((pipelines.numbered(home, number),)))[0]


def _told(found: Pipeline, source: Connection, destination: Connection, well: health.Health) -> PipelineTold:
    return PipelineTold(
        id=found.number,
        name=found.name,
        # One that is being deleted reads nothing more; the API has no word of its own for that.
        status="PAUSED" if found.state == "DELETING" else found.state,
        health_status=well,
        priority=found.priority,
        source=SourceTold(
            id=source.number, name=found.name, type=kinds.told("source", source.type), config=source.config
        ),
        destination=DestinationTold(
            id=destination.number, name=destination.name, type=kinds.told("destination", destination.type)
        ),
        auto_mapping="ENABLED" if found.auto_mapping else "DISABLED",
        destination_table_prefix=found.table_prefix or None,
        json_parsing_strategy=found.options.get("json_parsing_strategy"),
        schedule=_schedule(found),
        created_ts=moment(found.created_at),
        updated_ts=moment(found.changed_at),
    )


def _schedule(found: Pipeline) -> ScheduleTold:
    saved = schedule.from_json(found.schedule)
    if saved.cron is not None:
        return ScheduleTold(type="CRON", cron_expression=saved.cron, timezone=saved.timezone)
    if saved.every_s is not None:
        # The API knows whole minutes; nobody runs again sooner than it says.
        return ScheduleTold(type="FREQUENCY", frequency=-(-saved.every_s // 60))
    return ScheduleTold(type="ON_DEMAND")


def _wanted(body: NewPosition) -> str:
    """The place that a body names. Raises ConfigError where it names none."""
    if body.display_position is not None:
        return body.display_position
    if body.offset is None:
        raise ConfigError(
            "a position is file_name and offset, or display_position", path="offset", code="invalid_parameter"
        )
    if body.file_name is not None:
        return f"{body.file_name}:{body.offset}"
    return f"{body.offset >> 32:X}/{body.offset & 0xFFFFFFFF:X}"


def _no_log(found: Pipeline) -> ConfigError:
    return ConfigError(
        f"pipeline {found.number} has no position as a whole: it follows no log of a database, or has not begun to",
        hint="Ask for the position of an object: objects/<name>/position.",
        code="not_log_based",
    )


def _destination(home: Home, number: int) -> Connection:
    """A destination that a body names. Raises ConfigError of the body where there is none."""
    try:
        return connections.numbered(home, "destination", number)
    except ConfigError as error:
        raise ConfigError(error.message, path="destination_id", code="invalid_parameter") from error


def _free_name(home: Home, type_: str) -> str:
    """A name for a pipeline that was given none: the title of its source, with the first number that is free."""
    title = kinds.source_of(type_).title
    taken = {found.name for found in pipelines.listed(home)} | {
        found.name for found in connections.listed(home, "source")
    }
    return next(name for n in range(1, len(taken) + 2) if (name := title if n == 1 else f"{title} {n}") not in taken)
