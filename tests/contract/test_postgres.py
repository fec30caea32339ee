"""PostgreSQL keeps the contract of destinations."""

from __future__ import annotations

import re

import pytest
from tests.postgres import Database

from millrace.connect.testing.sql_destination import SqlDestinationContract
from millrace.destinations.postgres.destination import Config, Destination


class TestPostgres(SqlDestinationContract):
    @pytest.fixture(autouse=True)
    def _place(self, database: Database) -> None:
        self.database = database

    def another(self) -> Destination:
        return Destination(Config.model_validate(self.database.settings()))

    def behind(self, *statements: str) -> None:
        self.database.run(*(re.sub(r"\{t:(\w+)\}", r'"\1"', statement) for statement in statements))
