"""A session with a real MariaDB whose rows nobody wants any more."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.mariadb import Database

from millrace.connect.mysql.server import ServerSettings, opened
from millrace.connect.mysql.session import Session
from millrace.connect.reach import ANYWHERE
from millrace.errors import MillraceError

STATES = "SELECT state FROM information_schema.processlist WHERE info LIKE 'SELECT REPEAT%'"


@pytest.mark.parametrize("how", ["from without", "by whoever reads"])
def test_the_server_notices_at_once_that_a_reader_gave_up(mysql_database: Database, how: str) -> None:
    settings = ServerSettings(**mysql_database.settings())
    session = Session(opened(settings, ANYWHERE, "MariaDB"), "MariaDB")
    session.execute("SET SESSION net_write_timeout = 600")
    parts = session.stream("SELECT REPEAT('x', 1000) FROM seq_1_to_100000", most_bytes=10_000)
    next(parts)
    waits_for(mysql_database, lambda states: states == ["Writing to net"])
    time.sleep(0.5)  # until everything between both is full
    if how == "from without":
        session.break_off()
        # What has come is read to its end, and nothing says that more would come.
        with pytest.raises(MillraceError, match="Lost connection"):
            list(parts)
    else:
        parts.close()
    session.close()
    waits_for(mysql_database, lambda states: not states)


def waits_for(server: Database, there: Callable[[list[str]], bool]) -> None:
    """The states of the server's threads that write these rows become so, soon."""
    until = time.monotonic() + 10
    while not there(states := [state for (state,) in server.run(STATES)]):
        assert time.monotonic() < until, states
        time.sleep(0.02)
