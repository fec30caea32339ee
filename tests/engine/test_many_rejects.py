"""Very many failed rows take no more memory than some, and are listed and discarded unread (pipelines.md 11.4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.engine.kit import types

__all__ = ["types"]

ROWS = 50_000
# The rows alone are 50 MB as JSON text.
MOST_MB = 40


@pytest.mark.usefixtures("types")
def test_failed_rows_are_written_replayed_and_discarded_without_gathering_in_memory(tmp_path: Path):
    path = os.pathsep.join(str(place) for place in (sys.path[0], *sys.path[1:], Path.cwd()) if place)
    run = subprocess.run(
        [sys.executable, "-m", "tests.engine.many_rejects", str(ROWS), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    few, many = json.loads(run.stdout)
    assert (many["rows"], many["even"]) == (ROWS, True)
    print(few, many)
    assert many["peak_mb"] - few["peak_mb"] < MOST_MB, (few, many)
