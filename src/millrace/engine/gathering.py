"""Small batches that come one behind the other go on as one: a way through a pipeline costs the same for 20 rows as for
some thousand."""

from __future__ import annotations

from dataclasses import field

import pyarrow as pa

from millrace.data.dataclass import dataclass

ENOUGH_ROWS = 4_096
ENOUGH_BYTES = 1 << 20


@dataclass(slots=True)
class Gathering:
    """Rows of one schema that were read and are not in the draft yet, never more than a little above `ENOUGH_ROWS`."""

    rows: int = 0
    size_bytes: int = 0
    _batches: list[pa.RecordBatch] = field(default_factory=list[pa.RecordBatch])

    def takes(self, rows: pa.RecordBatch) -> bool:
        """Whether ``rows`` can go on with those that are here."""
        return not self._batches or self._batches[0].schema.equals(rows.schema, check_metadata=True)

    def put(self, rows: pa.RecordBatch) -> None:
        self._batches.append(rows)
        self.rows += rows.num_rows
        self.size_bytes += rows.get_total_buffer_size()

    @property
    def enough(self) -> bool:
        return self.rows >= ENOUGH_ROWS or self.size_bytes >= ENOUGH_BYTES

    def taken(self) -> pa.RecordBatch | None:
        """All rows in the order in which they came, which are here no more; None where there are none."""
        batches, self._batches = self._batches, []
        self.rows = self.size_bytes = 0
        if len(batches) < 2:
            return batches[0] if batches else None
        return pa.concat_batches(batches)
