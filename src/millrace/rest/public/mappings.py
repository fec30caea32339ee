"""Schema mapping and event types (api.md A5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field, model_validator

from millrace.control.home import Home
from millrace.control.mapper import mapping_views, mappings
from millrace.control.mapper.mapping_plans import By
from millrace.control.pipeline import lifecycle, pipelines
from millrace.data.columns import INSIDE
from millrace.engine.standing import ApiStatus
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened
from millrace.rest.later import Addresses
from millrace.rest.permits import EditingMappings, Viewing
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

router = Addresses(prefix="/pipelines/{pipeline_id}", tags=["schema mapping"], route_class=KeyRoute)


class Switch(Asked):
    """Auto mapping on or off, in one of the ways in which callers say it."""

    state: OnOff

    @model_validator(mode="before")
    @classmethod
    def _said(cls, said: Any) -> Any:
        match said:
            case {"enabled": bool(on), **others} if not others:
                return {"state": "ENABLED" if on else "DISABLED"}
            case {"status": state, **others} | {"auto_mapping": state, **others} if not others:
                return {"state": state}
            case _:
                return said


class SwitchTold(Told):
    """Whether new tables and columns are made by themselves."""

    auto_mapping: OnOff


class EventTypeTold(Told):
    """An event type at a glance."""

    name: str
    status: ApiStatus
    destination_table: str | None
    field_count: int
    auto_mapping: OnOff
    updated_ts: int | None


class FieldTold(Told):
    """A field and its column."""

    source_field: str
    destination_column: str | None
    destination_type: str | None
    status: Literal["MAPPED", "UNMAPPED", "IGNORED"]
    primary_key: bool


class MappingTold(Told):
    """How the fields of an event type become columns."""

    event_type: str
    status: ApiStatus
    destination_table: str | None
    auto_mapping: OnOff
    version: int
    field_mappings: list[FieldTold]


class FieldWanted(Asked):
    """Where a field shall go. A field that is ignored needs no column."""

    source_field: str = Field(min_length=1)
    destination_column: str | None = Field(None, min_length=1)
    status: Literal["MAPPED", "IGNORED"] = "MAPPED"

    @model_validator(mode="after")
    def _whole(self) -> FieldWanted:
        if self.status == "MAPPED" and self.destination_column is None:
            raise ValueError("destination_column is missing; a field without one is IGNORED")
        return self


class NewMapping(Asked):
    """The table of an event type, and the columns of its fields; those that are left out are mapped by their names."""

    destination_table: str = Field(min_length=1)
    field_mappings: list[FieldWanted] = Field(default_factory=list[FieldWanted])


@router.put("/auto-mapping")
def auto_mapping_set(home: EditingMappings, pipeline_id: PipelineId, body: Switch) -> Data[SwitchTold]:
    """New tables and columns are made by themselves from now on, or they are not."""
    found = pipelines.numbered(home, pipeline_id)
    changed = lifecycle.map_automatically(home, found.name, body.state == "ENABLED")
    return Data(data=SwitchTold(auto_mapping="ENABLED" if changed.auto_mapping else "DISABLED"))


@router.get("/event-types")
def event_types_listed(
    home: Viewing,
    pipeline_id: PipelineId,
    search_text: Annotated[str | None, Query(description="Part of a name.")] = None,
    limit: Limit = 20,
    starting_after: StartingAfter = None,
) -> Listed[EventTypeTold]:
    """Event types by their names."""
    found = pipelines.numbered(home, pipeline_id)
    page = mapping_views.page(home, found.name, search=search_text, after=opened(starting_after), limit=limit)
    return listed(page, [_event_type(view) for view in page.items])


@router.put("/event-types/{event_type:path}/skip", status_code=204)
@router.post("/event-types/{event_type:path}/skip", status_code=204, operation_id="public_event_type_skipped_by_post")
def event_type_skipped(home: EditingMappings, pipeline_id: PipelineId, event_type: str) -> None:
    """Rows of the event type are left out from now on."""
    mappings.skip(home, pipelines.numbered(home, pipeline_id).name, event_type, _by(home))


@router.put("/event-types/{event_type:path}/include", status_code=204)
@router.post(
    "/event-types/{event_type:path}/include", status_code=204, operation_id="public_event_type_included_by_post"
)
def event_type_included(home: EditingMappings, pipeline_id: PipelineId, event_type: str) -> None:
    """Rows of the event type are loaded again."""
    mappings.include(home, pipelines.numbered(home, pipeline_id).name, event_type, _by(home))


@router.get("/mappings/{event_type:path}")
def mapping_read(home: Viewing, pipeline_id: PipelineId, event_type: str) -> Data[MappingTold]:
    """The mapping of an event type, field by field."""
    return Data(data=_mapping(home, pipelines.numbered(home, pipeline_id).name, event_type))


@router.put("/mappings/{event_type:path}")
def mapping_set(home: EditingMappings, pipeline_id: PipelineId, event_type: str, body: NewMapping) -> Data[MappingTold]:
    """The event type goes to that table, its fields to those columns."""
    found = pipelines.numbered(home, pipeline_id)
    columns = {
        one.source_field: one.destination_column if one.status == "MAPPED" else None for one in body.field_mappings
    }
    mappings.map_to(home, found.name, event_type, body.destination_table, columns, _by(home))
    return Data(data=_mapping(home, found.name, event_type))


def _by(home: Home) -> By:
    return By(author=home.actor.name)


def _event_type(view: mapping_views.Overview) -> EventTypeTold:
    return EventTypeTold(
        name=view.event_type,
        status=view.mapping_status,
        destination_table=view.table,
        field_count=view.fields,
        auto_mapping="ENABLED" if view.auto_mapping else "DISABLED",
        updated_ts=moment(view.changed_at),
    )


def _mapping(home: Home, pipeline: str, event_type: str) -> MappingTold:
    shown = mapping_views.shown(home, pipeline, event_type, ask=False)
    return MappingTold(
        event_type=shown.overview.event_type,
        status=shown.overview.mapping_status,
        destination_table=shown.overview.table,
        auto_mapping="ENABLED" if shown.overview.auto_mapping else "DISABLED",
        version=shown.overview.version,
        field_mappings=[_field(one) for one in shown.fields if not one.field.startswith(INSIDE)],
    )


def _field(one: mapping_views.Field) -> FieldTold:
    status = "MAPPED" if one.column is not None else "IGNORED" if one.reason == "IGNORED" else "UNMAPPED"
    return FieldTold(
        source_field=one.field,
        destination_column=one.column,
        destination_type=one.type,
        status=status,
        primary_key=one.key,
    )
