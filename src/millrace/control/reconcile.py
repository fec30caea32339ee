"""Compares a system's own counts with the rows in a table, and names the cause of every difference it can."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

import orjson

from millrace.connect.local_days import LocalDays
from millrace.connect.source import Clock, Count, Countable, Seen, Slice, Stream
from millrace.control import crews, runs
from millrace.control import rejects as rejected_rows
from millrace.control.clock import clock as machine_clock
from millrace.control.rejects import Choice
from millrace.data import columns
from millrace.data.dataclass import dataclass
from millrace.engine.ledger import Shelved
from millrace.engine.meter import Meter
from millrace.engine.stage import Stage
from millrace.errors import ConfigError, MillraceError, as_typed

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.engine.mapping import Mapping as EngineMapping
    from millrace.engine.sync import Sync

# Keys of rows, each value as text.
Keys: TypeAlias = Sequence[tuple[str, ...]]

# Rows that are read once more by their keys; where more differ, the object is read anew.
MOST_KEYS = 100_000

# Without --since, so many days back from today are compared.
DAYS = 31


class Cancelled(MillraceError):
    """Somebody ended it by hand before there was a result."""

    code = "cancelled"
    exit_code = 130


@dataclass(frozen=True, slots=True)
class Cause:
    """Why counts differ, and by how many rows; negative where the table has more."""

    code: str
    rows: int
    message: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One name and day: what the system counts, what the table holds, and why they differ."""

    name: str
    day: date
    source_rows: int
    table_rows: int
    causes: tuple[Cause, ...] = ()

    @property
    def difference(self) -> int:
        return self.source_rows - self.table_rows

    @property
    def unexplained(self) -> int:
        """Rows of the difference that no cause accounts for."""
        return self.difference - sum(cause.rows for cause in self.causes)

    @property
    def wants_reading(self) -> bool:
        """Reading the day again may close the difference."""
        return self.unexplained != 0 or any(cause.code == "late" for cause in self.causes)


