"""Arrow arrays of what numpy has.

`pyarrow.array` asks of each array of numpy whether it is masked, and numpy imports its masked arrays to answer: a
hundredth of a second, which is much of a small sync.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def integers(values: Ints) -> pa.Array:
    """The same integers, of 64 bits, where they lie."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values, np.int64))])


def flags(values: Flags) -> pa.Array:
    """The same flags, a bit each."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
