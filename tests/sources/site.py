"""A pipeline that follows a real server's log into DuckDB, run as a user runs it, and the comparison of both sides."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from millrace.connect.source import Context
from millrace.control.books import records, run_objects
from millrace.control.books.records import RunRecord
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs

PIPELINE = "followed"


@dataclass
class Followed:
    """One home with one pipeline from ``server`` into a DuckDB file of its own, or where ``destination`` says."""

    type_: ClassVar[str]

    folder: Path
    server: Any
    destination: tuple[str, dict[str, Any]] | None = None
    home: Home = field(init=False)

    def __post_init__(self) -> None:
        self.home = Home.open(self.folder / "home", create=True, env={})

    def create(self, mode: Any = "merge", *, objects: Any = None, options: Any = None, **more: Any) -> Self:
        config = self.server.settings(**({"ingestion_mode": "log"} | more))
        connections.create(self.home, "source", "shop", self.type_, config)
        kind, settings = self.destination or ("duckdb", {"path": str(self.folder / "warehouse.duckdb")})
        connections.create(self.home, "destination", "warehouse", kind, settings)
        pipelines.create(
            self.home, Wish(PIPELINE, "shop", "warehouse", load_mode=mode, objects=objects, options=options or {})
        )
        return self

    def change(self, **settings: Any) -> None:
        """Some settings of the source are others."""
        config = {**connections.find(self.home, "source", "shop").config, **settings}
        connections.change(self.home, "source", "shop", config=config, keep_secrets=True)

    def run(self, **more: Any) -> RunRecord:
        return runs.run(self.home, PIPELINE, **more)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        found = connections.find(self.home, "destination", "warehouse")
        with closing(connections.build_destination(self.home, found.id, Context())) as destination:
            return [tuple(row.values()) for row in destination.query(sql).to_pylist()]

    def rows(self, table: str, names: str = "*", *, deleted: bool = False) -> list[tuple[Any, ...]]:
        """Rows that are not marked deleted, or those that are, in order."""
        where, order = "" if deleted else "NOT ", "1, 2" if "," in names else "1"
        return self.query(f"SELECT {names} FROM {table} WHERE {where}__hevo__marked_deleted ORDER BY {order}")

    def notes(self, back: int = 0) -> set[str]:
        """Codes of what the run had to say."""
        return {note.code for note in records.run_records(self.home)[back].notes}

    def ended(self) -> dict[str, run_objects.ObjectRow]:
        """What the latest run did with each object."""
        run = records.run_records(self.home)[0].id
        with self.home.database.reading() as connection:
            return {one.stream: one for one in run_objects.of(connection, [run])[run]}

    def close(self) -> None:
        self.home.close()
