"""What a server has no room for, keeps no longer or does not keep at all: told by its number, and nothing harmed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest
from tests.postgres import Database, Server, binaries
from tests.sources.postgres.conftest import shop
from tests.sources.postgres.following import source
from tests.sources.postgres.log.site import Site, log_kept, site
from tests.sources.site import PIPELINE

from millrace.control.books.ledger import Books
from millrace.control.pipeline import objects
from millrace.control.running import runs
from millrace.engine import ingest
from millrace.engine.ledger import Commit
from millrace.errors import MillraceError
from millrace.sources.postgres.log import reading

__all__ = ["shop", "site"]


@pytest.fixture(autouse=True)
def one_table(shop: Database) -> None:
    shop.run(
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
    )


@pytest.fixture
def little_log(shop: Database) -> Iterator[None]:
    """The server removes log of which a slot has more than one MiB to read."""
    with log_kept(shop, 1):
        yield


def test_a_log_that_the_server_removed_is_told_and_mended_by_one_command(
    site: Site, shop: Database, little_log: None
) -> None:
    del little_log
    site.create()
    site.run()
    shop.run("DELETE FROM t WHERE id = 1")
    for _ in range(4):
        shop.run("CREATE TABLE gone (); DROP TABLE gone", "SELECT pg_switch_wal()", "CHECKPOINT")
    assert shop.run(f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{site.slots()[0]}'") == [("lost",)]
    with pytest.raises(MillraceError, match="removed log") as lost:
        site.run()
    assert lost.value.code == "log_expired" and site.notes() == {"log_expired"}
    assert [one.status for one in objects.listed(site.home, PIPELINE)] == ["LOG_EXPIRED"]
    assert [one.name for one in objects.listed(site.home, PIPELINE, category="FAILED")] == ["public.t"]
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    assert site.rows("t", "id, v") == [(2, 2)]
    assert {one.status for one in objects.listed(site.home, PIPELINE)}.isdisjoint(objects.FAILED)


def test_people_are_told_before_a_log_is_removed(site: Site, shop: Database) -> None:
    site.create()
    site.run()
    ((held,),) = shop.run(
        "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::int8 / 1048576 FROM pg_replication_slots "
        f"WHERE slot_name = '{site.slots()[0]}'"
    )
    # Two segments of 16 MiB, and one of them is filled.
    with log_kept(shop, held + 32):
        shop.run("CREATE TABLE gone ()", "SELECT pg_switch_wal()", "DROP TABLE gone", "SELECT pg_switch_wal()")
        site.run()
    assert "log_retention_risk" in site.notes()


def code(site: Site) -> str:
    """With which error a run ends."""
    with pytest.raises(MillraceError) as refused:
        site.run()
    return refused.value.code


def test_a_server_with_no_slot_or_no_sender_left_is_1024(site: Site, shop: Database) -> None:
    site.create()
    free = "current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)"
    shop.run(f"SELECT pg_create_physical_replication_slot('full_' || n) FROM generate_series(1, {free}) AS n")
    try:
        assert code(site) == "postgres_1024"
        with closing(source(shop, ingestion_mode="log")) as reader:
            assert [(one.step, one.state) for one in reader.check()][2] == ("log", "warn")
    finally:
        shop.run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^full_'")
    ((senders,),) = shop.run(
        "SELECT current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)"
    )
    with ExitStack() as held:
        for _ in range(senders):
            held.enter_context(closing(psycopg.connect(f"{shop.url}?replication=database", autocommit=True)))
        assert code(site) == "postgres_1024"
    site.run()
    assert site.rows("t", "id, v") == [(1, 1), (2, 2)]


def test_a_server_that_keeps_too_little_in_its_log_is_1012() -> None:
    server = Server(binaries())
    try:
        database = server.start(wal_level="replica")
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
        with closing(source(database, ingestion_mode="log")) as reader:
            assert [(one.step, one.state) for one in reader.check()][-1] == ("log", "fail")
            log = reader.log()
            assert log is not None
            from millrace.connect.log import Followed, Following

            streams = {one.name: Followed(one, "merge") for one in reader.streams()}
            with pytest.raises(MillraceError) as refused:
                list(log.follow(Following(streams)))
            assert refused.value.code == "postgres_1012"
    finally:
        server.stop()


def test_what_is_committed_slowly_is_read_on_whoever_the_server_takes_for_gone(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Books.commit

    def slowly(books: Books, made: Commit, **more: Any) -> None:
        time.sleep(3)
        commit(books, made, **more)

    shop.run("CREATE TABLE slow (id int PRIMARY KEY, v text)", "ALTER ROLE CURRENT_USER SET wal_sender_timeout = '1s'")
    try:
        site.create()
        site.run()
        for first in (1, 5001, 10001):
            shop.run(
                f"INSERT INTO slow SELECT n, repeat(md5(n::text), 100) FROM generate_series({first}, {first + 4999}) n"
            )
        monkeypatch.setattr(Books, "commit", slowly)
        monkeypatch.setattr(ingest, "FLUSH_SECONDS", 0.0)
        monkeypatch.setattr(reading, "CHECKPOINT_S", 0.0)
        assert site.run().balance.read == 15_000
    finally:
        shop.run("ALTER ROLE CURRENT_USER RESET wal_sender_timeout")
