"""Answers as text for people: tables, numbers, spans, sizes and colours. No I/O but `say` and `warn`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal
from unicodedata import combining, east_asian_width

import typer

State = Literal["good", "look", "bad", "busy", "idle"]

MARKS: dict[State, tuple[str, str | None]] = {
    "good": ("✓", "green"),
    "look": ("▲", "yellow"),
    "bad": ("✗", "red"),
    "busy": ("…", "blue"),
    "idle": ("·", None),
}


def say(text: str) -> None:
    """A line on stdout; without colours where nobody would see them. A reader that has gone away is no fault."""
    try:
        typer.echo(text, color=False if os.environ.get("NO_COLOR") else None)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True, color=False if os.environ.get("NO_COLOR") else None)


def dim(text: str) -> str:
    return typer.style(text, dim=True)


def bold(text: str) -> str:
    return typer.style(text, bold=True)


def mark(state: State) -> str:
    """A sign for good, look, bad, busy or idle; the word always stands beside it."""
    sign, colour = MARKS[state]
    return typer.style(sign, fg=colour) if colour else sign


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Rows under their heads. Columns of numbers are set to the right; None is a dash. Nothing is cut."""
    cells = [[cell(value) for value in row] for row in rows]
    right = [
        bool(cells) and all(_is_number(row[at]) for row in cells) and any(row[at] != "-" for row in cells)
        for at in range(len(heads))
    ]
    widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)]
    yield dim(_line(heads, widths, right))
    for row in cells:
        yield _line(row, widths, right)


def cell(value: object) -> str:
    """A value as a person reads it: 12,481, yes, 2026-01-31 14:05 UTC."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        case _:
            return " ".join(str(value).split())


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(size_bytes: float) -> str:
    """`12.3 MB`; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def span(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(moment: datetime | None, now: datetime) -> str:
    """`4 min ago`; `never` for None."""
    if moment is None:
        return "never"
    past = (now - moment).total_seconds()
    if past < 60:
        return "just now" if past >= -60 else cell(moment)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if past >= length:
            return f"{int(past // length)} {unit} ago"
    return cell(moment)


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = [
        " " * (width - _width(text)) + text if to_right else text + " " * (width - _width(text))
        for text, width, to_right in zip(row, widths, right, strict=True)
    ]
    return "  ".join(parts).rstrip()


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").lstrip("-").isdigit()


def _width(text: str) -> int:
    """Columns that a text takes on the screen: without escape sequences, wide characters twice."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return (
        len(plain) if plain.isascii() else sum(0 if combining(c) else 1 + (east_asian_width(c) in "WF") for c in plain)
    )
