"""`millrace simulate`: stand-ins for systems, to try pipelines and transformations without an account."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.errors import ConfigError

group = noun("simulate", "Serve a stand-in for a system, to try pipelines without an account.", listing=False)


def join(app: typer.Typer) -> None:
    app.add_typer(group)


@group.callback()
def _group() -> None: ...


def whole(text: str) -> int:
    """A number of things, also as 1e5. Raises BadParameter for what is none."""
    with suppress(ArithmeticError):
        number = Decimal(text)
        if number >= 0 and number == (found := int(number)):
            return found
    raise typer.BadParameter(f"{text!r} is not a number of users; write 100000 or 1e5")


@command(
    group,
    "clevertap",
    examples=[
        "millrace simulate clevertap --demo",
        "millrace simulate clevertap --port 8090 --users 100000 --days 31 --seed 7",
        "millrace simulate clevertap simulator.yaml",
    ],
)
def clevertap(
    face: Face,
    config: Annotated[Path | None, typer.Argument(metavar="FILE", help="YAML file with accounts and faults.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes any free one.")] = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; left out: this machine alone.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same seed gives the same data.")] = None,
    users: Annotated[
        int | None, typer.Option(parser=whole, metavar="N", help="Users of each account, as 100000 or 1e5.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, metavar="N", help="Days of events before today.")] = None,
    now: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Where its clock starts, in UTC: 2026-01-31T12:00.")
    ] = None,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="New rows appear while it runs, a page shows them, and no answer lets one wait."),
    ] = False,
) -> None:
    """Serve a stand-in for the CleverTap API with invented users and events.

    It prints its address, the credentials and the path of an events file to use in a pipeline. Ctrl-C ends it.
    """
    from millrace.simulators.clevertap.cli import serve

    start = moment(now) if now else None
    serve(config, host=host, port=port, seed=seed, now=start, users=users, days=days, demo=demo, as_json=face.json)


def moment(text: str) -> datetime:
    """An ISO moment; UTC when it names no zone. Raises ConfigError when it is none."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise ConfigError(
            f"{text!r} is not a moment", hint="Write 2026-01-31 or 2026-01-31T12:00.", path="--now", code="usage"
        ) from wrong
    return read if read.tzinfo else read.replace(tzinfo=UTC)
