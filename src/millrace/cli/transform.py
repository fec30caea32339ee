"""`millrace transform`: what happens to rows in flight; drafted, tried, deployed, rolled back."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli import trials
from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.paging import LIMIT, newest_first
from millrace.cli.pipelines import PIPELINE
from millrace.cli.progress import interruptible
from millrace.cli.text import ago, count, dim, mark, say, table
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, as_typed

if TYPE_CHECKING:
    from millrace.control.desk import Desk
    from millrace.control.transforming.transformations import Transformation
    from millrace.control.transforming.trials import Personal

SCRIPT = typer.Option("--script", metavar="FILE", help="Python file with transform(event).")
BLOCKS = typer.Option("--blocks", metavar="FILE", help="JSON file with a chain of blocks.")
REASON = typer.Option("--reason", "-m", metavar="TEXT", help="Why; kept with the version.")
OBJECT = typer.Option("--object", metavar="OBJECT", help="Only events of this type.")

group = noun("transform", "What happens to rows in flight: drafts, trials, versions.", listing=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A transformation as it is written: its kind, its text, and the file that it is in, if any."""

    kind: Literal["python", "blocks"]
    text: str
    file: Path | None = None

    @contextmanager
    def placed(self) -> Generator[None]:
        """An error about a line of the text names its file too."""
        try:
            yield
        except MillraceError as error:
            if self.file is not None and (at := _LINE.fullmatch(error.path or "")):
                error.path = ":".join((str(self.file), *filter(None, at.groups())))
            raise


_LINE = re.compile(r"line (\d+)(?:, column (\d+))?")


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    app.add_typer(group)


@command(group, "show", examples=["millrace transform show clevertap", "millrace transform show clevertap --version 3"])
def show(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    version: Annotated[int | None, typer.Option(metavar="N", help="This version; 0 is the draft.")] = None,
) -> None:
    """Show what is deployed, or another version."""
    from millrace.control.operations import transformations

    with face.desk() as desk:
        if version is None:
            standing = desk.ask(transformations.standing, pipeline)
            found = standing.deployed
            if standing.draft is not None:
                face.remark(f"There is a draft too: {as_typed('transform', 'show', pipeline, '--version', '0')}")
        else:
            found = desk.ask(transformations.find, pipeline, version)
    lines = [f"{pipeline} has no transformation: rows pass as they are."]
    if found is not None and found.kind != "none":
        lines = [dim(f"{found.kind}, {_called(found)}, {found.author or 'unknown'}"), *found.text.splitlines()]
    face.answer(found, lines)


@command(
    group,
    "sample",
    examples=[
        "millrace transform sample clevertap",
        "millrace transform sample clevertap --failed --limit 1",
        "millrace transform sample clevertap > events.jsonl",
    ],
)
def sample(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    stream: Annotated[str | None, OBJECT] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Events that could not pass, as they went in.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, metavar="N", help="Events at most.")] = 10,
) -> None:
    """Print events to try a transformation on, one JSON object a line, as `test --events` reads them."""
    from millrace.control.operations import transformations

    with face.desk() as desk:
        found = desk.ask(transformations.samples, pipeline, stream, failed, limit)
    if not found:
        what = "no event that a transformation could not let pass" if failed else "no samples yet: run it first"
        face.remark(f"{pipeline} has {what}.")
    face.answer([trials.plain(one) for one in found], (trials.written(trials.plain(one)) for one in found))


@command(
    group,
    "test",
    examples=[
        "millrace transform test --script orders.py --events events.jsonl",
        "millrace transform test clevertap --script orders.py         on the samples of the pipeline",
        "millrace transform test clevertap --failed                   the deployed one on what failed",
        "millrace transform test --blocks chain.json --events events.jsonl --json",
    ],
)
def test(
    face: Face,
    pipeline: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="Whose samples and tables; left out: only --events.")
    ] = None,
    script: Annotated[Path | None, SCRIPT] = None,
    blocks: Annotated[Path | None, BLOCKS] = None,
    events: Annotated[
        Path | None, typer.Option("--events", metavar="FILE", help="Events, one JSON object a line.")
    ] = None,
    stream: Annotated[str | None, OBJECT] = None,
    failed: Annotated[bool, typer.Option("--failed", help="On events that could not pass.")] = False,
) -> None:
    """Try a transformation on events, one by one. Nothing is stored.

    With `--json` there is one line for each event: {"output": [...], "error": null or {...}}. An event that fails is
    an answer, not a failure of the command. With a pipeline a last line says what would become of its tables:
    {"tables": [...]}.
    """
    from millrace.control.operations import transformations

    with _desk(face, needed=pipeline is not None) as desk:
        text = _text(desk, pipeline, script, blocks)
        given = None if events is None else _lines(events)
        name = "events.jsonl" if events is None else events.name
        with text.placed():
            if pipeline is not None:
                trial = desk.ask(
                    transformations.test, pipeline, text.kind, text.text, given, name, object=stream, failed=failed
                )
            elif given is not None:
                trial = desk.ask(transformations.try_, text.kind, text.text, given, name)
            else:
                raise ConfigError(
                    "no events are given", hint="Give a file with --events, or name a pipeline.", code="usage"
                )
    if face.json:
        for outcome in trial.outcomes:
            say(trials.written(trials.outcome_of(outcome)))
        if pipeline is not None:
            say(trials.written({"tables": [asdict(effect) for effect in trial.effects]}))
    else:
        for line in trials.told(trial):
            say(line)


