"""How a stream's columns become a table's columns, and how that follows the source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from millrace.connect import sizing
from millrace.connect.destination import Column, Limits, Meta, Nest, Table
from millrace.connect.naming import Taken
from millrace.connect.source import Stream
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.data.columns import Prefix
from millrace.data.dataclass import dataclass
from millrace.engine.naming import Naming
from millrace.engine.policy import ALLOW_ALL, BY_HAND, Policy
from millrace.errors import ConfigError

__all__ = ["MappedColumn", "Mapping", "Naming", "StagedColumn", "first", "policy_of", "switched", "widened_by"]

# Columns that every table needs for metadata (loading.md 18: mappable columns = limit - 6).
RESERVED_COLUMNS = 6

# Why a field has no column (loading.md 15.7).
Unmapped: TypeAlias = Literal["UNMAPPED_FIELD", "COLUMN_LIMIT", "NAME_CONFLICT"]


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """A field of the stream, and the column that takes it.

    ``exact``: every value of a LONG column so far is exact in a DOUBLE, so that it may become one (loading.md 14).
    ``fixed``: a person chose the type, so it stays. ``formerly``: names that the column had; staged rows may still
    carry them, so no other column of the mapping gets one. ``brings``: the type of values that came for a column of
    which not all of that type fit it; None where there were none.
    """

    source: str
    name: str
    type: pa.DataType
    ours: bool = False
    exact: bool = True
    fixed: bool = False
    formerly: tuple[str, ...] = ()
    brings: pa.DataType | None = None

    @property
    def names(self) -> frozenset[str]:
        """Its name and those that it had."""
        return frozenset((self.name, *self.formerly))


@dataclass(frozen=True, slots=True)
class StagedColumn:
    """A column as rows have it that were staged before a person took it away or chose another type for it.

    Segments of ``generation`` up to the number ``upto`` are loaded with it, so that nothing of them is lost.
    """

    name: str
    type: pa.DataType
    generation: int
    upto: int
    formerly: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Around:
    """Tables of items of arrays around one: the one above, where that is of items too, and those below, top down."""

    parent: str | None
    below: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """How a stream's columns become a table's columns, each with a type. Versioned; never changed in place.

    ``unmapped`` names fields without a column, each with its reason (loading.md 15.7), ``found`` the types of their
    values. ``ignored`` fields are dropped without a word. Without ``auto`` nothing gets a column by itself.
    """

    stream: str
    table: str
    columns: tuple[MappedColumn, ...] = ()
    key: tuple[str, ...] = ()
    """Fields of the stream (not columns) that identify a row."""
    mode: LoadMode = "merge"
    deletes: bool = False
    auto: bool = True
    unmapped: tuple[tuple[str, str], ...] = ()
    version: int = 1
    mapped: bool = True
    """The stream has a table; else its rows wait for somebody to map it (loading.md 15.6)."""
    skipped: bool = False
    """The stream is left out on purpose."""
    own_auto: bool | None = None
    """Auto mapping of this stream alone; None: as the pipeline has it."""
    own_key: bool = False
    """A person chose the key."""
    policy: Policy | None = None
    """What happens to what is new in this stream; None: as the pipeline says."""
    ignored: tuple[str, ...] = ()
    found: tuple[tuple[str, pa.DataType], ...] = ()
    staged: tuple[StagedColumn, ...] = ()
    source: str | None = None
    """The source's stream whose rows became those of this one; None: this is one of the source's."""
    also: tuple[str, ...] = ()
    """Other streams of the source of which rows became those of this one."""
    parent: str | None = None
    """The event type in whose arrays the rows were; None: they are no items of arrays."""
    nested: tuple[tuple[str, str], ...] = ()
    """Names of what nested values became (`engine.nesting.NestingState`)."""

    def of(self, source: str) -> MappedColumn | None:
        return next((column for column in self.columns if column.source == source), None)

    @property
    def sources(self) -> frozenset[str]:
        """The source's streams of which rows are rows of this one."""
        return frozenset((self.source or self.stream, *self.also))

    @property
    def lacking(self) -> list[str]:
        """Fields of the key that have no column yet: until then no row passes, so there is no table either."""
        return [name for name in self.key if self.of(name) is None] if self.mode != "append" else []

    @property
    def names(self) -> frozenset[str]:
        """Names that no new column may have: those of the columns, now and formerly."""
        return frozenset(name for column in self.columns for name in column.names)

    def shape(self, generation: int = 0, held: int = 0) -> tuple[Column, ...]:
        """The columns that segments of ``generation`` above the number ``held`` are loaded into."""
        shown = [Column(c.name, c.type, c.formerly) for c in self.columns]
        for one in self.staged:
            if one.generation != generation or one.upto <= held:
                continue
            names = {one.name, *one.formerly}
            at = next((i for i, c in enumerate(shown) if names & {c.name, *c.formerly}), None)
            if at is None:
                shown.append(Column(one.name, one.type, one.formerly))
            else:
                shown[at] = replace(shown[at], type=types.widen(shown[at].type, one.type))
        return tuple(shown)

    def target(
        self,
        prefix: Prefix,
        *,
        name: str,
        loaded_at: bool,
        generation: int = 0,
        held: int = 0,
        around: Around | None = None,
    ) -> Table:
        """The table as it shall be at the destination, under ``name``, for segments above ``held``.

        ``around``: the tables above and below, where the rows are items of arrays.
        """
        has = {column.source for column in self.columns if column.ours}
        meta = Meta(
            ingested_at=prefix.outside(columns.INGESTED_AT),
            sequence=columns.SEQUENCE,
            op_type=prefix.outside(columns.OP_TYPE),
            loaded_at=prefix.outside(columns.LOADED_AT) if loaded_at else None,
            marked_deleted=prefix.outside(columns.MARKED_DELETED) if self.deletes else None,
            source_modified_at=prefix.outside(columns.SOURCE_MODIFIED_AT)
            if columns.SOURCE_MODIFIED_AT in has
            else None,
            valid_from=prefix.outside(columns.VALID_FROM),
            valid_to=prefix.outside(columns.VALID_TO),
            is_active=prefix.outside(columns.IS_ACTIVE),
            loads=prefix.outside(columns.LOADS),
        )
        return Table(
            name=name,
            columns=(*self.shape(generation, held), Column(meta.ingested_at, pa.int64())),
            meta=meta,
            key=tuple(column.name for source in self.key if (column := self.of(source))),
            mode=self.mode,
            order=(meta.source_modified_at,) if meta.source_modified_at else (),
            nest=Nest(
                id=prefix.outside(columns.ID),
                ref=prefix.outside(columns.REF_ID),
                index=prefix.outside(columns.ARRAY_INDEX),
                parent=around.parent if around else None,
                below=around.below if around else (),
            )
            if self.parent is not None
            else None,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "table": self.table,
            "columns": [_column_json(column) for column in self.columns],
            "key": list(self.key),
            "mode": self.mode,
            "deletes": self.deletes,
            "auto": self.auto,
            "unmapped": [list(pair) for pair in self.unmapped],
            "version": self.version,
            "mapped": self.mapped,
            "skipped": self.skipped,
            "own_auto": self.own_auto,
            "own_key": self.own_key,
            "policy": self.policy and self.policy.to_json(),
            "ignored": list(self.ignored),
            "found": [[name, types.name(type_)] for name, type_ in self.found],
            "staged": [
                [one.name, types.name(one.type), one.generation, one.upto, list(one.formerly)] for one in self.staged
            ],
            "source": self.source,
            "also": list(self.also),
            "parent": self.parent,
            "nested": [list(pair) for pair in self.nested],
        }

    @staticmethod
    def from_json(found: dict[str, Any]) -> Mapping:
        """The mapping that was kept. Documents of earlier versions of Millrace lack what they did not know."""
        made = tuple(_column_of(one, found["key"]) for one in found["columns"])
        return Mapping(
            stream=found["stream"],
            table=found["table"],
            columns=made,
            key=tuple(found["key"]),
            mode=found["mode"],
            deletes=found["deletes"],
            auto=found["auto"],
            unmapped=tuple((field_, reason) for field_, reason in found["unmapped"]),
            version=found["version"],
            mapped=found.get("mapped", found["auto"] or bool(made)),
            skipped=found.get("skipped", False),
            own_auto=found.get("own_auto"),
            own_key=found.get("own_key", False),
            policy=Policy.from_json(found["policy"]) if found.get("policy") else None,
            ignored=tuple(found.get("ignored", ())),
            found=tuple((name, types.parse(type_)) for name, type_ in found.get("found", ())),
            staged=tuple(
                StagedColumn(name, types.parse(type_), generation, upto, tuple(formerly))
                for name, type_, generation, upto, formerly in found.get("staged", ())
            ),
            source=found.get("source"),
            also=tuple(found.get("also", ())),
            parent=found.get("parent"),
            nested=tuple((path, name) for path, name in found.get("nested", ())),
        )


