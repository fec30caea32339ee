"""SPLIT of events with two arrays, against the plain loop over dicts that one would write (`-m tests.bench.nesting`).

Both start from the staged form of JSON (Arrow text) and end with Arrow batches, in the same run and by turns.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from millrace.data import json_text, types
from millrace.data.rows import to_batch
from millrace.engine.nesting.names import NestingState
from millrace.engine.nesting.nested import parsed

BATCH = 20_000
TURNS = 3


def events(count: int) -> list[pa.RecordBatch]:
    """Events with an object, an array of objects and an array of text, two items each."""
    made: list[pa.RecordBatch] = []
    for start in range(0, count, BATCH):
        rows = [
            {
                "id": f"o{n}",
                "amount": n * 0.25,
                "address": {"city": f"city {n % 100}", "zip": 400_000 + n % 999},
                "contact": [{"name": f"Ann {n}", "phone": str(n)}, {"name": "Bob", "phone": None}],
                "tags": ["x", f"t{n % 7}"],
            }
            for n in range(start, min(start + BATCH, count))
        ]
        made.append(to_batch(rows, None))
    return made


def loop(batches: list[pa.RecordBatch]) -> dict[str, int]:
    """Rows by event type, made one by one."""
    counts: dict[str, int] = defaultdict(int)
    for batch in batches:
        nested = {one.name for one in batch.schema if types.is_json(one.type)}
        out: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in batch.to_pylist():
            event: dict[str, Any] = {
                k: json_text.loads(v) if k in nested and v is not None else v for k, v in row.items()
            }
            _split("orgs", event["id"], event, {}, out)
        for stream, rows in out.items():
            counts[stream] += to_batch(rows, None).num_rows
    return dict(counts)


def _split(stream: str, key: Any, event: dict[str, Any], row: dict[str, Any], out: dict[str, list[Any]]) -> None:
    arrays: list[tuple[str, list[Any]]] = []
    _flatten(event, "", row, arrays)
    out[stream].append(row)
    for path, items in arrays:
        for index, item in enumerate(items):
            id_ = hashlib.sha256(f"{key}|{path}|{index}".encode()).hexdigest()
            child = {"__hevo_id": id_, "__hevo_ref_id": key, "__hevo_array_index": index}
            if isinstance(item, dict):
                _split(f"{stream}_{path}", id_, item, child, out)
            else:
                child["value"] = item
                out[f"{stream}_{path}"].append(child)


def _flatten(value: dict[str, Any], above: str, row: dict[str, Any], arrays: list[tuple[str, list[Any]]]) -> None:
    for key, part in value.items():
        path = f"{above}_{key}" if above else key
        if isinstance(part, dict):
            _flatten(part, path, row, arrays)
        elif isinstance(part, list):
            arrays.append((path, part))
        else:
            row[path] = part


def ours(batches: list[pa.RecordBatch]) -> dict[str, int]:
    """Rows by event type, as Millrace makes them."""
    state = NestingState({"orgs"})
    counts: dict[str, int] = defaultdict(int)
    for batch in batches:
        for made in parsed("orgs", batch, "SPLIT", key=("id",), state=state):
            counts[made.stream] += made.rows.num_rows - made.marks
    return dict(counts)


def measured(work: Callable[[], dict[str, int]]) -> tuple[float, float, dict[str, int]]:
    """Seconds by the clock and of all processors, and what came out."""
    clock, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return time.perf_counter() - clock, time.process_time() - cpu, answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    batches = events(parser.parse_args().events)
    count = sum(batch.num_rows for batch in batches)
    ours(batches[:1])
    best: dict[str, tuple[float, float]] = {}
    answers: set[str] = set()
    for _ in range(TURNS):
        for name, work in (("plain loop", loop), ("Millrace", ours)):
            clock, cpu, answer = measured(lambda work=work: work(batches))
            best[name] = min(best.get(name, (clock, cpu)), (clock, cpu))
            answers.add(repr(sorted(answer.items())))
    assert len(answers) == 1, answers
    for name, (clock, cpu) in best.items():
        print(f"{name:12} {clock:7.2f} s, {count / clock:10,.0f} events/s, {cpu / count * 1e6:6.2f} µs of CPU each")
    (slow, slow_cpu), (fast, fast_cpu) = best["plain loop"], best["Millrace"]
    print(f"ratio        {slow / fast:7.1f} by the clock, {slow_cpu / fast_cpu:.1f} by CPU ({count:,} events)")


if __name__ == "__main__":
    main()
