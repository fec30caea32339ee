"""Whether a column's values stay what they are where its type changes; of those that do not, the log has no rows.

Source: https://dev.mysql.com/doc/refman/8.4/en/alter-table.html, https://dev.mysql.com/doc/refman/8.4/en/data-types.html
"""

from __future__ import annotations

import re

_TYPE = re.compile(r"([a-z0-9_ ]+?)(?:\((.*)\))?( unsigned)?(?: zerofill)?", re.DOTALL)
_WHOLE = ("tinyint", "smallint", "mediumint", "int", "bigint")
_TIMES = ("time", "datetime", "timestamp")
_LISTS = ("enum", "set")
# So many bytes they hold, and a character takes up to four.
_ROOM = {"tiny": 2**8 - 1, "": 2**16 - 1, "medium": 2**24 - 1, "long": 2**32 - 1}


def keeps(old: str, new: str) -> bool:
    """Whether every value of the one type is the same in the other, both as information_schema has them. False where
    that is not sure."""
    if old == new:
        return True
    found, other = _TYPE.fullmatch(old), _TYPE.fullmatch(new)
    if found is None or other is None:
        return False
    (kind, size, bare), (becomes, wide, bare_too) = found.groups(""), other.groups("")
    if kind in _WHOLE and becomes in _WHOLE:
        # One without a sign finds room in the next larger one with it, and one with a sign in none without.
        wider = _WHOLE.index(becomes) - _WHOLE.index(kind)
        return (bool(bare) or not bare_too) and wider >= (1 if bare and not bare_too else 0)
    if bare != bare_too:
        return False
    if kind == becomes == "decimal" and "," in size and "," in wide:
        (digits, scale), (more, finer) = ([int(one) for one in text.split(",")] for text in (size, wide))
        return finer >= scale and more - finer >= digits - scale
    if kind == becomes and kind in _TIMES:
        return int(wide or 0) >= int(size or 0)
    if kind == becomes and kind in _LISTS:
        return f"{wide},".startswith(f"{size},")
    (of, needs), (of_too, has) = _size(kind, size), _size(becomes, wide)
    return of == of_too != "" and needs <= has


def _size(kind: str, size: str) -> tuple[str, int]:
    """What the type holds, text or bytes, and how many bytes at most; "": neither, or always so many."""
    if kind in ("char", "varchar"):
        return "text", 4 * int(size or 1)
    if kind == "varbinary":
        return "blob", int(size or 1)
    return next(
        (
            (of, _ROOM[kind.removesuffix(of)])
            for of in ("text", "blob")
            if kind.endswith(of) and kind[: -len(of)] in _ROOM
        ),
        ("", 0),
    )
