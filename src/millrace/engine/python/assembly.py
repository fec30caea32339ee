"""Outputs from a guest's answers: what a script did not touch is taken from the batch as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.batch import Batch
from millrace.data.cast import cast
from millrace.data.columns import ID, is_ours, ours
from millrace.data.compute import pc
from millrace.engine.python.frames import Answer
from millrace.engine.steps import Output, Stepped


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one event type and one schema: input rows, places among the answers of a row, whether code made them."""

    rows: np.ndarray[Any, Any]
    places: np.ndarray[Any, Any]
    made: bool
    batch: pa.RecordBatch
    keys: tuple[str, ...] | None


@dataclass(slots=True)
class Assembly:
    """Puts answers together. ``decided`` keeps how the rows of an event type are told apart, as long as it lives."""

    decided: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def assembled(
        self, batch: Batch, key: tuple[str, ...], starts: Sequence[int], answers: Sequence[Answer]
    ) -> Stepped:
        """What the step made of the batch from the answers to its slices, which begin at ``starts``."""
        parts: dict[str, list[_Part]] = {}
        plain = np.concatenate(
            [np.empty(0, np.int64), *(one.plain + at for at, one in zip(starts, answers, strict=True))]
        )
        if len(plain):
            rows = batch.rows if len(plain) == batch.rows.num_rows else batch.rows.take(pa.array(plain))
            parts[batch.stream] = [_Part(plain, np.zeros(len(plain), np.int64), False, rows, None)]
        for name, part in _parts(batch, starts, answers):
            parts.setdefault(name, []).append(part)
        refused = [
            (row + at, code, text)
            for at, answer in zip(starts, answers, strict=True)
            for row, code, text in answer.failed
        ]
        outputs: list[Output] = []
        for name, found in parts.items():
            output = self._output(name, found, batch, key)
            outputs.append(output)
        dropped = sum(answer.dropped for answer in answers)
        return Stepped(tuple(outputs), tuple(sorted(refused)), dropped)

    def _output(self, name: str, parts: list[_Part], batch: Batch, key: tuple[str, ...]) -> Output:
        rows = np.concatenate([part.rows for part in parts])
        places = np.concatenate([part.places for part in parts])
        made = np.concatenate([np.full(len(part.rows), part.made) for part in parts])
        whole = _joined([part.batch for part in parts])
        order = np.lexsort((places, rows))
        if len(parts) > 1 or not np.array_equal(order, np.arange(len(order))):
            rows, made = rows[order], made[order]
            whole = whole.take(pa.array(order))
        chosen = next((part.keys for part in parts if part.keys is not None), None)
        if chosen is not None:
            self.decided.setdefault(name, chosen)
        new_key: tuple[str, ...] | None = None
        if name != batch.stream or made.any():
            whole, new_key = self._identified(name, whole, rows, batch, key)
        elif chosen is not None:
            new_key = self.decided[name]
        return Output(
            name,
            whole,
            pa.array(rows, pa.int32()),
            pa.array(made) if made.any() else None,
            None if new_key is None or (name == batch.stream and new_key == key) else new_key,
        )

    def _identified(
        self, name: str, whole: pa.RecordBatch, rows: np.ndarray[Any, Any], batch: Batch, key: tuple[str, ...]
    ) -> tuple[pa.RecordBatch, tuple[str, ...]]:
        """The rows with what tells them apart, and the fields that do.

        That is the input's key where every row has it and none of the rows that one input row became repeats it; else
        an identity of ours, which follows from the input's key, the event type, and the place among its answers, so
        that rows that are read again come out the same. Without a key of the input there is nothing to follow from.
        """
        decided = self.decided.get(name)
        if decided is None:
            decided = () if not key else key if _tells_apart(whole, rows, key) else (ID,)
            self.decided[name] = decided
        if decided != (ID,) or not key:
            return whole, decided
        return _with_identity(name, whole, rows, batch, key), decided


