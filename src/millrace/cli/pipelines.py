"""`millrace run | load | status | reconcile | resync | reset`: what is done with pipelines."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.answers import encode
from millrace.cli.face import Face, command, spoken
from millrace.cli.files import told
from millrace.cli.nouns import day
from millrace.cli.progress import INTERRUPTED, interruptible, shared, watching
from millrace.cli.runs import account, balanced, outcome
from millrace.cli.text import State, ago, bold, count, dim, mark, say, size, span, table, warn
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, as_typed

if TYPE_CHECKING:
    from millrace.control.books.records import RunRecord
    from millrace.control.desk import Desk, Watch
    from millrace.control.observing.status import PipelineStatus, StreamStatus
    from millrace.control.operations.pipelines import Restarted
    from millrace.control.reconciling.reconciliation import Cause, Reconciliation, Values

Mode = Literal["evolve-and-merge", "drop-and-load"]

NONE_YET = "There is no pipeline yet. Write one in a file and run: millrace run pipelines.yaml"

PIPELINE = typer.Argument(metavar="PIPELINE", help="Name of a pipeline.")
ANY = typer.Argument(metavar="PIPELINE", help="Name of a pipeline; left out: all.")
OBJECT = typer.Option("--object", "--only", metavar="OBJECT", help="Only this object; may be repeated.")
SINCE = typer.Option(metavar="DATE", parser=day, help="From this day on: 2026-01-31.")
YES = typer.Option("--yes", "-y", help="Do not ask.")


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(
        app,
        "run",
        examples=[
            "millrace run pipelines.yaml                     apply the file, then run its pipelines",
            "millrace run                                    run every saved pipeline",
            "millrace run clevertap --only Events            run one pipeline, one object",
            "millrace run clevertap --since 2026-01-15       read these days once more",
            "millrace run clevertap --full                   read everything anew and swap the tables",
        ],
    )(run)
    command(app, "load", examples=["millrace load", "millrace load clevertap"])(load)
    command(app, "status", examples=["millrace status", "millrace status clevertap --json"])(status)
    command(
        app,
        "reconcile",
        examples=[
            "millrace reconcile clevertap",
            "millrace reconcile clevertap --since 2026-01-15 --fix",
            "millrace reconcile shop --values --fix",
        ],
    )(reconcile)
    command(
        app,
        "resync",
        examples=["millrace resync clevertap", "millrace resync clevertap --object Events --mode drop-and-load"],
    )(resync)
    command(app, "reset", examples=["millrace reset clevertap", "millrace reset clevertap --drop-tables --yes"])(reset)


def run(
    face: Face,
    what: Annotated[
        str | None,
        typer.Argument(metavar="FILE|PIPELINE", help="A YAML file to apply and run, or a pipeline; left out: all."),
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", metavar="NAME", help="Only this pipeline of the file.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything anew, then swap the tables.")] = False,
    since: Annotated[date | None, SINCE] = None,
    only: Annotated[list[str] | None, OBJECT] = None,
) -> None:
    """Read what is new, stage it, and load it.

    Ctrl-C ends at the next commit; the next run goes on from there. Rows that cannot pass are kept as rejects
    (`millrace rejects`), and a run that has some still ends well: its balance says so.
    """
    from millrace.control.as_code import apply
    from millrace.control.operations import sync

    if full and since:
        raise ConfigError(
            "--full and --since exclude each other", hint="--full reads everything anew.", code="usage", path="--since"
        )
    file = Path(what) if what and apply.is_file(what) else None
    with face.desk(create=file is not None) as desk:
        if file is not None:
            applied = desk.apply(file)
            for line in told(applied):
                face.remark(line)
            names = apply.chosen(applied.pipelines, pipeline, str(file))
        else:
            names = chosen(desk, what or pipeline)

        def one(name: str, watch: Watch) -> RunRecord:
            return desk.send(sync.run, watch, name, full, since, only or ())

        ended(face, each(face, desk, names, one))


def load(face: Face, pipeline: Annotated[str | None, ANY] = None) -> None:
    """Load what is staged and waits, without reading from the source."""
    from millrace.control.operations import sync

    with face.desk() as desk:

        def one(name: str, watch: Watch) -> RunRecord:
            return desk.send(sync.load, watch, name)

        ended(face, each(face, desk, chosen(desk, pipeline), one))


def chosen(desk: Desk, pipeline: str | None) -> Sequence[str]:
    """The names of all pipelines, or the one that is named. Raises ConfigError when there is none of that name."""
    from millrace.control.as_code import apply
    from millrace.control.operations import pipelines

    return apply.chosen(desk.ask(pipelines.names), pipeline, "this home")


@dataclass(frozen=True, slots=True)
class Ran:
    """What runs of one command came to."""

    runs: tuple[RunRecord, ...]
    failures: tuple[MillraceError, ...] = ()


def each(face: Face, desk: Desk, names: Sequence[str], one: Callable[[str, Watch], RunRecord]) -> Ran:
    """``one`` for each pipeline in turn, watched; one that fails does not keep the next from running.

    None is begun after a wish to stop.
    """
    from millrace.control.desk import Watch
    from millrace.control.operations import runs

    stopping = threading.Event()
    done: list[RunRecord] = []
    failures: list[MillraceError] = []
    with interruptible(stopping):
        for name in names:
            if stopping.is_set():
                break
            watch = Watch(stopping=stopping)
            before = {record.id for record in desk.ask(runs.list_, name, 1)}
            try:
                with watching(name, watch.meter, silent=face.quiet or face.json):
                    done.append(one(name, watch))
            except MillraceError as failure:
                failures.append(failure)
                done.extend(record for record in desk.ask(runs.list_, name, 1) if record.id not in before)
    return Ran(tuple(done), tuple(failures))


def ended(face: Face, ran: Ran) -> None:
    """The runs are accounted for. Exits with the failure's code, 1 when they differ, 130 when stopped."""
    problems = [failure.problem for failure in ran.failures]
    if face.json:
        say(encode({"runs": ran.runs, **({"error": problems[0]} if problems else {})}))
    else:
        for record in ran.runs:
            for line in account(record):
                say(line)
        if not ran.runs and not problems:
            say(NONE_YET)
        recorded = {record.error.code for record in ran.runs if record.error}
        for line in spoken([problem for problem in problems if problem.code not in recorded]):
            warn(line)
    codes = {failure.exit_code for failure in ran.failures}
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else 1)
    if any(record.status == "FAILED" for record in ran.runs):
        raise typer.Exit(1)
    # A part of the source that was not read to its end. Rejects alone are no failure of the command.
    if any(note.level == "error" for record in ran.runs for note in record.notes):
        raise typer.Exit(1)
    if any(record.status == "CANCELLED" for record in ran.runs):
        raise typer.Exit(INTERRUPTED)


