"""Objects of pipelines (api.md A3): what they are, how far they are, what is done with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias, get_args

from fastapi import Query
from pydantic import Field

from millrace.control.database.pages import cut
from millrace.control.pipeline import object_actions, objects, pipelines, query_modes
from millrace.control.pipeline.object_stats import object_stats
from millrace.control.pipeline.objects import IngestionStatus, Object
from millrace.data.batch import JSON
from millrace.errors import ConfigError
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened
from millrace.rest.later import Addresses
from millrace.rest.permits import EditingPipelines, Viewing
from millrace.rest.public.pipelines import PositionTold
from millrace.rest.public.shapes import (
    Asked,
    Data,
    Limit,
    Listed,
    PipelineId,
    StartingAfter,
    Told,
    listed,
    moment,
    shortened,
)

router = Addresses(prefix="/pipelines/{pipeline_id}/objects", tags=["objects"], route_class=KeyRoute)

Category: TypeAlias = Literal["ALL", "ACTIVE", "PAUSED", "FAILED", "SKIPPED"]

# The last millisecond that `datetime` knows.
MOST_MS = 253_402_300_799_999


class ObjectTold(Told):
    """An object. `status` is that of its reading, FINISHED where nothing more is read of it, or from a log alone;
    `state` what people decided."""

    name: str
    status: Literal["ACTIVE", "FINISHED", "PAUSED", "SKIPPED", "PERMISSION_DENIED", "FAILED", "QUEUED", "DEFERRED"]
    ingestion_status: IngestionStatus
    state: Literal["ACTIVE", "PAUSED", "SKIPPED"]
    category: Literal["ACTIVE", "PAUSED", "SKIPPED", "FAILED"]
    primary_key: list[str]
    load_mode: str
    historical_progress: float | None
    last_ingested_ts: int | None
    deferred_until_ts: int | None


class QueryMode(Asked):
    """How an object is queried: `mode`, and what that mode needs."""

    config: dict[str, Any]


class QueryModeTold(Told):
    """How an object is queried."""

    config: dict[str, Any] | None


class NewPosition(Asked):
    """A position, by what applies to the source."""

    time: int | None = Field(None, ge=0, lt=1 << 53, description="Milliseconds since 1970.")
    month: int | None = Field(None, ge=1, le=12)
    year: int | None = Field(None, ge=1970, le=9999)
    key_values: dict[str, Any] | None = None


class ObjectStatsTold(Told):
    """What became of an object's events in the last `duration` seconds."""

    name: str
    duration: int
    events_ingested: int
    events_loaded: int
    events_failed: int
    last_sync_ts: int | None


@router.get("")
def objects_listed(
    home: Viewing,
    pipeline_id: PipelineId,
    search_text: Annotated[str | None, Query(description="Part of a name.")] = None,
    statuses: Annotated[str | None, Query(description="Statuses, with commas between.")] = None,
    category: Category = "ALL",
    limit: Limit = 20,
    starting_after: StartingAfter = None,
) -> Listed[ObjectTold]:
    """Objects by their names."""
    found = pipelines.numbered(home, pipeline_id)
    after, wanted = opened(starting_after), _statuses(statuses)
    every = [_told(one) for one in objects.listed(home, found.name)]
    chosen = [
        one
        for one in every
        if (search_text is None or search_text.casefold() in one.name.casefold())
        and (not wanted or one.status in wanted or one.ingestion_status in wanted)
        and category in ("ALL", one.category)
        and (after is None or one.name > after)
    ]
    page = cut(chosen[: limit + 1], limit, lambda one: one.name)
    return listed(page, list(page.items))


@router.get("/{object_name:path}/position")
def object_position(home: Viewing, pipeline_id: PipelineId, object_name: str) -> Data[list[PositionTold]]:
    """How far each way of reading the object is."""
    one = objects.find(home, pipelines.numbered(home, pipeline_id).name, object_name)
    return Data(data=[_position(lane, cursor) for lane, cursor in sorted(one.positions.items())])


@router.put("/{object_name:path}/position", status_code=204)
def object_position_set(home: EditingPipelines, pipeline_id: PipelineId, object_name: str, body: NewPosition) -> None:
    """The object is read from that position on, at once. `key_values` are the `keys` of an earlier position; `time`, or
    `year` and `month`: where it was then, so that all that was read since comes again."""
    found = pipelines.numbered(home, pipeline_id)
    one = objects.find(home, found.name, object_name)
    if body.key_values is not None:
        object_actions.change_position(home, found.name, one.name, "incremental", body.key_values)
    else:
        object_actions.set_back(home, found.name, one.name, "incremental", _moment(body))


@router.get("/{object_name:path}/query-mode")
def object_query_mode(home: Viewing, pipeline_id: PipelineId, object_name: str) -> Data[QueryModeTold]:
    """How the object is queried; nothing where it is as the source does it."""
    one = objects.find(home, pipelines.numbered(home, pipeline_id).name, object_name)
    return Data(data=QueryModeTold(config=one.query_mode))


