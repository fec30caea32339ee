"""Errors speak of keys as whoever sent them called them, not as the rest of Millrace does."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from millrace.errors import MillraceError


@contextmanager
def worded(words: Mapping[str, str], *, below: str | None = None) -> Generator[None]:
    """An error that comes out names the caller's key: that of ``words`` for ours, else the same one, ``below`` the key
    of the body in which it stands."""
    try:
        yield
    except MillraceError as error:
        if (ours := error.path) is not None:
            error.path = words.get(ours, ours if below is None else f"{below}.{ours}")
            if error.message.startswith(f"{ours} "):
                error.message = error.path + error.message.removeprefix(ours)
        raise
