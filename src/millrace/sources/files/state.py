"""Which files a stream has dealt with, as marks: one for each file, the latest says how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from millrace.connect.source import Memory
from millrace.data.batch import Mark

_PART = "files"
# So many marks are read at the start of a run before they are written together.
_SCATTERED = 200
_TOGETHER = 2000


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A file that was dealt with. ``version``: the one that was read, or could not be; empty: it is to be read."""

    path: str
    version: str
    size_bytes: int
    modified_us: int
    gone: bool = False


_decode = msgspec.json.Decoder(list[Seen]).decode


class State:
    """Files by their path, and the marks that say what became different since they were asked for."""

    def __init__(self, memory: Memory) -> None:
        kept = memory.recall(_PART)
        self.files: dict[str, Seen] = {}
        for data in kept:
            for one in _decode(data):
                self._take(one)
        self._new: list[Seen] = []
        self._scattered = len(kept) > _SCATTERED

    def note(self, seen: Iterable[Seen]) -> None:
        """That is how these files stand now."""
        for one in seen:
            self._take(one)
            self._new.append(one)

    def marks(self) -> tuple[Mark, ...]:
        """What is to be remembered beside what is."""
        if self._scattered:
            self._scattered, self._new = False, []
            every = _marks([*self.files.values()])
            return (Mark(_PART, None, replace=True), *every)
        found, self._new = _marks(self._new), []
        return found

    def _take(self, one: Seen) -> None:
        if one.gone:
            self.files.pop(one.path, None)
        else:
            self.files[one.path] = one


def _marks(seen: Sequence[Seen]) -> tuple[Mark, ...]:
    some = (seen[start : start + _TOGETHER] for start in range(0, len(seen), _TOGETHER))
    return tuple(Mark(_PART, msgspec.json.encode(one)) for one in some)
