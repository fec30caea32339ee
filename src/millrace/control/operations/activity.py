"""Who did what, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from millrace.control import activity
from millrace.control.activity import Entry, Severity
from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.names import Moment, Name
from millrace.control.pipeline import pipelines
from millrace.errors import ConfigError

Format: TypeAlias = Literal["csv", "jsonl"]
Least = Annotated[Severity, Field(description="This severity and above.")]
After = Annotated[str, Field(max_length=1000, description="Where the page before ended.")]
Limit = Annotated[int, Field(ge=1, le=1000, description="So many at most.")]


@operation("GET", "/activity")
def list_(
    home: Home,
    severity: Least = "MEDIUM",
    author: Annotated[str, Field(max_length=320, description="Only what this one did.")] | None = None,
    entity: Annotated[str, Field(max_length=100, description="Only what was done to a pipeline, user, key …")]
    | None = None,
    pipeline: Annotated[Name, Field(description="Only what was done to this pipeline and what is of it.")]
    | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    after: After | None = None,
    limit: Limit = 50,
    event_type: Annotated[
        str, Field(max_length=1000, description="With `pipeline`: only what was done to the mapping of this one.")
    ]
    | None = None,
) -> Page[Entry]:
    """Show who did what, newest first."""
    about = None if pipeline is None else pipelines.find(home, pipeline).entity
    names = None
    if event_type is not None:
        if about is None:
            raise ConfigError("an event type needs its pipeline", hint="Name both.", path="pipeline", code="usage")
        entity, names = "mapping", [f"{name}/{event_type}" for name in activity.names_of(home, about)]
    return activity.listed(
        home,
        severity=severity,
        author=author,
        entity=entity,
        entity_id=about and about.id,
        entity_names=names,
        since=since,
        until=until,
        after=after,
        limit=limit,
    )


@operation("GET", "/activity/export")
def export(
    home: Home, format: Format = "jsonl", severity: Least = "LOW", since: Moment | None = None
) -> Iterator[bytes]:
    """Write the whole log of the team, newest first, as lines of JSON or CSV."""
    return (line.encode() for line in activity.exported(home, format, severity=severity, since=since))


OPERATIONS = (list_, export)
