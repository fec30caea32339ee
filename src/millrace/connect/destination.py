"""What a destination is: it makes a table fit and takes segments into it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeAlias, TypeVar

import pyarrow as pa

from millrace.connect.config import DestinationConfig
from millrace.connect.sizing import TextLimits
from millrace.connect.source import Context, Verdict
from millrace.data import columns
from millrace.data.batch import LoadMode
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.connect.local_days import LocalDays

D = TypeVar("D", bound=DestinationConfig)

ENOUGH_ROWS = 122_880

# What becomes of nested JSON (loading.md 12.1).
Strategy: TypeAlias = Literal["SPLIT", "COLLAPSE", "NATIVE", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS", "FLAT"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What names and tables may be at a destination (destinations.md 4). ``text`` None: text columns have no bound.

    ``nesting``: what can become of nested JSON there, the default first. ``nan``: floats may be NaN or infinite.
    """

    table_name: int = 255
    column_name: int = 255
    columns: int = 4096
    count_bytes: bool = False
    case: Literal["lower", "upper", "keep"] = "lower"
    max_decimal: int = 38
    json: bool = True
    modes: tuple[LoadMode, ...] = ("merge", "append", "history")
    text: TextLimits | None = None
    nan: bool = True
    nesting: tuple[Strategy, ...] = ("NATIVE", "SPLIT", "COLLAPSE", "FLAT")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name there and its logical type (`data.types`). ``formerly``: names that it had."""

    name: str
    type: pa.DataType
    formerly: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Meta:
    """Names at the destination of the metadata columns, with the workspace's prefix; None where a table has none."""

    ingested_at: str
    sequence: str
    op_type: str
    loaded_at: str | None = None
    marked_deleted: str | None = None
    source_modified_at: str | None = None
    valid_from: str = "__hevo__valid_from"
    valid_to: str = "__hevo__valid_to"
    is_active: str = "__hevo__is_active"
    loads: str = "__hevo__loads"


