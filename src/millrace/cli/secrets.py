"""`millrace secrets`: the key that seals them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.text import bold

if TYPE_CHECKING:
    from millrace.control.secrecy.sealing import Rotated


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    secrets = noun("secrets", "Secrets: the key that seals what is saved of them.", listing=False)
    command(secrets, "rotate", examples=["millrace secrets rotate", "millrace secrets rotate --lost"])(rotate)
    app.add_typer(secrets)


def rotate(
    face: Face,
    lost: Annotated[
        bool, typer.Option("--lost", help="Give up what was sealed with a key that is lost; it must be given again.")
    ] = False,
) -> None:
    """A new key seals all saved secrets, in one go, while servers run. May be killed and run again."""
    from millrace.control.secrecy import sealing

    with face.open() as home:
        done = sealing.rotate(home, lost=lost)
        face.answer(done, _lines(done))


def _lines(done: Rotated) -> Iterator[str]:
    yield f"Key {bold(done.key_id)} seals secrets now; {done.values} were sealed anew."
    if done.lost:
        yield f"{done.lost} could not be opened and are gone: give them again."
    if not done.old_keys_gone:
        yield "Take the old key out of MILLRACE_KEY now, for every server."
