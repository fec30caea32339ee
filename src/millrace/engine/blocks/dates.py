"""Dates in patterns, on Arrow columns: Java's SimpleDateFormat letters, or strftime's directives where there is a %.

English names, weeks from Sunday with the first of January in week 1 (Java's Locale.US), UTC throughout. Stricter than
Java where that guesses: ``yyyy`` is four digits, a month 13 is no month. As in Java, the two digits of ``yy`` are a
year from 80 before now on; those of ``%y``, as in Python, one from 1969 to 2068.
Source: https://docs.oracle.com/javase/8/docs/api/java/text/SimpleDateFormat.html
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import Casted, only
from millrace.errors import ConfigError

Numbers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_DAY_US = 86_400_000_000
_FIRST_US, _END_US = -719_162 * _DAY_US, 2_932_897 * _DAY_US
_LETTERS = "GyYMwWDdFEuaHkKhmsSzZX"
_TIME_LETTERS = frozenset("aHkKhmsSzZX")
_NAMES = {
    "M": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "E": ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
}
_DIRECTIVES = {
    "Y": ("y", 4), "y": ("y", 2), "m": ("M", 2), "d": ("d", 2), "H": ("H", 2), "I": ("h", 2), "M": ("m", 2),
    "S": ("s", 2), "f": ("S", 6), "b": ("M", 3), "B": ("M", 4), "a": ("E", 3), "A": ("E", 4), "p": ("a", 1),
    "j": ("D", 3), "z": ("Z", 1),
}  # fmt: skip
# Minutes east of UTC of the names that SimpleDateFormat reads in English.
_ZONES = {
    "Z": 0, "UTC": 0, "GMT": 0, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360,
    "PST": -480, "PDT": -420,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of one letter, ``text`` being % where it was a directive; or, without a letter, text as it stands."""

    letter: str
    count: int
    text: str = ""

    @property
    def is_number(self) -> bool:
        return bool(self.letter) and self.letter not in "GEazZX" and not (self.letter == "M" and self.count > 2)


@dataclass(frozen=True, slots=True)
class Writer:
    """Dates and moments as text."""

    pieces: tuple[Piece, ...]

    def __call__(self, values: pa.Array) -> Casted:
        """Texts of DATE, TIMESTAMP, TIMESTAMPTZ or TIME values. Bad are those outside the years 0001 to 9999."""
        moments = micros(values)
        inside = pc.and_(pc.greater_equal(moments, _FIRST_US), pc.less(moments, _END_US))
        kept = only(moments, inside)
        parts = _Parts(kept.values)
        if not self.pieces:
            return Casted(pc.if_else(kept.values.is_valid(), "", pa.scalar(None, pa.string())), kept.bad)
        written = [parts.written(piece) for piece in self.pieces]
        joined = pc.binary_join_element_wise(*written, "")
        return Casted(pc.if_else(kept.values.is_valid(), joined, pa.scalar(None, pa.string())), kept.bad)


