"""Groups of commands: in the order of the day, and with `list` when nothing else is said."""

from __future__ import annotations

from datetime import date
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

ORDER = (
    "init",
    "sources",
    "destinations",
    "check",
    "discover",
    "preview",
    "apply",
    "run",
    "load",
    "status",
    "runs",
    "cancel",
    "retry",
    "pause",
    "resume",
    "prioritize",
    "objects",
    "files",
    "rejects",
    "transform",
    "mapping",
    "trace",
    "replay",
    "reconcile",
    "resync",
    "reset",
    "clone",
    "rename",
    "delete",
    "drafts",
    "query",
    "serve",
    "hooks",
    "team",
    "user",
    "key",
    "sso",
    "secrets",
    "activity",
    "settings",
    "usage",
    "alert",
    "simulate",
    "export",
    "schema",
    "version",
)


class Day(TyperGroup):
    """Commands in the order in which one meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


class Verb(TyperCommand):
    """A command whose help names arguments and options without the types of Python."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params = self.get_params(ctx)
        arguments = [(str(one.metavar), one.help or "") for one in params if isinstance(one, TyperArgument)]
        options = [one.get_help_record(ctx) for one in params if not isinstance(one, TyperArgument)]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Listing(TyperGroup):
    """A noun: without a verb it is listed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        helps = {"--help", "-h"}
        if not args or (args[0].startswith("-") and args[0] not in helps):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def noun(name: str, help: str, *, listing: bool = True) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(name=name, help=help, rich_markup_mode=None, cls=Listing if listing else TyperGroup)


def day(text: str) -> date:
    """A day as it is typed: 2026-01-31. Raises typer.BadParameter for anything else."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    # Weeks and days without hyphens are ISO 8601 too, and more often a slip of the hand.
    if found is None or found.isoformat() != text:
        raise typer.BadParameter(f"{text!r} is not a day; write it like 2026-01-31.")
    return found
