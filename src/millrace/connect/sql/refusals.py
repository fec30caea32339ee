"""Finds the rows of a load that a system refuses, by trying parts of the load and rolling every trial back."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import pyarrow as pa

from millrace.connect.destination import Load, Refusal, Rereadable
from millrace.data.dataclass import dataclass

# Past either, those found so far are reported; the caller loads again and the search goes on.
MOST = 1000
SECONDS = 120.0


class RowsRefused(Exception):
    """The system refused a statement because of values in it; which rows is not known yet."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Span(Rereadable):
    """The rows ``start`` to ``stop`` (exclusive) of other rows."""

    whole: Rereadable
    start: int
    stop: int

    @property
    def schema(self) -> pa.Schema:
        return self.whole.schema

    @property
    def count(self) -> int:
        return self.stop - self.start

    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        whole = self.whole.reader(columns)
        return pa.RecordBatchReader.from_batches(whole.schema, self._batches(whole))

    def _batches(self, whole: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in whole:
            low, high = max(self.start - first, 0), min(self.stop - first, batch.num_rows)
            if low < high:
                yield batch.slice(low, high - low)
            first += batch.num_rows
            if first >= self.stop:
                return


def culprits(load: Load, attempt: Callable[[Load], None]) -> list[Refusal]:
    """Rows without which the load goes in; empty when the system refuses even none of them alone or together.

    ``attempt`` publishes a part and takes it back; it raises RowsRefused where the system does not take it.
    """
    return _Search(load, attempt, time.monotonic() + SECONDS).found()


class _Search:
    def __init__(self, load: Load, attempt: Callable[[Load], None], until: float) -> None:
        self.load, self.attempt, self.until = load, attempt, until
        self.refusals: dict[int, Refusal] = {}

    def found(self) -> list[Refusal]:
        self._halve(0, self.load.rows.count)
        return sorted(self.refusals.values(), key=lambda refusal: refusal.row)

    def _refused(self, start: int, stop: int) -> RowsRefused | None:
        without = self.load.refused | self.refusals.keys()
        inside = frozenset(row - start for row in without if start <= row < stop)
        try:
            self.attempt(replace(self.load, rows=Span(self.load.rows, start, stop), refused=inside))
        except RowsRefused as refused:
            return refused
        return None

    def _over(self) -> bool:
        return len(self.refusals) >= MOST or (bool(self.refusals) and time.monotonic() > self.until)

    def _halve(self, start: int, stop: int) -> None:
        if self._over() or start == stop:
            return
        refused = self._refused(start, stop)
        if refused is None:
            return
        if stop - start == 1:
            self.refusals[start] = Refusal(start, refused.code, refused.message)
            return
        middle = (start + stop) // 2
        self._halve(start, middle)
        self._halve(middle, stop)
        # What two rows do only together (a unique constraint of the user's) shows in neither half.
        while not self._over() and (refused := self._refused(start, stop)):
            last = self._last(start, stop)
            self.refusals[last] = Refusal(last, refused.code, refused.message)

    def _last(self, start: int, stop: int) -> int:
        """The last row of the shortest beginning that is refused."""
        low, high = start, stop
        while high - low > 1:
            middle = (low + high) // 2
            if self._refused(start, middle):
                high = middle
            else:
                low = middle
        return high - 1
