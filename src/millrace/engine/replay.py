"""Rejected rows on their way again: an ingest whose source is the reject store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from millrace.connect.source import Reading, Source
from millrace.data import types
from millrace.data.batch import Batch, Checkpoint, Item, Passed, Refused
from millrace.data.cast import cast
from millrace.data.columns import INGESTED_AT, OP_TYPE, REJECTS, Prefix, ours
from millrace.data.compute import pc
from millrace.data.rows import to_batch
from millrace.engine.mapping import Mapping
from millrace.errors import DataError

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def replayed(
    rejected: pa.Table,
    *,
    source: Source[Any],
    reading: Reading,
    mapping: Mapping,
    prefix: Prefix,
    now: datetime,
) -> Iterator[Item]:
    """The rows of ``rejected`` (schema `columns.REJECTS`, one stream) as items; each enters where it was refused.

    A row that the source refused goes to the source, one that the mapping or the destination refused to the mapping.
    What still does not fit is refused again, so every row is in exactly one of the items (I5). Rows keep the time at
    which they were ingested first, so that an older version does not take the place of a newer one (pipelines.md 11.4).
    """
    for at in pc.unique(rejected["stage"]).to_pylist():
        rows = rejected.filter(pc.equal(rejected["stage"], at))
        if at == "source":
            first = _milliseconds(pc.min(rows["rejected_at"]).as_py())
            for item in source.replay(reading, rows["row"].to_pylist()):
                yield _since(item, reading.stream.name, first)
        else:
            yield from _mapped(rows, mapping, prefix if at == "load" else None, now)


def _mapped(rejected: pa.Table, mapping: Mapping, prefix: Prefix | None, now: datetime) -> Iterator[Item]:
    """Rows in the fields of the stream, each value in its column's type where it can be read as one.

    ``prefix``: that of the metadata columns where the rows are in the columns of the table, else None.
    """
    rows: list[dict[str, Any]] = []
    times: list[int] = []
    unread: list[tuple[int, str]] = []
    from_table = prefix is not None
    fields = {column.name if from_table else column.source: column for column in mapping.columns}
    ingested_at = prefix.outside(INGESTED_AT) if prefix else INGESTED_AT
    op_type = prefix.outside(OP_TYPE) if prefix else OP_TYPE
    refused = zip(rejected["row"].to_pylist(), rejected["rejected_at"].to_pylist(), strict=True)
    for number, (text, rejected_at) in enumerate(refused):
        try:
            members = _members.decode(text)
        except msgspec.MsgspecError as error:
            unread.append((number, f"the row is not a JSON object: {error}"))
            continue
        row: dict[str, Any] = {}
        time = _milliseconds(rejected_at)
        for name, raw in members.items():
            column = fields.get(name)
            if column is None and name == ingested_at:
                time = msgspec.json.decode(raw, type=int)
                continue
            if column is None and name == op_type:
                row[OP_TYPE] = msgspec.json.decode(raw)
                continue
            if column is None and from_table:
                # Metadata that the table has beside the stream's fields; the replay gives it anew.
                continue
            nested = bytes(raw)[:1] in (b"{", b"[") or (column is not None and types.is_json(column.type))
            row[column.source if column else name] = raw if nested else msgspec.json.decode(raw)
        rows.append(row)
        times.append(time)
    if unread:
        yield _again(rejected, unread, now)
    if not rows:
        return
    read = [number for number in range(rejected.num_rows) if number not in {number for number, _ in unread}]
    try:
        batch = to_batch(rows, None)
    except DataError as error:
        yield _again(rejected, [(number, error.message) for number in read], now)
        return
    bad: dict[int, str] = {}
    strangers: set[str] = set()
    arrays: list[pa.Array] = []
    marks: list[pa.Field] = []
    for field, array in zip(batch.schema, batch.columns, strict=True):
        column = mapping.of(field.name)
        if column is None:
            arrays.append(array)
            marks.append(field)
            continue
        # As a person who mends rows wants it: text is read as what the column holds.
        casted = cast(array, column.type, strict=False)
        arrays.append(casted.values)
        marks.append(pa.field(field.name, column.type))
        for place in pc.indices_nonzero(casted.bad).to_pylist() if casted.bad is not None else ():
            bad.setdefault(place, f"column {column.name}: the value does not fit {types.name(column.type)}")
            strangers.add(field.name)
    if INGESTED_AT not in batch.schema.names:
        arrays.append(pa.array(times, pa.int64()))
        marks.append(ours(INGESTED_AT, pa.int64()))
    fitting = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(marks))
    if not bad:
        yield Batch(mapping.stream, fitting)
        return
    misfits = pa.array([row in bad for row in range(len(rows))])
    if (fits := fitting.filter(pc.invert(misfits))).num_rows:
        yield Batch(mapping.stream, fits)
    if not mapping.auto:
        yield _again(rejected, [(read[row], text) for row, text in sorted(bad.items())], now)
        return
    # As at their first arrival: a column becomes wider where it can (loading.md 14).
    natural = [
        pa.field(field.name, batch.schema.field(field.name).type) if field.name in strangers else field
        for field in fitting.schema
    ]
    values = [batch.column(field.name) if field.name in strangers else fitting.column(field.name) for field in natural]
    yield Batch(mapping.stream, pa.RecordBatch.from_arrays(values, schema=pa.schema(natural)).filter(misfits))


def _since(item: Item, stream: str, ingested_at_ms: int) -> Item:
    """The item; rows in it were ingested at that time."""
    if isinstance(item, (Refused, Passed, Checkpoint)):
        return item
    batch = item if isinstance(item, Batch) else Batch(stream, to_batch(item, None) if isinstance(item, list) else item)
    if INGESTED_AT in batch.rows.schema.names:
        return batch
    times = pa.repeat(pa.scalar(ingested_at_ms, pa.int64()), batch.rows.num_rows)
    return Batch(batch.stream, batch.rows.append_column(ours(INGESTED_AT, pa.int64()), times))


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _again(rejected: pa.Table, refusals: list[tuple[int, str]], now: datetime) -> Refused:
    rows = rejected.take([number for number, _ in refusals]).to_pylist()
    refused = [
        row | {"code": "INCOMPATIBLE_TYPE", "message": message, "rejected_at": now}
        for row, (_, message) in zip(rows, refusals, strict=True)
    ]
    return Refused(pa.RecordBatch.from_pylist(refused, schema=REJECTS))
