"""Rejected rows on their way again: an ingest whose source is the reject store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import pyarrow as pa

from millrace.connect.source import Reading, Source
from millrace.data import json_text, types
from millrace.data.batch import Batch, Checkpoint, Entry, FileNote, Item, Passed, Refused, Truncated
from millrace.data.cast import cast as exact_cast
from millrace.data.columns import INGESTED_AT, OP_TYPE, REJECTS, UNCHANGED, Prefix, is_ours, ours, own_names
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.described import as_described
from millrace.data.rows import inferred, to_batch
from millrace.engine.mapping import Mapping
from millrace.errors import DataError

# Beside the columns of `columns.REJECTS`, a batch that is read for a replay says which row of its file each row is.
NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Return:
    """What rows of one stream need to come back. ``named``: the mapping under which the destination refused rows."""

    source: Source[Any]
    reading: Reading
    mapping: Mapping
    named: Mapping
    prefix: Prefix


def replayed(
    rejected: Iterable[pa.RecordBatch],
    back: Return,
    *,
    chosen: Callable[[pa.RecordBatch], pa.Array] | None = None,
) -> Iterator[Item]:
    """The rows of ``rejected`` (schema `columns.REJECTS`, one stream) as items; each enters where it was refused.

    A row that the source refused goes to the source; one that the steps refused, or a row of the source's that was
    refused behind them, goes through the steps with the types that it had; one that code made, and one that the
    destination refused, goes to the mapping: no row goes through the steps twice. What still does not fit is refused
    again, and rows that are not ``chosen`` stay as they are, so every row is in exactly one of the items (I5). Rows
    keep the time at which they were ingested first, so that an older version does not take the place of a newer one
    (pipelines.md 11.4).
    """
    held: list[str] = []
    first: int | None = None
    for batch in rejected:
        part = batch
        if chosen is not None:
            mask = chosen(part)
            if (rest := part.filter(pc.invert(mask))).num_rows:
                yield Refused(rest.select(REJECTS.names), staying=True)
            part = part.filter(mask)
        for way, rows in _ways(part):
            if way.stage == "source":
                held.extend(rows["row"].to_pylist())
                time = _milliseconds(pc.min(rows["rejected_at"]).as_py())
                first = time if first is None else min(first, time)
            else:
                yield from _entering(rows, way, back)
    if first is not None:
        # All at once: a source may compare them with one another.
        for item in back.source.replay(back.reading, held):
            yield _since(item, back.reading.stream.name, first)


def mended(batch: pa.RecordBatch, texts: Dict[int, str]) -> pa.RecordBatch:
    """The batch with the rows of those numbers as a person wrote them. They enter where the text was taken.

    A row that was refused behind the steps was shown as it was then, so it does not go through them again.
    """
    numbers = batch[NUMBER].to_pylist()
    new = [texts.get(number) for number in numbers]
    if not any(text is not None for text in new):
        return batch
    columns = {name: batch[name].to_pylist() for name in ("row", "stage", "origin", "types", "entered")}
    for place, text in enumerate(new):
        if text is None:
            continue
        columns["row"][place] = text
        columns["origin"][place] = columns["entered"][place] = None
        if columns["stage"][place] != "steps":
            columns["types"][place] = None
    for name, values in columns.items():
        index = batch.schema.get_field_index(name)
        batch = batch.set_column(index, batch.schema.field(index), pa.array(values, pa.string()))
    return batch


@dataclass(frozen=True, slots=True)
class _Way:
    """How some rows enter: what rows that share it have in common."""

    stage: str
    types: str | None
    entered: str | None
    siblings: bool | None
    original: bool

    @property
    def entry(self) -> Entry:
        if self.stage == "steps" or self.original:
            return "steps_alone" if self.siblings else "steps"
        return "mapping"


def _ways(rows: pa.RecordBatch) -> Iterator[tuple[_Way, pa.RecordBatch]]:
    """The rows, apart by the way that they go."""
    if not rows.num_rows:
        return
    keys = ["stage", "types", "entered", "siblings"]
    table = pa.Table.from_batches([rows.select(keys)])
    table = table.append_column("original", pc.is_valid(rows["origin"]))
    table = table.append_column("at", pa.array(range(rows.num_rows), pa.int64()))
    groups = table.group_by([*keys, "original"], use_threads=False).aggregate([("at", "list")])
    for found in groups.to_pylist():
        places = found.pop("at_list")
        yield _Way(**found), rows if len(places) == rows.num_rows else rows.take(pa.array(places, pa.int64()))


def _entering(rejected: pa.RecordBatch, way: _Way, back: Return) -> Iterator[Item]:
    """The rows as a batch in the types that they had, and those that cannot be read, refused again."""
    stream = (way.entered if way.original else None) or back.mapping.stream
    rows: list[dict[str, Any]] = []
    read: list[int] = []
    unread: list[tuple[int, str]] = []
    for number, text in enumerate(rejected["origin" if way.original else "row"].to_pylist()):
        try:
            row = json_text.loads(text)
        except (ValueError, RecursionError) as error:
            unread.append((number, f"the row is not JSON: {error}"))
            continue
        if not isinstance(row, dict):
            unread.append((number, "the row is not a JSON object"))
            continue
        row = cast("dict[str, Any]", row)
        if way.stage == "load":
            row, unknown = _renamed(row, back.named, back.prefix)
            if unknown:
                unread.append((number, f"its field {unknown[0]} is of no column that is known"))
                continue
        rows.append(row)
        read.append(number)
    if unread:
        yield _again(rejected, unread)
    if not rows:
        return
    schema = _schema(way, rows, back)
    try:
        batch = to_batch(rows, schema)
        fields = [field for field in schema or () if is_ours(field)]
        odd = [field for field in fields if batch.schema.field(field.name).type != types.canonical(field.type)]
        if odd:
            if misfits := _misfits(odd, rows):
                yield _again(rejected, [(read[place], message) for place, message in misfits.items()])
            rows = [row for place, row in enumerate(rows) if place not in misfits]
            read = [number for place, number in enumerate(read) if place not in misfits]
            if not rows:
                return
            batch = to_batch(rows, schema)
        batch = own_names(batch, back.mapping.key)
    except DataError as error:
        yield _again(rejected, [(number, error.message) for number in read])
        return
    moments = rejected["rejected_at"].take(pa.array(read, pa.int64()))
    times = pc.divide(moments.cast(pa.int64()), 1000)
    at = batch.schema.get_field_index(INGESTED_AT)
    if at < 0:
        batch = batch.append_column(ours(INGESTED_AT, pa.int64()), times)
    else:  # a person may have taken it away
        batch = batch.set_column(at, batch.schema.field(at), pc.coalesce(batch[at], times))
    # Rows that a destination refused have the shape of their table: nothing in them is to be taken apart again.
    yield Batch(stream, batch, "shaped" if way.stage == "load" else way.entry)


def _misfits(odd: Iterable[pa.Field], rows: list[dict[str, Any]]) -> dict[int, str]:
    """Rows with a value of Millrace's own that its type does not take, and what is wrong: a person wrote it so. All
    others have their values as the type has them from here on, whatever a person wrote beside them."""
    found: dict[int, str] = {}
    for field in odd:
        places: dict[type, list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(type(row.get(field.name)), []).append(place)
        for among in places.values():
            # Of one Python type, no value changes what another is read as.
            array = inferred([rows[place].get(field.name) for place in among])
            if array is None:
                continue
            fitted = exact_cast(array, types.canonical(field.type), strict=False).values
            for place, value in zip(among, fitted.to_pylist(), strict=True):
                if value is None:
                    found[place] = f"{field.name}: the value does not fit {types.name(field.type)}"
                else:
                    rows[place][field.name] = value
    return found


def _schema(way: _Way, rows: list[dict[str, Any]], back: Return) -> pa.Schema | None:
    """Types of the rows' fields, as far as they are known; fields that no row has are left out."""
    has = {name for row in rows for name in row}
    if way.types is not None and way.stage != "load":
        known = list(as_described(way.types))
    elif way.entry != "mapping":
        return None
    else:
        # As a person who mends rows wants it: text is read as what the column holds.
        mapping = back.named if way.stage == "load" else back.mapping
        known = [
            ours(column.source, column.type) if column.ours else pa.field(column.source, column.type)
            for column in mapping.columns
        ]
        known += [ours(INGESTED_AT, pa.int64()), ours(OP_TYPE, pa.string()), ours(UNCHANGED, pa.string())]
    return pa.schema([field for field in known if field.name in has])


