"""The log of files as runs write it: what a checkpoint says of them, in its transaction (I1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect.files.wishes import WISH, digest
from millrace.control.database.db import any_in, upsert
from millrace.control.database.tables import file_log, marks
from millrace.data.batch import GONE_FOR, FileNote

if TYPE_CHECKING:
    from millrace.control.books.commits import Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE = 500


def keep(entry: Entry, notes: Sequence[FileNote]) -> None:
    """The log says what the notes say, in their order. A new one of a file takes the place of what was said before."""
    by_stream: dict[str, dict[str, list[FileNote]]] = {}
    for note in notes:
        by_stream.setdefault(note.stream, {}).setdefault(digest(note.path), []).append(note)
    for stream, by_digest in by_stream.items():
        known: dict[str, dict[str, Any]] = {}
        for some in in_parts(sorted(by_digest)):
            known |= _known(entry, stream, some)
        for some in in_parts([*by_digest]):
            rows: list[dict[str, Any]] = []
            for name in some:
                row = known.get(name) or _begun(entry, name, by_digest[name][0])
                for note in by_digest[name]:
                    row = row | _said(row, note, entry.run)
                rows.append(row | {"changed_at": entry.now, "run_id": entry.run})
            upsert(entry.connection, file_log, rows, key=["pipeline_id", "stream", "digest"])


def forget(connection: sa.Connection, pipeline_id: str, stream: str | None = None) -> None:
    """What was read of the files of a stream, or of all, is forgotten, with every mark; what people want of files is
    not, and a file that is skipped stays in the log."""
    mine = [table.c.pipeline_id == pipeline_id for table in (marks, file_log)]
    if stream is not None:
        mine = [sa.and_(one, table.c.stream == stream) for one, table in zip(mine, (marks, file_log), strict=True)]
    connection.execute(sa.delete(marks).where(mine[0], marks.c.part.not_like(f"{WISH}%")))
    connection.execute(sa.delete(file_log).where(mine[1], file_log.c.skipped.is_(False)))
    nothing = {"status": "queued", "rows": 0, "rejected": 0, "started_at": None, "ended_at": None, "error": None}
    connection.execute(sa.update(file_log).where(mine[1]).values(nothing))


def expire(connection: sa.Connection, now: datetime) -> int:
    """Files that vanished long ago leave the log, but for those that are skipped; how many did."""
    long_ago = (file_log.c.gone_at < now - GONE_FOR, file_log.c.skipped.is_(False))
    return connection.execute(sa.delete(file_log).where(*long_ago)).rowcount if any_in(connection, file_log) else 0


def failed_by_pipeline() -> sa.Select[*tuple[Any, ...]]:
    """How many files of each pipeline could not be read, ``n`` by ``pipeline_id``; without those that are skipped."""
    f = file_log.c
    return (
        sa.select(f.pipeline_id, sa.func.count().label("n"))
        .where(f.status == "failed", f.skipped.is_(False))
        .group_by(f.pipeline_id)
    )


def standing(connection: sa.Connection, pipeline_id: str) -> list[str]:
    """Streams with files that are there, and that nobody wants to be skipped."""
    f = file_log.c
    mine = (f.pipeline_id == pipeline_id, f.status != "gone", f.skipped.is_(False))
    query = sa.select(f.stream).where(*mine).distinct().order_by(f.stream)
    return list(connection.execute(query).scalars()) if any_in(connection, file_log) else []


def in_parts(names: list[str]) -> Iterator[list[str]]:
    """The names, so many at once as a statement takes."""
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))


def _known(entry: Entry, stream: str, digests: list[str]) -> dict[str, dict[str, Any]]:
    f = file_log.c
    # Whoever wants something of one of them, waits: what is read here is written back whole.
    query = (
        sa.select(file_log)
        .where(f.pipeline_id == entry.pipeline, f.stream == stream, f.digest.in_(digests))
        .order_by(f.digest)
        .with_for_update()
    )
    found = (dict(row) for row in entry.connection.execute(query).mappings())
    return {row["digest"]: {name: value for name, value in row.items() if name != "id"} for row in found}


def _begun(entry: Entry, name: str, note: FileNote) -> dict[str, Any]:
    return {
        "pipeline_id": entry.pipeline,
        "stream": note.stream,
        "digest": name,
        "path": note.path,
        "size_bytes": note.size_bytes,
        "modified_at": _moment(note.modified_ms),
        "version": note.version,
        "status": "queued",
        "skipped": False,
        "rows": 0,
        "rejected": 0,
        "attempts": 0,
        "first_seen_at": _moment(note.at_ms),
        "started_at": None,
        "ended_at": None,
        "gone_at": None,
        "run_id": None,
        "error": None,
    }


def _said(row: dict[str, Any], note: FileNote, run: int) -> dict[str, Any]:
    at = _moment(note.at_ms)
    said: dict[str, Any] = {"status": note.status, "gone_at": at if note.status == "gone" else None}
    if note.status == "gone":
        return said
    if note.status == "queued" and row["status"] == "gone" and row["version"] == note.version and row["ended_at"]:
        # There again as it was.
        return said | {"status": "failed" if row["error"] else "ingested"}
    said |= {
        "size_bytes": note.size_bytes,
        "modified_at": _moment(note.modified_ms),
        "version": note.version,
        "error": note.error,
    }
    if note.status in ("queued", "skipped"):
        return said if note.version == row["version"] else said | {"ended_at": None}
    said |= {"rows": note.rows, "rejected": note.rejected}
    if note.status != "ingesting":
        return said | {"ended_at": at}
    if row["status"] == "ingesting" and row["run_id"] == run:
        return said
    return said | {"started_at": at, "ended_at": None, "attempts": row["attempts"] + 1, "run_id": run}


def _moment(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
