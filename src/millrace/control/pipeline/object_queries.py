"""What people decided for objects, as a file says it, and how they want those of databases to be queried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.database.db import Database, upsert
from millrace.control.database.tables import object_settings
from millrace.control.scheduling import slots
from millrace.data.batch import JSON

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline


def wished(database: Database, pipeline_id: str) -> dict[str, JSON]:
    """How people want objects to be queried; without those that they left to the source."""
    o = object_settings.c
    query = sa.select(o.stream, o.query_mode).where(o.pipeline_id == pipeline_id)
    with database.reading() as connection:
        return {row.stream: row.query_mode for row in connection.execute(query) if row.query_mode is not None}


def decided(database: Database, pipeline_id: str) -> dict[str, dict[str, JSON]]:
    """What people decided for objects: `query_mode`, `schedule`, `state`, each where it is not as at first."""
    found: dict[str, dict[str, JSON]] = {}
    query = sa.select(object_settings).where(object_settings.c.pipeline_id == pipeline_id)
    with database.reading() as connection:
        for row in connection.execute(query.order_by(object_settings.c.stream)):
            state = None if row.state == "ACTIVE" else row.state
            said = {"query_mode": row.query_mode, "schedule": row.schedule, "state": state}
            if own := {key: value for key, value in said.items() if value is not None}:
                found[row.stream] = own
    return found


def settle(home: Home, pipeline: Pipeline, wanted: Mapping[str, Mapping[str, JSON]]) -> None:
    """It is so from their next read on, also for objects that the pipeline has not met yet."""
    home.actor.must("pipelines.edit")
    o, now = object_settings.c, home.database.now()
    mine = sa.select(object_settings).where(o.pipeline_id == pipeline.id, o.stream.in_(list(wanted)))
    with home.database.transaction() as connection:
        known = {row["stream"]: dict(row) for row in connection.execute(mine).mappings()}
        fresh: dict[str, Any] = {"state": "ACTIVE", "historical": False, "key": [], "seen_at": None}
        fresh |= {"schedule": None, "query_mode": None}
        rows: list[dict[str, Any]] = [
            {**fresh, **known.get(stream, {}), "pipeline_id": pipeline.id, "stream": stream}
            | {**values, "changed_at": now}
            for stream, values in wanted.items()
        ]
        upsert(connection, object_settings, rows, key=["pipeline_id", "stream"])
        for row in rows:
            alone = row["schedule"] if row["state"] == "ACTIVE" else None
            active = pipeline.state == "ACTIVE"
            slots.begin(connection, pipeline.id, "object", alone, now, stream=row["stream"], active=active)
    for stream, values in wanted.items():
        entity = Entity("object", pipeline.id, f"{pipeline.name}/{stream}")
        for key, value in values.items():
            message = f"{key.replace('_', ' ').capitalize()} of object {stream} of {pipeline.name} was set"
            wrote(home, "MEDIUM", entity, key, message, known.get(stream, fresh)[key], value)
