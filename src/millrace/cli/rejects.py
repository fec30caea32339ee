"""`millrace rejects`: rows that could not pass, each with its reason; seen, exported, mended, replayed or discarded."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.pipelines import ANY, PIPELINE, YES, confirmed, each, ended
from millrace.cli.text import ago, bold, count, dim, table
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, in_words

if TYPE_CHECKING:
    from millrace.control.books.records import RunRecord
    from millrace.control.desk import Content, Watch
    from millrace.control.failed.rejects import Choice, Grouped, Rejected, RejectGroup
    from millrace.control.operations.rejects import Stage

OBJECT = typer.Option("--object", metavar="OBJECT", help="Only rows of this object.")
CODE = typer.Option(metavar="CODE", help="Only rows with this code.")
RUN = typer.Option(metavar="N", help="Only rows of this run.")
STAGE = typer.Option(metavar="STAGE", help="Only rows refused there: source, steps, mapping or load.")
FILE = typer.Option("--file", metavar="N", help="Only rows of this file (`millrace rejects list --files`).")
WHERE = typer.Option(metavar="FIELD=VALUE", help="Only rows whose field has this value.")
FLOW = typer.Option("--pipeline", "-p", metavar="NAME", help="Only rows of this pipeline.")

# Where rows are refused.
STAGES = ("source", "steps", "mapping", "load")

group = noun("rejects", "Rows that could not pass, each with its reason.")


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows something was done with, and where they are."""

    rows: int
    file: Path | None = None


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    app.add_typer(group)


@command(
    group,
    "list",
    examples=[
        "millrace rejects",
        "millrace rejects list clevertap --all --json",
        "millrace rejects list --files",
    ],
)
def list_(
    face: Face,
    pipeline: Annotated[str | None, ANY] = None,
    flow: Annotated[str | None, FLOW] = None,
    stream: Annotated[str | None, OBJECT] = None,
    stage: Annotated[str | None, STAGE] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    files: Annotated[bool, typer.Option("--files", help="File by file, with the runs that they are of.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Those that were replayed or discarded, too.")] = False,
) -> None:
    """List rejected rows, counted by object, stage and code, and what will cure them."""
    from millrace.control.operations import rejects

    pipeline = _named(pipeline, flow)
    choice = _choice(pipeline, stream, stage, code, run)
    now = datetime.now(UTC)
    with face.desk() as desk:
        if files:
            by_file = desk.ask(rejects.files, pipeline, stream, _stage(stage), code, run, all_)
            face.answer(by_file, _listed(by_file, now, choice))
            return
        found = desk.ask(rejects.groups, pipeline, stream, _stage(stage), code, run, all_)
    face.answer(found, _grouped(found, now, choice))


@command(
    group, "show", examples=["millrace rejects show", "millrace rejects show --code BAD_TIMESTAMP --limit 3 --json"]
)
def show(
    face: Face,
    pipeline: Annotated[str | None, ANY] = None,
    flow: Annotated[str | None, FLOW] = None,
    stream: Annotated[str | None, OBJECT] = None,
    stage: Annotated[str | None, STAGE] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    number: Annotated[int | None, FILE] = None,
    where: Annotated[str | None, WHERE] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="Rows at most.")] = 10,
) -> None:
    """Show rejected rows themselves."""
    from millrace.control.operations import rejects

    pipeline = _named(pipeline, flow)
    _choice(pipeline, stream, stage, code, run, number, where)
    with face.desk() as desk:
        rows = desk.ask(rejects.rows, pipeline, stream, _stage(stage), code, run, number, where, limit)
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
    stage: Annotated[str | None, STAGE] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    number: Annotated[int | None, FILE] = None,
    where: Annotated[str | None, WHERE] = None,
) -> None:
    """Write rejected rows as JSON lines, each with its reason. They stay where they are.

    On stdout they are one list with `--json`.
    """
    from millrace.control.failed.rejects import written
    from millrace.control.operations import rejects

    _choice(pipeline, stream, stage, code, run, number, where)
    with face.desk() as desk:
        lines = desk.ask(rejects.export, pipeline, stream, _stage(stage), code, run, number, where)
        if file is None:
            for line in _document(lines) if face.json else lines:
                sys.stdout.write(line.decode())
            return
        done = Counted(written(lines, file), file)
    face.answer(done, [f"Wrote {count(done.rows, 'row')} to {file}."])


def _document(lines: Iterable[bytes]) -> Iterator[bytes]:
    """JSON lines as one list."""
    yield b"["
    for number, line in enumerate(lines):
        yield (b"," if number else b"") + line
    yield b"]\n"


@command(
    group,
    "replay",
    examples=[
        "millrace rejects replay clevertap",
        "millrace rejects replay clevertap --code TRANSFORM_ERROR --where id=17",
    ],
)
def replay(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    stream: Annotated[str | None, OBJECT] = None,
    stage: Annotated[str | None, STAGE] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    number: Annotated[int | None, FILE] = None,
    where: Annotated[str | None, WHERE] = None,
) -> None:
    """Let rejected rows try again, from where they were refused. Those that still cannot pass are rejects anew."""
    from millrace.control.operations import rejects

    _choice(pipeline, stream, stage, code, run, number, where)
    with face.desk() as desk:

        def one(name: str, watch: Watch) -> RunRecord:
            return desk.send(rejects.replay, watch, name, stream, _stage(stage), code, run, number, where)

        ended(face, each(face, desk, [pipeline], one))


