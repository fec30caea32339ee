"""A home with a pipeline from a folder into a DuckDB file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from millrace.control.books.records import RunRecord
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import file_log, pipelines
from millrace.control.pipeline.file_log import FileEntry
from millrace.control.running import runs


@dataclass
class World:
    home: Home
    folder: Path
    warehouse: Path

    def create(self, *, load_mode: Any = "merge", **config: Any) -> None:
        connections.create(self.home, "source", "in", "files", {"url": str(self.folder)} | config)
        connections.create(self.home, "destination", "out", "duckdb", {"path": str(self.warehouse)})
        pipelines.create(self.home, pipelines.Wish("p", "in", "out", load_mode=load_mode))

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, **more: Any) -> RunRecord:
        return runs.run(self.home, "p", **more)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.warehouse)) as connection:
            return connection.execute(query).fetchall()

    def log(self) -> dict[str, FileEntry]:
        return {one.path: one for one in file_log.files_of(self.home, "p", limit=1000).items}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "data").mkdir()
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        yield World(home, tmp_path / "data", tmp_path / "w.duckdb")
