"""The first half of a sync: source → steps → mapping → stage, committed at checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.connect.log import LOG
from millrace.connect.source import Clock, Note, Reading
from millrace.data import types
from millrace.data.batch import READ_BEFORE, Batch, Checkpoint, FileNote, Item, Mark, Passed, Refused, Truncated
from millrace.data.columns import is_ours
from millrace.data.dataclass import dataclass
from millrace.data.rows import to_batch, to_json
from millrace.engine.entering import Flight, add, with_own_names
from millrace.engine.ledger import Commit, Ledger, Sample
from millrace.engine.mappings import Mappings
from millrace.engine.meter import Meter
from millrace.engine.stage import Draft

# Imported where raw rows are kept.
if TYPE_CHECKING:
    from millrace.engine.raw import RawDraft

# A batch is staged at the latest this long after its first row, so that a slow source does not keep rows unsafe.
FLUSH_SECONDS = 15.0

# Rows of each stream that are kept for tests of transformations (transformations.md 0.1).
SAMPLES = 10


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
    files: list[FileNote] = field(default_factory=list[FileNote])
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

    def commit(*, last: bool = False) -> None:
        nonlocal pending
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
                files=pending.files,
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
        return not whole and (draft.full or waited or stopping())

    def next_item() -> Item | None:
        try:
            return next(items, None)
        except Exception:
            if pending.checkpointed and not pending.loose and not whole:  # I2
                commit()
            raise

    try:
        with closing(closable(items)):
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
                if isinstance(item, FileNote):
                    pending.files.append(item)
                    continue
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
                    now = _milliseconds(clock.now())
                    latest = max(latest, now)
                    _truncate(item, mappings, draft, latest, pending, note)
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
                    batch = _batch(stream, item)
                    key = mappings.key_of(batch.stream) if shared else reading.stream.key
                    batch = with_own_names(batch, key)
                    given = batch.entry == "start" and reading.lane != "again"
                    if batch.stream not in wanted and (shared or given):
                        wanted[batch.stream] = SAMPLES - ledger.sampled(batch.stream)
                    moves = not shared and batch.stream != stream and batch.entry == "start"
                    if moves and {*key} <= {*batch.rows.schema.names}:
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
                    added = add(batch, mappings, draft, latest, note, flight)
                    pending.created.update(added.created)
                    count = batch.rows.num_rows
                    if shared:
                        pending.others[batch.stream] += count
                        pending.left.update({(batch.stream, why): rows for why, rows in added.filtered.items()})
                    else:
                        pending.passed.update(added.filtered)
                    if batch.stream != stream and not shared:
                        moved = count - sum(added.filtered.values())
                        pending.created.update({batch.stream: moved, stream: -moved})
                pending.read += 0 if shared else count
                meter.read += count
        commit(last=True)
    except BaseException:
        draft.discard()
        if raw is not None:
            raw.discard()
        raise
    return True


def _truncate(
    item: Truncated,
    mappings: Mappings,
    draft: Draft,
    ingested_at_ms: int,
    pending: _Pending,
    note: Callable[[Note], None],
) -> None:
    """It is staged that the rows of the stream, and those made of them, are deleted; appended ones are left (I5), and
    those among rows of other streams, of which a note tells. Where no row ever passed, nothing is deleted: a table made
    now would lack the key's columns."""
    stream = item.stream
    pending.others[stream] += 1
    own = mappings.of(stream)
    made = [one for one in mappings.by_stream.values() if one is not own and stream in one.sources]
    for mapping in (own, *made):
        if mapping.also and mapping.mode != "append":
            text = (
                f"{stream} was emptied; its rows in the table of {mapping.stream}, which has those of others too, are "
            )
            hint = "read all of them again into a fresh table (`millrace resync --mode drop-and-load`)"
            note(Note("rows_lost", f"{text}not marked as deleted: {hint}"))
        elif mapping.mode != "append" and mapping.mapped and not mapping.skipped and not mapping.lacking:
            draft.truncate(mapping.stream, mapping.table, ingested_at_ms, mapping.version, before_ms=item.before_ms)
            pending.created[mapping.stream] += mapping is not own
            continue
        if mapping is own:
            pending.left[stream, "truncated"] += 1


def _raw_draft(draft: Draft, reading: Reading) -> RawDraft:
    from millrace.engine.raw import RawDraft

    return RawDraft(draft.stage, draft.feed, reading.lane)


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


def _batch(stream: str, item: pa.RecordBatch | list[dict[str, Any]] | Batch) -> Batch:
    if isinstance(item, Batch):
        return item
    return Batch(stream, to_batch(item, None) if isinstance(item, list) else item)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


class closable:
    """Closes a generator; other iterators have nothing to close."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
