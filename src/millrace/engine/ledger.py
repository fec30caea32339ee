"""What the engine asks of whoever keeps its books: two small protocols, which `control` implements."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from collections.abc import Set as AnySet
from dataclasses import field
from typing import Protocol

from millrace.connect.destination import Loaded
from millrace.connect.source import Memory
from millrace.data.batch import JSON, FileNote, Lane, Mark, Segment
from millrace.data.dataclass import dataclass
from millrace.engine.mapping import Mapping


@dataclass(frozen=True, slots=True)
class RejectFile:
    """A staged file of rejected rows in the schema `columns.REJECTS`, and its counts by (stream, stage, code)."""

    path: str
    checksum: str
    size_bytes: int
    counts: Dict[tuple[str, str, str], int]
    samples: Dict[tuple[str, str, str], str]
    """One message for each group."""

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class RawFile:
    """A staged file of rows as they were read, before any step."""

    stream: str
    lane: Lane
    path: str
    rows: int
    size_bytes: int
    checksum: str
    ingested_at_ms: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A row as the source gave it: JSON text, and the logical type of each of its fields."""

    stream: str
    row: str
    types: Dict[str, str]


@dataclass(frozen=True, slots=True)
class Commit:
    """All that one checkpoint covers. It is kept whole, in one transaction, or not at all (I1).

    ``segments`` come without numbers; the ledger numbers them within their table and generation. ``read`` counts all
    rows that came from the source, ``created`` those that steps and the splitting of nested values made beside them:
    read + created = staged + passed + rejected (I5). ``cursor`` is not kept in the lane "again".
    """

    stream: str
    lane: Lane
    cursor: JSON
    read: int
    segments: Sequence[Segment] = ()
    rejects: Sequence[RejectFile] = ()
    staying: Sequence[RejectFile] = ()
    """Rows of the replayed groups that are none of ``read``: they stay rejects, as they were."""
    marks: Sequence[Mark] = ()
    passed: Dict[str, int] = field(default_factory=dict[str, int])
    counts: Dict[str, int] = field(default_factory=dict[str, int])
    mappings: Sequence[Mapping] = ()
    """Mappings that changed since the last commit."""
    created: Dict[str, int] = field(default_factory=dict[str, int])
    """By event type; below 0 where rows of it became rows of another."""
    others: Dict[str, int] = field(default_factory=dict[str, int])
    """Rows that were read of other streams than ``stream``, which is then a log."""
    left: Dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Of these, rows that were filtered, by stream and reason."""
    raw: Sequence[RawFile] = ()
    samples: Sequence[Sample] = ()
    files: Sequence[FileNote] = ()
    transformation: int | None = None
    """Version of the transformation that the rows went through; None: they went through none."""
    progress: float | None = None
    complete: bool = False
    """All that a full reload of the stream needs has been read: its lane came to the end."""
    ingested_at_ms: int = 0
    """The latest time of ingestion in the segments; the next ones are never older."""


class Ledger(Protocol):
    """The books of one pipeline's ingestion."""

    def cursor(self, stream: str, lane: Lane) -> JSON: ...

    def memory(self, stream: str) -> Memory: ...

    def mappings(self) -> Sequence[Mapping]:
        """The latest version of every mapping of the pipeline."""
        ...

    def latest_ingested_at_ms(self) -> int: ...

    def sampled(self, stream: str) -> int:
        """How many samples of the stream are kept."""
        ...

    def commit(self, commit: Commit) -> None:
        """Raises Stale when another worker holds the lease (I4)."""
        ...


@dataclass(frozen=True, slots=True)
class Shelved:
    """A table of the pipeline that segments wait for, or have been loaded into.

    ``generation`` counts full reloads; with ``fresh`` the rows go to `<table>__fresh` until the swap.
    """

    mapping: Mapping
    generation: int
    fresh: bool
    loaded: int
    """Number of the last segment that the ledger knows to be loaded; 0 for none."""
    last: int
    """Number of the last segment staged; 0 for none."""
    complete: bool
    """All that a full reload needs has been read since the generation began (`Commit.complete`)."""
    awaits: Sequence[str] = ()
    """The source's streams that are still to be read for that, where it has begun with their reading anew."""


class Shelf(Protocol):
    """The staged segments of one pipeline, and what is known of their loading."""

    feed: str
    """Name of the pipeline's rows at destinations, without the generation."""

    def tables(self) -> Sequence[Shelved]: ...

    def appended(self) -> AnySet[str]:
        """The source's streams of which rows are in a table that is appended to."""
        ...

    def segments(self, table: str, generation: int, after: int) -> Sequence[Segment]:
        """Segments with numbers above ``after`` that are still on the stage, in order."""
        ...

    def segment(self, table: str, generation: int, number: int) -> Segment | None:
        """The segment of that number, whether it is still on the stage or not; None where there never was one."""
        ...

    def park(self, table: str, generation: int, upto: int, rejects: Sequence[RejectFile]) -> None:
        """Rows of the load that ends at ``upto`` which the destination refused, kept before that load is made.

        Parking again for the same ``upto`` replaces what was parked; it counts once `loaded` is called.
        """
        ...

    def loaded(self, table: str, generation: int, upto: int, counts: Loaded | None) -> None:
        """The destination holds ``upto``; ``counts`` is None when only the note had been lost."""
        ...

    def swapped(self, table: str, generation: int) -> None:
        """The fresh table has taken its place."""
        ...

    def restart(self, *streams: str, lanes: Sequence[Lane], marks: bool, fresh: bool | None) -> Dict[str, int]:
        """Lanes of the streams, with ``marks`` their memory too, begin anew with their tables, in one transaction.

        ``fresh`` None leaves the tables as they are; True gives each a new generation beside the old table, and rejects
        of before do not come back (`fresh.discarded` says so). Answers how many rows these were, by event type.
        """
        ...

    def rewind(self, table: str, generation: int, to: int) -> None:
        """The destination holds less than was noted (restored or dropped); segments above ``to`` wait again."""
        ...
