"""Chains of blocks on columns, beside the same chains row by row over dicts: one thread, one process.

    python -m tests.bench.blocks [rows]

The naive chain of the tests runs on a part of the rows, and its time is scaled: it takes the same for each row.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
from tests.engine.blocks import naive, naive_formula

from millrace.data.batch import Batch
from millrace.engine.blocks.model import parse
from millrace.engine.blocks.step import BlockStep

ROWS = 1_000_000
# Rows of one batch, as sources yield them.
BATCH = 100_000
NAIVE_ROWS = 20_000

CHAIN: list[dict[str, Any]] = [
    {
        "type": "DROP_EVENTS",
        "event_filters": [{"on": "EVENT_FIELD", "field": "status", "op": "EQUALS", "value": "test"}],
    },
    {"type": "ADD_FIELD", "settings": {"name": "total", "value": "price * quantity + 1.5"}},
    {
        "type": "HASH_FIELDS",
        "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "email"}],
        "settings": {"algorithm": "MD5"},
    },
    {
        "type": "RENAME_FIELDS",
        "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "country"}],
        "settings": {"name": "country_code"},
    },
    {
        "type": "MODIFY_TEXT_CASING",
        "event_filters": [{"on": "EVENT_FIELD", "field": "active", "op": "IS_TRUE"}],
        "field_filters": [{"on": "FIELD_NAME", "op": "IN", "value": ["first_name", "city"]}],
        "settings": {"casing": "UPPER"},
    },
]


def rows(count: int) -> pa.RecordBatch:
    """Orders in 12 columns; every e-mail address is another."""
    random = Random(1)
    days = pa.array([random.randrange(15_000, 20_000) for _ in range(count)], pa.int32()).cast(pa.date32())
    return pa.record_batch(
        {
            "id": pa.array(range(count), pa.int64()),
            "status": [random.choice(["new", "paid", "sent", "test"]) for _ in range(count)],
            "price": pa.array([random.randrange(1, 100_000) for _ in range(count)]).cast(pa.decimal128(19, 0)).cast(
                pa.decimal128(10, 2)
            ),
            "quantity": pa.array([random.randrange(1, 9) for _ in range(count)], pa.int32()),
            "email": [f"user{number}@example.com" for number in range(count)],
            "first_name": [random.choice(["Ada", "Grace", "Linus", "Edsger", "Barbara"]) for _ in range(count)],
            "city": [random.choice(["Berlin", "Paris", "Lima", "Oslo"]) for _ in range(count)],
            "country": [random.choice(["de", "fr", "pe", "no"]) for _ in range(count)],
            "active": [random.random() < 0.8 for _ in range(count)],
            "rate": [random.random() for _ in range(count)],
            "day": days,
            "note": [None if random.random() < 0.5 else f"note {number % 1000}" for number in range(count)],
        }
    )  # fmt: skip


def columnar(blocks: list[dict[str, Any]], batch: pa.RecordBatch, *, times: int = 3) -> float:
    """Seconds of the fastest of so many runs."""
    step = BlockStep(parse(blocks))
    parts = [Batch("orders", batch.slice(at, BATCH)) for at in range(0, batch.num_rows, BATCH)]

    def run() -> None:
        for part in parts:
            step.apply(part)

    taken = min(_seconds(run) for _ in range(times))
    step.close()
    return taken


def by_row(blocks: list[dict[str, Any]], batch: pa.RecordBatch) -> float:
    """Seconds for as many rows as the batch has, of dicts that are there already."""
    chain = parse(blocks)
    some = naive_formula.rows_of(batch.slice(0, NAIVE_ROWS))

    def run() -> None:
        for row in some:
            naive.chain(chain, "orders", row)

    return _seconds(run) * batch.num_rows / len(some)


def by_hand(batch: pa.RecordBatch) -> float:
    """Seconds of the five blocks as a loop written for them alone: nothing is looked up, checked or kept exact."""
    some = naive_formula.rows_of(batch.slice(0, NAIVE_ROWS * 5))
    half = Decimal("1.5")

    def run() -> None:
        for row in some:
            if row.get("status") == "test":
                continue
            row = {("country_code" if name == "country" else name): value for name, value in row.items()}
            row["total"] = row["price"] * row["quantity"] + half
            row["email"] = hashlib.md5(row["email"].encode()).hexdigest()
            if row["active"]:
                row["first_name"], row["city"] = row["first_name"].upper(), row["city"].upper()

    return _seconds(run) * batch.num_rows / len(some)


def _seconds(run: Callable[[], None]) -> float:
    """Seconds of the processor, so that other work on the machine does not count."""
    started = time.process_time()
    run()
    return time.process_time() - started


def main(count: int) -> None:
    pa.set_cpu_count(1)
    batch = rows(count)
    print(f"{count:,} rows of {batch.num_columns} columns, batches of {BATCH:,}, one thread")
    print(f"{'':28}{'rows/s':>14}{'row by row':>14}{'ratio':>8}")
    for name, blocks in [*((one["type"], [one]) for one in CHAIN), ("all five", CHAIN)]:
        fast, slow = columnar(blocks, batch), by_row(blocks, batch)
        print(f"{name:28}{count / fast:>14,.0f}{count / slow:>14,.0f}{slow / fast:>8.1f}")
    hand = by_hand(batch)
    print(f"{'all five, loop by hand':28}{'':>14}{count / hand:>14,.0f}{hand / columnar(CHAIN, batch):>8.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
