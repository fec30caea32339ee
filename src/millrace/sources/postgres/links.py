"""What carries a session's statements to the server, and rows back as Arrow: one of two ways."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from millrace.sources.postgres.types import Type

# SQLSTATE of text that is not in its encoding.
NO_UTF8 = "22021"
# Bytes of rows in one batch.
BATCH_BYTES = 8 << 20


class Failed(Exception):
    """The server, or the way to it, has something against a statement. ``state``: its SQLSTATE; None where it has none,
    as when the connection is gone."""

    def __init__(self, state: str | None, text: str) -> None:
        super().__init__(text)
        self.state = state


class Strange(Exception):
    """Values came in a form that none of the columns' types has."""


@contextmanager
def in_letters() -> Generator[None]:
    """Names and answers are read that must be UTF-8. Raises Failed where one is not, as the server would say it."""
    try:
        yield
    except UnicodeDecodeError as error:
        wrong = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end])
        raise Failed(NO_UTF8, f'ERROR:  invalid byte sequence for encoding "UTF8": {wrong}') from error


class Link(Protocol):
    """One connection. After Failed, or batches that were not read to their end, it is of no use any more."""

    def selected(self, type_: Type) -> str:
        """SQL for a column ``{c}`` of the type, as `batches` can read it."""
        ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of one statement: numbers, yes and no, and text. Raises Failed."""
        ...

    def batches(self, sql: str, types: Mapping[str, Type]) -> Generator[pa.RecordBatch]:
        """Rows of one query with these columns; raises Failed and Strange."""
        ...

    def cancel(self) -> None:
        """What runs ends soon; another thread may say so, as long as the connection is open."""
        ...

    def close(self) -> None: ...
