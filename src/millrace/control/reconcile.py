"""Compares a system's own counts with the rows in a table, and names the cause of every difference it can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from millrace.connect.source import Count, Seen, Slice
from millrace.data.batch import LoadMode


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

    @property
    def source_rows(self) -> int:
        return sum(row.source_rows for row in self.compared)

    @property
    def table_rows(self) -> int:
        return sum(row.table_rows for row in self.compared)

    @property
    def equal(self) -> bool:
        """Every difference has a cause."""
        return all(row.unexplained == 0 for row in self.compared)


def compare(
    counts: Iterable[Count],
    tally: Iterable[tuple[str, str, int]],
    seen: Iterable[Seen],
    *,
    mode: LoadMode,
    rejected: Mapping[str, int],
    unreadable: Mapping[str, str],
    waiting: bool,
) -> list[Compared]:
    """Every name and day that the system counts or the table holds, in order of name and day.

    ``waiting``: rows are staged and not loaded yet, so that missing ones may be among them.
    """
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
        causes = _causes(name, counted, held, known.get((name, day)), mode, left, unreadable, waiting)
        compared.append(Compared(name, day, counted, held, tuple(causes)))
    return compared


def _causes(
    name: str,
    counted: int,
    held: int,
    seen: Seen | None,
    mode: LoadMode,
    rejected: Counter[str],
    unreadable: Mapping[str, str],
    waiting: bool,
) -> list[Cause]:
    missing = counted - held
    if missing == 0:
        return []
    if name in unreadable:
        return [Cause("not_readable", missing, unreadable[name])]
    causes: list[Cause] = []
    copies = seen.copies if seen else 0
    if mode != "append" and seen and seen.copies > seen.distinct:
        collapsed = min(seen.copies - seen.distinct, max(missing, 0))
        if collapsed:
            causes.append(Cause("duplicates", collapsed, f"{collapsed} exact copies are one row in the table"))
            missing -= collapsed
    if missing > 0 and rejected[name]:
        parted = min(missing, rejected[name])
        rejected[name] -= parted
        causes.append(Cause("rejected", parted, f"{parted} rows wait among the rejects"))
        missing -= parted
    if missing > 0 and seen and waiting and (seen.distinct if mode != "append" else copies) > held:
        parted = min(missing, (seen.distinct if mode != "append" else copies) - held)
        causes.append(Cause("not_loaded", parted, f"{parted} rows are staged and not loaded yet"))
        missing -= parted
    if missing > 0 and counted > copies:
        late = min(missing, counted - copies)
        causes.append(Cause("late", late, f"{late} rows arrived after this day was last read"))
    if missing < 0 and counted < copies:
        gone = min(-missing, copies - counted)
        causes.append(Cause("gone_at_source", -gone, f"{gone} rows that were read are no longer counted by the source"))
    return causes