def _column_json(column: MappedColumn) -> dict[str, Any]:
    return {
        "source": column.source,
        "name": column.name,
        "type": types.name(column.type),
        "ours": column.ours,
        "exact": column.exact,
        "fixed": column.fixed,
        "formerly": list(column.formerly),
        "brings": None if column.brings is None else types.name(column.brings),
    }


def _column_of(found: dict[str, Any], key: list[str]) -> MappedColumn:
    source = found["source"]
    return MappedColumn(
        # Rows had such fields under their own names when this was kept by an earlier version of Millrace.
        source if found["ours"] or source in key else columns.own_name(source),
        found["name"],
        types.parse(found["type"]),
        found["ours"],
        found["exact"],
        found.get("fixed", False),
        tuple(found.get("formerly", ())),
        types.parse(found["brings"]) if found.get("brings") else None,
    )


def policy_of(mapping: Mapping, pipeline: Policy | None = None) -> Policy:
    """What happens to what is new in this stream: its own policy, else none by itself without auto mapping, else the
    pipeline's, else everything has its place made."""
    if mapping.policy is not None:
        return mapping.policy
    return (pipeline or ALLOW_ALL) if mapping.auto else BY_HAND


def first(
    stream: Stream,
    naming: Naming,
    mode: LoadMode,
    *,
    auto: bool = True,
    taken: frozenset[str],
    policy: Policy | None = None,
    known: bool = True,
) -> Mapping:
    """The first mapping of a stream: its table, its key, and the columns that its schema declares.

    Without a key nothing can be matched, so such a stream is appended (loading.md 4). ``known`` False: the stream was
    met after the pipeline had begun, so that ``policy`` decides whether it gets a table.
    """
    mapping = Mapping(
        stream=stream.name,
        table=naming.table(stream, taken),
        key=stream.key,
        mode=mode if stream.key else "append",
        deletes=stream.deletes,
        auto=auto,
        mapped=auto and (known or (policy or ALLOW_ALL).tables == "evolve"),
    )
    if not mapping.mapped or stream.schema is None:
        return mapping
    return widened_by(mapping, columns.renamed(stream.schema, stream.key), naming, policy=policy)


