"""Rows for tests of destinations: tables in memory that can be read again."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from millrace.connect.destination import Column, Meta, Rereadable, Table
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.data.dataclass import dataclass

META = Meta(
    ingested_at=columns.INGESTED_AT,
    sequence=columns.SEQUENCE,
    op_type=columns.OP_TYPE,
    loaded_at=columns.LOADED_AT,
    marked_deleted=columns.MARKED_DELETED,
    source_modified_at=columns.SOURCE_MODIFIED_AT,
)
PLAIN = Meta(columns.INGESTED_AT, columns.SEQUENCE, columns.OP_TYPE, columns.LOADED_AT)


@dataclass(frozen=True, slots=True)
class Rows(Rereadable):
    """An Arrow table that is given in batches, as often as asked."""

    table: pa.Table
    batch_rows: int = 1000

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def count(self) -> int:
        return self.table.num_rows

    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        del columns
        return self.table.to_reader(max_chunksize=self.batch_rows)


def rows(schema: Mapping[str, pa.DataType], *values: Sequence[Any]) -> Rows:
    """Rows given one by one, in the order of ``schema``."""
    fields = list(schema.items())
    arrays = [array([row[i] for row in values], type_) for i, (_, type_) in enumerate(fields)]
    return Rows(pa.Table.from_arrays(arrays, schema=pa.schema([pa.field(name, type_) for name, type_ in fields])))


def array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """An array of a logical type; extension types are given by the values below them."""
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, pa.array(values, type_.storage_type))
    return pa.array(values, type_)


def table(
    name: str,
    business: Mapping[str, pa.DataType],
    *,
    key: tuple[str, ...] = (),
    mode: LoadMode = "merge",
    meta: Meta = PLAIN,
    order: tuple[str, ...] = (),
) -> Table:
    """A table with the given columns and the time of ingestion."""
    named = {**business, meta.ingested_at: types.LONG}
    return Table(name, tuple(Column(n, t) for n, t in named.items()), meta, key, mode, order)


def counted(name: str) -> tuple[Table, Rows]:
    """A table for appending, and ten rows."""
    made = table(name, {"k": types.LONG, "v": types.VARCHAR}, mode="append")
    schema = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
    return made, rows(schema, *((n, f"v{n}", 100 + n) for n in range(10)))


@cache
def shuffled(*, count: int = 100_000, keys: int = 10_000) -> Rows:
    """Events of ``keys`` keys in random order: key, text, moment, time of ingestion, and now and then a delete.

    Made once for all tests of a process; nobody changes them.
    """
    dice = random.Random(5)  # noqa: S311  the same order in every run, and no secret depends on it
    events = [(n % keys, n) for n in range(count)]
    dice.shuffle(events)
    ops = ["D" if dice.random() < 0.1 else "U" for _ in events]
    return Rows(
        pa.table(
            {
                "k": pa.array([k for k, _ in events], pa.int64()),
                "v": [f"{n % 7}" if op == "U" else None for (_, n), op in zip(events, ops, strict=True)],
                columns.SOURCE_MODIFIED_AT: pa.array([n * 1_000_000 for _, n in events], types.TIMESTAMPTZ),
                columns.INGESTED_AT: pa.array([n for _, n in events], pa.int64()),
                columns.OP_TYPE: ops,
            }
        ),
        batch_rows=10_000,
    )
