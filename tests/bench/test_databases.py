"""A peer's speed is that of a whole load, start and all, and one that cannot run is told in the table."""

from __future__ import annotations

import sys

import pytest
from tests.bench import databases, measure, report
from tests.bench.databases import PEERS, WAYS
from tests.bench.measure import Ran

# As dlt does it: what was wrong comes first, and a sentence of advice last.
CHAIN = """
try:
    import nothing_of_this_name
except ImportError as error:
    raise RuntimeError("<class 'ImportError'>\\nInstall it, or see Error Handling.") from error
"""
WAY, PEER = WAYS["postgres-duckdb"], PEERS["sling"]


def test_a_peer_is_charged_its_start_once_and_each_row_of_a_whole_load() -> None:
    few, many = [Ran(2, 1, 1, "")], [Ran(4, 1, 1, "")]
    line = databases.beside(WAY, PEER, 801_000, 200_250, 201_000, few, many, "")
    # 2 s for 1,000 rows, and 8 s for 800,000 more.
    assert (line.beside, line.ratio, line.met) == ("80,100 rows/s", "2.5 ×", True)


def test_a_peer_with_as_many_rows_is_charged_what_it_took() -> None:
    line = databases.beside(WAY, PEER, 800_000, 200_000, 800_000, (), [Ran(8, 1, 1, "")], "")
    assert (line.beside, line.ratio, line.met) == ("100,000 rows/s", "2.0 ×", True)


def test_a_peer_that_cannot_run_stands_in_the_table_with_the_reason() -> None:
    with pytest.raises(measure.Failed) as told:
        measure.run([sys.executable, "-c", CHAIN])
    line = databases.beside(WAY, PEER, 2_000_000, 250_000, 200_000, [], [], str(told.value))
    assert line.met is None
    assert (
        "| The same beside Sling | 250,000 rows/s "
        "| did not run: ModuleNotFoundError: No module named 'nothing_of_this_name' |" in report.table([line])
    )
