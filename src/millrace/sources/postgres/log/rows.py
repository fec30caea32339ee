"""Changes of one table as rows: gathered column by column as the server writes them, then brought into Arrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from millrace.connect.log import Followed
from millrace.connect.refused import refused
from millrace.data import columns, json_text
from millrace.data.batch import IN_HISTORY, Batch, Item, Passed, Refused, Truncated
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import Casted, either
from millrace.sources.postgres.decoding import read, sound
from millrace.sources.postgres.log.messages import Begin, Change, Told
from millrace.sources.postgres.log.publishing import Identity
from millrace.sources.postgres.log.snapshots import Snapshot
from millrace.sources.postgres.log.tuples import Column, Tuple, parsed, written
from millrace.sources.postgres.log.tuples import columns as columns_of
from millrace.sources.postgres.log.wire import lsn
from millrace.sources.postgres.types import Type

_INSERT, _UPDATE, _DELETE = b"IUD"
_NEW, _WHOLE = b"NO"

Key = tuple[bytes | None, ...]
"""Values of a key as the server writes them."""

# Rows of a table as they are at the server now: values of some of its columns by key.
Present = Callable[[str, Sequence[str], Sequence[str], Sequence[Key]], Mapping[Key, Sequence[bytes | None]]]


@dataclass(slots=True)
class Changes:
    """Changes of one table since they were last taken. ``types``: of its columns, in the order of ``told``.

    ``present`` asks the server for rows as they are now. ``special``: what becomes of values that no logical type has.
    """

    followed: Followed
    identity: Identity
    told: Told
    types: Sequence[Type]
    present: Present
    special: Literal["reject", "null"]
    now: Callable[[], datetime]
    unknown: Callable[[str, int], None]
    _kinds: bytearray = field(default_factory=bytearray)
    """What happened, of each row."""
    _rows: list[bytes] = field(default_factory=list[bytes])
    """The rows, each as the server wrote it, behind one byte."""
    _asked: set[int] = field(default_factory=set[int])
    """Rows that have a new key, so that nobody downstream knows what they do not say."""
    _gone: dict[Key, None] = field(default_factory=dict[Key, None])
    """Keys that were deleted before the history was read, which does not tell of them."""
    _passed: int = 0
    _snapshot: Snapshot | None = None
    _upto: float = math.inf
    """In front of this place of the log is all that the snapshot sees."""
    _skips: bool | None = None
    _keys: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        names = [one.name for one in self.told.fields]
        self._keys = [names.index(name) for name in self.identity.key if name in names]
        history = self.followed.history
        if history:
            self._snapshot = Snapshot.of(history["snapshot"])
            self._upto = lsn(history["lsn"]) if history.get("lsn") else math.inf

    def begin(self, begun: Begin) -> None:
        """What comes is of this transaction. What it did is in the history already, or will be, where it is skipped.

        A number alone says too little: the server gives it again, after a crash and when the numbers have gone round.
        """
        if self._snapshot is not None:
            self._skips = begun.at < self._upto and self._snapshot.sees(begun.transaction)
        else:
            # Rows that are appended must not come twice; others may: the history that is read later is newer.
            self._skips = self.followed.load_mode == "append" and self.followed.stream.historical

    def add(self, change: Change) -> None:
        """The change is among the rows, as a delete and a new row where it gave a row another key."""
        if self._skips:
            self._skip(change)
        elif change.kind == _UPDATE and change.rows[0] != _NEW:
            self._update(change)
        else:
            self._kinds.append(change.kind)
            self._rows.append(change.rows)

    def _update(self, change: Change) -> None:
        """An update that tells of the old row too."""
        old, at = parsed(change.rows, 1)
        new, _ = parsed(change.rows, at + 1)
        for place, value in enumerate(new):
            if value is False and (change.rows[0] == _WHOLE or place in self._keys):
                new[place] = old[place]
        moved = any(old[place] != new[place] for place in self._keys)
        if moved:
            self._row(_DELETE, self._only_key(old))
            if False in new:
                self._asked.add(len(self._rows))
        self._row(_UPDATE, new)

    def truncate(self) -> Iterator[Item]:
        """All rows so far, and then that there are none. A history that was read behind it does not tell of those that
        the table has from before, so these go all the same."""
        yield from self.taken()
        history: Any = self.followed.history
        if not self._skips:
            yield Truncated(self.followed.stream.name)
        elif history and history.get("begun_ms") and self.followed.load_mode != "append":
            yield Truncated(self.followed.stream.name, before_ms=history["begun_ms"])
        else:
            yield Passed(1, IN_HISTORY, self.followed.stream.name)

    def taken(self) -> Iterator[Item]:
        """The rows, in their order; then there are none."""
        self._bury()
        if self._rows:
            yield from self._batches()
            self._kinds, self._rows, self._asked = bytearray(), [], set()
        if self._passed:
            yield Passed(self._passed, IN_HISTORY, self.followed.stream.name)
            self._passed = 0

    def _row(self, kind: int, values: Tuple) -> None:
        self._kinds.append(kind)
        self._rows.append(b"N" + written(values))

    def _only_key(self, old: Tuple) -> Tuple:
        kept: Tuple = [None] * len(old)
        for place in self._keys:
            kept[place] = old[place]
        return kept

    def _skip(self, change: Change) -> None:
        """The change is passed over. A row that the table has from an earlier history, and that went before this one,
        would stay there, so its key is kept to be looked at."""
        self._passed += 1
        told = change.kind != _INSERT and change.rows[0] != _NEW
        if not told or not self._keys or self._snapshot is None or self.followed.load_mode != "merge":
            return
        old, at = parsed(change.rows, 1)
        new = parsed(change.rows, at + 1)[0] if change.kind == _UPDATE else None
        if new is None or any(old[place] != new[place] and new[place] is not False for place in self._keys):
            self._gone[_key(old, self._keys)] = None

    def _bury(self) -> None:
        """Deletes that were skipped are told all the same where the server has no such row now."""
        if not self._gone:
            return
        keys, self._gone = list(self._gone), {}
        names = [self.told.fields[place].name for place in self._keys]
        there = self.present(self.followed.stream.name, names, names, keys)
        for key in keys:
            if key not in there:
                row: Tuple = [None] * len(self.told.fields)
                for place, value in zip(self._keys, key, strict=True):
                    row[place] = value
                self._row(_DELETE, row)

    def _batches(self) -> Iterator[Item]:
        told = columns_of(self._rows, len(self.told.fields))
        unsaid = self._unsaid(told)
        kinds = np.frombuffer(bytes(self._kinds), "S1")
        arrays: list[pa.Array] = [pa.array(kinds, pa.binary()).cast(pa.string())]
        fields: list[pa.Field] = [columns.ours(columns.OP_TYPE, pa.string())]
        wrong: dict[int, pa.BooleanArray] = {}
        out: pa.BooleanArray | None = None
        for place, (about, type_, values) in enumerate(zip(self.told.fields, self.types, told, strict=True)):
            found = _read(values, type_)
            arrays.append(found.values)
            fields.append((columns.measured if type_.logical is None else pa.field)(about.name, found.values.type))
            if found.bad is not None:
                wrong[place] = found.bad
                out = either(out, found.bad)
        if unsaid:
            arrays.append(pa.array([self._said(unsaid.get(row)) for row in range(len(self._rows))], pa.string()))
            fields.append(columns.ours(columns.UNCHANGED, pa.string()))
        rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        name = self.followed.stream.name
        if out is None or self.special == "null":
            yield Batch(name, rows)
            return
        kept = rows.filter(pc.invert(out))
        if kept.num_rows:
            yield Batch(name, kept)
        # Nothing is known of them when they are tried again.
        if self._keys and (odd := [row for row in pc.indices_nonzero(out).to_pylist() if row in unsaid]):
            self._ask(told, unsaid, odd)
        yield Refused(self._refused(out, wrong, told))

    def _unsaid(self, told: Sequence[Column]) -> dict[int, list[int]]:
        """Places of columns that a row does not say, by row. Those that nobody downstream can know are filled in."""
        unsaid: dict[int, list[int]] = {}
        for place, column in enumerate(told):
            for row in column.unsaid:
                unsaid.setdefault(row, []).append(place)
        every = self.followed.whole or not self.followed.stream.historical
        asked = sorted(row for row in unsaid if every or row in self._asked)
        if asked and self._keys:
            self._ask(told, unsaid, asked)
        return unsaid

    def _said(self, unsaid: Sequence[int] | None) -> str | None:
        if not unsaid:
            return None
        return columns.BETWEEN + columns.BETWEEN.join([*(self.told.fields[place].name for place in unsaid), ""])

    def _ask(self, told: Sequence[Column], unsaid: dict[int, list[int]], asked: Sequence[int]) -> None:
        """Values that a row does not say are as the row is now: what changed them since comes in the log."""
        places = sorted({place for row in asked for place in unsaid[row]})
        keys = [tuple(told[place].values[row] for place in self._keys) for row in asked]
        names = [self.told.fields[place].name for place in self._keys]
        wanted = [self.told.fields[place].name for place in places]
        there = self.present(self.followed.stream.name, names, wanted, list(dict.fromkeys(keys)))
        lost = 0
        for row, key in zip(asked, keys, strict=True):
            found = there.get(key)
            lost += found is None
            for place in unsaid.pop(row):
                told[place].values[row] = found[places.index(place)] if found is not None else None
        if lost:
            self.unknown(self.followed.stream.name, lost)

    def _refused(
        self, out: pa.BooleanArray, wrong: Mapping[int, pa.BooleanArray], found: Sequence[Column]
    ) -> pa.RecordBatch:
        """Each row as JSON of what the server wrote."""
        rows = pc.indices_nonzero(out).to_pylist()
        names = [one.name for one in self.told.fields]
        told = [
            {name: _text(one.values[row]) for name, one in zip(names, found, strict=True)}
            | {columns.OP_TYPE: chr(self._kinds[row])}
            for row in rows
        ]
        messages = [
            "; ".join(
                f"{names[place]} is {_text(found[place].values[row])}, which no type of a warehouse has"
                for place, bad in wrong.items()
                if bad[row].as_py()
            )
            for row in rows
        ]
        each = zip(messages, map(json_text.dumps, told), strict=True)
        return refused(self.followed.stream.name, "INCOMPATIBLE_TYPE", each, self.now())


def _key(values: Tuple, places: Sequence[int]) -> Key:
    return tuple(value if (value := values[place]) is not False else None for place in places)


def _read(column: Column, type_: Type) -> Casted:
    try:
        return read(column.array().cast(pa.string()), type_)
    except pa.ArrowInvalid:
        # A database without an encoding has text that is none; its rows are refused.
        whole = [sound(one) for one in column.values]
        texts = [_text(one) if fine else None for one, fine in zip(column.values, whole, strict=True)]
        found = read(pa.array(texts, pa.string()), type_)
        return Casted(found.values, either(found.bad, pa.array([not one for one in whole], pa.bool_())))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
