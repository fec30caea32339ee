"""The published Airflow provider's side of the orchestration API, as its documents tell it: calls and data model.

It asks as the provider does: basic authentication, JSON, up to three attempts where the server is at fault, an empty
answer is success, anything else an error with the status and the text of the answer in it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import httpx
from pydantic import BaseModel, ConfigDict

PipelineStatus: TypeAlias = Literal[
    "INITIALIZING", "INITIALIZED", "INITIALIZE_FAILED", "DISABLING", "DISABLED", "DISABLE_FAILED", "ENABLING",
    "ENABLED", "ENABLE_FAILED", "DELETING", "DELETED", "DELETE_FAILED", "RESTARTING", "RESTART_FAILED",
]  # fmt: skip
JobStatus: TypeAlias = Literal[
    "IN_PROGRESS", "CANCELLING", "COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "CANCELLED", "SKIPPED", "DEFERRED",
    "DEFERRED_WITH_FAILURES",
]  # fmt: skip
JobType: TypeAlias = Literal["INCREMENTAL", "HISTORICAL", "RESYNC", "RESYNC_WITH_DROP_AND_LOAD", "REFRESHER"]
ObjectStatus: TypeAlias = Literal[
    "ACTIVE", "BLOCKED", "DISABLED", "DELETED", "INACCESSIBLE", "INACTIVE", "INCONSISTENT", "RESETTING"
]
Replication: TypeAlias = Literal["PENDING", "REPLICATED", "CANCELLED", "BLOCKED", "FAILED", "INCONSISTENT"]
FieldStatus: TypeAlias = Literal["ACTIVE", "BLOCKED", "DELETED", "INACCESSIBLE", "INACTIVE", "DISABLED", "INCONSISTENT"]

MOST_ATTEMPTS = 3
PENDING = {"IN_PROGRESS", "CANCELLING"}


class Answer(BaseModel):
    """Values are taken as they are: a number in text is no number."""

    model_config = ConfigDict(strict=True)


class Source(Answer):
    name: str
    connector_id: str
    source_type: str
    config: dict[str, Any] | None


class Destination(Answer):
    id: int
    name: str
    connector_id: str
    destination_type: str
    status: str | None


class Schedule(Answer):
    sync_type: Literal["ON_DEMAND", "SCHEDULED"] | None
    frequency_minutes: int | None


class FailureHandling(Answer):
    object_failure_level: str
    object_failure_threshold: int


class SchemaStatus(Answer):
    status: str
    refreshed_ts: int | None


class LatencyAlert(Answer):
    enabled: bool
    threshold_minutes: int | None


class Pipeline(Answer):
    id: int
    name: str
    status: PipelineStatus
    source: Source
    destination: Destination
    destination_prefix: str
    replication_type: Literal["HISTORICAL_AND_INCREMENTAL", "INCREMENTAL_ONLY"]
    load_mode: Literal["APPEND", "MERGE"]
    schema_evolution: Literal["ALLOW_ALL", "ALLOW_COLUMN_LEVEL", "BLOCK_ALL"]
    schedule: Schedule
    failure_handling_policy: FailureHandling
    source_schema_status: SchemaStatus
    latency_alert: LatencyAlert | None
    created_by_email: str
    updated_by_email: str
    created_ts: int
    updated_ts: int


class Job(Answer):
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


class Namespace(Answer):
    k0: str
    k1: str | None
    k2: str | None


class Field(Answer):
    source_name: str
    source_type: str
    destination_name: str
    destination_type: str
    status: FieldStatus
    primary_key: bool


class Object(Answer):
    object_id: str
    source_namespace: Namespace
    destination_namespace: Namespace
    field_count: int
    status: ObjectStatus
    replication_status: Replication
    object_name: str | None = None
    destination_table_name: str | None = None
    load_mode: Literal["APPEND", "MERGE"] | None = None
    fields: list[Field] | None = None


class Pipelines(Answer):
    data: list[Pipeline]
    has_more: bool
    next_cursor: str | None


class Jobs(Answer):
    data: list[Job]
    has_more: bool
    next_cursor: str | None


class Objects(Answer):
    data: list[Object]
    has_more: bool
    next_cursor: str | None


class Failed(Exception):
    """The server did not do it."""


class Provider:
    """Hook, operator and sensor in one, without Airflow and without the waits between polls."""

    def __init__(self, url: str, auth: tuple[str, str]) -> None:
        headers = {"User-Agent": "provider-airflow/1.0", "Accept": "application/json"}
        self.client = httpx.Client(base_url=url, auth=auth, headers=headers, timeout=30)
        self.asked = 0

    def ask(
        self, method: str, path: str, *, payload: dict[str, Any] | None = None, params: dict[str, Any] | None = None
    ) -> Any:
        for attempt in range(1, MOST_ATTEMPTS + 1):
            self.asked += 1
            answer = self.client.request(
                method, f"/api/v1{path}", json=payload, params=params, headers={"Content-Type": "application/json"}
            )
            if answer.status_code < 500 or attempt == MOST_ATTEMPTS:
                break
        if answer.status_code >= 400:
            raise Failed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.status_code != 204 and answer.content else {}

    def pipeline(self, number: int) -> Pipeline | None:
        try:
            return Pipeline.model_validate(self.ask("GET", f"/pipelines/{number}"))
        except Failed as failed:
            if "answered 404" in str(failed):  # its request id may have those digits too
                return None
            raise

    def pages(self, path: str, model: type[Any], limit: int) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = model.model_validate(
                self.ask("GET", path, params={"limit": limit} | ({"cursor": cursor} if cursor else {}))
            )
            found += page.data
            cursor = page.next_cursor
            if not page.has_more or not cursor:
                return found

    def sync_now(self, number: int, *, ensure_new_job: bool = True) -> None:
        """The operator's first half: an active pipeline, and a job that is begun or goes on."""
        pipeline = self.pipeline(number)
        if pipeline is None or pipeline.status != "INITIALIZED":
            raise Failed(f"pipeline {number} is not initialized")
        try:
            self.ask("POST", f"/pipelines/{number}/actions/sync-now")
        except Failed as failed:
            said = str(failed).lower()
            if ensure_new_job or ("job is in progress" not in said and "job already" not in said):
                raise

    def active_job(self, number: int, type_: str) -> Job:
        """The operator's second half: the first job of that type that is in progress, whatever page it is on."""
        for job in self.pages(f"/pipelines/{number}/jobs", Jobs, 10):
            if job.type == type_ and job.status == "IN_PROGRESS":
                return job
        raise Failed(f"pipeline {number} has no active job of type {type_}")

    def job(self, number: int, job_id: str) -> Job:
        return Job.model_validate(self.ask("GET", f"/pipelines/{number}/jobs/{job_id}"))

    def completion(self, number: int, job_id: str, *, accept_failures: bool = False) -> str:
        """The sensor's word for a job: completed, failed or pending."""
        status = self.job(number, job_id).status
        if status in PENDING:
            return "pending"
        accepted = {"COMPLETED", "COMPLETED_WITH_FAILURES"} if accept_failures else {"COMPLETED"}
        return "completed" if status in accepted else "failed"