@command(
    group,
    "dry-run",
    examples=["millrace transform dry-run clevertap --script orders.py --last 5000", "millrace transform dry-run shop"],
)
def dry_run(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    script: Annotated[Path | None, SCRIPT] = None,
    blocks: Annotated[Path | None, BLOCKS] = None,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many of the latest rows.")] = 1000,
) -> None:
    """Run a draft over the latest rows of a pipeline and show what would become of them. Nothing is written."""
    from millrace.control.desk import Watch
    from millrace.control.operations import transformations

    watch = Watch()
    with face.desk() as desk, interruptible(watch.stopping, ending="Stopping. Nothing was written."):
        text = _text(desk, pipeline, script, blocks, drafted=True)
        with text.placed():
            done = desk.send(transformations.dry_run, watch, pipeline, text.kind, text.text, last)
    face.answer(done, trials.compared(done))


@command(
    group,
    "draft",
    examples=["millrace transform draft clevertap --script orders.py"],
)
def draft(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    script: Annotated[Path | None, SCRIPT] = None,
    blocks: Annotated[Path | None, BLOCKS] = None,
) -> None:
    """Keep a text as the draft of a pipeline. Running data is not touched."""
    from millrace.control.operations import transformations

    with face.desk() as desk:
        text = _text(desk, pipeline, script, blocks)
        made = desk.ask(transformations.draft, pipeline, text.kind, text.text)
    face.answer(made, [f"Kept as the draft of {pipeline}. Deploy it with: {as_typed('transform', 'deploy', pipeline)}"])


@command(
    group,
    "deploy",
    examples=[
        'millrace transform deploy clevertap --script orders.py -m "drop test users"',
        "millrace transform deploy clevertap          deploys the draft",
    ],
)
def deploy(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    script: Annotated[Path | None, SCRIPT] = None,
    blocks: Annotated[Path | None, BLOCKS] = None,
    reason: Annotated[str | None, REASON] = None,
) -> None:
    """Let rows that are read from now on go through a transformation. Loaded rows stay as they are."""
    from millrace.control.operations import transformations

    with face.desk() as desk:
        text = _text(desk, pipeline, script, blocks, drafted=True)
        with text.placed():
            made = desk.ask(transformations.deploy, pipeline, text.kind, text.text, reason)
    face.answer(made, [f"{mark('good')} {pipeline}: {_called(made)} is deployed. It holds from the next run on."])


@command(group, "remove", examples=["millrace transform remove clevertap"])
def remove(face: Face, pipeline: Annotated[str, PIPELINE], reason: Annotated[str | None, REASON] = None) -> None:
    """Let rows pass as they are again. Earlier versions are kept."""
    from millrace.control.operations import transformations

    with face.desk() as desk:
        made = desk.ask(transformations.remove, pipeline, reason)
    face.answer(made, [f"{mark('good')} {pipeline}: rows pass as they are from the next run on."])


@command(group, "history", examples=["millrace transform history clevertap", "millrace transform history shop --json"])
def history(face: Face, pipeline: Annotated[str, PIPELINE]) -> None:
    """List the versions that were deployed: who, when, why."""
    from millrace.control.operations import transformations

    with face.desk() as desk:

        def some(before: int | None) -> list[Transformation]:
            return desk.ask(transformations.history, pipeline, LIMIT, before)

        found = list(newest_first(some, lambda one: one.version))
    face.answer(found, _history(found, pipeline, datetime.now(UTC)))


@command(
    group,
    "diff",
    examples=[
        "millrace transform diff clevertap",
        "millrace transform diff clevertap 3 4",
        "millrace transform diff clevertap 4 0    with the draft",
    ],
)
def diff(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    old: Annotated[
        int | None, typer.Argument(metavar="OLD", help="A version, 0 the draft; left out: the one before NEW.")
    ] = None,
    new: Annotated[
        int | None, typer.Argument(metavar="NEW", help="A version, 0 the draft; left out: the one deployed.")
    ] = None,
) -> None:
    """Show what changed from one version to another; without numbers, what the one deployed changed."""
    from millrace.control.operations import transformations

    with face.desk() as desk:
        lines = desk.ask(transformations.difference, pipeline, old, new)
    face.answer(lines, lines or ["The two are the same."])


@command(group, "rollback", examples=["millrace transform rollback clevertap 3 -m 'version 4 lost names'"])
def rollback(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    to: Annotated[int, typer.Argument(metavar="VERSION", help="The version whose text is deployed again.")],
    reason: Annotated[str | None, REASON] = None,
) -> None:
    """Deploy an earlier version again, as a new version."""
    from millrace.control.operations import transformations

    with face.desk() as desk:
        made = desk.ask(transformations.roll_back, pipeline, to, reason)
    face.answer(made, [f"{mark('good')} {pipeline}: {_called(made)} is deployed, with the text of version {to}."])


