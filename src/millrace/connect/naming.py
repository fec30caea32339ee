"""Names of tables and columns at a destination: sanitized, compressed to its limit, and made unique.

Pure functions. What they answer is stored in the mapping and never computed again.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Literal, TypeAlias

from millrace.errors import ConfigError

Rules: TypeAlias = Literal["edge", "classic"]
Case: TypeAlias = Literal["lower", "upper", "keep"]

# Latin letters that Unicode does not take apart into a letter and an accent.
_LATIN = str.maketrans(
    {
        "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
        "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "ħ": "h", "Ħ": "H", "ı": "i", "ŋ": "n", "Ŋ": "N",
    }
)  # fmt: skip
_WORD_BOUNDARY = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_HASH_DIGITS = (6, 8, 12, 16)


def sanitize(name: str, *, rules: Rules, case: Case, table: bool) -> str:
    """The name in ASCII letters, digits and ``_`` alone; never empty; sanitizing it again changes nothing.

    ``edge`` rules strip accents and split words (``customerID2`` is ``customer_id_2``); they lowercase, so ``keep``
    means lower there. ``classic`` rules put ``_`` for each other character and cut ``_`` at the end. Two names may
    become one: `unique` parts them. Rules: loading.md 10.
    """
    clean = _edge(name, table=table) if rules == "edge" else _classic(name)
    if case == "upper":
        return clean.upper()
    return clean.lower() if case == "lower" else clean


class Taken:
    """Names that are taken, whatever the case of their letters. Whoever finds many names one after the other adds each,
    so that those before it are not looked through again."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._folded = {name.casefold() for name in names}

    def __contains__(self, name: str) -> bool:
        return name.casefold() in self._folded

    def add(self, name: str) -> None:
        """No other name is given this one."""
        self._folded.add(name.casefold())


def compress(name: str, limit: int, taken: Taken, *, count_bytes: bool) -> str:
    """A name of at most ``limit`` characters (UTF-8 bytes with ``count_bytes``) that still tells what it names.

    A name that fits is returned as it is, taken or not: `unique` decides there. A longer one becomes the first of
    the candidates of loading.md 11 that fits and is not in ``taken``, whatever the case of its letters.
    """
    if _size(name, count_bytes) <= limit:
        return name
    for candidate in _candidates(name, limit, count_bytes):
        if candidate and _size(candidate, count_bytes) <= limit and candidate not in taken:
            return candidate
    return unique(_tail(name, limit, count_bytes), taken, limit, count_bytes=count_bytes)


def unique(name: str, taken: Taken, limit: int, *, count_bytes: bool) -> str:
    """The name itself, or where it is taken (in any case of letters) with the first free of ``_1``, ``_2``, …

    The name is cut so that it fits the limit with its suffix.
    """
    if name not in taken and _size(name, count_bytes) <= limit:
        return name
    for number in count(1):
        suffix = f"_{number}"
        if len(suffix) >= limit:
            break
        candidate = _head(name, limit - len(suffix), count_bytes) + suffix
        if candidate not in taken:
            return candidate
    raise ConfigError(
        f"No free name is left for {name!r} within {limit} {'bytes' if count_bytes else 'characters'}.",
        hint="Choose a shorter table prefix, or map this field by hand.",
    )


def _edge(name: str, *, table: bool) -> str:
    decomposed = unicodedata.normalize("NFKD", name.translate(_LATIN)).translate(_LATIN)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    words = _WORD_BOUNDARY.sub("_", re.sub(r"[^A-Za-z0-9_]", "_", plain))
    clean = re.sub(r"_+", "_", words).lower()
    if clean[:1].isdigit():
        clean = f"_{clean}"
    if table and re.match(r"_[a-z]", clean):
        clean = clean[1:]
    return clean or "_"


def _classic(name: str) -> str:
    # Composed first, so that an accented letter is one character however the source wrote it.
    return re.sub(r"[^A-Za-z0-9]", "_", unicodedata.normalize("NFC", name)).rstrip("_") or "_"


def _candidates(name: str, limit: int, count_bytes: bool) -> Iterator[str]:
    words = name.split("_")
    if _size(words[-1], count_bytes) >= limit:
        yield _tail(name, limit, count_bytes)
    for shorten in (_without_vowels, _initial):
        for reduced in range(1, len(words)):
            yield "_".join([*map(shorten, words[:reduced]), *words[reduced:]])
    for start in range(1, len(words)):
        yield "_".join(words[start:])
    yield _tail(name, limit, count_bytes)
    digest = hashlib.sha256(name.encode()).hexdigest()
    for digits in _HASH_DIGITS:
        if limit > digits + 1:
            mark = digest[:digits].upper() if name.isupper() else digest[:digits]
            yield f"{_head(name, limit - 1 - digits, count_bytes)}_{mark}"


def _without_vowels(word: str) -> str:
    return word[:1] + re.sub("[aeiouAEIOU]", "", word[1:])


def _initial(word: str) -> str:
    return word[:1]


def _size(name: str, count_bytes: bool) -> int:
    return len(name.encode()) if count_bytes else len(name)


def _head(name: str, limit: int, count_bytes: bool) -> str:
    return name.encode()[:limit].decode(errors="ignore") if count_bytes else name[:limit]


def _tail(name: str, limit: int, count_bytes: bool) -> str:
    return name.encode()[-limit:].decode(errors="ignore") if count_bytes else name[-limit:]
