"""`millrace sources | destinations | check`: saved connections."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.text import State, ago, bold, count, dim, mark, table
from millrace.errors import ConfigError, as_typed

if TYPE_CHECKING:
    from millrace.connect.listed_names import ComesFrom, Fate, ListedNames
    from millrace.control.connecting.checks import Checked
    from millrace.control.operations.connections import Connections, Saved

Kind = Literal["source", "destination"]

NAME = typer.Argument(metavar="NAME", help="Name that it is saved under.")
SETTINGS = typer.Argument(
    metavar="KEY=VALUE",
    help="Settings of the type. '${NAME}' in single quotes takes a value from the environment, so that it is not seen. "
    "KEY= goes back to the default.",
)
EXAMPLES: dict[Kind, tuple[str, str, str]] = {
    "source": (
        "clevertap",
        "clevertap project_id=AAA-BBB-CCCC 'passcode=${CLEVERTAP_PASSCODE}' region=EU events_file=events.csv",
        "region=US",
    ),
    "destination": ("warehouse", "duckdb path=warehouse.duckdb", "lock_timeout_s=60"),
}


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    app.add_typer(_nouns("source"))
    targets = _nouns("destination")
    command(targets, "load", examples=["millrace destinations load warehouse"])(load)
    command(
        targets,
        "load-schedule",
        examples=[
            "millrace destinations load-schedule warehouse --every 1h",
            "millrace destinations load-schedule warehouse --none",
        ],
    )(load_schedule)
    app.add_typer(targets)
    command(app, "check", examples=["millrace check", "millrace check warehouse", "millrace check clevertap --json"])(
        check
    )


def _nouns(kind: Kind) -> typer.Typer:
    """The group `sources`, or `destinations`."""
    where = "read from" if kind == "source" else "write to"
    group = noun(f"{kind}s", f"{kind.title()}s: systems that pipelines {where}.")
    name, added, changed = EXAMPLES[kind]

    def list_(face: Face) -> None:
        with face.desk() as desk:
            kept = desk.ask(_of(kind).list)
        face.answer(kept, _listed(kept, kind))

    def show(face: Face, name: Annotated[str, NAME]) -> None:
        with face.desk() as desk:
            kept = desk.ask(_of(kind).find, name)
        face.answer(kept, _shown(kept))

    def add(
        face: Face,
        name: Annotated[str, NAME],
        type: Annotated[str, typer.Argument(metavar="TYPE", help="Type of the connector; `types` lists them.")],
        settings: Annotated[list[str] | None, SETTINGS] = None,
    ) -> None:
        from millrace.control.as_code import apply

        with face.desk(create=True) as desk:
            given = desk.settings(kind, type, apply.pairs(settings or []))
            kept = desk.ask(_of(kind).add, name, type, given)
        face.answer(kept, [f"Added the {kind} {bold(name)}. Test it: {dim(as_typed('check', name))}"])

    def change(
        face: Face,
        name: Annotated[str, NAME],
        settings: Annotated[list[str], SETTINGS],
    ) -> None:
        from millrace.control.as_code import apply

        words = apply.pairs(settings)
        with face.desk() as desk:
            old = desk.ask(_of(kind).find, name)
            new = desk.settings(kind, old.type, {key: value for key, value in words.items() if value})
            stay = {key: value for key, value in old.config.items() if key not in words}
            gone = dict.fromkeys(key for key in old.secrets if words.get(key) == "")
            kept = desk.ask(_of(kind).put, name, stay | new | gone)
        face.answer(kept, [f"Changed the {kind} {bold(name)}. Test it: {dim(as_typed('check', name))}"])

    def remove(face: Face, name: Annotated[str, NAME]) -> None:
        with face.desk() as desk:
            removed = desk.ask(_of(kind).remove, name)
        face.answer(removed, [f"Removed the {kind} {bold(name)}. Nothing was changed in that system."])

    def types(face: Face) -> None:
        from millrace.control.operations.connections import types_of

        if face.server is None:
            found = types_of(kind)
        else:
            with face.desk() as desk:
                found = desk.ask(_of(kind).types)
        face.answer(found, table(("type", "title", "needs"), [(t.type, t.title, ", ".join(t.required)) for t in found]))

    said: dict[str, tuple[Any, str, list[str]]] = {
        "list": (list_, f"List the {kind}s that are saved.", [f"millrace {kind}s", f"millrace {kind}s --json"]),
        "show": (show, "Show the settings of one; secrets are hidden.", [f"millrace {kind}s show {name}"]),
        "add": (add, f"Save a {kind} under a name.", [f"millrace {kind}s add {name} {added}"]),
        "change": (
            change,
            "Change settings; those that are not named stay.",
            [f"millrace {kind}s change {name} {changed}"],
        ),
        "remove": (remove, f"Remove a {kind} that no pipeline uses.", [f"millrace {kind}s remove {name}"]),
        "types": (types, f"List the types of {kind}s.", [f"millrace {kind}s types"]),
    }
    for verb, (function, help_, examples) in said.items():
        function.__doc__ = help_
        command(group, verb, examples=examples)(function)
    if kind == "source":
        examples = [
            "millrace sources names clevertap events.csv --not-read",
            "millrace sources names clevertap --source clevertap event_source=both",
        ]
        command(group, "names", examples=examples)(names)
    return group


def names(
    face: Face,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Type of the source: clevertap.")],
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|KEY=VALUE", help="CSV of event names, and settings of the type, as for `add`."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Settings that are not given are those of this saved source.")
    ] = None,
    not_read: Annotated[
        bool, typer.Option("--not-read", help="Only names that cannot be exported, or are in the file before.")
    ] = False,
) -> None:
    """Show what becomes of each name that a source would read, before it is saved.

    Which will be read, which cannot be exported, which are in the file twice; and what is odd about them. With
    event_source=schema or both the system is asked for its names too.
    """
    from millrace.control.as_code import apply
    from millrace.control.connecting import source_names

    _, key = source_names.named(type)
    files = [word for word in given or [] if "=" not in word or Path(word).is_file()]
    words = apply.pairs([word for word in given or [] if word not in files])
    for file in files:
        if key in words or not Path(file).is_file():
            why = "more than one file is given" if key in words else f"{file} is no file"
            raise ConfigError(why, hint="Give one CSV of names; settings are KEY=VALUE.", code="usage")
        words[key] = file
    if face.server is None and source is None:
        from millrace.connect.source import Context

        found = source_names.told(type, apply.given("source", type, words, os.environ), Context())
    else:
        from millrace.control.operations import connections

        with face.desk() as desk:
            config = desk.settings("source", type, words)
            if source is not None:
                config = {**desk.ask(connections.SOURCES.find, source).config, **config}
            found = desk.ask(connections.names, type, config, source)
    if not_read:
        found = replace(found, rows=tuple(row for row in found.rows if row.fate != "read"))
    face.answer(found, _named(found))


def load(face: Face, name: Annotated[str, NAME]) -> None:
    """Load what waits for a destination, by its pipelines that are active, as soon as workers are free."""
    from millrace.control.operations import destinations

    with face.desk() as desk:
        jobs = desk.ask(destinations.load_now, name)
    numbers = ", ".join(str(job) for job in jobs)
    face.answer(jobs, [f"Waiting for workers (millrace serve): run {numbers}." if jobs else "Nothing loads into it."])


def load_schedule(
    face: Face,
    name: Annotated[str, NAME],
    every: Annotated[str | None, typer.Option(metavar="SPAN", help="An interval: 30m, 6h, 1d.")] = None,
    cron: Annotated[str | None, typer.Option(metavar="CRON", help="A cron expression.")] = None,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Time zone of the cron expression.")] = "UTC",
    at: Annotated[str | None, typer.Option(metavar="TIME", help="With --every 1d: hh:mm in UTC.")] = None,
    none: Annotated[bool, typer.Option("--none", help="With every run, as at first.")] = False,
) -> None:
    """Load what is staged for a destination by a schedule of its own."""
    from millrace.control.operations import destinations

    if sum((every is not None, cron is not None, none)) != 1:
        raise ConfigError("no schedule is given", hint="Give one of --every, --cron and --none.", code="usage")
    with face.desk() as desk:
        found = desk.ask(destinations.load_every, name, every, cron, timezone, at)
    face.answer(found, [f"{bold(name)} is loaded {found.schedule}."])


def check(
    face: Face,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Source, destination or pipeline; left out: all.")
    ] = None,
) -> None:
    """Test connections.

    Can they be reached, are the credentials right, may they do what is needed? Exit code 1 when something failed.
    """
    from millrace.control.operations import connections

    with face.desk() as desk:
        checked = desk.ask(connections.check, name)
    face.answer(checked, _verdicts(checked))
    if any(not one.passed for one in checked):
        raise typer.Exit(1)


def _of(kind: Kind) -> Connections:
    from millrace.control.operations.connections import DESTINATIONS, SOURCES

    return SOURCES if kind == "source" else DESTINATIONS


def _listed(kept: list[Saved], kind: Kind) -> Iterator[str]:
    if kept:
        now = datetime.now(UTC)
        yield from table(
            ("name", "type", "last load", "rows waiting", "used by"),
            [
                (one.name, one.type, ago(one.last_loaded_at, now), f"{one.waiting_rows:,}", ", ".join(one.pipelines))
                for one in kept
            ],
        )
    else:
        yield f"No {kind}s yet. Add one: millrace {kind}s add {EXAMPLES[kind][0]} {EXAMPLES[kind][1]}"


def _shown(kept: Saved) -> Iterator[str]:
    yield f"{bold(kept.name)} {dim(kept.type)}"
    for key, value in kept.config.items():
        yield f"  {key}: {value}"
    for key in kept.secrets:
        yield f"  {key}: {dim('(secret, set)')}"
    if kept.pipelines:
        yield dim(f"  used by {', '.join(kept.pipelines)}")


FATES: dict[Fate, tuple[State, str]] = {
    "read": ("good", "will be read"),
    "not_exportable": ("look", "cannot be exported"),
    "twice": ("idle", "twice in the file"),
}


COMES_FROM: dict[ComesFrom, str] = {"file": "the file", "schema": "the schema", "both": "both"}


def _named(found: ListedNames) -> Iterator[str]:
    if found.rows:
        several = any(row.comes_from != "file" for row in found.rows)
        origin = ("from",) if several else ()
        lines = [
            (
                row.name,
                *((COMES_FROM[row.comes_from],) if several else ()),
                row.line,
                f"{mark(FATES[row.fate][0])} {FATES[row.fate][1]}",
                row.note,
            )
            for row in found.rows
        ]
        yield from table(("name", *origin, "line", "becomes", "note"), lines)
    yield (
        f"{count(found.read, 'name')} will be read; {found.not_exportable:,} cannot be exported; "
        f"{count(found.twice, 'row')} with a name that is in the file before."
    )
    for text in found.warnings:
        yield f"  {mark('look')} {text}"


def _verdicts(checked: list[Checked]) -> Iterator[str]:
    states: dict[str, State] = {"pass": "good", "warn": "look", "fail": "bad"}
    for one in checked:
        yield f"{one.kind} {bold(one.name)} {dim(one.type)}"
        for verdict in one.verdicts:
            yield f"  {mark(states[verdict.state])} {verdict.step}: {verdict.message}"
            if verdict.hint:
                yield f"    → {verdict.hint}"
    if not checked:
        yield "Nothing to check yet. Add a source: millrace sources add NAME TYPE KEY=VALUE..."