@command(group, "mend", examples=["millrace rejects mend clevertap rejects.jsonl"])
def mend(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export of rejects whose rows were edited.")],
) -> None:
    """Let rows go on as you edited them: export them, change what is under `row`, and give the file back.

    Rows whose lines you took out of the file stay rejects.
    """
    from millrace.control.operations import rejects

    with face.desk() as desk:

        def one(name: str, watch: Watch) -> RunRecord:
            return desk.send(rejects.mend, watch, name, _content(file), str(file))

        ended(face, each(face, desk, [pipeline], one))


@command(
    group,
    "discard",
    examples=["millrace rejects discard clevertap --code BAD_TIMESTAMP", "millrace rejects discard --run 17 --yes"],
)
def discard(
    face: Face,
    pipeline: Annotated[str | None, ANY] = None,
    stream: Annotated[str | None, OBJECT] = None,
    stage: Annotated[str | None, STAGE] = None,
    code: Annotated[str | None, CODE] = None,
    run: Annotated[int | None, RUN] = None,
    number: Annotated[int | None, FILE] = None,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Give rejected rows up for good. Export them before, if in doubt."""
    from millrace.control.operations import rejects

    choice = _choice(pipeline, stream, stage, code, run, number)
    if choice == _choice():
        raise ConfigError(
            "no rejects are chosen", hint="Name a pipeline, an object, a stage, a code, a run or a file.", code="usage"
        )
    with face.desk() as desk:
        groups = desk.ask(rejects.files, pipeline, stream, _stage(stage), code, run)
        rows = sum(one.rows for one in groups if number in (None, one.file))
        confirmed(face, f"{count(rows, 'rejected row')} will be gone for good. Loaded rows stay.", yes or not rows)
        discarded = desk.ask(rejects.discard, pipeline, stream, _stage(stage), code, run, number)
    done = Counted(discarded.rows)
    face.answer(done, [f"Discarded {count(done.rows, 'row')}."])


def _content(file: Path) -> Content:
    """The file, once it is known that it can be read. Raises ConfigError when it cannot."""
    from millrace.control.desk import Content

    try:
        with file.open("rb"):
            return Content(file)
    except OSError as cause:
        raise ConfigError(f"{file} cannot be read: {in_words(cause)}", code="file_unreadable") from cause


def _stage(typed: str | None) -> Stage | None:
    """A stage, of which `_choice` knows that it is one."""
    return cast("Stage | None", typed)


def _named(pipeline: str | None, flow: str | None) -> str | None:
    """The pipeline, which may be named with `--pipeline` or without."""
    if pipeline is not None and flow not in (None, pipeline):
        raise ConfigError(
            f"two pipelines are named, {pipeline!r} and {flow!r}", hint="Name one.", code="usage", path="--pipeline"
        )
    return pipeline or flow


def _choice(
    pipeline: str | None = None,
    stream: str | None = None,
    stage: str | None = None,
    code: str | None = None,
    run: int | None = None,
    file: int | None = None,
    where: str | None = None,
) -> Choice:
    from millrace.control.failed.rejects import Choice

    if stage is not None and stage not in STAGES:
        raise ConfigError(
            f"rows are not refused at {stage!r}", hint=f"Stages: {', '.join(STAGES)}.", code="usage", path="--stage"
        )
    name, equals, value = (where or "").partition("=")
    if where is not None and not (name and equals):
        raise ConfigError(
            f"--where {where!r} is no condition", hint="Write --where id=17.", code="usage", path="--where"
        )
    return Choice(pipeline, stream, stage, code, run, file, (name, value) if where is not None else None)


def _grouped(found: Sequence[Grouped], now: datetime, choice: Choice) -> Iterator[str]:
    if not found:
        yield _none(choice)
        return
    states = any(one.state != "open" for one in found)
    rows = [
        (
            one.pipeline,
            one.stream,
            f"{one.stage}/{one.code}",
            one.rows,
            *([one.state] if states else []),
            ago(one.last_at, now),
            one.sample,
        )
        for one in found
    ]
    heads = ("pipeline", "object", "where/why", "rows", *(["state"] if states else []), "since", "for example")
    yield from table(heads, rows)
    for code, stage in dict.fromkeys((one.code, one.stage) for one in found if one.state == "open"):
        group_ = next(one for one in found if (one.code, one.stage) == (code, stage))
        cure = group_.resolution
        how = "by themselves then" if cure.automatic else "when you replay them"
        yield f"{bold(code)}: {cure.title}. {cure.hint} {dim(f'They try again {how}.')}"
    yield from _told(sum(one.rows for one in found if one.state == "open"))


def _listed(found: Sequence[RejectGroup], now: datetime, choice: Choice) -> Iterator[str]:
    if not found:
        yield _none(choice)
        return
    states = any(one.state != "open" for one in found)
    rows = [
        (
            one.pipeline,
            one.run,
            one.file,
            one.stream,
            f"{one.stage}/{one.code}",
            one.rows,
            *([one.state] if states else []),
            ago(one.rejected_at, now),
            one.sample,
        )
        for one in found
    ]
    heads = ("pipeline", "run", "file", "object", "where/why", "rows", *(["state"] if states else []))
    yield from table((*heads, "since", "for example"), rows)
    yield from _told(sum(one.rows for one in found if one.state == "open"))


def _none(choice: Choice) -> str:
    from millrace.control.failed.rejects import Choice

    return "No rejects: every row that was read could pass." if choice == Choice() else "No rejects of that choice."


def _told(waiting: int) -> Iterator[str]:
    if waiting:
        told = "see them: millrace rejects show; let them try again: millrace rejects replay PIPELINE"
        yield dim(f"{count(waiting, 'row')} open; {told}")


def _rows(rows: Sequence[Rejected]) -> Iterator[str]:
    for one in rows:
        yield f"{bold(one.stream)} {dim(f'{one.stage}/{one.code}')} {one.message}"
        yield f"  {one.row}"
    if not rows:
        yield "No rejects."
