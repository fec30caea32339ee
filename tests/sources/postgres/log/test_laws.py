"""PostgreSQL's log keeps the laws of all logs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from tests.postgres import Database
from tests.sources.log_contract import SqlGround, SqlLogContract, dying
from tests.sources.postgres.conftest import shop
from tests.sources.postgres.log.site import Site, log_kept, site
from tests.sources.postgres.log.writer import TABLES, Writer, differences

from millrace.sources.postgres.log import reading
from millrace.sources.postgres.log.wire import Wire
from millrace.sources.postgres.source import Source

__all__ = ["shop", "site"]


class Postgres(SqlGround):
    batch = (reading, "ROWS")
    site: Site

    def object(self, table: str) -> str:
        return f"public.{table}"

    def keyless(self, table: str) -> None:
        self.run(f"CREATE TABLE {table} (id int, v text)", f"ALTER TABLE {table} REPLICA IDENTITY FULL")

    def widened(self, table: str, column: str) -> str:
        return f"ALTER TABLE {table} ALTER {column} TYPE bigint"

    def choice(self, table: str, column: str) -> Sequence[str]:
        return "CREATE TYPE mood AS ENUM ('sad', 'glad')", f"ALTER TABLE {table} ADD COLUMN {column} mood"

    @contextmanager
    def writing(self) -> Generator[Callable[[str], object]]:
        with self.site.server.connect() as connection:
            yield lambda sql: connection.execute(sql.encode())

    def kept_for_a_while(self) -> AbstractContextManager[None]:
        return log_kept(self.site.server, 100 * 1024)

    def lose(self) -> None:
        self.run(f"SELECT pg_drop_replication_slot('{self.site.slots()[0]}')")

    def prepare(self) -> None:
        self.run(*TABLES)

    def differences(self) -> dict[str, Any]:
        return differences(self.site.server, self.site)

    def dies_reading(self, patch: pytest.MonkeyPatch, after: int) -> None:
        patch.setattr(Wire, "messages", dying(Wire.messages, after))


class TestPostgres(SqlLogContract):
    @pytest.fixture
    def ground(self, site: Site, shop: Database) -> Postgres:
        shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        return Postgres(site, Source, Writer(shop, 1))
