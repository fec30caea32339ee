"""`millrace rejects`: rows that could not pass, each with its reason; seen, exported, replayed or discarded."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.pipelines import ANY, PIPELINE, YES, confirmed, each, ended
from millrace.cli.text import ago, bold, count, dim, table
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.records import RunRecord
    from millrace.control.rejects import Choice, Rejected, RejectGroup
    from millrace.engine.meter import Meter

OBJECT = typer.Option("--object", metavar="OBJECT", help="Only rows of this object.")
CODE = typer.Option(metavar="CODE", help="Only rows with this code.")
RUN = typer.Option(metavar="N", help="Only rows of this run.")
FLOW = typer.Option("--pipeline", "-p", metavar="NAME", help="Only rows of this pipeline.")

group = noun("rejects", "Rows that could not pass, each with its reason.")


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows something was done with, and where they are."""

    rows: int
    file: Path | None = None


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    app.add_typer(group)


@command(group, "list", examples=["millrace rejects", "millrace rejects list --pipeline clevertap --all --json"])
def list_(
    face: Face,
    pipeline: Annotated[str | None, FLOW] = None,
    stream: Annotated[str | None, OBJECT] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that were replayed or discarded, too.")] = False,
) -> None:
    """List rejected rows, counted by object, stage and code."""
    from millrace.control import rejects

    with face.open() as home:
        found = rejects.listed(home, _choice(pipeline, stream, code, run), state=None if all_ else "open")
    face.answer(found, _listed(found, datetime.now(UTC)))


@command(
    group, "show", examples=["millrace rejects show", "millrace rejects show --code BAD_TIMESTAMP --limit 3 --json"]
)
def show(
    face: Face,
    pipeline: Annotated[str | None, FLOW] = None,
    stream: Annotated[str | None, OBJECT] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="Rows at most.")] = 10,
) -> None:
    """Show rejected rows themselves."""
    from millrace.control import rejects
    from millrace.engine.stage import Stage

    with face.open() as home, closing(Stage(home.stage_url)) as stage:
        rows = list(rejects.rows(home, stage, _choice(pipeline, stream, code, run), limit=limit))
    face.answer(rows, _rows(rows))


@command(
    group,
    "export",
    examples=["millrace rejects export rejects.jsonl", "millrace rejects export --pipeline clevertap > rejects.jsonl"],
)
def export(
    face: Face,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to; left out: to stdout.")] = None,
    pipeline: Annotated[str | None, FLOW] = None,
    stream: Annotated[str | None, OBJECT] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
) -> None:
    """Write rejected rows as JSON lines, each with its reason. They stay where they are."""
    from millrace.control import rejects
    from millrace.engine.stage import Stage

    choice = _choice(pipeline, stream, code, run)
    with face.open() as home, closing(Stage(home.stage_url)) as stage:
        if file is None:
            rejects.export(home, stage, choice, sys.stdout)
            return
        done = Counted(rejects.export_to(home, stage, choice, file), file)
    face.answer(done, [f"Wrote {count(done.rows, 'row')} to {file}."])


@command(group, "replay", examples=["millrace rejects replay clevertap", "millrace rejects replay clevertap --run 17"])
def replay(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    stream: Annotated[str | None, OBJECT] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
) -> None:
    """Let rejected rows try again, from where they were refused. Those that still cannot pass are rejects anew."""
    from millrace.control.replay import replay as replayed

    with face.open() as home:

        def one(name: str, meter: Meter, stopping: threading.Event) -> RunRecord:
            return replayed(home, _choice(name, stream, code, run), meter=meter, stopping=stopping)

        ended(face, each(face, home, [pipeline], one))


@command(
    group,
    "discard",
    examples=["millrace rejects discard clevertap --code BAD_TIMESTAMP", "millrace rejects discard --run 17 --yes"],
)
def discard(
    face: Face,
    pipeline: Annotated[str | None, ANY] = None,
    stream: Annotated[str | None, OBJECT] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Give rejected rows up for good. Export them before, if in doubt."""
    from millrace.control import pipelines, rejects

    choice = _choice(pipeline, stream, code, run)
    if choice == _choice(None, None, None, None):
        raise ConfigError("no rejects are chosen", hint="Name a pipeline, an object, a code or a run.", code="usage")
    with face.open() as home:
        if pipeline is not None:
            pipelines.find(home, pipeline)
        rows = sum(one.rows for one in rejects.listed(home, choice))
        confirmed(face, f"{count(rows, 'rejected row')} will be gone for good. Loaded rows stay.", yes or not rows)
        done = Counted(rejects.discard(home, choice))
    face.answer(done, [f"Discarded {count(done.rows, 'row')}."])


def _choice(pipeline: str | None, stream: str | None, code: str | None, run: int | None) -> Choice:
    from millrace.control.rejects import Choice

    return Choice(pipeline=pipeline, stream=stream, code=code, run=run)


def _listed(found: Sequence[RejectGroup], now: datetime) -> Iterator[str]:
    if not found:
        yield "No rejects: every row that was read could pass."
        return
    states = any(one.state != "open" for one in found)
    rows = [
        (
            one.pipeline,
            one.run,
            one.stream,
            f"{one.stage}/{one.code}",
            one.rows,
            *([one.state] if states else []),
            ago(one.rejected_at, now),
            one.sample,
        )
        for one in found
    ]
    heads = ("pipeline", "run", "object", "where/why", "rows", *(["state"] if states else []), "since", "for example")
    yield from table(heads, rows)
    waiting = sum(one.rows for one in found if one.state == "open")
    if waiting:
        told = "see them: millrace rejects show; let them try again: millrace rejects replay PIPELINE"
        yield dim(f"{count(waiting, 'row')} open; {told}")


def _rows(rows: Sequence[Rejected]) -> Iterator[str]:
    for one in rows:
        yield f"{bold(one.stream)} {dim(f'{one.stage}/{one.code}')} {one.message}"
        yield f"  {one.row}"
    if not rows:
        yield "No rejects."