@router.put("/{object_name:path}/query-mode")
def object_query_mode_set(
    home: EditingPipelines, pipeline_id: PipelineId, object_name: str, body: QueryMode
) -> Data[QueryModeTold]:
    """The object is queried so from its next read on."""
    found = pipelines.numbered(home, pipeline_id)
    one = object_actions.set_query_mode(home, found.name, object_name, query_modes.checked(body.config))
    return Data(data=QueryModeTold(config=one.query_mode))


@router.get("/{object_name:path}/stats")
def object_statistics(
    home: Viewing,
    pipeline_id: PipelineId,
    object_name: str,
    duration: Annotated[int, Query(ge=1, le=366 * 86400, description="Seconds back from now.")] = 86400,
) -> Data[ObjectStatsTold]:
    """What became of the object's events lately."""
    found = pipelines.numbered(home, pipeline_id)
    one = objects.find(home, found.name, object_name)
    stats = object_stats(home, found, one.name, timedelta(seconds=duration))
    return Data(
        data=ObjectStatsTold(
            name=one.name,
            duration=duration,
            events_ingested=stats.read,
            events_loaded=stats.loaded,
            events_failed=stats.rejected,
            last_sync_ts=moment(one.last_ingested_at),
        )
    )


@router.post("/{object_name:path}/pause", status_code=204)
def object_paused(home: EditingPipelines, pipeline_id: PipelineId, object_name: str) -> None:
    """The object is not read until it is resumed."""
    object_actions.pause(home, pipelines.numbered(home, pipeline_id).name, object_name)


@router.post("/{object_name:path}/resume", status_code=204)
def object_resumed(home: EditingPipelines, pipeline_id: PipelineId, object_name: str) -> None:
    """The object is read again, from its position."""
    object_actions.resume(home, pipelines.numbered(home, pipeline_id).name, object_name)


@router.post("/{object_name:path}/skip", status_code=204)
def object_skipped(home: EditingPipelines, pipeline_id: PipelineId, object_name: str) -> None:
    """The object is no part of the pipeline any more."""
    object_actions.skip(home, pipelines.numbered(home, pipeline_id).name, object_name)


@router.post("/{object_name:path}/include", status_code=204)
def object_included(home: EditingPipelines, pipeline_id: PipelineId, object_name: str) -> None:
    """A skipped object is part of the pipeline again."""
    object_actions.include(home, pipelines.numbered(home, pipeline_id).name, object_name)


@router.post("/{object_name:path}/restart", status_code=204)
def object_restarted(home: EditingPipelines, pipeline_id: PipelineId, object_name: str) -> None:
    """The object is read again from its beginning."""
    object_actions.restart(home, pipelines.numbered(home, pipeline_id).name, object_name)


@router.get("/{object_name:path}")
def object_read(home: Viewing, pipeline_id: PipelineId, object_name: str) -> Data[ObjectTold]:
    """One object."""
    return Data(data=_told(objects.find(home, pipelines.numbered(home, pipeline_id).name, object_name)))


# What the API has another word for. What is in neither is ACTIVE.
_COARSE: Mapping[IngestionStatus, str] = {
    "NOT_INCLUDED": "SKIPPED",
    "HISTORICAL_LOAD_FINISHED": "FINISHED",
    "LOG_EXPIRED": "FAILED",
}
_PLAIN = frozenset({"FINISHED", "PAUSED", "SKIPPED", "PERMISSION_DENIED", "FAILED", "QUEUED", "DEFERRED"})


def _told(one: Object) -> ObjectTold:
    coarse = _COARSE.get(one.status, one.status)
    status: Any = coarse if coarse in _PLAIN else "ACTIVE"
    return ObjectTold(
        name=one.name,
        status=status,
        ingestion_status=one.status,
        state=one.state,
        category="FAILED" if one.status in objects.FAILED else one.state,
        primary_key=list(one.key),
        load_mode=one.load_mode.upper(),
        historical_progress=one.history,
        last_ingested_ts=moment(one.last_ingested_at),
        deferred_until_ts=moment(one.held_until),
    )


def _position(lane: str, cursor: JSON) -> PositionTold:
    """A cursor as it is: its source alone knows what it means."""
    text = json.dumps(cursor, sort_keys=True)
    return PositionTold(type=lane.upper(), display_position=shortened(text), keys=cursor)


def _moment(wanted: NewPosition) -> datetime:
    """The moment that a body names. Raises ConfigError where it names none."""
    if wanted.time is not None:
        # Nobody has read anything later than that, and no calendar goes on much longer.
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=min(wanted.time, MOST_MS))
    if wanted.year is None:
        raise ConfigError(
            "a position is key_values, time, or year and month", path="key_values", code="invalid_parameter"
        )
    return datetime(wanted.year, wanted.month or 1, 1, tzinfo=UTC)


def _statuses(said: str | None) -> frozenset[str]:
    """The statuses that a caller names. Raises ConfigError for one that there is not."""
    wanted = frozenset(one.strip().upper() for one in (said or "").split(",") if one.strip())
    known = {*get_args(IngestionStatus), "ACTIVE"}
    if unknown := sorted(wanted - known):
        raise ConfigError(
            f"there is no status {unknown[0][:80]!r}",
            hint=f"There are {', '.join(sorted(known))}.",
            path="statuses",
            code="invalid_parameter",
        )
    return wanted
