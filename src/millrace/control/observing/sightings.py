"""What is known of one row: where it was seen, and what can no longer be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from millrace.data.dataclass import dataclass

# Where a row failed, in words, by the stage that its reject names.
PLACES = {
    "source": "at the source",
    "steps": "in the transformation",
    "mapping": "at the mapping",
    "load": "at the destination",
}


@dataclass(frozen=True, slots=True)
class Read:
    """The row as the source gave it: row ``number`` (from 0) of a file of a pipeline that keeps them."""

    stream: str
    run: int
    at: datetime
    path: str
    number: int
    row: str


@dataclass(frozen=True, slots=True)
class Staged:
    """The row in a segment: ``number`` counts the segment's rows from 0, ``segment`` the segments of its table.

    ``loaded_at`` None: it waits. ``transformation`` None: it went through none. ``superseded``: the segment is of an
    earlier generation of the table, which a full reload replaced.
    """

    stream: str
    table: str
    generation: int
    segment: int
    run: int
    at: datetime
    path: str
    number: int
    mapping: int | None
    transformation: int | None
    loaded_at: datetime | None
    superseded: bool
    row: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The row among the rejects, with the reason."""

    stream: str
    stage: str
    code: str
    message: str
    state: str
    run: int
    at: datetime
    file: int
    path: str
    number: int
    mapping: int | None
    transformation: int | None
    closed_at: datetime | None
    row: str


@dataclass(frozen=True, slots=True)
class Held:
    """The row at the destination now."""

    table: str
    row: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Rejects that are no longer open, and whose rows are gone: which rows they were is not known any more.

    ``state``: replayed, mended, discarded or purged, at ``closed_at``.
    """

    stream: str
    stage: str
    code: str
    state: str
    rows: int
    run: int
    at: datetime
    closed_at: datetime | None
    mapping: int | None
    transformation: int | None


@dataclass(frozen=True, slots=True)
class Gone:
    """Files that are no longer on the stage, of which only the books know: what they held, and until when.

    ``closed``: of rejects, the latest groups.
    """

    what: str
    files: int
    rows: int
    last_at: datetime
    closed: tuple[Closed, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is known of one row. ``unasked``: tables and files that could not be asked, and why."""

    pipeline: str
    sought: str
    verdict: str
    read: tuple[Read, ...] = ()
    staged: tuple[Staged, ...] = ()
    failed: tuple[Failed, ...] = ()
    held: tuple[Held, ...] = ()
    gone: tuple[Gone, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def found(self) -> bool:
        """The row was seen somewhere."""
        return bool(self.read or self.staged or self.failed or self.held)
