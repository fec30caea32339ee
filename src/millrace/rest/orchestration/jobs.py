"""Jobs of the orchestration API: list, follow, cancel."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from fastapi import Path

from millrace.control.books.records import Balance
from millrace.control.books.run_objects import ObjectRow
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.running import jobs
from millrace.control.running.jobs import Job
from millrace.errors import ConfigError
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened, sealed
from millrace.rest.later import Addresses
from millrace.rest.orchestration.shapes import Cursor, Limit, Listed
from millrace.rest.permits import EditingPipelines, Viewing
from millrace.rest.public.shapes import PipelineId, Told, moment

router = Addresses(prefix="/pipelines/{pipeline_id}/jobs", tags=["orchestration: jobs"], route_class=KeyRoute)

JobId: TypeAlias = Annotated[str, Path(min_length=1, max_length=64, description="UUID of the job.")]
JobType: TypeAlias = Literal["INCREMENTAL", "HISTORICAL", "RESYNC", "RESYNC_WITH_DROP_AND_LOAD", "REFRESHER"]
JobStatus: TypeAlias = Literal[
    "IN_PROGRESS",
    "CANCELLING",
    "COMPLETED",
    "COMPLETED_WITH_FAILURES",
    "FAILED",
    "CANCELLED",
    "SKIPPED",
    "DEFERRED",
    "DEFERRED_WITH_FAILURES",
]

# What has no word of its own in the API: a load is the second half of a run, a replay reads what was read before.
TYPES: dict[str, JobType] = {
    "INCREMENTAL": "INCREMENTAL",
    "HISTORICAL": "HISTORICAL",
    "RESYNC": "RESYNC",
    "RESYNC_WITH_DROP_AND_LOAD": "RESYNC_WITH_DROP_AND_LOAD",
    "REFRESHER": "REFRESHER",
    "LOAD": "INCREMENTAL",
    "REPLAY": "REFRESHER",
    "RAW_REPLAY": "REFRESHER",
    "REREAD": "REFRESHER",
}
FREE = frozenset({"HISTORICAL", "RESYNC", "RESYNC_WITH_DROP_AND_LOAD", "REFRESHER"})


class JobTold(Told):
    """A job. Moments are milliseconds since 1970; spans are milliseconds."""

    job_id: str
    type: JobType
    status: JobStatus
    created_ts: int
    updated_ts: int
    events_ingested: int
    events_loaded: int
    events_failed: int
    objects_success: int
    objects_queued: int
    objects_skipped: int
    objects_failed: int
    billable_events: int
    non_billable_events: int
    duration: int
    min_latency: int | None
    max_latency: int | None
    mean_latency: int | None


class JobObjectTold(Told):
    """What a job did with one object."""

    object_name: str
    status: str
    started_ts: int | None
    ingested_ts: int | None
    loaded_ts: int | None
    events_ingested: int
    events_loaded: int
    events_failed: int
    destination_tables: list[str]
    error: str | None


@router.get("")
def jobs_listed(home: Viewing, pipeline_id: PipelineId, limit: Limit = 100, cursor: Cursor = None) -> Listed[JobTold]:
    """Jobs of the pipeline, the newest first."""
    found = pipelines.numbered(home, pipeline_id)
    page = jobs.page(home, found.name, limit=limit, after=opened(cursor))
    return Listed(
        data=[_told(job) for job in page.items], has_more=page.next is not None, next_cursor=sealed(page.next)
    )


@router.get("/{job_id}")
def job_read(home: Viewing, pipeline_id: PipelineId, job_id: JobId) -> JobTold:
    """One job."""
    return _told(_of(home, pipeline_id, job_id))


@router.get("/{job_id}/objects")
def job_objects_listed(
    home: Viewing, pipeline_id: PipelineId, job_id: JobId, limit: Limit = 100, cursor: Cursor = None
) -> Listed[JobObjectTold]:
    """What the job did with each object, by name."""
    job = _of(home, pipeline_id, job_id)
    after = opened(cursor)
    rows = [row for row in job.objects if after is None or row.stream > after]
    shown, more = rows[:limit], len(rows) > limit
    counts = job.run.streams
    return Listed(
        data=[_object(row, counts.get(row.stream, Balance())) for row in shown],
        has_more=more,
        next_cursor=sealed(shown[-1].stream) if more else None,
    )


@router.post("/{job_id}/actions/cancel", status_code=204)
def job_cancelled(home: EditingPipelines, pipeline_id: PipelineId, job_id: JobId) -> None:
    """The job ends at its next commit; one that has ended stays as it is."""
    jobs.cancel(home, _of(home, pipeline_id, job_id).job_id)


def _of(home: Home, number: int, job_id: str) -> Job:
    """A job of that pipeline. Raises ConfigError when there is none."""
    pipelines.numbered(home, number)
    job = jobs.find(home, job_id)
    if job.pipeline_number != number:
        raise ConfigError(f"pipeline {number} has no job {job_id[:80]!r}", code="unknown_job")
    return job


def _told(job: Job) -> JobTold:
    balance, run = job.run.balance, job.run
    created_ts = moment(job.requested_at or run.started_at)
    updated_ts = moment(run.ended_at or job.beat_at or job.began_at or run.started_at)
    assert created_ts is not None and updated_ts is not None
    billable = 0 if TYPES[run.kind] in FREE else balance.loaded
    status: JobStatus = "IN_PROGRESS" if run.status == "QUEUED" else run.status
    return JobTold(
        job_id=job.job_id,
        type=TYPES[run.kind],
        status=status,
        created_ts=created_ts,
        updated_ts=updated_ts,
        events_ingested=balance.read,
        events_loaded=balance.loaded,
        events_failed=balance.rejected_rows,
        objects_success=job.object_counts.get("success", 0),
        objects_queued=job.object_counts.get("queued", 0),
        objects_skipped=job.object_counts.get("skipped", 0),
        objects_failed=job.object_counts.get("failed", 0),
        billable_events=billable,
        non_billable_events=balance.loaded - billable,
        duration=job.duration_ms or 0,
        min_latency=job.latency.min_ms if job.latency else None,
        max_latency=job.latency.max_ms if job.latency else None,
        mean_latency=job.latency.mean_ms if job.latency else None,
    )


def _object(row: ObjectRow, counts: Balance) -> JobObjectTold:
    return JobObjectTold(
        object_name=row.stream,
        status=row.status,
        started_ts=moment(row.started_at),
        ingested_ts=moment(row.ingested_at),
        loaded_ts=moment(row.loaded_at),
        events_ingested=counts.read,
        events_loaded=counts.loaded,
        events_failed=counts.rejected_rows,
        destination_tables=list(row.tables),
        error=row.error.message if row.error is not None else None,
    )
