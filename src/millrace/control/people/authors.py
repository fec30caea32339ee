"""Who made pipelines, and who changed them last, as the activity log has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.database.people_tables import activity
from millrace.control.database.tables import pipelines
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home

# Who has an address; the operator of the machine and Millrace itself have none.
_PEOPLE = frozenset({"user", "key"})

# What is told of jobs changes nothing of the pipeline.
_JOBS = ("run", "start", "cancel")


@dataclass(frozen=True, slots=True)
class Authors:
    """Addresses of people; empty for who has none, and where the log does not reach back so far."""

    created: str
    changed: str


def authors(home: Home, pipeline_ids: Sequence[str]) -> dict[str, Authors]:
    """Those of each pipeline. Few steps into the log for each, however many runs stand in it."""
    a, p = activity.c, pipelines.c
    told = sa.and_(a.entity_id == p.id, a.entity == "pipeline", a.action.not_in(_JOBS))
    # What a change tells stands at the moment of the change or right behind it.
    behind = sa.select(a.id).where(a.at >= p.changed_at).order_by(a.at).limit(1).scalar_subquery().correlate(pipelines)
    made = sa.select(a.id).where(a.entity_id == p.id).order_by(a.id).limit(1).scalar_subquery()
    changed = sa.select(a.id).where(told, a.id >= behind).order_by(a.id).limit(1).scalar_subquery()
    query = sa.select(p.id, made.label("made"), changed.label("changed")).where(p.id.in_(pipeline_ids))
    with home.database.reading() as connection:
        found = connection.execute(query).all()
        ids = {id_ for row in found for id_ in (row.made, row.changed) if id_ is not None}
        lines = {row.id: row for row in connection.execute(sa.select(activity).where(a.id.in_(ids)))}

    def address(id_: int | None, *, first: bool = False) -> str:
        line = lines.get(id_ or 0)
        if line is None or line.author_kind not in _PEOPLE or (first and line.action != "create"):
            return ""
        return line.author

    return {row.id: Authors(address(row.made, first=True), address(row.changed)) for row in found}
