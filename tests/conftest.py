"""Fixtures that tests of several folders share."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings
from tests import bubblewrap
from tests import postgres as servers
from tests.buckets import bucket, s3
from tests.postgres import database, postgres

pytest.register_assert_rewrite("millrace.connect.testing")

# A shell that runs the tests in the background lets them ignore Ctrl-C, and processes inherit that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, which others use too, and nothing of the law that it shows.
settings.register_profile("millrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("millrace")

__all__ = ["bucket", "database", "postgres", "s3"]


def pytest_report_header() -> list[str]:
    return [servers.pytest_report_header(), bubblewrap.pytest_report_header()]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=4, help="kill -9 of the real process: how often, for each kind")
    parser.addoption("--every-point", action="store_true", help="die at each point for each destination and load mode")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """A few times in every test run, fifty times by `make crash`."""
    return request.config.getoption("--kills")


@pytest.fixture
def every_point(request: pytest.FixtureRequest) -> bool:
    """Points of the reading half are tried for each destination and load mode by `make crash`, else for one alone."""
    return request.config.getoption("--every-point")