def _parts(batch: Batch, starts: Sequence[int], answers: Sequence[Answer]) -> Iterator[tuple[str, _Part]]:
    for start, answer in zip(starts, answers, strict=True):
        for group in answer.groups:
            rows = group.rows + start
            taken = batch.rows.take(pa.array(rows))
            arrays: dict[str, tuple[pa.Field, pa.Array]] = {}
            for one, array in zip(taken.schema, taken.columns, strict=True):
                # An event that code made has what it was given, and what Millrace knows of the row that it came from.
                if (is_ours(one) and one.name not in group.fields) or not (group.made or one.name in group.removed):
                    arrays[one.name] = (one, array)
            for name, array in group.fields.items():
                if array is None:
                    arrays.pop(name, None)
                    continue
                known = arrays.get(name)
                made = ours(name, array.type) if known and is_ours(known[0]) else pa.field(name, array.type)
                arrays[name] = (made, array)
            if arrays:
                built = pa.RecordBatch.from_arrays(
                    [array for _, array in arrays.values()], schema=pa.schema([made for made, _ in arrays.values()])
                )
            else:
                built = pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))
            yield group.name, _Part(rows, group.places, group.made, built, group.keys)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of all; a column has the type that holds all its values exactly."""
    if len(batches) == 1:
        return batches[0]
    fields: dict[str, list[pa.Field]] = {}
    for batch in batches:
        for one in batch.schema:
            fields.setdefault(one.name, []).append(one)
    wanted = [
        pa.field(name, reduce(types.widen, [types.canonical(one.type) for one in found]), metadata=found[0].metadata)
        for name, found in fields.items()
    ]
    schema = pa.schema(wanted)
    fitted = [
        pa.RecordBatch.from_arrays([_fitted(batch, one) for one in wanted], schema=schema) if wanted else batch
        for batch in batches
    ]
    return pa.Table.from_batches(fitted).combine_chunks().to_batches()[0]


def _fitted(batch: pa.RecordBatch, wanted: pa.Field) -> pa.Array:
    at = batch.schema.get_field_index(wanted.name)
    if at < 0:
        return pa.nulls(batch.num_rows, wanted.type)
    return cast(batch.column(at), wanted.type, strict=True).values


def _tells_apart(whole: pa.RecordBatch, rows: np.ndarray[Any, Any], key: tuple[str, ...]) -> bool:
    """Every row has the key, and no two rows that came from one input row have the same."""
    places = [whole.schema.get_field_index(name) for name in key]
    if min(places) < 0 or any(whole.column(place).null_count for place in places):
        return False
    if len(np.unique(rows)) == len(rows):
        return True
    table = pa.table([pa.array(rows), *(_plain(whole.column(place)) for place in places)],
                     names=[str(n) for n in range(len(places) + 1)])  # fmt: skip
    return table.group_by(table.column_names).aggregate([]).num_rows == len(rows)


def _plain(array: pa.Array) -> pa.Array:
    return cast(array, types.VARCHAR, strict=True).values


def _with_identity(
    name: str, whole: pa.RecordBatch, rows: np.ndarray[Any, Any], batch: Batch, key: tuple[str, ...]
) -> pa.RecordBatch:
    texts = [_plain(batch.rows.column(batch.rows.schema.get_field_index(one))).take(pa.array(rows)) for one in key]
    parents = (texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "|")).to_pylist()
    firsts = np.concatenate([[True], rows[1:] != rows[:-1]]) if len(rows) else np.empty(0, bool)
    starts = np.maximum.accumulate(np.where(firsts, np.arange(len(rows)), 0))
    own = key == (ID,)
    made = [
        parent if own and index == 0 else hashlib.sha256(f"{parent}|{name}|{index}".encode()).hexdigest()
        for parent, index in zip(parents, (np.arange(len(rows)) - starts).tolist(), strict=True)
    ]
    at = whole.schema.get_field_index(ID)
    identity = ours(ID, pa.string())
    column = pa.array(made, pa.string())
    return whole.append_column(identity, column) if at < 0 else whole.set_column(at, identity, column)
