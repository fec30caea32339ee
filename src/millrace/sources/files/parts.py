"""What is read of a file: rows with their numbers, and what could not be a row."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from millrace.data.dataclass import dataclass
from millrace.errors import DataError

ROWS = 50_000
BYTES = 16 << 20

# One value, or one row of text, may be this large.
LARGEST = 64 << 20


class Unreadable(DataError):
    """From here on the file cannot be read. ``lasting``: as long as it is the same file."""

    code = "file_unreadable"

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that could not be read. ``number``: of the row in its file, from 1."""

    number: int
    text: str
    message: str


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a file, in order. ``numbers`` has one for each of ``rows``; ``upto``: of the last that was looked at."""

    rows: pa.RecordBatch
    numbers: np.ndarray
    bad: Sequence[Bad]
    upto: int


class Told(io.RawIOBase):
    """A stream that ends where it cannot be read on, so that what stands in front of that is read like any other."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        try:
            # In small pieces: of the one in which it breaks, what came before is lost.
            while self._error is None and len(found) < size:
                more = self._stream.read(min(size - len(found), 1 << 16))
                if not more:
                    break
                found += more
        except Exception as error:
            self._error = error
        return bytes(found)

    def check(self) -> None:
        """Raises what was wrong, where it did not end by itself."""
        if self._error is not None:
            raise self._error


def after(parts: Iterable[Part], number: int) -> Iterator[Part]:
    """The parts without rows up to that number."""
    for part in parts:
        if part.upto <= number:
            continue
        first = int(np.searchsorted(part.numbers, number, side="right"))
        bad = [one for one in part.bad if one.number > number]
        yield replace(part, rows=part.rows.slice(first), numbers=part.numbers[first:], bad=bad)


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: one that is empty, or was there, gets the letters that a spreadsheet has for it."""
    found: dict[str, None] = {}
    taken = {*names}
    for place, name in enumerate(names):
        own = name or "column"
        while own in found or (own != name and own in taken):
            own = f"{own}_{letters(place)}"
        found[own] = None
    return [*found]


def letters(place: int) -> str:
    """What spreadsheets call a column, counted from 0: A … Z, AA …"""
    return (letters(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)
