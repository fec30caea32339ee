"""PostgreSQL keeps the contract of destinations."""

from __future__ import annotations

import pytest
from tests.postgres import Database

from millrace.connect.testing.destination import DestinationContract
from millrace.destinations.postgres.destination import Config, Destination


class TestPostgres(DestinationContract):
    @pytest.fixture(autouse=True)
    def _place(self, database: Database) -> None:
        self.database = database

    def another(self) -> Destination:
        return Destination(Config.model_validate(self.database.settings()))
