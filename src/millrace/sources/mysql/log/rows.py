"""Changes of one table as rows: gathered as the log has them, then brought into Arrow column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
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
from millrace.data.rows import to_rows
from millrace.sources.mysql.log.charsets import Charsets
from millrace.sources.mysql.log.errors import wrong_format
from millrace.sources.mysql.log.events import DELETE, INSERT, UPDATE, Rows
from millrace.sources.mysql.log.filling import Filling, Key, Present
from millrace.sources.mysql.log.locating import Flags, Ints, Located, Places, Size, located, size_of
from millrace.sources.mysql.log.moments import Moments
from millrace.sources.mysql.log.past import of_now
from millrace.sources.mysql.log.place import Place
from millrace.sources.mysql.log.values import Column, decoded

_LETTERS = np.array([b"I", b"U", b"D"])


@dataclass(slots=True)
class Changes:
    """Changes of one table since they were last taken. ``key``: the columns that tell its rows apart.

    ``present`` asks the server for rows as they are now. ``special``: what becomes of values that no logical type has.
    ``unknown`` and ``left_out`` are told of rows, and of values by column, that lack something. ``ended``: the column
    with the moment in which a row ended, where the server keeps what rows were. ``hidden``: so many columns at the end
    are nobody's. ``virtual``: columns that an update with a partial image may change without a word.
    """

    followed: Followed
    columns: Sequence[Column]
    key: tuple[str, ...]
    charsets: Charsets
    present: Present
    special: Literal["reject", "null"]
    now: Callable[[], datetime]
    unknown: Callable[[str, int], None]
    left_out: Callable[[str, int], None]
    ended: int | None = None
    hidden: int = 0
    virtual: frozenset[str] = frozenset()
    _rows: list[Rows] = field(default_factory=list[Rows])
    _skipped: bytearray = field(default_factory=bytearray)
    """Of each event whether the history has its rows."""
    _kept: int = 0
    _skips: bool = False
    _snapshot: Place | None = None
    _sizes: list[Size] = field(default_factory=list[Size])
    _keys: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self._sizes = [size_of(one.code, one.meta) or Size() for one in self.columns]
        self.columns = self.columns[: len(self.columns) - self.hidden]
        names = [one.known.name for one in self.columns]
        self._keys = [names.index(name) for name in self.key] if {*self.key} <= {*names} else []
        history: Any = self.followed.history
        self._snapshot = Place.of(history["snapshot"]) if history else None

    @property
    def name(self) -> str:
        return self.followed.stream.name

    def begin(self, at: Place) -> None:
        """What comes is of the transaction that begins there. What it did is in the history already, or will be, where
        it is skipped."""
        self._kept = len(self._rows)
        if self._snapshot is not None:
            self._skips = at < self._snapshot
        else:
            # Rows that are appended must not come twice; others may: the history that is read later is newer.
            self._skips = self.followed.load_mode == "append" and self.followed.stream.historical

    def add(self, rows: Rows) -> None:
        self._rows.append(rows)
        self._skipped.append(self._skips)

    def take_back(self) -> None:
        """What the open transaction did is not done."""
        del self._rows[self._kept :], self._skipped[self._kept :]

    def truncate(self) -> Iterator[Item]:
        """All rows so far, and then that there are none. A history that was read behind it does not tell of those that
        the table has from before, so these go all the same."""
        yield from self.taken()
        history: Any = self.followed.history
        if not self._skips:
            yield Truncated(self.name)
        elif history and history.get("begun_ms") and self.followed.load_mode != "append":
            yield Truncated(self.name, before_ms=history["begun_ms"])
        else:
            yield Passed(1, IN_HISTORY, self.name)

    def taken(self) -> Iterator[Item]:
        """The rows, in their order; then there are none."""
        if not self._rows:
            return
        rows, skipped = self._rows, np.frombuffer(bytes(self._skipped), np.bool_)
        self._rows, self._skipped, self._kept = [], bytearray(), 0
        found = located(rows, self._sizes)
        if self.ended is not None:
            found = of_now(found, self.ended, len(self.columns))
        yield from self._batches(found, skipped[found.event])
        if passed := int(skipped[found.event].sum()):
            yield Passed(passed, IN_HISTORY, self.name)

    def _batches(self, found: Located, skipped: Flags) -> Iterator[Item]:
        told = [old.behind(new) for old, new in zip(found.old, found.new, strict=True)]
        moved = self._moved(found)
        for place, column in enumerate(self.columns):
            if column.known.name in self.virtual:
                said = told[place].said & (found.new[place].said | (found.kinds != UPDATE))
                told[place] = replace(told[place], said=said)
        repeats = np.where(skipped, self._gone(found, skipped, moved), 1 + moved)
        source = np.repeat(np.arange(len(found.kinds)), repeats)
        if not len(source):
            return
        # Of a row that got another key the old one goes first; of one that is skipped nothing but its end is told.
        first = np.concatenate([[True], source[1:] != source[:-1]])
        ended = first & (moved | skipped)[source]
        kinds = np.where(ended, DELETE, found.kinds[source])
        places = [
            _either(ended, old.take(source), one.take(source), whole=place in self._keys)
            for place, (old, one) in enumerate(zip(found.old, told, strict=True))
        ]
        yield from self._arrow(found.marks, kinds, places, moved[source])

    def _arrow(self, marks: Any, kinds: Ints, places: Sequence[Places], moved: Flags) -> Iterator[Item]:
        read = [decoded(one, marks, some, self.charsets) for one, some in zip(self.columns, places, strict=True)]
        names = [one.known.name for one in self.columns]
        wrong = {place: one for place, one in enumerate(read) if one.bad is not None}
        self._count(names, read, wrong)
        out: Flags = np.zeros(len(kinds), np.bool_)
        if self.special == "reject":
            for one in wrong.values():
                out = out | one.bad if one.bad is not None else out
        unsaid = {
            place: lacking for place, some in enumerate(places) if (lacking := ~some.said & (kinds != DELETE)).any()
        }
        arrays: list[pa.Array] = [one.values for one in read]
        if unsaid:
            # An insert that leaves something out stands for what the table has by default.
            asked = out | moved | (kinds == INSERT)
            if self.followed.whole or not self.followed.stream.historical:
                asked[:] = True
            for place in unsaid:
                if names[place] in self.virtual:
                    asked |= unsaid[place]
            filling = Filling(self.name, self.columns, self._keys, self.present, self.unknown)
            arrays, unsaid = filling.filled(arrays, unsaid, asked)
        fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
        plain = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        rows = self._with_ours(plain, kinds, unsaid, names)
        if not out.any():
            yield Batch(self.name, rows)
            return
        kept = rows.filter(pa.array(~out))
        if kept.num_rows:
            yield Batch(self.name, kept)
        yield Refused(self._refused(plain, np.flatnonzero(out), kinds, wrong))

    def _with_ours(
        self, rows: pa.RecordBatch, kinds: Ints, unsaid: Mapping[int, Flags], names: Sequence[str]
    ) -> pa.RecordBatch:
        letters = pa.array(_LETTERS[kinds], pa.binary()).cast(pa.string())
        rows = rows.add_column(0, columns.ours(columns.OP_TYPE, pa.string()), letters)
        if not unsaid:
            return rows
        said: list[str | None] = [None] * len(kinds)
        for row in np.flatnonzero(np.logical_or.reduce([*unsaid.values()])).tolist():
            left = [names[place] for place, lacking in unsaid.items() if lacking[row]]
            said[row] = columns.BETWEEN + columns.BETWEEN.join([*left, ""])
        return rows.append_column(columns.ours(columns.UNCHANGED, pa.string()), pa.array(said, pa.string()))

    def _moved(self, found: Located) -> Flags:
        """Updates that gave a row another key."""
        moved = np.zeros(len(found.kinds), np.bool_)
        if not self._keys:
            return moved
        told = found.kinds != INSERT
        updates = np.flatnonzero(found.kinds == UPDATE)
        for place in self._keys:
            if not found.old[place].said[told].all():
                text = f"changes of {self.name}, which has no primary key, do not say which rows they mean"
                raise wrong_format(text)
            old, new = found.old[place].take(updates), found.new[place].take(updates)
            column = self.columns[place]
            before = decoded(column, found.marks, old, self.charsets).values
            after = decoded(column, found.marks, new, self.charsets).values
            differs = _differs(before, after) & new.said
            moved[updates] |= differs
        return moved

    def _gone(self, found: Located, skipped: Flags, moved: Flags) -> Flags:
        """Rows that went before the history was read, and are not there now. The table may have them from an earlier
        history, and nothing else tells of their end."""
        gone = np.zeros(len(found.kinds), np.bool_)
        if not self._keys or self._snapshot is None or self.followed.load_mode != "merge":
            return gone
        some = np.flatnonzero(skipped & ((found.kinds == DELETE) | moved))
        if len(some):
            keys = self._key_values(found, some)
            there = self.present(self.name, self.key, (), list(dict.fromkeys(keys)))
            gone[some] = [key not in there for key in keys]
        return gone

    def _key_values(self, found: Located, rows: Ints) -> list[Key]:
        values = [
            decoded(self.columns[place], found.marks, found.old[place].take(rows), self.charsets).values.to_pylist()
            for place in self._keys
        ]
        return list(zip(*values, strict=True))

    def _count(self, names: Sequence[str], read: Sequence[Moments], wrong: Mapping[int, Moments]) -> None:
        for place, one in enumerate(read):
            count = one.zeros
            if self.special == "null" and place in wrong and one.bad is not None:
                count += int(one.bad.sum())
            if count:
                self.left_out(f"{self.name}.{names[place]}", count)

    def _refused(self, rows: pa.RecordBatch, places: Ints, kinds: Ints, wrong: Mapping[int, Moments]) -> pa.RecordBatch:
        """Each row as JSON, its special values as the server writes them."""
        told = to_rows(rows.take(pa.array(places)))
        messages: list[str] = []
        for row, place in zip(told, places.tolist(), strict=True):
            words = {
                self.columns[column].known.name: one.text(place)
                for column, one in wrong.items()
                if one.bad is not None and one.bad[place]
            }
            row.update(words)
            row[columns.OP_TYPE] = "IUD"[kinds[place]]
            messages.append("; ".join(f"{name} is {value}, which its type cannot say" for name, value in words.items()))
        texts = map(json_text.dumps, told)
        return refused(self.name, "INCOMPATIBLE_TYPE", zip(messages, texts, strict=True), self.now())


def _either(ended: Flags, old: Places, told: Places, *, whole: bool) -> Places:
    """What is told of a row; of one that has ended its old key alone."""
    if not ended.any():
        return told
    if whole:
        return Places(
            np.where(ended, old.start, told.start),
            np.where(ended, old.size, told.size),
            np.where(ended, old.null, told.null),
            np.where(ended, old.said, told.said),
        )
    return Places(told.start, np.where(ended, 0, told.size), told.null | ended, told.said)


def _differs(before: pa.Array, after: pa.Array) -> Flags:
    """Values that are not the same; a key is never NULL, but for values that have no type."""
    if isinstance(before, pa.ExtensionArray):
        before, after = before.storage, after.storage
    found: Any = pc.not_equal(before, after).fill_null(True)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)
