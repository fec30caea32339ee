"""Batches of the driver as rows of Millrace: values in logical types; rows with a value that has none are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

import pyarrow as pa

from millrace.connect.refused import refused
from millrace.data import columns, json_text
from millrace.data.compute import pc
from millrace.data.exact import either
from millrace.data.rows import to_rows
from millrace.sources.postgres.decoding import decoded, shown
from millrace.sources.postgres.types import Type


class Rows:
    """Rows of one relation. ``special``: what becomes of values that no logical type has; ``left_out`` counts them by
    column, where they are left out."""

    def __init__(
        self, stream: str, types: Mapping[str, Type], special: Literal["reject", "null"], now: Callable[[], datetime]
    ) -> None:
        self._stream, self._types, self._special, self._now = stream, types, special, now
        self.left_out: dict[str, int] = {}

    def of(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """The rows, and those that are refused, as `columns.REJECTS`."""
        names = batch.schema.names
        arrays: list[pa.Array] = []
        wrong: dict[str, pa.BooleanArray] = {}
        out: pa.BooleanArray | None = None
        for name, values in zip(names, batch.columns, strict=True):
            found = decoded(values, self._types[name])
            arrays.append(found.values)
            if found.bad is not None:
                wrong[name] = found.bad
                out = either(out, found.bad)
        fields = [
            (columns.measured if self._types[name].logical is None else pa.field)(name, array.type)
            for name, array in zip(names, arrays, strict=True)
        ]
        rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        if out is None:
            return rows, None
        if self._special == "null":
            for name, bad in wrong.items():
                self.left_out[name] = self.left_out.get(name, 0) + (pc.sum(bad).as_py() or 0)
            return rows, None
        refused = self._refused(
            batch.filter(out), rows.filter(out), {name: bad.filter(out) for name, bad in wrong.items()}
        )
        return rows.filter(pc.invert(out)), refused

    def _refused(
        self, raw: pa.RecordBatch, rows: pa.RecordBatch, wrong: Mapping[str, pa.BooleanArray]
    ) -> pa.RecordBatch:
        """Each row as JSON, its special values as the server writes them."""
        told = to_rows(rows)
        messages: list[list[str]] = [[] for _ in told]
        for name, bad in wrong.items():
            for row in pc.indices_nonzero(bad).to_pylist():
                value = shown(raw.column(name).slice(row, 1), self._types[name])
                told[row][name] = value
                messages[row].append(f"{name} is {value}, which no type of a warehouse has")
        pairs = (("; ".join(words), json_text.dumps(row)) for words, row in zip(messages, told, strict=True))
        return refused(self._stream, "INCOMPATIBLE_TYPE", pairs, self._now())
