"""Fixtures that tests of several folders share."""

from __future__ import annotations

import pytest
from tests.postgres import database, postgres, pytest_report_header

pytest.register_assert_rewrite("millrace.connect.testing")

__all__ = ["database", "postgres", "pytest_report_header"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=4, help="kill -9 of the real process: how often, for each kind")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """A few times in every test run, fifty times by `make crash`."""
    return request.config.getoption("--kills")