def _renamed(row: dict[str, Any], named: Mapping, prefix: Prefix) -> tuple[dict[str, Any], list[str]]:
    """A row of the table in the fields of its stream, and the names of values that have no field."""
    fields = {old: column.source for column in named.columns for old in column.formerly}
    fields |= {column.name: column.source for column in named.columns}
    fields |= {prefix.outside(name): name for name in (INGESTED_AT, OP_TYPE, UNCHANGED)}
    unknown = [name for name, value in row.items() if name not in fields and value is not None]
    return {fields[name]: value for name, value in row.items() if name in fields}, unknown


def _since(item: Item, stream: str, ingested_at_ms: int) -> Item:
    """The item; rows in it were ingested at that time."""
    if isinstance(item, (Refused, Passed, Truncated, FileNote, Checkpoint)):
        return item
    batch = item if isinstance(item, Batch) else Batch(stream, to_batch(item, None) if isinstance(item, list) else item)
    batch = replace(batch, rows=own_names(batch.rows))
    if INGESTED_AT in batch.rows.schema.names:
        return batch
    times = pa.repeat(pa.scalar(ingested_at_ms, pa.int64()), batch.rows.num_rows)
    return Batch(batch.stream, batch.rows.append_column(ours(INGESTED_AT, pa.int64()), times))


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _again(rejected: pa.RecordBatch, refusals: list[tuple[int, str]]) -> Refused:
    """Those rows, refused for another reason. Their time stays: it is that of their ingestion."""
    rows = rejected.select(REJECTS.names).take(pa.array([number for number, _ in refusals], pa.int64())).to_pylist()
    refused = [
        row | {"code": "INCOMPATIBLE_TYPE", "message": message}
        for row, (_, message) in zip(rows, refusals, strict=True)
    ]
    return Refused(pa.RecordBatch.from_pylist(refused, schema=REJECTS))
