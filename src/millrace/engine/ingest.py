"""The first half of a sync: source → steps → mapping → stage, committed at checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Mapping as Dict
from contextlib import closing
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.connect.destination import Strategy
from millrace.connect.log import LOG
from millrace.connect.source import Clock, Note, Reading, Stream
from millrace.data import types
from millrace.data.batch import READ_BEFORE, Batch, Checkpoint, Item, Mark, Passed, Refused, Truncated
from millrace.data.columns import REJECTS, is_ours, own_names
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.described import described
from millrace.data.rows import to_batch, to_json
from millrace.engine.gathering import Gathering
from millrace.engine.ledger import Commit, Ledger, Sample
from millrace.engine.mapping import Mapping, Naming
from millrace.engine.meter import Meter
from millrace.engine.policy import Policy
from millrace.engine.shaping import Shaped, shape
from millrace.engine.stage import Draft
from millrace.engine.steps import Output, Step, alone, with_siblings
from millrace.errors import MillraceError

# Where nested values stay as they are, and no raw rows are kept, nothing of these is imported.
if TYPE_CHECKING:
    from millrace.engine.nesting.names import NestingState
    from millrace.engine.nesting.nested import Nested
    from millrace.engine.raw import RawDraft

# A batch is staged at the latest this long after its first row, so that a slow source does not keep rows unsafe.
FLUSH_SECONDS = 15.0

# Rows of each stream that are kept for tests of transformations (transformations.md 0.1).
SAMPLES = 10


@dataclass(slots=True)
class Mappings:
    """The mappings of one pipeline while it ingests, and which of them changed since the last commit.

    All that changes in a mapping between two commits is one version of it, so every version that rows carry is kept.
    """

    naming: Naming
    by_stream: dict[str, Mapping]
    streams: dict[str, Stream]
    first: Callable[[Stream, frozenset[str]], Mapping]
    changed: set[str] = field(default_factory=set[str])
    policy: Policy | None = None
    origins: dict[str, tuple[str | None, str | None]] = field(default_factory=dict[str, tuple[str | None, str | None]])
    """Of event types that were made of others: the source's stream, and the event type in whose arrays they were."""
    _state: NestingState | None = None
    _committed: dict[str, int] = field(init=False)
    """Versions as of the last commit."""

    def __post_init__(self) -> None:
        self._committed = {stream: mapping.version for stream, mapping in self.by_stream.items()}

    @property
    def state(self) -> NestingState:
        """Names of what nested values became."""
        if self._state is None:
            from millrace.engine.nesting.names import NestingState

            own = {*self.streams, *(one.stream for one in self.by_stream.values() if one.parent is None)}
            self._state = NestingState.of(own, {one.stream: one.nested for one in self.by_stream.values()})
        return self._state

    def of(self, stream: str) -> Mapping:
        """The mapping of a stream; a stream that is met for the first time gets one."""
        if (known := self.by_stream.get(stream)) is not None:
            return known
        taken = frozenset(mapping.table for mapping in self.by_stream.values())
        made = self.first(self.streams.get(stream, Stream(stream)), taken)
        source, parent = self.origins.get(stream, (None, None))
        self.put(replace(made, source=source, parent=parent))
        return self.by_stream[stream]

    def source_of(self, stream: str) -> str:
        """The source's stream whose rows became those of this event type: often itself."""
        known = self.by_stream.get(stream)
        return (known.source if known else None) or stream

    def born(self, stream: str, key: tuple[str, ...], *, of: str, parent: str | None = None, path: str = "") -> None:
        """An event type that was made of another one is known, with the fields that identify its rows.

        ``parent``: the event type in whose arrays, at ``path``, its rows were.
        """
        if stream in self.streams or stream in self.by_stream:
            return
        whole = self.streams.get(of, Stream(of))
        above = self.streams.get(parent, Stream(parent)) if parent is not None else None
        known = self.by_stream.get(of)
        self.origins[stream] = (
            (known.source if known else None) or self.origins.get(of, (None, None))[0] or of,
            parent,
        )
        self.streams[stream] = Stream(
            stream,
            key=key,
            deletes=whole.deletes or parent is not None,
            historical=whole.historical,
            table=f"{above.table or above.name}_{path}" if above is not None and path else None,
        )

    def put(self, mapping: Mapping) -> None:
        """The mapping holds from now on, as the version after the one that was committed last."""
        following = self._committed.get(mapping.stream, 0) + 1
        mapping = replace(mapping, version=min(mapping.version, following))
        if self.by_stream.get(mapping.stream) != mapping:
            self.by_stream[mapping.stream] = mapping
            self.changed.add(mapping.stream)

    def taken(self) -> list[Mapping]:
        """Mappings that changed since this was last asked."""
        changed = [self.by_stream[stream] for stream in sorted(self.changed)]
        self._committed |= {mapping.stream: mapping.version for mapping in changed}
        self.changed.clear()
        return changed


