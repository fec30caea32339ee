"""Outputs from a guest's answers: what a script did not touch is taken from the batch as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.batch import Batch
from millrace.data.cast import cast
from millrace.data.columns import ID, is_measured, is_ours, measured, ours
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import of_type, without
from millrace.data.rows import meeting
from millrace.engine.python.frames import Answer, Given, Group
from millrace.engine.steps import Output, Shown, Stepped


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
    """Puts answers together. ``decided`` keeps how the rows of an event type are told apart, as long as it lives.

    ``traced``: each row is shown as it was made, too.
    """

    decided: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    traced: bool = False

    def assembled(
        self, batch: Batch, key: tuple[str, ...], starts: Sequence[int], answers: Sequence[Answer]
    ) -> Stepped:
        """What the step made of the batch from the answers to its slices, which begin at ``starts``."""
        parts: dict[str, list[_Part]] = {}
        plain = np.concatenate(
            [np.empty(0, np.int64), *(one.plain + at for at, one in zip(starts, answers, strict=True))]
        )
        if len(plain):
            rows = _at(batch.rows, plain)
            parts[batch.stream] = [_Part(plain, np.zeros(len(plain), np.int64), False, rows, None)]
        for group in _groups(starts, answers):
            parts.setdefault(group.name, []).append(_part(batch, group))
        refused = {
            row + at: (code, text)
            for at, answer in zip(starts, answers, strict=True)
            for row, code, text in answer.failed
        }
        outputs: list[Output] = []
        doubled: dict[int, str] = {}
        for name, found in parts.items():
            output, twice = self._output(name, found, batch, key)
            outputs.append(output)
            for row in twice:
                doubled[row] = name
        if doubled:
            outputs = list(_without(outputs, doubled))
            told = ", ".join(key)
            for row, name in doubled.items():
                refused[row] = (
                    "TRANSFORM_RESULT",
                    f"the script made several events of {name} with the same {told} of this one, and all but one would "
                    "be lost; give each its own, or name the fields that tell them apart with setPrimaryKeys",
                )
        dropped = sum(answer.dropped for answer in answers)
        each = [(name, part) for name, found in parts.items() for part in found] if self.traced else []
        return Stepped(
            tuple(outputs),
            tuple((row, *refused[row]) for row in sorted(refused)),
            dropped,
            tuple(Shown(name, one.batch, tuple(one.rows.tolist()), tuple(one.places.tolist())) for name, one in each),
        )

    def _output(self, name: str, parts: list[_Part], batch: Batch, key: tuple[str, ...]) -> tuple[Output, list[int]]:
        """The rows of an event type; and the input rows of which it has several that nothing tells apart."""
        rows = np.concatenate([part.rows for part in parts])
        places = np.concatenate([part.places for part in parts])
        made = np.concatenate([np.full(len(part.rows), part.made) for part in parts])
        whole = _joined([part.batch for part in parts])
        order = np.lexsort((places, rows))
        if len(parts) > 1 or not np.array_equal(order, np.arange(len(order))):
            rows, made = rows[order], made[order]
            whole = whole.take(pa.array(order))
        chosen = next((part.keys for part in parts if part.keys is not None), None)
        decided = self.decided.get(name)
        if decided is None:
            decided = self._decided(name, chosen, whole, rows, batch, key)
        twice: list[int] = []
        if decided == (ID,) and key and (name != batch.stream or made.any()):
            whole = _with_identity(name, whole, rows, batch, key)
        elif decided == key and chosen is None and len(key):
            twice = _doubled(whole, rows, key)
        output = Output(
            name,
            whole,
            pa.array(rows, pa.int32()),
            pa.array(made) if made.any() else None,
            None if name == batch.stream and decided == key else decided,
        )
        return output, twice

    def _decided(
        self,
        name: str,
        chosen: tuple[str, ...] | None,
        whole: pa.RecordBatch,
        rows: np.ndarray[Any, Any],
        batch: Batch,
        key: tuple[str, ...],
    ) -> tuple[str, ...]:
        """The fields that tell the event type's rows apart from now on.

        Those that the script chose; else the input's key, which the input's own event type always has, where every row
        has it and none of the rows that one input row became repeats it; else an identity of ours. That follows from
        the input's key, the event type and the place among the input's answers, so that rows that are read again come
        out the same. Without a key of the input there is nothing to follow from.
        """
        if chosen is not None:
            self.decided[name] = chosen
            return chosen
        if name == batch.stream or not key:
            return key
        found = [whole.schema.get_field_index(one) for one in key]
        whole_key = min(found) >= 0 and not any(whole.column(at).null_count for at in found)
        self.decided[name] = key if whole_key and not _doubled(whole, rows, key) else (ID,)
        return self.decided[name]


def _groups(starts: Sequence[int], answers: Sequence[Answer]) -> Iterator[Group]:
    """The groups of all slices, with rows of the batch. Those that are alike in all but their rows are one."""
    found: dict[Any, list[Group]] = {}
    for start, answer in zip(starts, answers, strict=True):
        for group in answer.groups:
            fields = tuple((name, given.values.type) for name, given in group.fields.items())
            alike = (group.name, group.made, group.keys, fields, tuple(group.removed))
            found.setdefault(alike, []).append(replace(group, rows=group.rows + start))
    for groups in found.values():
        yield _in_order(groups[0] if len(groups) == 1 else _as_one(groups))


def _as_one(groups: Sequence[Group]) -> Group:
    counts = [len(group.rows) for group in groups]
    firsts = [0, *np.cumsum(counts[:-1]).tolist()]

    def joined(places: Sequence[np.ndarray[Any, Any] | None]) -> np.ndarray[Any, Any] | None:
        if all(at is None for at in places):
            return None
        each = zip(places, counts, firsts, strict=True)
        return np.concatenate([(np.arange(count) if at is None else at) + first for at, count, first in each])

    return replace(
        groups[0],
        rows=np.concatenate([group.rows for group in groups]),
        places=np.concatenate([group.places for group in groups]),
        fields={
            name: Given(
                joined([group.fields[name].at for group in groups]),
                pa.chunked_array([group.fields[name].values for group in groups]).combine_chunks(),
            )
            for name in groups[0].fields
        },
        removed={name: joined([group.removed[name] for group in groups]) for name in groups[0].removed},
    )


def _in_order(group: Group) -> Group:
    """The same group with its rows ascending, which saves to bring whole columns in order later."""
    if group.made or not np.any(group.rows[1:] < group.rows[:-1]):
        return group
    order = np.argsort(group.rows, kind="stable")
    now = np.empty_like(order)
    now[order] = np.arange(len(order))
    return replace(
        group,
        rows=group.rows[order],
        places=group.places[order],
        fields={name: replace(one, at=now if one.at is None else now[one.at]) for name, one in group.fields.items()},
        removed={name: None if at is None else now[at] for name, at in group.removed.items()},
    )


def _part(batch: Batch, group: Group) -> _Part:
    """The rows of a group: what was set as it was set, the rest from the batch."""
    rows = group.rows
    taken = _at(batch.rows, rows)
    columns: dict[str, tuple[pa.Field, pa.Array]] = {}
    for one, array in zip(taken.schema, taken.columns, strict=True):
        # An event that code made has what it was given, and what Millrace knows of the row that it came from.
        if is_ours(one) or (not group.made and one.name not in group.removed):
            columns[one.name] = (one, array)
        elif not group.made and (gone := group.removed[one.name]) is not None:
            mask = np.zeros(len(rows), bool)
            mask[gone] = True
            columns[one.name] = (one, without(array, pa.array(mask)))
    for name, given in group.fields.items():
        known = columns.get(name)
        if given.at is None:
            array = given.values
        elif len(given.at) == len(rows):
            # All are set, in another order.
            array = given.values.take(pa.array(np.argsort(given.at)))
        else:
            index = np.full(len(rows), -1, np.int64)
            index[given.at] = np.arange(len(given.at))
            here = pa.array(index, mask=index < 0)
            array = given.values.take(here)
            if known is not None:
                array = _over(known[1], array, here.is_valid(), measured=is_measured(known[0]))
        made = ours(name, array.type) if known is not None and is_ours(known[0]) else measured(name, array.type)
        columns[name] = (made, array)
    if columns:
        built = pa.RecordBatch.from_arrays(
            [array for _, array in columns.values()], schema=pa.schema([made for made, _ in columns.values()])
        )
    else:
        built = pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))
    return _Part(rows, group.places, group.made, built, group.keys)


def _at(whole: pa.RecordBatch, rows: np.ndarray[Any, Any]) -> pa.RecordBatch:
    """These rows of it, in this order."""
    if len(rows) * 2 < whole.num_rows or (rows[1:] <= rows[:-1]).any():
        return whole.take(pa.array(rows))
    # Most of them as they lie: to leave some out is faster than to pick the others.
    mask = np.zeros(whole.num_rows, bool)
    mask[rows] = True
    return whole if len(rows) == whole.num_rows else whole.filter(pa.array(mask))


def _over(old: pa.Array, new: pa.Array, chosen: pa.Array, *, measured: bool) -> pa.Array:
    """The new values where they are chosen, elsewhere the old ones; in a type that holds both exactly. ``measured``: of
    the old ones, as for `cast`."""
    # Values that are replaced have no say in the type.
    kept = without(_exactly(old), chosen)
    if kept.null_count == len(kept):
        return new
    wider = meeting([kept, new])
    after, before = _as(new, wider, measured=True), _as(kept, wider, measured=measured)
    return of_type(pc.if_else(chosen, types.storage(after), types.storage(before)), wider)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of all; a column has the type that holds all its values exactly."""
    if len(batches) == 1:
        return batches[0]
    found: dict[str, list[tuple[pa.Field, pa.Array]]] = {}
    for batch in batches:
        for one, array in zip(batch.schema, batch.columns, strict=True):
            found.setdefault(one.name, []).append((one, array))
    wanted: list[pa.Field] = []
    for name, columns in found.items():
        kinds = {types.canonical(one.type) for one, _ in columns}
        type_ = kinds.pop() if len(kinds) == 1 else meeting([_exactly(array) for _, array in columns])
        wanted.append(pa.field(name, type_, metadata=columns[0][0].metadata))
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
    return _as(batch.column(at), wanted.type, measured=is_measured(batch.schema.field(at)))


