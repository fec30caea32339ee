"""The intake of one pipeline as its source reads it: in order from a position, and deleted behind what is committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from millrace.connect.intake.frames import Damage, Entry, entries
from millrace.connect.intake.place import File, Place
from millrace.data.dataclass import dataclass

Position: TypeAlias = Mapping[str, tuple[int, int]]
"""By part: the number of a file, and how many of its bytes were read. All files before that one were read whole."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry, what it is called (part, file, place in it), and the position behind it."""

    entry: Entry
    place: str
    part: str
    after: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lost:
    """The rest of a whole file that is no entry. ``torn``: whoever wrote it was ended, and nobody was told that it is
    kept. Else it has changed since, and a copy was set aside."""

    file: str
    part: str
    after: tuple[int, int]
    torn: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """A whole file was read to its end."""

    part: str
    after: tuple[int, int]


class Intake:
    """What was sent to one pipeline."""

    def __init__(self, place: Place, pipeline_id: str) -> None:
        self._place = place
        self._pipeline_id = pipeline_id

    def files(self) -> list[File]:
        """All files as they are now."""
        return self._place.files(self._pipeline_id)

    def waiting(self, position: Position) -> bool:
        """Whether something came that is behind the position."""
        return any(one.size_bytes > _begun(one, position) for one in self.files() if not _read(one, position))

    def collect(self, position: Position) -> Position:
        """Files that were read whole are gone; the position without the parts of which nothing is left.

        The position must be committed: what is deleted here comes from nowhere again.
        """
        left: set[str] = set()
        for one in self.files():
            if _read(one, position):
                self._place.delete(one)
            else:
                left.add(one.part)
        # A part that goes on later begins with another file, which is read from its beginning anyway.
        return {part: at for part, at in position.items() if part in left or at[1]}

    def take(self, position: Position) -> Iterator[Taken | Lost | Ended]:
        """All that is there now, behind the position. What comes meanwhile is for the next time."""
        for file in self.files():
            if _read(file, position):
                continue
            begun = _begun(file, position)
            for found in entries(self._place.read(file, begun), begun):
                if isinstance(found, Damage):
                    if file.whole:
                        where = self._place.set_aside(file) if not found.torn else file.path
                        yield Lost(where, file.part, (file.number + 1, 0), found.torn)
                    break
                start, end, entry = found
                yield Taken(entry, f"{file.part}-{file.number}-{start}", file.part, (file.number, end))
            else:
                if file.whole:
                    yield Ended(file.part, (file.number + 1, 0))


def _read(file: File, position: Position) -> bool:
    return file.number < position.get(file.part, (0, 0))[0]


def _begun(file: File, position: Position) -> int:
    number, offset = position.get(file.part, (0, 0))
    return offset if number == file.number else 0
