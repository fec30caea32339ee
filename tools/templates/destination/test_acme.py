"""Acme keeps the contract of destinations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from millrace.connect.testing.sql_destination import SqlDestinationContract


class TestContract(SqlDestinationContract):
    type_ = "acme"

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "acme.db"

    def config(self) -> dict[str, Any]:
        return {"path": str(self.path)}

    def behind(self, *statements: str) -> None:
        """A user changes tables by hand; `{t:name}` stands for a table."""
        with duckdb.connect(self.path) as connection:
            for statement in statements:
                connection.execute(re.sub(r"\{t:(\w+)\}", r'"\1"', statement))
