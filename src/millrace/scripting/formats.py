"""Dates and times as text, by the letters of Java's SimpleDateFormat or, where a `%` is in the format, by strftime's.

English names, weeks from Sunday with 1 January in the first (Java's calendar of the United States). Reading is
stricter than Java's where that guesses: `yyyy` is four digits, month 13 is none, `SSS` is three digits, and nothing may
follow the date.
Source: https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/text/SimpleDateFormat.html
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from .zones import UTC, UTC_NAME, zone

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LETTERS = "GyYMwWDdFEuaHkKhmsSzZX"


def formatted(moment: dt.datetime, pattern: str) -> str:
    """The moment as text. A moment without a zone has none to write: `z`, `Z` and `X` then say UTC."""
    if "%" in pattern:
        return moment.strftime(pattern)
    return "".join(
        part.text if part.letter is None else _WRITERS[part.letter](moment, part.width) for part in _parts(pattern)
    )


def parsed(text: str, pattern: str) -> dt.datetime:
    """The moment that the text says; what the pattern leaves out is that of 1 January 1970, 00:00.

    It has a zone where the pattern has one. Raises ValueError for text that the pattern does not fit.
    """
    if "%" in pattern:
        return dt.datetime.strptime(text, pattern)
    expression, letters = _expression(pattern)
    match = expression.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not of the form {pattern!r}")
    found = _Read()
    for number, (letter, count) in enumerate(letters):
        _READERS[letter](found, match[f"p{number}"], count)
    try:
        return found.moment()
    except (ValueError, OverflowError) as wrong:
        raise ValueError(f"{text!r} is no date or time: {wrong}") from None


def as_utc(moment: dt.datetime, timezone: str | None) -> dt.datetime:
    """The moment in UTC; one without a zone was in ``timezone``, else in UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(timezone) if timezone else UTC)
    return moment.astimezone(UTC)


class _Part(NamedTuple):
    """So many of one letter, or literal text."""

    letter: str | None
    width: int
    text: str = ""

    @property
    def is_number(self) -> bool:
        return self.letter is not None and self.letter not in "GEazZX" and not (self.letter == "M" and self.width > 2)


