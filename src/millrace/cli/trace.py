"""`millrace trace`: where did this row go? `millrace replay`: what was read before, as it would be read today."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import day
from millrace.cli.pipelines import OBJECT, PIPELINE, chosen, each, ended
from millrace.cli.text import bold, count, dim, mark

if TYPE_CHECKING:
    from millrace.control.books.records import RunRecord
    from millrace.control.desk import Watch
    from millrace.control.observing.sightings import Trace


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(
        app,
        "trace",
        examples=["millrace trace shop 4711", "millrace trace shop email=ann@example.com --object customers --json"],
    )(trace)
    command(
        app,
        "replay",
        examples=[
            "millrace replay shop --since 2026-01-15         apply what changed since to what was read since",
            "millrace replay shop --into-fresh               all that was read, into new tables",
        ],
    )(replay)


def trace(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    key: Annotated[str, typer.Argument(metavar="KEY", help="Value of the key, or field=value,field=value.")],
    stream: Annotated[str | None, typer.Option("--object", metavar="OBJECT", help="Only this object.")] = None,
) -> None:
    """Show where a row went: read, transformed, staged, loaded, or why not.

    What is shown is what the stage still has (a week of loaded rows, a month of failed ones, unless the settings say
    otherwise) and what the destination holds now. Exit code 1 when the row is in none of it.
    """
    from millrace.control.operations import rejects

    with face.desk() as desk:
        found = desk.ask(rejects.trace, pipeline, key, stream)
    face.answer(found, _told(found))
    if not found.found:
        raise typer.Exit(1)


def replay(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    since: Annotated[
        date | None, typer.Option(metavar="DATE", parser=day, help="Rows read from this day on (UTC): 2026-01-31.")
    ] = None,
    only: Annotated[list[str] | None, OBJECT] = None,
    into_fresh: Annotated[
        bool, typer.Option("--into-fresh", help="All rows, into new tables that take the old ones' place.")
    ] = False,
) -> None:
    """Apply today's transformation and mapping to rows that were read before. The source is not asked.

    For pipelines that keep what they read (`keep_raw: 30d`). Without --into-fresh rows are merged into their tables,
    and rows that the transformation leaves out today stay there as they are. Failed rows try again with
    `millrace rejects replay` instead.
    """
    from millrace.control.operations import sync

    with face.desk() as desk:
        chosen(desk, pipeline)

        def one(name: str, watch: Watch) -> RunRecord:
            return desk.send(sync.replay, watch, name, since, only or (), into_fresh)

        ended(face, each(face, desk, [pipeline], one))


def _told(found: Trace) -> Iterator[str]:
    from millrace.control.observing.sightings import PLACES

    yield f"{bold(found.pipeline)}  {found.sought}"
    seen = [
        (one.at, f"read      {one.stream}, run {one.run}", f"row {one.number} of {one.path}", one.row)
        for one in found.read
    ]
    for one in found.staged:
        versions = _versions(one.mapping, one.transformation)
        where = f"{one.table}, segment {one.segment}" + (f" of generation {one.generation}" if one.superseded else "")
        text = f"staged    {where}, run {one.run}{versions}"
        seen.append((one.at, text, f"row {one.number} of {one.path}", one.row))
        if one.loaded_at is not None:
            seen.append((one.loaded_at, f"loaded    {where}", "", ""))
    for one in found.failed:
        versions = _versions(one.mapping, one.transformation)
        text = f"failed    {one.stream} {PLACES[one.stage]}: {one.code}, run {one.run}{versions}"
        seen.append((one.at, text, f"row {one.number} of file {one.file}, {one.path}", f"{one.message}\n    {one.row}"))
        if one.closed_at is not None:
            seen.append((one.closed_at, f"{one.state:<9} {one.stream} {PLACES[one.stage]}: {one.code}", "", ""))
    for at, text, where, row in sorted(seen, key=lambda line: line[0]):
        yield f"  {at:%Y-%m-%d %H:%M:%S}  {text}"
        if where:
            yield f"    {dim(where)}"
        if row:
            yield f"    {row}"
    for held in found.held:
        yield f"  now                  in {held.table}"
        yield f"    {held.row}"
    for gone in found.gone:
        what = f"{count(gone.files, 'file')} with {count(gone.rows, 'row')}"
        yield dim(f"  no longer on the stage: {gone.what}, {what}, the last of {gone.last_at:%Y-%m-%d %H:%M}")
        for one in gone.closed:
            then = f", {one.state} {one.closed_at:%Y-%m-%d %H:%M}" if one.closed_at is not None else ""
            versions = _versions(one.mapping, one.transformation)
            what = f"{one.stream} {PLACES[one.stage]}: {one.code}, {count(one.rows, 'row')}, run {one.run}{versions}"
            yield dim(f"    {one.at:%Y-%m-%d %H:%M}  {what}{then}")
    for name, why in sorted(found.unasked.items()):
        yield f"  {mark('look')} {name}: {why}"
    failed = any(one.state == "open" for one in found.failed)
    sign = "bad" if failed else "good" if found.found else "look"
    yield f"{mark(sign)} {found.verdict}"


def _versions(mapping: int | None, transformation: int | None) -> str:
    told = [f"transformation {transformation}"] if transformation is not None else []
    told += [f"mapping {mapping}"] if mapping is not None else []
    return "".join(f", {one}" for one in told)
