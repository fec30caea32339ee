"""Rows of an event type with their nested values treated by a strategy (loading.md 12)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from millrace.connect.destination import Strategy
from millrace.data import columns, types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import of_type
from millrace.data.foreign import entered
from millrace.data.rows import to_json
from millrace.engine.nesting.children import INHERITED, OWN, Above, children, digests, joined, table
from millrace.engine.nesting.levels import Items, Level, Spreading
from millrace.engine.nesting.names import VALUE, NestingState
from millrace.engine.nesting.records import record
from millrace.engine.nesting.texts import as_text, compact


@dataclass(frozen=True, slots=True)
class Nested:
    """Rows of one event type, made of the rows of one batch.

    ``key``: fields that identify a row; None: those of the input. ``origin``: int32, ascending, the input row that each
    came from. ``parent`` and ``path``: for the items of arrays, the event type above and where in it they were.
    ``marks``: how many of the rows stand for an array without items (operation `columns.EMPTY`).
    """

    stream: str
    rows: pa.RecordBatch
    key: tuple[str, ...] | None
    origin: pa.Array
    parent: str | None = None
    path: str = ""
    marks: int = 0


def parsed(
    stream: str,
    rows: pa.RecordBatch,
    strategy: Strategy,
    *,
    key: tuple[str, ...],
    state: NestingState,
    marking: bool = True,
) -> list[Nested]:
    """The rows with columns of the types JSON, STRUCT and ARRAY treated; the event type itself comes first.

    Other columns, fields of the key, and metadata of ours pass as they are. ``state`` learns the names that new paths
    get. ``marking``: what SPLIT makes of arrays tells how long they are, so that a destination that merges can mark
    rows of items that are no more (not for event types without a key, whose rows are only appended).
    """
    whole = Nested(stream, rows, None, _origin(np.arange(rows.num_rows)))
    places = [number for number, one in enumerate(rows.schema) if _is_nested(one, key)]
    takes_apart = strategy in ("SPLIT", "FLAT")
    if strategy == "NATIVE" or not (places or (takes_apart and state.names.get(stream))):
        return [whole]
    if takes_apart:
        return _Splitting(stream, rows, key, state, marking=marking and bool(key)).nested(
            places, flat=strategy == "FLAT"
        )
    arrays, fields = list(rows.columns), list(rows.schema)
    for place in places:
        values = _entered(arrays[place])
        if strategy != "COLLAPSE":
            known = state.type_of(stream, fields[place].name)
            arrays[place] = record(values, known, lists=strategy == "COLLAPSE_EXCEPT_ARRAYS")
            if types.is_nested(arrays[place].type) and arrays[place].type != known:
                state.learn(stream, fields[place].name, arrays[place].type)
        else:
            arrays[place] = compact(types.storage(values)) if types.is_json(values.type) else as_text(values)
        fields[place] = fields[place].with_type(arrays[place].type)
    made = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=rows.schema.metadata))
    return [replace(whole, rows=made)]


def without(made: Sequence[Nested], origins: Collection[int]) -> list[Nested]:
    """The same without all that was made of those input rows, so that an event is loaded whole or not at all."""
    gone = pa.array(sorted(origins), pa.int32())
    kept: list[Nested] = []
    for one in made:
        keep = pc.invert(pc.is_in(one.origin, gone))
        rows, origin = one.rows.filter(keep), one.origin.filter(keep)
        operation = rows.schema.get_field_index(columns.OP_TYPE)
        marks = pc.sum(pc.equal(rows.column(operation), columns.EMPTY)).as_py() or 0 if one.marks else 0
        kept.append(replace(one, rows=rows, origin=origin, marks=marks))
    return kept


@dataclass(frozen=True, slots=True)
class _Splitting:
    stream: str
    rows: pa.RecordBatch
    key: tuple[str, ...]
    state: NestingState
    marking: bool

    def nested(self, places: list[int], *, flat: bool) -> list[Nested]:
        level = Level(self.rows.num_rows)
        spreading = Spreading(self.state.memory(self.stream), flat=flat)
        for place in places:
            name = self.rows.schema.field(place).name
            spreading.column(_entered(self.rows.column(place)), (name,), level)
        event = self._event(places, level)
        known = {} if flat else self.state.children(self.stream)
        if not (level.arrays or known):
            return [self._first(event)]
        refs, event = self._refs(event)
        has = {one.name: one for one in self.rows.schema if columns.is_ours(one) and one.name in INHERITED}
        above = Above(
            refs,
            np.arange(self.rows.num_rows),
            has,
            {name: self.rows.column(name) for name in has},
            self._deletes() if columns.OP_TYPE in has else None,
        )
        return [self._first(event), *self._below(self.stream, level, above)]

    def _first(self, event: pa.RecordBatch) -> Nested:
        return Nested(self.stream, event, None, _origin(np.arange(event.num_rows)))

    def _event(self, places: list[int], level: Level) -> pa.RecordBatch:
        """The event's own row: nested columns give way to those at the paths in them."""
        kept = [one.name for number, one in enumerate(self.rows.schema) if number not in places]
        taken = {*kept, *self.key, *OWN}
        fields: list[pa.Field] = []
        arrays: list[pa.Array] = []
        for number, one in enumerate(self.rows.schema):
            if number in places:
                made = pa.field if types.is_nested(one.type) else columns.measured
                for path, values in level.leaves.items():
                    if path[0] == one.name:
                        fields.append(made(self.state.field(self.stream, path, taken), values.type))
                        arrays.append(values)
            else:
                own = columns.is_ours(one) or one.name in self.key
                fields.append(one if own else one.with_name(self.state.own(self.stream, one.name, taken)))
                arrays.append(self.rows.column(number))
        schema = pa.schema(fields, metadata=self.rows.schema.metadata)
        if not arrays:
            nothing = pa.array([{}] * self.rows.num_rows, pa.struct([]))
            return pa.RecordBatch.from_struct_array(nothing).replace_schema_metadata(schema.metadata)
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _refs(self, event: pa.RecordBatch) -> tuple[pa.StringArray, pa.RecordBatch]:
        """The key of each event as text. An event without one gets the digest of what it says."""
        if self.key:
            return joined([_at(self.rows, name) for name in self.key]), event
        if columns.ID in self.rows.schema.names:
            return joined([self.rows.column(columns.ID)]), event
        shown = [one.name for one in self.rows.schema if not columns.is_ours(one)]
        ids = digests(pa.array(to_json(self.rows.select(shown)), pa.string()))
        return ids, event.append_column(columns.ours(columns.ID, pa.string()), ids)

    @property
    def _measured(self) -> bool:
        """The types of what is nested follow from its values: all of it is JSON."""
        return not any(types.is_nested(one.type) for one in self.rows.schema)

    def _deletes(self) -> pa.BooleanArray:
        return pc.fill_null(pc.equal(types.storage(self.rows.column(columns.OP_TYPE)), "D"), False)

    def _below(self, stream: str, level: Level, above: Above) -> list[Nested]:
        """The items of the level's arrays, and of arrays in them."""
        found: list[Nested] = []
        known = self.state.children(stream)
        for path in dict.fromkeys((*known, *level.arrays)):
            items = level.arrays.get(path) or Items(np.zeros(0, np.int64), Level(0))
            if path not in known and not items.level.count:
                continue
            if above.gone is not None:
                items = _without(items, above.gone)
            name = self.state.child(stream, path)
            made = children(items, path, above)
            fields = [(self.state.field(name, at, OWN), values) for at, values in items.level.leaves.items()]
            rows, origin, marks = table(made, items.owner, fields, above, marking=self.marking, measured=self._measured)
            key = (columns.ID,) if self.key or columns.ID in self.rows.schema.names else ()
            if rows.num_rows:
                path_text = "_".join(path) or VALUE
                found.append(Nested(name, rows, key, _origin(origin), stream, path_text, marks))
            if items.level.count:
                found += self._below(name, items.level, above.of(items.owner, made.ids))
        return found


