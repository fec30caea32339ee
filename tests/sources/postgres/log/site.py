"""A pipeline that follows a real server's log into DuckDB, and the comparison of both sides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import Database

from millrace.connect.source import Context
from millrace.control import connections, lifecycle, pipelines, records, runs
from millrace.control.home import Home
from millrace.control.pipelines import Wish
from millrace.control.records import RunRecord

PIPELINE = "followed"


@dataclass
class Site:
    """One home with one pipeline from ``server`` into a DuckDB file of its own, or where ``destination`` says."""

    folder: Path
    server: Database
    destination: tuple[str, dict[str, Any]] | None = None
    home: Home = field(init=False)

    def __post_init__(self) -> None:
        self.home = Home.open(self.folder / "home", create=True, env={})

    def create(self, mode: Any = "merge", *, objects: Any = None, options: Any = None, **more: Any) -> Site:
        config = self.server.settings(ingestion_mode="log", **more)
        connections.create(self.home, "source", "shop", "postgres", config)
        kind, settings = self.destination or ("duckdb", {"path": str(self.folder / "warehouse.duckdb")})
        connections.create(self.home, "destination", "warehouse", kind, settings)
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
        return self.query(f"SELECT {names} FROM {table} WHERE {where}__hevo__marked_deleted ORDER BY 1, 2")

    def slots(self) -> list[str]:
        """Slots of the pipeline at the server."""
        name = f"millrace_{self.id}%"
        sql = f"SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE '{name}'"
        return [row[0] for row in self.server.run(sql)]

    @property
    def id(self) -> str:
        return pipelines.find(self.home, PIPELINE).id.lower().replace("-", "_")

    def notes(self, back: int = 0) -> set[str]:
        """Codes of what the run had to say."""
        return {note.code for note in records.run_records(self.home)[back].notes}

    def delete(self) -> None:
        lifecycle.delete(self.home, PIPELINE)

    def close(self) -> None:
        """No slot of it holds the server's log."""
        left = self.slots() if any(one.name == PIPELINE for one in pipelines.listed(self.home)) else []
        for name in left:
            self.server.run(f"SELECT pg_drop_replication_slot('{name}')")
        self.home.close()


@pytest.fixture
def site(tmp_path: Path, shop: Database) -> Iterator[Site]:
    made = Site(tmp_path, shop)
    yield made
    made.close()
