"""DuckDB keeps the contract of destinations."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from millrace.connect.testing.sql_destination import SqlDestinationContract
from millrace.destinations.duckdb.destination import Config, Destination


class TestDuckDB(SqlDestinationContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "warehouse.duckdb"

    def another(self) -> Destination:
        return Destination(Config(path=self.path))

    def behind(self, *statements: str) -> None:
        with duckdb.connect(self.path) as connection:
            for statement in statements:
                connection.execute(re.sub(r"\{t:(\w+)\}", r'"\1"', statement))
