"""How people want objects of databases to be queried: kept beside what else they decided for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.db import Database, upsert
from millrace.control.tables import object_settings
from millrace.data.batch import JSON

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipelines import Pipeline


def wished(database: Database, pipeline_id: str) -> dict[str, JSON]:
    """How people want objects to be queried; without those that they left to the source."""
    o = object_settings.c
    query = sa.select(o.stream, o.query_mode).where(o.pipeline_id == pipeline_id)
    with database.reading() as connection:
        return {row.stream: row.query_mode for row in connection.execute(query) if row.query_mode is not None}


def settle(home: Home, pipeline: Pipeline, modes: Mapping[str, JSON]) -> None:
    """Objects are queried so from their next read on, also those that the pipeline has not met yet."""
    home.actor.must("pipelines.edit")
    o, now = object_settings.c, home.database.now()
    mine = sa.select(object_settings).where(o.pipeline_id == pipeline.id, o.stream.in_(list(modes)))
    with home.database.transaction() as connection:
        known = {row["stream"]: dict(row) for row in connection.execute(mine).mappings()}
        fresh: dict[str, Any] = {"state": "ACTIVE", "historical": False, "key": [], "schedule": None, "seen_at": None}
        rows = [
            {**fresh, **known.get(stream, {}), "pipeline_id": pipeline.id, "stream": stream}
            | {"query_mode": mode, "changed_at": now}
            for stream, mode in modes.items()
        ]
        upsert(connection, object_settings, rows, key=["pipeline_id", "stream"])
    for stream, mode in modes.items():
        entity = Entity("object", pipeline.id, f"{pipeline.name}/{stream}")
        message = f"Query mode of object {stream} of {pipeline.name} was set"
        wrote(home, "MEDIUM", entity, "query_mode", message, known.get(stream, {}).get("query_mode"), mode)
