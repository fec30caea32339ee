"""Pipelines of the orchestration API: read, change, run, resync, disable, enable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from pydantic import Field

from millrace.connect import registry
from millrace.control.alerting import lateness
from millrace.control.connecting import connections
from millrace.control.connecting.connections import Connection
from millrace.control.database.pages import Page
from millrace.control.home import Home
from millrace.control.observing import health
from millrace.control.people import authors
from millrace.control.people.authors import Authors
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Pipeline, Wish
from millrace.control.running import jobs
from millrace.control.running.jobs import ACTIVE, Job
from millrace.control.scheduling import schedule
from millrace.control.scheduling.schedule import Schedule
from millrace.control.settings import workspace
from millrace.engine.failures import FailurePolicy
from millrace.engine.policy import PRESETS, Policy
from millrace.errors import ConfigError
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened, sealed
from millrace.rest.later import Addresses
from millrace.rest.orchestration.shapes import Accepted, Cursor, Limit, Listed
from millrace.rest.permits import EditingPipelines, Viewing
from millrace.rest.public.shapes import Asked, PipelineId, Told, moment
from millrace.rest.public.wording import worded

router = Addresses(prefix="/pipelines", tags=["orchestration: pipelines"], route_class=KeyRoute)

Evolution: TypeAlias = Literal["ALLOW_ALL", "ALLOW_COLUMN_LEVEL", "BLOCK_ALL"]
ResyncMode: TypeAlias = Literal["EVOLVE_AND_MERGE", "DROP_AND_LOAD"]

# Loading modes of ours that the API has a word for; history is a merge that keeps the versions before.
LOAD_MODES: dict[str, Literal["APPEND", "MERGE"]] = {"append": "APPEND", "merge": "MERGE", "history": "MERGE"}
STATUSES: dict[str, Literal["INITIALIZED", "DISABLED", "DELETING"]] = {
    "ACTIVE": "INITIALIZED",
    "PAUSED": "DISABLED",
    "DELETING": "DELETING",
}


class SourceTold(Told):
    """The source of a pipeline, without its secrets."""

    name: str
    connector_id: str
    source_type: str
    config: Mapping[str, Any]


class DestinationTold(Told):
    """The destination of a pipeline."""

    id: int
    name: str
    connector_id: str
    destination_type: str
    status: str


class ScheduleTold(Told):
    """When a pipeline runs. A cron expression has no `frequency_minutes`."""

    sync_type: Literal["ON_DEMAND", "SCHEDULED"]
    frequency_minutes: int | None


# What the threshold says where any number of events may fail: the API has no word for it, and clients read a number.
NO_LIMIT = 2**31 - 1


class FailureHandling(Told):
    """How many events may fail: in all of a job (STRICT, MODERATE), or of one object (THRESHOLD).

    Of a threshold that is a share alone, the number is 2147483647; `object_failure_percent` is the share.
    """

    object_failure_level: Literal["STRICT", "MODERATE", "THRESHOLD"]
    object_failure_threshold: int
    object_failure_percent: float | None = None


class SchemaStatus(Told):
    """When the source last said which objects it has."""

    status: Literal["PENDING", "SYNCED"]
    refreshed_ts: int | None


class LatencyAlert(Told):
    """Whether people are told that a pipeline is late, and from how many minutes on."""

    enabled: bool
    threshold_minutes: int | None


class PipelineTold(Told):
    """A pipeline. Moments are milliseconds since 1970. Who has no address, as the operator, and what is a year ago is
    an empty e-mail."""

    id: int
    name: str
    status: Literal["INITIALIZED", "DISABLED", "DELETING"]
    source: SourceTold
    destination: DestinationTold
    destination_prefix: str
    replication_type: Literal["HISTORICAL_AND_INCREMENTAL", "INCREMENTAL_ONLY"]
    load_mode: Literal["APPEND", "MERGE"]
    schema_evolution: Evolution
    schedule: ScheduleTold
    failure_handling_policy: FailureHandling
    source_schema_status: SchemaStatus
    latency_alert: LatencyAlert | None = None
    created_by_email: str
    updated_by_email: str
    created_ts: int
    updated_ts: int


class NewSchedule(Asked):
    """When a pipeline shall run."""

    sync_type: Literal["ON_DEMAND", "SCHEDULED"]
    frequency_minutes: int | None = Field(None, ge=1, le=527_040)


class NewFailureHandling(Asked):
    """How many events may fail. A threshold has a number, a share from 0 to 100, or both."""

    object_failure_level: Literal["STRICT", "MODERATE", "THRESHOLD"]
    object_failure_threshold: int | None = Field(None, ge=0)
    object_failure_percent: float | None = Field(None, ge=0, le=100)


class NewLatencyAlert(Asked):
    """Whether people are told that a pipeline is late, and from how many minutes on."""

    enabled: bool
    threshold_minutes: int | None = Field(None, ge=1, le=lateness.MOST_MINUTES)


class Changes(Asked):
    """What shall be different. What is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=255)
    destination_prefix: str | None = Field(None, max_length=64)
    load_mode: Literal["APPEND", "MERGE"] | None = None
    schema_evolution: Evolution | None = None
    schedule: NewSchedule | None = None
    failure_handling_policy: NewFailureHandling | None = None
    latency_alert: NewLatencyAlert | None = None


