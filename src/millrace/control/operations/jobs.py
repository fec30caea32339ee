"""Jobs: runs as people ask for them, follow them and end them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from millrace.control.books.records import RunStatus
from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.names import Name
from millrace.control.operations.runs import Number
from millrace.control.operations.sync import Only
from millrace.control.running import jobs
from millrace.control.running.jobs import Job


@operation("GET", "/jobs")
def list_(
    home: Home,
    pipeline: Annotated[Name, Field(description="Only jobs of this pipeline.")] | None = None,
    status: Annotated[Sequence[RunStatus], Field(max_length=20, description="Only of these statuses.")] = (),
    after: After | None = None,
    limit: Limit = 50,
) -> Page[Job]:
    """List jobs, the newest first, with what they wait for and how far they are."""
    return jobs.page(home, pipeline, statuses=status, limit=limit, after=after)


@operation("GET", "/jobs/{job}")
def find(home: Home, job: Number) -> Job:
    """Show one job, with its objects."""
    return jobs.find(home, job)


@operation("POST", "/pipelines/{pipeline}/jobs", "pipelines.edit", status=201)
def start(home: Home, pipeline: Name, only: Only = (), kind: Literal["run", "load"] = "run") -> Job:
    """Let a worker run or load a pipeline as soon as one is free. Where it waits or goes on already, that job is the
    answer."""
    return jobs.start(home, pipeline, only=only, kind=kind)


@operation("POST", "/jobs/{job}/cancel", "pipelines.edit")
def cancel(home: Home, job: Number) -> Job:
    """End a job: at once where it waits, at its next commit where it goes on. What was committed stays."""
    return jobs.cancel(home, job)


@operation("POST", "/jobs/{job}/retry", "pipelines.edit")
def retry(home: Home, job: Number) -> Job:
    """Try again what a job failed at, was cancelled in, or left, from the last commit on."""
    return jobs.retry(home, job)


@operation("POST", "/jobs/{job}/objects/{object}/restart", "pipelines.edit")
def restart_object(home: Home, job: Number, object: Name) -> Job:
    """Read one object of a job again, from its beginning."""
    return jobs.restart_object(home, job, object)


OPERATIONS = (list_, find, start, cancel, retry, restart_object)
