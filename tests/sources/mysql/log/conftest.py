"""A second server, whose log may be taken away: the other tests follow that of the first one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.mariadb import Server


@pytest.fixture(scope="session")
def own() -> Iterator[Server]:
    """One for all tests that take a log away; each leaves it running, with its usual options."""
    made = Server()
    made.start()
    yield made
    made.stop()
