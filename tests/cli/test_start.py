"""What a run imports before it reads, and how the process of a command ends."""

from __future__ import annotations

import subprocess
import sys

from tests.cli.conftest import Shop

# What `millrace run` over a file, into DuckDB, in a home on SQLite, has no use for. Each takes its time to import.
UNUSED = {
    "adbc_driver_manager",
    "alembic",
    "fastapi",
    "httpcore",
    "httpx",
    "numpy.ma",
    "psycopg",
    "rich",
    "sqlalchemy.dialects.postgresql",
    "starlette",
    "uvicorn",
    "millrace.cli.connections",
    "millrace.cli.mapping",
    "millrace.cli.people",
    "millrace.cli.rejects",
    "millrace.cli.remote",
    "millrace.cli.transform",
    "millrace.connect.intake",
    "millrace.connect.sql.history",
    "millrace.control.damage",
    "millrace.control.export",
    "millrace.control.raw",
    "millrace.control.reconcile",
    "millrace.control.rejects",
    "millrace.control.replay",
    "millrace.control.sessions",
    "millrace.control.tasks",
    "millrace.control.trials",
    "millrace.engine.blocks",
    "millrace.engine.nesting",
    "millrace.engine.python",
    "millrace.engine.raw",
    "millrace.sources.clevertap.checks",
    "millrace.sources.clevertap.counting",
    "millrace.rest",
}

RUN = """
import sys
from millrace.control import process
process.begin()
from millrace.cli.main import main
code = main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
process.end(code)
"""

APPLIED = """
import sys
from millrace.connect import registry
registry.destination("duckdb").Config(path="a.duckdb")
print("duckdb" in sys.modules)
"""

READ = """
import sys
from millrace.control import document
print("millrace.control.alert_kinds" in sys.modules)
"""

WRITTEN = """
import sys
from datetime import UTC, date, datetime
import pyarrow as pa
from millrace.data import writing
print(writing.text(pa.array([datetime(2026, 1, 2, tzinfo=UTC)], pa.timestamp("us", "UTC"))).values)
print(writing.text(pa.array([date(2026, 1, 2)], pa.date32())).values)
print("dateutil" in sys.modules)
"""

END = """
import atexit, sys, threading, time
from millrace.control import process
process.begin()
atexit.register(lambda: print("handler"))
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print("main")
process.end(3)
"""

UNCAUGHT = """
from millrace.control import process
process.begin()
raise LookupError("nobody caught this")
"""


def test_a_run_imports_nothing_that_it_has_no_use_for(fresh: Shop) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", str(fresh.file), "--json"],
        cwd=fresh.folder,
        env=fresh.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    imported = set(done.stderr.splitlines()[-1].split())
    assert "duckdb" in imported and "sqlalchemy.dialects.sqlite" in imported
    assert UNUSED & imported == set()


def test_duckdb_is_left_to_the_thread_that_loads() -> None:
    done = subprocess.run([sys.executable, "-c", APPLIED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_file_without_channels_needs_none_of_their_settings() -> None:
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_arrow_is_told_the_types_of_numbers_that_times_are_compared_with() -> None:
    done = subprocess.run([sys.executable, "-c", WRITTEN], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "2026-01-02T00:00:00" in done.stdout and done.stdout.endswith("False\n")


def test_a_process_ends_with_its_code_after_its_threads_and_exit_handlers() -> None:
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (3, ["main", "thread", "handler"], "")


def test_an_error_that_nobody_caught_is_told_by_python() -> None:
    done = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "LookupError: nobody caught this" in done.stderr
