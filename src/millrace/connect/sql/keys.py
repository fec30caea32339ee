"""Keys of a table that this process has filled alone: as long as all that come are new, the table need not be asked.

Hashes of 64 bits stand for keys. Keys that are equal have equal hashes, so that keys whose hashes all differ are all
different; where two hashes are equal, the keys themselves must be compared by somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes: TypeAlias = npt.NDArray[np.uint64]

# Of one table; they take eight bytes each, and for a moment three times as much.
MOST_KEYS = 2**20

_WORD = 8
# Bytes of a text. PostgreSQL's indexes take 2,704.
_LONGEST = 1024
# The fractional digits of the golden ratio, and the multiplier of Knuth's MMIX: both odd, with bits everywhere.
_MIX, _STEP = np.uint64(0x9E37_79B9_7F4A_7C15), np.uint64(6364136223846793005)
_HALF = np.uint64(32)


def none() -> Hashes:
    """The keys of an empty table."""
    return np.empty(0, np.uint64)


def joined(known: Hashes, keys: Iterable[pa.Array]) -> Hashes | None:
    """The keys that are known, rising, with more of them; None where two may be equal, or where they are too many or
    of a kind that is not hashed here."""
    parts = [known]
    size = len(known)
    for values in keys:
        found = hashed(values)
        size += len(values)
        if found is None or size > MOST_KEYS:
            return None
        found.sort()
        parts.append(found)
    every = np.concatenate(parts)
    # The parts are in order already, and this kind of sorting makes use of it.
    every.sort(kind="stable")
    return None if bool((every[1:] == every[:-1]).any()) else every


def hashed(values: pa.Array) -> Hashes | None:
    """A hash of each value, if these are whole numbers or texts of one length, of whole words of eight bytes, and of no
    more than an index takes."""
    if values.null_count:
        return None
    if pa.types.is_signed_integer(values.type):
        return values.to_numpy().astype(np.int64).view(np.uint64)
    if not pa.types.is_string(values.type) or not len(values):
        return None if len(values) else none()
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    length = int(ends[1] - ends[0])
    if not length or length % _WORD or length > _LONGEST or not bool((np.diff(ends) == length).all()):
        return None
    words = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].view(np.uint64).reshape(len(values), -1)
    found = np.zeros(len(values), np.uint64)
    for place in range(words.shape[1]):
        mixed = (words[:, place] ^ found) * _MIX
        found = (mixed ^ (mixed >> _HALF)) * _STEP
    return found
