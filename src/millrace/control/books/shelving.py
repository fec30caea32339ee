"""Parts of loading and of beginning anew: how segments change their state, in the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from millrace.connect.destination import Loaded
from millrace.control.books import counts as counting
from millrace.control.books import usage_counts
from millrace.control.books.commits import Entry, current_tables, keep_reject, named
from millrace.control.books.counts import Key, Part
from millrace.control.database.db import any_in
from millrace.control.database.tables import reject_files, reject_groups, segments, tables
from millrace.engine.ledger import RejectFile
from millrace.errors import EnvironmentProblem, MillraceError


def park(entry: Entry, table: str, generation: int, upto: int, rejects: Sequence[RejectFile]) -> None:
    """Refused rows wait for the load that ends at ``upto`` to be noted; what was parked before is forgotten."""
    # What was parked for a load that never came to be: its rows are still in their segments.
    entry.connection.execute(
        sa.delete(reject_files).where(*_parked(entry, table, generation), reject_files.c.counted.is_(False))
    )
    for file in rejects:
        keep_reject(entry, file, parked=(table, generation, upto))


def loaded(entry: Entry, table: str, generation: int, upto: int, counts: Loaded | None) -> None:
    """Segments up to ``upto`` are at the destination, and the runs that staged them have it in their counts.

    Nothing happens when that was noted already. Raises EnvironmentProblem "books_behind".
    """
    at = _at(entry, table, generation)
    if upto > at.last:
        raise EnvironmentProblem(
            f"{table}: the destination holds segment {upto} of this pipeline, but the control database knows "
            f"only {at.last}: it is older than the destination",
            hint="Was the control database restored from a backup? Run `millrace resync` with "
            "--mode drop-and-load, which starts the table anew.",
            code="books_behind",
        )
    if upto <= at.loaded:
        return
    found = _between(entry, table, generation, at.loaded, upto)
    parts = [Part(row.number, row.run_id, row.stream, row.rows) for row in found]
    refused = counting.shares(parts, _count_parked(entry, table, generation, at.loaded, upto))
    for row in found:
        mine = refused.get(row.number, {})
        entry.connection.execute(
            sa.update(segments)
            .where(*_of(entry, table, generation), segments.c.number == row.number)
            .values(state="loaded", loaded_at=entry.now, refused=mine, refused_rows=sum(mine.values()))
        )
    entry.connection.execute(sa.update(tables).where(*named(entry, table, generation)).values(loaded=upto))
    done = counting.of_load(parts, refused, sign=1)
    done.update(_load_counts(entry, parts, counts, at.stream))
    counting.add(entry.connection, done)
    usage_counts.loaded(entry, table, found, refused)


def rewind(entry: Entry, table: str, generation: int, to: int) -> None:
    """Segments above ``to`` wait again. Raises EnvironmentProblem "stage_gone" when one is no longer on the stage."""
    at = _at(entry, table, generation)
    if to >= at.loaded:
        return
    found = _between(entry, table, generation, to, at.loaded)
    if gone := [row.number for row in found if row.state == "dropped"]:
        raise EnvironmentProblem(
            f"{table}: the destination holds segments up to {to} only, and segments {gone[0]} to {gone[-1]}, "
            "which it held before, are no longer on the stage",
            hint="Run `millrace resync` on this pipeline to read their rows from the source again.",
            code="stage_gone",
        )
    parts = [Part(row.number, row.run_id, row.stream, row.rows) for row in found]
    counting.add(entry.connection, counting.of_load(parts, {row.number: row.refused for row in found}, sign=-1))
    usage_counts.taken_back(entry, table, found)
    # The rows wait again in their segments; the destination will refuse them anew.
    entry.connection.execute(
        sa.delete(reject_files).where(
            *_parked(entry, table, generation),
            reject_files.c.counted.is_(True),
            reject_files.c.parked_after >= to,
        )
    )
    entry.connection.execute(
        sa.update(segments)
        .where(*_of(entry, table, generation), segments.c.number > to, segments.c.number <= at.loaded)
        .values(state="staged", loaded_at=None, refused={}, refused_rows=0)
    )
    entry.connection.execute(sa.update(tables).where(*named(entry, table, generation)).values(loaded=to))


def renew(entry: Entry, table: str, *, fresh: bool, awaits: Sequence[str] = ()) -> int:
    """The table has a new generation; segments that waited for the old one are dropped. The new one's number.

    It is complete once each of the streams that it ``awaits`` has been read to its end.
    """
    old = current_tables(entry.connection, entry.pipeline).get(table)
    if old is None:
        raise MillraceError(f"{table}: this pipeline has no such table", code="no_table")
    waiting = [row for row in _between(entry, table, old.generation, old.loaded) if row.state == "staged"]
    dropped: Counter[Key] = Counter()
    for row in waiting:
        dropped[row.run_id, row.stream, "dropped", ""] += row.rows
    counting.add(entry.connection, dropped)
    entry.connection.execute(
        sa.update(segments)
        .where(*_of(entry, table, old.generation), segments.c.state == "staged")
        .values(state="dropped", dropped_at=entry.now)
    )
    entry.connection.execute(
        sa.delete(reject_files).where(*_parked(entry, table, old.generation), reject_files.c.counted.is_(False))
    )
    entry.connection.execute(
        sa.insert(tables).values(
            pipeline_id=entry.pipeline,
            name=table,
            generation=old.generation + 1,
            stream=old.stream,
            fresh=fresh,
            loaded=0,
            last=0,
            complete=False,
            created_at=entry.now,
            awaits=awaits,
        )
    )
    return old.generation + 1


def give_up(entry: Entry, table: str, generation: int, number: int, path: str, size_bytes: int, checksum: str) -> None:
    """The file at ``path``, which has no row, stands in the place of a waiting segment; its rows count as dropped."""
    mine = (*_of(entry, table, generation), segments.c.number == number, segments.c.state == "staged")
    row = entry.connection.execute(sa.select(segments).where(*mine)).one()
    counting.add(entry.connection, Counter({(row.run_id, row.stream, "dropped", ""): row.rows}))
    entry.connection.execute(
        sa.update(segments).where(*mine).values(path=path, rows=0, size_bytes=size_bytes, checksum=checksum)
    )


def _between(entry: Entry, table: str, generation: int, after: int, upto: int | None = None) -> Sequence[Any]:
    query = sa.select(segments).where(*_of(entry, table, generation), segments.c.number > after)
    if upto is not None:
        query = query.where(segments.c.number <= upto)
    return entry.connection.execute(query.order_by(segments.c.number)).all()


def _at(entry: Entry, table: str, generation: int) -> Any:
    found = entry.connection.execute(sa.select(tables).where(*named(entry, table, generation))).one_or_none()
    if found is None:
        raise MillraceError(f"{table}: no generation {generation} of this table is known", code="no_table")
    return found


def _count_parked(entry: Entry, table: str, generation: int, after: int, upto: int) -> Counter[tuple[str, str, str]]:
    """What was parked for this load counts from now on; its rows by group."""
    if not any_in(entry.connection, reject_files):
        return Counter()
    mine = (*_parked(entry, table, generation), reject_files.c.parked_upto == upto)
    query = (
        sa.select(reject_groups)
        .join(reject_files, reject_files.c.id == reject_groups.c.file_id)
        .where(*mine, reject_files.c.counted.is_(False))
    )
    refused: Counter[tuple[str, str, str]] = Counter()
    for row in entry.connection.execute(query):
        refused[row.stream, row.stage, row.code] += row.rows
    entry.connection.execute(
        sa.update(reject_files).where(*mine, reject_files.c.counted.is_(False)).values(counted=True, parked_after=after)
    )
    return refused


def _load_counts(entry: Entry, parts: Sequence[Part], done: Loaded | None, stream: str) -> Counter[Key]:
    """What this run's load did, under the stream of the table; when the note was lost, only its rows are known."""
    found: Counter[Key] = Counter()
    found[entry.run, stream, "load", "rows"] += sum(part.rows for part in parts)
    if done is not None:
        for name in ("inserted", "updated", "deleted", "duplicates", "stale", "refused"):
            n: int = getattr(done, name)
            found[entry.run, stream, "load", name] += n
    return found


def _of(entry: Entry, table: str, generation: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        segments.c.pipeline_id == entry.pipeline,
        segments.c.table_name == table,
        segments.c.generation == generation,
    )


def _parked(entry: Entry, table: str, generation: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        reject_files.c.pipeline_id == entry.pipeline,
        reject_files.c.parked_table == table,
        reject_files.c.parked_generation == generation,
    )
