"""Where the schedules are: one row for each of a pipeline's runs, loads and own objects, found by when it is due."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.database.db import Database, upsert
from millrace.control.database.tables import pipelines, slots
from millrace.control.scheduling import due, schedule
from millrace.control.scheduling.due import Outcome, Standing
from millrace.control.scheduling.schedule import Schedule
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass

Part: TypeAlias = Literal["run", "load", "object"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One schedule of a pipeline. ``stream``: the object that it is for, else empty."""

    pipeline_id: str
    part: Part
    stream: str
    schedule: Schedule
    standing: Standing


def begin(
    connection: sa.Connection,
    pipeline_id: str,
    part: Part,
    saved: JSON,
    now: datetime,
    *,
    stream: str = "",
    active: bool = True,
) -> None:
    """The schedule holds from now on; None takes it away. One that is there already and the same stays as it is."""
    mine = _of(pipeline_id, part, stream)
    if saved is None:
        connection.execute(sa.delete(slots).where(*mine))
        return
    old = connection.execute(sa.select(slots.c.schedule).where(*mine)).scalar()
    if old == saved:
        return
    wanted = schedule.from_json(saved)
    _put(connection, Slot(pipeline_id, part, stream, wanted, due.begun(wanted, now)), active=active)


def due_now(connection: sa.Connection, now: datetime, *, limit: int) -> Sequence[Slot]:
    """Schedules at which something is to be done, those that wait longest first."""
    query = sa.select(slots).where(slots.c.due_at <= now).order_by(slots.c.due_at).limit(limit)
    return [_slot(row) for row in connection.execute(query)]


def waiting(connection: sa.Connection) -> Sequence[Slot]:
    """Every schedule at which something is to be done at some time; nobody else changes them in this transaction."""
    query = sa.select(slots).where(slots.c.due_at.is_not(None)).order_by(*slots.primary_key).with_for_update()
    return [_slot(row) for row in connection.execute(query)]


def next_runs(connection: sa.Connection, pipeline_ids: Sequence[str]) -> Mapping[str, datetime | None]:
    """When each of these pipelines is due by its schedule: None while nothing is planned, missing without one."""
    mine = (slots.c.pipeline_id.in_(pipeline_ids), slots.c.part == "run", slots.c.stream == "")
    query = sa.select(slots.c.pipeline_id, slots.c.due_at).where(*mine)
    return {row.pipeline_id: row.due_at for row in connection.execute(query)}


def of(connection: sa.Connection, pipeline_id: str) -> Sequence[Slot]:
    """The schedules of a pipeline."""
    query = sa.select(slots).where(slots.c.pipeline_id == pipeline_id).order_by(slots.c.part, slots.c.stream)
    return [_slot(row) for row in connection.execute(query)]


def move(connection: sa.Connection, slot: Slot, standing: Standing) -> bool:
    """The schedule is there now; False when it was changed since ``slot`` was read."""
    moved = connection.execute(
        sa.update(slots)
        .where(
            *_of(slot.pipeline_id, slot.part, slot.stream),
            slots.c.anchor_at == slot.standing.anchor_at,
            slots.c.due_at == slot.standing.due_at,
        )
        .values(_columns(standing, active=True))
    )
    return moved.rowcount == 1


def begin_by_hand(connection: sa.Connection, pipeline_id: str, now: datetime) -> None:
    """A run by hand is the first of its schedule where that would begin at once: the next slot is an interval later."""
    for slot in of(connection, pipeline_id):
        standing = slot.standing
        if slot.part == "run" and standing.slot_at == standing.anchor_at:
            move(connection, slot, replace(standing, slot_at=due.following(slot.schedule, now, standing.anchor_at)))


def rest(connection: sa.Connection, pipeline_id: str) -> None:
    """Nothing of the pipeline is due by itself: it is paused."""
    connection.execute(sa.update(slots).where(slots.c.pipeline_id == pipeline_id).values(due_at=None))


def wake(connection: sa.Connection, pipeline_id: str, now: datetime) -> None:
    """The schedules of the pipeline count again, from their next slot on."""
    for slot in of(connection, pipeline_id):
        standing = due.resumed(slot.standing, slot.schedule, now)
        where = _of(slot.pipeline_id, slot.part, slot.stream)
        connection.execute(sa.update(slots).where(*where).values(_columns(standing, active=True)))


def after_run(
    database: Database,
    pipeline_id: str,
    part: Part,
    outcome: Outcome,
    at: datetime,
    *,
    stream: str = "",
    deferring: bool = False,
    by_hand: bool = False,
    retry_after_s: float | None = None,
) -> None:
    """A run has ended so: what holds the next one back, or brings it sooner, is noted. The slots stay."""
    mine = _of(pipeline_id, part, stream)
    with database.reading() as connection:
        if connection.execute(sa.select(slots.c.part).where(*mine)).first() is None:
            return
    with database.transaction() as connection:
        # Who moves the schedule meanwhile comes before or after all of this.
        row = connection.execute(sa.select(slots).where(*mine).with_for_update()).one_or_none()
        if row is None:
            return
        slot = _slot(row)
        standing = due.ended(
            slot.standing,
            slot.schedule,
            outcome,
            at,
            deferring=deferring,
            by_hand=by_hand,
            retry_after_s=retry_after_s,
            spread=random.random(),  # noqa: S311  no secret
        )
        state = connection.execute(sa.select(pipelines.c.state).where(pipelines.c.id == pipeline_id)).scalar()
        connection.execute(sa.update(slots).where(*mine).values(_columns(standing, active=state == "ACTIVE")))


def _put(connection: sa.Connection, slot: Slot, *, active: bool) -> None:
    row = {
        "pipeline_id": slot.pipeline_id,
        "part": slot.part,
        "stream": slot.stream,
        "schedule": schedule.to_json(slot.schedule),
    }
    columns = row | _columns(slot.standing, active=active)
    upsert(connection, slots, [columns], key=["pipeline_id", "part", "stream"])


def _columns(standing: Standing, *, active: bool) -> dict[str, Any]:
    return {
        "anchor_at": standing.anchor_at,
        "slot_at": standing.slot_at,
        "retry_at": standing.retry_at,
        "held_until": standing.held_until,
        "due_at": standing.due_at if active else None,
        "empty_runs": standing.empty_runs,
        "failed_runs": standing.failed_runs,
    }


def _of(pipeline_id: str, part: Part, stream: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (slots.c.pipeline_id == pipeline_id, slots.c.part == part, slots.c.stream == stream)


def _slot(row: Any) -> Slot:
    standing = Standing(
        anchor_at=row.anchor_at,
        slot_at=row.slot_at,
        retry_at=row.retry_at,
        held_until=row.held_until,
        empty_runs=row.empty_runs,
        failed_runs=row.failed_runs,
    )
    return Slot(row.pipeline_id, row.part, row.stream, schedule.from_json(row.schedule), standing)
