"""Trials of a transformation: over samples, lines of a file, rows that were staged. Nothing is kept of them."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import pyarrow as pa
import sqlalchemy as sa

from millrace.connect.destination import Strategy
from millrace.connect.source import Stream
from millrace.control.books.ledger import Books
from millrace.control.database.tables import raw_files, samples, segments
from millrace.control.failed import rejects
from millrace.control.mapper import fittings, mapping_versions
from millrace.control.pipeline import pipelines
from millrace.control.reconciling.reconciliation import Cancelled
from millrace.control.running import crews
from millrace.control.transforming.trial_events import Event, batches, events_of, kept
from millrace.data import types
from millrace.data.batch import JSON, Batch
from millrace.data.columns import is_ours
from millrace.data.dataclass import dataclass
from millrace.data.described import as_described
from millrace.data.rows import to_batch
from millrace.engine.load_modes import mode_of
from millrace.engine.mapping import Mapping, first
from millrace.engine.mappings import Mappings
from millrace.engine.nesting.nested import parsed as taken_apart
from millrace.engine.shaping import shape
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.running.crews import Crew
    from millrace.engine.stage import Stage
    from millrace.engine.steps import Step, Stepped


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an event could not pass.

    ``line`` of the script, where it failed in one; ``frames`` are its own functions on the way there, the outermost
    first, where the step was traced.
    """

    code: str
    message: str
    line: int | None = None
    frames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event: the events that came out, none where it was dropped on purpose, or its failure."""

    output: tuple[Event, ...] = ()
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """What the events that came out would change at the destination."""

    table: str
    change: str


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of each event, in order; what would change at the destination; what the script printed."""

    outcomes: tuple[Outcome, ...]
    effects: tuple[Effect, ...] = ()
    printed: tuple[str, ...] = ()


