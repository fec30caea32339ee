"""The log of files: what became of each file that the source of a pipeline saw, and what people want of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.names import Moment, Name
from millrace.control.pipeline import file_log
from millrace.control.pipeline.file_log import FileCounts, FileEntry
from millrace.data.batch import FileStatus

Action: TypeAlias = Literal["read_again", "skip", "unskip"]
Object = Annotated[Name, Field(description="Only files of this object.")]
Path = Annotated[str, Field(min_length=1, max_length=4096)]


@operation("GET", "/pipelines/{pipeline}/files")
def list_(
    home: Home,
    pipeline: Name,
    object: Object | None = None,
    status: FileStatus | None = None,
    search: Annotated[str, Field(max_length=1000, description="A part of a path.")] | None = None,
    since: Annotated[Moment, Field(description="Only those with which something happened from then on.")] | None = None,
    after: After | None = None,
    limit: Limit = 50,
) -> Page[FileEntry]:
    """List the files that the source of a pipeline saw, the newest first, and what became of each."""
    return file_log.files_of(
        home, pipeline, stream=object, status=status, search=search, since=since, limit=limit, cursor=after
    )


@operation("GET", "/pipelines/{pipeline}/file-counts")
def counts(home: Home, pipeline: Name, object: Object | None = None) -> FileCounts:
    """Count the files of a pipeline by their status."""
    return file_log.file_counts(home, pipeline, stream=object)


@operation("GET", "/pipelines/{pipeline}/file-export")
def export(home: Home, pipeline: Name) -> Iterator[bytes]:
    """Write the whole log of files of a pipeline as lines of CSV."""
    return (line.encode() for line in file_log.export_files(home, pipeline))


@operation("POST", "/pipelines/{pipeline}/file-actions", "pipelines.edit")
def act(
    home: Home,
    pipeline: Name,
    action: Action,
    paths: Annotated[Sequence[Path], Field(min_length=1, max_length=10_000)],
) -> Sequence[FileEntry]:
    """Have files read again whole, skipped, or no longer skipped, from the next run on: all of them, or none."""
    does = {"read_again": file_log.read_again, "skip": file_log.skip_files, "unskip": file_log.unskip_files}
    return does[action](home, pipeline, paths)


OPERATIONS = (list_, counts, export, act)
