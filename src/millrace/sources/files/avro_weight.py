"""What values of an Avro schema take at least, so that a file of a kilobyte is neither endless nor bottomless.

A value of type null and a record without fields take no bytes, so a number in front of them may be any; a record that
holds records of its own kind may be nested to any depth, and each level is one of the stack of what reads it.
"""

from __future__ import annotations

from typing import Any

from millrace.data.dataclass import dataclass
from millrace.data.json_text import DEEPEST
from millrace.sources.files.parts import Unreadable

# Values of one record that take no bytes.
_MOST_FREE = 1000


@dataclass(frozen=True, slots=True)
class Weight:
    """``bytes``: so many at least; ``free``: values that come without one, at most; ``levels``: how deep it nests."""

    bytes: int
    free: int = 0
    levels: int = 0


_PLAIN = {
    "null": Weight(0, 1), "boolean": Weight(1), "int": Weight(1), "long": Weight(1), "float": Weight(4),
    "double": Weight(8), "bytes": Weight(1), "string": Weight(1), "enum": Weight(1),
}  # fmt: skip


def weight(part: Any, named: dict[str, Weight | None], level: int = 0) -> Weight:
    """The weight of a part of a parsed schema. ``named``: of types that have names, None where one is not at its end.
    Raises Unreadable for what is endless or bottomless, LookupError and TypeError for what is no schema."""
    found = _weight(part, named, level + 1)
    if level + found.levels > DEEPEST:
        raise Unreadable(f"its schema nests deeper than {DEEPEST} levels")
    if found.free > _MOST_FREE:
        raise Unreadable(f"its schema has more than {_MOST_FREE} values that take no bytes")
    return found


def _weight(part: Any, named: dict[str, Weight | None], level: int) -> Weight:
    if isinstance(part, str):
        found = _PLAIN[part] if part in _PLAIN else named[part]
        if found is None:
            raise Unreadable(f"its records of type {part[:100]!r} hold records of that type, to any depth")
        return found
    if isinstance(part, list):
        some = [weight(one, named, level) for one in part]
        return Weight(1 + min(one.bytes for one in some), max(one.free for one in some), _above(some))
    match part["type"]:
        case "record" | "error":
            named[part["name"]] = None
            fields = [weight(one["type"], named, level) for one in part["fields"]]
            least = sum(one.bytes for one in fields)
            named[part["name"]] = of = Weight(least, sum(one.free for one in fields) + (not least), _above(fields))
            return of
        case "array":
            item = weight(part["items"], named, level)
            if not item.bytes:
                raise Unreadable("its schema has lists of values that take no bytes")
            return Weight(1, 0, _above([item]))
        case "map":
            return Weight(1, 0, _above([weight(part["values"], named, level)]))
        case "fixed":
            named[part["name"]] = of = Weight(max(0, part["size"]), part["size"] <= 0)
            return of
        case "enum":
            named[part["name"]] = of = Weight(1)
            return of
        case other:
            return weight(other, named, level)


def _above(parts: list[Weight]) -> int:
    return 1 + max((one.levels for one in parts), default=0)
