"""What holds for a pipeline now, against which it is told whether the cause of failed rows may be cured."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from millrace.control.books.commits import latest_mappings
from millrace.control.database.tables import connections, pipelines, transformations
from millrace.control.failed.failures import Standing


def standing(connection: sa.Connection, pipeline_id: str, now: datetime) -> Standing:
    """The versions of today, and when the pipeline or its destination was changed last."""
    p, c, t = pipelines.c, connections.c, transformations.c
    changed = sa.select(p.changed_at, c.changed_at).join(connections, c.id == p.destination_id)
    version = sa.select(sa.func.max(t.version)).where(t.pipeline_id == pipeline_id, t.version > 0)
    known = latest_mappings(connection, pipeline_id)
    return Standing(
        now=now,
        mappings={stream: row.version for stream, row in known.items()},
        transformation=connection.execute(version).scalar(),
        changed_at=max(connection.execute(changed.where(p.id == pipeline_id)).one()),
        items_changed_at=_items_changed_at(known),
    )


def _items_changed_at(known: Mapping[str, Any]) -> dict[str, datetime]:
    """By event type, the last change of a mapping of items of its arrays, or of arrays in these."""
    found: dict[str, datetime] = {}
    for row in known.values():
        above = row.mapping.get("parent")
        while above is not None:
            found[above] = max(found.get(above, row.created_at), row.created_at)
            above = known[above].mapping.get("parent") if above in known else None
    return found
