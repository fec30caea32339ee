"""`millrace settings`: what holds for all pipelines of a home."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.text import bold, table


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    group = noun("settings", "Settings that hold for all pipelines.")
    command(group, "list", examples=["millrace settings", "millrace settings list --json"])(list_)
    command(group, "set", examples=["millrace settings set retention_days=14 reject_retention_days=60"])(set_)
    app.add_typer(group)


def list_(face: Face) -> None:
    """Show the settings."""
    from millrace.control.operations import settings

    with face.desk() as desk:
        found = desk.ask(settings.show)
    face.answer(found, table(("setting", "is"), [(key, _said(value)) for key, value in asdict(found).items()]))


def set_(
    face: Face,
    pairs: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Settings that change.")],
) -> None:
    """Change settings. Those that are not named stay."""
    import yaml

    from millrace.control.as_code import apply
    from millrace.control.operations import settings

    wanted = {key: yaml.safe_load(value) for key, value in apply.pairs(pairs).items()}
    with face.desk() as desk:
        found = desk.ask(settings.put, wanted)
    after = asdict(found)
    face.answer(found, [f"{bold(key)} is {_said(after[key])}" for key in wanted])


def _said(value: object) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
