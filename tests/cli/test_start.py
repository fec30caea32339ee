"""What a run imports before it reads, and how the process of a command ends."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.cli.conftest import Shop

# What `millrace run` over a file, into DuckDB, in a home on SQLite, has no use for. Each takes its time to import.
UNUSED = {
    "adbc_driver_manager",
    "alembic",
    "asyncio.events",
    "encodings.idna",
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
    "millrace.control.books.damage",
    "millrace.control.as_code.export",
    "millrace.control.failed.raw",
    "millrace.control.reconciling.reconcile",
    "millrace.control.failed.rejects",
    "millrace.control.failed.replay",
    "millrace.control.people.sessions",
    "millrace.control.running.tasks",
    "millrace.control.transforming.trials",
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
from millrace.control.running import process
process.begin()
from millrace.cli.main import main
code = main(sys.argv[1:])
from millrace.control.database.db import _compiled
print(len(_compiled), file=sys.stderr)
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
from millrace.control.as_code import document
print("millrace.control.alerting.alert_kinds" in sys.modules)
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

# What a library or a user's connector may do with what `millrace.control.running.libraries` puts off.
USED = """
import asyncio, dataclasses, importlib.metadata, inspect, pickle, typing
from asyncio import events

@dataclasses.dataclass(frozen=True, order=True)
class Point:
    x: int
    y: list[int] = dataclasses.field(default_factory=list, hash=False)
    __module__ = "__main__"

@dataclasses.dataclass(slots=True)
class Open:
    name: str = "a"

one, same, other = Point(1), Point(1), Point(2, [3])
print(one == same, one != other, one < other, hash(one) == hash(same), repr(other), Point.__doc__, Open.__doc__)
print(inspect.signature(Point), Point.__eq__.__qualname__, Open() == Open("a"), Open("b"), Open.__hash__)
print(pickle.loads(pickle.dumps(other)) == other, dataclasses.replace(one, x=5), dataclasses.asdict(other))
for change in (lambda: setattr(one, "x", 2), lambda: delattr(one, "x"), lambda: one < 3, lambda: hash(Open())):
    try:
        change()
    except Exception as error:
        print(type(error).__name__, error)

class Later(typing.NamedTuple):
    a: "typing.Optional[Later]"
    b: typing.Optional["typing.List['Point']"]

print(typing.get_type_hints(Later), typing.Optional["int"], typing.ForwardRef("int") == typing.ForwardRef("int"))

async def answer():
    await asyncio.sleep(0)
    return 42

print(asyncio.run(answer()), asyncio.events is events, asyncio.iscoroutine(3), type(asyncio).__name__)
print(importlib.metadata.version("sqlalchemy"), asyncio.TimeoutError is TimeoutError)
"""

MANY = """
import sys, threading
from millrace.control.running import libraries
libraries.spare()
import asyncio
start, found = threading.Barrier(8), []
def ask(name):
    start.wait()
    found.append(getattr(asyncio, name))
names = ["run", "sleep", "Queue", "gather", "Lock", "TaskGroup", "timeout", "to_thread"]
threads = [threading.Thread(target=ask, args=(name,)) for name in names]
for each in threads: each.start()
for each in threads: each.join()
print(len(found), sys.modules["asyncio"] is asyncio)
"""

END = """
import atexit, sys, threading, time
from millrace.control.running import process
process.begin()
atexit.register(lambda: print("handler"))
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print("main")
process.end(3)
"""

UNCAUGHT = """
from millrace.control.running import process
process.begin()
raise LookupError("nobody caught this")
"""


def test_a_run_imports_nothing_that_it_has_no_use_for(fresh: Shop) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", str(fresh.file), "--json"],
        cwd=fresh.folder,
        env=os.environ | fresh.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    compiled, imported = int(done.stderr.splitlines()[-2]), set(done.stderr.splitlines()[-1].split())
    assert "duckdb" in imported and "sqlalchemy.dialects.sqlite" in imported
    assert UNUSED & imported == set()
    # Each statement takes half a millisecond to compile. Of tables that have no rows none is needed.
    assert 50 < compiled <= 105


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


def test_what_is_put_off_is_what_it_would_have_been() -> None:
    begun = "from millrace.control.running import process\nprocess.begin()\n"
    as_ever, ours = (
        subprocess.run([sys.executable, "-c", first + USED], capture_output=True, text=True, check=False)
        for first in ("", begun)
    )
    assert (ours.stdout, ours.stderr) == (as_ever.stdout, "") and as_ever.returncode == 0
    assert len(ours.stdout.splitlines()) == 10


def test_a_module_that_many_threads_ask_for_is_made_once_and_whole() -> None:
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("8 True\n", "")


def test_a_process_ends_with_its_code_after_its_threads_and_exit_handlers() -> None:
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (3, ["main", "thread", "handler"], "")


def test_an_error_that_nobody_caught_is_told_by_python() -> None:
    done = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "LookupError: nobody caught this" in done.stderr