def switched(mapping: Mapping, stream: Stream, naming: Naming, *, auto: bool, policy: Policy | None = None) -> Mapping:
    """The mapping with the pipeline's auto mapping on or off, unless the stream has its own.

    Switched on, fields that waited get their columns (loading.md 15.7).
    """
    auto = auto if mapping.own_auto is None else mapping.own_auto
    if mapping.auto == auto:
        return mapping
    waiting = tuple(pair for pair in mapping.unmapped if not (auto and pair[1] == "UNMAPPED_FIELD"))
    mapping = replace(mapping, auto=auto, unmapped=waiting, version=mapping.version + 1)
    if not auto or stream.schema is None or not mapping.mapped:
        return mapping
    return widened_by(mapping, columns.renamed(stream.schema, stream.key), naming, policy=policy)


def widened_by(
    mapping: Mapping,
    schema: pa.Schema,
    naming: Naming,
    *,
    policy: Policy | None = None,
    rows: pa.RecordBatch | None = None,
) -> Mapping:
    """The mapping with a column for every field of ``schema`` that has none yet and may have one; others are unmapped.

    The same object when nothing is new. ``rows``: values by which text columns get their size. Metadata that Millrace
    made, the key, and the fields with which an event type begins have their columns whatever the policy.
    """
    evolves = policy_of(mapping, policy).columns == "evolve" or _begins(mapping)
    waiting = {name for name, reason in mapping.unmapped if not (evolves and reason == "UNMAPPED_FIELD")}
    known = {column.source for column in mapping.columns} | waiting | {*mapping.ignored}
    new = [f for f in schema if f.name not in known and not _is_apart(f) and not pa.types.is_null(f.type)]
    if not new:
        return _seen(mapping, schema) if waiting else mapping
    added, unmapped = list(mapping.columns), dict(mapping.unmapped)
    taken = Taken(mapping.names)
    for field_ in new:
        reason = None
        needed = field_.name in mapping.key
        # A key is needed even where the limit is reached.
        if not evolves and not needed and not columns.is_ours(field_):
            reason = "UNMAPPED_FIELD"
        elif len(added) >= naming.limits.columns - RESERVED_COLUMNS and not needed:
            reason = "COLUMN_LIMIT"
        else:
            column = _column(field_, taken, naming, rows)
            if column is None:
                reason = "NAME_CONFLICT"
            else:
                added.append(column)
                taken.add(column.name)
        unmapped.pop(field_.name, None)
        if reason is not None:
            unmapped[field_.name] = reason
    gone = {column.source for column in added}
    mapping = replace(
        mapping,
        columns=tuple(added),
        unmapped=tuple(unmapped.items()),
        found=tuple(pair for pair in mapping.found if pair[0] not in gone),
        version=mapping.version + 1,
    )
    return _seen(mapping, schema) if unmapped else mapping


