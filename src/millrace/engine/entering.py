"""The way of one batch into the draft: steps, nested values, mapping, and its rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from collections.abc import Mapping as Dict
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.connect.destination import Strategy
from millrace.connect.source import Note
from millrace.data.batch import Batch
from millrace.data.columns import REJECTS, own_names
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.described import described
from millrace.data.rows import to_json
from millrace.engine.mapping import Mapping, policy_of
from millrace.engine.mappings import Mappings
from millrace.engine.shaping import Shaped, shape
from millrace.engine.stage import Draft
from millrace.engine.standing import without_column
from millrace.engine.steps import Output, Step, alone, with_siblings
from millrace.errors import MillraceError

# Imported where nested values do not stay as they are.
if TYPE_CHECKING:
    from millrace.engine.nesting.nested import Nested


@dataclass(frozen=True, slots=True)
class Flight:
    """What happens to rows between source and mapping.

    ``step`` sees the rows of every stream; ``version`` is that of the transformation that it is. ``raw``: rows that
    come from the source are kept on the stage as they are, beside what becomes of them. ``strategy``: what becomes of
    nested values behind the step.
    """

    step: Step | None = None
    version: int | None = None
    raw: bool = False
    strategy: Strategy = "NATIVE"


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch beside the rows and rejects in the draft: rows created by event type (below 0 where rows
    became those of another), and rows left out by reason."""

    created: Dict[str, int] = field(default_factory=dict[str, int])
    filtered: Dict[str, int] = field(default_factory=dict[str, int])


def add(
    batch: Batch,
    mappings: Mappings,
    draft: Draft,
    ingested_at_ms: int,
    note: Callable[[Note], None],
    flight: Flight = Flight(),
) -> Added:
    """The batch is in the draft in table shape; rows that do not fit are among its rejects (I5)."""
    way = _Way(mappings, draft, ingested_at_ms, note, flight.strategy if batch.entry != "shaped" else "NATIVE")
    if flight.step is None or batch.entry in ("mapping", "shaped") or not batch.rows.num_rows:
        return _mapped(batch, None, way)
    key = mappings.as_read(batch.stream).key
    stepped = flight.step.apply(batch, key)
    siblings = with_siblings(stepped)
    if batch.entry == "steps_alone":
        stepped, siblings = alone(stepped), frozenset(range(batch.rows.num_rows))
    if stepped.refused:
        # It is known of which object they are, and by which key, also where none of them has passed yet.
        mappings.of(batch.stream)
        _refuse(batch, "steps", stepped.refused, way, siblings=batch.entry == "steps_alone")
    filtered: Counter[str] = Counter()
    if stepped.filtered:
        filtered["transformation"] = stepped.filtered
    created: Counter[str] = Counter()
    for output in stepped.outputs:
        mappings.born(output.stream, key if output.key is None else output.key, of=batch.stream)
        made = Made(batch, output, siblings)
        added = _mapped(Batch(output.stream, output.rows), made, way)
        # What is filtered is counted where it was read.
        out = sum(added.filtered.values())
        created[output.stream] += output.rows.num_rows - out
        created[batch.stream] += out
        created.update(added.created)
        filtered.update(added.filtered)
    through = batch.rows.num_rows - stepped.filtered - len(stepped.refused)
    if pc.count_distinct(pa.chunked_array([one.origin for one in stepped.outputs], pa.int32())).as_py() != through:
        raise MillraceError(
            f"a step of {batch.stream} neither passed, refused nor dropped some of its rows; nothing of them was kept",
            hint="This is a fault of Millrace. Please report it.",
            code="step_lost_rows",
        )
    created[batch.stream] -= through
    return Added(created, filtered)


@dataclass(frozen=True, slots=True)
class Made:
    """How steps made a batch: of which one, its place among what they made, and input rows that code made others of."""

    batch: Batch
    output: Output
    siblings: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Way:
    """What every part of one batch needs on its way from the steps to the draft."""

    mappings: Mappings
    draft: Draft
    ingested_at_ms: int
    note: Callable[[Note], None]
    strategy: Strategy


def _mapped(batch: Batch, made: Made | None, way: _Way) -> Added:
    """The batch, its nested values treated, is in the draft. ``made``: how steps made it."""
    known = way.mappings.of(batch.stream)
    batch = with_own_names(batch, known.key)
    if way.strategy != "NATIVE" and not known.skipped:
        parts = _parsed(batch, known, way)
        if len(parts) > 1 or parts[0].rows is not batch.rows:
            return _unnested(batch, parts, made, way)
    shaped = _shaped(batch.stream, batch.rows, way)
    if shaped.misfits:
        _refuse(batch, "mapping", shaped.misfits, way, made)
    _stage(shaped, way)
    return Added(filtered=shaped.filtered)


def _parsed(batch: Batch, known: Mapping, way: _Way) -> list[Nested]:
    from millrace.engine.nesting.nested import parsed

    return parsed(
        batch.stream,
        batch.rows,
        way.strategy,
        key=known.key,
        state=way.mappings.state,
        marking=known.mode == "merge",
    )


