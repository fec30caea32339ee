"""What the query modes of a real table cost (pipelines.md 4.4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.postgres import Database
from tests.sources.postgres.conftest import shop
from tests.sources.postgres.following import Ahead

from millrace.control.as_code.apply import apply
from millrace.control.as_code.document import parse
from millrace.control.home import Home
from millrace.control.metering import usage
from millrace.control.running import runs

__all__ = ["shop"]

# Of each table its mode, and billable rows of the next run, 6 hours later, and of the one after that.
TABLES = {
    "whole": ({"mode": "full_load"}, 105, 105),
    "versions": ({"mode": "xmin"}, 9, 0),
    "appended": ({"mode": "increment_append_only", "incrementing_column_name": "id"}, 5, 0),
    "touched": ({"mode": "delta", "timestamp_column_name": "touched_at"}, 9, 0),
    "updated": ({"mode": "delta", "timestamp_column_name": "updated_at"}, 4, 0),
    "captured": (
        {"mode": "change_data_capture", "timestamp_column_name": "touched_at", "incrementing_column_name": "id"}, 9, 0,
    ),
}  # fmt: skip


@pytest.mark.spec("pipelines.22.2", "pipelines.4.4")
def test_each_query_mode_of_a_real_table_costs_what_the_reference_says(shop: Database, tmp_path: Path) -> None:
    shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    for name in TABLES:
        shop.run(
            f"CREATE TABLE {name} (id integer PRIMARY KEY, touched_at timestamptz DEFAULT now(), "
            "updated_at timestamptz, v integer)",
            f"INSERT INTO {name} SELECT g, now() - interval '1 hour', NULL, 0 FROM generate_series(1, 100) AS g",
        )
    objects = {f"public.{name}": {"query_mode": mode} for name, (mode, _, _) in TABLES.items()}
    text = {
        "destinations": {"warehouse": {"type": "duckdb", "config": {"path": str(tmp_path / "w.duckdb")}}},
        "pipelines": {
            "shop": {
                "source": {"type": "postgres", "config": shop.settings()},
                "destination": "warehouse",
                "objects": objects,
            }
        },
    }
    clock = Ahead()
    with Home.open(tmp_path / "home", create=True, env={}) as home:

        def cost() -> dict[str, int]:
            runs.run(home, "shop", clock=clock)
            lines = usage.report(home, by="object").lines
            return {str(one.object).partition(".")[2]: one.billable for one in lines}

        apply(home, parse(json.dumps(text), tmp_path / "f.yaml", env={}))
        first = cost()
        assert sum(first.values()) == 0
        for name in TABLES:
            shop.run(
                f"UPDATE {name} SET v = 1, touched_at = now(), updated_at = now() WHERE id <= 4",
                f"INSERT INTO {name} SELECT g FROM generate_series(101, 105) AS g",
            )
        clock.ahead(hours=6)
        second = cost()
        clock.ahead(hours=6)
        third = cost()
    assert second == {name: after for name, (_, after, _) in TABLES.items()}
    assert third == {name: after + later for name, (_, after, later) in TABLES.items()}