@lru_cache(maxsize=256)
def _parts(pattern: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "'":
            end = at + 1
            text = ""
            while True:
                close = pattern.find("'", end)
                if close < 0:
                    raise ValueError(f"the format {pattern!r} has a quote that is not closed")
                text += pattern[end:close]
                if pattern[close + 1 : close + 2] != "'":
                    break
                text, end = text + "'", close + 2
            parts.append(_Part(None, 0, text or "'"))
            at = close + 1
        elif char.isascii() and char.isalpha():
            end = at
            while end < len(pattern) and pattern[end] == char:
                end += 1
            if char not in _LETTERS:
                raise ValueError(
                    f"the format {pattern!r} has the letter {char!r}, which means nothing; quote it: '{char}'"
                )
            parts.append(_Part(char, end - at))
            at = end
        else:
            parts.append(_Part(None, 0, char))
            at += 1
    return tuple(parts)


# Writing: a moment and how often the letter stands there.


def _number(value: int, count: int) -> str:
    return f"{value:0{count}d}"


def _year(value: int, count: int) -> str:
    return f"{value % 100:02d}" if count == 2 else _number(value, count)


def _month(moment: dt.datetime, count: int) -> str:
    name = MONTHS[moment.month - 1]
    return name if count >= 4 else name[:3] if count == 3 else _number(moment.month, count)


def _day_name(moment: dt.datetime, count: int) -> str:
    name = DAYS[moment.weekday()]
    return name if count >= 4 else name[:3]


def _offset_of(moment: dt.datetime) -> int:
    """Minutes east of Greenwich."""
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset.total_seconds() // 60)


def _rfc_zone(moment: dt.datetime, count: int) -> str:
    del count
    minutes = _offset_of(moment)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def _iso_zone(moment: dt.datetime, count: int) -> str:
    minutes = _offset_of(moment)
    if minutes == 0:
        return "Z"
    sign, hours, rest = "-" if minutes < 0 else "+", abs(minutes) // 60, abs(minutes) % 60
    return f"{sign}{hours:02d}" + ("" if count == 1 else f"{rest:02d}" if count == 2 else f":{rest:02d}")


def _zone_name(moment: dt.datetime, count: int) -> str:
    if moment.tzinfo is None or moment.tzinfo is UTC:
        return UTC_NAME if count >= 4 else "UTC"
    # Zones of the database have a key, which says more than their name of the moment.
    key = getattr(moment.tzinfo, "key", None)
    return str(key) if key and count >= 4 else moment.tzname() or "UTC"


def _week_of_year(moment: dt.datetime) -> int:
    """Weeks begin on Sunday, and 1 January is in the first: Java's calendar of the United States."""
    start = dt.date(moment.year, 1, 1)
    return ((moment.date() - start).days + (start.weekday() + 1) % 7) // 7 + 1 if not _next_year(moment) else 1


def _next_year(moment: dt.datetime) -> bool:
    """The week of the day holds 1 January of the next year."""
    to_saturday = (5 - moment.weekday()) % 7
    return moment.year < dt.MAXYEAR and (moment.date() + dt.timedelta(days=to_saturday)).year > moment.year


def _week_of_month(moment: dt.datetime) -> int:
    first = moment.replace(day=1)
    return (moment.day - 1 + (first.weekday() + 1) % 7) // 7 + 1


_WRITERS: dict[str, Callable[[dt.datetime, int], str]] = {
    "G": lambda moment, count: "AD",  # noqa: ARG005  Python knows no other era
    "y": lambda moment, count: _year(moment.year, count),
    "Y": lambda moment, count: _year(moment.year + _next_year(moment), count),
    "M": _month,
    "w": lambda moment, count: _number(_week_of_year(moment), count),
    "W": lambda moment, count: _number(_week_of_month(moment), count),
    "D": lambda moment, count: _number(moment.timetuple().tm_yday, count),
    "d": lambda moment, count: _number(moment.day, count),
    "F": lambda moment, count: _number((moment.day - 1) // 7 + 1, count),
    "E": _day_name,
    "u": lambda moment, count: _number(moment.isoweekday(), count),
    "a": lambda moment, count: "AM" if moment.hour < 12 else "PM",  # noqa: ARG005  one form
    "H": lambda moment, count: _number(moment.hour, count),
    "k": lambda moment, count: _number(moment.hour or 24, count),
    "K": lambda moment, count: _number(moment.hour % 12, count),
    "h": lambda moment, count: _number(moment.hour % 12 or 12, count),
    "m": lambda moment, count: _number(moment.minute, count),
    "s": lambda moment, count: _number(moment.second, count),
    # Milliseconds for up to three; more letters give more digits of the second, as in newer Java.
    "S": lambda moment, count: (
        _number(moment.microsecond // 1000, count)
        if count <= 3
        else f"{moment.microsecond:06d}".ljust(count, "0")[:count]
    ),
    "z": _zone_name,
    "Z": _rfc_zone,
    "X": _iso_zone,
}


# Reading: what a text said, gathered, and then made a moment.


class _Read:
    """What was read so far. ``said`` has the letters of the day that were read."""

    def __init__(self) -> None:
        self.year = 1970
        self.month = self.day = self.day_of_year = self.week = self.week_of_month = self.nth = 1
        self.weekday = 0
        """From Sunday, which is 0 and begins the week."""
        self.hour = self.half = self.minute = self.second = self.micros = 0
        self.twelve = False
        self.zone: dt.tzinfo | None = None
        self.said: set[str] = set()

    def moment(self) -> dt.datetime:
        hour = self.hour + self.half if self.twelve else self.hour
        day = self._day()
        return dt.datetime(day.year, day.month, day.day, hour, self.minute, self.second, self.micros, tzinfo=self.zone)

    def _day(self) -> dt.date:
        """The day, by whatever names one: of the month, of the year, or a weekday with a week."""
        said = self.said
        if "d" in said or not said & set("DwWF"):
            return dt.date(self.year, self.month, self.day)
        if "D" in said and "M" not in said:
            made = dt.date(self.year, 1, 1) + dt.timedelta(days=self.day_of_year - 1)
            if made.year != self.year:
                raise ValueError(f"the year {self.year} has no day {self.day_of_year}")
            return made
        if "w" in said and "M" not in said:
            first = dt.date(self.year, 1, 1)
            return first + dt.timedelta(days=(self.week - 1) * 7 + self.weekday - _from_sunday(first))
        first = dt.date(self.year, self.month, 1)
        if "W" in said:
            return first + dt.timedelta(days=(self.week_of_month - 1) * 7 + self.weekday - _from_sunday(first))
        if "F" in said:
            return first + dt.timedelta(days=(self.nth - 1) * 7 + (self.weekday - _from_sunday(first)) % 7)
        return first


def _from_sunday(day: dt.date) -> int:
    """Days since Sunday."""
    return day.isoweekday() % 7


def _set(name: str, low: int, high: int, letter: str = "") -> Callable[[_Read, str, int], None]:
    def read(found: _Read, text: str, count: int) -> None:
        del count
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"the {name.replace('_', ' ')} must be {low} to {high}, not {value}")
        setattr(found, name, value)
        found.said.update(letter)

    return read


def _read_year(found: _Read, text: str, count: int) -> None:
    value = int(text)
    # Two digits are within 80 years before and 20 after now, as in Java.
    if count <= 2 and len(text) == 2:
        now = dt.datetime.now(UTC).year
        value += (now - 80) // 100 * 100
        value += 100 if value < now - 80 else 0
    found.year = value


def _read_month(found: _Read, text: str, count: int) -> None:
    found.said.add("M")
    if count < 3:
        _set("month", 1, 12)(found, text, count)
        return
    found.month = next(at for at, name in enumerate(MONTHS, 1) if name[:3].lower() == text[:3].lower())


def _read_hour(low: int, high: int, *, twelve: bool) -> Callable[[_Read, str, int], None]:
    def read(found: _Read, text: str, count: int) -> None:
        _set("hour", low, high)(found, text, count)
        found.hour %= 12 if twelve else 24
        found.twelve = twelve

    return read


def _read_half(found: _Read, text: str, count: int) -> None:
    del count
    found.half = 12 if text.lower() == "pm" else 0


def _read_fraction(found: _Read, text: str, count: int) -> None:
    # One or two letters mean a number of milliseconds; more mean digits behind the point.
    if text[6:].strip("0"):
        raise ValueError(f"the fraction {text} is finer than a microsecond")
    found.micros = int(text) * 1000 if count < 3 else int(text[:6].ljust(6, "0"))


def _read_zone(found: _Read, text: str, count: int) -> None:
    del count
    found.zone = zone(text)


def _read_weekday(found: _Read, text: str, count: int) -> None:
    del count
    found.weekday = (next(at for at, name in enumerate(DAYS, 1) if name[:3].lower() == text[:3].lower())) % 7


def _read_number_of_day(found: _Read, text: str, count: int) -> None:
    _set("weekday", 1, 7)(found, text, count)
    found.weekday %= 7


def _ignore(found: _Read, text: str, count: int) -> None:
    """The era, of which there is one."""
    del found, text, count


_READERS: dict[str, Callable[[_Read, str, int], None]] = {
    "G": _ignore,
    "y": _read_year,
    "Y": _read_year,
    "M": _read_month,
    "w": _set("week", 1, 54, "w"),
    "W": _set("week_of_month", 1, 6, "W"),
    "D": _set("day_of_year", 1, 366, "D"),
    "d": _set("day", 1, 31, "d"),
    "F": _set("nth", 1, 5, "F"),
    "E": _read_weekday,
    "u": _read_number_of_day,
    "a": _read_half,
    "H": _read_hour(0, 23, twelve=False),
    "k": _read_hour(1, 24, twelve=False),
    "K": _read_hour(0, 11, twelve=True),
    "h": _read_hour(1, 12, twelve=True),
    "m": _set("minute", 0, 59),
    "s": _set("second", 0, 59),
    "S": _read_fraction,
    "z": _read_zone,
    "Z": _read_zone,
    "X": _read_zone,
}

_NAMED: Mapping[str, str] = {
    "E": "|".join(f"{name}|{name[:3]}" for name in DAYS),
    "M": "|".join(f"{name}|{name[:3]}" for name in MONTHS),
    "G": "AD",
    "a": "AM|PM",
    "z": rf"{UTC_NAME}|[A-Z_]+(?:/[A-Z_+\-0-9]+)*(?:[+-]\d\d?(?::?\d\d)?)?|[+-]\d\d(?::?\d\d)?",
    "Z": r"(?:GMT|UTC)?[+-]\d\d(?::?\d\d)?|Z|[A-Z]{3,4}",
    "X": r"Z|[+-]\d\d(?::?\d\d)?",
}


@lru_cache(maxsize=256)
def _expression(pattern: str) -> tuple[re.Pattern[str], tuple[tuple[str, int], ...]]:
    """A regular expression for the pattern, and its letters in their order."""
    parts = _parts(pattern)
    text, letters = "", list[tuple[str, int]]()
    for at, part in enumerate(parts):
        if part.letter is None:
            text += re.escape(part.text)
            continue
        follows = at + 1 < len(parts) and parts[at + 1].is_number
        text += f"(?P<p{len(letters)}>{_form(part, adjacent=part.is_number and follows)})"
        letters.append((part.letter, part.width))
    return re.compile(text, re.IGNORECASE | re.ASCII), tuple(letters)


def _form(part: _Part, *, adjacent: bool) -> str:
    """What a part looks like. Where another number follows without anything between, it is as wide as its letters."""
    letter, count = part.letter, part.width
    assert letter is not None
    if not part.is_number:
        return _NAMED[letter]
    if letter == "S" and count >= 3:
        return rf"\d{{{count}}}"
    if letter in "yY" and count > 2:
        return rf"\d{{{max(count, 4)}}}"
    if adjacent:
        return rf"\d{{{count}}}"
    if letter in "yY":
        return r"\d{4}|\d{2}" if count == 2 else r"\d{1,4}"
    return r"\d{1,3}" if letter in "DS" else rf"\d{{1,{max(count, 2)}}}"
