"""Failed rows whose cause may be cured try again soon, though no run of their pipeline is due (pipelines.md 11)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.books import leases
from millrace.control.database.tables import connections, mappings, reject_files, reject_groups, runs, transformations
from millrace.control.database.tables import pipelines as pipelines_table
from millrace.control.failed import cures
from millrace.control.failed.failures import MOST_ATTEMPTS, due
from millrace.control.pipeline import pipelines
from millrace.control.running import jobs, tasks
from millrace.control.running.jobs import Asked

if TYPE_CHECKING:
    from millrace.control.home import Home

# Runs that let failed rows enter before all else.
_TRYING = ("INCREMENTAL", "HISTORICAL", "LOAD")
_REST = timedelta(hours=1)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def look(home: Home, now: datetime) -> int:
    """Active pipelines with failed rows that may pass by now have a task that lets them try; how many got one.

    Only what has changed, or has become due, since their last run began counts: that run has tried all else. Where
    loads have a schedule of their own, rows wait for it.
    """
    made = 0
    with home.database.reading() as connection:
        stirred = [row.id for row in connection.execute(_stirred(now)) if row.load_schedule is None]
        wanted = [pipeline_id for pipeline_id in stirred if _may_pass(connection, pipeline_id, now)]
    for pipeline_id in wanted:
        with home.database.transaction() as connection:
            busy = any(tasks.going(connection, pipeline_id, kind, {}) is not None for kind in ("run", "load"))
            if busy or leases.found(connection, pipelines.lease_name(pipeline_id), now) is not None:
                continue  # that run tries them, or the next look finds what it leaves
            jobs.queue(connection, [Asked(pipeline_id, "load", "RETRY", {"part": "load"})], now)
            made += 1
    return made


def _open(pipeline_id: Any) -> sa.Select[Any]:
    """Open groups of a pipeline that may try by themselves."""
    g, files = reject_groups.c, reject_files.c
    return (
        sa.select(reject_groups, files.created_at)
        .join(reject_files, files.id == g.file_id)
        .where(files.pipeline_id == pipeline_id, files.counted.is_(True))
        .where(g.state == "open", g.attempts < MOST_ATTEMPTS)
    )


def _stirred(now: datetime) -> sa.Select[Any, Any]:
    """Pipelines with failed rows, for which something has happened since their last run began.

    A run that failed may have come to none of them: after a while it is as if it had not been.
    """
    p, m, t, r = pipelines_table.c, mappings.c, transformations.c, runs.c
    last = (
        sa.select(sa.func.max(r.started_at))
        .where(r.pipeline_id == p.id, r.kind.in_(_TRYING), r.status.not_in(("QUEUED", "SKIPPED", "CANCELLED")))
        .where(sa.or_(r.status != "FAILED", r.started_at > now - _REST))
        .scalar_subquery()
    )
    begun = sa.func.coalesce(last, sa.literal(_NEVER, r.started_at.type))
    mine = _open(p.id).correlate(pipelines_table)
    mapped = sa.exists().where(m.pipeline_id == p.id, m.created_at > begun)
    deployed = sa.exists().where(t.pipeline_id == p.id, t.version > 0, t.created_at > begun)
    timed = mine.where(reject_groups.c.retry_at <= now, reject_groups.c.retry_at > begun).exists()
    return (
        sa.select(p.id, connections.c.load_schedule)
        .join(connections, connections.c.id == p.destination_id)
        .where(p.state == "ACTIVE", mine.exists())
        .where(sa.or_(p.changed_at > begun, connections.c.changed_at > begun, mapped, deployed, timed))
    )


def _may_pass(connection: sa.Connection, pipeline_id: str, now: datetime) -> bool:
    groups: Sequence[Any] = connection.execute(_open(pipeline_id)).all()
    return bool(due(groups, cures.standing(connection, pipeline_id, now)))
