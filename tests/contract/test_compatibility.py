"""DuckDB, PostgreSQL and MySQL take into columns of any type what the compatibility table says, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import mariadb
from tests.postgres import Database

from millrace.connect.testing.compatibility import CompatibilityContract


class TestDuckDB(CompatibilityContract):
    type_ = "duckdb"

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "warehouse.duckdb"

    def config(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class TestPostgres(CompatibilityContract):
    type_ = "postgres"

    @pytest.fixture(autouse=True)
    def _place(self, database: Database) -> None:
        self.database = database

    def config(self) -> dict[str, Any]:
        return self.database.settings()


class TestMySQL(CompatibilityContract):
    type_ = "mysql"

    @pytest.fixture(autouse=True)
    def _place(self, mysql_database: mariadb.Database) -> None:
        self.database = mysql_database

    def config(self) -> dict[str, Any]:
        return self.database.settings()
