"""Changes of one table as rows: gathered column by column as the server writes them, then brought into Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from millrace.connect.log import Followed
from millrace.data import columns, json_text
from millrace.data.batch import Batch, Item, Passed, Refused, Truncated
from millrace.data.compute import pc
from millrace.data.exact import Casted, either
from millrace.sources.postgres.decoding import read
from millrace.sources.postgres.log.messages import Change, Told, Tuple
from millrace.sources.postgres.log.publishing import Identity
from millrace.sources.postgres.log.snapshots import Snapshot
from millrace.sources.postgres.types import Type

CODE = "INCOMPATIBLE_TYPE"
IN_HISTORY = "in_history"

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
    count: int = 0
    _operations: list[str] = field(default_factory=list[str])
    _values: list[list[Any]] = field(default_factory=list[list[Any]])
    _unsaid: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """Places of columns that a row does not say, by row."""
    _asked: set[int] = field(default_factory=set[int])
    """Rows whose unsaid values nobody downstream can know."""
    _gone: dict[Key, None] = field(default_factory=dict[Key, None])
    """Keys that were deleted before the history was read, which does not tell of them."""
    _passed: int = 0
    _snapshot: Snapshot | None = None
    _skips: bool | None = None
    _keys: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self._values = [[] for _ in self.told.fields]
        names = [one.name for one in self.told.fields]
        self._keys = [names.index(name) for name in self.identity.key if name in names]
        history = self.followed.history
        self._snapshot = Snapshot.of(history["snapshot"]) if history else None

    def begin(self, transaction: int) -> None:
        """What comes is of this transaction. What it did is in the history already, or will be, where it is skipped."""
        if self._snapshot is not None:
            self._skips = self._snapshot.sees(transaction)
        else:
            # Rows that are appended must not come twice; others may: the history that is read later is newer.
            self._skips = self.followed.load_mode == "append" and self.followed.stream.historical

    def add(self, change: Change) -> None:
        """The change is among the rows, as a delete and a new row where it gave a row another key."""
        new, old = change.new, change.old
        if self._skips:
            self._skip(change)
            return
        if new is None:
            if old is not None:
                self._row("D", old if change.whole else self._only_key(old))
            return
        unsaid: list[int] | None = None
        moved = False
        if change.kind == "U":
            if False in new:
                unsaid = self._complete(new, old, change.whole)
            if old is not None and self._keys:
                moved = any(old[place] != new[place] for place in self._keys)
                if moved:
                    self._row("D", self._only_key(old))
        if unsaid:
            self._unsaid[self.count] = unsaid
            if moved or self.followed.whole or not self.followed.stream.historical:
                self._asked.add(self.count)
        self._row(change.kind, new)

    def truncate(self) -> Iterator[Item]:
        """All rows so far, and then that there are none."""
        yield from self.taken()
        if self._skips:
            yield Passed(1, IN_HISTORY, self.followed.stream.name)
        else:
            yield Truncated(self.followed.stream.name)

    def taken(self) -> Iterator[Item]:
        """The rows, in their order; then there are none."""
        name = self.followed.stream.name
        self._bury()
        if self.count:
            yield from self._batches()
            self._operations, self._values = [], [[] for _ in self.told.fields]
            self._unsaid, self._asked, self.count = {}, set(), 0
        if self._passed:
            yield Passed(self._passed, IN_HISTORY, name)
            self._passed = 0

    def _row(self, operation: str, values: Tuple) -> None:
        self._operations.append(operation)
        for column, value in zip(self._values, values, strict=True):
            column.append(value)
        self.count += 1

    def _only_key(self, old: Tuple) -> Tuple:
        kept: Tuple = [None] * len(old)
        for place in self._keys:
            kept[place] = old[place]
        return kept

    def _complete(self, new: Tuple, old: Tuple | None, whole: bool) -> list[int]:
        """Places of values that neither the new row nor the old one says; they are NULL from here on."""
        unsaid: list[int] = []
        for place, value in enumerate(new):
            if value is not False:
                continue
            if old is not None and (whole or place in self._keys):
                new[place] = old[place]
            else:
                new[place] = None
                unsaid.append(place)
        return unsaid

    def _skip(self, change: Change) -> None:
        """The change is passed over. A row that the table has from an earlier history, and that went before this one,
        would stay there, so its key is kept to be looked at."""
        self._passed += 1
        old, new = change.old, change.new
        if old is None or not self._keys or self._snapshot is None or self.followed.load_mode != "merge":
            return
        if new is None or any(old[place] != new[place] for place in self._keys):
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
                self._row("D", row)

    def _batches(self) -> Iterator[Item]:
        self._ask()
        arrays: list[pa.Array] = [pa.array(self._operations, pa.string())]
        fields: list[pa.Field] = [columns.ours(columns.OP_TYPE, pa.string())]
        wrong: dict[int, pa.BooleanArray] = {}
        out: pa.BooleanArray | None = None
        for place, (about, type_, values) in enumerate(zip(self.told.fields, self.types, self._values, strict=True)):
            found = _read(values, type_)
            arrays.append(found.values)
            fields.append(pa.field(about.name, found.values.type))
            if found.bad is not None:
                wrong[place] = found.bad
                out = either(out, found.bad)
        if self._unsaid:
            arrays.append(pa.array([self._said(row) for row in range(self.count)], pa.string()))
            fields.append(columns.ours(columns.UNCHANGED, pa.string()))
        rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        name = self.followed.stream.name
        if out is None or self.special == "null":
            yield Batch(name, rows)
            return
        kept = rows.filter(pc.invert(out))
        if kept.num_rows:
            yield Batch(name, kept)
        yield Refused(self._refused(out, wrong))

    def _said(self, row: int) -> str | None:
        unsaid = self._unsaid.get(row)
        if not unsaid:
            return None
        return columns.BETWEEN + columns.BETWEEN.join([*(self.told.fields[place].name for place in unsaid), ""])

    def _ask(self) -> None:
        """Values that a row does not say and nobody knows are those of the row as it is now: what changed them since
        comes in the log."""
        asked = sorted(row for row in self._asked if self._keys)
        if not asked:
            return
        places = sorted({place for row in asked for place in self._unsaid[row]})
        keys = [tuple(self._values[place][row] for place in self._keys) for row in asked]
        names = [self.told.fields[place].name for place in self._keys]
        wanted = [self.told.fields[place].name for place in places]
        there = self.present(self.followed.stream.name, names, wanted, list(dict.fromkeys(keys)))
        lost = 0
        for row, key in zip(asked, keys, strict=True):
            found = there.get(key)
            lost += found is None
            for place in self._unsaid.pop(row):
                self._values[place][row] = found[places.index(place)] if found is not None else None
        if lost:
            self.unknown(self.followed.stream.name, lost)

    def _refused(self, out: pa.BooleanArray, wrong: Mapping[int, pa.BooleanArray]) -> pa.RecordBatch:
        """Each row as JSON of what the server wrote."""
        rows = pc.indices_nonzero(out).to_pylist()
        names = [one.name for one in self.told.fields]
        told = [
            {name: _text(values[row]) for name, values in zip(names, self._values, strict=True)}
            | {columns.OP_TYPE: self._operations[row]}
            for row in rows
        ]
        messages = [
            "; ".join(
                f"{names[place]} is {_text(self._values[place][row])}, which no type of a warehouse has"
                for place, bad in wrong.items()
                if bad[row].as_py()
            )
            for row in rows
        ]
        at, count = self.now(), len(rows)
        made: dict[str, list[Any]] = {
            "stream": [self.followed.stream.name] * count,
            "stage": ["source"] * count,
            "code": [CODE] * count,
            "message": messages,
            "row": [json_text.dumps(row) for row in told],
            "rejected_at": [at] * count,
        }
        return pa.RecordBatch.from_pydict(
            {name: made.get(name, [None] * count) for name in columns.REJECTS.names}, schema=columns.REJECTS
        )


def _key(values: Tuple, places: Sequence[int]) -> Key:
    return tuple(value if (value := values[place]) is not False else None for place in places)


def _read(values: list[Any], type_: Type) -> Casted:
    texts = pa.array(values, pa.binary())
    try:
        return read(texts.cast(pa.string()), type_)
    except pa.ArrowInvalid:
        # A database without an encoding has text that is none; its rows are refused.
        sound = pa.array([_sound(one) for one in values], pa.bool_())
        found = read(pa.array([_text(one) if _sound(one) else None for one in values], pa.string()), type_)
        return Casted(found.values, either(found.bad, pc.invert(sound)))


def _sound(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
