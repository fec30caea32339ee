"""A batch brought into the shape of its mapping's table; what does not fit is named, or left out as the policy says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as Dict
from dataclasses import field, replace

import pyarrow as pa

from millrace.connect import sizing
from millrace.connect.sizing import Oversize
from millrace.data import columns, types
from millrace.data.cast import cast, fits
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.engine.mapping import MappedColumn, Mapping, fitting, learned, policy_of, widened_by
from millrace.engine.naming import Naming
from millrace.engine.policy import Action, Policy

# Integers up to here are exact in a DOUBLE.
_EXACT = 1 << 53


@dataclass(frozen=True, slots=True)
class Shaped:
    """A batch in table shape, the mapping that made it, and what became of rows and values that did not fit.

    ``misfits``: row numbers of the batch, each with code and message; those rows are not in ``rows``. ``filtered``:
    rows left out on purpose, by reason: rows of the batch = rows + misfits + filtered (I5). ``discarded``: values that
    the policy left out of rows that are loaded, by field and code. ``out``: row numbers of those that the policy for
    fields or values left out.
    """

    mapping: Mapping
    rows: pa.RecordBatch
    misfits: tuple[tuple[int, str, str], ...] = ()
    filtered: Dict[str, int] = field(default_factory=dict[str, int])
    discarded: Dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    out: tuple[int, ...] = ()


def shape(
    mapping: Mapping,
    batch: pa.RecordBatch,
    naming: Naming,
    ingested_at_ms: int,
    *,
    policy: Policy | None = None,
) -> Shaped:
    """The batch as rows of the mapping's table; types widen where its values ask for it (I6).

    Values pass unchanged, or in a form that keeps them exactly; a row with a value that cannot is a misfit. Rows that
    were ingested before, and are on their way again, bring their own time in a field `columns.ours(INGESTED_AT)`.
    ``policy`` is the pipeline's, for streams without one of their own.
    """
    batch = columns.own_names(batch, mapping.key)
    if mapping.skipped:
        return _none_of(mapping, batch, "skipped")
    chosen = policy_of(mapping, policy)
    if not mapping.mapped:
        if chosen.tables != "evolve":
            return _homeless(mapping, batch, chosen.tables, naming)
        mapping = replace(mapping, mapped=True, version=mapping.version + 1)
    mapping = widened_by(mapping, batch.schema, naming, policy=policy, rows=batch)
    made = _Shaping(mapping, batch, naming, chosen)
    made.turn_away_new_fields()
    made.turn_away_keyless()
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    fitted: list[MappedColumn] = []
    for column in mapping.columns:
        kept, values = made.fitted(column)
        fitted.append(kept)
        arrays.append(values)
        fields.append(made.field(kept))
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
    if operation >= 0 and columns.is_ours(batch.schema.field(operation)):
        arrays.append(batch.column(operation))
        fields.append(pa.field(naming.prefix.outside(columns.OP_TYPE), pa.string()))
    length = batch.schema.get_field_index(columns.ARRAY_LENGTH)
    if length >= 0 and columns.is_ours(batch.schema.field(length)):
        arrays.append(batch.column(length))
        fields.append(pa.field(columns.ARRAY_LENGTH, pa.int32()))
    unchanged = batch.schema.get_field_index(columns.UNCHANGED)
    if unchanged >= 0 and columns.is_ours(batch.schema.field(unchanged)):
        arrays.append(_unchanged(mapping, batch.column(unchanged)))
        fields.append(pa.field(columns.UNCHANGED, pa.string()))
    rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    return made.ended(mapping, rows)


def _unchanged(mapping: Mapping, found: pa.Array) -> pa.Array:
    """Names of the columns of fields that each row does not say; null where it says all. Rows that a destination
    refused name columns already."""
    names = {column.name: column.name for column in mapping.columns}
    names |= {column.source: column.name for column in mapping.columns}
    between = columns.BETWEEN

    def named(text: str | None) -> str | None:
        kept = [names[one] for one in (text or "").split(between) if one in names]
        return between + between.join([*kept, ""]) if kept else None

    known = {text: named(text) for text in pc.unique(found).to_pylist()}
    return pa.array([known[text] for text in found.to_pylist()], pa.string())


def _none_of(mapping: Mapping, batch: pa.RecordBatch, reason: str) -> Shaped:
    filtered = {reason: batch.num_rows} if batch.num_rows else {}
    return Shaped(mapping, batch.slice(0, 0), filtered=filtered)


def _homeless(mapping: Mapping, batch: pa.RecordBatch, action: Action, naming: Naming) -> Shaped:
    """No row passes, because the stream has no table. What its fields are is kept for whoever maps it, and metadata
    have their columns, so that the table is shown as it will be."""
    mapping = widened_by(mapping, pa.schema([one for one in batch.schema if columns.is_ours(one)]), naming)
    mapping = learned(mapping, [one for one in batch.schema if not columns.is_ours(one)])
    if action != "freeze":
        return _none_of(mapping, batch, "unmapped_event_type")
    why = "is new, and new event types are not allowed" if mapping.auto else "has no table, and auto mapping is off"
    misfit = ("UNMAPPED_EVENT_TYPE", f"{mapping.stream} {why}; somebody must map it")
    return Shaped(mapping, batch.slice(0, 0), tuple((row, *misfit) for row in range(batch.num_rows)))


class _Shaping:
    """The rows and values of one batch that do not pass, gathered while its columns are fitted."""

    def __init__(self, mapping: Mapping, batch: pa.RecordBatch, naming: Naming, policy: Policy) -> None:
        self.mapping, self.batch, self.limits, self.policy = mapping, batch, naming.limits, policy
        self.oversize: Oversize = naming.oversize
        self.misfits: dict[int, tuple[str, str]] = {}
        self.dropped: pa.BooleanArray | None = None
        self.filtered: Counter[str] = Counter()
        self.discarded: Counter[tuple[str, str]] = Counter()

    def turn_away_new_fields(self) -> None:
        """Rows with a value in a field that may get no column are misfits, or out, where the policy says so."""
        if self.policy.columns not in ("freeze", "discard_row"):
            return
        for name, reason in self.mapping.unmapped:
            index = self.batch.schema.get_field_index(name)
            if reason == "UNMAPPED_FIELD" and index >= 0:
                text = f"the field {name} has no column, and new columns are not allowed"
                filled = self.batch.column(index).is_valid()
                self._turn_away(filled, self.policy.columns, name, "UNMAPPED_FIELD", text)

    def turn_away_keyless(self) -> None:
        """No row passes of a batch that lacks a field of the key for which there is no column yet."""
        if lacking := self.mapping.lacking:
            for row in range(self.batch.num_rows):
                self.misfits[row] = ("NULL_PRIMARY_KEY", f"the key field {lacking[0]} has no value")

    def fitted(self, column: MappedColumn) -> tuple[MappedColumn, pa.Array]:
        """The column's values in its type, or in a wider one that the column then has."""
        mapping, index = self.mapping, self.batch.schema.get_field_index(column.source)
        if index < 0:
            values = pa.nulls(self.batch.num_rows, column.type)
        else:
            measured = columns.is_measured(self.batch.schema.field(index))
            column, values = self._fit(column, self.batch.column(index), measured)
        if mapping.mode != "append" and column.source in mapping.key and values.null_count:
            for row in pc.indices_nonzero(values.is_null()).to_pylist():
                self.misfits.setdefault(row, ("NULL_PRIMARY_KEY", f"the key column {column.name} has no value"))
        return column, values

    def field(self, column: MappedColumn) -> pa.Field:
        """The column on the stage, where it says still whether the digits of a decimal were declared. Whole numbers
        declare none: decimals that come later may go into the same file."""
        index = self.batch.schema.get_field_index(column.source)
        one = self.batch.schema.field(index) if index >= 0 else None
        whole = one is not None and types.is_integer(one.type) and not column.fixed
        made = columns.measured if one is not None and (whole or columns.is_measured(one)) else pa.field
        return made(column.name, column.type)

    def ended(self, mapping: Mapping, rows: pa.RecordBatch) -> Shaped:
        """The rows that pass, and an account of the others (I5)."""
        out: tuple[int, ...] = ()
        if self.dropped is not None:
            out = tuple(pc.indices_nonzero(self.dropped).to_pylist())
            self.misfits = {row: self.misfits[row] for row in self.misfits.keys() - set(out)}
        if self.misfits or self.dropped is not None:
            keep = pa.repeat(pa.scalar(True), rows.num_rows)
            if self.dropped is not None:
                keep = pc.invert(self.dropped)
            if self.misfits:
                bad = pa.array(sorted(self.misfits), pa.int64())
                places = pa.array(range(rows.num_rows), pa.int64())
                keep = pc.and_(keep, pc.invert(pc.is_in(places, value_set=bad)))
            rows = rows.filter(keep)
        misfits = tuple((row, code, text) for row, (code, text) in sorted(self.misfits.items()))
        return Shaped(mapping, rows, misfits, dict(self.filtered), dict(self.discarded), out)

    def _fit(self, column: MappedColumn, array: pa.Array, measured: bool) -> tuple[MappedColumn, pa.Array]:
        if pa.types.is_null(array.type):
            return column, pa.nulls(len(array), column.type)
        incoming = types.canonical(array.type)
        if incoming == column.type == array.type and (self.limits.text is None or not types.is_text(column.type)):
            return _noted(column, array), array
        evolves = self.policy.types == "evolve" and not column.fixed
        # A person who maps by hand wants text to be read; the automatic path keeps also that it was text.
        by_hand = column.fixed or self.policy.types != "evolve"
        if types.is_text(column.type) and (types.length(column.type) or self.limits.text):
            column, array = self._lengthened(column, array, evolves, measured)
        casted = cast(array, column.type, strict=not by_hand, measured=measured)
        if casted.bad is not None and evolves and column.source not in self.mapping.key:
            wider = fitting(_joined(column, incoming, array), self.limits)
            if wider != column.type:
                column = replace(column, type=wider)
                casted = cast(array, wider, strict=True, measured=measured)
        if by_hand and fits(incoming, column.type) != "always":
            brings = types.widen(column.brings or incoming, incoming)
            column = column if brings == column.brings else replace(column, brings=brings)
        if casted.bad is not None:
            text = f"column {column.name}: the value does not fit {types.name(column.type)}"
            action: Action = "freeze" if self.policy.types == "evolve" else self.policy.types
            self._turn_away(casted.bad, action, column.source, "INCOMPATIBLE_TYPE", text)
        return _noted(column, casted.values), casted.values

    def _lengthened(
        self, column: MappedColumn, array: pa.Array, evolves: bool, measured: bool
    ) -> tuple[MappedColumn, pa.Array]:
        """The column, long enough for the values where it may grow; and the values, none of them too long for it."""
        written = cast(array, types.VARCHAR, strict=True, measured=measured)
        limits = self.limits.text
        unit = limits.unit if limits else "characters"
        present = types.length(column.type)
        longest = sizing.longest(written.values, unit)
        if present is None and limits is not None and limits.most is not None:
            present = limits.most
        if present is None or longest <= present:
            return column, array
        grown: int | None = present
        if evolves and column.source not in self.mapping.key:
            grown = sizing.next_size(limits, present, longest) if limits else None
            column = replace(column, type=types.VARCHAR if grown is None else types.varchar(grown))
        if grown is None:
            return column, array
        sized = sizing.within(written.values, grown, unit, self._oversize(column, array))
        if sized.changed:
            self.discarded[column.source, "STRING_TOO_LONG"] += sized.changed
        if sized.bad is not None:
            text = f"column {column.name}: the text is longer than {grown:,} {unit}"
            action: Action = "freeze" if self.policy.types == "evolve" else self.policy.types
            self._turn_away(sized.bad, action, column.source, "STRING_TOO_LONG", text)
        return column, sized.values

    def _oversize(self, column: MappedColumn, array: pa.Array) -> Oversize:
        """What becomes of text that the column cannot take. Keys would be others, and JSON that is cut is none."""
        if column.source in self.mapping.key or (self.oversize == "TRUNCATE" and not _is_plain(array)):
            return "FAIL"
        return self.oversize

    def _turn_away(self, bad: pa.Array, action: Action, source: str, code: str, text: str) -> None:
        """Rows or values that cannot pass are misfits, out, or left out of their rows, as the policy says."""
        if action == "discard_row":
            new = bad if self.dropped is None else pc.and_not(bad, self.dropped)
            self.dropped = new if self.dropped is None else pc.or_(self.dropped, new)
            if count := pc.sum(new).as_py():
                self.filtered[code.lower()] += count
        elif action == "discard_value":
            self.discarded[source, code] += pc.sum(bad).as_py() or 0
        else:
            for row in pc.indices_nonzero(bad).to_pylist():
                self.misfits.setdefault(row, (code, text))  # I6


def _is_plain(array: pa.Array) -> bool:
    return pa.types.is_string(array.type) or (isinstance(array.type, types.TextType) and types.is_text(array.type))


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
