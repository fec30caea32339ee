"""A pipeline from a real server into DuckDB, run as a user runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.mongodb import Deployment

from millrace.connect.source import Context
from millrace.control import connections, pipelines, records, runs
from millrace.control.home import Home
from millrace.control.pipelines import Wish
from millrace.control.records import RunRecord

PIPELINE = "followed"


@dataclass
class Site:
    """One home with one pipeline from ``deployment`` into a DuckDB file of its own."""

    folder: Path
    deployment: Deployment
    home: Home = field(init=False)

    def __post_init__(self) -> None:
        self.home = Home.open(self.folder / "home", create=True, env={})

    def create(self, mode: Any = "merge", *, objects: Any = None, options: Any = None, **more: Any) -> Site:
        config = self.deployment.settings(**more)
        connections.create(self.home, "source", "shop", "mongodb", config)
        settings = {"path": str(self.folder / "warehouse.duckdb")}
        connections.create(self.home, "destination", "warehouse", "duckdb", settings)
        pipelines.create(
            self.home, Wish(PIPELINE, "shop", "warehouse", load_mode=mode, objects=objects, options=options or {})
        )
        return self

    def run(self, **more: Any) -> RunRecord:
        return runs.run(self.home, PIPELINE, **more)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        found = connections.find(self.home, "destination", "warehouse")
        with closing(connections.build_destination(self.home, found.id, Context())) as destination:
            return [tuple(row.values()) for row in destination.query(sql).to_pylist()]

    def rows(self, table: str, names: str = "*", *, deleted: bool = False) -> list[tuple[Any, ...]]:
        """Rows that are not marked deleted, or those that are, in order."""
        where = "" if deleted else "NOT "
        return self.query(f"SELECT {names} FROM {table} WHERE {where}__hevo__marked_deleted ORDER BY 1")

    def notes(self, back: int = 0) -> set[str]:
        """Codes of what the run had to say."""
        return {note.code for note in records.run_records(self.home)[back].notes}

    def close(self) -> None:
        self.home.close()


@pytest.fixture
def site(tmp_path: Path, mongo: Deployment) -> Iterator[Site]:
    made = Site(tmp_path, mongo)
    yield made
    made.close()
