"""All of the public API under its prefix."""

from __future__ import annotations

from millrace.rest.later import Later
from millrace.rest.public import destinations, mappings, objects, pipelines, transformations, unbuilt, users
from millrace.rest.shown import REFUSALS, Answers, refusal

PROBLEMS: Answers = {
    400: refusal("A parameter is missing or wrong."),
    401: refusal("Key or secret is not valid."),
    403: refusal("The user may not do this."),
    404: refusal("There is no such thing."),
    409: refusal("It contradicts what there is now."),
    413: refusal("The body is too large."),
    429: refusal("Too many requests in this minute."),
    503: refusal("Not now; try again later."),
}

PARTS = (transformations, mappings, objects, pipelines, destinations, users, unbuilt)


def routes() -> list[Later]:
    """All routes."""
    return [route for part in PARTS for route in part.router.under("/api/public/v2.0", REFUSALS | PROBLEMS)]
