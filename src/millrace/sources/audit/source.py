"""The source of audit tables: which job did what, when, and with which numbers (pipelines.md 14).

A job is told when it has ended. While rows of it wait to be loaded its numbers may change; it is told again then. Where
rows are merged the last word counts; where they are appended each telling is a row, with the moment of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from millrace.connect.audit import Audit, JobDone, ObjectDone
from millrace.connect.source import Reading, Stream, Verdict
from millrace.connect.source import Source as AnySource
from millrace.data.batch import JSON, Batch, Checkpoint, Item
from millrace.data.rows import to_batch
from millrace.errors import ConfigError
from millrace.sources.audit.config import Config

JOBS, OBJECTS = "job_details", "object_details"

# Jobs that are told between two checkpoints.
MOST = 1000

# A job is noted as ended some time before others can see that; ends are looked for that far back.
OVERLAP = timedelta(seconds=60)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = frozenset({"HISTORICAL", "RESYNC", "RESYNC_WITH_DROP_AND_LOAD"})
_ONCE_MORE = frozenset({"REFRESHER", "REREAD", "RAW_REPLAY", "REPLAY"})

_TEXT, _WHOLE_NUMBER = pa.string(), pa.int64()
SCHEMAS = {
    JOBS: pa.schema(
        [("job_id", _TEXT), ("status", _TEXT), ("run", _WHOLE_NUMBER), ("pipeline_id", _WHOLE_NUMBER),
         ("pipeline", _TEXT), ("source", _TEXT), ("destination", _TEXT), ("workspace_id", _TEXT), ("team", _TEXT),
         ("mode", _TEXT), ("type", _TEXT), ("kind", _TEXT), ("started_by", _TEXT),
         ("start_timestamp", _WHOLE_NUMBER), ("end_timestamp", _WHOLE_NUMBER), ("status_duration", _WHOLE_NUMBER),
         ("events_ingested", _WHOLE_NUMBER), ("events_created", _WHOLE_NUMBER), ("events_filtered", _WHOLE_NUMBER),
         ("events_loaded", _WHOLE_NUMBER), ("events_failed", _WHOLE_NUMBER), ("events_waiting", _WHOLE_NUMBER),
         ("error", _TEXT), ("told_at", _WHOLE_NUMBER)]
    ),
    OBJECTS: pa.schema(
        [("job_id", _TEXT), ("object_name", _TEXT), ("run", _WHOLE_NUMBER), ("pipeline_id", _WHOLE_NUMBER),
         ("pipeline", _TEXT), ("destination_tables", _TEXT), ("mode", _TEXT), ("type", _TEXT),
         ("start_timestamp", _WHOLE_NUMBER), ("end_timestamp", _WHOLE_NUMBER), ("ingestion_status", _TEXT),
         ("loading_status", _TEXT), ("events_ingested", _WHOLE_NUMBER), ("events_loaded", _WHOLE_NUMBER),
         ("events_failed", _WHOLE_NUMBER), ("offset_start", _TEXT), ("offset_end", _TEXT), ("error", _TEXT),
         ("told_at", _WHOLE_NUMBER)]
    ),
}  # fmt: skip
KEYS = {JOBS: ("job_id", "status"), OBJECTS: ("job_id", "object_name")}


class Source(AnySource[Config]):
    """Two streams: jobs with the statuses that they went through, and what they did with each object.

    The cursor: the moment up to which ends were told, the jobs told of the minute before it, and how many rows waited
    of those whose numbers may still change.
    """

    Config = Config
    title = "Audit tables"
    inspects = True

    def check(self) -> list[Verdict]:
        return [Verdict("records", "pass", "it reads what Millrace has on record, and needs no connection")]

    def streams(self) -> list[Stream]:
        return [Stream(name, key=KEYS[name], schema=SCHEMAS[name]) for name in (JOBS, OBJECTS)]

    def read(self, reading: Reading) -> Iterator[Item]:
        name = reading.stream.name
        if name not in KEYS:
            raise ConfigError(f"there is no audit table {name!r}", hint=f"There are {JOBS} and {OBJECTS}.")
        if (audit := self.context.audit) is None or reading.lane != "incremental":
            return
        rows_of = _job_rows if name == JOBS else _object_rows
        cursor = _Cursor(reading.cursor)
        changed = [job for job in audit.again(cursor.waiting) if cursor.waiting[job.number] != job.waiting]
        yield from self._told(name, changed, rows_of, cursor)
        while found := self._next(audit, cursor):
            yield from self._told(name, found, rows_of, cursor)
            if len(found) < MOST or self.context.stopping.is_set():
                return

    def _next(self, audit: Audit, cursor: _Cursor) -> Sequence[JobDone]:
        after = None if cursor.until is None else cursor.until - OVERLAP
        return audit.ended(after, cursor.known.keys(), MOST)

    def _told(
        self,
        name: str,
        jobs: Sequence[JobDone],
        rows_of: Callable[[JobDone, int], list[dict[str, Any]]],
        cursor: _Cursor,
    ) -> Iterator[Item]:
        if not jobs:
            return
        now_ms = _ms(self.context.clock.now())
        rows = [row for job in jobs for row in rows_of(job, now_ms)]
        if rows:
            yield Batch(name, to_batch(rows, SCHEMAS[name]))
        for job in jobs:
            cursor.told(job)
        yield Checkpoint(cursor.to_json())


class _Cursor:
    """How far ends of jobs were told."""

    def __init__(self, saved: JSON) -> None:
        said = saved or {}
        until = said.get("until_us")
        self.until = None if until is None else _EPOCH + timedelta(microseconds=until)
        self.known = {int(number): int(ended) for number, ended in said.get("known", {}).items()}
        self.waiting = {int(number): int(rows) for number, rows in said.get("waiting", {}).items()}

    def told(self, job: JobDone) -> None:
        self.until = max(job.ended_at, self.until or job.ended_at)
        self.known[job.number] = _us(job.ended_at)
        self.waiting.pop(job.number, None)
        if job.waiting:
            self.waiting[job.number] = job.waiting

    def to_json(self) -> JSON:
        assert self.until is not None
        oldest = _us(self.until - OVERLAP)
        self.known = {number: ended for number, ended in self.known.items() if ended > oldest}
        return {
            "until_us": _us(self.until),
            "known": {str(number): ended for number, ended in self.known.items()},
            "waiting": {str(number): rows for number, rows in self.waiting.items()},
        }


def _job_rows(job: JobDone, now_ms: int) -> list[dict[str, Any]]:
    """A row for each status that the job went through; the numbers stand with the last one, so that they add up."""
    about = _about(job, now_ms) | {
        "source": job.source,
        "destination": job.destination,
        "workspace_id": job.team_id,
        "team": job.team,
        "kind": job.kind,
        "started_by": job.trigger,
        "start_timestamp": _ms(job.started_at),
        "end_timestamp": _ms(job.ended_at),
    }
    phases = [
        ("QUEUED", job.requested_at, job.started_at),
        ("INGESTING", job.started_at, job.ingested_at or job.ended_at),
        ("LOADING", job.ingested_at, job.ended_at),
    ]
    rows = [
        about | {"status": status, "status_duration": max(0, _ms(end) - _ms(begin))}
        for status, begin, end in phases
        if begin is not None and job.status != "SKIPPED"
    ]
    numbers = {
        "events_ingested": job.read,
        "events_created": job.created,
        "events_filtered": job.filtered,
        "events_loaded": job.loaded,
        "events_failed": job.rejected,
        "events_waiting": job.waiting,
        "error": job.error,
    }
    return [*rows, about | numbers | {"status": job.status}]


def _object_rows(job: JobDone, now_ms: int) -> list[dict[str, Any]]:
    return [_about(job, now_ms) | _object(one) for one in job.objects]


def _object(one: ObjectDone) -> dict[str, Any]:
    return {
        "object_name": one.name,
        "destination_tables": json.dumps(list(one.tables)),
        "start_timestamp": None if one.started_at is None else _ms(one.started_at),
        "end_timestamp": None if (end := one.loaded_at or one.ingested_at) is None else _ms(end),
        "ingestion_status": one.status,
        "loading_status": "LOADED" if one.loaded_at is not None else "NOT_LOADED",
        "events_ingested": one.read,
        "events_loaded": one.loaded,
        "events_failed": one.rejected,
        "offset_start": json.dumps(one.before),
        "offset_end": json.dumps(one.after),
        "error": one.error,
    }


def _about(job: JobDone, now_ms: int) -> dict[str, Any]:
    return {
        "job_id": job.job_id or f"run {job.number}",
        "run": job.number,
        "pipeline_id": job.pipeline_number,
        "pipeline": job.pipeline,
        "mode": "HISTORICAL" if job.kind in _WHOLE else "INCREMENTAL",
        "type": "REFRESHER" if job.kind in _ONCE_MORE else "INCREMENTAL",
        "told_at": now_ms,
    }


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
