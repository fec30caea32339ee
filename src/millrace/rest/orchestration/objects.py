"""Objects of the orchestration API: list, look at, refresh, resync. An object's id is made of its pipeline and name."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal, TypeAlias

from fastapi import Path
from pydantic import Field, model_validator

from millrace.control.connecting import connections
from millrace.control.connecting.connections import Connection
from millrace.control.home import Home
from millrace.control.mapper import mapping_views
from millrace.control.mapper.mapping_versions import latest
from millrace.control.pipeline import objects, pipelines
from millrace.control.pipeline.objects import Object
from millrace.control.pipeline.pipelines import Pipeline
from millrace.data.columns import INSIDE
from millrace.engine.mapping import Mapping
from millrace.errors import ConfigError
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened, sealed
from millrace.rest.later import Addresses
from millrace.rest.orchestration.pipelines import LOAD_MODES, Resync, accepted, begin
from millrace.rest.orchestration.shapes import Accepted, Cursor, Limit, Listed
from millrace.rest.permits import EditingPipelines, Viewing
from millrace.rest.public.shapes import PipelineId, Told

router = Addresses(prefix="/pipelines/{pipeline_id}/objects", tags=["orchestration: objects"], route_class=KeyRoute)

ObjectId: TypeAlias = Annotated[str, Path(min_length=1, max_length=64, description="UUID of the object.")]
Status: TypeAlias = Literal["ACTIVE", "BLOCKED", "DELETED", "INACTIVE"]
Replication: TypeAlias = Literal["PENDING", "REPLICATED", "BLOCKED", "FAILED"]


class Namespace(Told):
    """Where something is: `k0` its name, `k1` the schema, `k2` the database."""

    k0: str
    k1: str | None = None
    k2: str | None = None


class ObjectTold(Told):
    """An object of a pipeline."""

    object_id: str
    source_namespace: Namespace
    destination_namespace: Namespace
    field_count: int
    status: Status
    replication_status: Replication


class FieldTold(Told):
    """A field and its column. Types are those of Millrace."""

    source_name: str
    source_type: str
    destination_name: str
    destination_type: str
    status: Literal["ACTIVE", "BLOCKED", "INACTIVE"]
    primary_key: bool


class ObjectDetails(ObjectTold):
    """An object field by field."""

    object_name: str
    destination_table_name: str | None
    load_mode: Literal["APPEND", "MERGE"]
    fields: list[FieldTold]


class ResyncObjects(Resync):
    """Which objects to read again. Some callers say `object_ids`."""

    objects: list[str] = Field(default_factory=list[str], max_length=10_000)
    object_ids: list[str] = Field(default_factory=list[str], max_length=10_000)

    @model_validator(mode="after")
    def _some(self) -> ResyncObjects:
        if not self.objects and not self.object_ids:
            raise ValueError("objects is missing: name at least one")
        return self


@router.get("")
def objects_listed(
    home: Viewing, pipeline_id: PipelineId, limit: Limit = 100, cursor: Cursor = None
) -> Listed[ObjectTold]:
    """Objects of the pipeline by their names."""
    found = pipelines.numbered(home, pipeline_id)
    after = opened(cursor)
    rest = [one for one in objects.listed(home, found.name) if after is None or one.name > after]
    shown, more = rest[:limit], len(rest) > limit
    destination = connections.by_id(home, found.destination_id)
    known = latest(home, found)
    return Listed(
        data=[_told(found, destination, one, known.get(one.name)) for one in shown],
        has_more=more,
        next_cursor=sealed(shown[-1].name) if more else None,
    )


@router.get("/{object_id}")
def object_read(home: Viewing, pipeline_id: PipelineId, object_id: ObjectId) -> ObjectDetails:
    """One object with its fields."""
    found = pipelines.numbered(home, pipeline_id)
    (one,) = _of(home, found, [object_id])
    mapping = latest(home, found).get(one.name)
    told = _told(found, connections.by_id(home, found.destination_id), one, mapping)
    fields: list[FieldTold] = []
    if mapping is not None:
        shown = mapping_views.shown(home, found.name, one.name, ask=False)
        fields = [_field(field) for field in shown.fields if not field.field.startswith(INSIDE)]
    return ObjectDetails(
        object_id=told.object_id,
        source_namespace=told.source_namespace,
        destination_namespace=told.destination_namespace,
        field_count=told.field_count,
        status=told.status,
        replication_status=told.replication_status,
        object_name=one.name,
        destination_table_name=mapping.table if mapping is not None and mapping.mapped else None,
        load_mode=LOAD_MODES[one.load_mode],
        fields=fields,
    )


@router.post("/actions/refresh-schema", status_code=204)
def schema_refreshed(home: EditingPipelines, pipeline_id: PipelineId) -> None:
    """The source is asked for its objects now."""
    objects.refresh(home, pipelines.numbered(home, pipeline_id).name)


@router.post("/actions/resync")
def objects_resynced(home: EditingPipelines, pipeline_id: PipelineId, body: ResyncObjects) -> Accepted:
    """A job reads the whole history of these objects again."""
    found = pipelines.numbered(home, pipeline_id)
    names = tuple(one.name for one in _of(home, found, [*body.objects, *body.object_ids]))
    return accepted(found, begin(home, found, kind="resync", mode=body.mode, only=names))


def object_id(found: Pipeline, name: str) -> str:
    """The id of an object: the same for the same pipeline and name, always."""
    return str(uuid.uuid5(uuid.UUID(found.id), name))


def _of(home: Home, found: Pipeline, ids: list[str]) -> list[Object]:
    """The objects of these ids. Raises ConfigError for one that the pipeline does not have."""
    known = {object_id(found, one.name): one for one in objects.listed(home, found.name)}
    missing = next((id_ for id_ in ids if id_.lower() not in known), None)
    if missing is not None:
        raise ConfigError(f"pipeline {found.number} has no object {missing[:80]!r}", code="unknown_object")
    return [known[id_.lower()] for id_ in dict.fromkeys(ids)]


def _told(found: Pipeline, destination: Connection, one: Object, mapping: Mapping | None) -> ObjectTold:
    config = destination.config
    table = mapping.table if mapping is not None and mapping.mapped else one.name
    return ObjectTold(
        object_id=object_id(found, one.name),
        source_namespace=Namespace(k0=one.name),
        destination_namespace=Namespace(k0=table, k1=config.get("schema_name"), k2=config.get("db_name")),
        field_count=0 if mapping is None else sum(not column.ours for column in mapping.columns),
        status=_status(one),
        replication_status=_replication(one),
    )


def _status(one: Object) -> Status:
    if one.status == "AWAITING_MAPPING":
        return "BLOCKED"
    if one.status == "FINISHED":
        return "DELETED"
    return "ACTIVE" if one.state == "ACTIVE" else "INACTIVE"


def _replication(one: Object) -> Replication:
    if one.status == "AWAITING_MAPPING":
        return "BLOCKED"
    if one.status in objects.FAILED:
        return "FAILED"
    return "REPLICATED" if one.last_ingested_at is not None else "PENDING"


def _field(field: mapping_views.Field) -> FieldTold:
    status = "ACTIVE" if field.column is not None else "INACTIVE" if field.reason == "IGNORED" else "BLOCKED"
    return FieldTold(
        source_name=field.field,
        source_type=field.type or "",
        destination_name=field.column or "",
        destination_type=field.type if field.type is not None and field.column is not None else "",
        status=status,
        primary_key=field.key,
    )
