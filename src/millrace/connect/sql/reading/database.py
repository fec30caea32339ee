"""What a database brings to be read by queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from millrace.connect.sql.reading.relation import Column, Relation
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass


class NotJoined(Exception):
    """No other connection may see the snapshot now: who waits for a lock is before it. Those that see it go on."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows in the order of the query. ``refused``: rows with a value that cannot be carried, as
    `columns.REJECTS`. ``last``: values of the cursor's columns in the last row as text; None where one has no text.
    """

    rows: pa.RecordBatch
    refused: pa.RecordBatch | None
    last: tuple[str | None, ...] | None
    count: int


class Session(Protocol):
    """One connection that sees one state of the database, from its first statement to its last."""

    def value(self, sql: str) -> str | None:
        """The only value of an answer, as text."""
        ...

    def pairs(self, sql: str) -> list[tuple[int, int]]:
        """The two columns of an answer, whole numbers."""
        ...

    def values(self, sql: str) -> list[str]:
        """The only column of an answer, as text; without NULL."""
        ...

    def parts(self, relation: Relation, tail: str, cursor: Sequence[str]) -> Iterator[Part]:
        """All columns of the relation, ``tail`` behind FROM, streamed. ``cursor``: columns of which `Part.last` is."""
        ...

    def cancel(self) -> None:
        """What runs on the connection ends soon; another thread may say so."""
        ...

    def snapshot(self) -> str | None:
        """A name by which other sessions see the same state; None where the database has none."""
        ...


class Database(Protocol):
    """How one family of databases is asked. Errors come out as ours."""

    # Whether (a, b) > (x, y) can use an index.
    rows_compare: bool

    def session(self, snapshot: str | None = None) -> AbstractContextManager[Session]:
        """A new connection, which sees the state of ``snapshot`` where given; it may be closed by another thread.

        Raises NotJoined where it would have to wait for somebody who waits for those that see the snapshot.
        """
        ...

    def quoted(self, name: str) -> str: ...

    def literal(self, text: str, column: Column) -> str:
        """A value of the column, from its text, in a statement."""
        ...

    def until(self, session: Session, column: Column, delay_ms: int) -> str:
        """The moment before which rows are read, as text: the server's now, less the delay."""
        ...

    def back(self, text: str, column: Column) -> str:
        """SQL for a moment somewhat before, from which on rows of a versioned relation that were committed late are
        looked for."""
        ...

    def bounds(self, session: Session, relation: Relation, column: Column, parts: int) -> list[str]:
        """Values of the column, rising, that cut the relation in about ``parts`` equal parts; may be fewer."""
        ...

    def seen(self, session: Session, relation: Relation, where: str) -> JSON:
        """What the session sees of a versioned relation, so that `unseen` can tell what came later; of rows ``where``
        (all, where that is empty)."""
        ...

    def unseen(self, seen: JSON) -> str:
        """A condition that holds for rows written since, or then not yet committed."""
        ...

    def written_anew(self, session: Session, relation: Relation, seen: JSON) -> bool:
        """Whether all rows may have been written once more since, by a statement that is none of rows; False where
        that is known not to be so."""
        ...
