"""What was read before of one event and window: which rows, in which state, how many copies. Kept as marks.

A mark's bytes are entries of 28 bytes: 16 of the row's hash, 8 of its state, 4 with the count of copies. Later
entries of a part overrule earlier ones. All of it lives in arrays: some 40 bytes for each row of the window.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from millrace.connect.source import Memory
from millrace.data.batch import Mark
from millrace.data.dataclass import dataclass
from millrace.sources.clevertap.rows import Shaped

U64: TypeAlias = npt.NDArray[np.uint64]
Places: TypeAlias = npt.NDArray[np.int64]
K = TypeVar("K", bound=np.generic)
Mode: TypeAlias = Literal["changed", "copies", "all"]

ENTRY = np.dtype([("high", ">u8"), ("low", ">u8"), ("state", "<u8"), ("count", "<u4")])
# The same in memory, in this machine's order of bytes.
_NATIVE = ENTRY.newbyteorder("=")
SEPARATOR = "\x1f"
_REJECTED = "rejected"
_HISTORY = "history"
_FORGOTTEN = "forgotten"
MOST_REJECTED = 100_000


def went_again(mode: Mode) -> str:
    """What rows are counted as that go on and are not new: whether they changed is no matter where all go on."""
    return "read_again" if mode == "all" else "changed"


def part_of(event: str, day: int) -> str:
    """The part that has the marks of one event and local day (YYYYMMDD)."""
    return f"{event}{SEPARATOR}{day:08d}"


def day_of(part: str) -> tuple[str, int] | None:
    """Event and day of a part; None when it holds something else than rows."""
    event, _, day = part.rpartition(SEPARATOR)
    return (event, int(day)) if len(day) == 8 and day.isdecimal() and day.isascii() else None


def days_of(marks: Iterable[Mark]) -> set[int]:
    """The days whose rows the marks tell of."""
    return {found[1] for mark in marks if (found := day_of(mark.part))}


def rejected_part(event: str) -> str:
    return f"{event}{SEPARATOR}{_REJECTED}"


def history_part(event: str) -> str:
    """The part that is there once the history of an event has been read to the end."""
    return f"{event}{SEPARATOR}{_HISTORY}"


def forgotten_part(event: str) -> str:
    """The part that says before which local day marks of an event have been forgotten."""
    return f"{event}{SEPARATOR}{_FORGOTTEN}"


def forgotten_before(event: str, memory: Memory) -> int:
    """The local day (YYYYMMDD) before which marks of an event are gone; 0 when none are."""
    return max((int(data) for data in memory.recall(forgotten_part(event))), default=0)


def entries(marks: Iterable[bytes]) -> npt.NDArray[np.void]:
    """The entries of one part, each row once, its latest state."""
    found = np.frombuffer(b"".join(marks), ENTRY)
    order = np.lexsort((np.arange(len(found)), found["low"], found["high"]))
    ordered = found[order]
    last = np.ones(len(ordered), bool)
    last[:-1] = (ordered["high"][1:] != ordered["high"][:-1]) | (ordered["low"][1:] != ordered["low"][:-1])
    return ordered[last]


@dataclass(slots=True)
class _Run:
    """Rows in the order of their first number, and the places where they are kept."""

    high: U64
    place: Places


class Known:
    """What is known of one event's rows in one window. Days are recalled when they are first asked for.

    ``mode`` says which rows go on: "changed" (new ones, and those in another state), "copies" (as many copies as one
    walk has shown, never more), "all" (once in every walk, and again when the state changes).
    """

    def __init__(self, event: str, memory: Memory, mode: Mode) -> None:
        self._event = event
        self._memory = memory
        self._mode: Mode = mode
        self._days: dict[int, int] = {}
        self._size = 0
        self._kept: npt.NDArray[np.void] = np.zeros(1024, _NATIVE)
        self._day = np.zeros(1024, np.int32)
        self._walked = np.zeros(1024, np.uint32)
        self._runs: list[_Run] = []
        self._rejected: set[bytes] | None = None

    def restart(self) -> None:
        """A walk begins anew: copies are counted from nought again."""
        self._walked[: self._size] = 0

    def judge(self, shaped: Shaped) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], list[Mark]]:
        """Which rows go on, which of them were never seen before, and the marks that say so."""
        rows = len(shaped.high)
        if not rows:
            return np.zeros(0, bool), np.zeros(0, bool), []
        for day in sorted(set(shaped.day.tolist())):
            self._recall(day)
        order = np.lexsort((shaped.low, shaped.high))
        high, low, state = shaped.high[order], shaped.low[order], shaped.state[order]
        starts = np.ones(rows, bool)
        starts[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        first = np.flatnonzero(starts)
        group = np.cumsum(starts) - 1
        rank = np.arange(rows) - first[group]
        size = np.diff(np.append(first, rows))
        place = self._find(high[first], low[first])
        fresh = place < 0
        if fresh.any():
            place[fresh] = self._insert(high[first][fresh], low[first][fresh], shaped.day[order][first][fresh])
        kept = self._kept
        count, walked = kept["count"][place], self._walked[place]
        copy = walked[group] + rank + 1
        # Of the first row the one before is the last, and is not looked at: it starts a group.
        before = np.where(starts, kept["state"][place][group], state[np.arange(-1, rows - 1)])
        differs = state != before
        new = (count == 0)[group] & starts
        if self._mode == "copies":
            goes = copy > count[group]
            new = goes
        elif self._mode == "all":
            goes = (copy == 1) | differs
        else:
            goes = new | differs
        last = np.append(first[1:], rows) - 1
        walked = walked + size
        grown = np.maximum(count, walked).astype(np.uint32)
        altered = (grown != count) | (state[last] != kept["state"][place])
        kept["count"][place], kept["state"][place] = grown, state[last]
        self._walked[place] = walked
        goes_on, never_seen = np.zeros(rows, bool), np.zeros(rows, bool)
        goes_on[order], never_seen[order] = goes, new
        return goes_on, never_seen, self._marks(place[altered])

    def rejected(self, ids: Sequence[bytes]) -> tuple[list[bool], list[Mark]]:
        """Which of these rejects are met for the first time, and the marks that say so."""
        part = rejected_part(self._event)
        if self._rejected is None:
            data = b"".join(self._memory.recall(part))
            self._rejected = {data[at : at + 16] for at in range(0, len(data), 16)}
        first = [False] * len(ids)
        fresh: list[bytes] = []
        for place, each in enumerate(ids):
            if each not in self._rejected:
                self._rejected.add(each)
                fresh.append(each)
                first[place] = True
        if not fresh:
            return first, []
        if len(self._rejected) > MOST_REJECTED:
            self._rejected = set(fresh)
            return first, [Mark(part, b"".join(fresh), replace=True)]
        return first, [Mark(part, b"".join(fresh))]

    def compacted(self, first: int, last: int, *, without: Collection[int] = ()) -> list[Mark]:
        """Marks that put one in the place of the many that a day has gathered, of the days that nobody else reads.

        Days ``without`` have marks of others, which are not known here.
        """
        many = [day for day, marks in self._days.items() if marks > 1 and first <= day <= last and day not in without]
        marks: list[Mark] = []
        days = self._day[: self._size]
        for day in sorted(many):
            data = self._kept[: self._size][days == day].astype(ENTRY).tobytes()
            marks.append(Mark(part_of(self._event, day), data, replace=True))
            self._days[day] = 1
        return marks

    def _recall(self, day: int) -> None:
        if day in self._days:
            return
        marks = self._memory.recall(part_of(self._event, day))
        self._days[day] = len(marks)
        if not marks:
            return  # most days of a first read
        found = entries(marks)
        if len(found):
            places = self._insert(
                found["high"].astype(np.uint64), found["low"].astype(np.uint64), np.full(len(found), day, np.int64)
            )
            self._kept["state"][places] = found["state"]
            self._kept["count"][places] = found["count"]

    def _marks(self, places: Places) -> list[Mark]:
        if not len(places):
            return []
        days = self._day[places]
        marks: list[Mark] = []
        for day in sorted(set(days.tolist())):
            data = self._kept[places[days == day]].astype(ENTRY).tobytes()
            marks.append(Mark(part_of(self._event, day), data))
            self._days[day] += 1
        return marks

    def _find(self, high: U64, low: U64) -> Places:
        """Where these rows are kept, -1 for those that are not. ``high`` is in order."""
        found = np.full(len(high), -1, np.int64)
        for run in self._runs:
            at = np.searchsorted(run.high, high)
            inside = at < len(run.high)
            at[~inside] = 0
            same = inside & (run.high[at] == high)
            for row in np.flatnonzero(same).tolist() if self._twins(run, at, low, same) else ():
                found[row] = max(found[row], self._among_twins(run, int(at[row]), high[row], low[row]))
            exact = same & (self._kept["low"][run.place[at]] == low)
            found[exact] = run.place[at[exact]]
        return found

    def _twins(self, run: _Run, at: Places, low: U64, same: npt.NDArray[np.bool_]) -> bool:
        """Whether two rows share their first 8 bytes, so that the first hit may be the wrong one."""
        wrong = same & (self._kept["low"][run.place[at]] != low)
        return bool(wrong.any())

    def _among_twins(self, run: _Run, at: int, high: np.uint64, low: np.uint64) -> int:
        while at < len(run.high) and run.high[at] == high:
            place = int(run.place[at])
            if self._kept["low"][place] == low:
                return place
            at += 1
        return -1

    def _insert(self, high: U64, low: U64, day: Places) -> Places:
        """Keeps rows that are not kept yet; they are in the order of ``high``. Gives their places."""
        size = self._size + len(high)
        if size > len(self._kept):
            room = max(size, 2 * len(self._kept)) if size < 2**20 else size + size // 4
            self._kept = _longer(self._kept, room)
            self._day, self._walked = _longer(self._day, room), _longer(self._walked, room)
        places = np.arange(self._size, size)
        self._kept["high"][places], self._kept["low"][places] = high, low
        self._day[places] = day
        self._size = size
        run = _Run(high.copy(), places)
        # Runs at least double in length from newest to oldest, so there are few, and each row is merged few times.
        while self._runs and len(self._runs[-1].high) < 2 * len(run.high):
            older = self._runs.pop()
            both = np.concatenate((older.high, run.high))
            order = np.argsort(both, kind="stable")
            run = _Run(both[order], np.concatenate((older.place, run.place))[order])
        self._runs.append(run)
        return places


def _longer(array: npt.NDArray[K], room: int) -> npt.NDArray[K]:
    longer = np.zeros(room, array.dtype)
    longer[: len(array)] = array
    return longer
