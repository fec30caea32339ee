"""What a file of names says that settings name, such as the events of a project: what becomes of each name."""

from __future__ import annotations

from typing import Literal

from millrace.data.dataclass import dataclass

# It will be read; the system does not give it away by its API; or it is in the file before, and is read once.
Fate = Literal["read", "not_exportable", "twice"]


@dataclass(frozen=True, slots=True)
class ListedName:
    """One row of the file: a name, the line where it stands, what becomes of it, its status in the system, and what a
    person should know of it."""

    name: str
    line: int
    fate: Fate
    status: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ListedNames:
    """The rows of a file in its order, how many there are of each fate, and what is odd about the file.

    Of names that are listed again ``rows`` may have the first ones alone; ``twice`` counts all.
    """

    rows: tuple[ListedName, ...]
    read: int
    not_exportable: int
    twice: int
    warnings: tuple[str, ...]
