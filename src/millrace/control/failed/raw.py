"""Rows as they were read, applied again: the transformation and the mapping of today over what was read before."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from datetime import UTC, date, datetime, time
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect.source import Clock, Note, Reading, Stream
from millrace.control.books import records, retention
from millrace.control.books.ledger import Books, Group, Recall
from millrace.control.books.origins import Origins, Read
from millrace.control.books.records import RunRecord
from millrace.control.database.tables import raw_files, reject_files, reject_groups, segments, tables, transformations
from millrace.control.database.tables import runs as run_log
from millrace.control.running import crews
from millrace.control.transforming.transformations import DRAFT
from millrace.data.batch import JSON, Checkpoint, Item, Lane
from millrace.data.dataclass import dataclass
from millrace.engine.failures import FailurePolicy
from millrace.engine.ingest import ingest
from millrace.engine.ledger import Commit, RawFile
from millrace.engine.mapping import Mapping
from millrace.engine.meter import Meter
from millrace.engine.raw import in_order
from millrace.engine.stage import Draft
from millrace.errors import ConfigError, as_typed

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.running.crews import Crew
    from millrace.engine.sync import Sync

# By state of a group of rejects: code of a note, what people did, and what may have undone it.
_UNDONE = {
    "mended": (
        "mended_undone",
        "mended by hand",
        "where the row that was read passes now, it has taken the place of the mended one: look at them, and mend them "
        "at the source or in the transformation",
    ),
    "discarded": (
        "discarded_undone",
        "discarded",
        "those that pass now are in the table, and those that fail again are new failed events: drop them in the "
        "transformation, or discard them again",
    ),
}


def replay(
    home: Home,
    pipeline: str,
    *,
    since: date | None = None,
    only: Sequence[str] = (),
    into_fresh: bool = False,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
) -> RunRecord:
    """What was read ``since`` that day (UTC) has gone through the steps and the mapping of today, and is loaded.

    The source is not asked. In tables that are merged the rows take the place of what they were before: they get a
    new time of ingestion, and among themselves keep their order, so the newest version of a key is still the newest.
    Rows that the transformation leaves out today stay as they are there. ``into_fresh``: all that was read since the
    tables began goes into fresh ones, which take the place of the old; rows keep their time.

    All of it is committed in one transaction, so that an interrupted replay has changed nothing. Rejects of rows that
    went through it again are closed in the same one. Raises ConfigError where rows would be doubled (append, history)
    or an older version would take the place of a newer one, because not all rows of that time were kept.

    Rows go as they were read: one that a person mended since then is not known to be another version of the one that
    was read. A note tells of such rows.
    """
    home.actor.must("pipelines.edit")
    if since is None and not into_fresh:
        raise ConfigError("no day is named", hint="Say --since DATE, or --into-fresh for all.", code="usage")
    if only and into_fresh:
        raise ConfigError(
            "--into-fresh is for all objects",
            hint="Rows of one object may be in several tables; leave --object out.",
            code="usage",
        )
    with crews.crew(home, pipeline, "RAW_REPLAY", clock=clock, meter=meter, stopping=stopping) as ours:
        sync = replace(ours.sync(), failing=FailurePolicy.none())
        # Every table is filled anew, also those of objects that are not read now.
        names = None if into_fresh else [stream.name for stream in ours.chosen(sync.source.streams(), only)]
        chosen = _chosen(ours, names, since)
        if into_fresh:
            chosen.check_whole()
        else:
            _check_modes(ours, sync, chosen)
        chosen.check_gaps()
        together = _Together(ours.books)
        sync.meter.stage = "replaying"
        with sync.loading() as loader:
            if _ingest(ours, sync, chosen, together, into_fresh=into_fresh):
                fresh = sorted(chosen.tables) if into_fresh else []
                closed = chosen.rejects(into_fresh)
                ours.books.commit_all(together.commits, fresh=fresh, replayed=[group for group, _ in closed])
                loader.wake()
                _tell_failed(ours, together.commits, sum(rows for _, rows in closed), into_fresh=into_fresh)
                chosen.tell_undone(only)
        retention.collect(home, sync.stage)
    return records.run_record(home, ours.run_id)


@dataclass(frozen=True, slots=True)
class _Begun:
    """Since when a table has its rows: its generation, and the one in which the source was read to its end anew."""

    stream: str
    generation: int
    read: int
    at: datetime


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The files that are replayed, and the tables of the pipeline by name."""

    ours: Crew
    files: list[RawFile]
    since: datetime | None
    first: datetime
    runs: frozenset[int]
    tables: dict[str, _Begun]

    def check_gaps(self) -> None:
        """Raises ConfigError when rows were read meanwhile that were not kept: they would be taken for older."""
        f = raw_files.c
        gone = sa.select(f.run_id).where(f.pipeline_id == self._pipeline, f.kept.is_(False), f.created_at >= self.first)
        with self.ours.home.database.reading() as connection:
            read = self._read(connection, segments.c.staged_at >= self.first)
            # Runs of a pipeline follow one another, so an earlier one read earlier rows.
            lost = {run for run in read if run >= min(self.runs)} - self._kept(connection)
            lost |= set(connection.execute(gone).scalars())
        if lost := sorted(lost):
            raise ConfigError(
                f"rows that run {lost[-1]} read were not kept, so the order of what was read since is not known",
                hint="Choose a later day, or read again: `millrace resync`.",
                code="raw_gap",
            )

    def check_whole(self) -> None:
        """Raises ConfigError when a table has rows of a time from which none were kept."""
        s = segments.c
        with self.ours.home.database.reading() as connection:
            kept = self._kept(connection)
            for table, begun in sorted(self.tables.items()):
                brought = self._read(connection, s.table_name == table, s.generation >= begun.read)
                lacking = (brought - kept) | self._forgotten(connection, brought)
                if lacking:
                    raise ConfigError(
                        f"rows of {table} that run {min(lacking)} read are not kept, so a fresh table would lack them",
                        hint="Read them from the source: `millrace resync --mode drop-and-load`.",
                        code="raw_not_whole",
                    )

    def tell_undone(self, only: Sequence[str]) -> None:
        """Notes name objects of which rows were mended or discarded since the first of these was read."""
        g, files = reject_groups.c, reject_files.c
        query = (
            sa.select(g.stream, g.state, sa.func.max(g.closed_at).label("at"))
            .join(reject_files, files.id == g.file_id)
            .where(files.pipeline_id == self._pipeline, g.state.in_(_UNDONE), g.closed_at >= self.first)
            .group_by(g.stream, g.state)
            .order_by(g.stream, g.state)
        )
        wanted = {name.lower() for name in only}
        with self.ours.home.database.reading() as connection:
            for row in connection.execute(query):
                if not wanted or row.stream.lower() in wanted:
                    code, done, undone = _UNDONE[row.state]
                    when = f"{row.at:%Y-%m-%d %H:%M} UTC"
                    self.ours.note(Note(code, f"rows of {row.stream} were {done}, the last on {when}; {undone}"))

    def rejects(self, into_fresh: bool) -> list[tuple[Group, int]]:
        """Open groups of which every row goes its way again with these files, and how many rows each has."""
        g, files = reject_groups.c, reject_files.c
        query = (
            sa.select(g.file_id, g.stream, g.stage, g.code, g.rows, *files)
            .join(reject_files, files.id == g.file_id)
            .where(files.pipeline_id == self._pipeline, g.state == "open", files.counted.is_(True))
            .where(g.stage != "source")
        )
        if self.since is not None:
            query = query.where(files.created_at >= self.since)
        found: list[tuple[Group, int]] = []
        with self.ours.home.database.reading() as connection:
            left_out, replays, coded = self._left_out(connection), self._replays(connection), self._coded(connection)
            objects = {one.stream for one in chain(self.files, *left_out.values())}
            origins = Origins(connection, self._pipeline)
            for row in connection.execute(query).all():
                table = self.tables.get(row.parked_table)
                if row.stage == "load" and into_fresh:
                    again = table is not None and table.generation == row.parked_generation
                else:
                    begins = [one.at for one in self.tables.values() if one.stream == row.stream]
                    begins = begins or [one.at for one in self.tables.values()]
                    reads = origins.of_rejects(row.id)
                    # What code or nested values made may be of the rows of any object.
                    made = row.stream not in objects or (coded is not None and coded <= row.created_at)
                    of = None if made and row.stage != "steps" else row.stream
                    again = bool(reads) and all(self._goes_again(read, of, begins, left_out, replays) for read in reads)
                if again:
                    found.append((Group(row.file_id, row.stream, row.stage, row.code), row.rows))
        return found

    def _goes_again(
        self,
        read: Read,
        of: str | None,
        begins: Sequence[datetime],
        left_out: dict[int, list[Any]],
        replays: set[int],
    ) -> bool:
        """Rows that this run read go their way again: no file that is left out may hold them. Those of an earlier
        replay are of any files from before it. ``of``: the only object whose rows they may be."""
        if any(begin > read.at for begin in begins):
            return False
        if read.run in replays:
            lacking = (one for one in chain(*left_out.values()) if one.created_at <= read.at)
        elif read.run in self.runs:
            # A file is committed with what becomes of its rows.
            lacking = (one for one in left_out.get(read.run, ()) if one.created_at >= read.at)
        else:
            return False
        return not any(of is None or one.stream == of for one in lacking)

    @property
    def _pipeline(self) -> str:
        return self.ours.books.feed

    def _read(self, connection: sa.Connection, *where: sa.ColumnElement[bool]) -> set[int]:
        """Runs that read the rows of those segments; a replay of raw rows reads none, its rows were kept before."""
        found = Origins(connection, self._pipeline).of_segments(*where)
        return {read.run for read in found} - self._replays(connection)

    def _replays(self, connection: sa.Connection) -> set[int]:
        r = run_log.c
        query = sa.select(r.id).where(r.pipeline_id == self._pipeline, r.kind == "RAW_REPLAY")
        return set(connection.execute(query).scalars())

    def _left_out(self, connection: sa.Connection) -> dict[int, list[Any]]:
        """By run, the files that it kept since their tables were read anew, and that are not among these."""
        f = raw_files.c
        mine = {file.path for file in self.files}
        query = sa.select(f.path, f.stream, f.run_id, f.created_at).where(f.pipeline_id == self._pipeline)
        found: dict[int, list[Any]] = {}
        for row in connection.execute(query):
            if row.path not in mine and not _read_anew(row, self.tables):
                found.setdefault(row.run_id, []).append(row)
        return found

    def _coded(self, connection: sa.Connection) -> datetime | None:
        """Since when a transformation may have made rows of one object those of another."""
        t = transformations.c
        query = sa.select(sa.func.min(t.created_at)).where(t.pipeline_id == self._pipeline, t.version > DRAFT)
        return connection.execute(query).scalar()

    def _kept(self, connection: sa.Connection) -> set[int]:
        """Runs of which rows were kept. Rows of objects that are not chosen were kept with them."""
        f = raw_files.c
        query = sa.select(f.run_id).where(f.pipeline_id == self._pipeline, f.kept.is_(True)).distinct()
        return set(connection.execute(query).scalars())

    def _forgotten(self, connection: sa.Connection, brought: set[int]) -> set[int]:
        """Those runs of which rows were kept and are no more, or that are left out by the day."""
        f = raw_files.c
        late = f.kept.is_(False) if self.since is None else sa.or_(f.kept.is_(False), f.created_at < self.since)
        query = sa.select(f.run_id).where(f.pipeline_id == self._pipeline, late).distinct()
        return brought & set(connection.execute(query).scalars())


