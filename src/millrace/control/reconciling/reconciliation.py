"""What a comparison of a source with its table found: counts, causes, and values that are not alike."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import date
from typing import Literal, TypeAlias

from millrace.connect.source import Slice
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError, as_typed

# Keys of rows, each value as text.
Keys: TypeAlias = Sequence[tuple[str, ...]]


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


def go_on(stopping: threading.Event | None) -> None:
    """Raises Cancelled where somebody wishes the end."""
    if stopping is not None and stopping.is_set():
        raise Cancelled(
            "the comparison was ended by hand before it was whole",
            hint="Run it again; it changes nothing unless --fix is given.",
        )
