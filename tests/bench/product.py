"""Millrace as its users run it: `millrace run FILE`, in a home of its own, each time from nothing."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import measure
from tests.bench.server import PASSCODE, PROJECT

COMMAND = str(Path(sys.executable).with_name("millrace"))


def pipeline(base_url: str, events_file: Path, destination: dict[str, Any], **source: Any) -> str:
    """The file of pipelines, in JSON, which is YAML too."""
    config = {
        "project_id": PROJECT,
        "passcode": PASSCODE,
        "region": "EU",
        "events_file": str(events_file),
        "base_url": base_url,
    }
    return json.dumps(
        {
            "destinations": {"warehouse": destination},
            "pipelines": {
                "clevertap": {
                    "source": {"type": "clevertap", "config": config | source},
                    "destination": "warehouse",
                    "load_mode": "merge",
                }
            },
        }
    )


def sync(
    base_url: str, events_file: Path, destination: dict[str, Any], expected: int, count: Callable[[Path], int]
) -> measure.Ran:
    """One whole sync into an empty destination. Raises Failed when the table then has other than ``expected`` rows.

    ``count`` is given the folder in which the sync ran.
    """
    folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    try:
        (folder / "pipelines.yaml").write_text(pipeline(base_url, events_file, destination))
        ran = measure.run(
            [COMMAND, "run", "pipelines.yaml", "--json"],
            folder=folder,
            environment={"MILLRACE_HOME": str(folder / "home")},
        )
        if (found := count(folder)) != expected:
            raise measure.Failed(f"the table has {found:,} rows, not {expected:,}: {ran.output[:2000]}")
        return ran
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def duckdb_rows(path: Path) -> int:
    """Rows of the table `events`, asked by another process: this one stays small."""
    question = (
        f"import duckdb; print(duckdb.connect({str(path)!r}).execute('SELECT count(*) FROM events').fetchall()[0][0])"
    )
    return int(measure.run([sys.executable, "-c", question]).output)
