"""A pipeline that follows a real server's binary log into DuckDB."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.mariadb import Database
from tests.sources.postgres.log.site import PIPELINE
from tests.sources.postgres.log.site import Site as PostgresSite

from millrace.control import connections, pipelines
from millrace.control.pipelines import Wish


@dataclass
class Site(PostgresSite):
    """One home with one pipeline from ``server`` into a DuckDB file of its own."""

    server: Any

    def create(self, mode: Any = "merge", *, objects: Any = None, options: Any = None, **more: Any) -> Site:
        config = self.server.settings(**({"ingestion_mode": "log"} | more))
        connections.create(self.home, "source", "shop", "mysql", config)
        path = str(self.folder / "warehouse.duckdb")
        connections.create(self.home, "destination", "warehouse", "duckdb", {"path": path})
        pipelines.create(
            self.home, Wish(PIPELINE, "shop", "warehouse", load_mode=mode, objects=objects, options=options or {})
        )
        return self

    def close(self) -> None:
        self.home.close()


@pytest.fixture
def shop(mariadb: Database) -> Iterator[Database]:
    """A database of its own."""
    fresh = replace(mariadb, name=f"shop_{secrets.token_hex(6)}")
    mariadb.run(f'CREATE DATABASE "{fresh.name}"')
    yield fresh
    mariadb.run(f'DROP DATABASE IF EXISTS "{fresh.name}"')


@pytest.fixture
def site(tmp_path: Path, shop: Database) -> Iterator[Site]:
    made = Site(tmp_path, shop)
    yield made
    made.close()
