"""A source that is read again and again as the engine does it: cursors and marks are kept from one run to the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

import pyarrow as pa
from tests.postgres import Database

from millrace.connect.source import Context, Reading, Stream, SystemClock
from millrace.data.batch import JSON, Checkpoint, Lane, LoadMode, Passed
from millrace.data.rows import to_rows
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.source import Source


def source(database: Database, context: Context | None = None, **settings: Any) -> Source:
    return Source(Config(**database.settings(**settings)), context or Context())


Follow: TypeAlias = Callable[..., "Follower"]


class Ahead(SystemClock):
    """The machine's time, put forward."""

    def __init__(self) -> None:
        self._by = timedelta()

    def ahead(self, **by: float) -> None:
        self._by += timedelta(**by)

    def now(self) -> datetime:
        return super().now() + self._by


@dataclass
class Marks:
    kept: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])

    def parts(self) -> Sequence[str]:
        return list(self.kept)

    def recall(self, part: str) -> Sequence[bytes]:
        return self.kept.get(part, [])


@dataclass
class Follower:
    """One object in one query mode. ``stop_after``: the run ends behind so many checkpoints, as if it were killed."""

    database: Database
    name: str
    mode: JSON = None
    load_mode: LoadMode = "merge"
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    page_rows: int | None = None
    range_rows: int | None = None
    cursors: dict[Lane, JSON] = field(default_factory=dict[Lane, JSON])
    marks: Marks = field(default_factory=Marks)
    refused: list[dict[str, JSON]] = field(default_factory=list[dict[str, JSON]])

    def run(self, *, stop_after: int | None = None) -> list[dict[str, JSON]]:
        """Rows that a run reads, of both lanes; what no checkpoint covers does not count."""
        return [row for lane in ("incremental", "historical") for row in self.lane(lane, stop_after)]

    clock: Ahead = field(default_factory=lambda: Ahead())

    @cached_property
    def reader(self) -> Source:
        context = Context(clock=self.clock, queries={self.name: self.mode} if self.mode else {})
        made = source(self.database, context, **self.settings)
        # Small ones, so that few rows make many.
        made.page_rows = self.page_rows or made.page_rows
        made.range_rows = self.range_rows or made.range_rows
        return made

    def close(self) -> None:
        self.reader.close()

    def lane(self, lane: Lane, stop_after: int | None = None) -> list[dict[str, JSON]]:
        """Rows that a run reads in one lane."""
        reader = self.reader
        stream = self.stream(reader)
        if lane == "historical" and not stream.historical:
            return []
        reading = Reading(stream, lane, self.cursors.get(lane), self.marks, self.load_mode)
        rows: list[dict[str, JSON]] = []
        waiting: list[dict[str, JSON]] = []
        items = reader.read(reading)
        for item in items:
            if isinstance(item, Checkpoint):
                # As it is kept: as JSON text.
                self.cursors[lane] = json.loads(json.dumps(item.cursor))
                for mark in item.marks:
                    if mark.replace:
                        self.marks.kept.pop(mark.part, None)
                    if mark.data is not None:
                        self.marks.kept.setdefault(mark.part, []).append(mark.data)
                rows, waiting = rows + waiting, []
                if stop_after is not None and (stop_after := stop_after - 1) == 0:
                    items.close()
                    return rows
            elif isinstance(item, pa.RecordBatch):
                waiting += to_rows(item)
            elif not isinstance(item, Passed):
                self.refused += to_rows(item.rows)
        return rows + waiting

    def stream(self, reader: Source) -> Stream:
        return next(stream for stream in reader.streams() if stream.name == self.name)
