"""What changes leave out, where nobody downstream can know it: asked of the server, as rows are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from millrace.data.dataclass import dataclass
from millrace.errors import Transient
from millrace.sources.mysql.decoding import decoded
from millrace.sources.mysql.log.locating import Flags
from millrace.sources.mysql.log.values import Column

Key: TypeAlias = tuple[Any, ...]
"""Values of a key."""

# Rows of a table as they are at the server now: values of some of its columns as it writes them, by key.
Present: TypeAlias = Callable[[str, Sequence[str], Sequence[str], Sequence[Key]], Mapping[Key, Sequence[bytes | None]]]


@dataclass(frozen=True, slots=True)
class Filling:
    """``keys``: places of the columns that tell rows apart."""

    table: str
    columns: Sequence[Column]
    keys: Sequence[int]
    present: Present
    unknown: Callable[[str, int], None]

    def filled(
        self, arrays: Sequence[pa.Array], unsaid: Mapping[int, Flags], asked: Flags
    ) -> tuple[list[pa.Array], dict[int, Flags]]:
        """The columns with what rows that are ``asked`` leave out, and what others still do.

        What changed those values since comes later in the log.
        """
        lacking: Flags = asked & np.logical_or.reduce([*unsaid.values()])
        rows = np.flatnonzero(lacking)
        if not len(rows):
            return list(arrays), dict(unsaid)
        wanted = [place for place, some in unsaid.items() if (some & asked).any()]
        names = [one.known.name for one in self.columns]
        keys: list[Key] = [()] * len(rows)
        there: Mapping[Key, Sequence[bytes | None]] = {}
        if self.keys:
            keys = list(zip(*(arrays[place].take(pa.array(rows)).to_pylist() for place in self.keys), strict=True))
            listed = [names[place] for place in self.keys]
            there = self.present(self.table, listed, [names[place] for place in wanted], list(dict.fromkeys(keys)))
        if lost := sum(key not in there for key in keys):
            self.unknown(self.table, lost)
        made, left = list(arrays), dict[int, Flags]()
        for number, place in enumerate(wanted):
            values = [found[number] if (found := there.get(key)) is not None else None for key in keys]
            made[place] = self._replaced(arrays[place], values, rows, unsaid[place], self.columns[place])
        for place, some in unsaid.items():
            if (still := some & ~asked).any():
                left[place] = still
        return made, left

    def _replaced(
        self, array: pa.Array, values: Sequence[bytes | None], rows: Any, unsaid: Flags, column: Column
    ) -> pa.Array:
        try:
            fresh = decoded(values, column.type).values
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as cause:
            raise Transient(
                f"{self.table} has changed while its changes were read: {column.known.name} has another type.",
                hint="Run again: columns are looked up anew.",
            ) from cause
        which = np.arange(len(array))
        mine = unsaid[rows]
        which[rows[mine]] = len(array) + np.flatnonzero(mine)
        return pa.concat_arrays([array, fresh]).take(pa.array(which))
