"""Lists that come by pages, all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from millrace.control.pages import Page

T = TypeVar("T")

# So many at a time.
LIMIT = 500


def all_of(page: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """Every item, page by page; ``page`` gets the cursor after which it begins."""
    found = page(None)
    yield from found.items
    while found.next is not None:
        found = page(found.next)
        yield from found.items


def newest_first(some: Callable[[int | None], list[T]], number: Callable[[T], int]) -> Iterator[T]:
    """Every item of a list that goes from the highest number down; ``some`` gets the number before which it begins."""
    found = some(None)
    while found:
        yield from found
        if len(found) < LIMIT:
            return
        found = some(number(found[-1]))
