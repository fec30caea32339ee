"""Values of the binary form, as a driver hands them over."""

from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.sources.postgres.decoding import decoded
from millrace.sources.postgres.types import typed

ONE, NONE = b"\0\0\0\1\x80", b"\0\0\0\1\0"


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 1000])
def test_bits_are_read_however_many_rows_a_batch_has(rows: int) -> None:
    values = pa.array([(ONE, NONE, None)[row % 3] for row in range(rows)], pa.binary())
    assert decoded(values, typed("bit", 1)).values.to_pylist() == [(True, False, None)[row % 3] for row in range(rows)]
    assert decoded(values, typed("bit", 8)).values.to_pylist() == [
        (b"\x80", b"\0", None)[row % 3] for row in range(rows)
    ]