@dataclass(frozen=True, slots=True)
class Unlike:
    """Rows of one range that are not alike at the source and in the table, from the key ``first`` to ``last``.

    ``kind``: their values differ (other), the table lacks them (missing), or has more of them (extra); of the latter
    two, those that no cause accounts for. ``columns``: in how many of these rows each column differs. Of items of
    arrays ``name`` is the table, and the keys are those of the rows that they are of.
    """

    name: str
    kind: Literal["other", "missing", "extra"]
    rows: int
    first: str
    last: str
    columns: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Values:
    """What the comparison of values found. ``rows``: how many were compared. ``why_not``: why none were."""

    rows: int
    unlike: tuple[Unlike, ...] = ()
    why_not: str = ""
    read_again: int = 0
    """Rows that were read once more because of this comparison."""
    why_whole: str = ""
    """Why rows cannot be read once more by their keys, so that the object is to be read as a whole."""
    items: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many rows were compared of each table of items of the object's arrays."""
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """Such tables that were not compared, each with the reason. What is skipped has none."""

    @property
    def to_read(self) -> int:
        """Rows that reading again may mend."""
        return sum(one.rows for one in self.unlike if one.kind != "extra")

    @property
    def stays(self) -> bool:
        """What differs stays so, however often rows are merged into the table: it was read once more already, or it is
        in the table alone. A fresh table has neither."""
        return bool(self.unlike) and (bool(self.read_again) or self.to_read == 0)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The comparison of one stream. ``unreadable`` has names that cannot be read, each with its reason."""

    pipeline: str
    stream: str
    table: str
    timezone: str
    compared: tuple[Compared, ...]
    unreadable: Mapping[str, str]
    rejected: Mapping[str, int]
    """Open rejects by name; their day is unknown where the time itself was bad."""
    again: tuple[Slice, ...] = ()
    """Days that were read once more because of this comparison."""
    ranges: bool = False
    """Ranges of a key are compared, as they are now, and no days."""
    values: Values | None = None
    """None where only counts were compared."""

    @property
    def source_rows(self) -> int:
        return sum(row.source_rows for row in self.compared)

    @property
    def table_rows(self) -> int:
        return sum(row.table_rows for row in self.compared)

    @property
    def equal(self) -> bool:
        """Every difference has a cause, and no value that was compared differs."""
        return all(row.unexplained == 0 for row in self.compared) and not (self.values and self.values.unlike)

    @property
    def by_keys(self) -> bool:
        """There are rows that differ and can be read once more by their keys, and were not."""
        values = self.values
        return self.ranges and values is not None and values.to_read > 0 and not (values.why_whole or values.read_again)

    @property
    def remedy(self) -> str:
        """The command that reads again what differs, as a shell takes it."""
        if self.by_keys:
            return as_typed("reconcile", self.pipeline, "--values", "--fix")
        if self.ranges:
            fresh = ("--mode", "drop-and-load") if self.values is not None and self.values.stays else ()
            return as_typed("resync", self.pipeline, "--object", self.stream, *fresh)
        return as_typed("reconcile", self.pipeline, "--fix")


def reconcile(
    home: Home,
    pipeline: str,
    *,
    fix: bool = False,
    since: date | None = None,
    only: Sequence[str] = (),
    values: bool = False,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
) -> list[Reconciliation]:
    """The system's own counts beside the table's, for every object whose system can count.

    With ``fix``, days whose difference reading again may close are read once more, and compared anew. With ``values``,
    rows of objects that are counted as they are now are compared value by value too, and ``fix`` reads those that
    differ or are missing once more. Raises ConfigError when no object of the pipeline can be counted, and Cancelled
    when ``stopping`` was set: half a comparison is none.
    """
    home.actor.must("pipelines.edit" if fix else "view")
    clock = clock or machine_clock()
    today = clock.now().date()
    # One day more: where the system's time zone is ahead of UTC, its today is tomorrow here.
    days = (Slice(since or today - timedelta(days=DAYS - 1), today + timedelta(days=1)),)
    keys: dict[str, Keys] | None = {} if values else None
    found = _compared(home, pipeline, days, only, clock, meter, stopping, keys)
    if not fix:
        return found
    if any(each.ranges for each in found):
        from millrace.control import reconcile_totals

        keys = {stream: those for stream, those in (keys or {}).items() if those}
        if not keys:
            reconcile_totals.no_days(found)
            return found
        go_on(stopping)
        runs.reread(home, pipeline, (), keys=keys, clock=clock, meter=meter, stopping=stopping)
        later = _compared(home, pipeline, days, only, clock, meter, stopping, {})
        return [reconcile_totals.again(each, len(keys.get(each.stream, ()))) for each in later]
    again = tuple(Slice(row.day, row.day, row.name) for each in found for row in each.compared if row.wants_reading)
    if not again:
        return found
    go_on(stopping)
    runs.reread(home, pipeline, again, only=only, clock=clock, meter=meter, stopping=stopping)
    after = {each.stream: each for each in _compared(home, pipeline, again, only, clock, meter, stopping)}
    return [_renewed(each, after[each.stream], again) for each in found]


def go_on(stopping: threading.Event | None) -> None:
    """Raises Cancelled where somebody wishes the end."""
    if stopping is not None and stopping.is_set():
        raise Cancelled(
            "the comparison was ended by hand before it was whole",
            hint="Run it again; it changes nothing unless --fix is given.",
        )


def _renewed(before: Reconciliation, after: Reconciliation, again: tuple[Slice, ...]) -> Reconciliation:
    """The comparison with the rows of the days that were read once more taken from the later one."""
    # Days between them were not counted the second time, though the table has rows of them.
    asked = {(each.name, each.first) for each in again}
    later = {(row.name, row.day): row for row in after.compared if (row.name, row.day) in asked}
    rows = tuple(later.get((row.name, row.day), row) for row in before.compared)
    return replace(before, compared=rows, rejected=after.rejected, again=again)


def _compared(
    home: Home,
    pipeline: str,
    days: Sequence[Slice],
    only: Sequence[str],
    clock: Clock,
    meter: Meter | None,
    stopping: threading.Event | None,
    keys: dict[str, Keys] | None = None,
) -> list[Reconciliation]:
    """``keys``: values are compared too, and it gets the keys of the rows of each stream that are to be read again."""
    with crews.visit(home, pipeline, clock=clock, meter=meter, stopping=stopping) as ours:
        sync = ours.sync(only)
        ours.meter.stage = "counting"
        results: list[Reconciliation] = []
        for stream in sync.streams:
            result = _stream(ours, sync, stream, days, clock.now().date(), keys)
            if result is not None:
                results.append(result)
        if not results:
            raise ConfigError(
                f"no object of pipeline {pipeline} can be reconciled: {sync.source.title} gives no counts, or nothing "
                "was read yet",
                hint="Run the pipeline first: `millrace run`.",
                code="cannot_count",
            )
        return results


def _stream(
    ours: crews.Crew, sync: Sync, stream: Stream, days: Sequence[Slice], today: date, keys: dict[str, Keys] | None
) -> Reconciliation | None:
    source, stage = sync.source, sync.stage
    countable = source.countable(stream)
    books = ours.books.tables()
    if countable is None:
        shelved = next((each for each in books if each.mapping.stream == stream.name), None)
        if shelved is None:
            return None
        # Imported here: it builds on this module.
        from millrace.control import reconcile_totals

        return reconcile_totals.compared(ours, sync, stream, shelved, today, keys)
    tables = _tables(books, stream, countable)
    if not tables:
        return None
    memory = ours.books.memory(stream.name)
    cursor = ours.books.cursor(stream.name, "historical") or ours.books.cursor(stream.name, "incremental")
    unreadable = source.uncounted(stream, cursor)
    seen = list(source.seen(stream, memory, days))
    # A name that was refused once and read since is compared like any other.
    counts = list(source.counts(stream, days, unreadable.keys() - {item.name for item in seen}))
    go_on(ours.stopping)
    tally: list[tuple[str, str, int]] = []
    counted: list[Shelved] = []
    holding: dict[str, list[Shelved]] = {}
    if counts:
        wanted = LocalDays(min(one.day for one in counts), max(one.day for one in counts), countable.timezone)
        with closing(ours.destination()) as destination:
            for each, name, at in tables:
                if destination.schema(each.mapping.table) is None:
                    continue
                rows = destination.tally(each.mapping.table, name, at, wanted, only(ours, each.mapping))
                if each.mapping.stream != stream.name:
                    rows = [row for row in rows if countable.event_type(row[0]) == each.mapping.stream]
                counted += [each] if rows else []
                for found in {row[0] for row in rows}:
                    holding.setdefault(found, []).append(each)
                tally += rows
    counted = counted or [tables[0][0]]
    by_type = {each.mapping.stream: each for each, _, _ in tables}
    reads = sync.mappings().of(stream.name).mode

    def kept(name: str) -> Kept:
        own = by_type.get(countable.event_type(name)) or by_type.get(stream.name)
        where = holding.get(name) or ([own] if own is not None else [])
        modes = {reads, *(each.mapping.mode for each in where)}
        return Kept(every_copy=modes == {"append"}, waiting=any(each.loaded < each.last for each in where))

    # A name of which all rows failed has no table yet.
    types = {stream.name, *by_type, *(countable.event_type(one.name) for one in counts)}
    rejected = _rejected(ours, stage, types, countable.name_column)
    compared = compare(counts, tally, seen, kept=kept, rejected=rejected, unreadable=unreadable)
    return Reconciliation(
        pipeline=ours.pipeline.name,
        stream=stream.name,
        table=counted[0].mapping.table if len(counted) == 1 else f"{len(counted):,} tables",
        timezone=countable.timezone,
        compared=tuple(compared),
        unreadable=unreadable,
        rejected=rejected,
    )


def _tables(books: Sequence[Shelved], stream: Stream, countable: Countable) -> list[tuple[Shelved, str, str]]:
    """The tables that rows of the stream are in, its own first, each with the columns of their names and times.

    Rows whose event type is their name stand in tables of their own; others that code made of rows are not counted.
    """
    found: list[tuple[Shelved, str, str]] = []
    for each in sorted(books, key=lambda each: each.mapping.stream != stream.name):
        mapping = each.mapping
        name, at = mapping.of(countable.name_column), mapping.of(countable.time_column)
        if stream.name not in (mapping.stream, mapping.source) or mapping.parent is not None:
            continue
        if name is not None and at is not None:
            found.append((each, name.name, at.name))
    return found


def only(ours: crews.Crew, mapping: EngineMapping) -> dict[str, bool]:
    """Columns with yes or no that say which rows of a table count, and which of them these must have."""
    outside = ours.naming.prefix.outside
    kept = {outside(columns.MARKED_DELETED): False} if mapping.deletes else {}
    if mapping.mode == "history":
        kept[outside(columns.IS_ACTIVE)] = True
    return kept


def _rejected(ours: crews.Crew, stage: Stage, streams: Collection[str], name_column: str) -> dict[str, int]:
    """Open rejects of event types by the name in their row."""
    found: Counter[str] = Counter()
    here = Choice(pipeline_id=ours.pipeline.id)
    failed = {group.stream for group in rejected_rows.listed(ours.home, here)}
    for stream in sorted(failed.intersection(streams)):
        for rejected in rejected_rows.rows(ours.home, stage, replace(here, stream=stream)):
            try:
                found[str(orjson.loads(rejected.row).get(name_column))] += 1
            except (orjson.JSONDecodeError, AttributeError):
                continue
    return dict(found)


@dataclass(frozen=True, slots=True)
class Kept:
    """How rows of a name are kept. ``every_copy``: each copy that is read is a row of its own. ``waiting``: rows of
    their table are staged and not loaded yet, so that missing ones may be among them."""

    every_copy: bool = False
    waiting: bool = False


def compare(
    counts: Iterable[Count],
    tally: Iterable[tuple[str, str, int]],
    seen: Iterable[Seen],
    *,
    kept: Callable[[str], Kept],
    rejected: Mapping[str, int],
    unreadable: Mapping[str, str],
) -> list[Compared]:
    """Every name and day that the system counts or the table holds, in order of name and day."""
    source = {(count.name, count.day): count.rows for count in counts}
    names = {name for name, _ in source}
    days = {day for _, day in source}
    table = {
        (name, date.fromisoformat(day)): rows
        for name, day, rows in tally
        if name in names and days and min(days) <= date.fromisoformat(day) <= max(days)
    }
    known = {(item.name, item.day): item for item in seen}
    left = Counter(rejected)
    compared: list[Compared] = []
    for name, day in sorted(source.keys() | table.keys()):
        counted, held = source.get((name, day), 0), table.get((name, day), 0)
        causes = _causes(name, counted, held, known.get((name, day)), kept(name), left, unreadable)
        compared.append(Compared(name, day, counted, held, tuple(causes)))
    return compared


# What one row does, and what several do.
FAILED = ("waits among the failed events", "wait among the failed events")
STAGED = ("is staged and not loaded yet", "are staged and not loaded yet")
LATE = ("arrived after this day was last read", "arrived after this day was last read")
UNREAD = (
    "is of a day that had none when it was last read, or that was never read",
    "are of a day that had none when it was last read, or that was never read",
)
DOUBLED = (
    "is an exact copy that the source serves and does not count",
    "are exact copies that the source serves and does not count",
)
GONE = ("that was read is no longer counted by the source", "that were read are no longer counted by the source")


def rows_that(many: int, one: str, more: str) -> str:
    """A sentence on that many rows; ``one``: what a single row does, ``more``: what several do."""
    return f"1 row {one}" if many == 1 else f"{many:,} rows {more}"


def _copies(many: int) -> str:
    if many == 1:
        return "1 exact copy is no row of its own in the table"
    return f"{many:,} exact copies are no rows of their own in the table"


def _causes(
    name: str,
    counted: int,
    held: int,
    seen: Seen | None,
    kept: Kept,
    rejected: Counter[str],
    unreadable: Mapping[str, str],
) -> list[Cause]:
    missing = counted - held
    if missing == 0:
        return []
    if name in unreadable:
        return [Cause("not_readable", missing, unreadable[name])]
    causes: list[Cause] = []
    copies = seen.copies if seen else 0
    if not kept.every_copy and seen and seen.copies > seen.distinct:
        collapsed = min(seen.copies - seen.distinct, max(missing, 0))
        if collapsed:
            causes.append(Cause("duplicates", collapsed, _copies(collapsed)))
            missing -= collapsed
    if missing > 0 and rejected[name]:
        parted = min(missing, rejected[name])
        rejected[name] -= parted
        causes.append(Cause("rejected", parted, rows_that(parted, *FAILED)))
        missing -= parted
    staged = copies if kept.every_copy or seen is None else seen.distinct
    if missing > 0 and kept.waiting and staged > held:
        parted = min(missing, staged - held)
        causes.append(Cause("not_loaded", parted, rows_that(parted, *STAGED)))
        missing -= parted
    if missing > 0 and counted > copies:
        late = min(missing, counted - copies)
        causes.append(Cause("late", late, rows_that(late, *(LATE if copies else UNREAD))))
    if missing < 0 and kept.every_copy and seen and copies > seen.distinct:
        doubled = min(-missing, copies - seen.distinct)
        causes.append(Cause("duplicates", -doubled, rows_that(doubled, *DOUBLED)))
        missing += doubled
    if missing < 0 and counted < copies:
        gone = min(-missing, copies - counted)
        causes.append(Cause("gone_at_source", -gone, rows_that(gone, *GONE)))
    return causes