def _chosen(ours: Crew, streams: Sequence[str] | None, since: date | None) -> _Chosen:
    """What was kept of these streams (None: of all) since that day, and since their tables were read anew, oldest
    first."""
    moment = datetime.combine(since, time(), UTC) if since is not None else None
    f = raw_files.c
    query = sa.select(raw_files).where(f.pipeline_id == ours.books.feed, f.kept.is_(True))
    if streams is not None:
        query = query.where(f.stream.in_(streams))
    if moment is not None:
        query = query.where(f.created_at >= moment)
    with ours.home.database.reading() as connection:
        found = connection.execute(query.order_by(f.id)).all()
        begun = _begun(connection, ours.books.feed)
    found = [row for row in found if not _read_anew(row, begun)]
    if not found:
        raise ConfigError(
            f"pipeline {ours.pipeline.name} keeps no rows as they were read" + (f" since {since}" if since else ""),
            hint="Say `keep_raw: 30d` in the pipeline; rows that are read from then on are kept.",
            code="no_raw",
        )
    return _Chosen(
        ours=ours,
        files=[_raw_file(row) for row in found],
        since=moment,
        first=min(row.created_at for row in found),
        runs=frozenset(row.run_id for row in found),
        tables=begun,
    )


def _read_anew(file: Any, begun: dict[str, _Begun]) -> bool:
    """The file is from before a full reload of its table: its rows are not to come back."""
    return any(file.stream == one.stream and file.created_at < one.at for one in begun.values())