@dataclass(slots=True)
class _Pending:
    """What was read since the last commit, beside the rows themselves."""

    read: int = 0
    created: Counter[str] = field(default_factory=Counter[str])
    others: Counter[str] = field(default_factory=Counter[str])
    left: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    samples: list[Sample] = field(default_factory=list[Sample])
    passed: Counter[str] = field(default_factory=Counter[str])
    counts: Counter[str] = field(default_factory=Counter[str])
    marks: list[Mark] = field(default_factory=list[Mark])
    cursor: Any = None
    progress: float | None = None
    checkpointed: bool = False
    """A checkpoint was met since the last commit."""
    loose: bool = False
    """Rows came after that checkpoint, so that it does not cover all of the draft."""
    since: float | None = None


def ingest(
    items: Iterator[Item],
    reading: Reading,
    *,
    mappings: Mappings,
    ledger: Ledger,
    draft: Draft,
    clock: Clock,
    meter: Meter,
    committed: Callable[[], None],
    stopping: Callable[[], bool],
    note: Callable[[Note], None],
    whole: bool = False,
    flight: Flight | None = None,
) -> bool:
    """All that the source yields is durable on the stage and committed; False when it was asked to stop before.

    Commits happen at checkpoints, when enough has gathered, and at the end, nowhere else (I2). When the source
    raises, what its last checkpoint covers is committed first, if nothing came after it; the rest is read again.
    ``committed`` is called after each commit. With ``whole`` there is one commit, at the end, or none. ``flight``: what
    happens to rows before the mapping. Of a log (`connect.log.LOG`) every item says its stream, and rows count as read
    of that.
    """
    stream = reading.stream.name
    shared = stream == LOG
    pending = _Pending(cursor=reading.cursor)
    latest = ledger.latest_ingested_at_ms()
    behind = False
    flight = flight or Flight()
    raw = _raw_draft(draft, reading) if flight.raw else None
    wanted = {stream: 0} if reading.lane == "again" else {stream: SAMPLES - ledger.sampled(stream)}
    # What a full reload waits for: the history where there is one, else the whole read.
    completing = not shared and reading.lane == ("historical" if reading.stream.historical else "incremental")
    gathering = Gathering()

    def enter(batch: Batch) -> None:
        """The batch is in the draft, and what became of its rows is counted."""
        added = add(batch, mappings, draft, latest, note, flight)
        pending.created.update(added.created)
        if shared:
            pending.left.update({(batch.stream, why): rows for why, rows in added.filtered.items()})
        else:
            pending.passed.update(added.filtered)
        if batch.stream != stream and not shared:
            moved = batch.rows.num_rows - sum(added.filtered.values())
            pending.created.update({batch.stream: moved, stream: -moved})

    def enter_gathered() -> None:
        if (rows := gathering.taken()) is not None:
            enter(Batch(stream, rows))

    def commit(*, last: bool = False) -> None:
        nonlocal pending
        enter_gathered()
        segments, rejects = draft.close()
        staying = draft.close_staying()
        ledger.commit(  # I1
            Commit(
                stream=stream,
                lane=reading.lane,
                cursor=pending.cursor,
                read=pending.read,
                segments=segments,
                rejects=rejects,
                staying=staying,
                marks=pending.marks,
                passed=dict(pending.passed),
                counts=dict(pending.counts),
                mappings=mappings.taken(),
                created=dict(pending.created),
                others=dict(pending.others),
                left=dict(pending.left),
                raw=raw.close() if raw is not None else (),
                samples=pending.samples,
                transformation=flight.version,
                progress=pending.progress,
                # A source that saw the wish to stop may have ended before its end.
                complete=last and completing and pending.progress in (None, 1.0) and not stopping(),
                ingested_at_ms=latest,
            )
        )
        meter.created += sum(pending.created.values())
        meter.staged += sum(segment.rows for segment in segments)
        meter.filtered += sum(pending.passed.values()) + sum(pending.left.values())
        for file in rejects:
            for (other, _, _), rows in file.counts.items():
                meter.refuse(mappings.source_of(other) if shared else stream, rows)
        meter.new.update(pending.others if shared else {stream: pending.read})
        passed = pending.left if shared else {(stream, why): rows for why, rows in pending.passed.items()}
        for (other, why), rows in passed.items():
            meter.new[other] -= rows if why in READ_BEFORE else 0
        meter.size_bytes += sum(segment.size_bytes for segment in segments)
        pending = _Pending(cursor=pending.cursor, progress=pending.progress)
        committed()

    def due() -> bool:
        waited = pending.since is not None and clock.monotonic() - pending.since >= FLUSH_SECONDS
        full = draft.full_with(gathering.rows, gathering.size_bytes)
        return not whole and (full or waited or stopping())

    def next_item() -> Item | None:
        try:
            return next(items, None)
        except Exception:
            if pending.checkpointed and not pending.loose and not whole:  # I2
                commit()
            raise

    try:
        with closing(_closable(items)):
            while (item := next_item()) is not None:
                if isinstance(item, Checkpoint):
                    pending.cursor, pending.progress = item.cursor, item.progress
                    pending.marks.extend(item.marks)
                    pending.counts.update(item.counts)
                    pending.checkpointed, pending.loose = True, False
                    meter.progress = item.progress if item.progress is not None else meter.progress
                    if due():  # I2: nowhere but here and at the end
                        commit()
                        if stopping():
                            return False
                    continue
                pending.loose = True  # I2
                if pending.since is None:
                    pending.since = clock.monotonic()
                if isinstance(item, Passed):
                    if shared:
                        pending.left[item.stream or stream, item.reason] += item.count
                        pending.others[item.stream or stream] += item.count
                    else:
                        pending.passed[item.reason] += item.count
                    count = item.count
                elif isinstance(item, Truncated):
                    enter_gathered()
                    now = _milliseconds(clock.now())
                    latest = max(latest, now)
                    _truncate(item, mappings, draft, latest, pending)
                    count = 1
                elif isinstance(item, Refused) and item.staying:
                    draft.stay(item.rows)
                    count = 0
                elif isinstance(item, Refused):
                    draft.reject(item.rows)
                    count = item.rows.num_rows
                    for other, rows in Counter[str](item.rows.column("stream").to_pylist()).items():
                        if shared:
                            pending.others[other] += rows
                        elif other != stream:
                            pending.created.update({other: rows, stream: -rows})
                else:
                    key = reading.stream.key
                    batch = _named(_batch(stream, item), key)
                    if shared:
                        if batch.stream not in wanted:
                            wanted[batch.stream] = SAMPLES - ledger.sampled(batch.stream)
                    elif batch.stream != stream and batch.entry == "start" and {*key} <= {*batch.rows.schema.names}:
                        mappings.born(batch.stream, key, of=stream)
                    now = _milliseconds(clock.now())
                    if now < latest - _SKEW_MS and not behind:
                        behind = True
                        note(_clock_went_back(now, latest))
                    latest = max(latest, now)
                    if (room := wanted.get(batch.stream, 0)) > 0:
                        pending.samples += samples(batch, room)
                        wanted[batch.stream] = room - min(room, batch.rows.num_rows)
                    if raw is not None and batch.entry == "start":
                        raw.add(batch, latest)
                    count = batch.rows.num_rows
                    if shared:
                        pending.others[batch.stream] += count
                    if shared or isinstance(item, Batch):
                        enter_gathered()
                        enter(batch)
                    else:
                        if not gathering.takes(batch.rows):
                            enter_gathered()
                        gathering.put(batch.rows)
                        if gathering.enough:
                            enter_gathered()
                pending.read += 0 if shared else count
                meter.read += count
        commit(last=True)
    except BaseException:
        draft.discard()
        if raw is not None:
            raw.discard()
        raise
    return True


