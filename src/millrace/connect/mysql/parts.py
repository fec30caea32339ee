"""Some rows of an answer, of which columns are asked."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import pyarrow as pa

from millrace.data.dataclass import dataclass


class Kind(IntEnum):
    """How a column is made of what the server writes; the numbers are those of native/mysql_rows.c."""

    LEFT = 0
    BYTES = 1
    TEXT = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    DECIMAL = 6
    FLAG = 7
    BIT = 8
    DAY = 9
    MOMENT = 10
    CLOCK = 11
    DOUBLE = 12


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column that is wanted: how it is made, and the Arrow type that it then has."""

    kind: Kind
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Made:
    """A column; ``zeros``: dates without a day, which are null in it."""

    values: pa.Array
    zeros: int


class Part(Protocol):
    """Rows, as long as nobody asks for the next ones."""

    count: int

    def made(self, wanted: Sequence[Wanted]) -> Sequence[Made | None]:
        """The columns as far as they are made here: none of those in which a value is odd."""
        ...

    def raw(self, place: int) -> Sequence[bytes | None]:
        """The values of a column as the server wrote them."""
        ...

    def last(self, place: int) -> bytes | None:
        """The value of a column in the last row."""
        ...


class Listed:
    """Rows as lists, one for each column."""

    def __init__(self, columns: Sequence[Sequence[bytes | None]]) -> None:
        self._columns = columns
        self.count = len(columns[0])

    def made(self, wanted: Sequence[Wanted]) -> Sequence[Made | None]:
        return [None] * len(wanted)

    def raw(self, place: int) -> Sequence[bytes | None]:
        return self._columns[place]

    def last(self, place: int) -> bytes | None:
        return self._columns[place][-1]
