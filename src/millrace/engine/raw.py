"""Rows as they were read, before any step, kept on the stage beside the segments, and read again in their order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import field
from datetime import UTC, datetime
from urllib.parse import quote

import pyarrow as pa

from millrace.data.batch import Batch, Lane
from millrace.data.columns import INGESTED_AT, is_ours, ours
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.engine.ledger import RawFile
from millrace.engine.stage import OpenFile, Stage


@dataclass(slots=True)
class _Keeping:
    file: OpenFile
    first_ms: int
    last_ms: int


@dataclass(slots=True)
class RawDraft:
    """The files of rows as they were read that one ingest is writing. Garbage until a ledger committed them (I1).

    Each row carries its time of ingestion, and the times in a file never go back: the order of all rows of a stream
    can be told from their files (`in_order`).
    """

    stage: Stage
    feed: str
    lane: Lane
    _open: dict[tuple[str, pa.Schema], _Keeping] = field(default_factory=dict[tuple[str, pa.Schema], _Keeping])
    _full: list[tuple[str, _Keeping]] = field(default_factory=list[tuple[str, _Keeping]])

    def add(self, batch: Batch, ingested_at_ms: int) -> None:
        """The rows are in an open file of their stream and schema."""
        rows = batch.rows
        if not rows.num_rows:
            return
        index = rows.schema.get_field_index(INGESTED_AT)
        if index < 0 or not is_ours(rows.schema.field(index)):
            times = pa.repeat(pa.scalar(ingested_at_ms, pa.int64()), rows.num_rows)
            self._write(batch.stream, _timed(rows, times), ingested_at_ms)
            return
        # They were ingested before; each time is a batch of its own, the oldest first.
        for time in sorted(pc.unique(rows[INGESTED_AT]).to_pylist()):
            self._write(batch.stream, rows.filter(pc.equal(rows[INGESTED_AT], time)), time)

    def _write(self, stream: str, rows: pa.RecordBatch, time: int) -> None:
        key = (stream, rows.schema)
        found = self._open.get(key)
        if found is not None and time < found.last_ms:
            self._full.append((stream, self._open.pop(key)))
            found = None
        if found is None:
            found = self._open[key] = _Keeping(OpenFile.begun(self.stage, rows.schema), time, time)
        found.file.write(rows)
        found.last_ms = time

    def close(self) -> list[RawFile]:
        """All files are durable; the draft is empty again."""
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        files: list[RawFile] = []
        for stream, kept in [*self._full, *((stream, kept) for (stream, _), kept in self._open.items())]:
            path, size, checksum = kept.file.put(f"{self.feed}/raw/{quote(stream, safe='')}/{day}")
            files.append(RawFile(stream, self.lane, path, kept.file.rows, size, checksum, kept.first_ms))
        self._empty()
        return files

    def discard(self) -> None:
        """Files that are being written are gone."""
        for kept in [*(kept for _, kept in self._full), *self._open.values()]:
            kept.file.discard()
        self._empty()

    def _empty(self) -> None:
        self._full.clear()
        self._open.clear()


def in_order(stage: Stage, files: Sequence[RawFile], *, timed: bool) -> Iterator[Batch]:
    """The rows of all files in the order in which they were ingested, batch by batch; ``files`` as they were kept.

    They enter at the steps: they are kept already.

    ``timed``: rows carry the time of their ingestion, so that they keep it; else they get a new one. Only files that
    may hold the next row are open. Raises EnvironmentProblem when a file is gone or was changed.
    """
    waiting = sorted(range(len(files)), key=lambda number: (files[number].ingested_at_ms, number))
    waiting.reverse()
    heads: list[tuple[int, int, int]] = []
    readers: dict[int, Iterator[pa.RecordBatch]] = {}
    batches: dict[int, pa.RecordBatch] = {}

    def advance(number: int, count: int) -> None:
        batch = next(readers[number], None)
        if batch is None:
            del readers[number]
        else:
            batches[number] = batch
            heapq.heappush(heads, (batch[INGESTED_AT][0].as_py(), number, count))

    while waiting or heads:
        while waiting and (not heads or files[waiting[-1]].ingested_at_ms <= heads[0][0]):
            number = waiting.pop()
            readers[number] = _batches(stage, files[number])
            advance(number, 0)
        _, number, count = heapq.heappop(heads)
        batch = batches.pop(number)
        advance(number, count + 1)
        yield Batch(files[number].stream, batch if timed else batch.drop_columns([INGESTED_AT]), "steps")


def _batches(stage: Stage, file: RawFile) -> Iterator[pa.RecordBatch]:
    with closing(stage.read(file.path, file.checksum)) as reader:
        yield from reader


def _timed(rows: pa.RecordBatch, times: pa.Array) -> pa.RecordBatch:
    return rows.append_column(ours(INGESTED_AT, pa.int64()), times)
