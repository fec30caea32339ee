"""What Millrace has on record of its own jobs, for the source that reads it like any system."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class ObjectDone:
    """What a job did with one object. Positions by lane."""

    name: str
    status: str
    tables: Sequence[str]
    started_at: datetime | None
    ingested_at: datetime | None
    loaded_at: datetime | None
    before: Mapping[str, JSON]
    after: Mapping[str, JSON]
    read: int
    loaded: int
    rejected: int
    error: str | None


@dataclass(frozen=True, slots=True)
class JobDone:
    """A job that has ended. ``waiting``: rows of it on the stage; its counts stay once there are none."""

    number: int
    job_id: str | None
    pipeline: str
    pipeline_number: int
    source: str
    destination: str
    team: str
    team_id: str
    kind: str
    status: str
    trigger: str | None
    requested_at: datetime | None
    started_at: datetime
    ingested_at: datetime | None
    ended_at: datetime
    read: int
    created: int
    filtered: int
    loaded: int
    rejected: int
    waiting: int
    error: str | None
    objects: Sequence[ObjectDone]


class Audit(Protocol):
    """The jobs of one team, but for those of pipelines that read this themselves."""

    def ended(self, after: datetime | None, without: Collection[int], most: int) -> Sequence[JobDone]:
        """Jobs that ended after that moment, the first to end first, but for these numbers; so many at most."""
        ...

    def again(self, numbers: Collection[int]) -> Sequence[JobDone]:
        """Those of the jobs that are still on record, as they are now."""
        ...
