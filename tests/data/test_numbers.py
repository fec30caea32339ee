"""Arrays of numpy become the same arrays of Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millrace.data.numbers import flags, integers


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.integers(1, 3))
def test_integers_stay_what_they_are_wherever_they_lie(values: list[int], step: int) -> None:
    there = np.array(values, np.int64)[::step]
    assert integers(there).equals(pa.array(there.tolist(), pa.int64()))


@given(st.lists(st.booleans()))
def test_flags_stay_what_they_are(values: list[bool]) -> None:
    assert flags(np.array(values, np.bool_)).equals(pa.array(values, pa.bool_()))