def status(face: Face, pipeline: Annotated[str | None, ANY] = None) -> None:
    """Show how far each pipeline is: what is loaded, what waits, what needs you."""
    from millrace.control.operations import pipelines

    with face.desk() as desk:
        found = desk.ask(pipelines.statuses) if pipeline is None else [desk.ask(pipelines.find, pipeline)]
    face.answer(found, _statuses(found, datetime.now(UTC)))


def _statuses(found: Sequence[PipelineStatus], now: datetime) -> Iterator[str]:
    from millrace.control.scheduling import schedule

    if not found:
        yield NONE_YET
    for one in found:
        last = one.last_run
        state: State = "busy" if one.running else outcome(last) if last else "idle"
        planned = schedule.told(schedule.from_json(one.schedule))
        # What is due waits for a server; without one, schedules are only written down.
        if one.next_at is not None and one.next_at > now:
            planned += f", next in {span((one.next_at - now).total_seconds())}"
        facts = [f"{one.source_type} → {one.destination_type}", one.load_mode, planned]
        if one.state != "ACTIVE":
            facts.append(one.state.lower())
        yield f"{mark(state)} {bold(one.name)}  {dim(' · '.join(facts))}"
        if one.running:
            yield f"  running: {one.running}"
        elif last:
            ended = ago(last.ended_at, now) if last.ended_at else "not ended"
            yield f"  last run {last.id}: {last.status.replace('_', ' ').lower()} {ended}; {balanced(last.balance)}"
            if last.error:
                yield f"  {mark('bad')} {last.error.message}"
        else:
            yield f"  never run: {dim(as_typed('run', one.name))}"
        for stream in one.streams:
            yield from _reached(stream, now)
        if one.waiting_rows:
            yield (
                f"  {mark('look')} {count(one.waiting_rows, 'row')} ({size(one.waiting_bytes)}) wait on the stage: "
                + dim(as_typed("load", one.name))
            )
        if one.open_rejects:
            yield f"  {mark('look')} {count(one.open_rejects, 'rejected row')}: " + dim(
                as_typed("rejects", "list", "--pipeline", one.name)
            )
        if one.failed_files:
            yield f"  {mark('look')} {count(one.failed_files, 'file')} could not be read: " + dim(
                as_typed("files", "list", one.name, "--status", "failed")
            )


