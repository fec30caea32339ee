"""The history of a collection whose changes come from the log, in a state that is not older than the log's place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bson.timestamp import Timestamp

from millrace.data.batch import JSON, Checkpoint, Item
from millrace.errors import ConfigError
from millrace.sources.mongodb import ranges
from millrace.sources.mongodb.client import majority
from millrace.sources.mongodb.documents import Document
from millrace.sources.mongodb.log import time_of
from millrace.sources.mongodb.plan import BATCH_ROWS, Plan


def read(plan: Plan) -> Iterator[Item]:
    """All documents, in ranges of `_id`; the cursor holds the time up to which each read sees all changes.

    Documents that are appended are read in one state of the deployment, so that a change is in it or comes after it.
    """
    times = [one for one in (time_of(plan.reading.log), plan.server.now()) if one is not None]
    if plan.reading.lane == "again":
        yield from ranges.chosen(plan, max(times, default=None))
        return
    cursor: Any = plan.reading.cursor or {}
    if cursor.get("done"):
        return
    if plan.reading.load_mode == "append":
        yield from _in_one_state(plan)
        return
    time = Timestamp(*cursor["time"]) if cursor.get("time") else max(times, default=None)

    def place(known: JSON) -> JSON:
        return _cursor(time, ranges=known)

    yield from ranges.read(plan, cursor.get("ranges"), {}, place, since=time)
    yield Checkpoint(_cursor(time, done=True), progress=1.0)


def _in_one_state(plan: Plan) -> Iterator[Item]:
    with plan.server.asked(plan.object.name) as client, plan.server.session(snapshot=True) as session:
        for one in plan.object.collections:
            # The first read decides on the state.
            majority(client, one.database, one.name).find_one({}, projection={"_id": 1}, session=session)
        # The driver tells nobody but itself.
        time: Timestamp | None = getattr(session, "_snapshot_time", None)
        if time is None:
            raise ConfigError(
                f"{plan.server.config.where} does not show one state of a collection, which appended rows need",
                hint="Use a server of version 5.0 or newer, load_mode: merge, or load_historical_data: false.",
                code="mongodb_no_snapshot",
            )
        for one in plan.object.collections:
            found = ranges.Range(one.database, one.name)
            gathered: list[Document] = []
            for data in ranges.documents(plan, client, found, {}, session):
                gathered.append(Document(data, database=one.database if plan.object.merged else None))
                if len(gathered) >= BATCH_ROWS:
                    yield from plan.rows.of(gathered)
                    gathered = []
            if gathered:
                yield from plan.rows.of(gathered)
    yield Checkpoint(_cursor(time, done=True), progress=1.0)


def _cursor(time: Timestamp | None, **more: JSON) -> JSON:
    return {"v": 1, "time": [time.time, time.inc] if time is not None else None, **more}
