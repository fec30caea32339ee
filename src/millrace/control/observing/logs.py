"""The log of the service: lines of text, or one JSON object a line, with what each line is about and without secrets.

What a line is about comes from two places: what a request set for itself (``about``), and the one task that a worker is
at (``at_work``), which holds for all threads of its process.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

from millrace.control.secrecy.secrets import redact
from millrace.errors import ConfigError

Format: TypeAlias = Literal["text", "json"]

# How a server tells its workers, and whoever starts it.
VARIABLE = "MILLRACE_LOG_FORMAT"

_here: ContextVar[Mapping[str, Any] | None] = ContextVar("millrace_log", default=None)
_task: dict[str, Any] = {}
_hidden: Counter[str] = Counter()


def install(format_: Format | None = None) -> None:
    """The log of this process goes to stderr in that format; left out, in the one that the environment names.

    Raises ConfigError for a format that there is not.
    """
    chosen = format_ or os.environ.get(VARIABLE) or "text"
    if chosen not in get_args(Format):
        raise ConfigError(f"there is no log format {chosen!r}", hint="Use text or json.", path=VARIABLE, code="usage")
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if chosen == "json" else _Text())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


@contextmanager
def about(**facts: Any) -> Generator[None]:
    """Lines of this thread and of what it awaits tell these facts."""
    token = _here.set({**(_here.get() or {}), **facts})
    try:
        yield
    finally:
        _here.reset(token)


@contextmanager
def at_work(**facts: Any) -> Generator[None]:
    """Lines of all threads of the process tell these facts: it is at one task."""
    _task.update(facts)
    try:
        yield
    finally:
        _task.clear()
        _hidden.clear()


def reading(stream: str | None) -> None:
    """The task at work reads that object now."""
    if _task:
        _task["stream"] = stream


@contextmanager
def hiding(texts: Sequence[str]) -> Generator[None]:
    """These secrets are taken out of every line (I7); of a task at work, until that has ended."""
    _hidden.update(texts)
    try:
        yield
    finally:
        if not _task:
            _hidden.subtract(texts)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts = _task | dict(_here.get() or {})
    if record.threadName == "millrace-load":
        # What it loads was read before.
        facts.pop("stream", None)
    return {name: value for name, value in facts.items() if value is not None}


def _clean(text: str) -> str:
    return redact(text, [secret for secret, n in list(_hidden.items()) if n > 0])


class _Text(logging.Formatter):
    """A line for people: what it is about follows in brackets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(name)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        said = super().formatMessage(record)
        facts = " ".join(f"{name}={value}" for name, value in _facts(record).items())
        return f"{said} [{facts}]" if facts else said

    def format(self, record: logging.LogRecord) -> str:
        return _clean(super().format(record))


class _Json(logging.Formatter):
    """One object a line. A trace is text in ``trace``, so that a line stays one."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
            "process": record.process,
        }
        line |= {name: _clean(value) if isinstance(value, str) else value for name, value in _facts(record).items()}
        if record.exc_info:
            line["trace"] = _clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)
