"""Destinations (api.md A6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from millrace.control.connecting import connections, files
from millrace.control.connecting.connections import Connection
from millrace.control.home import Home
from millrace.control.observing import health
from millrace.control.observing.table_stats import table_stats
from millrace.control.pipeline import lifecycle
from millrace.errors import ConfigError
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened
from millrace.rest.later import Addresses
from millrace.rest.permits import CreatingDestinations, EditingDestinations, Viewing
from millrace.rest.public import kinds
from millrace.rest.public.kinds import TypeTold
from millrace.rest.public.shapes import Asked, Data, DestinationId, Limit, Listed, StartingAfter, Told, listed, moment
from millrace.rest.public.wording import worded

router = Addresses(prefix="/destinations", tags=["destinations"], route_class=KeyRoute)

# The one key that does not stand in `config`.
WORDS = {"name": "name"}


class DestinationTold(Told):
    """A destination, without its secrets."""

    id: int
    name: str
    type: TypeTold
    status: Literal["ACTIVE"] = "ACTIVE"
    health_status: health.Health
    config: Mapping[str, Any]
    created_ts: int | None
    updated_ts: int | None


class NewDestination(Asked):
    """A destination to be made."""

    name: str = Field(min_length=1, max_length=255)
    type: str = Field(min_length=1, max_length=64, examples=["POSTGRES"])
    config: dict[str, Any]


class ChangedDestination(Asked):
    """Other settings of a destination. Secrets that are left out stay; the type cannot change."""

    type: str | None = Field(None, min_length=1, max_length=64)
    name: str | None = Field(None, min_length=1, max_length=255)
    config: dict[str, Any] | None = None


class TableStatsTold(Told):
    """What a table took in the last `duration` seconds."""

    table_name: str
    duration: int
    events_loaded: int
    events_failed: int
    last_loaded_ts: int | None


@router.get("")
def destinations_listed(
    home: Viewing, limit: Limit = 20, starting_after: StartingAfter = None
) -> Listed[DestinationTold]:
    """Destinations by their numbers."""
    found = connections.page(home, "destination", after=opened(starting_after), limit=limit)
    return listed(found, _told(home, found.items))


@router.post("", status_code=201)
def destination_created(home: CreatingDestinations, body: NewDestination) -> Data[DestinationTold]:
    """A destination that pipelines can load into."""
    type_ = kinds.ours(body.type)
    with worded(WORDS, below="config"):
        config = files.placed(home, connections.config_class("destination", type_), body.config)
        made = connections.create(home, "destination", body.name, type_, config)
    return Data(data=_one(home, made))


@router.get("/{destination_id}")
def destination_read(home: Viewing, destination_id: DestinationId) -> Data[DestinationTold]:
    """One destination."""
    return Data(data=_one(home, connections.numbered(home, "destination", destination_id)))


@router.put("/{destination_id}")
def destination_changed(
    home: EditingDestinations, destination_id: DestinationId, body: ChangedDestination
) -> Data[DestinationTold]:
    """The destination has other settings from the next load on."""
    found = connections.numbered(home, "destination", destination_id)
    if body.type is not None and kinds.ours(body.type) != found.type:
        raise ConfigError(
            "the type of a destination cannot change",
            hint="Make a new destination.",
            path="type",
            code="invalid_parameter",
        )
    config = body.config
    with worded(WORDS, below="config"):
        if config is not None:
            config = files.placed(home, connections.config_class("destination", found.type), config)
        changed = connections.change(
            home, "destination", found.name, new_name=body.name, config=config, keep_secrets=True
        )
    return Data(data=_one(home, changed))


@router.get("/{destination_id}/tables/{table_name:path}/stats")
def table_statistics(
    home: Viewing,
    destination_id: DestinationId,
    table_name: str,
    duration: Annotated[int, Query(ge=1, le=366 * 86400, description="Seconds back from now.")] = 86400,
) -> Data[TableStatsTold]:
    """Rows that a table took lately."""
    found = connections.numbered(home, "destination", destination_id)
    stats = table_stats(home, found, table_name, duration)
    return Data(
        data=TableStatsTold(
            table_name=stats.table,
            duration=stats.duration_s,
            events_loaded=stats.rows_loaded,
            events_failed=stats.rows_failed,
            last_loaded_ts=moment(stats.last_loaded_at),
        )
    )


@router.post("/{destination_id}/load-now", status_code=204)
def destination_loaded_now(home: EditingDestinations, destination_id: DestinationId) -> None:
    """What waits for the destination is loaded, as soon as workers are free."""
    lifecycle.load_now(home, connections.numbered(home, "destination", destination_id).name)


def _one(home: Home, found: Connection) -> DestinationTold:
    return _told(home, [found])[0]


def _told(home: Home, found: Sequence[Connection]) -> list[DestinationTold]:
    well = health.of_destinations(home, [one.id for one in found])
    return [
        DestinationTold(
            id=one.number,
            name=one.name,
            type=kinds.told("destination", one.type),
            health_status=well[one.id],
            config=one.config,
            created_ts=moment(one.created_at),
            updated_ts=moment(one.changed_at),
        )
        for one in found
    ]
