"""Acme keeps the contract of destinations."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from millrace.connect.testing.sql_destination import SqlDestinationContract
from millrace.destinations.acme.destination import Config, Destination


class TestContract(SqlDestinationContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "acme.db"

    def another(self) -> Destination:
        return Destination(Config(path=self.path))

    def behind(self, *statements: str) -> None:
        """A user changes tables by hand; `{t:name}` stands for a table."""
        with duckdb.connect(self.path) as connection:
            for statement in statements:
                connection.execute(re.sub(r"\{t:(\w+)\}", r'"\1"', statement))