@command(
    group,
    "explain",
    examples=["millrace transform explain --blocks chain.json > chain.py", "millrace transform explain clevertap"],
)
def explain(
    face: Face,
    pipeline: Annotated[str | None, typer.Argument(metavar="PIPELINE", help="Whose deployed chain.")] = None,
    blocks: Annotated[Path | None, BLOCKS] = None,
) -> None:
    """Print a chain of blocks as a Python script that does the same."""
    from millrace.control.operations import transformations

    with _desk(face, needed=pipeline is not None) as desk:
        text = _text(desk, pipeline, None, blocks)
        if text.kind != "blocks":
            raise ConfigError("this transformation is Python already", hint="Name a chain of blocks.", code="usage")
        with text.placed():
            explained = desk.ask(transformations.explain, text.text)
    face.answer(explained, explained.python.splitlines())


@command(
    group,
    "detect",
    examples=["millrace transform detect clevertap", "millrace transform detect --events events.jsonl --json"],
)
def detect(
    face: Face,
    pipeline: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="Whose samples; left out: only --events.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option("--events", metavar="FILE", help="Events, one JSON object a line.")
    ] = None,
    stream: Annotated[str | None, OBJECT] = None,
) -> None:
    """Say which fields seem to hold personal data: by their values or by their names."""
    from millrace.control.operations import transformations

    with _desk(face, needed=events is None and pipeline is not None) as desk:
        if events is not None:
            found = desk.ask(transformations.detect_in, _lines(events), events.name)
        elif pipeline is not None:
            found = desk.ask(transformations.detect, pipeline, stream)
        else:
            raise ConfigError(
                "no events are given", hint="Give a file with --events, or name a pipeline.", code="usage"
            )
    face.answer(found.fields, _personal(found.fields, found.events))


@command(group, "sandbox", examples=["millrace transform sandbox"])
def sandbox(face: Face) -> None:
    """Tell which wall this machine puts around users' Python."""
    from millrace.control.operations import transformations

    with _desk(face, needed=False) as desk:
        found = desk.ask(transformations.sandbox)
    face.answer(found, [f"{mark('good' if found.safe else 'bad')} {found.told}"])


@contextmanager
def _desk(face: Face, *, needed: bool) -> Generator[Desk]:
    """Where the command asks; a home of the moment where it does without one and there is none."""
    from millrace.control.desk import Local
    from millrace.control.home import Home

    if needed or face.server is not None:
        with face.desk() as desk:
            yield desk
        return
    try:
        found = face.open()
    except ConfigError:
        found = Home.temporary()
    with found as home:
        yield Local(home)


def _lines(file: Path) -> str:
    from millrace.control.transforming import trial_events

    return trial_events.lines_of(file)


def _text(desk: Desk, pipeline: str | None, script: Path | None, blocks: Path | None, *, drafted: bool = False) -> Text:
    """What is typed; else the draft, with ``drafted``, else what is deployed."""
    if script is not None and blocks is not None:
        raise ConfigError("--script and --blocks exclude each other", hint="Give one of them.", code="usage")
    if (file := script or blocks) is not None:
        try:
            return Text("python" if script else "blocks", file.read_text(encoding="utf-8-sig"), file)
        except (OSError, UnicodeDecodeError) as wrong:
            raise ConfigError(
                f"{file} cannot be read: {wrong}", hint="Give a text file in UTF-8.", path=str(file), code="no_file"
            ) from wrong
    if pipeline is None:
        raise ConfigError("no transformation is given", hint="Give --script FILE or --blocks FILE.", code="usage")
    from millrace.control.operations import transformations

    standing = desk.ask(transformations.standing, pipeline)
    for one in (standing.draft, standing.deployed) if drafted else (standing.deployed, standing.draft):
        if one is not None and one.kind != "none":
            return Text(one.kind, one.text)
    raise ConfigError(
        f"{pipeline} has no transformation", hint="Give --script FILE or --blocks FILE.", code="no_transformation"
    )


def _called(one: Transformation) -> str:
    return "the draft" if one.version == 0 else f"version {one.version}"


def _personal(found: Sequence[Personal], events: int) -> Iterator[str]:
    if not found:
        yield f"Nothing in {count(events, 'event')} looks like personal data."
        return
    rows = [(one.event_name, one.field, one.kind, one.by, f"{one.share:.0%}") for one in found]
    yield from table(("event type", "field", "holds", "told by", "of its events"), rows)
    yield dim("Hide a field with the blocks HASH_FIELDS, MASK_FIELDS, TOKENISE_FIELDS or DROP_FIELDS.")


def _history(found: Sequence[Transformation], pipeline: str, now: datetime) -> Iterator[str]:
    if not found:
        yield f"{pipeline} never had a transformation."
        return
    rows = [
        (
            one.version,
            one.kind,
            len(one.text.splitlines()),
            one.author or "unknown",
            ago(one.created_at, now),
            one.reason,
        )
        for one in found
    ]
    yield from table(("version", "kind", "lines", "by", "when", "why"), rows)
