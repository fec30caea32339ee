"""Lists that come by pages: how they are asked for, and what stands below one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar

import typer

from millrace.cli.text import dim

T = TypeVar("T")

AFTER = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Go on where the page before ended.")]
AT_MOST = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, metavar="N", help="So many at most.")]
# So many at a time.
LIMIT = 500


def more(following: str | None) -> Iterator[str]:
    """What stands below a page that is not the last."""
    if following is not None:
        yield dim(f"There are more: --after {following}")


def newest_first(some: Callable[[int | None], list[T]], number: Callable[[T], int]) -> Iterator[T]:
    """Every item of a list that goes from the highest number down; ``some`` gets the number before which it begins."""
    found = some(None)
    while found:
        yield from found
        if len(found) < LIMIT:
            return
        found = some(number(found[-1]))
