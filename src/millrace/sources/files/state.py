"""Which files a stream has dealt with, as marks: one for each file, the latest says how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec

from millrace.connect.source import Memory
from millrace.data.batch import GONE_FOR, JSON, Mark

_PART = "files"
# So many marks are read at the start of a run before they are written together.
_SCATTERED = 200
_TOGETHER = 2000


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """A file that was read up to a row. ``how``: a short name of the settings it was read with; ``again``: the wishes
    that this read fulfils."""

    version: str
    how: str
    row: int = 0
    rows: int = 0
    rejected: int = 0
    again: tuple[str, ...] = ()


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A file that was dealt with. ``version``: the one that was read, or could not be; empty: it is to be read.

    ``gone_us``: when it vanished; one that is gone without is forgotten. ``begun``: how far its read came. ``failed``:
    the settings with which it could not be read.
    """

    path: str
    version: str
    size_bytes: int
    modified_us: int
    gone: bool = False
    gone_us: int = 0
    begun: Begun | None = None
    failed: str = ""


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

    def expire(self, now_us: int) -> None:
        """Files that vanished long ago are forgotten."""
        old = now_us - GONE_FOR // timedelta(microseconds=1)
        gone = [one for one in self.files.values() if one.gone and one.gone_us < old]
        self.note(msgspec.structs.replace(one, gone_us=0) for one in gone)

    def recall(self, cursor: JSON, how: str) -> None:
        """The file in whose middle the cursor is stays begun when the cursor goes on to another one."""
        if not isinstance(cursor, dict) or cursor.get("whole", True):
            return
        begun = Begun(
            version=cursor["version"],
            how=cursor.get("how", how),
            row=cursor["row"],
            rows=cursor["rows"],
            rejected=cursor["rejected"],
            again=tuple(cursor.get("again", ())),
        )
        before = self.files.get(cursor["file"])
        if before is not None and before.begun != begun:
            self.note([msgspec.structs.replace(before, begun=begun)])

    def _take(self, one: Seen) -> None:
        if one.gone and not one.gone_us:
            self.files.pop(one.path, None)
        else:
            self.files[one.path] = one


def _marks(seen: Sequence[Seen]) -> tuple[Mark, ...]:
    some = (seen[start : start + _TOGETHER] for start in range(0, len(seen), _TOGETHER))
    return tuple(Mark(_PART, msgspec.json.encode(one)) for one in some)
