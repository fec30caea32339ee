"""What must hold when somebody's request first writes: checked in that very transaction, before anything of it.

Conditions belong to whoever asks, in the context of one request and the threads that it is handed to. They stand until
a transaction was committed with them; one that is rolled back leaves them for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import sqlalchemy as sa

Condition: TypeAlias = "Callable[[sa.Connection], None]"

_waiting: ContextVar[list[Condition] | None] = ContextVar("conditions of the first write", default=None)


@contextmanager
def conditions(wanted: Sequence[Condition]) -> Generator[None]:
    """The first transaction of this context that writes begins with each of them; one that raises ends it."""
    before = _waiting.set(list(wanted))
    try:
        yield
    finally:
        _waiting.reset(before)


def check(connection: sa.Connection) -> None:
    """The conditions that wait hold in the transaction of ``connection``, which has just begun. Raises what they do."""
    for one in _waiting.get() or ():
        one(connection)


def committed() -> None:
    """A transaction was committed: what it began with does not wait any more."""
    if waiting := _waiting.get():
        waiting.clear()
