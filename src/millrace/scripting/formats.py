"""Dates and times as text, by the letters of Java's SimpleDateFormat or, where a `%` is in the format, by strftime's.

Source: https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/text/SimpleDateFormat.html
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LETTERS = "GyYMwWDdFEuaHkKhmsSzZX"
_UTC = dt.timezone.utc  # noqa: UP017  `datetime.UTC` and this are one; this name is older


def formatted(moment: dt.datetime, pattern: str) -> str:
    """The moment as text. A moment without a zone has none to write: `z`, `Z` and `X` then say UTC."""
    if "%" in pattern:
        return moment.strftime(pattern)
    return "".join(
        part.text if part.letter is None else _WRITERS[part.letter](moment, part.count) for part in _parts(pattern)
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


def zone(name: str) -> dt.tzinfo:
    """The time zone of that IANA name or offset. Raises ValueError when there is none."""
    if name in ("UTC", "GMT", "Z"):
        return _UTC
    if (match := re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d)(?::?(\d\d))?", name)) is not None:
        return _offset(match[1], match[2], match[3] or "0")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; use a name like Europe/Berlin") from None


@dataclass(frozen=True, slots=True)
class _Part:
    """So many of one letter, or literal text."""

    letter: str | None
    count: int
    text: str = ""


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
    if moment.tzinfo is None or moment.tzinfo is _UTC:
        return "Coordinated Universal Time" if count >= 4 else "UTC"
    if isinstance(moment.tzinfo, ZoneInfo) and count >= 4:
        return moment.tzinfo.key
    return moment.tzname() or "UTC"


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


@dataclass(slots=True)
class _Read:
    """What was read so far."""

    year: int = 1970
    month: int = 1
    day: int = 1
    day_of_year: int | None = None
    hour: int = 0
    half: int | None = None
    """Hours of the second half of the day: 12, 0, or None where none was named."""
    twelve: bool = False
    minute: int = 0
    second: int = 0
    micros: int = 0
    zone: dt.tzinfo | None = None
    said: set[str] = field(default_factory=set[str])

    def moment(self) -> dt.datetime:
        hour = self.hour + (self.half or 0) if self.twelve else self.hour
        made = dt.datetime(
            self.year, self.month, self.day, hour, self.minute, self.second, self.micros, tzinfo=self.zone
        )
        if self.day_of_year is not None and "M" not in self.said:
            made = made.replace(month=1, day=1) + dt.timedelta(days=self.day_of_year - 1)
            if made.year != self.year:
                raise ValueError(f"the year {self.year} has no day {self.day_of_year}")
        return made


def _set(name: str, low: int, high: int) -> Callable[[_Read, str, int], None]:
    def read(found: _Read, text: str, count: int) -> None:
        del count
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"{name} must be {low} to {high}, not {value}")
        setattr(found, name, value)

    return read


def _read_year(found: _Read, text: str, count: int) -> None:
    value = int(text)
    # Two digits are within 80 years before and 20 after now, as in Java.
    if count <= 2 and len(text) == 2:
        now = dt.datetime.now(_UTC).year
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
    # Up to three letters mean a number of milliseconds; more mean digits behind the point.
    found.micros = int(text) * 1000 if count <= 3 else int(text.ljust(6, "0")[:6])


def _read_zone(found: _Read, text: str, count: int) -> None:
    del count
    found.zone = zone(text)


def _ignore(found: _Read, text: str, count: int) -> None:
    """What other letters say already, such as the name of the day."""
    del found, text, count


_READERS: dict[str, Callable[[_Read, str, int], None]] = {
    "G": _ignore,
    "y": _read_year,
    "Y": _read_year,
    "M": _read_month,
    "w": _ignore,
    "W": _ignore,
    "D": _set("day_of_year", 1, 366),
    "d": _set("day", 1, 31),
    "F": _ignore,
    "E": _ignore,
    "u": _ignore,
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
    "G": "AD|BC",
    "a": "AM|PM",
    "z": r"[A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)*(?:[+-]\d\d:?\d\d)?|[+-]\d\d:?\d\d",
    "Z": r"[+-]\d\d:?\d\d|Z",
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
        follows = at + 1 < len(parts) and parts[at + 1].letter is not None
        text += f"(?P<p{len(letters)}>{_digits(part, adjacent=follows)})"
        letters.append((part.letter, part.count))
    return re.compile(text, re.IGNORECASE), tuple(letters)


def _digits(part: _Part, *, adjacent: bool) -> str:
    """What a part looks like. Where another one follows without anything between, its width is that of its letters."""
    assert part.letter is not None
    if part.letter in _NAMED and (part.letter != "M" or part.count >= 3):
        return _NAMED[part.letter]
    if adjacent:
        return rf"\d{{{part.count}}}"
    if part.letter in "yY":
        return r"\d{2}|\d{4,}" if part.count == 2 else r"\d{1,9}"
    return r"\d{1,9}" if part.letter == "S" else r"\d{1,3}"


def _offset(sign: str, hours: str, minutes: str) -> dt.tzinfo:
    total = int(hours) * 60 + int(minutes)
    if total == 0:
        return _UTC
    return dt.timezone(dt.timedelta(minutes=-total if sign == "-" else total))


def as_utc(moment: dt.datetime, timezone: str | None) -> dt.datetime:
    """The moment in UTC; one without a zone was in ``timezone``, else in UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(timezone) if timezone else _UTC)
    return moment.astimezone(_UTC)


def whole(value: Any, what: str) -> dt.datetime:
    """A date or datetime as a datetime. Raises TypeError for anything else."""
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    raise TypeError(f"{what} must be a date or a datetime, not {type(value).__name__}")
