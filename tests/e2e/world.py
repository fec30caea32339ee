"""A whole Millrace beside a simulated CleverTap project: home, pipeline, destination, and the simulator's time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millrace.connect.destination import Destination
from millrace.connect.http import limits
from millrace.connect.source import Context
from millrace.control.books.records import RunRecord
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.data.batch import LoadMode
from millrace.simulators.clevertap import Account, Settings, Simulator

PROJECT = "SIM-EU1-0001"
PASSCODE = "demo-pass-eu"
START = datetime(2026, 3, 14, 10, tzinfo=UTC)

# Columns whose values depend on when a run took place, not on what was read.
TIMES = ("__hevo__ingested_at", "__hevo__loaded_at")


class SimulatedClock:
    """The simulator's time. Sleeping takes next to no real time and moves the simulator on."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._lock = threading.Lock()
        self._extra_s = 0.0

    def now(self) -> datetime:
        return self._simulator.clock.now()

    def monotonic(self) -> float:
        return self.now().timestamp() + self._extra_s

    def sleep(self, seconds: float) -> None:
        with self._lock:
            whole = int(self._extra_s + seconds)
            self._extra_s += seconds - whole
            if whole:
                self._simulator.clock.advance(whole)
        time.sleep(0.0005)


@dataclass
class World:
    """One pipeline ``clevertap`` from a simulator into a destination."""

    simulator: Simulator
    folder: Path
    destination_type: str = "duckdb"
    destination_config: Mapping[str, Any] = field(default_factory=dict)
    mode: LoadMode = "merge"
    source_config: Mapping[str, Any] = field(default_factory=dict)
    home_folder: str = ".millrace"
    env: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits._limiters.clear()
        self.clock = SimulatedClock(self.simulator)
        self.home = Home.open(self.folder / self.home_folder, create=True, env=dict(self.env))
        self.config = dict(self.destination_config) or {"path": str(self.folder / "warehouse.duckdb")}

    def events(self, *names: str) -> None:
        """The events file has these names."""
        lines = "".join(f'"{name}"\n' for name in names)
        (self.folder / "events.csv").write_text("Event name\n" + lines, encoding="utf-8")

    def create(self) -> World:
        """The pipeline is saved."""
        source = {
            "project_id": PROJECT,
            "passcode": PASSCODE,
            "events_file": str(self.folder / "events.csv"),
            "base_url": self.simulator.base_url,
            "window_days": 15,
            **self.source_config,
        }
        connections.create(self.home, "source", "project", "clevertap", source)
        connections.create(self.home, "destination", "warehouse", self.destination_type, self.config)
        pipelines.create(
            self.home,
            Wish("clevertap", "project", "warehouse", load_mode=self.mode, objects=self.objects, options=self.options),
        )
        return self

    def run(self, **options: Any) -> RunRecord:
        return runs.run(self.home, "clevertap", clock=self.clock, **options)

    def destination(self) -> Destination[Any]:
        found = connections.find(self.home, "destination", "warehouse")
        return connections.build_destination(self.home, found.id, Context(clock=self.clock))

    def rows(self, table: str = "events", *, without: Sequence[str] = TIMES) -> list[dict[str, Any]]:
        """All rows of a table, in order of their values, without the columns named; [] when there is no table."""
        destination = self.destination()
        try:
            if destination.schema(table) is None:
                return []
            found = destination.query(f'SELECT * FROM "{table}"').to_pylist()
        finally:
            destination.close()
        rows = [{key: value for key, value in row.items() if key not in without} for row in found]
        return sorted(rows, key=lambda row: str(sorted(row.items(), key=lambda pair: pair[0])))

    def ids(self, table: str = "events") -> Counter[str]:
        return Counter(row["__hevo_id"] for row in self.rows(table))

    def truth(self) -> Counter[str]:
        """Identities of all that a complete walk of the history would get now, with their copies."""
        return Counter({row.hevo_id: row.copies for row in self.simulator.ledger(PROJECT)})

    def close(self) -> None:
        self.home.close()


def simulator(*, account: Mapping[str, Any] | None = None, start: datetime = START, **settings: Any) -> Simulator:
    """A started simulator of one project that answers at once and, unless told otherwise, without faults."""
    project = Account(**{"id": PROJECT, "passcode": PASSCODE, **(account or {})})
    return Simulator(Settings.plain(project, now=start, **settings)).start()


def event(name: str, moment: datetime, device: str = "__d1", /, **props: Any) -> dict[str, Any]:
    """An event as `Simulator.add_events` takes it."""
    return {"event_name": name, "objectId": device, "epoch_s": int(moment.timestamp()), "event_props": props}
