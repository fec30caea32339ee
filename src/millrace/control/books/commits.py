"""Parts of a commit: what one checkpoint covers, written in the caller's transaction (I1)."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from millrace.control.books import file_notes, usage_counts
from millrace.control.books.counts import Key
from millrace.control.database.db import upsert
from millrace.control.database.tables import (
    cursor_history,
    cursors,
    mappings,
    marks,
    pipelines,
    raw_files,
    reject_files,
    reject_groups,
    runs,
    samples,
    segments,
    tables,
)
from millrace.control.failed.failures import next_try
from millrace.data.batch import Lane, Mark, Segment
from millrace.data.dataclass import dataclass
from millrace.engine.ledger import Commit, RawFile, RejectFile, Sample
from millrace.engine.mapping import Mapping
from millrace.errors import MillraceError, Stale


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction on the books of a pipeline, by one run, at one moment. The lease was confirmed in it (I4)."""

    connection: sa.Connection
    pipeline: str
    run: int
    now: datetime


def balanced(commit: Commit) -> None:
    """Every row that was read or created is staged, filtered or rejected, for every event type (I5).

    Raises MillraceError "unbalanced" otherwise.
    """
    staged, rejected = Counter[str](), Counter[str]()
    for segment in commit.segments:
        staged[segment.stream] += segment.rows
    for file in commit.rejects:
        for (stream, _, _), rows in file.counts.items():
            rejected[stream] += rows
    reads, filtered = Counter({commit.stream: commit.read, **commit.others}), Counter[str]()
    # What is filtered is counted where it was read.
    filtered[commit.stream] = sum(commit.passed.values())
    for (stream, _), rows in commit.left.items():
        filtered[stream] += rows
    known = {*commit.created, *commit.others, *filtered, *staged, *rejected}
    for stream in (commit.stream, *sorted(known - {commit.stream})):
        read, passed = reads[stream], filtered[stream]
        created = commit.created.get(stream, 0)
        if read + created != staged[stream] + passed + rejected[stream]:
            made = f" and {created} created" if created else ""
            raise MillraceError(
                f"{stream}: {read} rows were read{made}, but {staged[stream]} staged, {passed} filtered and "
                f"{rejected[stream]} rejected; nothing of this commit was kept",
                hint="This is a fault of Millrace or of a connector. Please report it.",
                code="unbalanced",
            )


def latest_mappings(connection: sa.Connection, pipeline: str) -> dict[str, Any]:
    """The row of the latest mapping of every stream, by stream."""
    query = sa.select(mappings).where(mappings.c.pipeline_id == pipeline).order_by(mappings.c.version)
    return {row.stream: row for row in connection.execute(query)}


def table_mappings(connection: sa.Connection, pipeline: str) -> dict[str, Any]:
    """The latest mapping into every table that the pipeline ever had, by the table's name."""
    query = sa.select(mappings).where(mappings.c.pipeline_id == pipeline).order_by(mappings.c.created_at)
    return {row.table_name: row.mapping for row in connection.execute(query)}


def current_tables(connection: sa.Connection, pipeline: str) -> dict[str, Any]:
    """The row of the latest generation of every table, by name."""
    query = sa.select(tables).where(tables.c.pipeline_id == pipeline).order_by(tables.c.name, tables.c.generation)
    return {row.name: row for row in connection.execute(query)}


def event_types_of(entry: Entry, stream: str) -> set[str]:
    """The event types that rows of a source's stream are: the stream itself, and those that were made of it."""
    latest = latest_mappings(entry.connection, entry.pipeline)
    made = {name for name, row in latest.items() if stream in (row.mapping.get("source"), *row.mapping.get("also", ()))}
    return {stream, *made}


def streams_read(entry: Entry) -> set[str]:
    """The streams that have a cursor; the log counts as one."""
    query = sa.select(cursors.c.stream).where(cursors.c.pipeline_id == entry.pipeline)
    return {*entry.connection.scalars(query)}


def tables_of(entry: Entry, stream: str) -> list[Any]:
    """The latest generation of every table that rows of a source's stream go to, also as another event type."""
    mine = event_types_of(entry, stream)
    return [row for row in current_tables(entry.connection, entry.pipeline).values() if row.stream in mine]


