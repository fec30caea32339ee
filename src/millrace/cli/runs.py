"""`millrace runs`: what runs did, with the balance of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.face import Face, command, spoken
from millrace.cli.text import State, ago, bold, dim, mark, span, table
from millrace.errors import as_typed

if TYPE_CHECKING:
    from millrace.control.books.records import Balance, RunRecord

LEVELS: dict[str, State] = {"error": "bad", "warning": "look"}
OUTCOMES: dict[str, State] = {
    "COMPLETED": "good",
    "COMPLETED_WITH_FAILURES": "look",
    "DEFERRED": "look",
    "DEFERRED_WITH_FAILURES": "look",
    "FAILED": "bad",
    "IN_PROGRESS": "busy",
    "CANCELLING": "busy",
    "QUEUED": "busy",
}


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(
        app,
        "runs",
        examples=["millrace runs", "millrace runs 17", "millrace runs --pipeline clevertap --limit 50 --json"],
    )(runs)


def runs(
    face: Face,
    run: Annotated[int | None, typer.Argument(metavar="RUN", help="Number of a run, to see all of it.")] = None,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", metavar="NAME", help="Only runs of this pipeline.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="The newest so many.")] = 20,
) -> None:
    """List runs, the newest first, or show one.

    The balance of a run: read = loaded + filtered + rejected + waiting on the stage.
    """
    from millrace.control.operations import runs as operations

    with face.desk() as desk:
        if run is not None:
            record = desk.ask(operations.find, run)
            face.answer(record, account(record))
        else:
            found = desk.ask(operations.list_, pipeline, limit)
            face.answer(found, _listed(found, datetime.now(UTC)))


def outcome(record: RunRecord) -> State:
    """Good, look, bad, busy or idle."""
    return OUTCOMES.get(record.status, "idle")


def account(record: RunRecord) -> Iterator[str]:
    """All of a run: how it ended, its balance, what a person should look at, and its error."""
    words = [record.status.replace("_", " ").lower(), record.kind.replace("_", " ").lower(), *_speed(record)]
    yield f"{mark(outcome(record))} {bold(record.pipeline)} run {record.id}: {' · '.join(words)}"
    yield f"  {balanced(record.balance)}"
    if record.balance.filtered:
        yield f"  filtered: {_listing(record.balance.filtered)}"
    if record.balance.rejected:
        yield f"  {mark('look')} rejected: {_listing(record.balance.rejected)}"
        yield f"    → {as_typed('rejects', 'list', '--pipeline', record.pipeline)}"
    if len(record.streams) > 1:
        yield from (f"  {stream}: {balanced(balance)}" for stream, balance in record.streams.items())
    if record.noted:
        yield dim(f"  noted: {_listing(record.noted)}")
    for note in record.notes:
        yield f"  {mark(LEVELS.get(note.level, 'idle'))} {note.message}"
    if record.error:
        yield from (f"  {line}" for line in spoken([record.error]))


def balanced(balance: Balance) -> str:
    """`read 48,201 = loaded 47,990 + filtered 180 + rejected 31`; what is 0 is left out, but loaded never."""
    parts = [f"loaded {balance.loaded:,}"]
    for word, number in (
        ("filtered", balance.filtered_rows),
        ("rejected", balance.rejected_rows),
        ("dropped", balance.dropped),
        ("waiting", balance.waiting),
    ):
        if number:
            parts.append(f"{word} {number:,}")
    created = f" + created {balance.created:,}" if balance.created > 0 else ""
    if balance.created < 0:
        created = f" - moved to other event types {-balance.created:,}"
    return f"read {balance.read:,}{created} {'=' if balance.even else '≠'} {' + '.join(parts)}"


def _speed(record: RunRecord) -> Iterator[str]:
    if record.ended_at:
        took_s = (record.ended_at - record.started_at).total_seconds()
        yield span(took_s)
        if record.balance.read >= 1000 and took_s > 0:
            yield f"{record.balance.read / took_s:,.0f} rows/s"


def _listing(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ') if name.islower() else name} {n:,}" for name, n in counts.items())


def _listed(found: Sequence[RunRecord], now: datetime) -> Iterator[str]:
    if not found:
        yield "No run yet. Start one: millrace run"
        return
    rows = [
        (
            record.id,
            record.pipeline,
            f"{mark(outcome(record))} {record.status.replace('_', ' ').lower()}",
            record.kind.replace("_", " ").lower(),
            ago(record.started_at, now),
            span((record.ended_at - record.started_at).total_seconds()) if record.ended_at else None,
            record.balance.read,
            record.balance.loaded,
            record.balance.filtered_rows,
            record.balance.rejected_rows,
            record.balance.waiting,
        )
        for record in found
    ]
    heads = (
        "run",
        "pipeline",
        "status",
        "kind",
        "started",
        "took",
        "read",
        "loaded",
        "filtered",
        "rejected",
        "waiting",
    )
    yield from table(heads, rows)
