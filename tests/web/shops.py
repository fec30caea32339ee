"""Pipelines that the stories of the screens begin with."""

from __future__ import annotations

from pathlib import Path

from tests.control.conftest import EVENTS_CSV

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish


def opened(home: Home, folder: Path, *names: str, warehouse: str = "warehouse") -> None:
    """Pipelines of these names from one source into a DuckDB file of that folder; none has run."""
    (folder / "events.csv").write_text(EVENTS_CSV)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(folder / "events.csv")}
    connections.create(home, "source", f"app of {warehouse}", "clevertap", config)
    connections.create(home, "destination", warehouse, "duckdb", {"path": str(folder / "w.duckdb")})
    for name in names:
        prefix = "" if name == names[0] else name
        pipelines.create(home, Wish(name, f"app of {warehouse}", warehouse, table_prefix=prefix))
