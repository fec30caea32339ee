"""All of the orchestration API under its prefix."""

from __future__ import annotations

from millrace.rest.later import Later
from millrace.rest.orchestration import jobs, objects, pipelines
from millrace.rest.public.router import PROBLEMS
from millrace.rest.shown import REFUSALS

PARTS = (jobs, objects, pipelines)


def routes() -> list[Later]:
    """All routes."""
    return [route for part in PARTS for route in part.router.under("/api/v1", REFUSALS | PROBLEMS)]
