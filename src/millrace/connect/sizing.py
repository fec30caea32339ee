"""Lengths of text columns at destinations that bound them: first size, next size, and what is too long for any.

Pure functions (loading.md 17). Lengths are in the destination's unit: UTF-8 bytes or characters.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import pyarrow as pa

from millrace.data.compute import pc
from millrace.data.dataclass import dataclass

Unit: TypeAlias = Literal["characters", "bytes"]
Oversize: TypeAlias = Literal["FAIL", "TRUNCATE", "NULL"]

LADDER = (256, 512, 1024, 4096, 16384, 65535)

# A character of UTF-8 has at most so many bytes.
_BYTES = 4


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How long text may be in a column. ``most`` None: past the ladder there is a type without a bound."""

    most: int | None
    unit: Unit = "characters"
    ladder: tuple[int, ...] = LADDER

    @property
    def steps(self) -> tuple[int, ...]:
        """The sizes that columns are made in, up to the longest possible."""
        if self.most is None:
            return self.ladder
        return (*(size for size in self.ladder if size < self.most), self.most)


@dataclass(frozen=True, slots=True)
class Sized:
    """Texts that fit a length, and those that were too long: ``bad`` where the row must be refused, ``changed`` how
    many were cut or nulled on purpose."""

    values: pa.Array
    bad: pa.BooleanArray | None = None
    changed: int = 0


def first_size(limits: TextLimits, *, declared: int | None = None, longest: int = 0) -> int | None:
    """Length of a new column; None for one without bound.

    ``declared``: characters that the source says; ``longest``: of the first values, which get twice the room.
    """
    if declared is not None:
        wanted = declared * (_BYTES if limits.unit == "bytes" else 1)
        return wanted if limits.most is None or wanted <= limits.most else limits.most
    return _step(limits, 2 * longest)


def next_size(limits: TextLimits, present: int, longest: int) -> int | None:
    """Length that a column of ``present`` needs for a value of ``longest``: the next step that holds it.

    The longest possible where none does; None for a type without bound. Never less than ``present``.
    """
    if longest <= present:
        return present
    step = _step(limits, longest)
    return step if step is None else max(step, present)


def _step(limits: TextLimits, length: int) -> int | None:
    found = next((size for size in limits.steps if size >= length), None)
    return limits.most if found is None else found


def lengths(texts: pa.Array, unit: Unit) -> pa.Array:
    """The length of each text; null for null."""
    return pc.binary_length(texts) if unit == "bytes" else pc.utf8_length(texts)


def longest(texts: pa.Array, unit: Unit) -> int:
    """The length of the longest text; 0 where there is none."""
    return pc.max(lengths(texts, unit)).as_py() or 0


def within(texts: pa.Array, size: int, unit: Unit, policy: Oversize) -> Sized:
    """The texts, none longer than ``size``: longer ones refused, cut after a whole character, or null."""
    over = pc.fill_null(pc.greater(lengths(texts, unit), size), False)
    count: int = pc.sum(over).as_py() or 0
    if not count:
        return Sized(texts)
    if policy == "TRUNCATE":
        return Sized(pc.if_else(over, _cut(texts, over, size, unit), texts), changed=count)
    nulled = pc.if_else(over, pa.scalar(None, texts.type), texts)
    return Sized(nulled, changed=count) if policy == "NULL" else Sized(nulled, bad=over)


def _cut(texts: pa.Array, over: pa.Array, size: int, unit: Unit) -> pa.Array:
    if unit == "characters":
        return pc.utf8_slice_codeunits(texts, 0, size)
    # Few values are that long, and a cut inside of a character must not be.
    return pa.array(
        [
            text.encode()[:size].decode(errors="ignore") if long and text is not None else text
            for text, long in zip(texts.to_pylist(), over.to_pylist(), strict=True)
        ],
        texts.type,
    )