@dataclass(frozen=True, slots=True)
class Reader:
    """Text as moments. ``has_time``: the pattern says more than a day."""

    regex: str
    groups: tuple[tuple[str, Piece], ...]
    has_time: bool

    def __call__(self, texts: pa.Array, to: Literal["DATE", "TIMESTAMP"] | None = None) -> Casted:
        """TIMESTAMPTZ (DATE where the pattern has no time, or as ``to`` asks). Bad is text that the pattern is not.

        What the pattern does not say is that of 1970-01-01 00:00. A DATE of a pattern with a time is its day in UTC.
        """
        parts = pc.extract_regex(pc.utf8_trim_whitespace(texts), self.regex)
        known = parts.is_valid().to_numpy(zero_copy_only=False)
        found: dict[str, Numbers] = {}
        ok = known
        for name, piece in self.groups:
            part = pc.struct_field(parts, name)
            numbers, right = _read(piece, part)
            found[piece.letter] = numbers
            ok = ok & right
        moments, right = _moments(found)
        ok = ok & right
        valid = texts.is_valid().to_numpy(zero_copy_only=False)
        bad = pa.array(valid & ~ok) if (valid & ~ok).any() else None
        mask = ~(ok & valid)
        filled = np.where(mask, 0, moments)
        if to == "DATE" or (to is None and not self.has_time):
            return Casted(pa.array(filled // _DAY_US, mask=mask).cast(pa.int32()).cast(types.DATE), bad)
        return Casted(pa.array(filled, mask=mask).cast(types.TIMESTAMPTZ), bad)


@lru_cache(256)
def writer(pattern: str) -> Writer:
    """Raises ConfigError (code ``formula``) for a pattern with letters that have no meaning."""
    return Writer(pieces(pattern))


@lru_cache(256)
def reader(pattern: str) -> Reader:
    """Raises ConfigError (code ``formula``) also for letters that can only be written: Y, w, W, F, u."""
    parsed = pieces(pattern)
    letters = [piece.letter for piece in parsed if piece.letter and piece.letter != "E"]
    if not letters:
        raise ConfigError(f"The pattern {pattern!r} has no letter of a date.", code="formula")
    for letter in letters:
        if letter in "YwWFu":
            raise ConfigError(
                f"The letter {letter!r} in {pattern!r} can be written but not read.",
                hint="Read the day with y, M and d, or y and D.",
                code="formula",
            )
        if letters.count(letter) > 1:
            raise ConfigError(f"The letter {letter!r} stands twice in {pattern!r}.", code="formula")
    regex = ["(?i)^"]
    groups: list[tuple[str, Piece]] = []
    for index, piece in enumerate(parsed):
        if not piece.letter:
            regex.append(re.escape(piece.text))
            continue
        abutting = piece.is_number and index + 1 < len(parsed) and parsed[index + 1].is_number
        if piece.letter == "E":
            regex.append(_form(piece, abutting=abutting))
        else:
            name = f"p{len(groups)}"
            groups.append((name, piece))
            regex.append(f"(?P<{name}>{_form(piece, abutting=abutting)})")
    return Reader("".join([*regex, "$"]), tuple(groups), bool(_TIME_LETTERS & set(letters)))


def pieces(pattern: str) -> tuple[Piece, ...]:
    """The pattern in runs of letters and of text. ``'text'`` is text, two apostrophes are one."""
    if "%" in pattern:
        return tuple(_directives(pattern))
    found: list[Piece] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "'":
            quoted = re.compile(r"'((?:[^']|'')*)'").match(pattern, at)
            if not quoted:
                raise ConfigError(f"An apostrophe in the pattern {pattern!r} has no end.", code="formula")
            found.append(Piece("", 0, quoted[1].replace("''", "'") or "'"))
            at = quoted.end()
        elif sign.isascii() and sign.isalpha():
            if sign not in _LETTERS:
                raise ConfigError(
                    f"The letter {sign!r} in the pattern {pattern!r} has no meaning.",
                    hint=f"The letters are {', '.join(_LETTERS)}; text stands between apostrophes.",
                    code="formula",
                )
            end = at + len(pattern[at:]) - len(pattern[at:].lstrip(sign))
            found.append(Piece(sign, end - at))
            at = end
        else:
            found.append(Piece("", 0, sign))
            at += 1
    return tuple(found)


def _directives(pattern: str) -> list[Piece]:
    found: list[Piece] = []
    for text, directive in re.findall(r"([^%]+)|%(.?)", pattern, re.DOTALL):
        if text or directive == "%":
            found.append(Piece("", 0, text or "%"))
        elif directive in _DIRECTIVES:
            found.append(Piece(*_DIRECTIVES[directive], "%"))
        else:
            raise ConfigError(
                f"The directive %{directive} in the pattern {pattern!r} has no meaning here.",
                hint=f"The directives are {', '.join('%' + known for known in _DIRECTIVES)}.",
                code="formula",
            )
    return found


def micros(values: pa.Array) -> pa.Array:
    """Microseconds since 1970, or since midnight."""
    if values.type == types.DATE:
        days = values.cast(pa.int32()).cast(pa.int64())
        limit = (2**63 - 1) // _DAY_US
        return pc.multiply(pc.if_else(pc.less_equal(pc.abs(days), limit), days, limit), _DAY_US)
    return values.cast(pa.int64())


class _Parts:
    """The parts of moments, each computed when a letter asks for it."""

    def __init__(self, moments: pa.Array) -> None:
        self._stamps = moments.cast(types.TIMESTAMP)
        counts: Numbers = moments.fill_null(0).to_numpy()
        self._days = counts // _DAY_US
        self._of_day = counts - self._days * _DAY_US
        calendar: Any = self._days.astype("datetime64[D]")
        self._first_of_month = calendar.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        self._first_of_year = calendar.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
        self._months: Numbers = calendar.astype("datetime64[M]").astype(np.int64)
        self._years: Numbers = calendar.astype("datetime64[Y]").astype(np.int64) + 1970

    def written(self, piece: Piece) -> pa.Array | str:
        letter, count = piece.letter, piece.count
        if not letter:
            return piece.text
        match letter:
            case "G":
                return "AD"
            case "z":
                return "UTC" if count < 4 else "Coordinated Universal Time"
            case "Z":
                return "+0000"
            case "X":
                return "Z"
            case "a":
                return _named(["AM", "PM"], self._of_day // (_DAY_US // 2))
            case "E":
                return _named([n if count > 3 else n[:3] for n in _NAMES["E"]], self._weekday(self._days))
            case "M" if count > 2:
                return _named([n if count > 3 else n[:3] for n in _NAMES["M"]], self._months % 12)
            case "y" | "Y" if count == 2:
                return _padded(self.number(letter) % 100, 2)
            case "S" if count > 3:
                return pc.utf8_slice_codeunits(pc.utf8_rpad(_padded(self._of_day % 1_000_000, 6), count, "0"), 0, count)
            case _:
                return _padded(self.number(letter), count)

    def number(self, letter: str) -> Numbers:
        hour = self._of_day // 3_600_000_000
        match letter:
            case "y":
                return self._years
            case "Y":
                return self._years + (self._week_of_year() == 0)
            case "M":
                return self._months % 12 + 1
            case "w":
                return np.maximum(self._week_of_year(), 1)
            case "W":
                return (self._days - self._first_of_month + self._weekday(self._first_of_month)) // 7 + 1
            case "D":
                return self._days - self._first_of_year + 1
            case "d":
                return self._days - self._first_of_month + 1
            case "F":
                return (self._days - self._first_of_month) // 7 + 1
            case "u":
                return (self._days + 3) % 7 + 1
            case "H":
                return hour
            case "k":
                return np.where(hour == 0, 24, hour)
            case "K":
                return hour % 12
            case "h":
                return np.where(hour % 12 == 0, 12, hour % 12)
            case "m":
                return self._of_day // 60_000_000 % 60
            case "s":
                return self._of_day // 1_000_000 % 60
            case _:
                return self._of_day // 1_000 % 1_000

    def _week_of_year(self) -> Numbers:
        """From 1; 0 for the last days of a year that belong to week 1 of the next."""
        week = (self._days - self._first_of_year + self._weekday(self._first_of_year)) // 7 + 1
        calendar: Any = (self._years - 1969).astype("datetime64[Y]").astype("datetime64[D]")
        next_year: Numbers = calendar.astype(np.int64)
        return np.where(self._days >= next_year - self._weekday(next_year), 0, week)

    @staticmethod
    def _weekday(days: Numbers) -> Numbers:
        return (days + 4) % 7  # 1970-01-01 was a Thursday; Sunday is 0


def _named(names: list[str], numbers: Numbers) -> pa.Array:
    return pa.array(names).take(pa.array(numbers))


def _padded(numbers: Numbers, width: int) -> pa.Array:
    written = pa.array(numbers).cast(pa.string())
    return pc.utf8_lpad(written, width, "0") if width > 1 else written


def _form(piece: Piece, *, abutting: bool) -> str:
    """The regular expression of what a piece reads."""
    letter, count = piece.letter, piece.count
    if letter == "M" and count > 2:
        return "(?:" + "|".join(f"{name}|{name[:3]}" for name in _NAMES["M"]) + ")"
    match letter:
        case "G":
            return "(?:AD)"
        case "E":
            return "(?:" + "|".join(f"{name}|{name[:3]}" for name in _NAMES["E"]) + ")"
        case "a":
            return "(?:AM|PM)"
        case "z" | "Z" | "X":
            return f"(?:(?:{'|'.join(_ZONES)})|(?:GMT|UTC)?[+-][0-9]{{2}}(?::?[0-9]{{2}})?)"
        case "S" if count >= 3:
            return f"[0-9]{{{count}}}"
        case "y" if count == 2:
            return "[0-9]{2}" if abutting or piece.text else "(?:[0-9]{4}|[0-9]{2})"
        case "y" if count != 1:
            return f"[0-9]{{{max(count, 4)}}}"
        case _ if abutting:
            return f"[0-9]{{{count}}}"
        case "y":
            return "[0-9]{1,4}"
        case "D" | "S":
            return "[0-9]{1,3}"
        case _:
            return f"[0-9]{{1,{max(count, 2)}}}"


_RANGES = {
    "y": (1, 9999), "M": (1, 12), "d": (1, 31), "D": (1, 366), "H": (0, 23), "k": (1, 24), "K": (0, 11), "h": (1, 12),
    "m": (0, 59), "s": (0, 59),
}  # fmt: skip


def _read(piece: Piece, part: pa.Array) -> tuple[Numbers, Flags | bool]:
    """A part as a number, and where it may be that."""
    letter, count = piece.letter, piece.count
    if letter == "M" and count > 2:
        short = pc.utf8_lower(pc.utf8_slice_codeunits(part, 0, 3))
        return _index(short, [name[:3].lower() for name in _NAMES["M"]]) + 1, True
    match letter:
        case "G":
            return np.zeros(len(part), np.int64), True
        case "a":
            return _index(pc.ascii_lower(part), ["am", "pm"]), True
        case "z" | "Z" | "X":
            return _zone(part)
        case "S" if count >= 3:
            digits = pc.utf8_rpad(part.fill_null("0"), 6, "0")
            micros = pc.utf8_slice_codeunits(digits, 0, 6).cast(pa.int64()).to_numpy()
            rest = pc.match_substring_regex(digits, "^[0-9]{6}.*[1-9]").to_numpy(zero_copy_only=False)
            return micros, ~rest
        case _:
            numbers: Numbers = _whole(part)
            if letter == "S":
                return numbers * 1_000, True
            if letter == "y" and count == 2:
                first = 1969 if piece.text else dt.datetime.now(dt.UTC).year - 80
                numbers = np.where(pc.utf8_length(part).fill_null(0).to_numpy() == 2, _near(numbers, first), numbers)
            low, high = _RANGES[letter]
            return numbers, (numbers >= low) & (numbers <= high)


def _near(numbers: Numbers, first: int) -> Numbers:
    """Two digits as a year: the first one from ``first`` on that ends so."""
    return first + (numbers - first) % 100


def _whole(part: pa.Array) -> Numbers:
    filled = pc.if_else(pc.equal(part, ""), "0", part).fill_null("0")
    return filled.cast(pa.int64()).to_numpy()


def _index(part: pa.Array, names: list[str]) -> Numbers:
    return pc.index_in(part, pa.array(names)).fill_null(0).cast(pa.int64()).to_numpy()


def _zone(part: pa.Array) -> tuple[Numbers, Flags]:
    """Microseconds east of UTC."""
    upper = pc.ascii_upper(part)
    named = pa.array(list(_ZONES.values()), pa.int64()).take(pc.index_in(upper, pa.array(list(_ZONES))))
    pattern = r"^(?:GMT|UTC)?(?P<sign>[+-])(?P<hour>[0-9]{2}):?(?P<minute>[0-9]{2})?$"
    offset = pc.extract_regex(upper, pattern)
    hour, minute = (_whole(pc.struct_field(offset, name)) for name in ("hour", "minute"))
    west = pc.equal(pc.struct_field(offset, "sign"), "-").fill_null(False).to_numpy(zero_copy_only=False)
    minutes = np.where(west, -1, 1) * (hour * 60 + minute)
    is_named = named.is_valid().to_numpy(zero_copy_only=False)
    return np.where(is_named, named.fill_null(0).to_numpy(), minutes) * 60_000_000, (hour <= 23) & (minute <= 59)


def _moments(found: dict[str, Numbers]) -> tuple[Numbers, Flags]:
    """Microseconds since 1970 of the numbers of letters, and where there is such a day."""
    size = len(next(iter(found.values())))
    year = found.get("y", np.full(size, 1970))
    month, day = found.get("M", np.ones(size, np.int64)), found.get("d", np.ones(size, np.int64))
    months = (year - 1970) * 12 + month - 1
    calendar: Any = months.astype("datetime64[M]")
    days: Numbers = calendar.astype("datetime64[D]").astype(np.int64) + day - 1
    ok: Flags = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) == months
    if "D" in found and "M" not in found and "d" not in found:
        start: Any = (year - 1970).astype("datetime64[Y]")
        days = start.astype("datetime64[D]").astype(np.int64) + found["D"] - 1
        ok = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) == year - 1970
    hour = np.zeros(size, np.int64)
    hours: tuple[tuple[str, Callable[[Numbers], Numbers]], ...] = (
        ("h", lambda n: n % 12), ("K", lambda n: n), ("k", lambda n: n % 24), ("H", lambda n: n)
    )  # fmt: skip
    for letter, of_day in hours:
        if letter in found:
            hour = of_day(found[letter]) + (found["a"] * 12 if letter in "hK" and "a" in found else 0)
    zero = np.zeros(size, np.int64)
    seconds = (hour * 60 + found.get("m", zero)) * 60 + found.get("s", zero)
    offset = sum((found[letter] for letter in "zZX" if letter in found), zero)
    moments: Numbers = days * _DAY_US + seconds * 1_000_000 + found.get("S", zero) - offset
    return moments, ok
