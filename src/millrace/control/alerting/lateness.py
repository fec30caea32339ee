"""How late a pipeline may be: the option `latency_alert` of a pipeline (pipelines.md 16.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.database.tables import pipelines as table
from millrace.control.pipeline import pipelines
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.control.home import Home
    from millrace.data.batch import JSON

OPTION = "latency_alert"

# A month: what is later than that is not late but gone.
MOST_MINUTES = 31 * 24 * 60


def allow(home: Home, pipeline: str, minutes: int | None) -> int | None:
    """People are told when the last good run of the pipeline is longer ago than that; with None, nobody is."""
    home.actor.must("pipelines.edit")
    if minutes is not None and not 1 <= minutes <= MOST_MINUTES:
        raise ConfigError(f"a pipeline may be 1 to {MOST_MINUTES:,} minutes late, not {minutes:,}", path="minutes")
    said: JSON = None if minutes is None else {"enabled": True, "threshold_minutes": minutes}
    pipelines.change(home, pipeline, lambda now: now.wish.saying(OPTION, said))
    return minutes


def of(home: Home, pipeline: str) -> int | None:
    """How many minutes ago the last good run of the pipeline may be; None: nobody is told."""
    home.actor.must("view")
    return minutes_of(pipelines.find(home, pipeline).options)


def minutes_of(options: Mapping[str, JSON]) -> int | None:
    """How late a pipeline with these options may be."""
    said = options.get(OPTION)
    if not isinstance(said, dict) or not said.get("enabled"):
        return None
    minutes = said.get("threshold_minutes")
    return minutes if isinstance(minutes, int) else None


def bound(connection: sa.Connection) -> Sequence[sa.Row[tuple[object, ...]]]:
    """Active pipelines that may not be as late as they like."""
    text = sa.type_coerce(table.c.options, sa.Text)
    query = sa.select(table).where(table.c.state == "ACTIVE", text.like(f"%{OPTION}%"))
    return [row for row in connection.execute(query).all() if minutes_of(row.options) is not None]
