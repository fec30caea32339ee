"""`millrace files`: what became of each file that a pipeline's source saw, and what you want of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.paging import AFTER, AT_MOST, more
from millrace.cli.pipelines import PIPELINE
from millrace.cli.text import ago, bold, dim, mark, say, table

if TYPE_CHECKING:
    from millrace.control.operations.file_log import Action
    from millrace.control.pipeline.file_log import FileCounts, FileEntry

group = noun("files", "What became of each file that a pipeline's source saw.", listing=False)

Status = Literal["queued", "ingesting", "ingested", "failed", "skipped", "gone"]

PATHS = typer.Argument(metavar="PATH...", help="Paths of files, as the list has them.")
OBJECT = typer.Option("--object", metavar="OBJECT", help="Only files of this object.")

# Verb, what is asked for, what is told of each file.
VERBS: tuple[tuple[str, Action, str, str], ...] = (
    ("read-again", "read_again", "Read files once more, whole, with the next run.", "is read again with the next run"),
    ("skip", "skip", "Leave files out from the next run on. What was read of them stays.", "is skipped"),
    ("unskip", "unskip", "Read files again that were skipped.", "is skipped no more"),
)


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(
        group, "list", examples=["millrace files list shop", "millrace files list shop --status failed --search 2026/"]
    )(list_)
    command(group, "export", examples=["millrace files export shop > files.csv"])(export)
    for verb, action, told, done in VERBS:
        _verb(verb, action, told, done)
    app.add_typer(group)


def list_(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    object_: Annotated[str | None, OBJECT] = None,
    status: Annotated[
        Status | None,
        typer.Option(metavar="STATUS", help="Only queued, ingesting, ingested, failed, skipped or gone ones."),
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only paths with this text.")] = None,
    since: Annotated[
        datetime | None, typer.Option(metavar="TIME", help="Only those that something happened to since then, in UTC.")
    ] = None,
    after: AFTER = None,
    limit: AT_MOST = 50,
) -> None:
    """List the files of a pipeline, the newest first: their status, their rows, and why one failed."""
    from millrace.control.operations import file_log

    moment = None if since is None else since.replace(tzinfo=UTC)
    with face.desk() as desk:
        page = desk.ask(file_log.list_, pipeline, object_, status, search, moment, after, limit)
        counts = desk.ask(file_log.counts, pipeline, object_)
    face.answer(page, _listed(page.items, counts, page.next, datetime.now(UTC)))


def export(face: Face, pipeline: Annotated[str, PIPELINE]) -> None:
    """Write the whole log of files as CSV."""
    from millrace.control.operations import file_log

    with face.desk() as desk:
        for line in desk.ask(file_log.export, pipeline):
            say(line.decode().rstrip("\r\n"))


def _verb(verb: str, action: Action, told: str, done: str) -> None:
    """The command that does one thing with files."""

    def act(face: Face, pipeline: Annotated[str, PIPELINE], paths: Annotated[list[str], PATHS]) -> None:
        from millrace.control.operations import file_log

        with face.desk() as desk:
            found = desk.ask(file_log.act, pipeline, action, paths)
        face.answer(found, [f"{mark('good')} {bold(one.path)} {done}" for one in found])

    act.__doc__ = told
    command(group, verb, examples=[f"millrace files {verb} shop orders/2026-03-10.csv"])(act)


def _listed(files: Sequence[FileEntry], counts: FileCounts, following: str | None, now: datetime) -> Iterator[str]:
    every = {one.name: getattr(counts, one.name) for one in fields(counts)}
    if not any(every.values()):
        yield "No files yet: those that the source sees are known after the first run."
        return
    rows = [
        (one.path, one.stream, one.status, one.size_bytes, one.rows, one.rejected or None, ago(one.modified_at, now))
        for one in files
    ]
    yield from table(("file", "object", "status", "bytes", "rows", "failed", "modified"), rows)
    yield from (f"{mark('bad')} {bold(one.path)}: {one.error}" for one in files if one.error is not None)
    yield dim(", ".join(f"{n:,} {name}" for name, n in every.items() if n))
    yield from more(following)
