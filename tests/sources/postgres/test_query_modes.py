"""Every query mode on a real server: what it reads, run after run."""

from __future__ import annotations

from typing import Any

import pytest
from tests.postgres import Database
from tests.sources.postgres.following import Follow

from millrace.data.batch import LoadMode

TABLE = """
DROP TABLE IF EXISTS orders CASCADE;
CREATE TABLE orders (id integer PRIMARY KEY, price numeric(10,2), updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON orders (updated_at);
INSERT INTO orders SELECT g, g, now() - interval '1 hour' FROM generate_series(1, 100) AS g;
CREATE VIEW seen AS SELECT * FROM orders
"""
DELTA = {"mode": "delta", "timestamp_column_name": "updated_at"}
NUMBERS = {"mode": "incrementing", "incrementing_column_name": "id"}
CAPTURE = {"mode": "timestamp+incrementing", "timestamp_column_name": "updated_at", "incrementing_column_name": "id"}


def change(database: Database) -> None:
    """4 rows are updated and 5 are new."""
    database.run(
        "UPDATE orders SET price = price + 1, updated_at = now() WHERE id <= 4",
        "INSERT INTO orders SELECT g, g FROM generate_series(101, 105) AS g",
    )


@pytest.mark.spec("pipelines.22.1")
@pytest.mark.parametrize("load_mode", ["merge", "append"])
@pytest.mark.parametrize("name", ["public.orders", "public.seen"])
@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        (DELTA, [100, 9, 0]),
        (CAPTURE, [100, 9, 0]),
        (NUMBERS, [100, 5, 0]),
    ],
)
def test_a_mode_reads_what_it_promises(
    shop: Database, follow: Follow, name: str, mode: Any, counts: list[int], load_mode: LoadMode
) -> None:
    shop.run(*TABLE.split(";"))
    follower = follow(name, mode, load_mode=load_mode)
    first = len(follower.run())
    change(shop)
    assert [first, len(follower.run()), len(follower.run())] == counts


@pytest.mark.parametrize("load_mode", ["merge", "append"])
@pytest.mark.parametrize("mode", [None, "xmin"])
def test_a_table_is_followed_by_what_it_has(shop: Database, follow: Follow, mode: Any, load_mode: LoadMode) -> None:
    shop.run(*TABLE.split(";"))
    follower = follow("public.orders", mode, load_mode=load_mode)
    first = len(follower.run())
    change(shop)
    assert [first, len(follower.run()), len(follower.run())] == [100, 9, 0]
    if mode is None:
        assert follower.cursors["incremental"]["mode"] == ["change_data_capture", "updated_at", "id"]


def test_a_full_load_reads_everything_again_when_its_time_has_come(shop: Database, follow: Follow) -> None:
    shop.run(*TABLE.split(";"))
    follower = follow("public.orders", "full_load")
    assert len(follower.run()) == 100
    change(shop)
    assert follower.run() == []
    follower.clock.ahead(hours=6)
    assert len(follower.run()) == 105
    follower.clock.ahead(hours=6)
    assert len(follower.run()) == 105


def test_a_delay_leaves_young_rows_for_a_later_run(shop: Database, follow: Follow) -> None:
    shop.run(*TABLE.split(";"))
    follower = follow("public.orders", {**CAPTURE, "timestamp_delay_interval_ms": 60_000})
    assert len(follower.run()) == 100
    shop.run(
        "INSERT INTO orders VALUES (101, 1, now()), (102, 1, now() - interval '2 minutes')",
        "UPDATE orders SET updated_at = now() WHERE id = 1",
    )
    assert [row["id"] for row in follower.run()] == [102]
    shop.run("UPDATE orders SET updated_at = now() - interval '61 seconds' WHERE id IN (1, 101)")
    assert sorted(row["id"] for row in follower.run()) == [1, 101]
    assert follower.run() == []