class Resync(Asked):
    """How the history is read again: into the table that there is, or into a new one. Older callers say the latter by
    `drop_and_load`."""

    resync_mode: ResyncMode | None = None
    drop_and_load: bool | None = None

    @property
    def mode(self) -> str:
        drop = self.drop_and_load if self.resync_mode is None else self.resync_mode == "DROP_AND_LOAD"
        return "drop-and-load" if drop else "evolve-and-merge"


class Disable(Asked):
    """Whether jobs that wait or go on end as well."""

    cancel_active_jobs: bool = False


@router.get("")
def orchestrated_pipelines(home: Viewing, limit: Limit = 100, cursor: Cursor = None) -> Listed[PipelineTold]:
    """Pipelines by their numbers."""
    page = pipelines.page(home, after=opened(cursor), limit=limit)
    return Listed(data=_all(home, page), has_more=page.next is not None, next_cursor=sealed(page.next))


@router.get("/{pipeline_id}")
def orchestrated_pipeline(home: Viewing, pipeline_id: PipelineId) -> PipelineTold:
    """One pipeline."""
    return _one(home, pipeline_id)


@router.patch("/{pipeline_id}")
def orchestrated_pipeline_changed(home: EditingPipelines, pipeline_id: PipelineId, body: Changes) -> PipelineTold:
    """The pipeline is changed in what the body names."""
    with worded({"table_prefix": "destination_prefix", "schedule": "schedule.frequency_minutes"}):
        pipelines.change(home, pipelines.numbered(home, pipeline_id).name, lambda now: _wished(home, now, body))
    return _one(home, pipeline_id)


def _wished(home: Home, now: Pipeline, body: Changes) -> Wish:
    """The pipeline as it is, but for what the body says otherwise."""
    wish, options = now.wish, dict(now.options)
    # What a client read and sends back changes nothing, though the API has no word for all of it.
    if body.schema_evolution not in (None, _evolution(now)):
        options["schema_policy"] = PRESETS[body.schema_evolution].to_json()
    if body.failure_handling_policy is not None:
        options |= _failures(body.failure_handling_policy, FailurePolicy.from_json(options.get("failure_policy")))
    if body.latency_alert is not None:
        options |= _lateness(body.latency_alert, options)
    if body.schedule is not None:
        wanted = _schedule(body.schedule)
        legacy = workspace(home.database).legacy_frequency
        schedule.check(wanted, registry.source(now.source_type), legacy=legacy)
        wish = replace(wish, schedule=schedule.to_json(wanted))
    return replace(
        wish,
        name=body.name or wish.name,
        table_prefix=wish.table_prefix if body.destination_prefix is None else body.destination_prefix,
        load_mode=wish.load_mode if body.load_mode in (None, LOAD_MODES[wish.load_mode]) else _mode(body.load_mode),
        options=options,
    )


@router.post("/{pipeline_id}/actions/sync-now")
def synced_now(home: EditingPipelines, pipeline_id: PipelineId) -> Accepted:
    """A job reads what is new, as soon as a worker is free. The schedule stays as it is."""
    found = pipelines.numbered(home, pipeline_id)
    return accepted(found, begin(home, found))


