"""What every command has: where the home is, how it answers, and one place that turns errors into words."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from dataclasses import field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from millrace.cli.answers import encode, plain
from millrace.cli.nouns import Verb
from millrace.cli.text import dim, say, warn
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, Problem

if TYPE_CHECKING:
    from millrace.control.desk import Desk
    from millrace.control.home import Home

P = ParamSpec("P")

WIDTH = 100

API_KEY = "API key for the server; better in $MILLRACE_API_KEY."

# Options of every command, after its own.
OPTIONS: dict[str, tuple[Any, Any]] = {
    "home": (
        Annotated[
            Path | None,
            typer.Option(metavar="FOLDER", help="Folder with the state of Millrace; else $MILLRACE_HOME or .millrace."),
        ],
        None,
    ),
    "url": (
        Annotated[
            str | None,
            typer.Option(metavar="URL", help="Ask the server there instead of a home; else $MILLRACE_URL, if set."),
        ],
        None,
    ),
    "api_key": (Annotated[str | None, typer.Option("--key", "--api-key", metavar="KEY:SECRET", help=API_KEY)], None),
    "json": (Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")], False),
    "quiet": (
        Annotated[bool, typer.Option("--quiet", "-q", help="The result alone: no progress, no word beside it.")],
        False,
    ),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")], False),
}


@dataclass(frozen=True, slots=True)
class Face:
    """How one command is asked and answers."""

    home: Path | None = None
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    json: bool = False
    quiet: bool = False
    debug: bool = False

    @property
    def server(self) -> str | None:
        """URL of the server that is asked; None: the home of this machine is. A home that is named goes first."""
        if self.url is not None and self.home is not None:
            raise ConfigError(
                "--url and --home exclude each other", hint="Ask a server, or a home.", code="usage", path="--url"
            )
        return self.url or (None if self.home is not None else os.environ.get("MILLRACE_URL")) or None

    @contextmanager
    def desk(self, *, create: bool = False) -> Generator[Desk]:
        """Where the command asks: the home of this machine, made with ``create``, or a server."""
        url = self.server
        if url is None:
            from millrace.control.desk import Local

            with self.open(create=create) as home:
                yield Local(home)
            return
        key = self.api_key or os.environ.get("MILLRACE_API_KEY")
        if not key:
            raise ConfigError(
                f"the server {url} wants an API key",
                hint="Set MILLRACE_API_KEY to KEY:SECRET, as `millrace key create` printed them.",
                path="--key",
                code="usage",
            )
        from millrace.cli.remote import Remote

        with closing(Remote(url, key)) as desk:
            yield desk

    def open(self, *, create: bool = False, new_key: bool = False) -> Home:
        """The home of this machine, opened. Raises ConfigError when there is none, or a server was meant.

        Warnings of the log go to stderr from here on.
        """
        import logging

        from millrace.control.home import Home

        if self.server is not None:
            raise ConfigError(
                "this command works on a home of this machine only",
                hint="Leave --url and MILLRACE_URL out, and name the home with --home.",
                code="local_only",
                path="--url",
            )
        level = logging.ERROR if self.quiet or self.json else logging.WARNING
        logging.basicConfig(level=level, format="%(message)s")
        return Home.open(self.home, create=create, new_key=new_key)

    def answer(self, value: object, lines: Iterable[str]) -> None:
        """The answer of the command, for a program or for a person."""
        if self.json:
            say(encode(value))
        else:
            for line in lines:
                say(line)

    def remark(self, text: str) -> None:
        """A word beside the answer, on stderr."""
        if not (self.quiet or self.json):
            warn(text)


def command(
    app: typer.Typer, name: str, *, examples: Iterable[str]
) -> Callable[[Callable[Concatenate[Face, P], None]], Callable[Concatenate[Face, P], None]]:
    """The function becomes a command of ``app``; what is typed about `--home` and the like comes as its `Face`."""

    def wrap(function: Callable[Concatenate[Face, P], None]) -> Callable[Concatenate[Face, P], None]:
        hints = get_type_hints(function, include_extras=True)
        _, *own = inspect.signature(function).parameters.values()
        parameters = [one.replace(annotation=hints[one.name]) for one in own]
        parameters += [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for option, (annotation, default) in _options(own).items()
        ]

        @wraps(function)
        def call(*args: Any, **typed: Any) -> None:
            face = Face(**{option: typed.pop(option) for option in OPTIONS})
            function(face, *args, **typed)

        call.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]  # for Typer
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        del call.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]  # its signature is another
        epilog = "\n".join(("\b", "Examples:", *(f"  {example}" for example in examples)))
        app.command(name, cls=Verb, epilog=epilog)(call)
        return function

    return wrap


def _options(own: Iterable[inspect.Parameter]) -> dict[str, tuple[Any, Any]]:
    """The options of every command; the API key has its long name alone where the command has a `--key` of its own."""
    if not any(
        one.name == "key" and one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and one.default is None for one in own
    ):
        return OPTIONS
    long = typer.Option("--api-key", metavar="KEY:SECRET", help=API_KEY)
    return OPTIONS | {"api_key": (Annotated[str | None, long], None)}


def answer_error(error: BaseException, face: Face) -> int:
    """The error is told, and its exit code returned: 1 failed, 2 your input, 3 the environment."""
    known = isinstance(error, MillraceError)
    problems = list(getattr(error, "problems", ())) or [error.problem if known else _unforeseen(error)]
    if face.json:
        first = error.problem if known else problems[0]
        several = {"problems": plain(problems)} if len(problems) > 1 else {}
        say(encode({"error": {**plain(first), **several}}))
    else:
        for line in spoken(problems):
            warn(line)
    if face.debug:
        warn("".join(traceback.format_exception(error)).rstrip())
    return error.exit_code if known else 1


def spoken(problems: Iterable[Problem], sign: str = "✗", colour: str = "red") -> Iterable[str]:
    """What happened and why, where, what to do, and the code in small type."""
    for problem in problems:
        head, *more = problem.message.splitlines() or [""]
        yield typer.style(f"{sign} {head}", fg=colour)
        yield from (f"  {line}" for line in more)
        if problem.path:
            place = ":" in problem.path or problem.path.startswith("line ")
            yield f"  {'at' if place else 'setting'} {problem.path}"
        if problem.hint:
            yield f"  → {problem.hint}"
        yield dim("  " + " · ".join(filter(None, (problem.code, problem.docs))))


def _unforeseen(error: BaseException) -> Problem:
    said = str(error).strip().splitlines()
    return Problem(
        "internal",
        f"{type(error).__name__}: {said[0] if said else 'no message'}",
        "This is a fault of Millrace. Run again with --debug and report what it shows; no loaded row was harmed.",
    )