def keep_mappings(entry: Entry, changed: Sequence[Mapping]) -> None:
    """The versions are kept, and their tables are known. Raises Stale when somebody made a later version."""
    if not changed:
        return
    latest = latest_mappings(entry.connection, entry.pipeline)
    for mapping in changed:
        known = latest.get(mapping.stream)
        if known is not None and known.version > mapping.version:
            raise Stale(
                f"the mapping of {mapping.stream} was changed meanwhile: it is at version {known.version}",
                hint="Run the pipeline again; it goes on from its last commit.",
            )
        row = {
            "pipeline_id": entry.pipeline,
            "stream": mapping.stream,
            "version": mapping.version,
            "table_name": mapping.table,
            "mapping": mapping.to_json(),
            "created_at": entry.now,
        }
        # A version may learn about its values (a LONG that is no longer exact) without a new shape.
        upsert(entry.connection, mappings, [row], key=["pipeline_id", "stream", "version"])
    keep_tables(entry, {mapping.table: mapping.stream for mapping in changed})


def keep_tables(entry: Entry, names: dict[str, str]) -> dict[str, Any]:
    """Tables are known, the new ones with generation 1; all of the pipeline by name."""
    known = current_tables(entry.connection, entry.pipeline)
    rows = [
        {
            "pipeline_id": entry.pipeline,
            "name": name,
            "generation": 1,
            "stream": stream,
            "fresh": False,
            "loaded": 0,
            "last": 0,
            "complete": _finished(entry, stream),
            "created_at": entry.now,
        }
        for name, stream in names.items()
        if name not in known
    ]
    if not rows:
        return known
    entry.connection.execute(sa.insert(tables), rows)
    return current_tables(entry.connection, entry.pipeline)


def keep_segments(
    entry: Entry,
    staged: Sequence[Segment],
    *,
    lane: Lane,
    transformation: int | None = None,
    replayed: int | None = None,
) -> None:
    """Segments are numbered on from the last one of their table, without a gap, in the order given.

    ``replayed``: the file of rejects that their rows came back from.
    """
    if not staged:
        return
    usage = usage_counts.staged(entry, lane, staged, replayed=replayed)
    known = keep_tables(entry, {segment.table: segment.stream for segment in staged})
    last = {name: row.last for name, row in known.items()}
    rows: list[dict[str, Any]] = []
    for segment in staged:
        last[segment.table] += 1
        rows.append(
            {
                "pipeline_id": entry.pipeline,
                "table_name": segment.table,
                "generation": known[segment.table].generation,
                "number": last[segment.table],
                "stream": segment.stream,
                "path": segment.path,
                "rows": segment.rows,
                "size_bytes": segment.size_bytes,
                "checksum": segment.checksum,
                "run_id": entry.run,
                "state": "staged",
                "refused": {},
                "refused_rows": 0,
                "mapping_version": segment.mapping_version,
                "transformation": transformation,
                "replayed_file": replayed,
                "usage": usage,
                "staged_at": entry.now,
            }
        )
    entry.connection.execute(sa.insert(segments), rows)
    for name in {segment.table for segment in staged}:
        where = named(entry, name, known[name].generation)
        entry.connection.execute(sa.update(tables).where(*where).values(last=last[name]))


def keep_raw(entry: Entry, files: Sequence[RawFile]) -> None:
    """Files of rows as they were read are kept."""
    rows = [dataclasses.asdict(file) | {"run_id": entry.run, "kept": True, "created_at": entry.now} for file in files]
    if rows:
        entry.connection.execute(sa.insert(raw_files), [row | {"pipeline_id": entry.pipeline} for row in rows])


def keep_samples(entry: Entry, found: Sequence[Sample]) -> None:
    """Samples are kept behind those that are there."""
    s = samples.c
    for stream in {sample.stream for sample in found}:
        query = sa.select(sa.func.count()).where(s.pipeline_id == entry.pipeline, s.stream == stream)
        first = entry.connection.execute(query).scalar_one() + 1
        mine = [sample for sample in found if sample.stream == stream]
        entry.connection.execute(
            sa.insert(samples),
            [
                {
                    "pipeline_id": entry.pipeline,
                    "stream": stream,
                    "number": number,
                    "row": sample.row,
                    "types": dict(sample.types),
                    "created_at": entry.now,
                }
                for number, sample in enumerate(mine, first)
            ],
        )


