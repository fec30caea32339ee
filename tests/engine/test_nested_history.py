"""Arrays as tables of their own that keep every version of their items, with a process that dies between the tables."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

import pytest
from tests.engine.kit import Killed, Rig, rig, types
from tests.postgres import Database

from millrace.connect.destination import Load, Loaded, Table
from millrace.connect.sql.destination import SqlDestination
from millrace.data.batch import Checkpoint

__all__ = ["rig", "types"]

ARRAYS = 6
NAMES = [f"list_{letter}{other}" for letter in ascii_lowercase for other in ascii_lowercase][:ARRAYS]
FROM, TO, ACTIVE = "__hevo__valid_from", "__hevo__valid_to", "__hevo__is_active"


def orders(value: str) -> list[dict[str, Any]]:
    """Ten rows, each with an array of two items for each table below."""
    arrays = {name: [{"x": value}, {"x": "same"}] for name in NAMES}
    return [{"id": id_, "v": value, **arrays} for id_ in range(10)]


def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The process is gone behind that load, before anybody notes it."""
    real, loads = SqlDestination.load, iter(range(at + 1))

    def load(self: Any, table: Table, load: Load) -> Loaded:
        done = real(self, table, load)
        if next(loads, None) == at:
            raise Killed
        return done

    monkeypatch.setattr(SqlDestination, "load", load)


@pytest.mark.parametrize("system", ["duckdb", "postgres"])
def test_a_run_that_dies_between_the_tables_of_arrays_goes_on(
    rig: Rig, database: Database, monkeypatch: pytest.MonkeyPatch, system: str
):
    if system == "postgres":
        rig.destination_type, rig.destination_config = "postgres", database.settings()
    runs = [[orders("a"), Checkpoint(1)], [orders("b"), Checkpoint(2)], [orders("b"), Checkpoint(3)]]
    rig.script.stream("orders", *runs, [], key=("id",))
    rig.create("history", options={"json_parsing_strategy": "SPLIT"})
    assert rig.run().balance.even
    rig.clock.advance(60)
    with monkeypatch.context() as patch:
        dying(patch, ARRAYS // 2)
        with pytest.raises(Killed):
            rig.run()
    rig.clock.advance(60)
    for _ in range(2):
        record = rig.run()
        assert record.balance.even
        assert record.balance.waiting == 0
        rig.clock.advance(60)
    tables = ["orders", *(f"orders_{name}" for name in NAMES)]
    for table in tables:
        (found,) = rig.query(
            f"SELECT count(*) AS rows, sum(CASE WHEN {ACTIVE} THEN 1 ELSE 0 END) AS active, "
            f"count(DISTINCT {FROM}) AS moments FROM {table}"
        )
        # Of two items one changed.
        wanted = (
            {"rows": 20, "active": 10, "moments": 2} if table == "orders" else {"rows": 30, "active": 20, "moments": 2}
        )
        assert {name: int(value) for name, value in found.items()} == wanted, table
    for table in tables:
        value = "v" if table == "orders" else "x"
        found = rig.query(
            f"SELECT {value} AS value, count(*) AS rows FROM {table} WHERE {ACTIVE} GROUP BY 1 ORDER BY 1"
        )
        assert {row["value"]: row["rows"] for row in found} == (
            {"b": 10} if table == "orders" else {"b": 10, "same": 10}
        )