def _begins(mapping: Mapping) -> bool:
    """No field is known yet but those of the key, so that none of them is new (pipelines.md 19.12); and nobody said
    otherwise for this event type."""
    if not mapping.auto or mapping.policy is not None or mapping.unmapped or mapping.ignored:
        return False
    return all(column.ours or column.source in mapping.key for column in mapping.columns)


def _column(field_: pa.Field, taken: Taken, naming: Naming, rows: pa.RecordBatch | None) -> MappedColumn | None:
    """A new column for a field; None where no name is left for it."""
    ours = columns.is_ours(field_)
    try:
        name = naming.prefix.outside(field_.name) if ours else naming.column(field_.name, taken)
    except ConfigError:
        return None
    type_ = fitting(types.canonical(field_.type), naming.limits)
    if naming.limits.text is not None and types.is_text(type_) and not ours:
        type_ = _sized(field_, naming.limits.text, rows)
    return MappedColumn(field_.name, name, type_, ours)


def _sized(field_: pa.Field, limits: sizing.TextLimits, rows: pa.RecordBatch | None) -> pa.DataType:
    longest = 0
    if rows is not None:
        values = types.storage(rows.column(field_.name))
        longest = sizing.longest(values, limits.unit) if pa.types.is_string(values.type) else 0
    size = sizing.first_size(limits, declared=types.length(field_.type), longest=longest)
    return types.VARCHAR if size is None else types.varchar(size)


def _seen(mapping: Mapping, schema: pa.Schema) -> Mapping:
    """The mapping with the types of fields that have no column, for whoever maps them."""
    wanted = {name for name, _ in mapping.unmapped}
    return learned(mapping, [field_ for field_ in schema if field_.name in wanted])


def learned(mapping: Mapping, fields: list[pa.Field]) -> Mapping:
    """The mapping that knows of these fields' types; the same object when it knew. No new version: no row looks
    different for it."""
    found = dict(mapping.found)
    for field_ in fields:
        type_ = types.canonical(field_.type)
        if not pa.types.is_null(type_):
            found[field_.name] = types.widen(found.get(field_.name, type_), type_)
    return mapping if found == dict(mapping.found) else replace(mapping, found=tuple(found.items()))


def _is_apart(field_: pa.Field) -> bool:
    """The engine itself gives such fields a place in every table."""
    if field_.name in (columns.INGESTED_AT, columns.ARRAY_LENGTH, columns.UNCHANGED):
        return columns.is_ours(field_)
    return field_.name == columns.OP_TYPE and columns.is_ours(field_)


def fitting(type_: pa.DataType, limits: Limits) -> pa.DataType:
    """The type itself, or text where the destination has nothing as wide."""
    if pa.types.is_decimal(type_) and type_.precision > limits.max_decimal:
        return pa.string()
    return type_
