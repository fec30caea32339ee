"""Lists by pages, cut in the database: a page ends with the cursor at which the next one starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

T = TypeVar("T")

MOST = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list. ``next`` is the cursor after the last of them; None on the last page."""

    items: tuple[T, ...]
    next: str | None = None


def checked_limit(limit: int) -> int:
    """The limit, when it can be one. Raises ConfigError "bad_limit"."""
    if not 1 <= limit <= MOST:
        raise ConfigError(f"limit must be a number from 1 to {MOST}, not {limit}", path="limit", code="bad_limit")
    return limit


def number(cursor: str) -> int:
    """The number that a cursor stands for. Raises ConfigError "bad_cursor"."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise bad_cursor(cursor)
    return int(cursor)


def bad_cursor(cursor: str) -> ConfigError:
    """Words for a cursor that no page gave."""
    return ConfigError(
        f"{cursor[:80]!r} is not where a page ended",
        hint="Take the cursor from the page before, or start without one.",
        path="starting_after",
        code="bad_cursor",
    )


def cut(items: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """The page of a query that asked for one item more than the limit."""
    shown = tuple(items[:limit])
    return Page(shown, cursor(shown[-1]) if len(items) > limit else None)


def every(page: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """Every item of a list, page by page; ``page`` gets the cursor after which it begins."""
    found = page(None)
    yield from found.items
    while found.next is not None:
        found = page(found.next)
        yield from found.items