def _without(items: Items, gone: pa.BooleanArray) -> Items:
    """The items without those of deleted events."""
    keep = ~gone.to_numpy(zero_copy_only=False)[items.owner]
    if keep.all():
        return items
    mask = pa.array(keep)
    level = Level(int(keep.sum()))
    level.leaves = {path: values.filter(mask) for path, values in items.level.leaves.items()}
    places = np.cumsum(keep) - 1
    for path, below in items.level.arrays.items():
        stays = keep[below.owner]
        inner = _without(Items(below.owner, below.level), pa.array(~keep))
        level.arrays[path] = Items(places[below.owner[stays]], inner.level)
    return Items(items.owner[keep], level)


def _is_nested(one: pa.Field, key: tuple[str, ...]) -> bool:
    if columns.is_ours(one) or one.name in key:
        return False
    return types.kind(types.canonical(one.type)) in ("JSON", "STRUCT", "ARRAY")


def _entered(values: pa.Array) -> pa.Array:
    """The values in the types of the list; JSON with a null for JSON's null."""
    found = entered(values)
    if found.bad is not None:
        return of_type(as_text(values), types.JSON)
    return found.values


def _at(rows: pa.RecordBatch, name: str) -> pa.Array:
    place = rows.schema.get_field_index(name)
    return rows.column(place) if place >= 0 else pa.nulls(rows.num_rows, pa.string())


def _origin(rows: np.ndarray) -> pa.Array:
    return pa.array(rows.astype(np.int32))
