"""What people want of single files, as marks of their stream. They hold no data: the name of the part says it all.

They stay when a stream forgets what it read, so that a file which nobody wants is not read by a restart.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from millrace.data.dataclass import dataclass

WISH = "wish/"
_SKIP, _AGAIN = f"{WISH}skip/", f"{WISH}again/"


@dataclass(frozen=True, slots=True)
class Wishes:
    """Files by the `digest` of their path: those that are skipped, and the parts that want one read again."""

    skipped: frozenset[str]
    again: Mapping[str, Sequence[str]]


def digest(path: str) -> str:
    """A short name for a path, which may be too long for an index."""
    return sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def skip(path: str) -> str:
    """The part that says: the file is not read."""
    return _SKIP + digest(path)


def again(path: str) -> str:
    """A new part that says: the file is read once more. A wish during a read is not that which the read fulfils."""
    return f"{_AGAIN}{digest(path)}/{uuid.uuid4().hex}"


def wishes(parts: Iterable[str]) -> Wishes:
    """What the parts of a memory say."""
    skipped: set[str] = set()
    again: defaultdict[str, list[str]] = defaultdict(list)
    for part in parts:
        if part.startswith(_SKIP):
            skipped.add(part.removeprefix(_SKIP))
        elif part.startswith(_AGAIN):
            again[part.removeprefix(_AGAIN).partition("/")[0]].append(part)
    return Wishes(frozenset(skipped), again)
