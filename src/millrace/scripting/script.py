"""A user's script: compiled once, called for each event, its answers checked."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType, TracebackType
from typing import Any, NamedTuple, cast

from .event import METHODS, PLACE, Event
from .modules import NotAllowed, checked, environment, looks_into_dicts
from .shortcuts import prepared, shortened
from .values import sayable

MOST_CHILDREN = 10_000
MOST_BYTES = 256 * 1024

_MODULE = "transformation"

# The bit of a function's flags that says `*args`; `inspect` has it, and takes long to import.
_VARARGS = 0x04
# Those of functions whose call gives something to be awaited, or to be asked for one value after the other.
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200

# Frames of a trace that are told from each end, and the length of a message.
_FRAMES = 10
_LENGTH = 2_000

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


class Result(NamedTuple):
    """The events that came out of one; none where it was dropped on purpose."""

    events: list[Event]


class Script:
    """A script that may be called. ``event_types``: those that it wants to see; None: all. ``printed``: its lines.

    ``transform`` is its function, for who checks what it answers with `accepted` and tells its errors with `failed`.
    ``by_hand``: it may look into dicts past their own methods, so that properties must be dicts in every sense.
    ``fields`` are those that it names, and the names of their columns in its ``scope`` (`rows.Columns`); ``texts`` has
    every text in it that may be the name of a field.
    """

    def __init__(
        self,
        name: str,
        transform: Callable[[Event], Any],
        event_types: frozenset[str] | None,
        printed: list[str],
        scope: dict[str, Any],
        fields: dict[str, str],
        texts: list[str],
        *,
        by_hand: bool = False,
    ) -> None:
        self._name = name
        self.transform = transform
        self.event_types = event_types
        self.printed = printed
        self.scope = scope
        self.fields = fields
        self.texts = texts
        self.by_hand = by_hand

    def __call__(self, event: Event) -> Result:
        """The events that the script makes of this one. Raises TransformFailed."""
        PLACE.event = event
        try:
            return Result(self.accepted(self.transform(event)))
        except BaseException as error:  # no signal is meant for a script: whatever ends it, it has raised itself
            raise self.failed(error) from None

    def accepted(self, answer: Any) -> list[Event]:
        """The events of what `transform` returned. Raises TransformFailed for what is none."""
        if answer is None:
            return []
        found = _events(answer)
        for one in found:
            if one.keys_set:
                _check_keys(one)
        return found

    def failed(self, error: BaseException) -> TransformFailed:
        """The error, with the line of the script."""
        if isinstance(error, TransformFailed):
            return error
        frames = list(_frames(error.__traceback__, self._name))
        line = frames[-1][0] if frames else None
        code = "TRANSFORM_LIMIT" if isinstance(error, MemoryError) else "TRANSFORM_ERROR"
        told = [f"line {line}, in {name}\n" for line, name in frames]
        if len(told) > 2 * _FRAMES:
            told[_FRAMES:-_FRAMES] = [f"… {len(told) - 2 * _FRAMES} more\n"]
        return TransformFailed(code, _said(error) + (f" (line {line})" if line else ""), line, "".join(told))


def _frames(trace: TracebackType | None, name: str) -> Iterator[tuple[int, str]]:
    """Line and function of the frames of that file, the outermost first."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == name:
            yield trace.tb_lineno, code.co_name
        trace = trace.tb_next