def keep_reject(
    entry: Entry,
    file: RejectFile,
    *,
    parked: tuple[str, int, int] | None,
    transformation: int | None = None,
    replayed: int | None = None,
) -> None:
    """The file and its groups are kept. ``parked``: the load that it waits for (table, generation, number);
    ``replayed``: the file of rejects whose rows failed again."""
    table, generation, upto = parked or (None, None, None)
    inserted = entry.connection.execute(
        sa.insert(reject_files).values(
            pipeline_id=entry.pipeline,
            run_id=entry.run,
            path=file.path,
            checksum=file.checksum,
            size_bytes=file.size_bytes,
            kept=True,
            parked_table=table,
            parked_generation=generation,
            parked_upto=upto,
            counted=parked is None,
            created_at=entry.now,
            replayed_file=replayed,
        )
    )
    assert inserted.inserted_primary_key is not None
    versions = {stream: row.version for stream, row in latest_mappings(entry.connection, entry.pipeline).items()}
    before = _attempts(entry)
    groups: list[dict[str, Any]] = []
    for (stream, stage, code), rows in file.counts.items():
        attempts = before.get((stream, stage, code), 0)
        groups.append(
            {
                "file_id": inserted.inserted_primary_key[0],
                "stream": stream,
                "stage": stage,
                "code": code,
                "rows": rows,
                "sample": file.samples.get((stream, stage, code), ""),
                "state": "open",
                "attempts": attempts,
                "retry_at": next_try(code, stage, attempts, entry.now),
                "mapping_version": versions.get(stream),
                "transformation": transformation,
            }
        )
    if groups:
        entry.connection.execute(sa.insert(reject_groups), groups)


def keep_staying(entry: Entry, file: RejectFile, of: int) -> None:
    """The rows in ``file``, rejects that a replay of the file ``of`` was not about, are in a file of their own.

    But for where they lie they are as they were: refused in the same run, at the same time, under the same versions.
    The groups that they leave count the rows that went, so every row counts once.
    """
    files, g = reject_files.c, reject_groups.c
    before: Any = entry.connection.execute(sa.select(reject_files).where(files.id == of)).one()
    where = {"path": file.path, "checksum": file.checksum, "size_bytes": file.size_bytes}
    row: dict[str, Any] = {name: value for name, value in before._mapping.items() if name != "id"}
    inserted = entry.connection.execute(sa.insert(reject_files).values(row | where))
    assert inserted.inserted_primary_key is not None
    for (stream, stage, code), rows in file.counts.items():
        mine = (g.file_id == of, g.stream == stream, g.stage == stage, g.code == code)
        group: Any = entry.connection.execute(sa.select(reject_groups).where(*mine)).one()
        own = {"file_id": inserted.inserted_primary_key[0], "rows": rows, "sample": file.samples[stream, stage, code]}
        entry.connection.execute(sa.insert(reject_groups).values(dict(group._mapping) | own))
        entry.connection.execute(sa.update(reject_groups).where(*mine).values(rows=g.rows - rows))


def keep_marks(entry: Entry, stream: str, said: Sequence[Mark]) -> None:
    """The marks are kept in their order."""
    rows: list[dict[str, Any]] = []
    for mark in said:
        if mark.replace:
            rows = [row for row in rows if row["part"] != mark.part]
            entry.connection.execute(sa.delete(marks).where(*_in(entry, marks, stream), marks.c.part == mark.part))
        if mark.data is not None:
            rows.append({"pipeline_id": entry.pipeline, "stream": stream, "part": mark.part, "data": mark.data})
    if rows:
        entry.connection.execute(sa.insert(marks), rows)


def keep_cursor(entry: Entry, commit: Commit) -> None:
    """The lane is at the cursor. A progress that the commit does not know stays as it was."""
    row: dict[str, Any] = {
        "pipeline_id": entry.pipeline,
        "stream": commit.stream,
        "lane": commit.lane,
        "cursor": commit.cursor,
        "committed_at": entry.now,
        "run_id": entry.run,
    }
    if commit.progress is not None:
        row["progress"] = commit.progress
    upsert(entry.connection, cursors, [row], key=["pipeline_id", "stream", "lane"])
    # One row of history for each run and lane: what "back to run N" needs.
    entry.connection.execute(
        sa.delete(cursor_history).where(
            *_in(entry, cursor_history, commit.stream),
            cursor_history.c.lane == commit.lane,
            cursor_history.c.run_id == entry.run,
        )
    )
    entry.connection.execute(sa.insert(cursor_history).values(row))
    if commit.complete or (commit.lane == "historical" and (commit.progress or 0.0) >= 1.0):
        for table in tables_of(entry, commit.stream):
            where = named(entry, table.name, table.generation)
            awaits = [stream for stream in table.awaits if stream != commit.stream]
            entry.connection.execute(sa.update(tables).where(*where).values(awaits=awaits, complete=not awaits))


