"""A user's script: compiled once, called for each event, its answers checked."""

from __future__ import annotations

import ast
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any, cast

from .event import Event
from .modules import NotAllowed, checked, environment

MOST_CHILDREN = 10_000
MOST_BYTES = 256 * 1024

TEMPLATE = '''\
from millrace.api import Event, TimeUtils, Utils


def transform(event):
    """Called for each event.

    Return the event to let it pass, a list of events to put them in its place, or None to drop it.
    """
    # event.getEventName()             name of the event type
    # p = event.getProperties()        its fields, as a dict that you may change
    # p["full_name"] = p["first"] + " " + p["last"]
    # event.rename("people")           another event type, and so another table
    return event
'''


class ScriptError(Exception):
    """The script cannot be one: what, on which line, and what to do."""

    def __init__(self, message: str, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(message if line is None else f"{message} (line {line})")
        self.message = str(self)
        self.line = line
        self.hint = hint


class TransformFailed(Exception):
    """One event could not pass. ``trace`` has the user's own frames, as text."""

    def __init__(self, code: str, message: str, line: int | None = None, trace: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.line = line
        self.trace = trace


@dataclass(frozen=True, slots=True)
class Result:
    """The events that came out of one; none where it was dropped on purpose."""

    events: list[Event]


class Script:
    """A script that may be called. ``event_types``: those that it wants to see; None: all. ``printed``: its lines."""

    def __init__(self, name: str, transform: Callable[[Event], Any], wanted: Any, printed: list[str]) -> None:
        self._name = name
        self._transform = transform
        self.event_types: frozenset[str] | None = None if wanted is None else frozenset(wanted)
        self.printed = printed

    def __call__(self, event: Event) -> Result:
        """The events that the script makes of this one. Raises TransformFailed."""
        try:
            answer = self._transform(event)
        except Exception as error:
            raise self._failed(error) from None
        if answer is event:
            found = [event]
        elif answer is None:
            return Result([])
        else:
            found = _events(answer)
        for one in found:
            if one.keys_set:
                _check_keys(one)
        return Result(found)

    def _failed(self, error: Exception) -> TransformFailed:
        trace = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self._name]
        line = trace[-1].lineno if trace else None
        where = f" (line {line})" if line else ""
        said = str(error) if not isinstance(error, KeyError) else f"there is no field {error}"
        code = "TRANSFORM_LIMIT" if isinstance(error, MemoryError) else "TRANSFORM_ERROR"
        text = "".join(f"line {frame.lineno}, in {frame.name}\n" for frame in trace)
        return TransformFailed(code, f"{type(error).__name__}: {said}{where}", line, text)


def compiled(source: str, *, name: str = "transformation.py", free: bool = False) -> Script:
    """The script of this text. ``free``: nothing is looked at before it runs; for those who trust the wall alone.

    Raises ScriptError.
    """
    if len(source.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise ScriptError(f"the script has more than {MOST_BYTES // 1024} KiB", hint="Leave out data that it carries.")
    code = _code(source, name, free=free)
    printed: list[str] = []
    scope: dict[str, Any] = {"__name__": "transformation"} if free else environment(printed)
    try:
        exec(code, scope)  # noqa: S102  this is what it is for; it happens behind the wall
    except Exception as error:
        line = next(
            (frame.lineno for frame in reversed(traceback.extract_tb(error.__traceback__)) if frame.filename == name),
            None,
        )
        raise ScriptError(f"{type(error).__name__}: {error}", line) from None
    transform = scope.get("transform")
    if not callable(transform):
        raise ScriptError("the script has no function transform(event)", hint="Write: def transform(event): …")
    _check_parameters(transform)
    wanted = scope.get("EVENT_TYPES")
    if wanted is not None and (isinstance(wanted, str) or not all(isinstance(one, str) for one in wanted)):
        raise ScriptError("EVENT_TYPES must be a list of names", hint='For example: EVENT_TYPES = ["orders"]')
    return Script(name, cast("Callable[[Event], Any]", transform), wanted, printed)


def _code(source: str, name: str, *, free: bool) -> CodeType:
    try:
        tree = ast.parse(source, name)
        if not free:
            checked(tree)
        return compile(tree, name, "exec")
    except SyntaxError as wrong:
        raise ScriptError(_syntax(source, wrong), wrong.lineno, _hint(wrong)) from None
    except NotAllowed as wrong:
        raise ScriptError(str(wrong), wrong.line) from None
    except (RecursionError, MemoryError, ValueError) as wrong:
        raise ScriptError(f"the script cannot be compiled: {wrong or 'it nests too deep'}") from None


def _syntax(source: str, wrong: SyntaxError) -> str:
    lines = source.splitlines()
    line = lines[wrong.lineno - 1].strip() if wrong.lineno and wrong.lineno <= len(lines) else ""
    if re.match(r"print\b(?!\s*\()", line):
        return "print is a function: print(x)"
    if re.match(r"exec\b(?!\s*\()", line):
        return "exec cannot be used in a script"
    if re.match(r"except\b[^:]*,[^:]*:", line):
        return "write `except Error as e:` in place of `except Error, e:`"
    if re.match(r"raise\b[^(]*,", line):
        return "write `raise Error(text)` in place of `raise Error, text`"
    return f"SyntaxError: {wrong.msg}"


def _hint(wrong: SyntaxError) -> str | None:
    del wrong
    return f"Scripts are written in Python {sys.version_info[0]}.{sys.version_info[1]}."


def _check_parameters(transform: Any) -> None:
    code = getattr(transform, "__code__", None)
    if code is None:
        return
    needed = code.co_argcount - len(transform.__defaults__ or ())
    if (code.co_argcount < 1 and not code.co_flags & 0x04) or needed > 1 or code.co_kwonlyargcount:
        raise ScriptError("transform must take one parameter, the event", code.co_firstlineno)


def _events(answer: Any) -> list[Event]:
    if isinstance(answer, Event):
        return [answer]
    if not isinstance(answer, (list, tuple)):
        raise TransformFailed(
            "TRANSFORM_RESULT",
            f"transform returned {_article(answer)}; it must return an event, a list of events, or None",
        )
    found = list(cast("list[Any]", answer))
    if len(found) > MOST_CHILDREN:
        raise TransformFailed(
            "TRANSFORM_RESULT", f"transform made {len(found):,} events of one; {MOST_CHILDREN:,} are the most"
        )
    for place, one in enumerate(found):
        if not isinstance(one, Event):
            raise TransformFailed(
                "TRANSFORM_RESULT", f"item {place} of the list that transform returned is {_article(one)}, not an event"
            )
    seen: set[int] = set()
    for place, one in enumerate(found):
        if id(one) in seen:
            raise TransformFailed("TRANSFORM_RESULT", f"item {place} of the list is an event that is in it already")
        seen.add(id(one))
    return found


def _check_keys(event: Event) -> None:
    properties = event.getProperties()
    for key in event.getPrimaryKeys():
        if properties.get(key) is None:
            raise TransformFailed(
                "TRANSFORM_RESULT",
                f"{key!r} is a primary key of {event.getEventName()}, but the event has no such field",
            )


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
