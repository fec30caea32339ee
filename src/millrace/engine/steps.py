"""What a step is: one batch in, rows of event types out, between the source and the mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from millrace.data.batch import Batch


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
class Stepped:
    """What a step made of one batch: every input row is in an output, refused, or filtered (I5).

    ``refused``: input rows that could not pass, each with code and message. ``filtered``: how many were dropped on
    purpose.
    """

    outputs: tuple[Output, ...]
    refused: tuple[tuple[int, str, str], ...] = ()
    filtered: int = 0


class Step(Protocol):
    """A transformation: the user's Python or a chain of blocks. Not safe for several threads."""

    def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
        """``key``: fields of the batch's stream that identify a row."""
        ...

    def close(self) -> None:
        """Processes end. May be called twice."""
        ...