def _reached(stream: StreamStatus, now: datetime) -> Iterator[str]:
    """How far a stream is read, and how far each of its tables is loaded: two numbers that may differ."""
    read = [
        f"{lane.lane} read up to {ago(lane.committed_at, now)}" for lane in stream.lanes if lane.lane != "historical"
    ]
    if stream.history is not None:
        read.append(f"history {shared(stream.history)}")
    yield f"  {stream.stream}: {', '.join(read) or 'not read yet'}"
    for one in stream.tables:
        filling = " (new, takes its place when whole)" if one.fresh else ""
        yield (
            f"    → {one.table}{filling}: {count(one.rows_loaded, 'row')} loaded up to segment {one.loaded} of "
            f"{one.staged}, {ago(one.last_loaded_at, now)}"
        )


def reconcile(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    since: Annotated[date | None, SINCE] = None,
    only: Annotated[list[str] | None, OBJECT] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Read what differs once more, compare again.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Compare the rows of databases value by value.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Sums for each name, instead of days.")] = False,
) -> None:
    """Compare the source's own counts with the table's rows.

    Counted are names and days of the last 31 days, of a database the ranges of a key as they are now. Every difference
    gets its cause. With --values, the rows of databases are read on both sides and compared value by value. Exit code 1
    when a difference has no cause.
    """
    from millrace.control.desk import Watch
    from millrace.control.operations import reconcile as operations

    watch = Watch()
    ending = "Stopping; half a comparison is none, so none is shown. "
    ending += "Days that were read once more stay." if fix else "It has changed nothing."
    with (
        face.desk() as desk,
        interruptible(watch.stopping, ending=ending),
        watching(pipeline, watch.meter, silent=face.quiet or face.json),
    ):
        found = desk.send(operations.mend if fix else operations.reconcile, watch, pipeline, since, only or (), values)
    face.answer(found, (line for one in found for line in _compared(one, summary=summary)))
    if not all(one.equal for one in found):
        raise typer.Exit(1)


def _compared(found: Reconciliation, *, summary: bool) -> Iterator[str]:
    differing = [row for row in found.compared if row.difference]
    parts = (
        count(len(found.compared), "range")
        if found.ranges
        else (f"{count(len(found.compared), 'name and day', 'names and days')} in {found.timezone}")
    )
    yield (
        f"{bold(found.pipeline)} {found.stream}: {parts}; source {found.source_rows:,}, table {found.table} "
        f"{found.table_rows:,}"
    )
    if summary and found.compared:
        yield from table(("name", "source", "table", "difference", "why"), _sums(found))
    elif differing:
        rows = [
            (row.name, row.day, row.source_rows, row.table_rows, row.difference, _why(row.causes, row.unexplained))
            for row in differing
        ]
        yield from table(("name", "day", "source", "table", "difference", "why"), rows)
    if found.values is not None:
        yield from _values(found.values)
    for name, why in sorted(found.unreadable.items()):
        yield f"{mark('look')} {name}: {why}"
    if found.again:
        yield f"Read once more: {count(len(found.again), 'name and day', 'names and days')}."
    if found.equal:
        yield f"{mark('good')} " + ("Every difference has a cause." if differing else "All equal.")
    else:
        what = ("the rows" if found.by_keys else "the object") if found.ranges else "those days"
        yield f"{mark('bad')} Some differences have no known cause. Read {what} again: {dim(found.remedy)}"


