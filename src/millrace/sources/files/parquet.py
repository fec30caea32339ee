"""Parquet: rows in the types of the file (https://parquet.apache.org/docs/file-format/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from millrace.sources.files.parts import Part, distinct

_ROWS = 20_000


def read(file: BinaryIO, begun: int) -> Iterator[Part]:
    """The rows of a file behind those that were read, in whole groups."""
    # What the file says its columns are, beyond its own types, was written by somebody else and is not checked.
    reader = parquet.ParquetFile(file, pre_buffer=False, arrow_extensions_enabled=False)
    upto, groups = 0, list(range(reader.metadata.num_row_groups))
    while groups and upto + reader.metadata.row_group(groups[0]).num_rows <= begun:
        upto += reader.metadata.row_group(groups.pop(0)).num_rows
    names = distinct(reader.schema_arrow.names)
    for batch in reader.iter_batches(_ROWS, row_groups=groups, use_threads=False) if groups else ():
        columns = [
            column.storage if isinstance(column.type, pa.BaseExtensionType) else column for column in batch.columns
        ]
        numbers = np.arange(upto + 1, upto + 1 + batch.num_rows, dtype=np.int64)
        upto += batch.num_rows
        yield Part(pa.RecordBatch.from_arrays(columns, names=names), numbers, (), upto)
