"""The command `millrace`: which nouns it has, and what becomes of an error. Heavy imports wait for their command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import typer

from millrace.cli.answers import encode
from millrace.cli.face import WIDTH, Face, answer_error, spoken
from millrace.cli.nouns import Day
from millrace.cli.text import say, warn
from millrace.errors import Problem, as_typed

NAME = "millrace"
INTERRUPTED = 130
# Set by a shell that completes what is typed.
COMPLETE = "_MILLRACE_COMPLETE"

# The errors of the option parser, whichever package Typer carries it in.
Unparsable: type[Exception] = typer.BadParameter.__mro__[2]

# The modules of commands, and what each has.
MODULES = {
    "files": ("init", "apply", "export", "schema", "version"),
    "pipelines": ("run", "load", "status", "reconcile", "resync", "reset"),
    "jobs": ("pause", "resume", "prioritize", "clone", "rename", "delete", "cancel", "retry", "drafts"),
    "objects": ("objects",),
    "file_log": ("files",),
    "runs": ("runs",),
    "rejects": ("rejects",),
    "trace": ("trace", "replay"),
    "transform": ("transform",),
    "mapping": ("mapping",),
    "tables": ("discover", "preview", "query"),
    "connections": ("sources", "destinations", "check"),
    "people": ("user", "key", "team", "activity"),
    "settings": ("settings",),
    "usage": ("usage",),
    "hooks": ("hooks",),
    "alerts": ("alert",),
    "sso": ("sso",),
    "secrets": ("secrets",),
    "diagnose": ("diagnose",),
    "serve": ("serve",),
    "simulate": ("simulate",),
}


def commands(asked: str = "") -> typer.Typer:
    """All commands, or those of the module that has the one that is ``asked`` for: to import all takes its time."""
    app = typer.Typer(
        name=NAME,
        cls=Day,
        help="Pipelines from your tools and databases into your warehouse, exactly once.",
        epilog="\b\nStart here:\n  millrace run pipelines.yaml    apply a file and run what it says\n"
        "  millrace status                what is loaded, what waits, what needs you",
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": WIDTH},
    )
    for module in [module for module, names in MODULES.items() if asked in names] or MODULES:
        import_module(f"millrace.cli.{module}").join(app)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command: 0 fine, 1 failed, 2 your input, 3 the environment, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    face = Face(json="--json" in words, quiet="--quiet" in words or "-q" in words, debug="--debug" in words)
    try:
        code = _command(words).main(words, prog_name=NAME, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        if not face.json:
            warn("Interrupted. Nothing committed is lost; run again to go on.")
        return INTERRUPTED
    except Unparsable as wrong:
        return _misused(wrong, face)
    except Exception as error:
        return answer_error(error, face)


def _command(words: Sequence[str]) -> Any:
    """What answers: the one command that is asked for, or all of them. To make all takes its time, so those that are
    only named have no options of their own."""
    asked = words[0] if words else ""
    if any(asked in names for names in MODULES.values()):
        return _made(asked)
    return _made("") if COMPLETE in os.environ else _named()


@cache
def _made(asked: str) -> Any:
    """The command, or all for "". Made once: whoever makes one adds to the groups of its module again."""
    app = commands(asked)
    if not asked:
        return typer.main.get_command(app)
    app.registered_commands = [found for found in app.registered_commands if found.name == asked]
    app.registered_groups = [
        found for found in app.registered_groups if found.typer_instance and found.typer_instance.info.name == asked
    ]
    return typer.main.get_group(app)


@cache
def _named() -> Any:
    """All commands, for who asks what there is: their names, what each is for, and nothing within them."""
    app = commands()
    for one in app.registered_commands:
        told = one.callback.__doc__ if one.callback else None
        one.callback, one.cls = _bare(told), None
    for group in app.registered_groups:
        if group.typer_instance:
            about = group.typer_instance.info
            group.typer_instance = typer.Typer(name=about.name, help=about.help, rich_markup_mode=None)
            group.typer_instance.callback()(_bare(None))
    return typer.main.get_command(app)


def _bare(told: str | None) -> Callable[[], None]:
    def bare() -> None: ...

    bare.__doc__ = told
    return bare


def _misused(wrong: Exception, face: Face) -> int:
    """What was typed is no command."""
    context = getattr(wrong, "ctx", None)
    path = context.command_path if context else NAME
    told = getattr(wrong, "format_message", lambda: str(wrong))()
    # Typer hands on what pydantic sets before its own words.
    told = told.replace(": Value error, ", ": ", 1)
    if type(wrong).__name__ == "NoArgsIsHelpError":
        say(told)
        return 0
    hint = f"See `{path} --help`."
    lacks = getattr(getattr(wrong, "param", None), "name", None)
    if context and lacks == "event_type" and (pipeline := context.params.get("pipeline")):
        hint = f"Which there are: `{as_typed('mapping', 'list', pipeline)}`. {hint}"
    problem = Problem("usage", told, hint)
    if face.json:
        say(encode({"error": problem}))
    else:
        for line in spoken([problem]):
            warn(line)
    return 2


if __name__ == "__main__":
    sys.exit(main())
