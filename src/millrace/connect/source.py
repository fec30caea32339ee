"""What a source is: it lists streams and reads one from a cursor."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime
from threading import Event as Signal
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import pyarrow as pa

from millrace.connect.config import SourceConfig
from millrace.connect.frequency import USUAL, USUAL_LEGACY, Frequency
from millrace.connect.listed_names import ListedNames
from millrace.connect.reach import ANYWHERE, Reach
from millrace.data.batch import JSON, Item, Lane, LoadMode
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, ObjectRefused

if TYPE_CHECKING:
    from millrace.connect.audit import Audit
    from millrace.connect.intake.reading import Intake
    from millrace.connect.log import Log

C = TypeVar("C", bound=SourceConfig)


class Clock(Protocol):
    """Time, passed in so that tests decide it."""

    def now(self) -> datetime:
        """The moment, aware, UTC."""
        ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Note:
    """A word to the user about a run. ``level``: info; warning, a person may want to act; error, rows are missing."""

    code: str
    message: str
    level: str = "warning"


def _unheard(_: str) -> None:
    """Nobody listens."""


def _unnoted(_: Note) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a connector gets from outside: time, a way to say what it waits for, and the wish to stop.

    ``confined``: whoever asks is not at this machine, so that statements reach a destination's tables and no file.
    ``reach``: the addresses that connectors may talk to. ``intake``: what was sent to the pipeline, where its source
    does not ask but is told. ``audit``: what Millrace has on record, where its source reads that. ``pipeline``: the id
    of the pipeline that reads, for what a system keeps for it. ``queries``: how a person wants objects to be queried,
    by their names.
    """

    clock: Clock = field(default_factory=SystemClock)
    awaiting: Callable[[str], None] = _unheard
    note: Callable[[Note], None] = _unnoted
    stopping: Signal = field(default_factory=Signal)
    confined: bool = False
    reach: Reach = ANYWHERE
    intake: Intake | None = None
    audit: Audit | None = None
    pipeline: str = ""
    queries: Mapping[str, JSON] = field(default_factory=dict[str, JSON])


@dataclass(frozen=True, slots=True)
class Stream:
    """A named set of rows that a source can read.

    ``schema`` may be partial or None; columns that appear later are added by themselves. ``historical`` says that
    there is a lane of older rows beside the incremental one. ``deletes`` says that the source reports deletes (rows
    then carry `columns.OP_TYPE`).
    """

    name: str
    key: tuple[str, ...] = ()
    cursor_field: str | None = None
    schema: pa.Schema | None = None
    historical: bool = False
    deletes: bool = False
    table: str | None = None


class Memory(Protocol):
    """The marks of one stream that earlier checkpoints left."""

    def parts(self) -> Sequence[str]: ...

    def recall(self, part: str) -> Sequence[bytes]:
        """Marks of ``part`` in the order in which they were committed."""
        ...


class NoMemory:
    """A memory that holds nothing."""

    def parts(self) -> Sequence[str]:
        return ()

    def recall(self, part: str) -> Sequence[bytes]:  # noqa: ARG002  the protocol's name
        return ()


