"""The errands of a sync: what takes as long as the rows are many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from millrace.control.books.records import RunRecord
from millrace.control.desk import Watch, errand
from millrace.control.home import Home
from millrace.control.operations.names import Name
from millrace.control.running import runs

Only = Annotated[Sequence[Name], Field(max_length=1000, description="Only these objects; left out: all.")]
Since = Annotated[date, Field(description="From this day on.")]
Mode = Literal["evolve-and-merge", "drop-and-load"]


@errand("/pipelines/{pipeline}/run", "pipelines.edit", noun="pipelines")
def run(
    home: Home, watch: Watch, pipeline: Name, full: bool = False, since: Since | None = None, only: Only = ()
) -> RunRecord:
    """Read what is new, stage it, and load it.

    `full` reads everything anew and then swaps the tables; `since` reads chosen days once more.
    """
    return runs.run(home, pipeline, full=full, since=since, only=only, meter=watch.meter, stopping=watch.stopping)


@errand("/pipelines/{pipeline}/load", "pipelines.edit", noun="pipelines")
def load(home: Home, watch: Watch, pipeline: Name) -> RunRecord:
    """Load what is staged and waits, without reading from the source."""
    return runs.load(home, pipeline, meter=watch.meter, stopping=watch.stopping)


@errand("/pipelines/{pipeline}/resync", "pipelines.edit", noun="pipelines")
def resync(home: Home, watch: Watch, pipeline: Name, only: Only = (), mode: Mode = "evolve-and-merge") -> RunRecord:
    """Read the whole history again. Loaded rows stay until newer ones take their place."""
    return runs.resync(home, pipeline, only=only, mode=mode, meter=watch.meter, stopping=watch.stopping)


@errand("/pipelines/{pipeline}/replay", "pipelines.edit", noun="pipelines")
def replay(
    home: Home, watch: Watch, pipeline: Name, since: Since | None = None, only: Only = (), into_fresh: bool = False
) -> RunRecord:
    """Apply today's transformation and mapping to rows that were read before. The source is not asked."""
    # Imported here: `millrace run` starts sooner without.
    from millrace.control.failed import raw

    return raw.replay(
        home,
        pipeline,
        since=since,
        only=only,
        into_fresh=into_fresh,
        meter=watch.meter,
        stopping=watch.stopping,
    )


OPERATIONS = (run, load, resync, replay)
