"""The list of failed events as people look at it, page by page: however many groups there are, few are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.database import pages
from millrace.control.failed.rejects import Choice, Grouped, groups, groups_of
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Groups of open rejects, most rows first. ``rows`` and ``groups`` count all that were asked for, ``pipelines``
    names those of the team that have some, whichever were asked for."""

    items: tuple[Grouped, ...]
    next: str | None
    rows: int
    groups: int
    pipelines: tuple[str, ...]


def page(
    home: Home,
    *,
    pipeline: str | None = None,
    search: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> GroupPage:
    """Groups after the cursor. ``search`` is part of an object's name, of a code or of the message of one row."""
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    skipped = pages.number(after) if after else 0
    with home.database.reading() as connection:
        every = groups(home, connection, Choice(), "open").subquery()
        names = connection.execute(sa.select(every.c.pipeline).distinct().order_by(every.c.pipeline)).scalars().all()
        wanted: list[sa.ColumnElement[bool]] = [] if pipeline is None else [every.c.pipeline == pipeline]
        if search:
            places = (every.c.stream, every.c.code, every.c.sample)
            wanted.append(sa.or_(*(place.icontains(search, autoescape=True) for place in places)))
        counted = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(every.c.rows), 0)).where(*wanted)
        total, rows = connection.execute(counted).one()
        order = (every.c.rows.desc(), every.c.pipeline, every.c.stream, every.c.stage, every.c.code)
        query = sa.select(every).where(*wanted).order_by(*order).offset(skipped).limit(limit + 1)
        items = groups_of(connection.execute(query).mappings())
    return GroupPage(
        items=tuple(items[:limit]),
        next=str(skipped + limit) if len(items) > limit else None,
        rows=int(rows),
        groups=int(total),
        pipelines=tuple(names),
    )
