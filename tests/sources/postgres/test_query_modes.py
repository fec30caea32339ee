"""Every query mode on a real server: what it reads, run after run."""

from __future__ import annotations

from typing import Any

import pytest
from tests.postgres import Database
from tests.sources.postgres.following import Follow

from millrace.data.batch import LoadMode

TABLE = """
DROP TABLE IF EXISTS orders;
CREATE TABLE orders (id integer PRIMARY KEY, price numeric(10,2), updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON orders (updated_at);
INSERT INTO orders SELECT g, g, now() - interval '1 hour' FROM generate_series(1, 100) AS g
"""
DELTA = {"mode": "delta", "timestamp_column_name": "updated_at"}
CAPTURE = {"mode": "timestamp+incrementing", "timestamp_column_name": "updated_at", "incrementing_column_name": "id"}


def change(database: Database) -> None:
    """4 rows are updated and 5 are new."""
    database.run(
        "UPDATE orders SET price = price + 1, updated_at = now() WHERE id <= 4",
        "INSERT INTO orders SELECT g, g FROM generate_series(101, 105) AS g",
    )


@pytest.mark.parametrize("load_mode", ["merge", "append"])
@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        (None, [100, 9, 0]),
        (DELTA, [100, 9, 0]),
        (CAPTURE, [100, 9, 0]),
        ("increment_append_only", [100, 5, 0]),
        ("xmin", [100, 9, 0]),
    ],
)
def test_a_mode_reads_what_it_promises(
    shop: Database, follow: Follow, mode: Any, counts: list[int], load_mode: LoadMode
) -> None:
    shop.run(*TABLE.split(";"))
    follower = follow("public.orders", mode, load_mode=load_mode)
    first = len(follower.run())
    if mode == "increment_append_only":
        shop.run("INSERT INTO orders SELECT g, g FROM generate_series(101, 105) AS g")
    else:
        change(shop)
    assert [first, len(follower.run()), len(follower.run())] == counts
