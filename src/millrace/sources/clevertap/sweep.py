"""Walks many units at a time and hands their rows on, each page with a checkpoint behind it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import field
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np

from millrace.connect.http.client import Unreachable
from millrace.connect.http.parallel import Ended, Got, interleaved
from millrace.connect.http.waits import Stopped
from millrace.connect.source import Context, Memory
from millrace.data.batch import JSON, REPEATED, Checkpoint, Item, Mark, Passed, Refused
from millrace.data.dataclass import dataclass
from millrace.data.numbers import flags
from millrace.errors import Transient
from millrace.sources.clevertap.client import CleverTap, CursorStuck, Page, Unanswered, Walked
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.forgetting import rejecting, strays
from millrace.sources.clevertap.known import Known, Mode, days_of, went_again
from millrace.sources.clevertap.planner import Unit, number
from millrace.sources.clevertap.rows import bound, refused, reject_id, rows_of
from millrace.sources.clevertap.times import microseconds

Outcome = Literal["done", "shortened", "failed", "invalid", "not_exportable", "skipped", "stopped"]

# Units without rows are many where names are many; their checkpoints are bundled.
_BUNDLE = 25


@dataclass(slots=True)
class Walk:
    """What is kept while a unit is walked."""

    known: Known
    walk: int = 0
    pages: int = 0
    upto: date | None = None
    rejecting: bool = False


@dataclass(slots=True)
class Tally:
    """What the sweep has met so far."""

    read: int = 0
    ended: int = 0
    served: int = 0
    stopped: int = 0
    exported: set[str] = field(default_factory=set[str])
    """Names that were served."""
    unknown: set[str] = field(default_factory=set[str])
    """Names that CleverTap does not know."""
    failures: dict[Unit, str] = field(default_factory=dict[Unit, str])


class Sweep:
    """One pass over ``units``.

    ``since`` says up to when an event had been read before: new rows that are older count as late. ``ends`` is told
    how each unit ended, before the checkpoint that covers it asks ``cursor`` for the position.
    """

    api: Walked = "events"

    def __init__(
        self,
        client: CleverTap,
        config: Config,
        context: Context,
        *,
        memory: Memory,
        mode: Mode,
        now: datetime,
        today: date,
        since: Callable[[str], datetime | None],
        ends: Callable[[Unit, Outcome, str], Sequence[Mark]],
        cursor: Callable[[], JSON],
    ) -> None:
        self.tally = Tally()
        self.holding: dict[str, bytearray] = {}
        """What was added to parts that hold days whose marks would be forgotten else."""
        self._client = client
        self._config = config
        self._context = context
        self._memory = memory
        self._mode: Mode = mode
        self._today = today
        self._now = now
        self._future = microseconds(now + timedelta(days=1))
        self._since = since
        self._ends = ends
        self._cursor = cursor
        self._skipped: set[str] = set()
        # Days of which rows came with other units than their own, by event.
        self._strayed: dict[str, set[int]] = {}
        self._done_before = 0
        self._all = 0

    def run(self, units: Sequence[Unit], *, done: int = 0) -> Generator[Item, None, None]:
        """Rows and checkpoints of all units. ``done`` units of the lane were read before; they count as progress.

        A unit that fails does not end the others; it is in `tally.failures` afterwards. Raises AuthError at once.
        """
        self._done_before, self._all = done, done + len(units)
        walks: dict[int, Walk] = {}
        waiting: list[Mark] = []
        bundled = 0
        jobs = [self._job(unit) for unit in units]
        reader = interleaved(jobs, self._config.max_concurrency, closed=self._client.closed, abort=self._client.abort)
        with closing(reader):
            for item in reader:
                unit = units[item.job]
                if isinstance(item, Got):
                    walk = walks.get(item.job) or walks.setdefault(item.job, self._begin(unit))
                    yield from self._page(unit, walk, item.item)
                    continue
                walk = walks.pop(item.job, None)
                waiting.extend(self._end(unit, walk, item))
                bundled += 1
                if (walk is not None and walk.pages > 1) or bundled >= _BUNDLE:
                    yield self._checkpoint(waiting)
                    waiting, bundled = [], 0
        if bundled:
            yield self._checkpoint(waiting)

    @property
    def progress(self) -> float | None:
        """The share of the lane's units that are over."""
        over = self._done_before + self.tally.ended - self.tally.stopped - len(self.tally.failures)
        return over / self._all if self._all else None

    @property
    def over(self) -> bool:
        """All units have ended."""
        return self._done_before + self.tally.ended == self._all

    def _job(self, unit: Unit) -> Callable[[], Iterator[Page]]:
        def walk() -> Iterator[Page]:
            if unit.event in self._skipped:
                return
            self._client.patience.check()
            yield from self._client.walk(unit.event, unit.first, unit.last, self._today, self.api)

        return walk

    def _begin(self, unit: Unit) -> Walk:
        return Walk(Known(unit.event, self._memory, self._mode))

    def _page(self, unit: Unit, walk: Walk, page: Page) -> Iterator[Item]:
        if page.walk != walk.walk:
            walk.walk = page.walk
            walk.known.restart()
        walk.pages += 1
        walk.upto = page.upto
        shaped = rows_of(unit.event, page.columns)
        self.tally.read += len(shaped.high) + len(shaped.rejects)
        marks: list[Mark] = []
        repeated = 0
        if shaped.rejects:
            first, new_marks = walk.known.rejected([reject_id(unit.event, reject) for reject in shaped.rejects])
            marks += new_marks
            rejects = [reject for reject, unmet in zip(shaped.rejects, first, strict=True) if unmet]
            repeated += len(shaped.rejects) - len(rejects)
            if rejects and self._mode == "copies" and not walk.rejecting:
                walk.rejecting = True
                marks.append(self._hold(rejecting(unit, self._today)))
            if rejects:
                yield Refused(refused(unit.event, rejects, self._context.clock.now()))
        goes, new, row_marks = walk.known.judge(shaped)
        marks += row_marks
        first_day, last_day = number(unit.first), number(unit.last)
        outside = {day for day in days_of(row_marks) if not first_day <= day <= last_day}
        self._strayed.setdefault(unit.event, set()).update(outside)
        stray = shaped.day[new & ((shaped.day < first_day) | (shaped.day > last_day))]
        if len(stray):
            marks.append(self._hold(strays(unit.event, set(stray.tolist()), self._today)))
        going = int(np.count_nonzero(goes))
        repeated += len(goes) - going
        if repeated:
            yield Passed(repeated, REPEATED)
        if going:
            yield bound(
                unit.event, shaped.rows if going == len(goes) else shaped.rows.filter(flags(goes)), self._config
            )
        moments = shaped.moment[new]
        since = self._since(unit.event)
        counts = {
            "new": len(moments),
            went_again(self._mode): going - len(moments),
            "repeated": repeated,
            "late": int(np.count_nonzero(moments < microseconds(since))) if since else 0,
            "future_dated": int(np.count_nonzero(moments > self._future)),
        }
        if marks or going or repeated:
            yield self._checkpoint(marks, {name: count for name, count in counts.items() if count})

    def _hold(self, mark: Mark) -> Mark:
        self.holding.setdefault(mark.part, bytearray()).extend(mark.data or b"")
        return mark

    def _end(self, unit: Unit, walk: Walk | None, end: Ended) -> list[Mark]:
        outcome, text = self._outcome(unit, walk, end)
        self.tally.ended += 1
        if outcome in ("done", "shortened"):
            self.tally.served += 1
            self.tally.exported.add(unit.event)
        self.tally.stopped += outcome == "stopped"
        if outcome in ("failed", "shortened"):
            self.tally.failures[unit] = text
        if outcome in ("invalid", "not_exportable"):
            self._skipped.add(unit.event)
        if outcome == "invalid":
            self.tally.unknown.add(unit.event)
        marks: list[Mark] = []
        if walk is not None and outcome == "done":
            marks += self._compacted(unit, walk)
        return [*marks, *self._ends(unit, outcome, text)]

    def _compacted(self, unit: Unit, walk: Walk) -> list[Mark]:
        strayed = self._strayed.get(unit.event, ())
        return walk.known.compacted(number(unit.first), number(unit.last), without=strayed)

    def _outcome(self, unit: Unit, walk: Walk | None, end: Ended) -> tuple[Outcome, str]:
        error = end.error
        if error is None:
            if walk is None:
                return "skipped", ""
            if walk.upto != unit.last:
                return "shortened", f"CleverTap took {unit.last} for the future"
            return "done", ""
        if isinstance(error, Stopped):
            return "stopped", ""
        if isinstance(error, Unanswered) and error.meaning in ("invalid_event", "not_exportable"):
            return ("invalid" if error.meaning == "invalid_event" else "not_exportable"), error.text
        if isinstance(error, Unanswered | CursorStuck):
            return "failed", str(error)
        if isinstance(error, Transient) and not isinstance(error, Unreachable):
            return "failed", error.message
        # A host that is not there, credentials, the machine's own trouble, and our own mistakes end the run.
        raise error

    def _checkpoint(self, marks: Sequence[Mark], counts: dict[str, int] | None = None) -> Checkpoint:
        return Checkpoint(self._cursor(), tuple(marks), counts or {}, self.progress)
