"""Users' scripts in the sandbox, beside the same work in a bare Python process (`-m tests.bench.scripts`).

The sandbox is the whole way, from Arrow rows to Arrow rows, in as many guests as a pipeline has. The bare process is
CPython alone, where dicts of the same events are there already: a loop written by hand over them, without events
("by hand"), and the same script by Millrace's scripting API ("by API"). All in one run, by turns. The shares are those
of the sandbox's speed in either's. The goal: 25 % of the loop by hand, for the script that adds a field and drops some.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from millrace.data.batch import Batch
from millrace.engine.python.host import PythonStep

BATCH = 20_000
TURNS = 3


@dataclass(frozen=True, slots=True)
class Task:
    """A script, and the body of the same loop by hand; ``p`` is the event's dict, what stays goes to ``out``."""

    script: str
    by_hand: str


TASKS = {
    "a field added, a tenth dropped": Task(
        """
def transform(event):
    p = event.getProperties()
    if p["status"] == "test":
        return None
    p["total"] = p["price"] * p["quantity"]
    return event
""",
        """
    if p["status"] == "test":
        continue
    p["total"] = p["price"] * p["quantity"]
    out.append(p)
""",
    ),
    "nothing touched": Task(
        """
def transform(event):
    return event
""",
        """
    out.append(p)
""",
    ),
    "a nested field read and changed": Task(
        """
def transform(event):
    p = event.getProperties()
    p["device"]["os"] = p["device"]["os"].lower()
    return event
""",
        """
    device = json.loads(p["device"]) if isinstance(p["device"], str) else p["device"]
    device["os"] = device["os"].lower()
    p["device"] = device
    out.append(p)
""",
    ),
    "split in two": Task(
        """
from millrace.api import Event

def transform(event):
    p = event.getProperties()
    return [
        Event("orders", {"id": p["id"], "price": p["price"], "quantity": p["quantity"]}),
        Event("people", {"id": p["id"], "email": p["email"], "city": p["city"]}),
    ]
""",
        """
    out.append({"id": p["id"], "price": p["price"], "quantity": p["quantity"]})
    out.append({"id": p["id"], "email": p["email"], "city": p["city"]})
""",
    ),
}

# Run by a Python of its own. The dicts are made anew for each, and are no part of what is measured.
BARE = """
import gc, json, sys, time
sys.path.insert(0, {scripting!r})
from scripting.script import compiled
from scripting.event import Event
from scripting.properties import Properties

lines = open({events!r}).read().splitlines()
def lazy(row):
    made = Properties(row)
    made.lazy = nested
    return made
nested = frozenset(["device"])
rows = [json.loads(line) for line in lines]
script = compiled({script!r})
# Collecting circles among events that are kept would be most of the time; a bare loop deserves better.
gc.disable()
started = time.perf_counter()
out = []
for number, row in enumerate(rows):
    event = Event.received("orders", lazy(row), primary_keys=["id"], number=number)
    out.append(script(event).events)
by_api = time.perf_counter() - started
rows, out = [json.loads(line) for line in lines], []
started = time.perf_counter()
for p in rows:
{by_hand}
by_hand = time.perf_counter() - started
print(json.dumps([by_api, by_hand]))
"""


def events(count: int) -> pa.RecordBatch:
    """Orders in 12 columns, one of them a nested object."""
    random = Random(1)
    device = [
        json.dumps({"os": random.choice(["iOS", "Android"]), "screen": {"w": 390, "h": n % 900}}, separators=(",", ":"))
        for n in range(count)
    ]
    return pa.record_batch(
        {
            "id": pa.array(range(count), pa.int64()),
            "status": [random.choice(["new", "paid", "sent", "done", "test"][: 4 + (n % 2)]) for n in range(count)],
            "price": [random.randrange(1, 100_000) / 100 for _ in range(count)],
            "quantity": pa.array([random.randrange(1, 9) for _ in range(count)], pa.int32()),
            "email": [f"user{n}@example.com" for n in range(count)],
            "first_name": [random.choice(["Ada", "Grace", "Linus", "Edsger"]) for _ in range(count)],
            "city": [random.choice(["Berlin", "Paris", "Lima", "Oslo"]) for _ in range(count)],
            "country": [random.choice(["de", "fr", "pe", "no"]) for _ in range(count)],
            "active": [random.random() < 0.8 for _ in range(count)],
            "epoch_ms": pa.array([1_700_000_000_000 + n for n in range(count)], pa.int64()),
            "note": [None if n % 2 else f"note {n % 1000}" for n in range(count)],
            "device": pa.ExtensionArray.from_storage(pa.json_(), pa.array(device, pa.string())),
        }
    )


def sandboxed(script: str, rows: pa.RecordBatch) -> tuple[float, int]:
    """Seconds of all batches, without those of starting the guests; and how many rows came out."""
    step = PythonStep(script)
    try:
        step.apply(Batch("orders", rows.slice(0, 8_000)), ("id",))
        started = time.perf_counter()
        made = 0
        for at in range(0, rows.num_rows, BATCH):
            stepped = step.apply(Batch("orders", rows.slice(at, BATCH)), ("id",))
            assert not stepped.refused, stepped.refused[:1]
            made += sum(output.rows.num_rows for output in stepped.outputs)
        return time.perf_counter() - started, made
    finally:
        step.close()


def bare(task: Task, lines: Path) -> tuple[float, float]:
    """Seconds of the script by the API, and of the loop by hand, in a Python that knows nothing else."""
    scripting = str(Path(sys.modules["millrace"].__path__[0]))
    code = BARE.format(scripting=scripting, events=str(lines), script=task.script, by_hand=task.by_hand.strip("\n"))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    by_api, by_hand = json.loads(done.stdout)
    return by_api, by_hand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=TURNS)
    asked = parser.parse_args()
    rows = events(asked.events)
    started = time.perf_counter()
    PythonStep("def transform(event):\n    return event\n").close()
    print(f"{asked.events:,} events of {rows.num_columns} columns; µs for each, the best of {asked.turns} turns")
    print(f"first guest: {(time.perf_counter() - started) * 1e3:.0f} ms with the search for a wall")
    print(f"{'':34}{'sandbox':>9}{'by hand':>9}{'share':>7}{'by API':>8}{'share':>7}{'rows out':>10}")
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "events.jsonl"
        # As the guest has them: without null fields, nested objects as the text that is read when it is asked for.
        plain: list[dict[str, Any]] = rows.set_column(11, "device", rows.column(11).storage).to_pylist()
        lines.write_text("\n".join(json.dumps({k: v for k, v in one.items() if v is not None}) for one in plain))
        for name, task in TASKS.items():
            boxed, (by_api, by_hand), made = float("inf"), (float("inf"), float("inf")), 0
            for _ in range(asked.turns):
                seconds, made = sandboxed(task.script, rows)
                boxed = min(boxed, seconds)
                one, other = bare(task, lines)
                by_api, by_hand = min(by_api, one), min(by_hand, other)
            each = 1e6 / asked.events
            print(
                f"{name:34}{boxed * each:>9.2f}{by_hand * each:>9.2f}{by_hand / boxed:>7.0%}{by_api * each:>8.2f}"
                f"{by_api / boxed:>7.0%}{made:>10,}"
            )


if __name__ == "__main__":
    main()
