"""`millrace init | apply | export | schema | version`: the home, and pipelines as code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from millrace.cli.face import Face, command, spoken
from millrace.cli.text import bold, count, dim, mark, say
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.control.as_code.apply import Applied

FILE = typer.Argument(metavar="FILE", help="YAML file with pipelines.")
SIGNS = {"created": "+", "changed": "~", "unchanged": "="}


@dataclass(frozen=True, slots=True)
class Made:
    """Where a home is."""

    home: Path
    stage: str


@dataclass(frozen=True, slots=True)
class Version:
    """Versions of what a fault could depend on."""

    millrace: str
    python: str
    platform: str
    # Whether the native library is in use, and why not.
    native: bool
    native_absent: str | None


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(app, "init", examples=["millrace init", "millrace init --home /srv/millrace"])(init)
    command(
        app,
        "apply",
        examples=[
            "millrace apply pipelines.yaml",
            "millrace apply pipelines.yaml --dry-run",
            "millrace apply - < made.yaml",
        ],
    )(apply)
    command(
        app,
        "export",
        examples=["millrace export", "millrace export pipelines.yaml", "millrace export --pipeline clevertap"],
    )(export)
    command(app, "schema", examples=["millrace schema > millrace.schema.json"])(schema)
    command(app, "version", examples=["millrace version", "millrace version --json"])(version)


def init(face: Face) -> None:
    """Make a home for Millrace.

    It is a folder with the control database, the key that seals secrets, and the stage. One that is there already is
    left as it is. `apply` and `run FILE` make one too.
    """
    with face.open(create=True, new_key=True) as home:
        made = Made(home.path, home.stage_url)
    face.answer(made, [f"The home is {made.home}; staged rows go to {made.stage}.", *_key_hint(made)])


def apply(
    face: Face,
    file: Annotated[Path, FILE],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change and change nothing.")] = False,
) -> None:
    """Bring sources, destinations and pipelines to what a file says. Nothing is run.

    What the file does not name stays as it is. Applying a file twice changes nothing the second time.
    """
    with face.desk(create=True) as desk:
        applied = desk.apply(file, dry_run=dry_run)
    face.answer(applied, told(applied))


def told(applied: Applied) -> Iterator[str]:
    """What an applied file changed, one line for each thing and one for each key."""
    for warning in applied.warnings:
        yield from spoken([warning], "▲", "yellow")
    for change in applied.changes:
        yield f"{SIGNS[change.state]} {change.kind} {bold(change.name)} {dim(change.state)}"
        if change.state == "changed":
            yield from (f"    {one.key}: {one.before} → {one.after}" for one in change.fields)
    by_state = {state: sum(one.state == state for one in applied.changes) for state in SIGNS}
    counts = ", ".join(f"{number} {state}" for state, number in by_state.items() if number) or "nothing to do"
    yield f"{'Would be' if applied.dry_run else 'Applied'}: {counts}."


def export(
    face: Face,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to write; left out: to stdout.")] = None,
    pipeline: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this pipeline and its connections; may be repeated.")
    ] = None,
    section: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this part of the file, such as alert_channels; may be repeated."),
    ] = None,
) -> None:
    """Write pipelines as the YAML that `apply` reads. Secrets become ${VARIABLES} that you set yourself."""
    from millrace.control.as_code import export as exporting
    from millrace.control.operations import documents

    with face.desk() as desk:
        exported = desk.ask(documents.export, pipeline or (), cast("list[exporting.Section]", section or []))
    if file is not None:
        exporting.write(file, exported.text)
        variables = f"; set {', '.join(exported.variables)} before you apply it" if exported.variables else ""
        face.answer(exported, [f"Wrote {count(exported.pipelines, 'pipeline')} to {file}{variables}."])
    elif face.json:
        face.answer(exported, [])
    else:
        say(exported.text.rstrip("\n"))


def schema(face: Face) -> None:
    """Print the JSON Schema of a file of pipelines, for editors.

    Completion and checks follow from it (draft 2020-12). In VS Code with the YAML extension, let the first line be
    `# yaml-language-server: $schema=millrace.schema.json`.
    """
    from millrace.cli.answers import encode
    from millrace.control.as_code.document_schema import schema as of_document

    del face
    say(encode(of_document()))


def version(face: Face) -> None:
    """Print the versions of Millrace and of Python, and whether the native library is in use."""
    import platform

    from millrace.data import native
    from millrace.version import VERSION

    absent = native.absent()
    versions = Version(VERSION, platform.python_version(), platform.platform(), not absent, absent)
    lines = [
        f"millrace {versions.millrace}  (Python {versions.python}, {versions.platform})",
        f"native library: {f'not in use, Python does the same slower: {absent}' if absent else 'in use'}",
    ]
    face.answer(versions, lines)


def _key_hint(made: Made) -> Iterator[str]:
    yield f"{mark('look')} Keep a copy of {made.home / 'key'}: without it, saved secrets must be given again."
