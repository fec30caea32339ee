"""The names that settings lead to, such as the events of a project: what becomes of each, and where it comes from."""

from __future__ import annotations

from typing import Literal

from millrace.data.dataclass import dataclass

# It will be read; the system does not give it away by its API; or it is in the file before, and is read once.
Fate = Literal["read", "not_exportable", "twice"]
# Where a name stands: in the file, in what the system says of itself, or in both.
ComesFrom = Literal["file", "schema", "both"]


@dataclass(frozen=True, slots=True)
class ListedName:
    """One name: the line of the file where it stands, if it does, what becomes of it, its status in the system, and
    what a person should know of it."""

    name: str
    line: int | None
    fate: Fate
    status: str | None = None
    note: str | None = None
    comes_from: ComesFrom = "file"


@dataclass(frozen=True, slots=True)
class ListedNames:
    """The names of a file in its order, then those that the system alone has; how many there are of each fate, and what
    is odd about them.

    Of names that are listed again ``rows`` may have the first ones alone; ``twice`` counts all.
    """

    rows: tuple[ListedName, ...]
    read: int
    not_exportable: int
    twice: int
    warnings: tuple[str, ...]
