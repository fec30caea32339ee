"""Limits of rows, and what watches pipelines, in the shape of the file of pipelines.

What the file does not say stays as it is; what it says with nothing in it is taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.alerting import lateness, unusual
from millrace.control.alerting.unusual import Unusual
from millrace.control.database.telling_tables import usage_limits as table
from millrace.control.metering import ingestion_limit, usage_limits
from millrace.data.batch import JSON

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline

TEAM = ""
"""Stands for the team where limits are listed by pipelines."""


def limits(home: Home) -> dict[str, dict[str, JSON]]:
    """The limits that were set, by the id of the pipeline and the period."""
    home.actor.must("view")
    found: dict[str, dict[str, JSON]] = {}
    with home.database.reading() as connection:
        for row in connection.execute(sa.select(table).where(table.c.team_id == home.actor.team_id)):
            beyond = "pause" if row.pause else "sideline" if row.sideline else None
            limit = {"rows": row.rows, "beyond": beyond, "grace_hours": row.grace_hours or None}
            found.setdefault(row.pipeline_id or TEAM, {})[row.period] = _said(limit)
    return found


def team(home: Home) -> dict[str, JSON]:
    """What the file says of the team's usage; nothing for whoever may not see it."""
    if not home.actor.may("usage.view"):
        return {}
    found = limits(home).get(TEAM, {})
    window = ingestion_limit.of(home)
    return found | ({"window": {"rows": window.rows, "minutes": window.minutes}} if window.rows is not None else {})


def limit_team(home: Home, wanted: Mapping[str, JSON]) -> None:
    """The team has these limits and no others."""
    before = team(home)
    month, window = wanted.get("month"), wanted.get("window")
    if month is None:
        usage_limits.lift_team(home)
    elif month != before.get("month"):
        usage_limits.limit_team(home, **_arguments(month))
    if window is None:
        ingestion_limit.lift(home)
    elif window != before.get("window"):
        ingestion_limit.allow(home, window["rows"], minutes=window["minutes"])


def limit_pipeline(home: Home, pipeline: Pipeline, wanted: Mapping[str, JSON]) -> None:
    """The pipeline has these limits and no others."""
    before = limits(home).get(pipeline.id, {})
    for period in ("day", "month"):
        limit = wanted.get(period)
        if limit is None:
            usage_limits.lift_pipeline(home, pipeline.name, [period])
        elif limit != before.get(period):
            usage_limits.limit_pipeline(home, pipeline.name, period=period, **_arguments(limit))


def watched(options: Mapping[str, JSON]) -> dict[str, JSON]:
    """What watches a pipeline with these options."""
    spikes = unusual.wanted_of(options)
    return _said(
        {
            "late_minutes": lateness.minutes_of(options),
            "unusual_times": spikes.times,
            "silent_intervals": spikes.intervals,
            "pause": spikes.pause or None,
        }
    )


def watch(home: Home, pipeline: Pipeline, wanted: Mapping[str, JSON]) -> None:
    """People are told of this of the pipeline, and of nothing else."""
    spikes = Unusual(wanted.get("unusual_times"), wanted.get("silent_intervals"), bool(wanted.get("pause")))
    if spikes != unusual.wanted_of(pipeline.options):
        unusual.watch(home, pipeline.name, spikes)
    if wanted.get("late_minutes") != lateness.minutes_of(pipeline.options):
        lateness.allow(home, pipeline.name, wanted.get("late_minutes"))


def _said(limit: Mapping[str, JSON]) -> dict[str, JSON]:
    return {key: value for key, value in limit.items() if value is not None}


def _arguments(limit: Mapping[str, JSON]) -> dict[str, Any]:
    beyond = limit.get("beyond")
    return {
        "rows": limit["rows"],
        "pause": beyond == "pause",
        "sideline": beyond == "sideline",
        "grace_hours": limit.get("grace_hours", 0),
    }
