"""`millrace objects`: what a pipeline reads of its source, how, and from where."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from millrace.cli.face import Face, command, spoken
from millrace.cli.nouns import noun
from millrace.cli.paging import LIMIT
from millrace.cli.pipelines import PIPELINE
from millrace.cli.progress import shared
from millrace.cli.text import ago, bold, dim, mark, table, warn
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.operations.objects import Action
    from millrace.control.pipeline.object_actions import Done
    from millrace.control.pipeline.objects import Object
    from millrace.control.pipeline.positions import Position

OBJECT = typer.Argument(metavar="OBJECT", help="Name of an object.")
OBJECTS = typer.Argument(metavar="OBJECT...", help="Names of objects; left out with --all.")
ALL = typer.Option("--all", help="Every object that allows it now.")

group = noun("objects", "What a pipeline reads of its source, how, and from where.", listing=False)

Category = Literal["ALL", "ACTIVE", "PAUSED", "FAILED", "SKIPPED"]
QueryMode = Literal[
    "auto", "full_load", "delta", "increment_append_only", "change_data_capture", "change_tracking", "xmin"
]
Lane = Literal["incremental", "historical"]
LANE = typer.Option(metavar="LANE", help="incremental, or historical.")
APPEND_AGAIN = typer.Option(
    "--append-again", help="Rows that come again may stand twice in tables that are appended to."
)

WAITS = "waits for a worker"

# Verb, what is asked for, what is told of each object.
VERBS: tuple[tuple[str, Action, str, str], ...] = (
    ("include", "include", "Read objects again that were skipped.", "is read again"),
    ("skip", "skip", "Leave objects out. What was read of them before is loaded first.", "is skipped"),
    ("pause", "pause", "Do not read objects until they are resumed.", "is paused"),
    ("resume", "resume", "Read paused objects again, from their positions.", "is read again"),
    ("restart", "restart", "Read objects again from their beginning. Rows merge into their tables.", WAITS),
    ("restart-historical", "restart_historical", "Read the history of objects again.", WAITS),
    ("run-now", "run_now", "Read objects as soon as a worker is free. The schedule stays.", WAITS),
)  # fmt: skip


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(
        group, "list", examples=["millrace objects list clevertap", "millrace objects list shop --category FAILED"]
    )(list_)
    command(group, "show", examples=["millrace objects show clevertap Events"])(show)
    command(group, "refresh", examples=["millrace objects refresh clevertap"])(refresh)
    for verb, action, told, done in VERBS:
        _verb(verb, action, told, done)
    moved = "millrace objects position clevertap Events --set '{\"v\": 1}'"
    back = "millrace objects position clevertap Events --at 2026-03-10T08:00:00"
    command(group, "position", examples=["millrace objects position clevertap Events", moved, back])(position)
    command(
        group,
        "log-position",
        examples=[
            "millrace objects log-position shop",
            "millrace objects log-position shop --set mysql-bin.000042:4711",
        ],
    )(log_position)
    command(group, "positions", examples=["millrace objects positions clevertap Events"])(history)
    command(group, "set-back", examples=["millrace objects set-back shop --at 2026-01-15T10:00 orders users"])(set_back)
    command(group, "back-to", examples=["millrace objects back-to clevertap 17 --object Events"])(back_to)
    mode = "millrace objects query-mode shop orders mode=timestamp timestamp_column_name=changed_at"
    command(group, "query-mode", examples=[mode])(query_mode)
    command(
        group,
        "schedule",
        examples=["millrace objects schedule shop orders --every 1h", "millrace objects schedule shop orders --none"],
    )(schedule)
    app.add_typer(group)


def list_(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    category: Annotated[Category, typer.Option(metavar="KIND", help="ACTIVE, PAUSED, FAILED or SKIPPED ones.")] = "ALL",
    query_mode: Annotated[
        QueryMode | None, typer.Option(metavar="MODE", help="Only those with this query mode; auto: none was chosen.")
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only names with this text.")] = None,
) -> None:
    """List the objects of a pipeline with their status."""
    from millrace.control.database.pages import every
    from millrace.control.operations import objects

    with face.desk() as desk:
        found = list(every(lambda after: desk.ask(objects.list_, pipeline, category, query_mode, search, after, LIMIT)))
    face.answer(found, _listed(found, datetime.now(UTC)) if found else [NONE_YET])


NONE_YET = "No objects: they are known after the first run, or with millrace objects refresh."


def show(face: Face, pipeline: Annotated[str, PIPELINE], object_: Annotated[str, OBJECT]) -> None:
    """Show one object, with its position."""
    from millrace.control.operations import objects

    with face.desk() as desk:
        found = desk.ask(objects.find, pipeline, object_)
    face.answer(found, [*_listed([found], datetime.now(UTC)), *_positions(found)])


def refresh(face: Face, pipeline: Annotated[str, PIPELINE]) -> None:
    """Ask the source for its objects now."""
    from millrace.control.operations import objects

    with face.desk() as desk:
        found = desk.ask(objects.refresh, pipeline)
    face.answer(found, _listed(found, datetime.now(UTC)))


def position(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    object_: Annotated[str, OBJECT],
    set_: Annotated[
        str | None, typer.Option("--set", metavar="JSON", help="Read from there on; null is the beginning.")
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option("--at", metavar="TIME", help="Read from where it was at that moment, in UTC."),
    ] = None,
    lane: Annotated[Lane, LANE] = "incremental",
    append_again: Annotated[bool, APPEND_AGAIN] = False,
) -> None:
    """Show how far an object was read, or let it be read from another position on."""
    from millrace.control.operations import objects

    if set_ is not None and at is not None:
        raise ConfigError("there are two positions", hint="Give --set or --at.", code="usage")
    with face.desk() as desk:
        if at is not None:
            found = desk.ask(objects.set_back, pipeline, object_, at.replace(tzinfo=UTC), lane, append_again)
        elif set_ is None:
            found = desk.ask(objects.find, pipeline, object_)
        else:
            found = desk.ask(objects.change_position, pipeline, object_, _json(set_), lane, append_again)
    face.answer(found, list(_positions(found)) or [f"{object_} was not read yet."])


def set_back(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    at: Annotated[datetime, typer.Option("--at", metavar="TIME", help="That moment, in UTC.")],
    objects_: Annotated[list[str], typer.Argument(metavar="OBJECT...", help="Names of objects.")],
    append_again: Annotated[bool, APPEND_AGAIN] = False,
) -> None:
    """Read objects from where they were at a moment, all in one run. What was read since then comes again."""
    from millrace.control.operations import objects

    with face.desk() as desk:
        found = desk.ask(objects.set_back_all, pipeline, at.replace(tzinfo=UTC), objects_, append_again)
    _ended(face, found, "is read from there on")


def log_position(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    set_: Annotated[
        str | None,
        typer.Option(
            "--set", metavar="PLACE", help="Read from there on: an LSN, FILE:POSITION, a GTID, a resume token, a time."
        ),
    ] = None,
    append_again: Annotated[bool, APPEND_AGAIN] = False,
) -> None:
    """Show how far the log of the source was read, or let it be read from another place on.

    The place must be one that the source's system still has. What is read twice is merged where a table has a key.
    """
    from millrace.control.operations import objects

    with face.desk() as desk:
        if set_ is None:
            found = desk.ask(objects.log_position, pipeline)
        else:
            found = desk.ask(objects.move_log, pipeline, set_, append_again)
    since = ago(found.committed_at, datetime.now(UTC))
    face.answer(found, [f"{found.position}  {dim(f'run {found.run}' if found.run else 'set by hand')}  {dim(since)}"])


def history(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    object_: Annotated[str, OBJECT],
    lane: Annotated[Lane, LANE] = "incremental",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, metavar="N", help="The latest so many.")] = 20,
) -> None:
    """List earlier positions of an object: of each run, and each that was set by hand."""
    from millrace.control.operations import objects

    with face.desk() as desk:
        found = desk.ask(objects.history, pipeline, object_, lane, limit)
    face.answer(found, _history(found, datetime.now(UTC)))


def back_to(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    run: Annotated[int, typer.Argument(metavar="RUN", min=1, help="Number of a run that committed something.")],
    object_: Annotated[str | None, typer.Option("--object", metavar="OBJECT", help="Only this object.")] = None,
    append_again: Annotated[bool, APPEND_AGAIN] = False,
) -> None:
    """Set positions back to where a run left them. The next run reads from there."""
    from millrace.control.operations import objects

    with face.desk() as desk:
        found = desk.ask(objects.back_to, pipeline, run, object_, append_again)
    names = ", ".join(dict.fromkeys(one.stream for one in found))
    face.answer(found, [f"{mark('good')} {names}: read again from where run {run} ended."])


def query_mode(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    object_: Annotated[str, OBJECT],
    pairs: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="mode=…, and what that mode needs.")],
) -> None:
    """Choose how an object of a database is queried."""
    import yaml

    from millrace.control.as_code.apply import pairs as read
    from millrace.control.operations import objects

    config = {key: yaml.safe_load(value) for key, value in read(pairs).items()}
    with face.desk() as desk:
        found = desk.ask(objects.set_query_mode, pipeline, object_, config)
    face.answer(found, [f"{bold(found.name)} is queried so from its next read on."])


def schedule(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    object_: Annotated[str, OBJECT],
    every: Annotated[str | None, typer.Option(metavar="SPAN", help="An interval: 30m, 6h, 1d.")] = None,
    cron: Annotated[str | None, typer.Option(metavar="CRON", help="A cron expression.")] = None,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Time zone of the cron expression.")] = "UTC",
    none: Annotated[bool, typer.Option("--none", help="With its pipeline again.")] = False,
) -> None:
    """Read an object by a schedule of its own."""
    from millrace.control.operations import objects

    if sum((every is not None, cron is not None, none)) != 1:
        raise ConfigError("no schedule is given", hint="Give one of --every, --cron and --none.", code="usage")
    with face.desk() as desk:
        found = desk.ask(objects.set_schedule, pipeline, object_, every, cron, timezone)
    face.answer(found, [f"{bold(found.name)} is read {'with its pipeline' if none else 'by its own schedule'}."])


def _verb(verb: str, action: Action, told: str, done: str) -> None:
    """The command that does one thing with objects."""

    def act(
        face: Face,
        pipeline: Annotated[str, PIPELINE],
        objects_: Annotated[list[str] | None, OBJECTS] = None,
        all_: Annotated[bool, ALL] = False,
    ) -> None:
        from millrace.control.operations import objects

        if bool(objects_) == all_:
            raise ConfigError("no object is named", hint="Name some, or say --all.", code="usage")
        with face.desk() as desk:
            found = desk.ask(objects.act, pipeline, action, objects_ or None)
        _ended(face, found, done)

    act.__doc__ = told
    command(group, verb, examples=[f"millrace objects {verb} clevertap Events", f"millrace objects {verb} shop --all"])(
        act
    )


def _ended(face: Face, found: list[Done], done: str) -> None:
    """What came of each object. One alone that does not allow it is an error; of several, exit code 1."""
    problems = [one.problem for one in found if one.problem is not None]
    if len(found) == 1 and problems:
        (problem,) = problems
        raise ConfigError(problem.message, hint=problem.hint, code=problem.code)
    face.answer(found, [f"{mark('good')} {bold(one.object)} {done}" for one in found if one.problem is None])
    if not face.json:
        for line in spoken(problems):
            warn(line)
    if problems:
        raise typer.Exit(1)


def _json(text: str) -> Any:
    from millrace.data import json_text

    try:
        return json_text.loads(text)
    except ValueError as wrong:
        raise ConfigError(
            f"the position is no JSON: {wrong}", hint="Write it as it is shown.", path="--set", code="usage"
        ) from wrong


def _listed(found: list[Object], now: datetime) -> Iterator[str]:
    rows = [
        (
            one.name,
            one.state,
            one.status,
            one.loading,
            ", ".join(one.key),
            None if one.history is None else shared(one.history),
            None if one.last_ingested_at is None else ago(one.last_ingested_at, now),
        )
        for one in found
    ]
    yield from table(("object", "state", "status", "loading", "key", "history", "read"), rows)


def _positions(found: Object) -> Iterator[str]:
    from millrace.data import json_text

    for lane, cursor in sorted(found.positions.items()):
        yield f"{dim(lane)} {json_text.dumps(cursor)}"


def _history(found: list[Position], now: datetime) -> Iterator[str]:
    from millrace.data import json_text

    rows = [
        (
            ago(one.committed_at, now),
            "by hand" if one.run is None else f"run {one.run}",
            None if one.cursor is None else json_text.dumps(one.cursor),
        )
        for one in found
    ]
    yield from table(("when", "by", "position"), rows)
