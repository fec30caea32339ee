"""`millrace rejects`: rows that could not pass."""

from __future__ import annotations

import typer


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
