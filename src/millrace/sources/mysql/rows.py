"""Parts of an answer as rows of Millrace; rows with a value that has no logical type are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import pyarrow as pa

from millrace.connect.mysql.parts import Part
from millrace.connect.refused import refused
from millrace.data import json_text
from millrace.data.compute import pc
from millrace.data.rows import to_rows
from millrace.sources.mysql.decoding import mask, of_part
from millrace.sources.mysql.types import Type


class Rows:
    """Rows of one relation. ``special``: what becomes of values that no logical type has; ``left_out`` counts by column
    those that are left out, and dates without a day."""

    def __init__(
        self, stream: str, types: Mapping[str, Type], special: Literal["reject", "null"], now: Callable[[], datetime]
    ) -> None:
        self._stream, self._types, self._special, self._now = stream, types, special, now
        self.left_out: dict[str, int] = {}

    def of(self, names: Sequence[str], part: Part) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """The rows, and those that are refused, as `columns.REJECTS`."""
        arrays: list[pa.Array] = []
        wrong: dict[str, tuple[int, ...]] = {}
        for name, found in zip(names, of_part(part, [self._types[name] for name in names]), strict=True):
            arrays.append(found.values)
            if found.bad:
                wrong[name] = found.bad
            if out := found.zeros + (len(found.bad) if self._special == "null" else 0):
                self.left_out[name] = self.left_out.get(name, 0) + out
        rows = pa.RecordBatch.from_arrays(arrays, names=list(names))
        if not wrong or self._special == "null":
            return rows, None
        places = sorted({place for some in wrong.values() for place in some})
        raw = {name: part.raw(place) for place, name in enumerate(names) if name in wrong}
        shown = {name: {place: _shown(raw[name][place]) for place in some} for name, some in wrong.items()}
        out = mask(places, rows.num_rows)
        return rows.filter(pc.invert(out)), self._refused(rows.filter(out), places, shown)

    def _refused(
        self, rows: pa.RecordBatch, places: Sequence[int], shown: Mapping[str, Mapping[int, str]]
    ) -> pa.RecordBatch:
        """Each row as JSON, its special values as the server writes them."""
        told = to_rows(rows)
        messages: list[str] = []
        for row, place in zip(told, places, strict=True):
            words = {name: some[place] for name, some in shown.items() if place in some}
            row.update(words)
            messages.append("; ".join(f"{name} is {value}, which its type cannot say" for name, value in words.items()))
        texts = map(json_text.dumps, told)
        return refused(self._stream, "INCOMPATIBLE_TYPE", zip(messages, texts, strict=True), self._now())


def _shown(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")
