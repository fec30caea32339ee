"""The second half of a sync: stage → destination, each load all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from millrace.connect.destination import (
    Destination,
    Held,
    Limits,
    Load,
    Loaded,
    Refusal,
    Rereadable,
    Table,
    Unloadable,
)
from millrace.connect.source import Clock, Note
from millrace.data.batch import Segment
from millrace.data.columns import BEFORE, INGESTED_AT, UNCHANGED, Prefix
from millrace.engine.entering import rejects
from millrace.engine.failures import ObjectFailed
from millrace.engine.fresh import fresh_name, must_be_ours
from millrace.engine.ledger import RejectFile, Shelf, Shelved
from millrace.engine.mapping import Around, Mapping, policy_of
from millrace.engine.meter import Meter
from millrace.engine.policy import Policy
from millrace.engine.stage import Stage, stage_rejects
from millrace.engine.staged_rows import StagedRows
from millrace.errors import ConfigError, EnvironmentProblem, SchemaError

# One load takes at most so many segments and rows (loading.md 7: files per load).
MOST_SEGMENTS = 500
MOST_ROWS = 1_000_000


def load(
    shelved: Shelved,
    *,
    destination: Destination[Any],
    shelf: Shelf,
    stage: Stage,
    prefix: Prefix,
    clock: Clock,
    meter: Meter,
    note: Callable[[Note], None],
    pipeline: str = "",
    policy: Policy | None = None,
    family: Sequence[Shelved] = (),
) -> bool:
    """All segments of one table that were staged when ``shelved`` was asked for are in the destination; False when
    there were none. What comes meanwhile may be among them, and else gathers for the next load.

    The destination is asked what it holds before anything: a crash may have eaten our note (I3), and a restored or
    dropped table holds less than we noted. Segments that are still on the stage are then loaded again. ``pipeline``:
    its name, for the paths of files. ``policy``: the pipeline's, for what may grow. ``family``: all tables of the
    pipeline, among them those above and below this one.

    Raises ObjectFailed where the table was dropped and a person maps by hand.
    """
    mapping = shelved.mapping
    if shelved.loaded == shelved.last and not shelved.fresh:
        return False
    name = fresh_name(mapping.table, destination.limits) if shelved.fresh else mapping.table
    around = _around(mapping, family, destination.limits)
    table = _target(mapping, name, destination, prefix, around=around)
    feed = f"{shelf.feed}:{shelved.generation}"
    held = _held(shelved, table, feed, destination, shelf, stage, note, prefix)
    moved = False
    while held < shelved.last:
        segments = _next(shelf.segments(mapping.table, shelved.generation, held), held, mapping.table)
        if not segments:
            break
        upto = segments[-1].number
        table = _target(mapping, name, destination, prefix, generation=shelved.generation, held=held, around=around)
        destination.ensure(table)
        schema = pa.schema([pa.field(column.name, column.type) for column in table.columns])
        if mapping.deletes:
            schema = schema.append(pa.field(table.meta.op_type, pa.string()))
        if table.nest is not None:
            schema = schema.append(pa.field(table.nest.length, pa.int32()))
        if any(segment.partial for segment in segments):
            if mapping.mode != "merge" or not destination.keeps_unchanged:
                raise _not_whole(mapping)
            schema = schema.append(pa.field(UNCHANGED, pa.string()))
        formerly = {column.name: column.formerly for column in table.columns if column.formerly}
        rows = StagedRows(stage, segments, schema, formerly)
        at = clock.now()
        wanted = Load(
            feed,
            held,
            upto,
            int(at.timestamp() * 1000),
            rows,
            pipeline=pipeline,
            becomes=mapping.table,
            staged_file=segments[-1].file,
        )
        if segments[0].truncates:
            when, before = _truncated(stage, segments[0])
            wanted = replace(wanted, truncated_at_ms=when, truncated_before_ms=before)
        counts = _load(
            wanted,
            table=table,
            shelved=shelved,
            destination=destination,
            shelf=shelf,
            stage=stage,
            at=at,
            policy=policy,
        )
        shelf.loaded(mapping.table, shelved.generation, upto, counts)
        meter.loaded += rows.count - counts.refused
        meter.refuse(mapping.stream, counts.refused)
        held = upto
        moved = True
    return moved


def _load(
    load: Load,
    *,
    table: Table,
    shelved: Shelved,
    destination: Destination[Any],
    shelf: Shelf,
    stage: Stage,
    at: datetime,
    policy: Policy | None,
) -> Loaded:
    """The load is in the destination; rows that it refuses were parked before (I5).

    Text that is too long for a column that somebody bounded makes the column longer, where types may change.
    """
    refusals: dict[int, Refusal] = {}
    while True:
        try:
            return destination.load(table, load)
        except Unloadable as unloadable:
            if _stretched(table, shelved.mapping, destination, unloadable, policy):
                continue
            found = {refusal.row: refusal for refusal in unloadable.refusals}
            if not found.keys() - refusals.keys():
                raise
            refusals |= found
            parked = _park(stage, shelf.feed, shelved.mapping.stream, load.rows, refusals, at)
            shelf.park(shelved.mapping.table, shelved.generation, load.upto, [parked])  # I5
            load = replace(load, refused=frozenset(refusals))


def _stretched(
    table: Table, mapping: Mapping, destination: Destination[Any], unloadable: Unloadable, policy: Policy | None
) -> bool:
    """Columns for which texts were too long have become longer (loading.md 17); False when none has."""
    if policy_of(mapping, policy).types != "evolve":
        return False
    fixed = {column.name for column in mapping.columns if column.fixed}
    short = {refusal.column for refusal in unloadable.refusals if refusal.code == "STRING_TOO_LONG"}
    names = sorted(name for name in short if name is not None and name not in fixed and name not in table.key)
    try:
        return bool(names) and bool(destination.stretch(table, names))
    except ConfigError:
        # A view holds the column as it is, or the right to change it is lacking; then those rows are rejects.
        return False


def _park(
    stage: Stage, feed: str, stream: str, rows: Rereadable, refusals: dict[int, Refusal], at: datetime
) -> RejectFile:
    """The refused rows, durable on the stage."""
    batches: list[pa.RecordBatch] = []
    offset = 0
    wanted = sorted(refusals)
    for batch in rows.reader():
        here = [row for row in wanted if offset <= row < offset + batch.num_rows]
        if here:
            taken = batch.take(pa.array([row - offset for row in here]))
            reasons = [(refusals[row].code, refusals[row].message) for row in here]
            batches.append(rejects(stream, "load", taken, reasons, at))
        offset += batch.num_rows
    return stage_rejects(stage, feed, batches)


def _held(
    shelved: Shelved,
    table: Table,
    feed: str,
    destination: Destination[Any],
    shelf: Shelf,
    stage: Stage,
    note: Callable[[Note], None],
    prefix: Prefix,
) -> int:
    """Last segment that the table holds, by the destination's own word; our note is brought in line with it.

    Raises EnvironmentProblem "books_behind" where it is not the segment that we know under that number.
    """
    holding = destination.holding(feed, table.name)
    held = holding.segment if holding else None  # I3
    gone = destination.schema(table.name) is None
    if shelved.fresh and held is None and not gone:
        must_be_ours(destination, table.name, shelved.mapping.table, prefix, shelf.feed)
    if gone and shelved.loaded and not shelved.fresh:
        if not shelved.mapping.auto:
            raise _dropped_by_hand(shelved.mapping)
        note(Note("table_dropped", f"table {table.name} was dropped at the destination; it is made again"))
    if held is not None and gone:
        # The table was dropped behind our back; its note speaks of rows that are no more (loading.md 15.5).
        destination.forget(feed, table.name)
        held = None
    elif holding is not None and _strange(holding, shelved, shelf):
        if not shelved.fresh or shelved.loaded:
            raise _books_behind(table.name, holding.segment)
        # Of a full reload that the books know nothing of, and that never came to its end.
        destination.drop(table.name)
        held = None
    elif held is None and shelved.fresh and shelved.loaded == 0 and not gone:
        # Rows of an earlier full reload that never came to its end.
        destination.drop(table.name)
    if held == shelved.loaded or (held is None and shelved.loaded == 0):
        return shelved.loaded
    if held is not None and held > shelved.loaded:
        shelf.loaded(shelved.mapping.table, shelved.generation, held, None)
        return held
    if held is None and not gone and shelved.mapping.mode != "merge":
        raise SchemaError(
            f"{table.name}: the destination no longer knows which rows of this pipeline the table holds, and without "
            "a key they cannot be told apart",
            hint="Run `millrace resync` on this pipeline with --mode drop-and-load.",
            code="note_lost",
        )
    to = held or 0
    staged = shelf.segments(shelved.mapping.table, shelved.generation, to)
    # A fresh table that lacks rows must not take the place of a whole one: then `rewind` refuses.
    if staged and staged[0].number > to + 1 and not shelved.fresh:
        lost = staged[0].number - 1
        note(
            Note(
                "rows_missing",
                f"{table.name} was changed or dropped at the destination; rows loaded before are not on the stage any "
                "more. Run `millrace resync` on this pipeline to read them from the source again.",
            )
        )
        to = lost
        known = shelf.segment(shelved.mapping.table, shelved.generation, to)
        _skip(destination, stage, feed, table, to, known.file if known else None)
    shelf.rewind(shelved.mapping.table, shelved.generation, to)
    return to


def _strange(held: Held, shelved: Shelved, shelf: Shelf) -> bool:
    """Whether the books have another segment under the number that is held, or none; False where nobody can tell.

    Books that were restored from a backup give numbers anew that the destination holds already.
    """
    if held.staged_file is None:
        return False
    known = shelf.segment(shelved.mapping.table, shelved.generation, held.segment)
    return known is None or not (known.given_up or known.file == held.staged_file)


def _books_behind(table: str, held: int) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{table}: segment {held} of this pipeline, which the destination holds, is not the one that the control "
        "database knows under that number",
        hint="Was the control database restored from a backup, or is there a copy of it that runs too? What was staged "
        "waits. Run `millrace resync` with --mode drop-and-load, which starts the table anew.",
        code="books_behind",
    )


def _dropped_by_hand(mapping: Mapping) -> ObjectFailed:
    """Who maps by hand has every table made by hand, so one that was dropped stays away (loading.md 15.5)."""
    return ObjectFailed(
        f"table {mapping.table} was dropped at the destination, and auto mapping of {mapping.stream} is off: its rows "
        "wait on the stage",
        hint="Make the table again, or let Millrace do it: `millrace mapping set PIPELINE EVENT_TYPE --auto on`. "
        "If its rows are not wanted any more, skip the event type.",
        code="table_dropped",
    )


def _skip(
    destination: Destination[Any], stage: Stage, feed: str, table: Table, to: int, staged_file: str | None
) -> None:
    """The destination takes the next segment after ``to`` although it never saw the ones before."""
    destination.ensure(table)
    schema = pa.schema([pa.field(column.name, column.type) for column in table.columns])
    held = destination.held(feed, table.name) or 0
    load = Load(feed=feed, after=held, upto=to, at_ms=0, rows=StagedRows(stage, (), schema), staged_file=staged_file)
    destination.load(table, load)


def _next(segments: Sequence[Segment], held: int, table: str) -> list[Segment]:
    """The next segments in unbroken order, as many as one load takes. A truncation is a load of its own."""
    chosen: list[Segment] = []
    rows = 0
    for number, segment in enumerate(segments[:MOST_SEGMENTS], start=held + 1):
        if segment.number != number:
            raise SchemaError(
                f"{table}: segment {number} is not on the stage, the next there is {segment.number}",
                hint="Run `millrace resync --mode drop-and-load` on this pipeline.",
                code="segment_missing",
            )
        rows += segment.rows
        if chosen and (rows > MOST_ROWS or segment.truncates or chosen[0].truncates):
            break
        chosen.append(segment)
    return chosen


def _truncated(stage: Stage, segment: Segment) -> tuple[int, int | None]:
    """When rows were deleted, and before when they had been ingested; None: all of them."""
    (row,) = stage.read(segment.path, segment.checksum).read_all().to_pylist()
    return int(row[INGESTED_AT]), row.get(BEFORE)


def _not_whole(mapping: Mapping) -> SchemaError:
    return SchemaError(
        f"changes of {mapping.stream} wait that do not say all of their columns; only a merge can take them, and the "
        f"table is in the mode {mapping.mode} now",
        hint="Run `millrace resync --mode drop-and-load` on this pipeline.",
        code="not_whole",
    )


def settle(shelved: Shelved, *, destination: Destination[Any], shelf: Shelf, prefix: Prefix) -> bool:
    """A full reload that has been read and loaded to its end takes the place of the old table; True when it has.

    A crash between the swap and our note shows as a missing fresh table and a note of its rows at the table itself.
    """
    if not shelved.fresh:
        return False
    mapping = shelved.mapping
    fresh = fresh_name(mapping.table, destination.limits)
    gone = destination.schema(fresh) is None
    held = destination.holding(f"{shelf.feed}:{shelved.generation}", mapping.table) if gone else None
    if held is None or _strange(held, shelved, shelf):  # I8
        if not shelved.complete or shelved.loaded != shelved.last or (gone and shelved.last):
            return False
        if not shelved.last:
            # Nothing was read: what lies there is of an earlier reload that never came to its end.
            must_be_ours(destination, fresh, mapping.table, prefix, shelf.feed)
            destination.drop(fresh)
            if mapping.lacking:
                # Nor was any row before; the first one brings the key's columns, and they the table.
                shelf.swapped(mapping.table, shelved.generation)
                return True
            destination.ensure(_target(mapping, fresh, destination, prefix))
        destination.swap(fresh, mapping.table)
    shelf.swapped(mapping.table, shelved.generation)
    return True


def _target(
    mapping: Mapping,
    name: str,
    destination: Destination[Any],
    prefix: Prefix,
    *,
    generation: int = 0,
    held: int = 0,
    around: Around | None = None,
) -> Table:
    """The table for what is staged above ``held``; without a generation, for rows as they are staged today."""
    loaded_at = destination.config.populate_loaded_timestamp
    return mapping.target(prefix, name=name, loaded_at=loaded_at, generation=generation, held=held, around=around)


def _around(mapping: Mapping, family: Sequence[Shelved], limits: Limits) -> Around | None:
    """Tables of items above and below this one, under the names that they have just now."""
    if mapping.parent is None:
        return None
    tables = {
        one.mapping.stream: fresh_name(one.mapping.table, limits) if one.fresh else one.mapping.table for one in family
    }
    items = {one.mapping.stream: one.mapping.parent for one in family if one.mapping.parent is not None}
    below: list[tuple[str, str]] = []
    level = [mapping.stream]
    while level:
        under = [(stream, parent) for stream, parent in sorted(items.items()) if parent in level]
        below += [(tables[stream], tables[parent]) for stream, parent in under]
        level = [stream for stream, _ in under]
    return Around(tables.get(mapping.parent) if mapping.parent in items else None, tuple(below))


def parents_first(family: Sequence[Shelved]) -> list[Shelved]:
    """Tables in an order in which those of items come behind the ones above them."""
    parents = {one.mapping.stream: one.mapping.parent for one in family}

    def depth(stream: str | None) -> int:
        return 0 if stream is None else 1 + depth(parents.get(stream))

    return sorted(family, key=lambda one: depth(one.mapping.stream))