def _begun(connection: sa.Connection, pipeline: str) -> dict[str, _Begun]:
    """Every table of the pipeline. A generation that a replay of raw rows made goes on with what was read before."""
    s, t, r = segments.c, tables.c, run_log.c
    kinds = (
        sa.select(s.table_name, s.generation, r.kind)
        .join(run_log, r.id == s.run_id)
        .where(s.pipeline_id == pipeline, s.number == 1)
    )
    first = {(row.table_name, row.generation): row.kind for row in connection.execute(kinds)}
    replays = connection.execute(
        sa.select(r.started_at, r.ended_at).where(r.pipeline_id == pipeline, r.kind == "RAW_REPLAY")
    ).all()

    def replayed(row: Any) -> bool:
        """A replay of raw rows began the generation. One that got no row is told by the time at which it began."""
        if (kind := first.get((row.name, row.generation))) is not None:
            return kind == "RAW_REPLAY"
        return any(
            one.started_at <= row.created_at and (one.ended_at is None or row.created_at <= one.ended_at)
            for one in replays
        )

    found: dict[str, _Begun] = {}
    query = sa.select(tables).where(t.pipeline_id == pipeline).order_by(t.name, t.generation)
    for row in connection.execute(query):
        before = found.get(row.name)
        if before is not None and replayed(row):
            found[row.name] = replace(before, generation=row.generation)
        else:
            at = row.created_at if row.generation > 1 else datetime(1970, 1, 1, tzinfo=UTC)
            found[row.name] = _Begun(row.stream, row.generation, row.generation, at)
    return found


