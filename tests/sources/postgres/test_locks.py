"""A reader never makes a transaction of the database's users end, whatever both of them lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from tests.postgres import Database
from tests.sources.postgres.following import Follow, source
from tests.sources.postgres.log.site import Site, site

from millrace.connect.source import Context
from millrace.connect.sql import libpq
from millrace.connect.sql.reading.database import NotJoined
from millrace.sources.postgres import catalog
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.database import Postgres
from millrace.sources.postgres.log.log import errors_of
from millrace.sources.postgres.log.publishing import Side
from millrace.sources.postgres.session import Server

__all__ = ["site"]

LONG_S = 60.0
OURS = "datname = current_database() AND application_name = 'millrace'"


@pytest.fixture(autouse=True)
def quick(shop: Database) -> None:
    """Whoever waits looks for a circle at once, so that the one who closes it ends."""
    shop.run(
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        f"ALTER DATABASE \"{shop.name}\" SET deadlock_timeout = '20ms'",
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY)",
        "CREATE VIEW whole AS SELECT id FROM a UNION ALL SELECT id FROM b",
        "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE high PARTITION OF parted FOR VALUES FROM (10) TO (20)",
        "INSERT INTO a VALUES (1)",
        "INSERT INTO b VALUES (2)",
        "INSERT INTO parted VALUES (1), (11)",
    )


@contextmanager
def beside(work: Callable[[], Any]) -> Generator[list[Any]]:
    """The work goes on in a thread while the block runs; then its result is in the list."""
    result: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield result
    thread.join(LONG_S)
    assert not thread.is_alive() and not failed, failed


def until(shop: Database, sql: str) -> None:
    """The question has been answered with a row."""
    end = time.monotonic() + LONG_S
    while not shop.run(sql):
        assert time.monotonic() < end, sql
        time.sleep(0.005)


def wait_for_a_try(shop: Database) -> None:
    """Somebody of ours waits for a lock, or has given up some times to begin anew."""
    sql = (
        f"SELECT pid, query_start, wait_event_type FROM pg_stat_activity WHERE {OURS} "
        "AND (query = 'ROLLBACK' OR wait_event_type = 'Lock')"
    )
    seen: set[Any] = set()
    end = time.monotonic() + LONG_S
    while len(seen) < 5:
        found = shop.run(sql)
        if any(kind == "Lock" for _, _, kind in found):
            # And has looked for a circle, and found none.
            time.sleep(0.1)
            return
        seen |= {*found}
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("name", "held", "wanted"),
    [("public.whole", "b", "a"), ("public.parted", "high", "parted"), ("query", "b", "a")],
)
def test_whoever_changes_two_tables_while_both_are_read_is_not_ended(
    shop: Database, follow: Follow, name: str, held: str, wanted: str
) -> None:
    settings = {"ingestion_mode": "custom_sql", "custom_sql": "SELECT a.id FROM a UNION ALL SELECT id FROM b"}
    one = follow(name, "full_load", settings=settings if name == "query" else {})
    stream = one.stream(one.reader)
    one.stream = lambda reader: stream  # tables were listed before
    one.run()
    one.cursors.clear()
    with shop.connect() as user:
        user.execute("BEGIN")
        user.execute(f"ALTER TABLE {held} ADD CHECK (id > 0)".encode())
        with beside(one.run) as rows:
            wait_for_a_try(shop)
            user.execute(f"ALTER TABLE {wanted} ADD y int".encode())
            user.execute("COMMIT")
    assert len(rows[0]) == 2


def test_whoever_empties_two_tables_while_they_are_published_is_not_ended(site: Site, shop: Database) -> None:
    site.create()
    with shop.connect() as user:
        user.execute("BEGIN")
        user.execute("TRUNCATE b")
        with beside(site.run):
            wait_for_a_try(shop)
            user.execute("TRUNCATE a")
            user.execute("INSERT INTO a VALUES (7)")
            user.execute("COMMIT")
    assert site.query("SELECT id FROM a WHERE NOT __hevo__marked_deleted") == [(7,)]


def test_a_second_reader_leaves_the_first_alone_when_somebody_waits_for_it(shop: Database) -> None:
    server = Server(Config(**shop.settings()), Context())
    with closing(server), server.session() as asking:
        database = Postgres(server, catalog.relations(asking, only="public.a"), lambda *_: None)
        with shop.connect() as user:
            with database.session() as leader, beside(lambda: user.execute("ALTER TABLE a ADD x int")):
                until(shop, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'a'::regclass")
                with pytest.raises(NotJoined), database.session(leader.snapshot()):
                    pass
                leader.ended()
            with database.session() as leader, database.session(leader.snapshot()) as other:
                assert other.values("SELECT id FROM a") == ["1"]


def test_a_table_is_locked_before_its_state_is_fixed(shop: Database) -> None:
    # Rewritten behind the state, it would be empty in it.
    server = Server(Config(**shop.settings()), Context())
    with closing(server), server.session() as asking:
        database = Postgres(server, catalog.relations(asking, only="public.a"), lambda *_: None)
        with database.session() as leader, shop.connect() as user:
            leader.snapshot()
            user.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                user.execute("ALTER TABLE a ALTER id TYPE bigint")
            assert leader.values("SELECT id FROM a") == ["1"]


def test_values_are_looked_up_with_all_locks_or_none(shop: Database) -> None:
    config = Config(**shop.settings(ingestion_mode="log"))
    with closing(Side(libpq.uri(config), errors_of(config))) as side, shop.connect() as user:

        def look() -> list[tuple[Any, ...]]:
            with side.reading('"public"."parted"', Context().clock):
                return side.rows("SELECT id FROM parted ORDER BY id")

        user.execute("BEGIN")
        user.execute("ALTER TABLE high ADD CHECK (id > 5)")
        with beside(look) as rows:
            wait_for_a_try(shop)
            user.execute("ALTER TABLE parted ADD y int")
            user.execute("COMMIT")
        assert rows == [[(1,), (11,)]]


@pytest.mark.parametrize("mode", ["table", "log"])
def test_tables_are_listed_while_a_part_of_one_is_changed(shop: Database, mode: str) -> None:
    with closing(source(shop, ingestion_mode=mode)) as reader, shop.connect() as user:
        user.execute("BEGIN")
        user.execute("ALTER TABLE high ADD CHECK (id > 5)")
        with beside(reader.streams) as found:
            pass
        assert "public.parted" in {stream.name for stream in found[0]}
        user.execute("ROLLBACK")
