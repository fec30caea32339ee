"""Numbers about the service for monitoring, read from the control database: every server tells the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from millrace.control.database.tables import pipelines, reject_files, reject_groups, runs, segments, tasks
from millrace.control.database.telling_tables import usage_hourly
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.home import Home

# Runs that ended longer ago are not counted: how many there are at all depends on how long they are kept.
RECENT = timedelta(days=1)

_Numbers: TypeAlias = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class PipelineNumbers:
    """One pipeline. ``ingested`` and ``loaded``: rows since it was made; they never become fewer.

    ``failed``: failed events that are open; ``waiting``: rows on the stage that are not loaded; ``ended``: runs of the
    last day by status; ``run_s``: how long the last run took; ``lag_s``: since its last good run ended, or since it was
    made where there was none.
    """

    team_id: str
    name: str
    state: str
    ingested: int
    loaded: int
    failed: int
    waiting: int
    ended: Mapping[str, int]
    run_s: float | None
    lag_s: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """All pipelines, and what is at work. ``active``: runs that have not ended, by status. ``due``: tasks that a worker
    may take now, ``later``: those whose time has not come, ``taken``: those that workers have."""

    pipelines: tuple[PipelineNumbers, ...]
    active: Mapping[str, int]
    due: int
    later: int
    taken: int


def measure(home: Home, *, everywhere: bool = False) -> Numbers:
    """The numbers of the actor's team; ``everywhere``: of all teams, which is for the server itself alone."""
    home.actor.must("view")
    now = home.database.now()
    p = pipelines.c
    ours = sa.true() if everywhere else p.team_id == home.actor.team_id
    with home.database.reading() as connection:
        found = connection.execute(sa.select(pipelines, *_last_runs()).where(ours).order_by(p.team_id, p.name)).all()
        ids = None if everywhere else [row.id for row in found]
        moved = _moved(connection, None if everywhere else home.actor.team_id)
        failed = _sums(connection, _failed(), ids)
        waiting = _sums(connection, _waiting(), ids)
        ended = _by_status(connection, runs.c.ended_at >= now - RECENT, ids)
        active = _by_status(connection, runs.c.ended_at.is_(None), ids)
        queue = _queue(connection, now, ids)
    return Numbers(
        tuple(
            PipelineNumbers(
                team_id=row.team_id,
                name=row.name,
                state=row.state,
                ingested=moved.get(row.id, (0, 0))[0],
                loaded=moved.get(row.id, (0, 0))[1],
                failed=failed.get(row.id, 0),
                waiting=waiting.get(row.id, 0),
                ended=ended.get(row.id, {}),
                run_s=(row.last_ended - row.last_started).total_seconds() if row.last_ended else None,
                lag_s=max(0.0, (now - (row.good_ended or row.created_at)).total_seconds()),
            )
            for row in found
        ),
        _added(active),
        *queue,
    )


def _last_runs() -> Sequence[sa.Label[Any]]:
    """When the last run that ended began and ended, and when the last good one did: steps into an index, however many
    runs there are."""
    r = runs.c

    def newest(column: sa.Column[Any], *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
        mine = sa.select(column).where(r.pipeline_id == pipelines.c.id, *where)
        return mine.order_by(r.id.desc()).limit(1).scalar_subquery()

    over, good = r.ended_at.is_not(None), r.status.like("COMPLETED%")
    return (
        newest(r.started_at, over).label("last_started"),
        newest(r.ended_at, over).label("last_ended"),
        newest(r.ended_at, good).label("good_ended"),
    )


def _moved(connection: sa.Connection, team: str | None) -> dict[str, tuple[int, int]]:
    """Rows staged and loaded, by pipeline."""
    t = usage_hourly.c
    query = sa.select(t.pipeline_id, sa.func.sum(t.ingested).label("ingested"), sa.func.sum(t.loaded).label("loaded"))
    if team is not None:
        query = query.where(t.team_id == team)
    found = connection.execute(query.group_by(t.pipeline_id))
    return {row.pipeline_id: (int(row.ingested), int(row.loaded)) for row in found}


def _failed() -> sa.Select[Any, Any]:
    f, g = reject_files.c, reject_groups.c
    return (
        sa.select(f.pipeline_id, sa.func.sum(g.rows).label("n"))
        .select_from(reject_groups.join(reject_files, f.id == g.file_id))
        .where(g.state == "open", f.counted.is_(True))
        .group_by(f.pipeline_id)
    )


def _waiting() -> sa.Select[Any, Any]:
    s = segments.c
    return sa.select(s.pipeline_id, sa.func.sum(s.rows).label("n")).where(s.state == "staged").group_by(s.pipeline_id)


def _sums(connection: sa.Connection, query: sa.Select[Any, Any], ids: Sequence[str] | None) -> dict[str, int]:
    found = {row.pipeline_id: int(row.n) for row in connection.execute(query)}
    return found if ids is None else {one: found[one] for one in ids if one in found}


def _by_status(connection: sa.Connection, which: sa.ColumnElement[bool], ids: Sequence[str] | None) -> _Numbers:
    r = runs.c
    query = sa.select(r.pipeline_id, r.status, sa.func.count().label("n")).where(which)
    found: _Numbers = defaultdict(dict)
    for row in connection.execute(query.group_by(r.pipeline_id, r.status)):
        found[row.pipeline_id][row.status] = row.n
    return dict(found) if ids is None else {one: found[one] for one in ids if one in found}


def _added(numbers: _Numbers) -> dict[str, int]:
    total: dict[str, int] = defaultdict(int)
    for by_status in numbers.values():
        for status, n in by_status.items():
            total[status] += n
    return dict(sorted(total.items()))


def _queue(connection: sa.Connection, now: datetime, ids: Sequence[str] | None) -> tuple[int, int, int]:
    """Tasks that are due, that come later, and that workers have. There are never many."""
    wanted = None if ids is None else set(ids)
    due = later = taken = 0
    for row in connection.execute(sa.select(tasks.c.pipeline_id, tasks.c.due_at, tasks.c.token, tasks.c.expires_at)):
        if wanted is not None and row.pipeline_id not in wanted:
            continue
        if row.token is not None and row.expires_at is not None and row.expires_at > now:
            taken += 1
        elif row.due_at <= now:
            due += 1
        else:
            later += 1
    return due, later, taken
