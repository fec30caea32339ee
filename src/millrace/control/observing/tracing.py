"""A run as a trace: a span for the run, and below it one for its time in the queue, and for each object one for what
was read and one for what was loaded. Made from the books when the run has ended, so the times are those on record.

Where they go is said by the variables of OpenTelemetry
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from millrace.control.books.records import Balance
from millrace.control.running import jobs
from millrace.version import VERSION

if TYPE_CHECKING:
    from millrace.control.books.run_objects import ObjectRow
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline
    from millrace.control.running.jobs import Job

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def trace(home: Home, pipeline: Pipeline, run_id: int) -> None:
    """The run, which has ended, is on its way to the collector. Nothing is waited for but at the end of the process."""
    job = jobs.find(home, run_id)
    run = job.run
    if run.ended_at is None:
        return
    tracer = provider().get_tracer("millrace", VERSION)
    begun = min(job.requested_at or run.started_at, run.started_at)
    root = tracer.start_span(
        f"run {pipeline.name}", kind=SpanKind.INTERNAL, start_time=_ns(begun), attributes=_about(job)
    )
    within = set_span_in_context(root)

    def below(name: str, first: datetime, last: datetime, attributes: Mapping[str, Any]) -> Span:
        span = tracer.start_span(name, context=within, start_time=_ns(first), attributes=dict(attributes))
        span.end(_ns(max(first, last)))
        return span

    if begun < run.started_at:
        below("queue", begun, run.started_at, {})
    for one in job.objects:
        _object(below, one, run.streams.get(one.stream, Balance()), run.ended_at)
    if run.error is not None:
        # The words were put on record without secrets.
        root.set_status(Status(StatusCode.ERROR, run.error.message))
        root.set_attribute("error.type", run.error.code)
    root.end(_ns(run.ended_at))


@cache
def provider() -> TracerProvider:
    """What this process sends spans by. What waits is sent when the process ends."""
    about = {"service.name": "millrace", "service.version": VERSION}
    # Variables of the environment that say otherwise win.
    made = TracerProvider(resource=Resource.create().merge(_named(about)))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


def _named(about: Mapping[str, str]) -> Resource:
    said = Resource.create().attributes.get("service.name", "")
    own = dict(about)
    if said and not str(said).startswith("unknown_service"):
        del own["service.name"]
    return Resource(own)


def _object(below: Any, one: ObjectRow, counts: Balance, run_ended: datetime) -> None:
    about = {"millrace.object": one.stream, "millrace.status": one.status}
    if one.started_at is not None:
        rows = {"millrace.rows.read": counts.read, "millrace.rows.rejected": counts.rejected_rows}
        span = below(f"ingest {one.stream}", one.started_at, one.ingested_at or run_ended, about | rows)
        del span
    if one.load_started_at is not None and one.loaded_at is not None:
        rows = {"millrace.rows.loaded": counts.loaded, "millrace.tables": list(one.tables)}
        below(f"load {one.stream}", one.load_started_at, one.loaded_at, about | rows)


def _about(job: Job) -> dict[str, Any]:
    balance = job.run.balance
    found = {
        "millrace.run": job.run.id,
        "millrace.job": job.job_id,
        "millrace.pipeline": job.run.pipeline,
        "millrace.kind": job.run.kind,
        "millrace.status": job.run.status,
        "millrace.trigger": job.trigger,
        "millrace.source": job.source_type,
        "millrace.destination": job.destination,
        "millrace.rows.read": balance.read,
        "millrace.rows.loaded": balance.loaded,
        "millrace.rows.rejected": balance.rejected_rows,
        "millrace.rows.waiting": balance.waiting,
    }
    return {key: value for key, value in found.items() if value is not None}


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
