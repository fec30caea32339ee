"""Control databases in files begin as copies of the first one that this process made, as long as the tests run.

To make the schema takes longer than many a test. Those of `tests/control/test_db.py` are made one by one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def prepared() -> Iterator[Callable[..., str]]:
    """What makes one otherwise."""
    from millrace.control.database import db

    made, first, turn = db._create, sqlite3.connect(":memory:", check_same_thread=False), threading.Lock()
    revision = ""

    def create(database: db.Database) -> str:
        nonlocal revision
        if not database.is_sqlite:
            return made(database)
        with turn:
            # Another thread may have made it meanwhile, and written to it.
            if (found := db._revision(database)) is not None:
                return found
            new = not revision
            revision = revision or made(database)
            with database.engine.connect() as plain:
                one = plain.connection.driver_connection
                assert isinstance(one, sqlite3.Connection)
                (one if new else first).backup(first if new else one)
        return revision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "_create", create)
        yield made
    first.close()