@router.post("/{pipeline_id}/actions/resync")
def resynced(home: EditingPipelines, pipeline_id: PipelineId, body: Resync | None = None) -> Accepted:
    """A job reads the whole history again."""
    found = pipelines.numbered(home, pipeline_id)
    return accepted(found, begin(home, found, kind="resync", mode=(body or Resync()).mode))


@router.post("/{pipeline_id}/actions/disable", status_code=204)
def disabled(home: EditingPipelines, pipeline_id: PipelineId, body: Disable | None = None) -> None:
    """Nothing starts the pipeline any more. One that is disabled already is no error."""
    found = pipelines.numbered(home, pipeline_id)
    if body is not None and body.cancel_active_jobs:
        for job in jobs.page(home, found.name, statuses=("QUEUED", "IN_PROGRESS"), limit=100).items:
            jobs.cancel(home, job.job_id)
    if found.state == "ACTIVE":
        pipelines.set_state(home, found.name, "PAUSED")


@router.post("/{pipeline_id}/actions/enable", status_code=204)
def enabled(home: EditingPipelines, pipeline_id: PipelineId) -> None:
    """The pipeline runs on its schedule again. One that is enabled already is no error."""
    found = pipelines.numbered(home, pipeline_id)
    if found.state != "ACTIVE":
        lifecycle.resume(home, found.name)


def begin(
    home: Home,
    found: Pipeline,
    *,
    kind: Literal["run", "resync"] = "run",
    mode: str | None = None,
    only: tuple[str, ...] = (),
) -> Job:
    """A job of the pipeline waits. Raises ConfigError in words that callers look for when one waits or goes on."""
    if found.state == "ACTIVE" and jobs.page(home, found.name, statuses=ACTIVE, limit=1).items:
        raise ConfigError(
            f"A job is in progress for pipeline {found.number}, and no other is begun beside it",
            hint="Wait until it has ended, or cancel it.",
            code="already_running",
        )
    return jobs.start(home, found.name, kind=kind, mode=mode, only=only)


def accepted(found: Pipeline, job: Job) -> Accepted:
    """What callers are told of a job that was begun."""
    return Accepted(message="The job was begun", pipeline_id=found.number, job_id=job.job_id)


def _one(home: Home, number: int) -> PipelineTold:
    return _all(home, Page((pipelines.numbered(home, number),)))[0]


def _all(home: Home, page: Page[Pipeline]) -> list[PipelineTold]:
    """Pipelines as they are shown, with one question to the database for each kind of thing."""
    ids = [found.source_id for found in page.items] + [found.destination_id for found in page.items]
    known = connections.by_ids(home, ids)
    pipeline_ids = [found.id for found in page.items]
    offered, by = health.offered(home, pipeline_ids), authors.authors(home, pipeline_ids)
    return [
        _told(found, known[found.source_id], known[found.destination_id], moment(offered.get(found.id)), by[found.id])
        for found in page.items
    ]


