"""Answers of PostgreSQL in Arrow types that a reader can use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from millrace.data.compute import pc

if TYPE_CHECKING:
    from adbc_driver_postgresql import dbapi


def readable(cursor: dbapi.Cursor, sql: str, limit: int | None) -> pa.Table:
    """Rows of one statement, at most ``limit``. Types that Arrow does not know come as text, numbers as decimals."""
    reader, names = _reader(cursor, sql)
    batches: list[pa.RecordBatch] = []
    left = limit
    for batch in reader:
        batches.append(batch if left is None else batch.slice(0, left))
        if left is not None:
            left -= batches[-1].num_rows
            if left <= 0:
                break
    table = pa.Table.from_batches(batches, schema=reader.schema)
    columns = [_plain(table.column(i), field) for i, field in enumerate(reader.schema)]
    return pa.Table.from_arrays(columns, names=names)


def streamed(cursor: dbapi.Cursor, sql: str) -> Iterator[pa.RecordBatch]:
    """The same rows, all of them, as they come; a column that is numbers in one batch may be text in another."""
    reader, names = _reader(cursor, sql)
    for batch in reader:
        columns = [_plain(pa.chunked_array([batch.column(i)]), field) for i, field in enumerate(reader.schema)]
        yield pa.RecordBatch.from_arrays([column.combine_chunks() for column in columns], names=names)


def _reader(cursor: dbapi.Cursor, sql: str) -> tuple[pa.RecordBatchReader, list[str]]:
    statement = sql.strip().rstrip(";")
    schema = cursor.adbc_execute_schema(statement)
    names = [field.name for field in schema]
    if any(_is_raw(field.type) for field in schema) and len(set(names)) == len(names):
        quoted = ['"' + name.replace('"', '""') + '"' for name in names]
        parts = [f"CAST({q} AS text) AS {q}" if _is_raw(f.type) else q for q, f in zip(quoted, schema, strict=True)]
        statement = f"SELECT {', '.join(parts)} FROM ({statement}\n) AS answer"
    cursor.execute(statement)
    return cursor.fetch_record_batch(), names


def _is_raw(type_: pa.DataType) -> bool:
    return isinstance(type_, pa.OpaqueType) and pa.types.is_binary(type_.storage_type)


def _plain(values: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Values of a NUMERIC(p,s) as decimals; those of other opaque types as the text that the driver gives."""
    if not isinstance(field.type, pa.OpaqueType):
        return values
    text = pa.chunked_array([chunk.storage for chunk in values.chunks], type=field.type.storage_type)
    typmod = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
    if field.type.type_name != "numeric" or typmod < 4:
        return text
    precision, scale = ((typmod - 4) >> 16) & 0xFFFF, (typmod - 4) & 0x7FF
    if not scale <= precision <= 76 or pc.any(pc.equal(text, "NaN")).as_py():
        return text
    return text.cast(pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale))
