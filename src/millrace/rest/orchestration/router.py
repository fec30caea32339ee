"""All of the orchestration API under its prefix."""

from __future__ import annotations

from fastapi import APIRouter

from millrace.rest.orchestration import jobs, objects, pipelines
from millrace.rest.public.router import PROBLEMS

router = APIRouter(prefix="/api/v1", responses=PROBLEMS)
for _part in (jobs, objects, pipelines):
    router.include_router(_part.router)
