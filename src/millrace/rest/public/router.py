"""All of the public API under its prefix."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from millrace.rest.problems import ProblemBody
from millrace.rest.public import destinations, mappings, objects, pipelines, transformations, unbuilt, users

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemBody, "description": "A parameter is missing or wrong."},
    401: {"model": ProblemBody, "description": "Key or secret is not valid."},
    403: {"model": ProblemBody, "description": "The user may not do this."},
    404: {"model": ProblemBody, "description": "There is no such thing."},
    409: {"model": ProblemBody, "description": "It contradicts what there is now."},
    413: {"model": ProblemBody, "description": "The body is too large."},
    429: {"model": ProblemBody, "description": "Too many requests in this minute."},
    503: {"model": ProblemBody, "description": "Not now; try again later."},
}

router = APIRouter(prefix="/api/public/v2.0", responses=PROBLEMS)
for _part in (transformations, mappings, objects, pipelines, destinations, users, unbuilt):
    router.include_router(_part.router)