def _unnested(batch: Batch, parts: list[Nested], made: Made | None, way: _Way) -> Added:
    """All that became of the batch's events is in the draft. An event goes in whole: with a part that does not fit, it
    is refused as it was before its nested values were treated."""
    from millrace.engine.nesting.nested import without

    for part in parts:
        if part.parent is not None:
            way.mappings.born(part.stream, part.key or (), of=batch.stream, parent=part.parent, path=part.path)
    misfits: dict[int, tuple[str, str]] = {}
    before = dict(way.mappings.by_stream)
    while True:
        shapes = [_shaped(part.stream, part.rows, way) for part in parts]
        out = set(parts[0].origin.take(pa.array(shapes[0].out, pa.int64())).to_pylist())
        if any(out.intersection(part.origin.to_pylist()) for part in parts[1:] if out):
            way.mappings.by_stream.update(before)
            parts = [parts[0], *without(parts[1:], out)]
            continue
        found = {
            row: (code, text if part.parent is None else f"{part.stream}: {text}")
            for part, shaped in zip(parts, shapes, strict=True)
            for place, code, text in reversed(shaped.misfits)
            for row in (part.origin[place].as_py(),)
        }
        if not found:
            break
        misfits |= found
        # What the rows that go no further would have made of the mappings does not count.
        way.mappings.by_stream.update(before)
        parts = without(parts, misfits.keys())
    if misfits:
        refused = [(row, code, text) for row, (code, text) in sorted(misfits.items())]
        _refuse(batch, "mapping", refused, way, made)
    created: Counter[str] = Counter()
    filtered: Counter[str] = Counter()
    for part, shaped in zip(parts, shapes, strict=True):
        if part.parent is not None:
            # What is filtered is counted where it was read.
            gone = sum(shaped.filtered.values())
            created[part.stream] += part.rows.num_rows - gone
            created[batch.stream] += gone
        filtered.update(shaped.filtered)
        pairs = way.mappings.state.pairs(part.stream)
        _stage(replace(shaped, mapping=replace(shaped.mapping, nested=pairs)), way)
    return Added(created, filtered)


def _shaped(stream: str, rows: pa.RecordBatch, way: _Way) -> Shaped:
    """Rows in the shape of their table, and the mapping as it has become; it is kept in memory."""
    mappings = way.mappings
    known = mappings.of(stream)
    shaped = shape(known, rows, mappings.naming, way.ingested_at_ms, policy=mappings.policy)
    for name, reason in shaped.mapping.unmapped:
        if (name, reason) not in known.unmapped:
            policy = policy_of(shaped.mapping, mappings.policy)
            way.note(Note(reason, without_column(f"{name} of {stream}", reason, policy)))
    for name, code in shaped.discarded:
        way.note(_discarded(stream, name, code))
    return shaped


def _stage(shaped: Shaped, way: _Way) -> None:
    way.mappings.put(shaped.mapping)
    mapping = way.mappings.of(shaped.mapping.stream)
    way.draft.add(mapping.stream, mapping.table, shaped.rows, mapping.version)


def _refuse(
    batch: Batch,
    stage: str,
    refusals: Sequence[tuple[int, str, str]],
    way: _Way,
    of: Made | None = None,
    *,
    siblings: bool = False,
) -> None:
    """Rows of the batch are among the rejects of the draft, with what they need to try again (I5).

    A row of the steps goes through them again, so what is kept is the row before them; one that code made is kept as
    it is, lest it be made twice.
    """
    places = pa.array([row for row, _, _ in refusals], pa.int64())
    reasons = [(code, message) for _, code, message in refusals]
    at = datetime.fromtimestamp(way.ingested_at_ms / 1000, UTC)
    count = len(refusals)
    added: dict[str, list[Any]] = {
        "made": [False] * count,
        "types": [described(batch.rows.schema)] * count,
        "siblings": [siblings] * count,
    }
    if of is not None:
        made = [False] * count if of.output.made is None else of.output.made.take(places).to_pylist()
        came = of.output.origin.take(places)
        kinds = described(of.batch.rows.schema)
        added["made"] = made
        added["siblings"] = [row in of.siblings for row in came.to_pylist()]
        for name, before in (
            ("origin", to_json(of.batch.rows.take(came))),
            ("types", [kinds] * count),
            ("entered", [of.batch.stream] * count),
        ):
            own = added.get(name, [None] * count)
            added[name] = [mine if new else old for new, mine, old in zip(made, own, before, strict=True)]
    refused = rejects(batch.stream, stage, batch.rows.take(places), reasons, at)
    for name, values in added.items():
        field_ = REJECTS.field(name)
        refused = refused.set_column(REJECTS.get_field_index(name), field_, pa.array(values, field_.type))
    way.draft.reject(refused)  # I5


def rejects(
    stream: str, stage: str, rows: pa.RecordBatch, reasons: list[tuple[str, str]], at: datetime
) -> pa.RecordBatch:
    """Rows that could not pass, in the schema `columns.REJECTS`; ``reasons`` has (code, message) for each."""
    count = rows.num_rows
    columns: dict[str, list[Any]] = {
        "stream": [stream] * count,
        "stage": [stage] * count,
        "code": [code for code, _ in reasons],
        "message": [message for _, message in reasons],
        "row": to_json(rows),
        "rejected_at": [at] * count,
    }
    return pa.RecordBatch.from_pydict(
        {name: columns.get(name, [None] * count) for name in REJECTS.names}, schema=REJECTS
    )


def with_own_names(batch: Batch, key: Collection[str]) -> Batch:
    """The batch in which no field of the user's is taken for metadata."""
    rows = own_names(batch.rows, key)
    return batch if rows is batch.rows else replace(batch, rows=rows)


def _discarded(stream: str, name: str, code: str) -> Note:
    if code == "STRING_TOO_LONG":
        said = f"texts of the field {name} of {stream} that are longer than its column are cut or left out, as "
        return Note(code, said + "`on_oversize` of the destination or the policy says")
    return Note(
        code, f"values of the field {name} of {stream} that do not fit its column are not loaded, as its policy says"
    )