def _truncate(item: Truncated, mappings: Mappings, draft: Draft, ingested_at_ms: int, pending: _Pending) -> None:
    """It is staged that the rows of the stream, and those made of them, are deleted; appended ones are left (I5)."""
    stream = item.stream
    pending.others[stream] += 1
    own = mappings.of(stream)
    made = [one for one in mappings.by_stream.values() if one.source == stream]
    for mapping in (own, *made):
        if mapping.mode != "append" and mapping.mapped and not mapping.skipped:
            draft.truncate(mapping.stream, mapping.table, ingested_at_ms, mapping.version, before_ms=item.before_ms)
            pending.created[mapping.stream] += mapping is not own
        elif mapping is own:
            pending.left[stream, "truncated"] += 1


def _raw_draft(draft: Draft, reading: Reading) -> RawDraft:
    from millrace.engine.raw import RawDraft

    return RawDraft(draft.stage, draft.feed, reading.lane)


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
    key = mappings.streams.get(batch.stream, Stream(batch.stream)).key
    stepped = flight.step.apply(batch, key)
    siblings = with_siblings(stepped)
    if batch.entry == "steps_alone":
        stepped, siblings = alone(stepped), frozenset(range(batch.rows.num_rows))
    if stepped.refused:
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
    batch = _named(batch, known.key)
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
            way.note(_without_column(stream, name, reason))
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


