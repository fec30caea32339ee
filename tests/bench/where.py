"""Where the time of a sync goes: CPU microseconds for each event, by stage of the way.

    python -m tests.bench.where [EVENTS] [duckdb|postgres]

Runs `millrace run` with a clock around some twenty functions, each counted without those that it calls; the clocks
themselves cost less than one part in a hundred, since they are asked a few times a page.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any

# What is measured: stage, module, name in it. A function that is gone is an error, so that this list stays true.
CLOCKS = (
    ("fetch", "millrace.connect.http.client", "Client.send"),
    ("parse: msgspec", "millrace.sources.clevertap.wire", "read"),
    ("identity: canonical JSON, SHA-256", "millrace.sources.clevertap.mapper", "Mapper._hashes"),
    ("rows: columns", "millrace.sources.clevertap.mapper", "Mapper.__call__"),
    ("rows: by the native library", "millrace.sources.clevertap.native", "mapped"),
    ("rows: as Arrow", "millrace.sources.clevertap.sweep", "rows_of"),
    ("marks: known, new or changed", "millrace.sources.clevertap.known", "Known.judge"),
    ("marks: recalled", "millrace.control.books.ledger", "Recall.recall"),
    ("mapping: types and names", "millrace.engine.shaping", "shape"),
    ("stage: write Arrow, LZ4", "millrace.engine.stage", "Draft.add"),
    ("stage: checksum, fsync", "millrace.engine.stage", "Draft.close"),
    ("commit: control database", "millrace.control.books.ledger", "Books.commit"),
    ("load: read and check the stage", "millrace.engine.stage", "Stage.read"),
    ("load: make the table fit", "millrace.connect.sql.destination", "SqlDestination.ensure"),
    ("load: statements, in the loading thread", "millrace.connect.sql.destination", "SqlDestination.load"),
)
_spent: dict[str, float] = defaultdict(float)
_waited: dict[str, float] = defaultdict(float)
_calls: dict[str, int] = defaultdict(int)
_threads = threading.local()


def _clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **named: Any) -> Any:
        stack: list[list[float]] = _threads.__dict__.setdefault("stack", [])
        stack.append([0.0, 0.0])
        began, began_cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*args, **named)
        finally:
            took, took_cpu = time.perf_counter() - began, time.thread_time() - began_cpu
            inner, inner_cpu = stack.pop()
            _spent[stage] += took_cpu - inner_cpu
            _waited[stage] += took - inner
            _calls[stage] += 1
            if stack:
                stack[-1][0] += took
                stack[-1][1] += took_cpu

    return timed


def _install() -> None:
    from millrace.connect import registry

    registry.source("clevertap"), registry.destination("duckdb"), registry.destination("postgres")
    importlib.import_module("millrace.control.running.runs")
    for stage, module, name in CLOCKS:
        owner: Any = importlib.import_module(module)
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        old = getattr(owner, last)
        new = _clocked(stage, old)
        setattr(owner, last, new)
        # Those who imported a function by its name have it too.
        for other in list(sys.modules.values()):
            if not path and getattr(other, "__name__", "").startswith("millrace") and vars(other).get(last) is old:
                setattr(other, last, new)


def inside(words: list[str]) -> None:
    """Runs Millrace's command here, and writes what was measured to standard error's last line."""
    from millrace.control.running import process

    process.begin()
    _install()
    ready = time.process_time()
    began = time.perf_counter()
    sys.argv = ["millrace", *words]
    from millrace.cli.main import main

    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    took = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "spent": dict(_spent),
        "waited": dict(_waited),
        "calls": dict(_calls),
        "start": ready,
        "main": time.thread_time() - ready,
        "cpu": usage.ru_utime + usage.ru_stime,
        "seconds": took,
        "peak": usage.ru_maxrss,
    }
    print(json.dumps(found), file=sys.stderr)


def main(events: int, to: str) -> None:
    from tests.bench import product
    from tests.bench.__main__ import FULL, Bench

    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        bench = Bench(FULL, place, stack)
        data = bench.data(events)
        destination: dict[str, Any] = {"type": "duckdb", "config": {"path": "./warehouse.duckdb"}}
        if to == "postgres":
            bench.fresh_database()
            destination = {"type": "postgres", "config": bench.postgres.settings()}
        text = product.pipeline(data.url, data.folder / "events.csv", destination)
        (place / "pipelines.yaml").write_text(text)
        import os
        import subprocess

        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.where", "--inside", "run", str(place / "pipelines.yaml"), "--json"],
            env=os.environ | {"MILLRACE_HOME": str(place / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr + done.stdout)
        show(json.loads(done.stderr.splitlines()[-1]), events)


def show(found: dict[str, Any], events: int) -> None:
    def each(seconds: float) -> str:
        return f"{seconds / events * 1e6:6.2f}"

    spent: dict[str, float] = found["spent"]
    print(f"{events:,} events: {found['seconds']:.1f} s, {found['cpu']:.1f} CPU seconds, {found['peak'] / 1e3:,.0f} MB")
    print("| Stage | CPU µs an event | Seconds | Calls |\n|---|---|---|---|")
    for stage, _, _ in CLOCKS:
        waited, calls = found["waited"].get(stage, 0.0), found["calls"].get(stage, 0)
        print(f"| {stage} | {each(spent.get(stage, 0.0))} | {waited:.2f} | {calls:,} |")
    others = ("load", "fetch", "parse", "identity", "rows: columns", "rows: by")
    reading = [stage for stage, _, _ in CLOCKS if not stage.startswith(others)]
    rest = found["main"] - sum(spent.get(stage, 0.0) for stage in reading)
    print(f"| the rest of the reading thread | {each(rest)} | | |")
    threads = found["cpu"] - found["start"] - sum(spent.values()) - rest
    print(f"| other threads: the database's own, Arrow's | {each(threads)} | | |")
    print(f"| start: imports | {each(found['start'])} | | |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2:])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 200_000, sys.argv[2] if sys.argv[2:] else "duckdb")
