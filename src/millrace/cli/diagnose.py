"""`millrace diagnose`: what somebody who helps needs to know, in one zip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.text import bold, count, warn


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(
        app,
        "diagnose",
        examples=["millrace diagnose", "millrace diagnose trouble.zip --log /var/log/millrace.log"],
    )(diagnose)


def diagnose(
    face: Face,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip to write.")] = Path("millrace-diagnosis.zip"),
    log: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A log whose last MiB goes in, without secrets; may be given several times."),
    ] = None,
) -> None:
    """Write a zip for somebody who helps: versions, settings, pipelines, last runs, errors, and what is not well.

    No secret that this home keeps and no row is in it. Read it before you send it: names and addresses are.
    """
    from millrace.control.observing import diagnostics

    with face.open() as home:
        made = diagnostics.collect(home, file, logs=log or ())
    if made.failed and not face.json:
        warn(f"These could not be found out, and tell why: {', '.join(made.failed)}.")
    face.answer(made, [f"Wrote {bold(made.file)} with {count(len(made.parts), 'part')}."])