def _as(array: pa.Array, wider: pa.DataType, *, measured: bool) -> pa.Array:
    """The values in a wider type. Days and moments that have no written form are the text of their number.
    ``measured``: as for `cast`."""
    casted = cast(array, wider, strict=True, measured=measured)
    if casted.bad is None:
        return casted.values
    plain = array.cast(pa.int32()) if array.type == types.DATE else array.view(pa.int64())
    numbers = cast(plain.cast(pa.string()), wider, strict=True).values
    return of_type(pc.if_else(casted.bad, types.storage(numbers), types.storage(casted.values)), wider)


def _exactly(array: pa.Array) -> pa.Array:
    """The array in the logical type that its own type means."""
    return cast(array, types.canonical(array.type), strict=True).values


def _without(outputs: Sequence[Output], gone: Collection[int]) -> Iterator[Output]:
    """The outputs without what came of those input rows; those of which nothing is left are left out."""
    missing = pa.array(sorted(gone), pa.int32())
    for output in outputs:
        kept = pc.invert(pc.is_in(output.origin, missing))
        rows = output.rows.filter(kept)
        if rows.num_rows:
            made = None if output.made is None else output.made.filter(kept)
            yield replace(output, rows=rows, origin=output.origin.filter(kept), made=made)


def _doubled(whole: pa.RecordBatch, rows: np.ndarray[Any, Any], key: tuple[str, ...]) -> list[int]:
    """Input rows of which several rows with the same key came."""
    several = np.zeros(len(rows), bool)
    again = rows[1:] == rows[:-1]
    several[1:] |= again
    several[:-1] |= again
    places = [whole.schema.get_field_index(name) for name in key]
    if not several.any() or min(places) < 0:
        return []
    some = pa.array(np.flatnonzero(several))
    columns = [pa.array(rows[several]), *(_plain(whole.column(place).take(some)) for place in places)]
    names = [str(number) for number in range(len(columns))]
    counts = pa.table(columns, names=names).group_by(names).aggregate([([], "count_all")])
    return pc.unique(counts.filter(pc.field("count_all") > 1).column("0")).to_pylist()


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
