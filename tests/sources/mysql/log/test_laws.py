"""The binary log of MariaDB keeps the laws of all logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.mariadb import Database, Server
from tests.sources.log_contract import SqlGround, SqlLogContract, dying
from tests.sources.mysql.log.site import Site, database_of, shop, site
from tests.sources.mysql.log.writer import TABLES, Writer, differences

from millrace.errors import Transient
from millrace.sources.mysql.log import reading
from millrace.sources.mysql.log.wire import Dump
from millrace.sources.mysql.source import Source

__all__ = ["shop", "site"]


class MariaDB(SqlGround):
    batch = (reading, "EVENTS")
    bears = (Transient,)  # a column has gone since it was looked up

    def keyless(self, table: str) -> None:
        self.run(f"CREATE TABLE {table} (id int, v text)")

    def widened(self, table: str, column: str) -> str:
        return f"ALTER TABLE {table} MODIFY {column} bigint"

    def choice(self, table: str, column: str) -> Sequence[str]:
        return (f"ALTER TABLE {table} ADD COLUMN {column} enum('sad', 'glad')",)

    @contextmanager
    def writing(self) -> Generator[Callable[[str], object]]:
        with self.site.server.connect() as connection, connection.cursor() as cursor:
            yield cursor.execute

    @contextmanager
    def kept_for_a_while(self) -> Generator[None]:
        ((days,),) = self.run("SELECT @@global.expire_logs_days")
        self.run("SET GLOBAL expire_logs_days = 1")
        try:
            yield
        finally:
            self.run(f"SET GLOBAL expire_logs_days = {days}")

    def lose(self) -> None:
        until = time.monotonic() + 60
        # The server keeps a file while it still notices that its reader has gone.
        while True:
            self.run("FLUSH BINARY LOGS")
            ((file, *_),) = self.run("SHOW MASTER STATUS")
            if len(self.run(f"PURGE BINARY LOGS TO '{file}'", "SHOW BINARY LOGS")) == 1:
                return
            assert time.monotonic() < until

    def prepare(self) -> None:
        self.run(*TABLES)

    def differences(self) -> dict[str, Any]:
        return differences(self.site.server, self.site)

    def dies_reading(self, patch: pytest.MonkeyPatch, after: int) -> None:
        patch.setattr(Dump, "events", dying(Dump.events, after))


class TestMariaDB(SqlLogContract):
    @pytest.fixture
    def ground(self, site: Site, shop: Database) -> MariaDB:
        return MariaDB(site, Source, Writer(shop, 1))

    @pytest.fixture
    def losing(self, tmp_path: Path, own: Server) -> Iterator[MariaDB]:
        with database_of(own.database) as shop, closing(Site(tmp_path, shop)) as site:
            yield MariaDB(site, Source, None)
