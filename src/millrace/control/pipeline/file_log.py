"""The log of files (pipelines.md 13): what became of each file that a source saw, and what people want of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import sqlalchemy as sa

from millrace.connect.files import wishes
from millrace.control import sheets
from millrace.control.activity import Entity, wrote
from millrace.control.books.file_notes import in_parts
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.tables import file_log, marks
from millrace.control.pipeline import pipelines
from millrace.data.batch import FileStatus
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

# What is done to a row of the log: its columns that become others.
_Change: TypeAlias = Callable[[sa.Connection, Any], dict[str, Any]]

_STATUSES: tuple[FileStatus, ...] = get_args(FileStatus)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file as its source saw it last. ``version``: the same as long as the file is. ``rows`` and ``rejected``: those
    of that version, the latter such as could not be read. ``attempts``: how often its reading began. ``run``: the last
    one that had to do with it."""

    stream: str
    path: str
    size_bytes: int
    modified_at: datetime
    version: str
    status: FileStatus
    rows: int
    rejected: int
    attempts: int
    first_seen_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    gone_at: datetime | None
    changed_at: datetime
    run: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class FileCounts:
    """How many files there are of each status."""

    queued: int = 0
    ingesting: int = 0
    ingested: int = 0
    failed: int = 0
    skipped: int = 0
    gone: int = 0


