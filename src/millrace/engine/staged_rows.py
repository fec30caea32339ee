"""What a destination reads of a load: staged segments in the shape that their table has today."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from millrace.connect.destination import Rereadable
from millrace.data.batch import Segment
from millrace.data.cast import cast
from millrace.data.columns import is_measured
from millrace.engine.stage import Stage
from millrace.errors import SchemaError


class StagedRows(Rereadable):
    """The rows of segments as one table shape; every reading starts again. Files are verified at the first one, and
    again when they were touched since.

    ``formerly``: names that a column had when older segments were staged.
    """

    def __init__(
        self,
        stage: Stage,
        segments: Sequence[Segment],
        schema: pa.Schema,
        formerly: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._stage = stage
        self._segments = segments
        self._schema = schema
        self._formerly = formerly or {}
        self._verified: set[tuple[str, object]] = set()

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    @property
    def count(self) -> int:
        return sum(segment.rows for segment in self._segments)

    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        schema, wanted = self._schema, None
        # A batch without columns would have no rows either.
        if columns is not None and any(field.name in columns for field in schema):
            schema = pa.schema([field for field in schema if field.name in columns])
            wanted = frozenset(name for own in schema.names for name in (own, *self._formerly.get(own, ())))
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema, wanted))

    def _batches(self, schema: pa.Schema, wanted: Collection[str] | None) -> Iterator[pa.RecordBatch]:
        for segment in self._segments:
            for batch in self._stage.read(segment.path, segment.checksum, wanted, verified=self._verified):
                yield self._fitted(batch, schema)

    def _fitted(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        """The batch in the shape of today: columns that came later are null, types that widened are cast, columns
        that were renamed are found by the name that they had."""
        if batch.schema.equals(schema):
            return batch
        arrays: list[pa.Array] = []
        for field in schema:
            names = (field.name, *reversed(self._formerly.get(field.name, ())))
            index = next((at for name in names if (at := batch.schema.get_field_index(name)) >= 0), -1)
            if index < 0:
                arrays.append(pa.nulls(batch.num_rows, field.type))
                continue
            casted = cast(batch.column(index), field.type, strict=True, measured=is_measured(batch.schema.field(index)))
            # A type of the mapping only widens (I6), so this holds; it is asked because a wrong row would be silent.
            if casted.bad is not None:
                raise SchemaError(
                    f"staged values of column {field.name} do not fit {field.type}",
                    hint="Run `millrace resync --mode drop-and-load` on this pipeline.",
                    code="staged_type",
                )
            arrays.append(casted.values)
        return pa.RecordBatch.from_arrays(arrays, schema=schema)
