"""The books of one pipeline: cursors, segments, rejects, marks and mappings, each commit one transaction (I1, I4)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from millrace.connect.destination import Loaded
from millrace.control.books import commits, counts, file_notes, shelving
from millrace.control.books.commits import Entry, current_tables, latest_mappings, table_mappings
from millrace.control.books.leases import LEASE_S, Lease, confirm
from millrace.control.database.db import Database, any_in
from millrace.control.database.tables import (
    cursor_history,
    cursors,
    mappings,
    marks,
    pipelines,
    reject_files,
    reject_groups,
    samples,
    segments,
    tables,
)
from millrace.data.batch import JSON, Lane, Segment
from millrace.data.dataclass import dataclass
from millrace.engine.ledger import Commit, RejectFile, Shelved
from millrace.engine.mapping import Mapping


@dataclass(frozen=True, slots=True)
class Group:
    """Rejected rows of one file that share stream, stage and code."""

    file: int
    stream: str
    stage: str
    code: str


class Recall:
    """The marks of one stream (`millrace.connect.source.Memory`)."""

    def __init__(self, database: Database, pipeline_id: str, stream: str) -> None:
        self._database = database
        # Parts that were there when this memory was made: a first history asks for hundreds that are not.
        self._held: frozenset[str] | None = None
        self._of = (marks.c.pipeline_id == pipeline_id, marks.c.stream == stream)

    def parts(self) -> Sequence[str]:
        with self._database.reading() as connection:
            found = connection.execute(sa.select(marks.c.part).where(*self._of).distinct().order_by(marks.c.part))
            return found.scalars().all()

    def recall(self, part: str) -> Sequence[bytes]:
        if self._held is None:
            self._held = frozenset(self.parts())
        if part not in self._held:
            return []
        with self._database.reading() as connection:
            found = connection.execute(
                sa.select(marks.c.data).where(*self._of, marks.c.part == part).order_by(marks.c.id)
            )
            return [bytes(data) for data in found.scalars()]


class Books:
    """The books of one pipeline in the hands of one run; its `Ledger` and its `Shelf`.

    Every write asks first whether the lease is still ours and raises Stale when it is not (I4). Reading does not.
    """

    def __init__(self, database: Database, pipeline_id: str, run_id: int, lease: Lease) -> None:
        self.feed = pipeline_id
        self._database = database
        self._run = run_id
        self._lease = lease

    # What ingestion asks (`Ledger`).

    def cursor(self, stream: str, lane: Lane) -> JSON:
        with self._database.reading() as connection:
            return connection.execute(sa.select(cursors.c.cursor).where(*self._lane(stream, lane))).scalar()

    def progress(self, stream: str, lane: Lane) -> float | None:
        """Share of the lane that was done at the last commit; None where the source did not know it."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(cursors.c.progress).where(*self._lane(stream, lane))).scalar()

    def memory(self, stream: str) -> Recall:
        return Recall(self._database, self.feed, stream)

    def mappings(self) -> Sequence[Mapping]:
        with self._database.reading() as connection:
            return [Mapping.from_json(row.mapping) for row in latest_mappings(connection, self.feed).values()]

    def any_rejects(self) -> bool:
        """Whether rows of the pipeline are rejects that nobody closed."""
        groups, files = reject_groups.c, reject_files.c
        mine = sa.select(groups.file_id).join(reject_files, files.id == groups.file_id)
        query = mine.where(files.pipeline_id == self.feed, groups.state == "open").limit(1)
        with self._database.reading() as connection:
            return any_in(connection, reject_groups) and connection.execute(query).first() is not None

    def latest_ingested_at_ms(self) -> int:
        with self._database.reading() as connection:
            query = sa.select(pipelines.c.ingested_at_ms).where(pipelines.c.id == self.feed)
            return connection.execute(query).scalar_one()

    def sampled(self, stream: str) -> int:
        with self._database.reading() as connection:
            query = sa.select(sa.func.count()).where(samples.c.pipeline_id == self.feed, samples.c.stream == stream)
            return connection.execute(query).scalar_one()

    def commit(
        self, commit: Commit, *, replayed: Sequence[Group] = (), asked: bool = True, mended: bool = False
    ) -> None:
        """All of the commit is kept, or nothing (I1). ``replayed``: groups of rejects, of one file, whose rows are
        all in it, or among those that stay.

        ``asked``: somebody asked for that replay; else it counts as an attempt. ``mended``: rows of each of the groups
        are as a person wrote them.
        """
        with self._entry() as entry:
            for file in commit.staying:
                commits.keep_staying(entry, file, replayed[0].file)
            for group in replayed:
                commits.replay(entry, group.file, group.stream, group.stage, group.code, asked=asked, mended=mended)
            self._keep(entry, commit, replayed=next((group.file for group in replayed), None))

    def appended(self) -> set[str]:
        """The source's streams of which rows are in a table that is appended to."""
        filled = (each.mapping for each in self.tables() if each.last)
        return {name for one in filled if one.mode == "append" for name in one.sources}

    def commit_all(self, kept: Sequence[Commit], *, fresh: Sequence[str] = (), replayed: Sequence[Group] = ()) -> None:
        """All of the commits are kept, in their order, or none of them (I1).

        Tables that are named ``fresh`` begin a new generation with them, beside the old table, and are complete: all
        that takes its place is in these commits. ``replayed``: groups of rejects whose rows are in them.
        """
        with self._entry() as entry:
            for table in fresh:
                shelving.renew(entry, table, fresh=True)
            for group in replayed:
                commits.replay(entry, group.file, group.stream, group.stage, group.code)
            for commit in kept:
                self._keep(entry, commit)
            for table in fresh:
                generation = current_tables(entry.connection, self.feed)[table].generation
                where = commits.named(entry, table, generation)
                entry.connection.execute(sa.update(tables).where(*where).values(complete=True))

    def _keep(self, entry: Entry, commit: Commit, *, replayed: int | None = None) -> None:
        commits.balanced(commit)  # I5
        commits.keep_mappings(entry, commit.mappings)
        commits.keep_segments(
            entry, commit.segments, lane=commit.lane, transformation=commit.transformation, replayed=replayed
        )
        for file in commit.rejects:
            commits.keep_reject(entry, file, parked=None, transformation=commit.transformation, replayed=replayed)
        commits.keep_raw(entry, commit.raw)
        commits.keep_samples(entry, commit.samples)
        commits.keep_marks(entry, commit.stream, commit.marks)
        file_notes.keep(entry, commit.files)
        if commit.lane != "again":
            commits.keep_cursor(entry, commit)
        commits.keep_time(entry, commit.ingested_at_ms)
        counts.add(entry.connection, commits.counted(entry, commit))

    def replaying(self, groups: Sequence[Group], *, asked: bool = True, mended: bool = False) -> Replaying:
        """A ledger whose next commit says that these groups were replayed, because somebody ``asked``, or mended."""
        return Replaying(self, groups, asked, mended)

    def mapping(self, stream: str, version: int | None) -> Mapping | None:
        """That version of a stream's mapping; None where it is not known."""
        m = mappings.c
        query = sa.select(m.mapping).where(m.pipeline_id == self.feed, m.stream == stream, m.version == version)
        with self._database.reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else Mapping.from_json(found)

    # What loading asks (`Shelf`).

    def tables(self) -> Sequence[Shelved]:
        with self._database.reading() as connection:
            latest = {row.table_name: row.mapping for row in latest_mappings(connection, self.feed).values()}
            # Rows that wait for a table which the event type has left since are loaded there all the same.
            left = table_mappings(connection, self.feed)
            return [
                Shelved(
                    mapping=Mapping.from_json(latest.get(row.name) or left[row.name]),
                    generation=row.generation,
                    fresh=row.fresh,
                    loaded=row.loaded,
                    last=row.last,
                    complete=row.complete,
                    awaits=row.awaits,
                )
                for row in current_tables(connection, self.feed).values()
                if row.name in latest or (row.name in left and row.loaded < row.last)
            ]

    def segments(self, table: str, generation: int, after: int) -> Sequence[Segment]:
        s = segments.c
        query = sa.select(segments).where(
            s.pipeline_id == self.feed, s.table_name == table, s.generation == generation, s.number > after
        )
        with self._database.reading() as connection:
            found = connection.execute(query.where(s.state != "dropped").order_by(s.number)).all()
        return [_segment(row) for row in found]

    def segment(self, table: str, generation: int, number: int) -> Segment | None:
        s = segments.c
        query = sa.select(segments).where(
            s.pipeline_id == self.feed, s.table_name == table, s.generation == generation, s.number == number
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _segment(row)

    def park(self, table: str, generation: int, upto: int, rejects: Sequence[RejectFile]) -> None:
        with self._entry() as entry:
            shelving.park(entry, table, generation, upto, rejects)

    def loaded(self, table: str, generation: int, upto: int, counts: Loaded | None) -> None:
        with self._entry() as entry:
            shelving.loaded(entry, table, generation, upto, counts)

    def swapped(self, table: str, generation: int) -> None:
        with self._entry() as entry:
            where = commits.named(entry, table, generation)
            entry.connection.execute(sa.update(tables).where(*where).values(fresh=False))

    def rewind(self, table: str, generation: int, to: int) -> None:
        with self._entry() as entry:
            shelving.rewind(entry, table, generation, to)

    def confirm(self) -> None:
        """Raises Stale when the lease is no longer ours."""
        with self._entry():
            pass

    # What resync and reset ask.

    def forget_lane(self, stream: str, lane: Lane, *, marks: bool) -> None:
        """The lane of the stream begins anew at the next read; with ``marks``, its memory is empty too."""
        self.restart(stream, lanes=[lane], marks=marks, fresh=None)

    def new_generation(self, table: str, *, fresh: bool = True) -> int:
        """The table begins anew: rows that waited for the old generation are dropped. The new one's number."""
        with self._entry() as entry:
            return shelving.renew(entry, table, fresh=fresh)

    def give_up(self, table: str, generation: int, number: int, path: str, size_bytes: int, checksum: str) -> None:
        """A waiting segment, whose file is damaged, has the file at ``path`` instead, without a row."""
        with self._entry() as entry:
            shelving.give_up(entry, table, generation, number, path, size_bytes, checksum)

    def restart(self, *streams: str, lanes: Sequence[Lane], marks: bool, fresh: bool | None) -> dict[str, int]:
        """Lanes of the streams, with ``marks`` their memory too, begin anew with their tables, in one transaction:
        some may have rows of several.

        ``fresh`` None leaves the tables as they are, so that rows are merged into them; else each gets a new
        generation, beside the old table (True) or in it (False), complete once all of these streams that it has rows
        of are read, and open rejects of before are discarded: their rows are read anew. Answers how many rows these
        were, by event type.
        """
        with self._entry() as entry:
            for stream in streams:
                for lane in lanes:
                    commits.forget(entry, stream, lane)
                if marks:
                    commits.forget_marks(entry, stream)
            if fresh is None:
                return {}
            filled: dict[str, list[str]] = {}
            for stream in streams:
                for row in commits.tables_of(entry, stream):
                    filled.setdefault(row.name, []).append(stream)
            for table, awaits in filled.items():
                shelving.renew(entry, table, fresh=fresh, awaits=awaits)
            # Their rows come again with what is read anew: in a fresh table they would stand twice.
            types = {one for stream in streams for one in commits.event_types_of(entry, stream)}
            theirs = reject_groups.c.stream.in_(sorted(types))
            if commits.streams_read(entry) <= {*streams}:
                # Earlier versions kept no mapping of an event type of which all rows failed.
                theirs |= reject_groups.c.stream.not_in(sorted(latest_mappings(entry.connection, self.feed)))
            return self._give_up_rejects(entry, theirs)

    def drop_everything(self, *, fresh: bool = False) -> dict[str, int]:
        """The pipeline knows of nothing that it read: no cursor, mark, mapping, waiting row or open reject.

        Generations go on counting: a destination that still holds a number of ours must not take it for one of the
        segments to come. Answers each table's generation.
        """
        with self._entry() as entry:
            file_notes.forget(entry.connection, self.feed)
            for table in (cursors, cursor_history, mappings):
                entry.connection.execute(sa.delete(table).where(table.c.pipeline_id == self.feed))
            self._give_up_rejects(entry)
            names = list(current_tables(entry.connection, self.feed))
            return {name: shelving.renew(entry, name, fresh=fresh) for name in names}

    def _give_up_rejects(self, entry: Entry, *chosen: sa.ColumnElement[bool]) -> dict[str, int]:
        """Open rejects that are chosen are discarded; how many rows, by event type."""
        mine = sa.select(reject_files.c.id).where(reject_files.c.pipeline_id == self.feed)
        open_ = (reject_groups.c.file_id.in_(mine), reject_groups.c.state == "open", *chosen)
        gone = {"state": "discarded", "closed_at": entry.now}
        closing = (
            sa.update(reject_groups).where(*open_).values(gone).returning(reject_groups.c.stream, reject_groups.c.rows)
        )
        count: dict[str, int] = {}
        for row in entry.connection.execute(closing).all():
            count[row.stream] = count.get(row.stream, 0) + row.rows
        return count

    @contextmanager
    def _entry(self) -> Generator[Entry]:
        now = self._database.now()
        with self._database.transaction() as connection:
            confirm(connection, self._lease, now + timedelta(seconds=LEASE_S))  # I4
            yield Entry(connection, self.feed, self._run, now)

    def _lane(self, stream: str, lane: Lane) -> tuple[sa.ColumnElement[bool], ...]:
        return (cursors.c.pipeline_id == self.feed, cursors.c.stream == stream, cursors.c.lane == lane)


def _segment(row: Any) -> Segment:
    return Segment(
        stream=row.stream,
        table=row.table_name,
        path=row.path,
        rows=row.rows,
        size_bytes=row.size_bytes,
        checksum=row.checksum,
        number=row.number,
        generation=row.generation,
    )


class Replaying:
    """The books (`millrace.engine.ledger.Ledger`) for one replay: its first commit closes the groups.

    So that commit must hold all of their rows: the replayed source gives one checkpoint, at its end.
    """

    def __init__(self, books: Books, groups: Sequence[Group], asked: bool, mended: bool) -> None:
        self._books = books
        self._groups = tuple(groups)
        self._asked = asked
        self._mended = mended

    def cursor(self, stream: str, lane: Lane) -> JSON:
        return self._books.cursor(stream, lane)

    def memory(self, stream: str) -> Recall:
        return self._books.memory(stream)

    def mappings(self) -> Sequence[Mapping]:
        return self._books.mappings()

    def latest_ingested_at_ms(self) -> int:
        return self._books.latest_ingested_at_ms()

    def sampled(self, stream: str) -> int:
        return self._books.sampled(stream)

    def commit(self, commit: Commit) -> None:
        self._books.commit(commit, replayed=self._groups, asked=self._asked, mended=self._mended)
        self._groups = ()
