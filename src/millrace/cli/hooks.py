"""`millrace hooks`: addresses at which other systems tell pipelines things."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.text import bold
from millrace.errors import as_typed

PIPELINE = Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline from a webhook.")]


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    hooks = noun("hooks", "Webhook addresses: what other systems send to a pipeline.")
    command(hooks, "show", examples=["millrace hooks show orders"])(show)
    command(hooks, "rotate", examples=["millrace hooks rotate orders"])(rotate)
    command(hooks, "revoke", examples=["millrace hooks revoke orders"])(revoke)
    app.add_typer(hooks)


def show(face: Face, pipeline: PIPELINE) -> None:
    """Show whether a pipeline has an address. Its token is shown when it is made, and never again."""
    from millrace.control.operations import hooks as operations

    with face.desk() as desk:
        found = desk.ask(operations.show, pipeline)
    if found.created_at is None:
        told = f"{bold(found.pipeline)} has no address. Make one: {as_typed('hooks', 'rotate', found.pipeline)}"
    else:
        told = f"{bold(found.pipeline)} has an address since {found.created_at:%Y-%m-%d %H:%M} UTC."
    face.answer(found, [told])


def rotate(face: Face, pipeline: PIPELINE) -> None:
    """Make a new address for a pipeline, shown this once. The old one is good for nothing then."""
    from millrace.control.operations import hooks as operations

    with face.desk() as desk:
        made = desk.ask(operations.rotate, pipeline)
    face.answer(
        made,
        [
            f"{bold(made.pipeline)} is told things at this path of the server; keep it like a password:",
            f"  {bold(made.path)}",
            f"For events of an SDK: POST /track with Authorization: Bearer {made.token}",
        ],
    )


def revoke(face: Face, pipeline: PIPELINE) -> None:
    """Take the address of a pipeline away: what is sent there is refused. What came before is still loaded."""
    from millrace.control.operations import hooks as operations

    with face.desk() as desk:
        found = desk.ask(operations.revoke, pipeline)
    face.answer(found, [f"{bold(found.pipeline)} has no address any more."])
