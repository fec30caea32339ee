"""Usage: how many rows were loaded, and how many may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace.control.alerting import unusual
from millrace.control.alerting.unusual import Unusual
from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.metering import budgets, ingestion_limit, usage, usage_limits
from millrace.control.metering.ingestion_limit import IngestionLimit
from millrace.control.metering.usage import By, Usage
from millrace.control.metering.usage_limits import Limit, Period, Usual
from millrace.control.operations.connections import Name
from millrace.control.operations.names import Moment

Cursor = Annotated[str, Field(max_length=20, description="Go on where a page ended.")]
Most = Annotated[int, Field(ge=1, le=1000, description="How many at most.")]
Rows = Annotated[int, Field(ge=1, le=usage_limits.MOST_ROWS, description="How many rows.")]
Pause = Annotated[bool, Field(description="Beyond it nothing is read: pipelines are paused.")]
Sideline = Annotated[bool, Field(description="Beyond it rows are read, and wait on the stage for the next period.")]
Grace = Annotated[
    int, Field(ge=0, le=budgets.MOST_GRACE_H, description="Hours that it goes on after the one in which it was passed.")
]
Minutes = Annotated[
    int, Field(ge=1, le=ingestion_limit.LONGEST_MINUTES, description="How long a window is, in minutes.")
]


@operation("GET", "/usage", "usage.view")
def report(
    home: Home,
    by: By = "pipeline",
    since: Annotated[Moment, Field(description="From this hour on; else from the start of the month.")] | None = None,
    until: Annotated[Moment, Field(description="Before this moment; else now.")] | None = None,
    pipeline: Annotated[str, Field(max_length=255, description="Only this pipeline.")] | None = None,
    after: Cursor | None = None,
    limit: Most = 100,
) -> Usage:
    """Count loaded rows, those of history and those that the reference would bill: by pipeline, object, table, kind,
    day or hour."""
    return usage.report(home, by=by, since=since, until=until, pipeline=pipeline, after=after, limit=limit)


@operation("GET", "/usage/limits", "usage.view")
def limits(home: Home, after: Cursor | None = None, limit: Most = 100) -> Page[Limit]:
    """List the limits of pipelines and of the team, with how far each is used up."""
    return usage_limits.page(home, after=after, limit=limit)


@operation("PUT", "/usage/limit", "settings.edit")
def limit_team(
    home: Home, rows: Rows, pause: Pause = False, sideline: Sideline = False, grace_hours: Grace = 0
) -> Limit:
    """Tell people when the team loads more billable rows than that in a month; pause all, or hold back loads."""
    return usage_limits.limit_team(home, rows, pause=pause, sideline=sideline, grace_hours=grace_hours)


@operation("DELETE", "/usage/limit", "settings.edit")
def lift_team(home: Home) -> None:
    """Set the team no limit any more."""
    usage_limits.lift_team(home)


@operation("PUT", "/pipelines/{pipeline}/limit", "pipelines.edit")
def limit_pipeline(
    home: Home,
    pipeline: Name,
    rows: Rows,
    pause: Pause = False,
    sideline: Sideline = False,
    grace_hours: Grace = 0,
    period: Annotated[Period, Field(description="In a month billable rows count alone.")] = "day",
) -> Limit:
    """Tell people when a pipeline moves more rows than that in a day or a month; pause it, or hold back its loads."""
    return usage_limits.limit_pipeline(
        home, pipeline, rows, pause=pause, sideline=sideline, grace_hours=grace_hours, period=period
    )


@operation("DELETE", "/pipelines/{pipeline}/limit", "pipelines.edit")
def lift_pipeline(
    home: Home, pipeline: Name, period: Annotated[Period, Field(description="Only that limit.")] | None = None
) -> None:
    """Set a pipeline no limit any more, neither for a day nor for a month."""
    usage_limits.lift_pipeline(home, pipeline, (period,) if period else ())


@operation("GET", "/pipelines/{pipeline}/usual")
def usual(home: Home, pipeline: Name) -> Usual:
    """Show what a pipeline moved in the last 7, 14 and 30 days, and what would be a good limit."""
    return usage_limits.usual(home, pipeline)


@operation("GET", "/usage/ingestion-limit", "usage.view")
def ingestion(home: Home) -> IngestionLimit:
    """Show how many rows the team may read in a window, and how far the present one is used up."""
    return ingestion_limit.of(home)


@operation("PUT", "/usage/ingestion-limit", "settings.edit")
def limit_ingestion(home: Home, rows: Rows, minutes: Minutes = 30) -> IngestionLimit:
    """Let the team read so many rows in each window; beyond that, reading stalls until the window ends."""
    return ingestion_limit.allow(home, rows, minutes=minutes)


@operation("DELETE", "/usage/ingestion-limit", "settings.edit")
def lift_ingestion(home: Home) -> None:
    """Let the team read as many rows as it likes."""
    ingestion_limit.lift(home)


@operation("GET", "/pipelines/{pipeline}/unusual")
def watched(home: Home, pipeline: Name) -> Unusual:
    """Show what is unusual for a pipeline, so that people are told."""
    return unusual.of(home, pipeline)


@operation("PUT", "/pipelines/{pipeline}/unusual", "pipelines.edit")
def watch(
    home: Home,
    pipeline: Name,
    times: Annotated[
        float, Field(gt=1, le=unusual.MOST_TIMES, description="So many times the rows that are usual for the weekday.")
    ]
    | None = None,
    intervals: Annotated[
        int, Field(ge=1, le=unusual.MOST_INTERVALS, description="Intervals of its schedule without a row loaded.")
    ]
    | None = None,
    pause: Annotated[bool, Field(description="An unusual day pauses the pipeline, too.")] = False,
) -> Unusual:
    """Tell people of days with many more rows than usual, and of loads that stop. Nothing given: of neither."""
    return unusual.watch(home, pipeline, Unusual(times, intervals, pause))


OPERATIONS = (
    watched,
    watch,
    report,
    limits,
    limit_team,
    lift_team,
    limit_pipeline,
    lift_pipeline,
    usual,
    ingestion,
    limit_ingestion,
    lift_ingestion,
)
