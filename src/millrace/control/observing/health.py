"""Whether pipelines are well, by how their last run ended, and destinations, by the alerts about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.database.tables import object_settings, pipelines, runs
from millrace.control.database.telling_tables import alerts

if TYPE_CHECKING:
    from millrace.control.home import Home

Health: TypeAlias = Literal["OK", "FAILED"]

# How runs end that say something about the pipeline.
_TOLD = ("COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "DEFERRED", "DEFERRED_WITH_FAILURES")


def healths(home: Home, pipeline_ids: Sequence[str]) -> dict[str, Health]:
    """The health of each pipeline; one that never ran is well."""
    # One step into the index for each pipeline, however many runs it has.
    last = (
        sa.select(runs.c.status)
        .where(runs.c.pipeline_id == pipelines.c.id, runs.c.status.in_(_TOLD))
        .order_by(runs.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = sa.select(pipelines.c.id, last.label("status")).where(pipelines.c.id.in_(pipeline_ids))
    with home.database.reading() as connection:
        return {row.id: "FAILED" if row.status == "FAILED" else "OK" for row in connection.execute(query)}


def of_destinations(home: Home, destination_ids: Sequence[str]) -> dict[str, Health]:
    """The health of each destination: one has failed as long as an alert that says so is not over."""
    a = alerts.c
    failing = a.entity_id.in_(destination_ids), a.state.in_(("OPEN", "ACKNOWLEDGED")), a.code == "DEST_FAILED"
    with home.database.reading() as connection:
        failed = set(connection.execute(sa.select(a.entity_id).where(*failing)).scalars())
    return {id_: "FAILED" if id_ in failed else "OK" for id_ in destination_ids}


def offered(home: Home, pipeline_ids: Sequence[str]) -> dict[str, datetime]:
    """When the source of each pipeline last said which objects it has; without those that never did."""
    o = object_settings.c
    query = sa.select(o.pipeline_id, sa.func.max(o.seen_at).label("at")).where(o.pipeline_id.in_(pipeline_ids))
    with home.database.reading() as connection:
        return {row.pipeline_id: row.at for row in connection.execute(query.group_by(o.pipeline_id)) if row.at}
