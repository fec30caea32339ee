"""Trying it without an account."""

from __future__ import annotations

from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.pipeline import simulation
from millrace.control.pipeline.simulation import Simulated


@operation("POST", "/simulation", "pipelines.create")
def begin(home: Home) -> Simulated:
    """Run a stand-in for CleverTap with invented data beside the server, and a pipeline from it into a DuckDB file."""
    return simulation.begin(home)


OPERATIONS = (begin,)
