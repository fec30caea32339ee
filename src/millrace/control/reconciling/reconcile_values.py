"""Compares the values of rows at the source with those of the table: what our own casts make of the former is what the
latter must hold."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from millrace.connect.destination import Destination
from millrace.connect.source import Stream
from millrace.control.failed import rejects as rejected_rows
from millrace.control.failed.rejects import Choice
from millrace.control.reconciling.reconcile_days import only
from millrace.control.reconciling.reconciliation import Compared, Keys, Reconciliation, Unlike, Values, go_on
from millrace.data.batch import Batch
from millrace.data.columns import REF_ID, own_names
from millrace.data.dataclass import dataclass
from millrace.engine.likeness import Columns, Ends, Unalike, key_text, likeness
from millrace.engine.shaping import shape

if TYPE_CHECKING:
    from millrace.control.running.crews import Crew
    from millrace.engine.ledger import Shelved
    from millrace.engine.mapping import Mapping
    from millrace.engine.mappings import Mappings
    from millrace.engine.sync import Sync

T = TypeVar("T")

# Rows that are read once more by their keys; where more differ, the object is read anew.
MOST_KEYS = 100_000

# Columns with the key of the row that an item is of; no column of a table can be called so.
_OWNER = "\0owner{}"


@dataclass(frozen=True, slots=True)
class _Table:
    """One table that is compared, with its columns at the destination."""

    mapping: Mapping
    columns: Columns


def compared(
    ours: Crew, sync: Sync, stream: Stream, shelved: Shelved, counts: Reconciliation, ends: Sequence[Ends]
) -> tuple[Values, Keys]:
    """What the comparison found, and keys of the rows that reading again may mend: none where they are too many.

    Tables of items of arrays are compared with the object's own, by what the same strategy makes of the same rows.
    ``ends``: of the ranges of ``counts``. Raises ConfigError where a source or a destination does not show its rows.
    """
    mapping = shelved.mapping
    if why_not := _why_not(sync, mapping):
        return Values(0, why_not=why_not), ()
    ours.meter.stage = f"comparing values of {stream.name}"
    mappings = sync.mappings()
    below = sorted(_below(mappings, stream.name), key=lambda one: one.table)
    with closing(ours.destination()) as destination:
        made = [_table(destination, one, mapping) for one in (mapping, *below)]
        # What is a file is free for others while the source is read.
        destination.close()
        tables = [one for one in made if isinstance(one, _Table)]
        lacking = {one.table: said for one, said in zip((mapping, *below), made, strict=True) if isinstance(said, str)}
        if mapping.table in lacking:
            return Values(0, why_not=lacking[mapping.table]), ()
        found = likeness(
            partial(_read, ours, sync, stream, mappings, tables),
            partial(_stored, ours, destination, tables),
            [one.columns for one in tables],
            ends,
            MOST_KEYS,
        )
    logged = sync.source.log() is not None
    named = [_named(one, counts.compared[one.range], logged=logged) for one in found[0].unalike]
    for one, items in zip(tables[1:], found[1:], strict=True):
        named += [_of_items(ours, sync, one.mapping, unalike, logged=logged) for unalike in items.unalike]
    keys = _together([one.keys for one in found])
    values = Values(
        found[0].rows,
        tuple(one for one in named if one.rows),
        why_whole=_why_whole(stream, mapping, keys),
        items={one.mapping.table: items.rows for one, items in zip(tables[1:], found[1:], strict=True)},
        left_out=lacking,
    )
    return values, () if values.why_whole else keys or ()


def _below(mappings: Mappings, above: str) -> Iterator[Mapping]:
    """Mappings of the items of arrays of that event type, and of those within them: of each whose rows have a table."""
    for one in mappings.by_stream.values():
        if one.parent == above:
            if one.mapped and not one.skipped:
                yield one
            yield from _below(mappings, one.stream)


def _table(destination: Destination[Any], mapping: Mapping, first: Mapping) -> _Table | str:
    """The table as it is compared, or why it is not. ``first``: of the event that the rows are of."""
    there = destination.schema(mapping.table)
    if there is None:
        return f"{mapping.table} is not at the destination"
    types = {column.name: column.type for column in mapping.columns if column.name in there}
    key = tuple(column.name for name in mapping.key if (column := mapping.of(name)) and column.name in types)
    if len(key) < len(mapping.key) or not key:
        return f"{mapping.table} lacks a column of its key {', '.join(mapping.key)}"
    owner = () if mapping is first else tuple(_OWNER.format(place) for place in range(len(first.key)))
    return _Table(mapping, Columns(key, types, owner))


def _together(found: Sequence[Keys | None]) -> Keys | None:
    """All of the keys, each once; None where they are too many."""
    keys = dict.fromkeys(key for those in found for key in those or ())
    return None if None in found or len(keys) > MOST_KEYS else tuple(keys)


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


def _read(
    ours: Crew, sync: Sync, stream: Stream, mappings: Mappings, tables: Sequence[_Table], wanted: Collection[int]
) -> Generator[tuple[int, pa.RecordBatch]]:
    """The source's rows as the tables shall hold them; those that cannot be there are none."""
    del wanted  # one reading brings all
    first = tables[0]
    with closing(_each(sync.source.snapshot(stream))) as items:
        for item in items:
            go_on(ours.stopping)
            rows = item.rows if isinstance(item, Batch) else item
            if not isinstance(rows, pa.RecordBatch) or (isinstance(item, Batch) and item.stream != stream.name):
                continue
            rows = own_names(rows, first.mapping.key)
            parts = _parts(sync, mappings, first.mapping, rows)
            keys = _keys_of(rows, first) if len(tables) > 1 else []
            for number, one in enumerate(tables):
                if (part := parts.get(one.mapping.stream)) is not None:
                    shaped, origin = part
                    yield number, _of(shaped, one.columns, [key.take(origin) for key in keys] if number else [])


