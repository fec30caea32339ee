"""What databases hold beside what tables hold: rows by ranges of the key, and why they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from millrace.connect.source import Context
from millrace.connect.sql.reading.totals import RANGES, cut
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.reconciling.reconcile import reconcile
from millrace.control.reconciling.reconcile_totals import About, causes
from millrace.control.reconciling.reconciliation import Reconciliation
from millrace.control.running import runs
from millrace.errors import ConfigError


@dataclass
class Place:
    """A home with one pipeline from a database into DuckDB."""

    home: Home
    database: Any

    def run(self) -> None:
        runs.run(self.home, "shop")

    def compared(self) -> Reconciliation:
        (found,) = reconcile(self.home, "shop")
        return found

    def differing(self) -> list[tuple[str, int, list[str], int]]:
        """Ranges that differ: their name, by how many rows, the causes, and what none of them accounts for."""
        rows = [one for one in self.compared().compared if one.difference]
        return [(one.name, one.difference, [c.code for c in one.causes], one.unexplained) for one in rows]

    def change(self, sql: str) -> None:
        """A change of the destination's table that Millrace does not know of."""
        found = connections.find(self.home, "destination", "warehouse")
        with closing(connections.build_destination(self.home, found.id, Context())) as destination:
            destination: Any
            with destination.connected():
                destination.execute(sql)


Made = Callable[..., Place]


@pytest.fixture(params=["postgres", "mysql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    """Makes the pipeline from 1,000 orders; ``mode`` is how it reads."""
    database: Any = request.getfixturevalue("database" if request.param == "postgres" else "mysql_database")
    numbers = (
        "generate_series(1, 1000) AS g" if request.param == "postgres" else "(SELECT seq AS g FROM seq_1_to_1000) t"
    )
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, v varchar(10))", f"INSERT INTO orders SELECT g, 'x' FROM {numbers}"
    )
    home = Home.open(tmp_path / "home", create=True, env={})

    def make(mode: str) -> Place:
        config = database.settings(ingestion_mode=mode, full_load_every_hours=0)
        connections.create(home, "source", "shop", request.param, config)
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
        pipelines.create(home, Wish("shop", "shop", "warehouse"))
        made = Place(home, database)
        made.run()
        return made

    yield make
    if any(one.name == "shop" for one in pipelines.listed(home)):
        from millrace.control.pipeline import lifecycle

        lifecycle.delete(home, "shop")
    home.close()


def test_deletes_of_a_log_are_no_difference_and_what_came_since_is_late_and_the_rest_is_found(place: Made) -> None:
    made = place("log")
    found = made.compared()
    assert (found.source_rows, found.table_rows, found.ranges, len(found.compared)) == (1000, 1000, True, RANGES)
    made.database.run("DELETE FROM orders WHERE id <= 5", "INSERT INTO orders VALUES (1001, 'new')")
    made.run()
    assert made.differing() == []
    made.database.run("INSERT INTO orders VALUES (1002, 'later'), (1003, 'later')")
    ((name, missing, codes, unexplained),) = made.differing()
    assert name.startswith("id from 9")
    assert (missing, codes, unexplained) == (2, ["late"], 0)
    # Rows that are missing for no known reason are found in their range.
    made.run()
    made.change("DELETE FROM orders WHERE id BETWEEN 501 AND 503")
    ((name, missing, codes, unexplained),) = made.differing()
    assert (name.startswith("id from "), missing, codes, unexplained) == (True, 3, [], 3)
    with pytest.raises(ConfigError, match="no days") as raised:
        reconcile(made.home, "shop", fix=True)
    assert raised.value.code == "cannot_reread"
    assert "`millrace resync shop --object " in str(raised.value.hint)


def test_deletes_that_queries_do_not_see_are_a_cause(place: Made) -> None:
    made = place("table")
    made.database.run("DELETE FROM orders WHERE id = 700")
    made.run()
    ((_, more, codes, unexplained),) = made.differing()
    assert (more, codes, unexplained) == (-1, ["gone_at_source"], 0)
    # Nothing that reading would mend is asked for.
    assert len(reconcile(made.home, "shop", fix=True)) == 1


@pytest.mark.parametrize(
    ("missing", "about", "found"),
    [
        (0, {"rejected": 3}, {}),
        (5, {"rejected": 3, "newer": 1}, {"rejected": 3, "late": 1}),
        (5, {"rejected": 9}, {"rejected": 5}),
        (4, {"waiting": True, "newer": 1}, {"late": 1, "not_loaded": 3}),
        (-2, {}, {"gone_at_source": -2}),
        (-2, {"logged": True}, {}),
        (-2, {"logged": True, "versions": True}, {"versions": -2}),
    ],
)
def test_what_accounts_for_a_difference(missing: int, about: dict[str, Any], found: dict[str, int]) -> None:
    assert {one.code: one.rows for one in causes(missing, About(**about))} == found


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 16), (-5, 1000), (-(2**63), 2**63 - 1)])
def test_ranges_leave_nothing_out_and_count_nothing_twice(low: int, high: int) -> None:
    ranges = cut(low, high)
    assert ranges[0][0] is None
    assert ranges[-1][1] is None
    assert all(before[1] == after[0] - 1 for before, after in pairwise(ranges))
    assert len(ranges) <= RANGES
