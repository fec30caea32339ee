"""Formats of files: how rows are written into one, and how DuckDB reads it again."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, TypeAlias, cast

import pyarrow as pa

from millrace.connect.sql.duckdb import DUCKDB
from millrace.data import types
from millrace.data.cast import cast as cast_exactly
from millrace.data.compute import pc
from millrace.errors import ConfigError

Format: TypeAlias = Literal["parquet", "jsonl", "csv"]
Compression: TypeAlias = Literal["none", "snappy", "zstd", "gzip"]

# The first is the default.
COMPRESSIONS: Mapping[Format, tuple[Compression, ...]] = {
    "parquet": ("snappy", "zstd", "none"),
    "jsonl": ("gzip", "none"),
    "csv": ("gzip", "none"),
}
# One value may be this large when files are read again.
_LARGEST = 256 * 1024 * 1024


class Writer(ABC):
    """Writes batches of one schema into a new file. `size` is about what was written so far, in bytes."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    @property
    @abstractmethod
    def size(self) -> int: ...


def writer(format_: Format, compression: Compression, path: Path, schema: pa.Schema) -> Writer:
    """A writer for a new file at ``path``; ``schema`` is in logical types."""
    if format_ == "parquet":
        return _Parquet(path, schema, compression)
    return _Lines(path, schema, csv=format_ == "csv", zipped=compression == "gzip")


def suffix(format_: Format, compression: Compression) -> str:
    if format_ == "parquet":
        return ".parquet" if compression == "none" else f".{compression}.parquet"
    return f".{format_}.gz" if compression == "gzip" else f".{format_}"


def compression(format_: Format, chosen: Compression | None) -> Compression:
    """The compression that was chosen, or the format's own. Raises ConfigError for one that the format lacks."""
    known = COMPRESSIONS[format_]
    if chosen is None:
        return known[0]
    if chosen not in known:
        raise ConfigError(
            f"{format_} files cannot be compressed by {chosen}.", hint=f"Use {', '.join(known)}.", path="compression"
        )
    return chosen


def kept(type_: pa.DataType) -> pa.DataType:
    """The Arrow type in which a column of a logical type lies in a Parquet file."""
    kind = types.kind(type_)
    if kind in ("STRUCT", "ARRAY", "JSON") or isinstance(type_, types.TextType):
        return types.VARCHAR
    if kind == "DECIMAL" and type_.precision > DUCKDB.limits.max_decimal:
        return types.VARCHAR  # few readers know wider decimals
    return type_


def reading(format_: Format, files: Sequence[str], written: Mapping[str, pa.DataType]) -> str:
    """A table function of DuckDB that reads the files with the columns that were written."""
    paths = "[" + ", ".join(_text(file) for file in files) + "]"
    if format_ == "parquet":
        return f"read_parquet({paths})"
    names = ", ".join(
        f"{_text(name)}: '{'JSON' if format_ == 'jsonl' and _is_json(type_) else 'VARCHAR'}'"
        for name, type_ in written.items()
    )
    if format_ == "jsonl":
        return (
            f"read_json({paths}, format = 'newline_delimited', columns = {{{names}}}, maximum_object_size = {_LARGEST})"
        )
    return (
        f"read_csv({paths}, header = true, auto_detect = false, columns = {{{names}}}, delim = ',', quote = '\"', "
        f"escape = '\"', nullstr = '', allow_quoted_nulls = false, max_line_size = {_LARGEST})"
    )


def value(format_: Format, name: str, written: pa.DataType, wanted: pa.DataType) -> str:
    """Expression for a column of a file, brought into the type that the table has now."""
    quoted = DUCKDB.quoted(name)
    if types.kind(wanted) == "BYTEARRAY" and format_ != "parquet":
        return f"from_base64({quoted})"
    if types.is_text(DUCKDB.kept(wanted)) and not types.is_text(DUCKDB.kept(written)):
        return DUCKDB.as_text(quoted, types.kind(written)) if format_ == "parquet" else f"CAST({quoted} AS VARCHAR)"
    return f"CAST({quoted} AS {DUCKDB.sql(wanted)})"


def _is_json(type_: pa.DataType) -> bool:
    return types.kind(type_) in ("JSON", "STRUCT", "ARRAY")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


class _Parquet(Writer):
    def __init__(self, path: Path, schema: pa.Schema, compression: Compression) -> None:
        from pyarrow import parquet

        self._schema = pa.schema([pa.field(field.name, kept(field.type)) for field in schema])
        self._sink = pa.OSFile(str(path), "wb")
        self._file = parquet.ParquetWriter(self._sink, self._schema, compression=compression)

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [_exact(values, field.type) for values, field in zip(batch.columns, self._schema, strict=True)]
        self._file.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._file.close()
        self._sink.close()

    @property
    def size(self) -> int:
        return int(self._sink.tell())


class _Lines(Writer):
    """Lines of JSON or of CSV (RFC 4180 with \\n), in UTF-8."""

    def __init__(self, path: Path, schema: pa.Schema, *, csv: bool, zipped: bool) -> None:
        self._csv = csv
        self._size = 0
        # Level 1 of gzip is nearly as small for such text, and several times as fast. No time stamp in the header.
        plain = path.open("wb")
        self._plain = plain
        self._file: IO[bytes] = (
            cast("IO[bytes]", gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=1, mtime=0)) if zipped else plain
        )
        if csv:
            self._put((",".join('"' + n.replace('"', '""') + '"' for n in schema.names) + "\n").encode())

    def write(self, batch: pa.RecordBatch) -> None:
        self._put(_csv_lines(batch) if self._csv else _json_lines(batch))

    def close(self) -> None:
        self._file.close()
        self._plain.close()

    @property
    def size(self) -> int:
        return self._size

    def _put(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._size += len(content)


def _csv_lines(batch: pa.RecordBatch) -> bytes | memoryview:
    from pyarrow import csv

    columns = [
        values if pa.types.is_integer(values.type) else types.storage(_exact(values, types.VARCHAR))
        for values in batch.columns
    ]
    sink = pa.BufferOutputStream()
    plain = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    csv.write_csv(plain, sink, csv.WriteOptions(include_header=False))
    return memoryview(sink.getvalue())


def _json_lines(batch: pa.RecordBatch) -> bytes:
    from millrace.data.writing import json_text

    columns: list[pa.Array] = []
    for values in batch.columns:
        if pa.types.is_floating(values.type) and not pc.all(pc.is_finite(values)).as_py():
            # JSON has no such numbers; as text they come back.
            text = _exact(values, types.VARCHAR)
            quoted = pc.if_else(pc.is_finite(values), text, pc.binary_join_element_wise('"', text, '"', ""))
            columns.append(pa.ExtensionArray.from_storage(types.JSON, quoted))
        elif types.is_json(values.type):
            # A line break can stand only between the parts of a JSON text, where a space says the same.
            flat = pc.replace_substring_regex(types.storage(values), r"[\r\n]", " ")
            columns.append(pa.ExtensionArray.from_storage(types.JSON, flat))
        else:
            columns.append(values)
    rows = pa.StructArray.from_arrays(columns, names=batch.schema.names)
    lines = json_text(rows).values
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode()


def _exact(values: pa.Array, to: pa.DataType) -> pa.Array:
    if values.type == to:
        return values
    casted = cast_exactly(values, to, strict=False)
    assert casted.bad is None, f"{values.type} has values that are no {to}"
    return casted.values
