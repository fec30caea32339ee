"""Compares the values of rows at the source with those of the table: what our own casts make of the former is what the
latter must hold."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from millrace.connect.destination import Destination
from millrace.connect.source import Stream
from millrace.control import reconcile_totals
from millrace.control.reconcile import MOST_KEYS, Compared, Keys, Reconciliation, Unlike, Values, go_on
from millrace.data.batch import Batch
from millrace.engine.likeness import Columns, Ends, Unalike, likeness
from millrace.engine.mappings import Mappings
from millrace.engine.shaping import shape

if TYPE_CHECKING:
    from millrace.control.crews import Crew
    from millrace.engine.ledger import Shelved
    from millrace.engine.mapping import Mapping
    from millrace.engine.sync import Sync

T = TypeVar("T")


def compared(
    ours: Crew, sync: Sync, stream: Stream, shelved: Shelved, counts: Reconciliation, ends: Sequence[Ends]
) -> tuple[Values, Keys]:
    """What the comparison found, and keys of the rows that reading again may mend: none where they are too many.

    ``ends``: of the ranges of ``counts``. Raises ConfigError where a source or a destination does not show its rows.
    """
    mapping = shelved.mapping
    if why_not := _why_not(sync, mapping):
        return Values(0, why_not=why_not), ()
    ours.meter.stage = f"comparing values of {stream.name}"
    with closing(ours.destination()) as destination:
        there = destination.schema(mapping.table) or {}
        # What is a file is free for others while the source is read.
        destination.close()
        types = {column.name: column.type for column in mapping.columns if column.name in there}
        key = tuple(column.name for name in mapping.key if (column := mapping.of(name)) and column.name in types)
        if len(key) < len(mapping.key):
            return Values(0, why_not=f"{mapping.table} lacks a column of its key {', '.join(mapping.key)}"), ()
        columns = Columns(key, types)
        found = likeness(
            partial(_read, ours, sync, stream, mapping, columns),
            partial(_stored, ours, destination, mapping, columns),
            columns,
            ends,
            MOST_KEYS,
        )
    logged = sync.source.log() is not None
    named = (_named(one, counts.compared[one.range], logged=logged) for one in found.unalike)
    values = Values(
        found.rows,
        tuple(one for one in named if one.rows),
        why_whole=_why_whole(stream, mapping, found.keys),
        left_out=tuple(sorted(one.table for one in _below(sync.mappings(), stream.name))),
    )
    return values, () if values.why_whole else found.keys or ()


def _below(mappings: Mappings, above: str) -> Iterator[Mapping]:
    """Mappings of the items of arrays of that event type, and of those within them: of each whose rows have a table."""
    for one in mappings.by_stream.values():
        if one.parent == above:
            if one.mapped and not one.skipped:
                yield one
            yield from _below(mappings, one.stream)


def _why_whole(stream: Stream, mapping: Mapping, keys: Keys | None) -> str:
    if mapping.key != stream.key:
        theirs = ", ".join(stream.key) or "nothing"
        return f"the table tells rows apart by {', '.join(mapping.key)}, the source by {theirs}"
    return f"more than {MOST_KEYS:,} rows differ" if keys is None else ""


def _why_not(sync: Sync, mapping: Mapping) -> str:
    if mapping.mode == "append" or not mapping.key:
        return "rows are appended, so none of them stands for what the source has now"
    if sync.flight.step is not None:
        return "a transformation stands between the source and the table"
    return ""


def _read(ours: Crew, sync: Sync, stream: Stream, mapping: Mapping, columns: Columns) -> Generator[pa.RecordBatch]:
    """The source's rows as the table shall hold them; those that cannot be there are none."""
    mappings = sync.mappings()
    with closing(_each(sync.source.snapshot(stream))) as items:
        for item in items:
            go_on(ours.stopping)
            rows = item.rows if isinstance(item, Batch) else item
            if not isinstance(rows, pa.RecordBatch) or (isinstance(item, Batch) and item.stream != stream.name):
                continue
            shaped = shape(mapping, _unnested(sync, mappings, mapping, rows), sync.naming, 0, policy=sync.policy).rows
            yield _of(shaped, columns)


def _unnested(sync: Sync, mappings: Mappings, mapping: Mapping, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with their nested values as the pipeline treats them; what became rows of other tables is left out."""
    if sync.flight.strategy == "NATIVE":
        return rows
    from millrace.engine.nesting.nested import parsed

    marking = mapping.mode == "merge"
    found = parsed(mapping.stream, rows, sync.flight.strategy, key=mapping.key, state=mappings.state, marking=marking)
    return found[0].rows


def _of(rows: pa.RecordBatch, columns: Columns) -> pa.RecordBatch:
    """The columns that are compared; one that a batch does not have is null."""
    arrays = [
        rows.column(name) if name in rows.schema.names else pa.nulls(rows.num_rows, type_)
        for name, type_ in columns.types.items()
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[*columns.types])


def _stored(ours: Crew, destination: Destination[Any], mapping: Mapping, columns: Columns) -> Generator[pa.RecordBatch]:
    stored = destination.stored(mapping.table, [*columns.types], reconcile_totals.only(ours, mapping))
    with closing(_each(stored)) as batches:
        for batch in batches:
            go_on(ours.stopping)
            yield batch


def _each(items: Iterator[T]) -> Generator[T]:
    """The items; a generator of them is closed with this one, when nobody wants more."""
    yield from items


def _named(one: Unalike, counts: Compared, *, logged: bool) -> Unlike:
    """Rows that are missing or too many for a reason that the counts name do not count here."""
    rows = one.rows
    if one.kind == "missing":
        rows -= sum(cause.rows for cause in counts.causes if cause.rows > 0)
    elif one.kind == "extra":
        rows = max(rows + sum(cause.rows for cause in counts.causes if cause.rows < 0), 0) if logged else 0
    return Unlike(counts.name, one.kind, max(rows, 0), one.first, one.last, one.columns)
