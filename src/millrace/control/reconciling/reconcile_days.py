"""Compares what a system counts of each name and day with the rows in its tables, and says why they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import orjson

from millrace.connect.local_days import LocalDays
from millrace.connect.source import Count, Countable, Seen, Slice, Stream
from millrace.control.failed import rejects as rejected_rows
from millrace.control.failed.rejects import Choice
from millrace.control.reconciling.reconciliation import Cause, Compared, Reconciliation, go_on
from millrace.control.running import crews
from millrace.data import columns
from millrace.data.dataclass import dataclass
from millrace.engine.ledger import Shelved
from millrace.engine.stage import Stage

if TYPE_CHECKING:
    from millrace.engine.mapping import Mapping as EngineMapping
    from millrace.engine.sync import Sync


def compared(
    ours: crews.Crew, sync: Sync, stream: Stream, countable: Countable, days: Sequence[Slice]
) -> Reconciliation | None:
    """None where the stream has no table with names and times."""
    source, stage = sync.source, sync.stage
    tables = _tables(ours.books.tables(), stream, countable)
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
LATE = (
    "did not come when this day was last read: it arrived later, or the source left it out",
    "did not come when this day was last read: they arrived later, or the source left them out",
)
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
