"""Dates, times and moments of rows, many at once.

Source: https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html and the server's own packing of moments
(my_time): a date has five bits of the day and four of the month; with a time it is 40 bits, the years and months
counted together in thirteens; parts of a second stand behind in as many bytes as they need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data.dataclass import dataclass
from millrace.sources.mysql.log.locating import Flags, Ints, Places
from millrace.sources.mysql.log.numbers import big, little

_DAY_US = 86_400_000_000
_MONTHS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0, 0])


@dataclass(frozen=True, slots=True)
class Moments:
    """Values; where there are ``bad`` ones that their type cannot say, and how each of them reads; dates without a
    year, a month or a day (``zeros``). Both are null."""

    values: pa.Array
    bad: Flags | None = None
    zeros: int = 0
    text: Callable[[int], str] = str


def _no_day(years: Ints, months: Ints, days: Ints) -> tuple[Flags, Flags]:
    """Dates of which a part is zero; and days that their months do not have."""
    zero = (years == 0) | (months == 0) | (days == 0)
    short = (months == 2) & (days == 29) & ((years % 4 != 0) | ((years % 100 == 0) & (years % 400 != 0)))
    return zero, ~zero & ((days > _MONTHS[np.minimum(months, 16)]) | short)


def _since_1970(years: Ints, months: Ints, days: Ints) -> Ints:
    """Days since 1970. Source: http://howardhinnant.github.io/date_algorithms.html#days_from_civil"""
    years = years - (months <= 2)
    era = years // 400
    of_era = years - era * 400
    of_year = (153 * (months + np.where(months > 2, -3, 9)) + 2) // 5 + days - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def date(marks: Any, places: Places) -> Moments:
    raw = little(marks, places.start, 3).astype(np.int64)
    years, months, days = raw >> 9, raw >> 5 & 15, raw & 31
    zero, bad = _no_day(years, months, days)
    values = _since_1970(years, months, days).astype(np.int32)
    wrong = bad & ~places.null

    def text(row: int) -> str:
        return f"{years[row]:04}-{months[row]:02}-{days[row]:02}"

    made = pa.array(values, pa.int32(), mask=places.null | zero | bad).cast(pa.date32())
    return Moments(made, wrong if wrong.any() else None, int((zero & ~places.null).sum()), text)


def _parts(marks: Any, at: Ints, digits: int) -> Ints:
    """Microseconds from so many digits behind the point."""
    size = (digits + 1) // 2
    return big(marks, at, size) * 100 ** (3 - size) if size else np.zeros(len(at), np.int64)


def datetime(marks: Any, places: Places, digits: int) -> Moments:
    packed = big(marks, places.start, 5) - 0x8000000000
    days, clock = packed >> 17, packed & 0x1FFFF
    years, months = (days >> 5) // 13, (days >> 5) % 13
    micros = _parts(marks, places.start + 5, digits)
    return _moments(places, (years, months, days & 31), (clock >> 12, clock >> 6 & 63, clock & 63), micros)


def old_datetime(marks: Any, places: Places) -> Moments:
    """As servers of before 2013 wrote them: the digits of the date and time as one number."""
    digits = little(marks, places.start, 8).astype(np.int64)
    days, clock = digits // 1_000_000, digits % 1_000_000
    date_ = (days // 10_000, days // 100 % 100, days % 100)
    return _moments(places, date_, (clock // 10_000, clock // 100 % 100, clock % 100), np.zeros_like(digits))


def _moments(places: Places, date_: tuple[Ints, Ints, Ints], clock: tuple[Ints, Ints, Ints], micros: Ints) -> Moments:
    zero, bad = _no_day(*date_)
    hours, minutes, seconds = clock
    values = _since_1970(*date_) * _DAY_US + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros
    wrong = bad & ~places.null

    def text(row: int) -> str:
        years, months, days = (one[row] for one in date_)
        shown = f"{years:04}-{months:02}-{days:02} {hours[row]:02}:{minutes[row]:02}:{seconds[row]:02}"
        return shown + (f".{micros[row]:06}" if micros[row] else "")

    made = pa.array(values, pa.int64(), mask=places.null | zero | bad).cast(pa.timestamp("us"))
    return Moments(made, wrong if wrong.any() else None, int((zero & ~places.null).sum()), text)


def timestamp(marks: Any, places: Places, digits: int, *, old: bool = False) -> Moments:
    """Moments in UTC. The first second of 1970 stands for none."""
    seconds = little(marks, places.start, 4).astype(np.int64) if old else big(marks, places.start, 4)
    values = seconds * 1_000_000 + (_parts(marks, places.start + 4, digits) if not old else 0)
    zero = (values == 0) & ~places.null
    made = pa.array(values, pa.int64(), mask=places.null | zero)
    return Moments(made.cast(pa.timestamp("us", "UTC")), None, int(zero.sum()))


def clock(marks: Any, places: Places, digits: int) -> Moments:
    """Times of a day; MySQL's are spans, of up to 838 hours either way."""
    size = (digits + 1) // 2
    packed = big(marks, places.start, 3 + size) - (0x800000 << 8 * size)
    below, size_of = packed < 0, np.abs(packed)
    whole = size_of >> 8 * size
    micros = (size_of & (1 << 8 * size) - 1) * (100 ** (3 - size) if size else 0)
    return _spans(places, below, (whole >> 12, whole >> 6 & 63, whole & 63), micros)


def old_clock(marks: Any, places: Places) -> Moments:
    raw = little(marks, places.start, 3).astype(np.int64)
    digits = np.where(raw >= 0x800000, raw - 0x1000000, raw)
    size = np.abs(digits)
    return _spans(places, digits < 0, (size // 10_000, size // 100 % 100, size % 100), np.zeros_like(size))


def _spans(places: Places, below: Flags, parts: tuple[Ints, Ints, Ints], micros: Ints) -> Moments:
    hours, minutes, seconds = parts
    values = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros
    wrong = (below | (hours > 23)) & ~places.null

    def text(row: int) -> str:
        shown = f"{'-' if below[row] else ''}{hours[row]:02}:{minutes[row]:02}:{seconds[row]:02}"
        return shown + (f".{micros[row]:06}" if micros[row] else "")

    made = pa.array(values, pa.int64(), mask=places.null | wrong).cast(pa.time64("us"))
    return Moments(made, wrong if wrong.any() else None, 0, text)
