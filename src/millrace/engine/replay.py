"""Rejected rows on their way again: an ingest whose source is the reject store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from millrace.connect.source import Reading, Source
from millrace.data import types
from millrace.data.batch import Batch, Item, Refused
from millrace.data.cast import cast
from millrace.data.columns import REJECTS
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
    now: datetime,
) -> Iterator[Item]:
    """The rows of ``rejected`` (schema `columns.REJECTS`, one stream) as items; each enters where it was refused.

    A row that the source refused goes to the source, one that the mapping or the destination refused to the mapping.
    What still does not fit is refused again, so every row is in exactly one of the items (I5).
    """
    for at in pc.unique(rejected["stage"]).to_pylist():
        rows = rejected.filter(pc.equal(rejected["stage"], at))
        if at == "source":
            yield from source.replay(reading, rows["row"].to_pylist())
        else:
            yield from _mapped(rows, mapping, from_table=at == "load", now=now)


def _mapped(rejected: pa.Table, mapping: Mapping, *, from_table: bool, now: datetime) -> Iterator[Item]:
    """Rows in the fields of the stream, each value in its column's type where it can be read as one."""
    rows: list[dict[str, Any]] = []
    unread: list[tuple[int, str]] = []
    fields = {column.name if from_table else column.source: column for column in mapping.columns}
    for number, text in enumerate(rejected["row"].to_pylist()):
        try:
            members = _members.decode(text)
        except msgspec.MsgspecError as error:
            unread.append((number, f"the row is not a JSON object: {error}"))
            continue
        row: dict[str, Any] = {}
        for name, raw in members.items():
            column = fields.get(name)
            if column is None and from_table:
                # Metadata that the table has beside the stream's fields; the replay gives it anew.
                continue
            nested = bytes(raw)[:1] in (b"{", b"[") or (column is not None and types.is_json(column.type))
            row[column.source if column else name] = raw if nested else msgspec.json.decode(raw)
        rows.append(row)
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
    fitting = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(marks))
    if bad:
        yield _again(rejected, [(read[row], text) for row, text in sorted(bad.items())], now)
        fitting = fitting.filter(pa.array([row not in bad for row in range(len(rows))]))
    if fitting.num_rows:
        yield Batch(mapping.stream, fitting)


def _again(rejected: pa.Table, refusals: list[tuple[int, str]], now: datetime) -> Refused:
    rows = rejected.take([number for number, _ in refusals]).to_pylist()
    refused = [
        row | {"code": "INCOMPATIBLE_TYPE", "message": message, "rejected_at": now}
        for row, (_, message) in zip(rows, refusals, strict=True)
    ]
    return Refused(pa.RecordBatch.from_pylist(refused, schema=REJECTS))