@dataclass(frozen=True, slots=True)
class Slice:
    """Days to read again or to count, both ends included, in the source's own time zone; ``name`` None means all."""

    first: date
    last: date
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One read: what, from where, and what the source said to remember.

    ``cursor`` None: nothing was read yet in this lane. A first incremental read of a stream that has a historical
    lane only takes the position from which it will follow; the engine reads incremental before historical. In the
    lane "again", ``slices`` are read once more, or the rows with these ``keys`` (values of the stream's key as text),
    and the checkpoints' cursors are not kept. ``log``: where the source follows a log, the position up to which
    changes of the stream were taken from it; older rows must not come. ``followed``: in the lane "again", and where
    refused rows are tried once more, the incremental lane's cursor.
    """

    stream: Stream
    lane: Lane
    cursor: JSON = None
    memory: Memory = field(default_factory=NoMemory)
    load_mode: LoadMode = "merge"
    slices: tuple[Slice, ...] = ()
    log: JSON = None
    keys: tuple[tuple[str, ...], ...] = ()
    followed: JSON = None

    def checked_keys(self) -> tuple[tuple[str, ...], ...]:
        """The keys, each with a value for every column of the stream's key. Raises ObjectRefused "cannot_reread"."""
        names = self.stream.key
        if other := next((key for key in self.keys if len(key) != len(names)), None):
            raise ObjectRefused(
                f"rows of {self.stream.name} are asked for by keys of {len(other)} values, and the source tells them "
                f"apart by {', '.join(names) or 'nothing'}",
                hint="Read the whole object anew: `millrace resync`.",
                code="cannot_reread",
            )
        return self.keys


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding of a connection test."""

    step: str
    state: str  # "pass" | "warn" | "fail"
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows the system itself counts: by name and day, in its own time zone."""

    name: str
    day: date
    rows: int


@dataclass(frozen=True, slots=True)
class Total:
    """How many rows the system has now whose ``key`` is from ``low`` to ``high``, both among them. None: without an
    end on that side. Without a key: all rows."""

    rows: int
    key: str = ""
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the marks say was read of one name and day: distinct rows and all copies."""

    name: str
    day: date
    distinct: int
    copies: int


@dataclass(frozen=True, slots=True)
class Countable:
    """How rows of a stream are grouped when counts are compared: a name column, a time column, and the zone of days.

    ``event_type``: the one of rows with a name, where they are not of the stream's own.
    """

    name_column: str
    time_column: str
    timezone: str
    event_type: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Retention:
    """What a system keeps of a log that is read. ``kept_s``: for how long; ``behind_s``: how old it is where reading
    is. ``held_bytes``: what it keeps for this reader alone, which fills its disk; ``most_bytes``: how much of that it
    keeps at most. None: it does not say."""

    kept_s: float | None = None
    behind_s: float | None = None
    held_bytes: int | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A service that runs such a system, or a system of the same family: a value of the setting `variant`.

    ``defaults``: settings that hold there where nobody says otherwise. ``logged``: its log may be followed. Its guide
    is the file ``variants/<name>.md`` in the connector's folder.
    """

    name: str
    title: str
    defaults: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    logged: bool = True


class Source(ABC, Generic[C]):
    """Lists streams, and reads one from a cursor, yielding rows and checkpoints.

    A source does not retry, log progress, rename columns or convert types for a destination. Foreign errors are
    translated at its edge (`millrace.errors`). ``read`` may be closed at any item (generator close): threads and
    connections end then.
    """

    Config: ClassVar[type[SourceConfig]]
    title: ClassVar[str]

    variants: ClassVar[tuple[Variant, ...]] = ()
    """Services whose systems it reads with settings and a guide of their own."""

    defers_when_empty: ClassVar[bool] = False
    """Reads that find nothing come at growing intervals, unless the pipeline says otherwise."""

    pushed: ClassVar[bool] = False
    """Rows come by themselves, into the intake, and cannot be asked for again."""

    inspects: ClassVar[bool] = False
    """It reads what Millrace itself has on record of the team's jobs, and is not counted for a bill."""

    logged: ClassVar[bool] = False
    """With some settings its changes come from a log (`log`)."""

    extras: ClassVar[frozenset[str]] = frozenset()
    """Names of streams that a pipeline reads only where it names them; who reads all reads the others."""

    spreads: ClassVar[bool] = False
    """Several workers may read from one connection at the same time: its limits are not kept in one process."""

    def __init__(self, config: C, context: Context | None = None) -> None:
        self.config = config
        self.context = context or Context()

    @classmethod
    def frequency(cls, *, legacy: bool = False) -> Frequency:
        """The intervals that pipelines from this source may have. ``legacy``: as in `check_frequency`."""
        return USUAL_LEGACY if legacy else USUAL

    @classmethod
    def check_frequency(cls, every_s: int, *, legacy: bool = False) -> None:
        """Raises ConfigError when a pipeline must not run every ``every_s`` seconds; by default it may.

        ``legacy``: the workspace keeps the shorter intervals of old.
        """
        del every_s, legacy

    @abstractmethod
    def check(self) -> list[Verdict]:
        """Findings of a connection test, in order. A "fail" ends it. Raises nothing of the connection's own."""

    @abstractmethod
    def streams(self) -> list[Stream]: ...

    def listed_names(self) -> ListedNames:
        """What becomes of each name that is read, where the system is asked for names (`Settings.asks_for_names`)."""
        # For its author: of a connector whose settings ask for names, and that does not answer.
        raise NotImplementedError(f"{self.title} is not asked for names")

    def vanished(self, names: Sequence[str]) -> list[Stream]:  # noqa: ARG002  for those that keep no log of files
        """Those of these streams, whose files were there, that `streams` did not find any more. They are read once
        more, which says that their files are gone."""
        return []

    @abstractmethod
    def read(self, reading: Reading) -> Iterator[Item]: ...

    def log(self) -> Log | None:
        """The log from which changes of the streams come with these settings; None where streams are asked.

        With a log, `read` is asked for the historical lane alone.
        """
        return None

    def forget_log(self) -> None:
        """What the system keeps for a pipeline that follows its log, or did so with other settings, is gone from it, as
        `Log.forget` has it."""
        if (log := self.log()) is not None:
            log.forget()

    def must_match(self, stream: Stream, cursor: JSON) -> None:  # noqa: ARG002  for those whose keys may change
        """Raises ConfigError where rows that are read now do not take the places of those that a read with this cursor
        of the incremental lane brought: in one table, they would stand beside them."""
        return

    def replay(self, reading: Reading, rows: Sequence[str]) -> Iterator[Item]:  # noqa: ARG002  for those that refuse
        """Rows that this source refused, as JSON text in the form of its `Refused`, tried once more.

        Every row is in exactly one item: among rows, refused again, or passed.

        Raises ConfigError where a source cannot.
        """
        raise ConfigError(
            f"{self.title} cannot take back rows that it refused",
            hint="Read their days again: `millrace run --since`.",
            code="cannot_replay",
        )

    def countable(self, stream: Stream) -> Countable | None:  # noqa: ARG002  for those that can count
        """How `counts` groups rows, or None where the system cannot count."""
        return None

    def counts(self, stream: Stream, slices: Sequence[Slice], without: Collection[str] = ()) -> Iterator[Count]:
        """The system's own counts, but for the names ``without``; ends early when the run shall stop.

        Raises ConfigError where it has none.
        """
        del slices, without
        raise ConfigError(f"{self.title} cannot count rows of {stream.name}", code="cannot_count")

    def totals(self, stream: Stream, *, above: int | None = None) -> Sequence[Total] | None:  # noqa: ARG002  for those that can count
        """How many rows there are now, in ranges of a key that leave none out; None where the system does not say.

        ``above``: those with a higher key alone.
        """
        return None

    def snapshot(self, stream: Stream) -> Iterator[Item]:
        """All rows as they are now, in one state where the system can show one; checkpoints say nothing.

        Raises ConfigError where a source cannot.
        """
        raise ConfigError(
            f"{self.title} does not show the rows of {stream.name} as they are now, so values cannot be compared",
            hint="Compare counts: without `--values`.",
            code="cannot_compare",
        )

    def seen(self, stream: Stream, memory: Memory, slices: Sequence[Slice]) -> Iterator[Seen]:
        """What `memory` says was read, for the same groups as `counts`."""
        del stream, memory, slices
        return iter(())

    def uncounted(self, stream: Stream, cursor: JSON) -> dict[str, str]:  # noqa: ARG002  for those that can count
        """Names that cannot be read, each with the reason, from the cursors of this stream."""
        return {}

    def retention(self) -> Retention | None:
        """How near the log that is read is to being cut, after a read; None where there is no log. People are told in
        time. Raises what asking raises, which is no matter of the run."""
        return None

    def close(self) -> None:
        """Connections end. May be called twice."""