@dataclass(frozen=True, slots=True)
class Nest:
    """What makes a table one of the items of arrays (loading.md 12.2): names of its columns, and the tables around it.

    ``id`` is the key, ``ref`` the key of the row above as text, ``index`` the place in the array. The rows of a load
    have ``length`` too, the length of the array; a row with the operation `columns.EMPTY` stands for one without items.
    ``parent``: the table above, where that is of items as well. ``below``: tables of arrays in these items, from the
    top down, each with the one above it.
    """

    id: str
    ref: str
    index: str
    length: str = columns.ARRAY_LENGTH
    parent: str | None = None
    below: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it shall be. ``columns`` has the business columns and `meta.ingested_at` (and others that the rows
    carry); the destination adds those that it fills itself: `loaded_at`, `marked_deleted`, and the three of history.

    ``order``: columns that say which of two versions of a key is newer, most significant first; the default is the
    time of ingestion. The order in which rows arrive breaks ties.
    """

    name: str
    columns: tuple[Column, ...]
    meta: Meta
    key: tuple[str, ...] = ()
    mode: LoadMode = "merge"
    order: tuple[str, ...] = ()
    nest: Nest | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was made to a table: what, on which column, and the statement that did it."""

    kind: Literal["create", "add", "widen", "rename", "drop"]
    table: str
    column: str | None
    statement: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that the destination cannot take, by its number in the load (from 0), with code and reason."""

    row: int
    code: str
    message: str
    column: str | None = None
    """The column whose value is at fault, where that is known."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did. rows in = inserted + updated + duplicates + stale + unchanged + deleted + refused + empty.

    ``empty``: rows that stood for arrays without items. ``marked``: rows of earlier loads, or of this one, whose array
    became shorter or whose row above was deleted, and that are marked deleted now; they are in none of the others.
    """

    rows: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    duplicates: int = 0
    stale: int = 0
    unchanged: int = 0
    refused: int = 0
    empty: int = 0
    marked: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """The last segment that a table has taken in. ``staged_file``: the name of its file on the stage, which no other
    segment ever has; None in notes from before that was kept, and where it was not known."""

    segment: int
    staged_file: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """One load: the rows of segments ``after``+1 … ``upto`` of one feed, in order.

    ``feed`` names pipeline and generation; ``at_ms`` is the load time in epoch milliseconds. ``rows`` is in the
    table's columns (types may be narrower than the table's), plus `meta.op_type` where the stream reports deletes;
    it can be read more than once (each call of ``rows()`` starts again). ``pipeline`` is the name that people gave it,
    for paths alone: it may change, and only ``feed`` tells whose rows these are. ``becomes`` is the name of the table
    whose place this one will take, for paths alone too; empty where it takes none. ``truncated_at_ms``: what the table
    held was deleted then, in epoch milliseconds; nothing comes in, and ``rows`` has one row that stands for it.
    ``truncated_before_ms``: of what the table held, only rows that were ingested before that. ``staged_file``: of the
    segment ``upto``, to be noted with its number (`Held`).
    """

    feed: str
    after: int
    upto: int
    at_ms: int
    rows: Rereadable
    refused: frozenset[int] = field(default_factory=frozenset[int])
    pipeline: str = ""
    becomes: str = ""
    truncated_at_ms: int | None = None
    truncated_before_ms: int | None = None
    staged_file: str | None = None


class Rereadable(ABC):
    """Rows that can be read again from the start."""

    @property
    @abstractmethod
    def schema(self) -> pa.Schema: ...

    @property
    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        """All rows, from the first. Of others than ``columns`` nobody asks; they may be left out."""


class Destination(ABC, Generic[D]):
    """Makes a table fit a schema, and takes segments into it.

    One load is all or nothing; where the system has transactions, the number of the last segment is kept in the same
    one (I3). `ensure` never narrows and never drops. Foreign errors are translated at the edge. Not thread-safe: one
    instance per thread. ``loads`` is the name of the table of notes; who chose another metadata prefix sets it (to
    `Meta.loads`) before the first call.
    """

    Config: ClassVar[type[DestinationConfig]]
    title: ClassVar[str]
    limits: ClassVar[Limits]
    keeps_unchanged: ClassVar[bool] = False
    """A merge keeps the table's value of columns that a row says are unchanged (`columns.UNCHANGED`)."""
    loads: str = "__hevo__loads"

    def __init__(self, config: D, context: Context | None = None) -> None:
        self.config = config
        self.context = context or Context()

    @classmethod
    def strategies(cls, config: D) -> tuple[Strategy, ...]:
        """What can become of nested JSON with these settings, the default first."""
        del config
        return cls.limits.nesting

    @abstractmethod
    def check(self) -> list[Verdict]:
        """Findings of a connection test, in order: connect, create, alter, load, read, drop a scratch table."""

    def ready(self) -> None:
        """What is cheap to find out says nothing against a load: it answers, and it may be written.

        Raises what a load would raise, `Transient` where nobody answers for the moment. By default nothing is asked.
        """

    def prepare(self) -> None:
        """Libraries that take their time to import are there. Called in the thread that loads, while the source is
        asked. By default there are none."""

    def expect(self) -> None:
        """A load may follow in a moment: what takes its time to open may be opened meanwhile. By default nothing is.

        Where no load comes for a while, it is closed again. Nothing is waited for. What goes wrong here goes wrong in
        the load as well, and is raised there.
        """

    @property
    def eager(self) -> bool:
        """Whether a row of a small load costs no more than one of a large load, as things are. Then rows are loaded as
        soon as they are staged; else they gather."""
        return False

    @property
    def enough_rows(self) -> int:
        """So many rows gather for a load while others are read: a row of a larger one costs hardly less."""
        return ENOUGH_ROWS

    def vanished(self) -> bool:
        """It is seen without opening it that nothing is there: no table, and no note of what was loaded."""
        return False

    @abstractmethod
    def schema(self, table: str) -> dict[str, pa.DataType] | None:
        """Columns of the table as it is, in logical types; None when there is none."""

    @abstractmethod
    def ensure(self, table: Table) -> list[Change]:
        """The table exists and can take every column of ``table``. Wider or text columns of the user's are left.

        Raises SchemaError when a column has a type that cannot take its values, or the key differs.
        """

    def planned(self, table: Table) -> list[Change]:
        """What `ensure` would change, with its statements; nothing is changed. Empty where there are no statements."""
        del table
        return []

    def stretch(self, table: Table, names: Sequence[str]) -> list[Change]:
        """Text columns of those names that have a bound take longer text from now on; columns of the key never do.

        Raises ConfigError where the system refuses that (a view that needs the column).
        """
        del table, names
        return []

    @abstractmethod
    def load(self, table: Table, load: Load) -> Loaded:
        """All rows of the load are in the table, `upto` and `staged_file` noted beside them; or nothing happened.

        Raises Stale when the destination does not hold exactly `after`. Raises `Unloadable` with the rows that it
        cannot take; the caller rejects those and loads again with their numbers in `load.refused`.
        """

    def together(self) -> AbstractContextManager[None]:
        """Loads of several tables follow one another inside: what one of them opened may stay open for the next."""
        return nullcontext()

    def completed(self, left: Sequence[Table] = ()) -> None:
        """Nothing more is loaded for now: what loads have put off is done, also of the tables that another connection
        ``left`` unfinished. The next `ensure` of a table does it where nobody came to this."""

    def unfinished(self) -> Sequence[Table]:
        """Tables of which loads have put something off; they are known when the connection is gone, too."""
        return ()

    @abstractmethod
    def holding(self, feed: str, table: str) -> Held | None:
        """Last segment of the feed that the table has taken in; None when it knows of none."""

    def held(self, feed: str, table: str) -> int | None:
        """The number of that segment."""
        found = self.holding(feed, table)
        return found.segment if found else None

    @abstractmethod
    def feeds(self, table: str) -> Collection[str]:
        """Feeds that have a note of rows in the table."""

    @abstractmethod
    def forget(self, feed: str, table: str) -> None:
        """The destination no longer knows of any segment of the feed in this table."""

    @abstractmethod
    def swap(self, fresh: str, table: str) -> None:
        """``fresh`` takes the place of ``table`` in one step, with its note of what it holds; the old one is gone."""

    @abstractmethod
    def drop(self, table: str) -> None:
        """The table is gone. Nothing happens when there is none."""

    def dropping(self, table: str) -> list[Change]:
        """What `drop` would do, with its statement; nothing is changed. Empty where there are no statements, or no
        such table."""
        del table
        return []

    @abstractmethod
    def query(self, sql: str, *, limit: int | None = None) -> pa.Table:
        """Rows of one statement. Raises ConfigError where the destination has no SQL."""

    def having(self, table: str, values: Mapping[str, str], *, limit: int) -> pa.Table | None:
        """Rows of the table in which every column has its value, given as text in the form that `data.cast` reads.

        None where the table or a column is not there, or no such text can be of its type. Raises ConfigError where
        single rows cannot be asked for.
        """
        del values, limit
        raise ConfigError(f"{self.title} cannot be asked for single rows of {table}", code="cannot_look_up")

    @abstractmethod
    def tally(
        self, table: str, name: str, at: str, days: LocalDays, only: Mapping[str, bool]
    ) -> Sequence[tuple[str, str, int]]:
        """(name, local day `YYYY-MM-DD`, rows) for every group of these days in the table; of those before and behind
        them there may be some too. ``at`` is a TIMESTAMPTZ column; ``only``: as in `sizes`."""

    def sizes(
        self, table: str, key: str, ranges: Sequence[tuple[int | None, int | None]], only: Mapping[str, bool]
    ) -> tuple[int | None, list[int]]:
        """The highest ``key``, and how many rows of the table have a key in each of the ranges, ends among them.

        ``only``: columns with yes or no, and which of them rows must have. Without a key there is one range, of all
        rows. Raises ConfigError where the destination does not count.
        """
        del key, ranges, only
        raise ConfigError(f"{self.title} does not count the rows of {table}", code="cannot_count")

    def stored(self, table: str, names: Sequence[str], only: Mapping[str, bool]) -> Iterator[pa.RecordBatch]:
        """These columns of all rows of the table, in any order and in Arrow types of the system's choice.

        ``only``: as in `sizes`. Raises ConfigError where the destination shows no rows.
        """
        del names, only
        raise ConfigError(
            f"{self.title} does not show the rows of {table}, so values cannot be compared",
            hint="Compare counts: without `--values`.",
            code="cannot_compare",
        )

    def close(self) -> None:
        """Connections end. May be called twice."""


class Unloadable(Exception):
    """Rows of a load that the destination cannot take. Nothing was changed."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(f"{len(refusals)} rows cannot be loaded")
        self.refusals = list(refusals)
