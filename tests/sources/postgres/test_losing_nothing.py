"""Equal timestamps, late commits, ranges of keys, runs that die: each row comes, and in appended tables once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.postgres import Database
from tests.sources.postgres.following import Follow, Follower

from millrace.data.batch import LoadMode
from millrace.errors import ConfigError

DELTA = {"mode": "delta", "timestamp_column_name": "at"}
CAPTURE = {"mode": "change_data_capture", "timestamp_column_name": "at", "incrementing_column_name": "id"}
NUMBERS = {"mode": "increment_append_only", "incrementing_column_name": "id"}
BOTH = pytest.mark.parametrize("load_mode", ["merge", "append"])


def made(shop: Database, *rows: str, key: str = "PRIMARY KEY") -> None:
    """A table with a number and a timestamp, and these rows."""
    shop.run(
        "DROP TABLE IF EXISTS t CASCADE",
        f"CREATE TABLE t (id integer NOT NULL {key}, at timestamptz, v text)",
        "CREATE INDEX ON t (at)",
        *rows,
    )


def ids(rows: list[dict[str, Any]]) -> Counter[int]:
    return Counter(row["id"] for row in rows)


def every(first: int, last: int) -> Counter[int]:
    return Counter(range(first, last + 1))


@pytest.mark.spec("pipelines.22.1")
@BOTH
def test_pages_that_end_within_one_moment_lose_and_double_nothing(
    shop: Database, follow: Follow, load_mode: LoadMode
) -> None:
    made(shop)
    one = follow("public.t", DELTA, load_mode=load_mode, page_rows=10)
    one.run()
    shop.run("INSERT INTO t SELECT g, '2024-01-01' FROM generate_series(1, 30) AS g")
    assert ids(one.run()) == every(1, 30)
    assert one.run() == []


@pytest.mark.spec("pipelines.22.1")
@BOTH
@pytest.mark.parametrize("mode", [DELTA, CAPTURE, NUMBERS, "xmin"], ids=str)
def test_a_row_that_is_committed_late_is_read(shop: Database, follow: Follow, mode: Any, load_mode: LoadMode) -> None:
    made(shop, "INSERT INTO t VALUES (1, now())")
    one = follow("public.t", mode, load_mode=load_mode)
    seen = ids(one.run())
    with shop.connect() as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO t VALUES (2, now())")
        # With a savepoint, a row of a transaction below the transaction.
        slow.execute("SAVEPOINT a")
        slow.execute("INSERT INTO t VALUES (3, now())")
        shop.run("INSERT INTO t VALUES (4, now())")
        seen += ids(one.run())
        assert seen == Counter((1, 4))
        shop.run("INSERT INTO t VALUES (5, now())")
        seen += ids(one.run())
        slow.execute("COMMIT")
    seen += ids(one.run())
    seen += ids(one.run())
    assert set(seen) == {1, 2, 3, 4, 5}
    if load_mode == "append":
        assert set(seen.values()) == {1}


@pytest.mark.spec("pipelines.22.1")
def test_new_rows_without_a_timestamp_are_read_by_their_number(shop: Database, follow: Follow) -> None:
    made(shop, "INSERT INTO t VALUES (1, NULL), (2, '2024-01-01'), (3, NULL)")
    one = follow("public.t", CAPTURE, page_rows=2)
    assert ids(one.run()) == every(1, 3)
    shop.run("INSERT INTO t VALUES (4, NULL), (5, '2024-01-02')")
    assert ids(one.run()) == every(4, 5)
    assert one.run() == []


def test_a_row_of_a_transaction_that_was_open_when_the_history_was_read_is_read(shop: Database, follow: Follow) -> None:
    made(shop, "INSERT INTO t VALUES (1, now())")
    one = follow("public.t", DELTA, load_mode="append")
    with shop.connect() as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO t VALUES (2, now())")
        seen = ids(one.lane("incremental"))
        shop.run("INSERT INTO t VALUES (3, now())")
        slow.execute("COMMIT")
    seen += ids(one.lane("historical"))
    assert seen == Counter((1,))
    assert ids(one.run()) == Counter((2, 3))
    assert one.run() == []


@BOTH
def test_of_a_view_rows_of_the_last_moment_are_not_read_twice(
    shop: Database, follow: Follow, load_mode: LoadMode
) -> None:
    made(
        shop,
        "INSERT INTO t SELECT g, '2024-01-01' FROM generate_series(1, 5) AS g",
        "CREATE VIEW seen AS SELECT * FROM t",
    )
    one = follow("public.seen", DELTA, load_mode=load_mode)
    first = one.run()
    shop.run("INSERT INTO t VALUES (6, '2024-01-01'), (7, '2024-01-02')")
    second = one.run()
    third = one.run()
    shop.run("INSERT INTO t VALUES (8, '2024-01-02')")
    assert ids(first + second + third + one.run()) == every(1, 8)
    assert third == []


@BOTH
@pytest.mark.parametrize("mode", [DELTA, CAPTURE, NUMBERS, "full_load"], ids=str)
def test_a_run_that_dies_anywhere_goes_on(shop: Database, follow: Follow, mode: Any, load_mode: LoadMode) -> None:
    moment = "timestamptz '2024-01-01' + g / 7 * interval '1 s'"
    made(shop, f"INSERT INTO t SELECT g, {moment} FROM generate_series(1, 40) AS g", "ANALYZE t")
    one = follow("public.t", mode, load_mode=load_mode, page_rows=10, range_rows=15)
    seen = ids(one.lane("incremental"))
    runs = 0
    while not (one.cursors.get("historical") or {}).get("done"):
        seen += ids(one.lane("historical", stop_after=1))
        runs += 1
    assert (seen, runs > 2) == (every(1, 40), True)
    if mode == "full_load":
        return
    shop.run(f"INSERT INTO t SELECT g, {moment} FROM generate_series(41, 75) AS g")
    while rows := one.lane("incremental", stop_after=1):
        seen += ids(rows)
    assert set(seen) == set(range(1, 76))
    if load_mode == "append":
        assert set(seen.values()) == {1}


def test_a_history_is_cut_into_ranges_that_meet(shop: Database, follow: Follow) -> None:
    made(shop, "INSERT INTO t SELECT g * 3, now() FROM generate_series(1, 1000) AS g", "ANALYZE t")
    one = follow("public.t", "full_load", range_rows=100, settings={"historical_parallelism": 3})
    one.lane("incremental")
    seen = ids(one.lane("historical", stop_after=1))
    ranges = one.cursors["historical"]["ranges"]
    assert len(ranges) == 10
    assert [low for low, *_ in ranges[1:]] == [high for _, high, *_ in ranges[:-1]]
    assert seen + ids(one.lane("historical")) == Counter(range(3, 3001, 3))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("text", "repeat(chr(8364), g % 5) || g"),
        ("uuid", "md5(g::text)::uuid"),
        ("numeric(20,3)", "g / 8.0"),
        ("timestamptz", "timestamptz '2024-01-01' + g * interval '1 us'"),
        ("date", "date '2024-01-01' + g"),
        ('text COLLATE "und-x-icu"', "chr(64 + g % 50) || g"),
    ],
)
def test_a_key_of_any_type_pages(shop: Database, follow: Follow, type_: str, value: str) -> None:
    shop.run(
        "DROP TABLE IF EXISTS k",
        f"CREATE TABLE k (k {type_}, l integer, PRIMARY KEY (k, l))",
        f"INSERT INTO k SELECT {value}, g % 3 FROM generate_series(1, 400) AS g",
        "ANALYZE k",
    )
    one = follow("public.k", "full_load", range_rows=50)
    one.lane("incremental")
    rows = one.lane("historical", stop_after=1)
    for _ in range(3):
        rows += one.lane("historical", stop_after=2)
    rows += one.lane("historical")
    assert len(rows) == 400
    assert len({(row["k"], row["l"]) for row in rows}) == 400


def test_a_table_without_a_key_is_read_whole_or_not_at_all(shop: Database, follow: Follow) -> None:
    made(shop, "INSERT INTO t SELECT g, now() FROM generate_series(1, 50) AS g", key="")
    one: Follower = follow("public.t", "full_load")
    one.lane("incremental")
    assert ids(one.lane("historical", stop_after=1)) == every(1, 50)
    assert one.lane("historical") == []


@BOTH
@pytest.mark.parametrize("mode", [DELTA, CAPTURE], ids=str)
def test_rows_that_the_server_wrote_anew_are_not_appended_again(
    shop: Database, follow: Follow, mode: Any, load_mode: LoadMode
) -> None:
    made(shop, "INSERT INTO t SELECT g, now() FROM generate_series(1, 5) AS g")
    one = follow("public.t", mode, load_mode=load_mode)
    assert ids(one.run()) == every(1, 5)
    shop.run("VACUUM FULL t", "INSERT INTO t VALUES (6, now())")
    assert ids(one.run()) == Counter((6,)), "rows that only moved are as they were"
    shop.run("ALTER TABLE t ALTER v TYPE integer USING 1", "INSERT INTO t VALUES (7, now())")
    if load_mode == "merge":
        assert set(ids(one.run())) == set(range(1, 8))
        assert one.run() == []
        return
    for _ in range(2):
        with pytest.raises(ConfigError, match="written anew") as raised:
            one.run()
        assert raised.value.code == "cannot_tell_apart"
    again = follow("public.t", mode, load_mode=load_mode)
    assert ids(again.run()) == every(1, 7)
    shop.run("INSERT INTO t VALUES (8, now())")
    assert ids(again.run()) == Counter((8,))


def test_a_history_that_no_longer_knows_what_is_left_to_it_is_not_taken_for_whole(
    shop: Database, follow: Follow
) -> None:
    made(shop, "INSERT INTO t SELECT g, now() - interval '9 days' FROM generate_series(1, 5) AS g")
    one = follow("public.t", DELTA, load_mode="append")
    one.lane("incremental")
    shop.run("ALTER TABLE t ALTER v TYPE integer USING 1")
    with pytest.raises(ConfigError, match="written anew"):
        one.lane("historical")


@BOTH
def test_a_view_that_is_refreshed_does_not_come_again(shop: Database, follow: Follow, load_mode: LoadMode) -> None:
    made(
        shop,
        "INSERT INTO t SELECT g, '2024-01-01' FROM generate_series(1, 5) AS g",
        "CREATE MATERIALIZED VIEW seen AS SELECT * FROM t",
    )
    one = follow("public.seen", DELTA, load_mode=load_mode)
    assert ids(one.run()) == every(1, 5)
    shop.run("INSERT INTO t VALUES (6, '2024-01-01')", "REFRESH MATERIALIZED VIEW seen")
    assert ids(one.run()) == Counter((6,))
    assert one.run() == []


def test_of_a_view_rows_of_the_last_moment_are_known_by_the_columns_that_stay(shop: Database, follow: Follow) -> None:
    made(
        shop,
        "INSERT INTO t SELECT g, '2024-01-01' FROM generate_series(1, 5) AS g",
        "CREATE VIEW seen AS SELECT id, at FROM t",
    )
    one = follow("public.seen", DELTA, load_mode="append")
    assert ids(one.run()) == every(1, 5)
    shop.run("CREATE OR REPLACE VIEW seen AS SELECT id, at, v FROM t", "INSERT INTO t VALUES (6, '2024-01-01')")
    one = follow("public.seen", DELTA, load_mode="append", cursors=one.cursors, marks=one.marks)
    assert ids(one.run()) == Counter((6,))
    # Nothing tells rows of a view apart but all that they say.
    shop.run("DROP VIEW seen", "CREATE VIEW seen AS SELECT id, at FROM t")
    one = follow("public.seen", DELTA, load_mode="append", cursors=one.cursors, marks=one.marks)
    with pytest.raises(ConfigError, match="another type"):
        one.run()


@pytest.mark.parametrize("mode", [DELTA, CAPTURE], ids=str)
def test_a_table_in_parts_is_written_anew_where_a_part_is_and_not_where_all_its_rows_are_updated(
    shop: Database, follow: Follow, mode: Any
) -> None:
    shop.run(
        "DROP TABLE IF EXISTS t CASCADE",
        "CREATE TABLE t (id integer PRIMARY KEY, at timestamptz, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (4)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (4) TO (100) PARTITION BY RANGE (id)",
        "CREATE TABLE t3 PARTITION OF t2 FOR VALUES FROM (4) TO (100)",
        "CREATE INDEX ON t (at)",
        "INSERT INTO t SELECT g, now() FROM generate_series(1, 5) AS g",
    )
    one = follow("public.t", mode, load_mode="append")
    assert ids(one.run()) == every(1, 5)
    # All rows are newer than those that were seen, and are versions of their own.
    shop.run("UPDATE t SET v = 'later'")
    assert ids(one.run()) == every(1, 5)
    # A part that comes says nothing of the others.
    shop.run("CREATE TABLE t4 PARTITION OF t FOR VALUES FROM (100) TO (200)", "UPDATE t SET v = 'again'")
    assert ids(one.run()) == every(1, 5)
    shop.run("ALTER TABLE t ALTER v TYPE integer USING 1")
    with pytest.raises(ConfigError, match="written anew") as raised:
        one.run()
    assert raised.value.code == "cannot_tell_apart"