def samples(batch: Batch, most: int) -> list[Sample]:
    """The first rows of the batch as samples, at most ``most``. Metadata of ours is left out."""
    shown = [one.name for one in batch.rows.schema if not is_ours(one)]
    some = batch.rows.slice(0, most).select(shown)
    kinds = {one.name: types.name(types.canonical(one.type)) for one in some.schema if not pa.types.is_null(one.type)}
    return [Sample(batch.stream, text, kinds) for text in to_json(some)]


# A clock may be set back by this much without a word: the usual correction of a network clock.
_SKEW_MS = 60_000


def _clock_went_back(now: int, latest: int) -> Note:
    return Note(
        "clock_went_back",
        f"this machine's clock is {(latest - now) // 1000} s behind the last ingestion; rows keep the later time, so "
        "that none of them counts as older than what is loaded",
    )


def _without_column(stream: str, name: str, reason: str) -> Note:
    why = {
        "COLUMN_LIMIT": "the table has no room for more columns",
        "NAME_CONFLICT": "no free name is left for it",
    }.get(reason, "columns are not made by themselves here")
    return Note(reason, f"the field {name} of {stream} has no column, so its values are not loaded: {why}")


def _discarded(stream: str, name: str, code: str) -> Note:
    if code == "STRING_TOO_LONG":
        said = f"texts of the field {name} of {stream} that are longer than its column are cut or left out, as "
        return Note(code, said + "`on_oversize` of the destination or the policy says")
    return Note(
        code, f"values of the field {name} of {stream} that do not fit its column are not loaded, as its policy says"
    )


def _batch(stream: str, item: pa.RecordBatch | list[dict[str, Any]] | Batch) -> Batch:
    if isinstance(item, Batch):
        return item
    return Batch(stream, to_batch(item, None) if isinstance(item, list) else item)


def _named(batch: Batch, key: Collection[str]) -> Batch:
    """The batch in which no field of the user's is taken for metadata."""
    rows = own_names(batch.rows, key)
    return batch if rows is batch.rows else replace(batch, rows=rows)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


class _closable:
    """Closes a generator; other iterators have nothing to close."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()


def balance(read: int, loaded: int, passed: Dict[str, int], rejected: int, waiting: int) -> bool:
    """Every row read is loaded, filtered on purpose, rejected with a reason, or waits on the stage (I5)."""
    return read == loaded + sum(passed.values()) + rejected + waiting
