"""A pipeline that follows a real PostgreSQL's log."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.postgres import Database
from tests.sources.site import PIPELINE, Followed

from millrace.control.pipeline import lifecycle, pipelines


@dataclass
class Site(Followed):
    """One home with one pipeline from ``server``, which has a slot for it."""

    type_ = "postgres"

    def slots(self) -> list[str]:
        """Slots of the pipeline at the server."""
        name = f"millrace_{self.id}%"
        sql = f"SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE '{name}'"
        return [row[0] for row in self.server.run(sql)]

    @property
    def id(self) -> str:
        return pipelines.find(self.home, PIPELINE).id.lower().replace("-", "_")

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


@contextmanager
def log_kept(database: Database, most_mb: int) -> Generator[None]:
    """While the block runs, the server keeps at most so much of its log for a slot."""
    asked = "SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size'"
    ((before,),) = database.run(asked)

    def keep(mb: int) -> None:
        database.run(f"ALTER SYSTEM SET max_slot_wal_keep_size = {mb}", "SELECT pg_reload_conf()")
        until = time.monotonic() + 60
        # The server reads its settings when it gets to it.
        while database.run(asked) != [(mb,)]:
            assert time.monotonic() < until
            time.sleep(0.01)

    keep(most_mb)
    try:
        yield
    finally:
        keep(before)