KINDS = {"other": "other values", "missing": "not in the table", "extra": "not at the source"}


def _values(values: Values) -> Iterator[str]:
    if values.why_not:
        yield f"{mark('look')} Values were not compared: {values.why_not}."
        return
    if values.read_again:
        yield f"Read once more: {count(values.read_again, 'row')}."
    yield f"Compared value by value: {count(values.rows, 'row')}."
    if values.items:
        told = ", ".join(f"{table} {rows:,}" for table, rows in values.items.items())
        yield f"And rows of items of arrays: {told}."
    for why in values.left_out.values():
        yield f"{mark('look')} Not compared: {why}."
    if values.unlike:
        rows = [
            (
                one.name,
                one.rows,
                KINDS[one.kind],
                one.first if one.first == one.last else f"{one.first} … {one.last}",
                ", ".join(f"{name} {many:,}" for name, many in one.columns.items()),
            )
            for one in values.unlike
        ]
        yield from table(("range", "rows", "what", "keys", "columns"), rows)
        if values.to_read and values.why_whole:
            yield f"{mark('look')} Rows cannot be read again by their keys: {values.why_whole}."


def _sums(found: Reconciliation) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for name in sorted({row.name for row in found.compared}):
        mine = [row for row in found.compared if row.name == name]
        causes: Counter[str] = Counter()
        for row in mine:
            causes.update({cause.code: cause.rows for cause in row.causes})
        unexplained = sum(abs(row.unexplained) for row in mine)
        why = [f"{code.replace('_', ' ')} {rows:,}" for code, rows in causes.items()]
        why += [f"unexplained {unexplained:,}"] if unexplained else []
        source, held = sum(row.source_rows for row in mine), sum(row.table_rows for row in mine)
        rows.append((name, source, held, source - held, ", ".join(why)))
    return rows


def _why(causes: Sequence[Cause], unexplained: int) -> str:
    told = [cause.message for cause in causes] + ([f"{unexplained:,} unexplained"] if unexplained else [])
    return "; ".join(told)


def resync(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    only: Annotated[list[str] | None, OBJECT] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            metavar="MODE",
            help="evolve-and-merge keeps the table and merges into it; drop-and-load fills a new one, which takes its "
            "place when it is whole.",
        ),
    ] = "evolve-and-merge",
) -> None:
    """Read the whole history again, now. Loaded rows stay until newer ones take their place."""
    from millrace.control.operations import sync

    with face.desk() as desk:

        def one(name: str, watch: Watch) -> RunRecord:
            return desk.send(sync.resync, watch, name, only or (), mode)

        ended(face, each(face, desk, [pipeline], one))


def reset(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    drop_tables: Annotated[
        bool, typer.Option("--drop-tables", help="Drop the pipeline's tables at the destination, too.")
    ] = False,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Forget how far a pipeline is: positions, staged rows and rejects go. Loaded rows stay, unless --drop-tables."""
    from millrace.control.operations import pipelines

    lost = "positions, staged rows that wait, rejects" + (", and its TABLES AT THE DESTINATION" if drop_tables else "")
    stays = "" if drop_tables else " Loaded rows stay in the destination."
    confirmed(face, f"{pipeline} loses its {lost}.{stays}", yes)
    with face.desk() as desk:
        done = desk.ask(pipelines.reset, pipeline, drop_tables)
    face.answer(done, _restarted(done))


def _restarted(done: Restarted) -> Iterator[str]:
    if done.tables:
        yield f"{'Dropped' if done.dropped else 'Left as they are'}: {', '.join(done.tables)}."
    yield f"{bold(done.pipeline)} starts from the beginning with its next run: {dim(as_typed('run', done.pipeline))}"


def confirmed(face: Face, what: str, yes: bool) -> None:
    """A person agreed. Raises ConfigError where nobody can be asked."""
    if yes:
        return
    if face.json or not sys.stdin.isatty():
        raise ConfigError(what, hint="Add --yes to do it.", code="not_confirmed")
    warn(what)
    typer.confirm("Go on?", abort=True, err=True)