def counted(entry: Entry, commit: Commit) -> Counter[Key]:
    """What the commit adds to the counts of its run."""
    found: Counter[Key] = Counter()
    found[entry.run, commit.stream, "read", ""] += commit.read
    for stream, rows in commit.created.items():
        found[entry.run, stream, "created", ""] += rows
    for segment in commit.segments:
        found[entry.run, segment.stream, "staged", ""] += segment.rows
    for stream, rows in commit.others.items():
        found[entry.run, stream, "read", ""] += rows
    for reason, rows in commit.passed.items():
        found[entry.run, commit.stream, "filtered", reason] += rows
    for (stream, reason), rows in commit.left.items():
        found[entry.run, stream, "filtered", reason] += rows
    for file in commit.rejects:
        for (stream, stage, code), rows in file.counts.items():
            found[entry.run, stream, "rejected", f"{stage}/{code}"] += rows
    for name, n in commit.counts.items():
        found[entry.run, commit.stream, "noted", name] += n
    return found


def forget(entry: Entry, stream: str, lane: Lane) -> None:
    """The lane has no cursor; the history says since when."""
    entry.connection.execute(sa.delete(cursors).where(*_in(entry, cursors, stream), cursors.c.lane == lane))
    row = {"pipeline_id": entry.pipeline, "stream": stream, "lane": lane, "cursor": None, "committed_at": entry.now}
    entry.connection.execute(sa.insert(cursor_history).values(row))


def forget_marks(entry: Entry, stream: str) -> None:
    """The stream has no marks but those of people, and its files are as if nobody had seen them."""
    file_notes.forget(entry.connection, entry.pipeline, stream)


def keep_time(entry: Entry, ingested_at_ms: int) -> None:
    """Rows to come are never older than those of this commit."""
    entry.connection.execute(
        sa.update(pipelines)
        .where(pipelines.c.id == entry.pipeline, pipelines.c.ingested_at_ms < ingested_at_ms)
        .values(ingested_at_ms=ingested_at_ms)
    )


def _attempts(entry: Entry) -> dict[tuple[str, str, str], int]:
    """How often rows that this run replayed were replayed by themselves, by stream, stage and code.

    Rows that fail again are new rejects, and these counts go on with them. Which rows of a load came from a replay is
    not known, so fresh ones that fail for the same reason in the same run are counted with them.
    """
    g, files = reject_groups.c, reject_files.c
    began = sa.select(runs.c.started_at).where(runs.c.id == entry.run).scalar_subquery()
    query = (
        sa.select(g.stream, g.stage, g.code, sa.func.max(g.attempts).label("attempts"))
        .join(reject_files, files.id == g.file_id)
        .where(files.pipeline_id == entry.pipeline, g.state.in_(("replayed", "mended")), g.closed_at >= began)
        .group_by(g.stream, g.stage, g.code)
    )
    return {(row.stream, row.stage, row.code): row.attempts for row in entry.connection.execute(query)}


def replay(
    entry: Entry, file: int, stream: str, stage: str, code: str, *, asked: bool = True, mended: bool = False
) -> None:
    """The group's rows are in this commit. Raises Stale when they were replayed or discarded meanwhile.

    Unless somebody ``asked`` for it, it counts as one more attempt. ``mended``: some of its rows are as a person wrote
    them.
    """
    g = reject_groups.c
    updated = entry.connection.execute(
        sa.update(reject_groups)
        .where(g.file_id == file, g.stream == stream, g.stage == stage, g.code == code, g.state == "open")
        .values(state="mended" if mended else "replayed", closed_at=entry.now, attempts=0 if asked else g.attempts + 1)
    )
    if updated.rowcount != 1:
        raise Stale(f"rejects {stage}/{code} of {stream} were replayed or discarded meanwhile")


def _finished(entry: Entry, stream: str) -> bool:
    """The historical lane of the stream, or of the one that its rows come from, has been read to its end."""
    latest = latest_mappings(entry.connection, entry.pipeline).get(stream)
    source = (latest.mapping.get("source") if latest is not None else None) or stream
    query = sa.select(cursors.c.progress).where(*_in(entry, cursors, source), cursors.c.lane == "historical")
    return (entry.connection.execute(query).scalar() or 0.0) >= 1.0


def _in(entry: Entry, table: sa.Table, stream: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.pipeline_id == entry.pipeline, table.c.stream == stream)


def named(entry: Entry, table: str, generation: int) -> tuple[sa.ColumnElement[bool], ...]:
    """The row of one generation of a table."""
    return (tables.c.pipeline_id == entry.pipeline, tables.c.name == table, tables.c.generation == generation)
