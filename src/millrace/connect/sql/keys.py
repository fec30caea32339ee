"""Keys of a table that this process has filled alone: as long as all that come are new, the table need not be asked.

Hashes of 64 bits stand for keys. Keys that are equal have equal hashes, so that keys whose hashes all differ are all
different; where two hashes are equal, the keys themselves must be compared by somebody else. Those of whole numbers are
in the order of the numbers, so that of very many the spans in which they lie are enough: a key outside of them is new.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data.dataclass import dataclass

Hashes: TypeAlias = npt.NDArray[np.uint64]

# Of one table; they take eight bytes each, and for a moment three times as much. More whole numbers than these lie in
# at most so many spans.
MOST_KEYS = 2**20
MOST_SPANS = 2**12

_WORD = 8
# Bytes of a text. PostgreSQL's indexes take 2,704.
_LONGEST = 1024
# The fractional digits of the golden ratio, and the multiplier of Knuth's MMIX: both odd, with bits everywhere.
_MIX, _STEP = np.uint64(0x9E37_79B9_7F4A_7C15), np.uint64(6364136223846793005)
_HALF = np.uint64(32)
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True, slots=True)
class Known:
    """The keys of a table: hashes, rising, and beside them spans in which others lie. ``starts`` and ``ends`` of the
    spans rise, and the spans do not touch."""

    hashes: Hashes
    starts: Hashes
    ends: Hashes

    def has_room(self, some: pa.Array, count: int) -> bool:
        """Whether so many keys, of which these are some, may be known too."""
        ordered = pa.types.is_integer(some.type)
        return hashed(some) is not None and count + (0 if ordered else self.hashes.size) <= MOST_KEYS

    def may_have(self, some: Hashes) -> bool:
        """Whether any of them lies in a span."""
        if not len(self.starts):
            return False
        before = np.searchsorted(self.starts, some, side="right")
        return bool(((before > 0) & (some <= self.ends[before - 1])).any())

    def condensed(self) -> Known:
        """The same keys, all of them in spans, which part at the widest gaps."""
        starts, ends = (
            np.sort(np.concatenate([some, self.hashes]), kind="stable") for some in (self.starts, self.ends)
        )
        gaps = starts[1:] - ends[:-1]
        places = np.flatnonzero(gaps > 1)
        if len(places) > MOST_SPANS:
            left = gaps[places]
            places = places[left > np.partition(left, -MOST_SPANS)[-MOST_SPANS]]
        return Known(_NONE, starts[np.append(0, places + 1)], ends[np.append(places, len(ends) - 1)])


_NONE: Hashes = np.empty(0, np.uint64)


def none() -> Known:
    """The keys of an empty table."""
    return Known(_NONE, _NONE, _NONE)


class Arriving:
    """Keys of rows that are on their way. ``fit``: they are not too many, and all of a kind that is hashed here."""

    def __init__(self) -> None:
        self.fit = True
        self._parts: list[Hashes] = []
        self._size, self._ordered = 0, True

    def add(self, values: pa.Array) -> bool:
        """These keys pass; whether all are `fit`."""
        found = hashed(values) if self.fit else None
        self._size += len(values)
        self.fit = found is not None and self._size <= MOST_KEYS
        if found is not None:
            self._ordered = self._ordered and pa.types.is_integer(values.type)
            # Keys mostly come in their order, which is seen in a hundredth of the time that sorting takes then.
            if not bool((found[1:] >= found[:-1]).all()):
                found.sort()
            self._parts.append(found)
        return self.fit

    def joined(self, known: Known) -> Known | None:
        """The keys that are known with those that came; None where two may be equal, or where they are not `fit`."""
        if not self.fit:
            return None
        if known.hashes.size + self._size > MOST_KEYS:
            if not self._ordered:
                return None
            known = known.condensed()
        if any(known.may_have(part) for part in self._parts):
            return None
        every = np.concatenate([known.hashes, *self._parts])
        # The parts are in order already, and this kind of sorting makes use of it.
        every.sort(kind="stable")
        return None if bool((every[1:] == every[:-1]).any()) else Known(every, known.starts, known.ends)


def joined(known: Known, keys: Iterable[pa.Array]) -> Known | None:
    """The keys that are known with more of them, as `Arriving` has it."""
    arriving = Arriving()
    return arriving.joined(known) if all(arriving.add(values) for values in keys) else None


def hashed(values: pa.Array) -> Hashes | None:
    """A hash of each value, if these are whole numbers, or texts of one length, of whole words of eight bytes, and of
    no more than an index takes. Those of whole numbers are in their order."""
    if values.null_count:
        return None
    if pa.types.is_signed_integer(values.type):
        return values.to_numpy().astype(np.int64).view(np.uint64) ^ _SIGN
    if not pa.types.is_string(values.type) or not len(values):
        return None if len(values) else _NONE
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
