"""What changes while somebody looks: one run, or all pipelines of a team, read from the database alone.

So it does not matter which process of which machine a run is in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.books.records import RunKind, RunStatus
from millrace.control.database.tables import pipelines, runs
from millrace.control.pipeline.pipelines import State
from millrace.control.scheduling.priority import Priority
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

# A run is noted as ended some time before others can see that; ends are looked for that far back.
OVERLAP = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class RunNow:
    """How a run stands. ``meter``: what it has done, as its worker said last at ``beat_at``."""

    id: int
    job_id: str | None
    kind: RunKind
    status: RunStatus
    stage: str | None
    trigger: str | None
    requested_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
    beat_at: datetime | None
    meter: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class PipelineNow:
    """How a pipeline stands. ``run``: the one that changed, if one did; ``gone``: the pipeline is no more."""

    number: int
    name: str
    state: State
    priority: Priority
    run: RunNow | None = None
    gone: bool = False


def run(home: Home, number: int) -> RunNow:
    """One run of the team. Raises ConfigError "unknown_run"."""
    home.actor.must("view")
    query = _runs().where(runs.c.id == number, pipelines.c.team_id == home.actor.team_id)
    with home.database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise ConfigError(f"there is no job {number}", hint="See `millrace runs`.", code="unknown_run")
    return _run(row)


class Changes:
    """The pipelines of a team, as they were at the last look.

    A look at pipelines that stand still costs two short questions, however many there are.
    """

    def __init__(self, home: Home) -> None:
        home.actor.must("view")
        self._home = home
        self._mark: Any = None
        self._pipelines: dict[str, PipelineNow] = {}
        self._runs: dict[int, RunNow] = {}
        self._since = home.database.now()
        self.look()

    def look(self) -> list[PipelineNow]:
        """What changed since the last look, pipelines before runs."""
        now = self._home.database.now()
        team = pipelines.c.team_id == self._home.actor.team_id
        with self._home.database.reading() as connection:
            mark = connection.execute(sa.select(sa.func.count(), sa.func.max(pipelines.c.changed_at)).where(team)).one()
            there = self._pipelines
            if mark != self._mark:
                c = pipelines.c
                rows = connection.execute(sa.select(c.id, c.number, c.name, c.state, c.priority).where(team))
                there = {row.id: PipelineNow(*row[1:]) for row in rows}
            recent = sa.or_(runs.c.ended_at.is_(None), runs.c.ended_at > self._since - OVERLAP)
            found = {row.id: (row.pipeline_id, _run(row)) for row in connection.execute(_runs().where(team, recent))}
        changed = list(self._different(there)) + [
            PipelineNow(one.number, one.name, one.state, one.priority, run)
            for id_, (pipeline_id, run) in sorted(found.items())
            if run != self._runs.get(id_) and (one := there.get(pipeline_id)) is not None
        ]
        self._mark, self._pipelines, self._since = mark, there, now
        self._runs = {id_: run for id_, (_, run) in found.items()}
        return changed

    def _different(self, there: Mapping[str, PipelineNow]) -> Iterator[PipelineNow]:
        if there is self._pipelines:
            return
        yield from (one for id_, one in there.items() if one != self._pipelines.get(id_))
        for id_, one in self._pipelines.items():
            if id_ not in there:
                yield PipelineNow(one.number, one.name, one.state, one.priority, gone=True)


def _runs() -> sa.Select[*tuple[Any, ...]]:
    r = runs.c
    columns = (
        r.id, r.job_id, r.kind, r.status, r.stage, r.trigger, r.requested_at, r.started_at, r.ended_at, r.beat_at,
        r.meter, r.pipeline_id,
    )  # fmt: skip
    return sa.select(*columns).join(pipelines, pipelines.c.id == r.pipeline_id)


def _run(row: Any) -> RunNow:
    return RunNow(*row[:11])