def _said(error: BaseException) -> str:
    """The error's class and words. What users' classes do when they are asked for words is their affair."""
    try:
        text = f"there is no key {error}" if type(error) is KeyError and error.args else str(error)
    except BaseException:
        text = "this error has no text"
    if isinstance(error, AttributeError) and isinstance(error.obj, Event):
        text = f"an event has no {error.name!r}; it has: {', '.join(METHODS)}"
    text = sayable(text if len(text) <= _LENGTH else text[:_LENGTH] + "…")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def compiled(source: str, *, name: str = "transformation.py", free: bool = False) -> Script:
    """The script of this text. ``free``: nothing is looked at before it runs; for those who trust the wall alone.

    Raises ScriptError.
    """
    if len(source.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise ScriptError(f"the script has more than {MOST_BYTES // 1024} KiB", hint="Leave out data that it carries.")
    code, fields, texts, by_hand = _code(source, name, free=free)
    printed: list[str] = []
    scope: dict[str, Any] = {"__name__": _MODULE} if free else environment(_MODULE, printed)
    prepared(scope, fields)
    try:
        exec(code, scope)  # noqa: S102  this is what it is for; it happens behind the wall
    except BaseException as error:
        line = next((line for line, _ in reversed(list(_frames(error.__traceback__, name)))), None)
        raise ScriptError(_said(error), line) from None
    transform = scope.get("transform")
    if not callable(transform):
        raise ScriptError("the script has no function transform(event)", hint="Write: def transform(event): …")
    _check_parameters(transform)
    wanted = _wanted(scope.get("EVENT_TYPES"))
    return Script(
        name, cast("Callable[[Event], Any]", transform), wanted, printed, scope, fields, texts, by_hand=by_hand
    )


def _wanted(names: Any) -> frozenset[str] | None:
    if names is None:
        return None
    if isinstance(names, (list, tuple, set, frozenset)):
        found = list(cast("list[Any]", names))
        if all(isinstance(one, str) for one in found):
            return frozenset(found)
    raise ScriptError("EVENT_TYPES must be a list of names", hint='For example: EVENT_TYPES = ["orders"]')


def _code(source: str, name: str, *, free: bool) -> tuple[CodeType, dict[str, str], list[str], bool]:
    """The script's code, its shortcuts, its texts, and whether it may look into dicts past their own methods."""
    try:
        with warnings.catch_warnings():
            # What Python would like written otherwise, such as "\d" without an r, is no error.
            warnings.simplefilter("ignore")
            tree = ast.parse(source, name)
            if not free:
                checked(tree)
            code = compile(tree, name, "exec", dont_inherit=True)
            texts = _texts(tree)
            if looks_into_dicts(tree):
                return code, {}, texts, True
            # What nests too deep for it stays as it is.
            with suppress(RecursionError, MemoryError):
                fields = shortened(tree)
                return compile(tree, name, "exec", dont_inherit=True), fields, texts, False
            return code, {}, texts, False
    except SyntaxError as wrong:
        raise ScriptError(
            _syntax(source, wrong), wrong.lineno, f"Scripts are written in Python 3.{sys.version_info[1]}."
        ) from None
    except NotAllowed as wrong:
        raise ScriptError(str(wrong), wrong.line) from None
    except (RecursionError, MemoryError, ValueError) as wrong:
        raise ScriptError(f"the script cannot be compiled: {str(wrong) or 'it nests too deep'}") from None


def _texts(tree: ast.Module) -> list[str]:
    found = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return list(
        dict.fromkeys(text for text in found if isinstance(text, str) and len(text) <= 200 and text.isprintable())
    )


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
    if "<>" in line:
        return "write `!=` in place of `<>`"
    if (long := re.search(r"\b(\d+)[lL]\b", line)) is not None:
        return f"write `{long[1]}` in place of `{long[0]}`"
    if "leading zeros" in wrong.msg and (octal := re.search(r"\b0+([0-7]+)\b", line)) is not None:
        return f"write `0o{octal[1]}` in place of `{octal[0]}`"
    if re.search(r"\bur['\"]", line, re.IGNORECASE):
        return 'write `r"…"` in place of `ur"…"`'
    if line.count("`") > 1:
        return "write `repr(x)` in place of backquotes"
    return f"{type(wrong).__name__}: {wrong.msg}"


def _check_parameters(transform: Any) -> None:
    code = getattr(transform, "__code__", None)
    if code is None:
        return
    if code.co_flags & (_COROUTINE | _ASYNC_GENERATOR):
        raise ScriptError("transform cannot be async", code.co_firstlineno, "Write: def transform(event): …")
    if code.co_flags & _GENERATOR:
        raise ScriptError("transform cannot yield", code.co_firstlineno, "Return a list of events instead.")
    needed = code.co_argcount - len(transform.__defaults__ or ())
    named = code.co_kwonlyargcount - len(transform.__kwdefaults__ or ())
    takes_any = code.co_flags & _VARARGS
    if (code.co_argcount < 1 and not takes_any) or needed > 1 or named:
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
        if type(one) is not Event and not isinstance(one, Event):
            raise TransformFailed(
                "TRANSFORM_RESULT", f"item {place} of the list that transform returned is {_article(one)}, not an event"
            )
    if len(set(map(id, found))) < len(found):
        place = next(place for place, one in enumerate(found) if any(one is other for other in found[:place]))
        raise TransformFailed("TRANSFORM_RESULT", f"item {place} of the list is an event that is in it already")
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