def files_of(
    home: Home,
    pipeline: str,
    *,
    stream: str | None = None,
    status: FileStatus | None = None,
    search: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[FileEntry]:
    """Files of the pipeline, those that were seen first at the latest before others.

    ``search``: part of the path; ``since``: with which something happened from then on. Raises ConfigError
    "bad_status", "bad_limit" and "bad_cursor".
    """
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    f = file_log.c
    where = [f.pipeline_id == pipelines.find(home, pipeline).id]
    if stream is not None:
        where.append(f.stream == stream)
    if status is not None:
        where.append(_is(status))
    if search:
        where.append(f.path.icontains(search, autoescape=True))
    if since is not None:
        where.append(f.changed_at >= since)
    if cursor is not None:
        where.append(f.id < pages.number(cursor))
    query = sa.select(file_log).where(*where).order_by(f.id.desc()).limit(limit + 1)
    with home.database.reading() as connection:
        found = connection.execute(query).all()
    page = pages.cut(found, limit, lambda row: str(row.id))
    return Page(tuple(_entry(row) for row in page.items), page.next)


def file_counts(home: Home, pipeline: str, *, stream: str | None = None) -> FileCounts:
    """How many files of the pipeline, or of one of its objects, there are of each status."""
    home.actor.must("view")
    f = file_log.c
    where = [f.pipeline_id == pipelines.find(home, pipeline).id]
    if stream is not None:
        where.append(f.stream == stream)
    shown = sa.case((f.skipped.is_(True), "skipped"), else_=f.status)
    query = sa.select(shown, sa.func.count()).where(*where).group_by(shown)
    with home.database.reading() as connection:
        return FileCounts(**{status: int(n) for status, n in connection.execute(query)})


def read_again(home: Home, pipeline: str, paths: Sequence[str]) -> tuple[FileEntry, ...]:
    """The next run reads the files once more, whole, also where it has read this very version of them.

    Raises ConfigError "unknown_file", and "wrong_state" for one that is skipped or gone; nothing is done then.
    """

    def change(connection: sa.Connection, row: Any) -> dict[str, Any]:
        if row.skipped or row.status == "gone":
            raise ConfigError(
                f"the file {row.path} is {'skipped' if row.skipped else 'gone'}, so it is not read",
                hint="Take it back first." if row.skipped else "It is read when it is there again.",
                path="paths",
                code="wrong_state",
            )
        _marked(connection, row, wishes.again(row.path))
        return {"status": "queued", "error": None}

    return _each(home, pipeline, paths, "read_again", "to be read again", change)


def skip_files(home: Home, pipeline: str, paths: Sequence[str]) -> tuple[FileEntry, ...]:
    """The files are not read from the next run on. What was read of them stays. Raises ConfigError "unknown_file"."""

    def change(connection: sa.Connection, row: Any) -> dict[str, Any]:
        _unmarked(connection, row, wishes.skip(row.path))
        _marked(connection, row, wishes.skip(row.path))
        return {"skipped": True}

    return _each(home, pipeline, paths, "skip", "skipped", change)


def unskip_files(home: Home, pipeline: str, paths: Sequence[str]) -> tuple[FileEntry, ...]:
    """The next run reads the files as if they had not been skipped: those that it does not have in their version."""

    def change(connection: sa.Connection, row: Any) -> dict[str, Any]:
        _unmarked(connection, row, wishes.skip(row.path))
        return {"skipped": False}

    return _each(home, pipeline, paths, "unskip", "no longer skipped", change)


def export_files(home: Home, pipeline: str) -> Iterator[str]:
    """The lines of a CSV file with the whole log, each with its end; read page by page."""
    home.actor.must("view")
    pipelines.find(home, pipeline)
    names = [field.name for field in fields(FileEntry)]
    entries = pages.every(lambda after: files_of(home, pipeline, limit=pages.MOST, cursor=after))
    return sheets.lines(names, ([getattr(entry, name) for name in names] for entry in entries))


def _each(
    home: Home, pipeline: str, paths: Sequence[str], action: str, became: str, change: _Change
) -> tuple[FileEntry, ...]:
    """The change was made to each of the files, or to none; as they are now."""
    home.actor.must("pipelines.edit")
    found = pipelines.find(home, pipeline)
    wanted = {wishes.digest(path): path for path in paths}
    f = file_log.c
    now = home.database.now()
    with home.database.transaction() as connection:
        rows: list[Any] = []
        for some in in_parts(sorted(wanted)):
            # A run that writes to one of them now is waited for.
            mine = sa.select(file_log).where(f.pipeline_id == found.id, f.digest.in_(some))
            rows += connection.execute(mine.order_by(f.digest).with_for_update()).all()
        # The same file may have been another object's, before it was told otherwise how files become objects.
        there = {row.digest for row in rows if row.status != "gone"}
        rows = [row for row in rows if row.status != "gone" or row.skipped or row.digest not in there]
        if missing := next((path for name, path in wanted.items() if name not in {row.digest for row in rows}), None):
            raise ConfigError(
                f"pipeline {pipeline} has seen no file {missing[:200]!r}",
                hint="Its log of files says which it has seen.",
                path="paths",
                code="unknown_file",
            )
        for row in rows:
            values = change(connection, row) | {"changed_at": now}
            connection.execute(sa.update(file_log).where(f.id == row.id).values(values))
        if rows:
            named = rows[0].path if len(wanted) == 1 else f"{len(wanted)} files"
            said = f"{named} of {found.name} {'is' if len(wanted) == 1 else 'are'} {became}"
            some = [row.path for row in rows[:100]]
            wrote(home, "MEDIUM", Entity("file", found.id, found.name), action, said, after={"paths": some})
        after = [connection.execute(sa.select(file_log).where(f.id == row.id)).one() for row in rows]
    return tuple(_entry(row) for row in after)


def _marked(connection: sa.Connection, row: Any, part: str) -> None:
    mark = {"pipeline_id": row.pipeline_id, "stream": row.stream, "part": part, "data": b""}
    connection.execute(sa.insert(marks).values(mark))


def _unmarked(connection: sa.Connection, row: Any, part: str) -> None:
    m = marks.c
    mine = (m.pipeline_id == row.pipeline_id, m.stream == row.stream, m.part == part)
    connection.execute(sa.delete(marks).where(*mine))


def _is(status: str) -> sa.ColumnElement[bool]:
    if status not in _STATUSES:
        raise ConfigError(
            f"a file is never {status[:40]!r}", hint=f"It is {', '.join(_STATUSES)}.", path="status", code="bad_status"
        )
    if status == "skipped":
        return sa.or_(file_log.c.skipped.is_(True), file_log.c.status == status)
    return sa.and_(file_log.c.skipped.is_(False), file_log.c.status == status)


def _entry(row: Any) -> FileEntry:
    return FileEntry(
        stream=row.stream,
        path=row.path,
        size_bytes=row.size_bytes,
        modified_at=row.modified_at,
        version=row.version,
        status="skipped" if row.skipped else row.status,
        rows=row.rows,
        rejected=row.rejected,
        attempts=row.attempts,
        first_seen_at=row.first_seen_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        gone_at=row.gone_at,
        changed_at=row.changed_at,
        run=row.run_id,
        error=row.error,
    )