def _raw_file(row: Any) -> RawFile:
    return RawFile(row.stream, row.lane, row.path, row.rows, row.size_bytes, row.checksum, row.ingested_at_ms)


def _check_modes(ours: Crew, sync: Sync, chosen: _Chosen) -> None:
    """Raises ConfigError when a table that these rows may go to is not merged."""
    sources = {stream.name for stream in sync.source.streams()}
    streams = {file.stream for file in chosen.files}
    for mapping in sync.mappings().by_stream.values():
        # Which event types steps and nested values make is not known before.
        if mapping.mode != "merge" and (mapping.stream in streams or mapping.stream not in sources):
            how = "appended" if mapping.mode == "append" else "kept with its history"
            raise ConfigError(
                f"{mapping.stream} is {how}: its rows would be doubled",
                hint=f"Use `{as_typed('replay', ours.pipeline.name, '--into-fresh')}`, which fills new tables.",
                code="would_double",
            )


def _ingest(ours: Crew, sync: Sync, chosen: _Chosen, together: _Together, *, into_fresh: bool) -> bool:
    """The rows are on the stage, and their commits are gathered; False when the run was asked to stop."""
    streams = {stream.name: stream for stream in sync.source.streams()}
    mappings = sync.mappings()
    flight = replace(sync.flight, raw=False)
    # Several objects may bring rows of one event type by way of the steps: then their order matters.
    parts = [chosen.files] if flight.step is not None else _by_stream(chosen.files)
    for files in parts:
        batches = in_order(sync.stage, files, timed=into_fresh)
        for name, some in groupby(batches, key=lambda batch: batch.stream):
            stream = streams.get(name, Stream(name))
            reading = Reading(stream, "again", memory=ours.books.memory(name), load_mode=mappings.of(name).mode)
            finished = ingest(
                _with_checkpoints(some),
                reading,
                mappings=mappings,
                ledger=together,
                draft=Draft(sync.stage, ours.books.feed),
                clock=sync.clock,
                meter=sync.meter,
                committed=lambda: None,
                stopping=sync.stopping.is_set,
                note=ours.note,
                flight=flight,
            )
            if not finished:
                return False
    return True


def _tell_failed(ours: Crew, commits: Sequence[Commit], closed: int, *, into_fresh: bool) -> None:
    """A note tells of rows that failed now and had not failed before: what was loaded of them is at issue.

    ``closed``: open rejects that went through it again. Which of them failed again is not known, so it tells the least.
    """
    files = [file for commit in commits for file in commit.rejects]
    failed = sum(file.rows for file in files)
    if failed <= closed:
        return
    codes = sorted({code for file in files for _, _, code in file.counts})
    loaded = "is not in the fresh tables" if into_fresh else "stays in the tables as it was"
    ours.note(
        Note(
            "failed_anew",
            f"{failed} rows failed ({', '.join(codes)}), of which {closed or 'none'} were open rejects before: what "
            f"was loaded of the others {loaded}, and they are rejects now",
        )
    )


def _by_stream(files: Sequence[RawFile]) -> list[list[RawFile]]:
    found: dict[str, list[RawFile]] = {}
    for file in files:
        found.setdefault(file.stream, []).append(file)
    return list(found.values())


def _with_checkpoints(batches: Iterator[Any]) -> Iterator[Item]:
    for batch in batches:
        yield batch
        yield Checkpoint(None)


@dataclass(slots=True)
class _Together:
    """A ledger (`millrace.engine.ledger.Ledger`) that gathers commits for one transaction."""

    books: Books
    commits: list[Commit] = field(default_factory=list[Commit])

    def cursor(self, stream: str, lane: Lane) -> JSON:
        return self.books.cursor(stream, lane)

    def memory(self, stream: str) -> Recall:
        return self.books.memory(stream)

    def mappings(self) -> Sequence[Mapping]:
        return self.books.mappings()

    def latest_ingested_at_ms(self) -> int:
        latest = self.books.latest_ingested_at_ms()
        return max([latest, *(commit.ingested_at_ms for commit in self.commits[-1:])])

    def sampled(self, stream: str) -> int:
        return self.books.sampled(stream)

    def commit(self, commit: Commit) -> None:
        self.commits.append(commit)
