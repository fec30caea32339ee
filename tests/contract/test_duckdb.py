"""DuckDB keeps the contract of destinations."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.connect.testing.destination import DestinationContract
from millrace.destinations.duckdb.destination import Config, Destination


class TestDuckDB(DestinationContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "warehouse.duckdb"

    def another(self) -> Destination:
        return Destination(Config(path=self.path))
