"""What travels through a pipeline: batches, checkpoints and what stands between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from millrace.data.dataclass import dataclass

JSON: TypeAlias = Any

Lane: TypeAlias = Literal["incremental", "historical", "again"]
LoadMode: TypeAlias = Literal["merge", "append", "history"]

# Where rows join the way from source to table. "start": they come from the source. The others were refused before and
# are on their way again: through the steps, through the steps without the events that code made of them (those went on
# the first time), behind the steps, or in the shape of their table.
Entry: TypeAlias = Literal["start", "steps", "steps_alone", "mapping", "shaped"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one stream. Never changed; a step makes new ones."""

    stream: str
    rows: pa.RecordBatch
    entry: Entry = "start"


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows that a source could not bring into shape, in the schema `columns.REJECTS`.

    ``staying``: they are rejects already, and a replay that is not about them leaves them as they are. Nobody read
    them, and they did not fail again.
    """

    rows: pa.RecordBatch
    staying: bool = False


# Reasons of rows that were read before: in an earlier run, or, where a log is read, with the history of their table.
REPEATED, IN_HISTORY = "repeated", "in_history"
READ_BEFORE = frozenset({REPEATED, IN_HISTORY})


@dataclass(frozen=True, slots=True)
class Passed:
    """Rows that were read and, on purpose, go no further (I5): counted as filtered, under a reason.

    ``stream``: whose rows they are, where a log is read.
    """

    count: int
    reason: str
    stream: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A fact that a source wants to recall at a later read, kept by the ledger with the cursor (I1).

    ``part`` groups marks (say event and day). With ``replace`` the part's earlier marks are dropped first;
    ``data`` None with ``replace`` forgets the part.
    """

    part: str
    data: bytes | None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A source's word that all it yielded so far is complete up to ``cursor`` (I2).

    ``counts`` adds to the run's notes in numbers (late, future_dated, repeated …). ``progress`` is the share of the
    lane that is done, 0 to 1, where the source knows it.
    """

    cursor: JSON
    marks: tuple[Mark, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class Truncated:
    """All rows of a stream were deleted at once, or those that were ingested before ``before_ms`` (epoch milliseconds).
    It counts as one row that was read."""

    stream: str
    before_ms: int | None = None


# A file that vanished is remembered that long.
GONE_FOR = timedelta(days=90)

# Where a file is. "queued": it is to be read; "gone": it was there, and is not any more.
FileStatus: TypeAlias = Literal["queued", "ingesting", "ingested", "failed", "skipped", "gone"]


@dataclass(frozen=True, slots=True)
class FileNote:
    """What is to be said of a file that a source reads, kept by the ledger with the next checkpoint (I1).

    ``version``: what is the same as long as the file is the same. ``at_ms``: when it became so. ``rows`` and
    ``rejected`` count those of this version that came so far; ``error``: why it failed.
    """

    stream: str
    path: str
    size_bytes: int
    modified_ms: int
    version: str
    status: FileStatus
    at_ms: int
    rows: int = 0
    rejected: int = 0
    error: str | None = None


Rows: TypeAlias = list[dict[str, JSON]]
Item: TypeAlias = pa.RecordBatch | Rows | Batch | Refused | Passed | Truncated | FileNote | Checkpoint

TRUNCATION = "truncation-"
"""How the name of a staged file begins that stands for a `Truncated`. It has one row: when that was ingested,
and before when the rows were that are deleted, null for all."""

PARTIAL = "partial-"
"""How the name of a staged file begins whose rows may have `columns.UNCHANGED`."""


GIVEN_UP = "given_up"
"""The folder, within that of a table, of files without a row in the place of those that were damaged."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A staged file: rows of one table in one schema, durable, never changed, numbered from 1 within its table.

    ``path`` is relative to the stage's root; ``checksum``: of the file's bytes (`engine.checksums`). Rejects are in
    files too; theirs carry no number. ``mapping_version``: the version of the mapping that gave the rows their shape.
    """

    stream: str
    table: str
    path: str
    rows: int
    size_bytes: int
    checksum: str
    number: int = 0
    generation: int = 1
    mapping_version: int | None = None

    @property
    def file(self) -> str:
        """The name of its file, which no other segment has, in whichever folder: a random number is in it."""
        return self.path.rpartition("/")[2]

    @property
    def given_up(self) -> bool:
        """Its own file was damaged; this one came into its place."""
        return self.path.split("/")[-2:-1] == [GIVEN_UP]

    @property
    def truncates(self) -> bool:
        """It stands for a `Truncated`: what the table holds is deleted, and no row comes in."""
        return self.file.startswith(TRUNCATION)

    @property
    def partial(self) -> bool:
        """Its rows may leave out what did not change (`columns.UNCHANGED`)."""
        return self.file.startswith(PARTIAL)
