"""A peer's speed is without its start, and one that cannot run is told in the table."""

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


def test_what_a_peer_needs_to_start_is_not_counted() -> None:
    few, many = [Ran(2, 1, 1, "")], [Ran(4, 1, 1, "")]
    line = databases.beside(WAY, PEER, 250_000, 201_000, few, many, "")
    assert (line.beside, line.ratio, line.met) == ("100,000 rows/s", "2.5 ×", True)


def test_a_peer_that_cannot_run_stands_in_the_table_with_the_reason() -> None:
    with pytest.raises(measure.Failed) as told:
        measure.run([sys.executable, "-c", CHAIN])
    line = databases.beside(WAY, PEER, 250_000, 200_000, [], [], str(told.value))
    assert line.met is None
    assert (
        "| The same beside Sling | 250,000 rows/s "
        "| did not run: ModuleNotFoundError: No module named 'nothing_of_this_name' |" in report.table([line])
    )