def _told(
    found: Pipeline, source: Connection, destination: Connection, refreshed_ts: int | None, by: Authors
) -> PipelineTold:
    saved = schedule.from_json(found.schedule)
    scheduled = saved.cron is not None or saved.every_s is not None
    created_ts, updated_ts = moment(found.created_at), moment(found.changed_at)
    assert created_ts is not None and updated_ts is not None
    return PipelineTold(
        id=found.number,
        name=found.name,
        status=STATUSES[found.state],
        source=SourceTold(
            name=source.name, connector_id=str(source.number), source_type=source.type.upper(), config=source.config
        ),
        destination=DestinationTold(
            id=destination.number,
            name=destination.name,
            connector_id=str(destination.number),
            destination_type=destination.type.upper(),
            status="ACTIVE",
        ),
        destination_prefix=found.table_prefix,
        replication_type="HISTORICAL_AND_INCREMENTAL",
        load_mode=LOAD_MODES[found.load_mode],
        schema_evolution=_evolution(found),
        schedule=ScheduleTold(
            sync_type="SCHEDULED" if scheduled else "ON_DEMAND",
            frequency_minutes=None if saved.every_s is None else -(-saved.every_s // 60),
        ),
        failure_handling_policy=_handling(FailurePolicy.from_json(found.options.get("failure_policy"))),
        source_schema_status=SchemaStatus(
            status="PENDING" if refreshed_ts is None else "SYNCED", refreshed_ts=refreshed_ts
        ),
        latency_alert=_late(found),
        created_by_email=by.created,
        updated_by_email=by.changed,
        created_ts=created_ts,
        updated_ts=updated_ts,
    )


def _late(found: Pipeline) -> LatencyAlert | None:
    minutes = lateness.minutes_of(found.options)
    said: Any = found.options.get(lateness.OPTION)
    if not isinstance(said, dict):
        return None
    return LatencyAlert(enabled=minutes is not None, threshold_minutes=said.get("threshold_minutes"))


def _evolution(found: Pipeline) -> Evolution:
    """The policy, or the preset that is nearest to it."""
    policy = found.schema_policy or (Policy() if found.auto_mapping else PRESETS["BLOCK_ALL"])
    if policy.columns != "evolve":
        return "BLOCK_ALL"
    return "ALLOW_ALL" if policy.tables == "evolve" else "ALLOW_COLUMN_LEVEL"


def _handling(policy: FailurePolicy) -> FailureHandling:
    levels: dict[str, Literal["STRICT", "MODERATE", "THRESHOLD"]] = {
        "strict": "STRICT",
        "moderate": "MODERATE",
        "threshold": "THRESHOLD",
    }
    return FailureHandling(
        object_failure_level=levels[policy.level],
        object_failure_threshold=NO_LIMIT if policy.most_rows is None else policy.most_rows,
        object_failure_percent=policy.most_percent,
    )


def _failures(wanted: NewFailureHandling, present: FailurePolicy) -> dict[str, Any]:
    """The option of the pipeline, where it is to be another one. Raises ConfigError for a policy that cannot be."""
    level, rows, percent = (
        wanted.object_failure_level,
        wanted.object_failure_threshold,
        wanted.object_failure_percent,
    )
    told = _handling(present)
    if (level, rows, percent) == (
        told.object_failure_level,
        told.object_failure_threshold,
        told.object_failure_percent if "object_failure_percent" in wanted.model_fields_set else percent,
    ):
        return {}
    if level == "THRESHOLD":
        limits = {"max_failed_events": None if rows == NO_LIMIT else rows, "max_failed_percent": percent}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        if not given:
            raise _no_policy("a THRESHOLD needs object_failure_threshold, object_failure_percent, or both")
        return {"failure_policy": given}
    usual = _handling(FailurePolicy.from_json(level)).object_failure_threshold
    if percent is not None or rows not in (None, 0, usual):
        raise _no_policy(f"with {level} the threshold is {usual:,} events of a job; another one goes with THRESHOLD")
    return {"failure_policy": level.lower()}


def _no_policy(message: str) -> ConfigError:
    return ConfigError(message, path="failure_handling_policy.object_failure_threshold", code="invalid_parameter")


def _schedule(wanted: NewSchedule) -> Schedule:
    if wanted.sync_type == "ON_DEMAND":
        return Schedule()
    if wanted.frequency_minutes is None:
        raise ConfigError(
            "a SCHEDULED pipeline needs frequency_minutes", path="schedule.frequency_minutes", code="invalid_parameter"
        )
    return Schedule(every_s=wanted.frequency_minutes * 60)


def _lateness(wanted: NewLatencyAlert, options: Mapping[str, Any]) -> dict[str, Any]:
    minutes = wanted.threshold_minutes or (options.get(lateness.OPTION) or {}).get("threshold_minutes")
    if wanted.enabled and minutes is None:
        raise ConfigError(
            "a latency alert needs threshold_minutes", path="latency_alert.threshold_minutes", code="invalid_parameter"
        )
    return {lateness.OPTION: {"enabled": wanted.enabled, "threshold_minutes": minutes}}


def _mode(wanted: Literal["APPEND", "MERGE"] | None) -> Literal["append", "merge"]:
    return "append" if wanted == "APPEND" else "merge"
