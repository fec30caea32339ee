"""What a run says of files, without the run."""

from __future__ import annotations

from millrace.control.books import file_notes
from millrace.control.books.commits import Entry
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.data.batch import FileNote, FileStatus

AT_MS = 1_767_225_600_000  # 2026-01-01


def seen(home: Home, pipeline: str, *notes: FileNote, run: int = 1) -> None:
    """A checkpoint of that run said this of files."""
    with home.database.transaction() as connection:
        found = pipelines.find(home, pipeline)
        file_notes.keep(Entry(connection, found.id, run, home.database.now()), notes)


def note(path: str, status: FileStatus, rows: int = 0, rejected: int = 0, error: str | None = None) -> FileNote:
    return FileNote("orders", path, 1_234_567, AT_MS, f"v1 of {path}", status, AT_MS, rows, rejected, error)
