"""What a step is: one batch in, rows of event types out, between the source and the mapping."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from millrace.data.batch import Batch
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Output:
    """Rows of one event type that a step made of one batch.

    ``origin`` (int32, no nulls, ascending) is the input row that each row came from. ``made`` tells which rows are new
    events that code made, as opposed to the input row itself; None: none is. ``key``: fields that identify a row; None:
    those of the input stream.
    """

    stream: str
    rows: pa.RecordBatch
    origin: pa.Array
    made: pa.Array | None = None
    key: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows of one event type in the types that they were made in, before rows of other types come to theirs.

    ``rows_in`` and ``places``: for each, the input row that it came from, and its place among what that became.
    """

    stream: str
    rows: pa.RecordBatch
    rows_in: tuple[int, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step made of one batch: every input row is in an output, refused, or filtered (I5).

    ``refused``: input rows that could not pass, each with code and message. ``filtered``: how many were dropped on
    purpose. ``shown``: the same rows as ``outputs`` for people who look on, where the step was traced.
    """

    outputs: tuple[Output, ...]
    refused: tuple[tuple[int, str, str], ...] = ()
    filtered: int = 0
    shown: tuple[Shown, ...] = ()


class Step(Protocol):
    """A transformation: the user's Python or a chain of blocks. Not safe for several threads."""

    def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
        """``key``: fields of the batch's stream that identify a row."""
        ...

    def close(self) -> None:
        """Processes end. May be called twice."""
        ...


def alone(stepped: Stepped) -> Stepped:
    """What the step made, without the rows that code made. Input rows of which nothing is left count as filtered."""
    outputs: list[Output] = []
    before: set[int] = set()
    after: set[int] = set()
    for output in stepped.outputs:
        before.update(pc.unique(output.origin).to_pylist())
        if output.made is None:
            kept = output
        else:
            own = pc.invert(output.made)
            kept = replace(output, rows=output.rows.filter(own), origin=output.origin.filter(own), made=None)
        after.update(pc.unique(kept.origin).to_pylist())
        if kept.rows.num_rows:
            outputs.append(kept)
    return replace(stepped, outputs=tuple(outputs), filtered=stepped.filtered + len(before - after))


def with_siblings(stepped: Stepped) -> frozenset[int]:
    """Input rows of which code made other rows."""
    found = [output.origin.filter(output.made) for output in stepped.outputs if output.made is not None]
    return frozenset(row for rows in found for row in pc.unique(rows).to_pylist())
