"""Histories of a real MariaDB that several connections read in ranges of the key: as of one moment, each row once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pymysql
import pytest
from tests.mariadb import Database
from tests.sources.mysql.test_mysql import Follower, shop

from millrace.connect.mysql.session import Session
from millrace.sources.mysql import together

__all__ = ["shop"]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """How many connections were to see one state, whenever they were, and whether they do."""
    found: list[tuple[int, bool]] = []
    real = together.begun

    def told(sessions: Any, locking: Any, source: str) -> bool:
        found.append((len(sessions), real(sessions, locking, source)))
        return found[-1][1]

    monkeypatch.setattr(together, "begun", told)
    return found


def made(shop: Database, columns: str, rows: str, count: int = 1000, more: str = "") -> None:
    shop.run(
        "DROP TABLE IF EXISTS t",
        f"CREATE TABLE t ({columns}) {more}",
        f"INSERT INTO t SELECT {rows} FROM seq_1_to_{count}",
        "ANALYZE TABLE t",
    )


def follower(shop: Database, **settings: Any) -> Follower:
    one = Follower(shop, "t", "full_load", range_rows=100, settings={"historical_parallelism": 3, **settings})
    one.lane("incremental")
    return one


@pytest.mark.parametrize(
    ("columns", "rows", "more"),
    [
        ("k int PRIMARY KEY, l int", "seq * 3, seq", ""),
        ("k bigint unsigned PRIMARY KEY, l int", "18446744073709551615 - seq * 1000, seq", ""),
        ("k bigint PRIMARY KEY, l int", "if(seq % 2, 1, -1) * (9223372036854775807 - CAST(seq AS SIGNED)), seq", ""),
        ("k smallint, w varchar(9), l int, PRIMARY KEY (k, w)", "seq % 40, concat('ü', seq), seq", ""),
        ("k int PRIMARY KEY, l int", "seq, seq", "PARTITION BY HASH (k) PARTITIONS 4"),
    ],
)
def test_a_history_is_cut_into_ranges_that_meet(
    shop: Database, begun: list[tuple[int, bool]], columns: str, rows: str, more: str
) -> None:
    made(shop, columns, rows, more=more)
    one = follower(shop)
    assert begun == []
    seen = one.lane("historical", stop_after=1)
    ranges = one.cursors["historical"]["ranges"]
    assert len(ranges) >= 10
    assert [low for low, *_ in ranges[1:]] == [high for _, high, *_ in ranges[:-1]]
    # The rest is read as of another moment, by several again.
    seen += one.lane("historical")
    assert Counter(row["l"] for row in seen) == Counter(range(1, 1001))
    assert begun == [(3, True)] * 2


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("w varchar(20) COLLATE utf8mb4_german2_ci PRIMARY KEY, l int", "concat(char(97 + seq % 26), 'ü', seq), seq"),
        ("w int, l int", "seq, seq"),
    ],
)
def test_what_has_no_key_of_numbers_is_read_by_one(
    shop: Database, begun: list[tuple[int, bool]], columns: str, rows: str
) -> None:
    made(shop, columns, rows, more="CHARACTER SET utf8mb4")
    one = follower(shop)
    assert Counter(row["l"] for row in one.lane("historical")) == Counter(range(1, 1001))
    assert begun == []


def test_a_small_table_and_one_without_transactions_are_read_by_one(
    shop: Database, begun: list[tuple[int, bool]]
) -> None:
    made(shop, "k int PRIMARY KEY, l int", "seq, seq", count=90)
    assert len(follower(shop).lane("historical")) == 90
    made(shop, "k int PRIMARY KEY, l int", "seq, seq", more="ENGINE=MyISAM")
    assert len(follower(shop).lane("historical")) == 1000
    assert begun == []


@contextmanager
def moving(shop: Database) -> Generator[None]:
    """Somebody takes from one row what another one gets, again and again, rows of different ranges."""
    ending, connection = threading.Event(), shop.connect()

    def write() -> None:
        with connection.cursor() as cursor:
            turn = 0
            while not ending.is_set():
                turn += 1
                cursor.execute(f"UPDATE t SET l = l - 1 WHERE k = {turn % 500 + 1}")
                cursor.execute(f"UPDATE t SET l = l + 1 WHERE k = {1000 - turn % 500}")
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ending.set()
        writer.join()
        connection.close()


def test_all_connections_see_one_moment_while_somebody_writes(shop: Database, begun: list[tuple[int, bool]]) -> None:
    made(shop, "k int PRIMARY KEY, l int", "seq, 100")
    with moving(shop):
        for _ in range(20):
            rows = follower(shop).lane("historical")
            assert Counter(row["k"] for row in rows) == Counter(range(1, 1001))
            assert sum(row["l"] for row in rows) == 100_000
    # A lock that had to wait for too long leaves it to one connection.
    assert (3, True) in begun


def test_whoever_may_not_lock_reads_by_one(shop: Database, begun: list[tuple[int, bool]]) -> None:
    made(shop, "k int PRIMARY KEY, l int", "seq, seq")
    shop.run(
        "CREATE OR REPLACE USER one_reader IDENTIFIED BY 'let me in'", f"GRANT SELECT ON {shop.name}.* TO one_reader"
    )
    rows = follower(shop, db_user="one_reader", db_password="let me in").lane("historical")
    assert Counter(row["l"] for row in rows) == Counter(range(1, 1001))
    assert begun == [(3, False)]
    shop.run("DROP USER one_reader")


def test_a_table_that_somebody_writes_for_long_is_read_by_one(shop: Database, begun: list[tuple[int, bool]]) -> None:
    made(shop, "k int PRIMARY KEY, l int", "seq, seq")
    with closing(shop.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE t SET l = 0 WHERE k = 1")
        one, began = follower(shop), time.monotonic()
        rows = one.lane("historical")
        assert time.monotonic() - began < 15
        assert Counter(row["l"] for row in rows) == Counter(range(1, 1001))
        assert begun == [(3, False)]
        # Nobody waits behind what was given up.
        shop.run("SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1", "UPDATE t SET l = 2 WHERE k = 2")


def test_a_run_that_dies_anywhere_goes_on_with_its_ranges(shop: Database) -> None:
    made(shop, "k int PRIMARY KEY, l int", "seq, seq")
    one, seen, runs = follower(shop), Counter[int](), 0
    while not (one.cursors.get("historical") or {}).get("done"):
        seen += Counter(row["l"] for row in one.lane("historical", stop_after=3))
        runs += 1
    assert (seen, runs > 2) == (Counter(range(1, 1001)), True)


def test_connections_end_with_the_history(shop: Database) -> None:
    made(shop, "k int PRIMARY KEY, l int", "seq, seq")
    one = follower(shop)
    one.lane("historical", stop_after=1)
    one.lane("historical")
    for _ in range(100):
        open_ = shop.run(f"SELECT id FROM information_schema.processlist WHERE db = '{shop.name}'")
        if len(open_) == 1:
            return
        time.sleep(0.05)
    raise AssertionError("connections of the history are open")


def test_a_lock_that_somebody_ended_meanwhile_leaves_the_history_to_one(
    shop: Database, begun: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have written between the first state and the last."""
    made(shop, "k int PRIMARY KEY, l int", "seq, seq")
    real, ended = Session.execute, list[int]()

    def execute(session: Session, sql: str, *values: Any, **more: Any) -> int:
        if sql.startswith("LOCK TABLES"):
            ended.append(int(session.rows("SELECT connection_id()")[0][0]))
        done = real(session, sql, *values, **more)
        if sql == together.BEGIN and ended:
            with suppress(pymysql.Error):  # the second time there is none any more
                shop.run(f"KILL {ended[0]}")
        return done

    monkeypatch.setattr(Session, "execute", execute)
    rows = follower(shop).lane("historical")
    assert Counter(row["l"] for row in rows) == Counter(range(1, 1001))
    assert (begun, len(ended)) == ([(3, False)], 1)


def test_no_lock_outlives_its_machine_for_long(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made(shop, "k int PRIMARY KEY, l int", "seq, seq")
    real, limits = Session.execute, list[int]()

    def execute(session: Session, sql: str, *values: Any, **more: Any) -> int:
        if sql.startswith("LOCK TABLES"):
            limits.append(int(session.rows("SELECT @@session.wait_timeout")[0][0]))
        return real(session, sql, *values, **more)

    monkeypatch.setattr(Session, "execute", execute)
    assert len(follower(shop).lane("historical")) == 1000
    assert limits == [30]
