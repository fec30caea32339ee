"""How a stream's columns become a table's columns, and how that follows the source."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from millrace.connect.destination import Column, Limits, Meta, Table
from millrace.connect.naming import compress, sanitize, unique
from millrace.connect.source import Stream
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.data.cast import cast
from millrace.data.columns import Prefix
from millrace.data.compute import pc

# Columns that every table needs for metadata (loading.md 18: mappable columns = limit - 6).
RESERVED_COLUMNS = 6

# Integers up to here are exact in a DOUBLE.
_EXACT = 1 << 53

Rules = Literal["edge", "classic"]


@dataclass(frozen=True, slots=True)
class Naming:
    """How names are made at one destination for one pipeline."""

    limits: Limits = field(default_factory=Limits)
    rules: Rules = "edge"
    prefix: Prefix = field(default_factory=Prefix)
    table_prefix: str = ""
    sanitized: bool = True

    def table(self, stream: Stream, taken: frozenset[str] = frozenset()) -> str:
        """The table for a stream: prefix in front, sanitized, short enough, not one of ``taken``."""
        prefix = self.table_prefix.rstrip("_") + "_" if self.table_prefix.strip("_") else ""
        return self._named(prefix + (stream.table or stream.name), self.limits.table_name, taken, table=True)

    def column(self, name: str, taken: frozenset[str]) -> str:
        """The column for a user's field. A reserved name gets `src_` in front."""
        return self._named(
            "src_" + name if self.prefix.reserves(name) else name, self.limits.column_name, taken, table=False
        )

    def _named(self, name: str, limit: int, taken: frozenset[str], *, table: bool) -> str:
        if self.sanitized:
            name = sanitize(name, rules=self.rules, case=self.limits.case, table=table)
        count_bytes = self.limits.count_bytes
        name = compress(name, limit, taken, count_bytes=count_bytes)
        return unique(name, taken, limit, count_bytes=count_bytes)


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """A field of the stream, and the column that takes it.

    ``exact``: every value of a LONG column so far is exact in a DOUBLE, so that it may become one (loading.md 14).
    """

    source: str
    name: str
    type: pa.DataType
    ours: bool = False
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Mapping:
    """How a stream's columns become a table's columns, each with a type. Versioned; never changed in place.

    ``unmapped`` names fields without a column, each with its reason (loading.md 15.7). Without ``auto`` nothing gets a
    column by itself; a stream that has none at all waits for somebody to map it (loading.md 15.6).
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

    def of(self, source: str) -> MappedColumn | None:
        return next((column for column in self.columns if column.source == source), None)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    def target(self, prefix: Prefix, *, name: str, loaded_at: bool) -> Table:
        """The table as it shall be at the destination, under ``name``."""
        has = {column.source for column in self.columns}
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
            loads=prefix.outside(columns.INSIDE + "_loads"),
        )
        return Table(
            name=name,
            columns=(*(Column(c.name, c.type) for c in self.columns), Column(meta.ingested_at, pa.int64())),
            meta=meta,
            key=tuple(column.name for source in self.key if (column := self.of(source))),
            mode=self.mode,
            order=(meta.source_modified_at,) if meta.source_modified_at else (),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "table": self.table,
            "columns": [
                {"source": c.source, "name": c.name, "type": types.name(c.type), "ours": c.ours, "exact": c.exact}
                for c in self.columns
            ],
            "key": list(self.key),
            "mode": self.mode,
            "deletes": self.deletes,
            "auto": self.auto,
            "unmapped": [list(pair) for pair in self.unmapped],
            "version": self.version,
        }

    @staticmethod
    def from_json(found: dict[str, Any]) -> Mapping:
        return Mapping(
            stream=found["stream"],
            table=found["table"],
            columns=tuple(
                MappedColumn(c["source"], c["name"], types.parse(c["type"]), c["ours"], c["exact"])
                for c in found["columns"]
            ),
            key=tuple(found["key"]),
            mode=found["mode"],
            deletes=found["deletes"],
            auto=found["auto"],
            unmapped=tuple((field_, reason) for field_, reason in found["unmapped"]),
            version=found["version"],
        )


def first(stream: Stream, naming: Naming, mode: LoadMode, *, auto: bool = True, taken: frozenset[str]) -> Mapping:
    """The first mapping of a stream: its table, its key, and the columns that its schema declares.

    Without a key nothing can be matched, so such a stream is appended (loading.md 4).
    """
    mapping = Mapping(
        stream=stream.name,
        table=naming.table(stream, taken),
        key=stream.key,
        mode=mode if stream.key else "append",
        deletes=stream.deletes,
        auto=auto,
    )
    return widened_by(mapping, stream.schema, naming) if auto and stream.schema is not None else mapping


def switched(mapping: Mapping, stream: Stream, naming: Naming, *, auto: bool) -> Mapping:
    """The mapping with auto mapping on or off. Switched on, fields that waited get their columns (loading.md 15.7)."""
    if mapping.auto == auto:
        return mapping
    waiting = tuple(pair for pair in mapping.unmapped if not (auto and pair[1] == "UNMAPPED_FIELD"))
    mapping = replace(mapping, auto=auto, unmapped=waiting, version=mapping.version + 1)
    return widened_by(mapping, stream.schema, naming) if auto and stream.schema is not None else mapping


def widened_by(mapping: Mapping, schema: pa.Schema, naming: Naming) -> Mapping:
    """The mapping with a column for every field of ``schema`` that has none yet. The same object when none is new."""
    known = {column.source for column in mapping.columns} | {name for name, _ in mapping.unmapped}
    new = [f for f in schema if f.name not in known and not _is_apart(f) and not pa.types.is_null(f.type)]
    if not new:
        return mapping
    added, unmapped = list(mapping.columns), list(mapping.unmapped)
    for field_ in new:
        # A key is needed even where the limit is reached.
        if not mapping.auto and field_.name not in mapping.key:
            unmapped.append((field_.name, "UNMAPPED_FIELD"))
        elif len(added) >= naming.limits.columns - RESERVED_COLUMNS and field_.name not in mapping.key:
            unmapped.append((field_.name, "COLUMN_LIMIT"))
        else:
            ours = columns.is_ours(field_)
            taken = frozenset(column.name for column in added)
            name = naming.prefix.outside(field_.name) if ours else naming.column(field_.name, taken)
            added.append(MappedColumn(field_.name, name, _fitting(types.canonical(field_.type), naming.limits), ours))
    return replace(mapping, columns=tuple(added), unmapped=tuple(unmapped), version=mapping.version + 1)


def _is_apart(field_: pa.Field) -> bool:
    """The engine itself gives such fields a place in every table."""
    return field_.name == columns.OP_TYPE or (field_.name == columns.INGESTED_AT and columns.is_ours(field_))


@dataclass(frozen=True, slots=True)
class Shaped:
    """A batch in table shape, the mapping that made it, and the rows that did not fit.

    ``misfits``: row numbers of the batch, each with code and message; those rows are not in ``rows``.
    """

    mapping: Mapping
    rows: pa.RecordBatch
    misfits: tuple[tuple[int, str, str], ...] = ()


def shape(mapping: Mapping, batch: pa.RecordBatch, naming: Naming, ingested_at_ms: int) -> Shaped:
    """The batch as rows of the mapping's table; types widen where its values ask for it (I6).

    Values pass unchanged, or in a form that keeps them exactly; a row with a value that cannot is a misfit. Rows that
    were ingested before, and are on their way again, bring their own time in a field `columns.ours(INGESTED_AT)`.
    """
    if not mapping.auto and not mapping.columns:
        text = f"auto mapping is off, and nobody has mapped {mapping.stream} to a table"
        misfit = ("UNMAPPED_EVENT_TYPE", text)
        return Shaped(mapping, batch.slice(0, 0), tuple((row, *misfit) for row in range(batch.num_rows)))
    mapping = widened_by(mapping, batch.schema, naming)
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    fitted: list[MappedColumn] = []
    misfits: dict[int, tuple[str, str]] = {}
    for column in mapping.columns:
        index = batch.schema.get_field_index(column.source)
        if index < 0:
            values, kept, bad = pa.nulls(batch.num_rows, column.type), column, None
        else:
            kept, values, bad = _fit(column, batch.column(index), mapping, naming.limits)
        if bad is not None:
            text = f"column {column.name}: the value does not fit {types.name(kept.type)}"
            for row in pc.indices_nonzero(bad).to_pylist():
                misfits.setdefault(row, ("INCOMPATIBLE_TYPE", text))  # I6
        if mapping.mode != "append" and column.source in mapping.key and values.null_count:
            for row in pc.indices_nonzero(values.is_null()).to_pylist():
                misfits.setdefault(row, ("NULL_PRIMARY_KEY", f"the key column {column.name} has no value"))
        fitted.append(kept)
        arrays.append(values)
        fields.append(pa.field(kept.name, kept.type))
    if any(new is not old for new, old in zip(fitted, mapping.columns, strict=True)):
        retyped = any(n.type != o.type for n, o in zip(fitted, mapping.columns, strict=True))
        version = mapping.version + 1 if retyped else mapping.version
        mapping = replace(mapping, columns=tuple(fitted), version=version)
    timed = batch.schema.get_field_index(columns.INGESTED_AT)
    if timed >= 0 and columns.is_ours(batch.schema.field(timed)):
        arrays.append(batch.column(timed))
    else:
        arrays.append(pa.repeat(pa.scalar(ingested_at_ms, pa.int64()), batch.num_rows))
    fields.append(pa.field(naming.prefix.outside(columns.INGESTED_AT), pa.int64()))
    operation = batch.schema.get_field_index(columns.OP_TYPE)
    if operation >= 0:
        arrays.append(batch.column(operation))
        fields.append(pa.field(naming.prefix.outside(columns.OP_TYPE), pa.string()))
    rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    if misfits:
        keep = pa.array([row not in misfits for row in range(batch.num_rows)])
        rows = rows.filter(keep)
    return Shaped(mapping, rows, tuple((row, code, text) for row, (code, text) in sorted(misfits.items())))


def _fit(
    column: MappedColumn, array: pa.Array, mapping: Mapping, limits: Limits
) -> tuple[MappedColumn, pa.Array, pa.Array | None]:
    """The array in the column's type, or in a wider one that the column then has; and where a value fits neither."""
    if pa.types.is_null(array.type):
        return column, pa.nulls(len(array), column.type), None
    incoming = types.canonical(array.type)
    if incoming == column.type == array.type:
        return _noted(column, array), array, None
    casted = cast(array, column.type, strict=mapping.auto)
    if casted.bad is not None and mapping.auto and column.source not in mapping.key:
        wider = _fitting(_joined(column, incoming, array), limits)
        if wider != column.type:
            column = replace(column, type=wider)
            casted = cast(array, wider, strict=True)
    return _noted(column, casted.values), casted.values, casted.bad


def _joined(column: MappedColumn, incoming: pa.DataType, array: pa.Array) -> pa.DataType:
    """The wider type. LONG beside FLOAT or DOUBLE is a DOUBLE as long as no value seen would lose a digit."""
    floats = (pa.float32(), pa.float64())
    if column.type == pa.int64() and incoming in floats and column.exact:
        return pa.float64()
    if column.type == pa.float32() and incoming == pa.int64() and _is_exact(array):
        return pa.float64()
    return types.widen(column.type, incoming)


def _noted(column: MappedColumn, values: pa.Array) -> MappedColumn:
    if column.exact and column.type == pa.int64() and not _is_exact(values):
        return replace(column, exact=False)
    return column


def _is_exact(values: pa.Array) -> bool:
    bounds = pc.min_max(values).as_py()
    return bounds["min"] is None or (bounds["min"] >= -_EXACT and bounds["max"] <= _EXACT)


def _fitting(type_: pa.DataType, limits: Limits) -> pa.DataType:
    """The type itself, or text where the destination has nothing as wide."""
    if pa.types.is_decimal(type_) and type_.precision > limits.max_decimal:
        return pa.string()
    return type_
