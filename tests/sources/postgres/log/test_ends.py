"""Where a run ends in the log: behind all that was committed before it began, on disk or not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from tests.postgres import Database
from tests.sources.postgres.conftest import shop

from millrace.connect.source import SystemClock
from millrace.connect.sql import libpq
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.log import publishing
from millrace.sources.postgres.log.log import errors_of
from millrace.sources.postgres.log.publishing import Side
from millrace.sources.postgres.log.wire import lsn

__all__ = ["shop"]

# The server's own time to bring a commit to the disk is long beside the time in which the tests ask for the end.
TRIES = 20
INSERTED = "SELECT pg_current_wal_insert_lsn()::text"


@pytest.fixture
def lazy(shop: Database) -> Database:
    """Commits in this database do not wait for the disk."""
    shop.run(
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        f'ALTER DATABASE "{shop.name}" SET synchronous_commit = off',
        "CREATE TABLE t (id int PRIMARY KEY)",
    )
    return shop


@pytest.fixture
def reader(lazy: Database) -> Iterator[Database]:
    """Somebody who may not write to the log."""
    name = f"reader_{secrets.token_hex(4)}"
    lazy.run(
        f"CREATE ROLE {name} LOGIN PASSWORD 'pw'",
        """
        DO $$ BEGIN EXECUTE (
          SELECT string_agg(format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure), '; ')
          FROM pg_proc WHERE proname = 'pg_logical_emit_message'
        ); END $$""",
    )
    yield replace(lazy, user=name, password="pw")
    lazy.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def side(database: Database) -> Side:
    config = Config(**database.settings(ingestion_mode="log"))
    return Side(libpq.uri(config), errors_of(config))


def test_the_end_is_behind_every_commit_that_was_made_before(lazy: Database) -> None:
    with closing(side(lazy)) as asking, lazy.connect() as writer:
        for number in range(TRIES):
            writer.execute("INSERT INTO t VALUES (%s)", (number,))
            ((committed,),) = writer.execute(INSERTED).fetchall()
            assert asking.end_of_log(SystemClock()) >= lsn(committed)


def test_the_end_is_waited_for_where_the_user_may_not_write_to_the_log(
    reader: Database, lazy: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_FLUSH_S", 60.0)
    with closing(side(reader)) as asking, lazy.connect() as writer:
        for number in range(3):
            writer.execute("INSERT INTO t VALUES (%s)", (number,))
            ((committed,),) = writer.execute(INSERTED).fetchall()
            assert asking.end_of_log(SystemClock()) >= lsn(committed)


def test_nothing_is_written_to_the_log_where_all_of_it_is_on_disk(lazy: Database) -> None:
    with closing(side(lazy)) as asking:
        # Others write too, so that it may come true only later.
        for _ in range(TRIES):
            first = asking.end_of_log(SystemClock())
            if asking.end_of_log(SystemClock()) == first:
                return
    raise AssertionError("every question for the end moves it")