def _parts(
    sync: Sync, mappings: Mappings, mapping: Mapping, rows: pa.RecordBatch
) -> dict[str, tuple[pa.RecordBatch, pa.Array]]:
    """By event type, what becomes of the rows, each with the place of the row that it is of. One that has a part that
    does not fit is no row of any table."""
    from millrace.engine.nesting.nested import parsed, without

    state = mappings.state
    made = parsed(mapping.stream, rows, sync.flight.strategy, key=mapping.key, state=state, marking=False)
    made = [one for one in made if one.stream in mappings.by_stream]
    while True:
        shapes = [shape(mappings.by_stream[one.stream], one.rows, sync.naming, 0, policy=sync.policy) for one in made]
        gone = set(made[0].origin.take(pa.array(shapes[0].out, pa.int64())).to_pylist())
        for part, shaped in zip(made, shapes, strict=True):
            gone.update(part.origin[place].as_py() for place, _, _ in shaped.misfits)
        if not gone:
            break
        made = without(made, gone)
    found: dict[str, tuple[pa.RecordBatch, pa.Array]] = {}
    for part, shaped in zip(made, shapes, strict=True):
        if shaped.rows.num_rows:
            places = np.delete(np.arange(part.rows.num_rows), list(shaped.out))
            found[part.stream] = shaped.rows, part.origin.take(pa.array(places))
    return found


def _keys_of(rows: pa.RecordBatch, first: _Table) -> list[pa.Array]:
    """The key of each row as text."""
    pairs = zip(first.mapping.key, first.columns.key, strict=True)
    return [key_text(rows.column(field), first.columns.types[name]) for field, name in pairs]


def _of(rows: pa.RecordBatch, columns: Columns, owner: Sequence[pa.Array]) -> pa.RecordBatch:
    """The columns that are compared, one that a batch does not have null, and the keys of the rows that these are
    of."""
    arrays = [
        rows.column(name) if name in rows.schema.names else pa.nulls(rows.num_rows, type_)
        for name, type_ in columns.types.items()
    ]
    return pa.RecordBatch.from_arrays([*arrays, *owner], names=[*columns.types, *columns.owner])


def _stored(
    ours: Crew, destination: Destination[Any], tables: Sequence[_Table], wanted: Collection[int]
) -> Generator[tuple[int, pa.RecordBatch]]:
    """The rows of the tables. Of an item the destination knows the row above, by its key or number."""
    for number in sorted(wanted):
        columns, mapping = tables[number].columns, tables[number].mapping
        above = mapping.of(REF_ID) if columns.owner else None
        stored = destination.stored(mapping.table, [*columns.types], only(ours, mapping))
        with closing(_each(stored)) as batches:
            for batch in batches:
                go_on(ours.stopping)
                nothing = pa.nulls(batch.num_rows, pa.string())
                owner = [nothing for _ in columns.owner]
                if above is not None and above.name in columns.types:
                    owner[0] = key_text(batch.column(above.name), pa.string())
                yield number, _of(batch, columns, owner)


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


def _of_items(ours: Crew, sync: Sync, mapping: Mapping, one: Unalike, *, logged: bool) -> Unlike:
    """Items that are missing or too many for a reason that is known do not count. Those of rows that are missing
    themselves are told with them."""
    rows = one.rows
    if one.kind == "missing":
        waits = any(each.loaded < each.last for each in ours.books.tables() if each.mapping.stream == mapping.stream)
        failed = rejected_rows.rows(ours.home, sync.stage, Choice(pipeline_id=ours.pipeline.id, stream=mapping.stream))
        rows = 0 if waits else max(rows - sum(1 for _ in failed), 0)
    elif one.kind == "extra" and not (logged and mapping.mode == "merge"):
        # Queries do not see what is deleted, and a history keeps items that are no more.
        rows = 0
    return Unlike(mapping.table, one.kind, rows, one.first, one.last, one.columns)
