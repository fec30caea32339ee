"""All routes at the door, under the prefix of the API of Millrace itself."""

from __future__ import annotations

from millrace.rest.door import links, own, signing_in
from millrace.rest.later import Later
from millrace.rest.millrace.router import PREFIX


def routes() -> list[Later]:
    """All routes."""
    parts = (signing_in.router, links.router, own.enrolling, own.router)
    return [route for part in parts for route in part.under(PREFIX)]
