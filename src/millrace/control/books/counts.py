"""What a run read and what became of it, as numbers that only the transactions of the ledger add to (I5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.database.db import upsert
from millrace.control.database.tables import run_counts
from millrace.data.dataclass import dataclass

# read + created = loaded + filtered + rejected + dropped + what waits on the stage. `staged` is what was put there,
# `load` what the run's own loads did (rows of earlier runs may be among them), `noted` what the source counted beside.
Kind: TypeAlias = Literal["read", "created", "staged", "loaded", "filtered", "rejected", "dropped", "noted", "load"]

Key: TypeAlias = tuple[int, str, Kind, str]
"""Run, stream, kind, and a name: a reason, `stage/CODE`, or nothing."""


def add(connection: sa.Connection, counts: Mapping[Key, int]) -> None:
    """The counts are added; a negative one takes back."""
    rows = [
        {"run_id": run, "stream": stream, "kind": kind, "name": name, "n": n}
        for (run, stream, kind, name), n in sorted(counts.items())
        if n
    ]
    upsert(connection, run_counts, rows, key=["run_id", "stream", "kind", "name"], add=["n"])


@dataclass(frozen=True, slots=True)
class Part:
    """A segment within a load: its number, its rows, and the run and stream that they came from."""

    number: int
    run_id: int
    stream: str
    rows: int


def shares(parts: Iterable[Part], refused: Mapping[tuple[str, str, str], int]) -> dict[int, dict[str, int]]:
    """Refused rows of a load, by (stream, stage, code), dealt to its segments: number → `stage/CODE` → rows.

    Which row of a load was refused is not kept by segment, so they are dealt to the oldest first, within their
    stream. Only where one load takes segments of several runs can a run's share differ from the truth; the sum never
    does, and each run still balances.
    """
    free = {part.number: part.rows for part in parts}
    ordered = sorted(parts, key=lambda part: part.number)
    dealt: dict[int, dict[str, int]] = {}
    for (stream, stage, code), count in sorted(refused.items()):
        mine = [part for part in ordered if part.stream == stream]
        for part in mine + [part for part in ordered if part.stream != stream]:
            taken = min(count, free[part.number])
            if taken:
                free[part.number] -= taken
                names = dealt.setdefault(part.number, {})
                names[f"{stage}/{code}"] = names.get(f"{stage}/{code}", 0) + taken
                count -= taken
    return dealt


def of_load(parts: Iterable[Part], refused: Mapping[int, Mapping[str, int]], *, sign: int) -> Counter[Key]:
    """What the loading of segments adds to the counts of the runs that staged them; -1 takes it back."""
    counts: Counter[Key] = Counter()
    for part in parts:
        names = refused.get(part.number, {})
        counts[part.run_id, part.stream, "loaded", ""] += sign * (part.rows - sum(names.values()))
        for name, rows in names.items():
            counts[part.run_id, part.stream, "rejected", name] += sign * rows
    return counts
