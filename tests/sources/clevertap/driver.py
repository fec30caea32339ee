"""A driver that keeps cursors, marks and rows as the ledger would."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.connect.source import Context, Note, Reading, Slice
from millrace.data.batch import JSON, Checkpoint, Lane, LoadMode, Passed, Refused
from millrace.simulators.clevertap import Simulator
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.source import Source

PROJECT = "SIM-EU1-0001"
PASSCODE = "demo-pass-eu"
# Streams whose further columns appear with the rows.
OPEN = ("message_reports", "campaign_reports")
START = datetime(2026, 3, 14, 10, tzinfo=UTC)


class SimulatedClock:
    """The simulator's time. Sleeping takes next to no real time and moves the simulator on."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._lock = threading.Lock()
        self._extra_s = 0.0
        self.slept_s = 0.0

    def now(self) -> datetime:
        return self._simulator.clock.now()

    def monotonic(self) -> float:
        return self.now().timestamp() + self._extra_s

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept_s += seconds
            whole = int(self._extra_s + seconds)
            self._extra_s += seconds - whole
            if whole:
                self._simulator.clock.advance(whole)
        time.sleep(0.0005)


@dataclass
class Kept:
    """What the ledger keeps of one stream: a cursor per lane, and marks by part. Also the source's memory."""

    cursors: dict[str, JSON] = field(default_factory=dict)
    marks: dict[str, list[bytes]] = field(default_factory=dict)

    def parts(self) -> list[str]:
        return sorted(self.marks)

    def recall(self, part: str) -> list[bytes]:
        return list(self.marks.get(part, ()))


class Recall:
    """A lane's view of what is kept: parts that come into being while it reads are listed, and recalled as empty."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._held: set[str] | None = None

    def parts(self) -> list[str]:
        return self._kept.parts()

    def recall(self, part: str) -> list[bytes]:
        if self._held is None:
            self._held = set(self.parts())
        return self._kept.recall(part) if part in self._held else []


class Crash(Exception):
    """The process died here."""


@dataclass
class Pipeline:
    """Runs a source against the simulator; what was committed survives in ``kept``, ``log`` and ``rejects``."""

    simulator: Simulator
    folder: Path
    settings: dict[str, Any]
    kept: Kept = field(default_factory=Kept)
    log: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    read: int = 0
    mode: LoadMode = "merge"
    late: bool = False
    """Nothing is committed before a lane ends."""
    stream: str = "Events"
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.clock = SimulatedClock(self.simulator)

    def names(self, *names: str) -> None:
        """The events file has these names."""
        path = self.folder / "events.csv"
        path.write_text("Event name\n" + "".join(f'"{name}"\n' for name in names), encoding="utf-8")
        self.settings["events_file"] = str(path)

    def source(self) -> Source:
        config = Config(**{"project_id": PROJECT, "passcode": PASSCODE, **self.settings})
        return Source(config, Context(self.clock, note=self.notes.append, stopping=self.stopping))

    def run(self, *lanes: Lane, crash_at: int | None = None, slices: tuple[Slice, ...] = ()) -> Counter[str]:
        """One run: both lanes, unless others are named. Counts of this run. ``crash_at`` items in, it dies."""
        before = Counter(self.counts)
        self.notes.clear()
        source = self.source()
        try:
            for lane in lanes or ("incremental", "historical"):
                self._lane(source, lane, crash_at, slices)
        finally:
            source.close()
        return self.counts - before

    def _lane(self, source: Source, lane: Lane, crash_at: int | None, slices: tuple[Slice, ...]) -> None:
        stream = next(one for one in source.streams() if one.name == self.stream)
        cursor = None if lane == "again" else self.kept.cursors.get(lane)
        followed = self.kept.cursors.get("incremental") if lane == "again" else None
        reading = Reading(stream, lane, cursor, Recall(self.kept), self.mode, slices, followed=followed)
        rows: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        passed: Counter[str] = Counter()
        checkpoints: list[Checkpoint] = []
        items = source.read(reading)
        for number, item in enumerate(items):
            if crash_at is not None and number >= crash_at:
                items.close()
                raise Crash
            if isinstance(item, pa.RecordBatch):
                assert [*item.schema][: len(stream.schema)] == [*stream.schema]
                assert len(item.schema) == len(stream.schema) or stream.name in OPEN
                rows += item.to_pylist()
            elif isinstance(item, Refused):
                rejects += item.rows.to_pylist()
            elif isinstance(item, Passed):
                passed[item.reason] += item.count
            elif isinstance(item, Checkpoint):
                checkpoints.append(item)
                if not self.late:
                    self._commit(lane, checkpoints)
                self.read += len(rows) + len(rejects) + sum(passed.values())
                self.log += rows
                self.rejects += rejects
                self.passed += passed
                self.counts.update(item.counts)
                rows, rejects, passed = [], [], Counter()
        assert not rows and not rejects, "rows without a checkpoint behind them"
        self._commit(lane, checkpoints)

    def _commit(self, lane: Lane, checkpoints: list[Checkpoint]) -> None:
        for checkpoint in checkpoints:
            self.kept.cursors[lane] = json.loads(json.dumps(checkpoint.cursor))
            for mark in checkpoint.marks:
                if mark.replace:
                    self.kept.marks.pop(mark.part, None)
                if mark.data is not None:
                    self.kept.marks.setdefault(mark.part, []).append(mark.data)
        checkpoints.clear()

    @property
    def table(self) -> dict[str, dict[str, Any]]:
        """The rows as merge leaves them: the last one of each key."""
        return {row["__hevo_id"]: row for row in self.log}

    def codes(self) -> list[str]:
        return [note.code for note in self.notes]

    def truth(self, *events: str) -> Counter[str]:
        """How many copies of each row the project holds in its last 31 days, by `__hevo_id`."""
        today = self.simulator.clock.now()
        found: Counter[str] = Counter()
        for row in self.simulator.ledger(PROJECT, (today - timedelta(days=30)).date(), today.date()):
            if not events or row.event_name in events:
                found[row.hevo_id] += row.copies
        return found

    def asked(self, step: str = "") -> list[Any]:
        return [entry for entry in self.simulator.journal() if entry.api == "events" and step in ("", entry.step)]


def events(name: str, count: int, *, day: str = "20260313", start: int = 0, **more: Any) -> list[dict[str, Any]]:
    """``count`` different events of one day."""
    return [
        {
            "event_name": name,
            "objectId": f"__{number:032x}",
            "ts_local": f"{day}{number // 3600 % 24:02d}{number // 60 % 60:02d}{number % 60:02d}",
            "event_props": {"n": number, "what": "kettle"},
            **more,
        }
        for number in range(start, start + count)
    ]