Became: TypeAlias = Literal["unchanged", "changed", "split", "dropped", "failed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row before and after; ``after`` is empty where it was dropped or failed, for which ``error`` says why."""

    before: Event
    after: tuple[Event, ...]
    became: Became = "changed"
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """A draft over rows that were read before. ``counts``: passed unchanged, changed, split, dropped, failed.

    ``through`` is the version of the transformation that those rows had gone through already, if any.
    """

    rows: int
    counts: dict[str, int]
    failures: dict[str, int]
    differences: tuple[Difference, ...]
    effects: tuple[Effect, ...]
    through: int | None


def sampled(home: Home, pipeline: str, stream: str | None = None, *, limit: int | None = None) -> list[Event]:
    """Samples that the pipeline keeps, of one event type or of all. Raises ConfigError for one that it never saw."""
    home.actor.must("view")
    found = pipelines.find(home, pipeline)
    query = sa.select(samples).where(samples.c.pipeline_id == found.id)
    if stream is not None:
        query = query.where(samples.c.stream == _seen(home, pipeline, stream))
    with home.database.reading() as connection:
        rows = connection.execute(query.order_by(samples.c.stream, samples.c.number).limit(limit)).all()
    return [kept(row.stream, row.row, row.types) for row in rows]


def failed(home: Home, stage: Stage, pipeline: str, stream: str | None = None, *, limit: int = 10) -> list[Event]:
    """Events that a transformation of the pipeline could not let pass, as they went in.

    Raises ConfigError for an event type that the pipeline never saw.
    """
    home.actor.must("view")
    name = None if stream is None else _seen(home, pipeline, stream)
    choice = rejects.Choice(pipeline=pipeline, stream=name, stage="steps")
    found: list[Event] = []
    for one in rejects.replayable(home, stage, choice):
        for batch in one.rows.to_batches():
            for row in batch.to_pylist():
                found.append(_failed(row))
                if len(found) == limit:
                    return found
    return found


def _seen(home: Home, pipeline: str, stream: str) -> str:
    """The event type by its name in any case of letters, among those of which there is a mapping or a row."""
    found = pipelines.find(home, pipeline)
    known = set(mapping_versions.latest(home, found))
    with home.database.reading() as connection:
        query = sa.select(samples.c.stream).where(samples.c.pipeline_id == found.id)
        known.update(connection.execute(query.distinct()).scalars())
    known.update(one.stream for one in rejects.grouped(home, rejects.Choice(pipeline=pipeline), state=None))
    return mapping_versions.named(sorted(known), stream)


def _failed(row: dict[str, JSON]) -> Event:
    """A rejected row as the event that went into the transformation, without metadata of ours."""
    schema = as_described(row["types"]) if row.get("types") else pa.schema([])
    hidden = {one.name for one in schema if is_ours(one)}
    kinds = {one.name: types.name(one.type) for one in schema if one.name not in hidden}
    event = kept(row.get("entered") or row["stream"], row.get("origin") or row["row"], kinds)
    return replace(event, properties={name: one for name, one in event.properties.items() if name not in hidden})


def test(home: Home, step: Step, events: Sequence[Event], *, pipeline: str | None = None) -> Trial:
    """Each event has gone through the step by itself; with a pipeline, what its tables would become is told too."""
    outcomes: list[Outcome] = []
    mappings = None if pipeline is None else _mappings(home, pipeline)
    before = {} if mappings is None else dict(mappings.by_stream)
    strategy = "NATIVE" if pipeline is None else fittings.strategy_of(home, pipelines.find(home, pipeline))
    for batch, _ in batches(events):
        key = () if mappings is None else _key(mappings, batch.stream)
        stepped = step.apply(batch, key)
        outcomes += _outcomes(stepped, batch.rows.num_rows)
        if mappings is not None:
            _map(mappings, stepped, strategy)
    printed = tuple(getattr(step, "printed", ()))
    return Trial(tuple(outcomes), _effects(home, pipeline, before, mappings), printed)


@dataclass(frozen=True, slots=True)
class Personal:
    """A field of an event type that seems to hold personal data: what kind, told by its values or its name."""

    event_name: str
    field: str
    kind: str
    by: str
    rows: int
    share: float


def personal(events: Sequence[Event]) -> list[Personal]:
    """Fields of these events that seem to hold personal data, also inside of nested values."""
    from millrace.engine.blocks.detect import detect

    found: list[Personal] = []
    for name in dict.fromkeys(event.event_name for event in events):
        rows = to_batch([event.properties for event in events if event.event_name == name], None)
        found += [Personal(name, one.field, one.kind, one.by, one.rows, one.share) for one in detect(rows)]
    return found


def dry_run(
    home: Home, pipeline: str, step: Step, *, last: int = 1000, shown: int = 5, stopping: threading.Event | None = None
) -> DryRun:
    """The step over the last rows that were read or staged; nothing is written.

    Rows as they were read are taken where the pipeline keeps them, else rows of the stage: those of event types that
    the source gives, if there are any, as those that came about in flight never enter a transformation. ``shown``:
    how many rows of each outcome are told. Raises ConfigError when there are none, and Cancelled when ``stopping`` was
    set.
    """
    home.actor.must("transformations.edit")
    mappings = _mappings(home, pipeline)
    before = dict(mappings.by_stream)
    strategy = fittings.strategy_of(home, pipelines.find(home, pipeline))
    counts: Counter[str] = Counter(dict.fromkeys(get_args(Became), 0))
    failures: Counter[str] = Counter()
    differences: list[Difference] = []
    rows = 0
    through: int | None = None
    with crews.visit(home, pipeline) as ours:
        for batch, version in _latest(home, ours, mappings, last):
            if stopping is not None and stopping.is_set():
                raise Cancelled("the dry run was ended by hand", hint="It has changed nothing.")
            through = version if through is None else through
            rows += batch.rows.num_rows
            stepped = step.apply(batch, _key(mappings, batch.stream))
            _map(mappings, stepped, strategy)
            inputs = events_of(batch.stream, batch.rows)
            for event, outcome in zip(inputs, _outcomes(stepped, batch.rows.num_rows), strict=True):
                became = _became(event, outcome)
                counts[became] += 1
                if outcome.error is not None:
                    failures[f"{outcome.error.code}: {outcome.error.message}"] += 1
                if became != "unchanged" and counts[became] <= shown:
                    differences.append(Difference(event, outcome.output, became, outcome.error))
    if not rows:
        raise ConfigError(
            f"pipeline {pipeline!r} has no rows on its stage to try the draft on",
            hint="Run it first, or test on a file: `millrace transform test --events events.jsonl`.",
            code="no_rows",
        )
    return DryRun(
        rows, dict(counts), dict(failures), tuple(differences), _effects(home, pipeline, before, mappings), through
    )


def _became(event: Event, outcome: Outcome) -> Became:
    if outcome.error is not None:
        return "failed"
    if not outcome.output:
        return "dropped"
    if len(outcome.output) > 1:
        return "split"
    return "unchanged" if all(_same(event, after) for after in outcome.output) else "changed"


def _same(one: Event, other: Event) -> bool:
    return one.event_name == other.event_name and one.properties == other.properties


def _latest(home: Home, ours: Crew, mappings: Mappings, last: int) -> Iterator[tuple[Batch, int | None]]:
    """The last rows of the pipeline in the fields of its streams, and the transformation that they went through."""
    stage = ours.stage()
    r, s = raw_files.c, segments.c
    with home.database.reading() as connection:
        raw = connection.execute(
            sa.select(raw_files).where(r.pipeline_id == ours.pipeline.id, r.kept.is_(True)).order_by(r.id.desc())
        ).all()
        staged = connection.execute(
            sa.select(segments)
            .where(s.pipeline_id == ours.pipeline.id, s.state != "dropped")
            .order_by(s.staged_at.desc(), s.number.desc())
        ).all()
        query = sa.select(samples.c.stream).where(samples.c.pipeline_id == ours.pipeline.id)
        given = set(connection.execute(query.distinct()).scalars())
    for row in raw or [row for row in staged if row.stream in given] or staged:
        if last <= 0:
            return
        mapping = None if raw else mappings.by_stream.get(row.stream)
        version = None if raw else row.transformation
        with closing(stage.read(row.path, row.checksum)) as reader:
            for batch in reader:
                part = batch.slice(0, last)
                last -= part.num_rows
                yield Batch(row.stream, part if raw else _unmapped(part, mapping)), version
                if last <= 0:
                    return


def _unmapped(rows: pa.RecordBatch, mapping: Mapping | None) -> pa.RecordBatch:
    """Staged rows under the names that their fields had in the stream, without metadata."""
    if mapping is None:
        return rows
    fields = {column.name: column.source for column in mapping.columns if not column.ours}
    names = [name for name in rows.schema.names if name in fields]
    return rows.select(names).rename_columns([fields[name] for name in names])


def _mappings(home: Home, pipeline: str) -> Mappings:
    """The pipeline's mappings in memory: what is put into them is forgotten."""
    found = pipelines.find(home, pipeline)
    naming = fittings.naming_of(home, found)
    with crews.visit(home, pipeline) as ours:
        known = {mapping.stream: mapping for mapping in _books(ours).mappings()}

    def fresh(stream: Stream, taken: frozenset[str], whole: Mapping | None) -> Mapping:
        mode = mode_of(stream.name, whole, found.modes, found.load_mode)
        return first(stream, naming, mode, auto=found.auto_mapping, taken=taken, policy=found.schema_policy)

    return Mappings(naming, known, {}, fresh, policy=found.schema_policy)


def _books(ours: Crew) -> Books:
    return ours.books


def _key(mappings: Mappings, stream: str) -> tuple[str, ...]:
    known = mappings.by_stream.get(stream)
    return () if known is None else known.key


def _map(mappings: Mappings, stepped: Stepped, strategy: Strategy) -> None:
    for output in stepped.outputs:
        for one in taken_apart(
            output.stream, output.rows, strategy, key=mappings.of(output.stream).key, state=mappings.state
        ):
            if one.parent is not None:
                mappings.born(one.stream, one.key or (), of=output.stream, parent=one.parent, path=one.path)
            mapping = mappings.of(one.stream)
            mappings.put(shape(mapping, one.rows, mappings.naming, 0, policy=mappings.policy).mapping)


def _effects(
    home: Home, pipeline: str | None, before: dict[str, Mapping], after: Mappings | None
) -> tuple[Effect, ...]:
    found: list[Effect] = []
    for stream, mapping in sorted(after.by_stream.items()) if after is not None else ():
        old = before.get(stream)
        if old is None:
            names = ", ".join(f"{column.name} {types.name(column.type)}" for column in mapping.columns)
            found.append(Effect(mapping.table, f"creates the table with {names}"))
            continue
        had = {column.name: column.type for column in old.columns}
        new = {column.name: column.type for column in mapping.columns}
        if pipeline is not None and new.keys() - had.keys():
            had = _there(home, pipeline, old) | had
        for name, type_ in new.items():
            if name not in had:
                found.append(Effect(mapping.table, f"adds column {name} {types.name(type_)}"))
            elif (wider := types.widen(had[name], type_)) != had[name]:
                now = types.name(had[name])
                found.append(Effect(mapping.table, f"type of {name} becomes {types.name(wider)} (now {now})"))
        for name, reason in mapping.unmapped[len(old.unmapped) :]:
            found.append(Effect(mapping.table, f"field {name} has no column: {reason}"))
    return tuple(found)


def _there(home: Home, pipeline: str, mapping: Mapping) -> dict[str, pa.DataType]:
    """Columns that the table got by earlier versions of the mapping: they stay when it forgets them."""
    versions = mapping_versions.versions(home, pipeline, mapping.stream)
    columns = [column for one in versions if one.mapping.table == mapping.table for column in one.mapping.columns]
    renamed = {name for column in columns for name in column.formerly}
    found: dict[str, pa.DataType] = {}
    for column in columns:
        if column.name not in renamed:
            found[column.name] = types.widen(found.get(column.name, column.type), column.type)
    return found


def _outcomes(stepped: Stepped, count: int) -> list[Outcome]:
    """What became of each row of the input."""
    came: list[list[tuple[int, Event]]] = [[] for _ in range(count)]
    for one in stepped.shown:
        for row, place, event in zip(one.rows_in, one.places, events_of(one.stream, one.rows), strict=True):
            came[row].append((place, event))
    for output in () if stepped.shown else stepped.outputs:
        events = events_of(output.stream, output.rows)
        for row, event in zip(output.origin.to_pylist(), events, strict=True):
            came[row].append((0, event))
    outcomes = [Outcome(tuple(event for _, event in sorted(found, key=lambda one: one[0]))) for found in came]
    for row, code, message in stepped.refused:
        outcomes[row] = Outcome(error=_failure(code, message))
    return outcomes


# A frame as `scripting.script` writes it.
_FRAME = re.compile(r"line (\d+), in \S+|… \d+ more")


def _failure(code: str, message: str) -> Failure:
    """The frames of a traced step, which stand after its message, on their own."""
    head, *rest = message.split("\n")
    at = len(rest)
    while at and _FRAME.fullmatch(rest[at - 1]):
        at -= 1
    frames = tuple(rest[at:])
    line = _FRAME.fullmatch(frames[-1]) if frames else None
    return Failure(code, "\n".join((head, *rest[:at])), int(line[1]) if line and line[1] else None, frames)
