"""Acme reads every order once, and a pipeline brings them into a table."""

from __future__ import annotations

from pathlib import Path

import duckdb

import millrace
from millrace.connect.source import Reading
from millrace.data.batch import JSON, Checkpoint
from millrace.sources.acme.source import ORDERS, Config, Source

PIPELINES = """
destinations:
  warehouse: {type: duckdb, config: {path: ./warehouse.duckdb}}
pipelines:
  orders:
    source: {type: acme, config: {token: t0ken}}
    destination: warehouse
"""


def read(cursor: JSON) -> tuple[list[int], JSON]:
    """Ids of the orders after the cursor, and the cursor after them."""
    source = Source(Config.model_validate({"token": "t0ken"}))
    ids: list[int] = []
    for item in source.read(Reading(source.streams()[0], "incremental", cursor)):
        if isinstance(item, Checkpoint):
            cursor = item.cursor
        elif isinstance(item, list):
            ids += [row["id"] for row in item]
    return ids, cursor


def test_every_order_is_read_once() -> None:
    ids, cursor = read(None)
    assert ids == [order["id"] for order in ORDERS]
    assert read(cursor) == ([], cursor)


def test_a_pipeline_brings_the_orders_into_a_table_and_doubles_none(tmp_path: Path) -> None:
    file = tmp_path / "pipelines.yaml"
    file.write_text(PIPELINES, "utf-8")
    for _ in range(2):
        for run in millrace.run(file, home=tmp_path / "home"):
            assert run.error is None
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        assert warehouse.sql("SELECT id, status FROM orders ORDER BY id").fetchall() == [
            (order["id"], order["status"]) for order in ORDERS
        ]
