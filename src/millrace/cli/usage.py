"""`millrace usage`: how many rows were loaded, which of them count, and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import day, noun
from millrace.cli.paging import AFTER, AT_MOST, more
from millrace.cli.text import bold, count, dim, mark, table

if TYPE_CHECKING:
    from millrace.control.metering.usage import Usage
    from millrace.control.metering.usage_limits import Limit, Usual

By = Literal["pipeline", "object", "table", "kind", "day", "hour"]
TIMES = {"": 1, "k": 1_000, "m": 1_000_000}

PIPELINE = Annotated[str | None, typer.Option("--pipeline", "-p", metavar="NAME", help="Of this pipeline.")]
PAUSE = Annotated[bool, typer.Option("--pause", help="Pause what goes beyond it, too.")]
SIDELINE = Annotated[bool, typer.Option("--sideline", help="Read on beyond it, and load that in the next period.")]
GRACE = Annotated[int, typer.Option("--grace", min=0, metavar="HOURS", help="Pause or sideline so much later.")]
PER = Annotated[Literal["day", "month"] | None, typer.Option("--per", help="Of a pipeline: a day unless said.")]
MINUTES = Annotated[int, typer.Option("--minutes", min=1, metavar="N", help="How long a window is.")]


def rows(text: str) -> int:
    """A number of rows as it is typed: 500000, 500k, 2M. Raises typer.BadParameter for anything else."""
    found = re.fullmatch(r"(\d{1,15})([kKmM]?)", text.replace(",", "").replace("_", ""))
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a number of rows; write it like 500000, 500k or 2M.")
    return int(found[1]) * TIMES[found[2].lower()]


SINCE = typer.Option(metavar="DAY", parser=day, help="From this day on (UTC); left out: from the start of the month.")
UNTIL = typer.Option(metavar="DAY", parser=day, help="Before this day (UTC); left out: until now.")


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    usages = noun("usage", "Usage: how many rows were loaded, and how many may be.")
    command(
        usages,
        "list",
        examples=[
            "millrace usage",
            "millrace usage --by table --since 2026-01-01 --until 2026-02-01",
            "millrace usage --by hour --pipeline clevertap --json",
        ],
    )(list_usage)
    command(usages, "limits", examples=["millrace usage limits"])(limits)
    command(
        usages,
        "limit",
        examples=[
            "millrace usage limit 50M --sideline --grace 24",
            "millrace usage limit 500k --pipeline clevertap --pause",
        ],
    )(limit)
    command(usages, "lift", examples=["millrace usage lift", "millrace usage lift --pipeline clevertap"])(lift)
    command(
        usages,
        "window",
        examples=["millrace usage window 1M", "millrace usage window 200k --minutes 10", "millrace usage window"],
    )(window)
    command(usages, "lift-window", examples=["millrace usage lift-window"])(lift_window)
    watched = ["millrace usage watch clevertap --times 3 --intervals 4", "millrace usage watch clevertap"]
    command(usages, "watch", examples=watched)(watch)
    command(usages, "usual", examples=["millrace usage usual clevertap"])(usual)
    app.add_typer(usages)


def list_usage(
    face: Face,
    by: Annotated[By, typer.Option(help="What lines are told apart by.")] = "pipeline",
    since: Annotated[date | None, SINCE] = None,
    until: Annotated[date | None, UNTIL] = None,
    pipeline: PIPELINE = None,
    after: AFTER = None,
    limit: AT_MOST = 100,
) -> None:
    """Count rows that were staged and loaded, and which of them count.

    Billable rows are those that were loaded and came after the pipeline was made; history, and what was read again on
    purpose, is free.
    """
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        found = desk.ask(operations.report, by, _moment(since), _moment(until), pipeline, after, limit)
    face.answer(found, _counted(found, by))


def limits(face: Face, after: AFTER = None, limit: AT_MOST = 100) -> None:
    """List limits, with how far each is used up."""
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        page = desk.ask(operations.limits, after, limit)
    shown = table(
        ("of", "period", "limit", "used", "forecast", "beyond it"),
        [
            (one.pipeline or "the team", one.period, one.rows, one.used, one.forecast, _beyond(one))
            for one in page.items
        ],
    )
    face.answer(page, [*shown, *more(page.next)] if page.items else ["There is no limit."])


def limit(
    face: Face,
    rows: Annotated[int, typer.Argument(metavar="ROWS", parser=rows, help="How many: 500000, 500k, 2M.")],
    pipeline: PIPELINE = None,
    pause: PAUSE = False,
    sideline: SIDELINE = False,
    grace: GRACE = 0,
    per: PER = None,
) -> None:
    """Set a limit: of rows of a pipeline in a day or a month, or else of billable rows of the team in a month.

    People are told when more than that is moved. What is sidelined waits on the stage, and no row of it is lost.
    """
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        if pipeline is None:
            if per == "day":
                raise typer.BadParameter("the team has a limit for a month; name a --pipeline for one a day.")
            found = desk.ask(operations.limit_team, rows, pause, sideline, grace)
        else:
            found = desk.ask(operations.limit_pipeline, pipeline, rows, pause, sideline, grace, per or "day")
    face.answer(
        found,
        [f"{bold(found.pipeline or 'The team')}: {count(found.rows, 'row')} a {found.period}; {found.used:,} so far."],
    )


def lift(face: Face, pipeline: PIPELINE = None) -> None:
    """Set no limit any more."""
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        if pipeline is None:
            desk.ask(operations.lift_team)
        else:
            desk.ask(operations.lift_pipeline, pipeline)
    face.answer({"pipeline": pipeline, "limit": None}, [f"{bold(pipeline or 'The team')} has no limit."])


def window(
    face: Face,
    rows: Annotated[int | None, typer.Argument(metavar="ROWS", parser=rows, help="Left out: show it.")] = None,
    minutes: MINUTES = 30,
) -> None:
    """Set how many rows the team may read in a window of time; beyond that, reading stalls until the window ends."""
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        found = desk.ask(operations.ingestion) if rows is None else desk.ask(operations.limit_ingestion, rows, minutes)
    if found.rows is None or found.until is None:
        face.answer(found, ["The team may read as many rows as it likes."])
        return
    said = f"{count(found.rows, 'row')} in {count(found.minutes, 'minute')}"
    face.answer(found, [f"{bold('The team')} may read {said}; {found.counted:,} until {found.until:%H:%M} UTC."])


def lift_window(face: Face) -> None:
    """Let the team read as many rows as it likes."""
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        desk.ask(operations.lift_ingestion)
    face.answer({"rows": None}, ["The team may read as many rows as it likes."])


def watch(
    face: Face,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline.")],
    times: Annotated[
        float | None, typer.Option(metavar="X", help="Tell of a day with X times the rows usual for its weekday.")
    ] = None,
    intervals: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tell when nothing was loaded for N intervals.")
    ] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Pause it on such a day, too.")] = False,
) -> None:
    """Tell people of what is unusual for a pipeline by its own past; with no option, of nothing."""
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        found = desk.ask(operations.watch, pipeline, times, intervals, pause)
    said = [] if found.times is None else [f"a day with {found.times:g} times the usual rows"]
    said += [] if found.intervals is None else [f"{count(found.intervals, 'interval')} without a row"]
    face.answer(found, [f"{bold(pipeline)}: people are told of {' and of '.join(said) or 'nothing unusual'}."])


def usual(face: Face, pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline.")]) -> None:
    """Show what a pipeline moved lately, and what would be a good limit."""
    from millrace.control.operations import usage as operations

    with face.desk() as desk:
        found = desk.ask(operations.usual, pipeline)
    face.answer(found, _usual(found))


def _moment(typed: date | None) -> datetime | None:
    return None if typed is None else datetime.combine(typed, time(), UTC)


def _counted(found: Usage, by: By) -> Iterator[str]:
    heads = {
        "pipeline": ("pipeline",),
        "object": ("pipeline", "object"),
        "table": ("pipeline", "table"),
        "kind": ("kind",),
        "day": ("day",),
        "hour": ("hour",),
    }[by]
    rows: list[tuple[object, ...]] = []
    for one in found.lines:
        at = None if one.at is None else f"{one.at:%Y-%m-%d}" if by == "day" else one.at
        said = {"pipeline": one.pipeline, "object": one.object, "table": one.table, "kind": one.kind}
        named = [said.get(head, at) for head in heads]
        rows.append((*named, one.ingested, one.loaded, one.historical, one.billable))
    yield from table((*heads, "staged", "loaded", "history", "billable"), rows)
    span = f"{found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC"
    yield dim(f"{span}: {count(found.loaded, 'row')} loaded, {found.billable:,} of them billable")
    if by != "kind" and found.kinds:
        yield dim("  " + ", ".join(f"{kind.lower()} {n:,}" for kind, n in found.kinds.items()))
    yield from more(found.next)


def _beyond(one: Limit) -> str:
    told = "people are told"
    if one.pause or one.sideline:
        told += ", and it is paused" if one.pause else ", and loads wait"
        told += f" after {count(one.grace_hours, 'hour')}" if one.grace_hours else ""
    return f"{mark('look')} {told}" if one.exceeded else told


def _usual(found: Usual) -> Iterator[str]:
    rows = [(f"{one.days} days", one.ingested, one.loaded) for one in found.lately]
    yield from table(("last", "staged", "loaded"), rows)
    if found.suggested is not None:
        yield f"A limit that only an unusual day goes beyond: {found.suggested:,} rows a day."
