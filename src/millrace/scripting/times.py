"""`TimeUtils` of scripts: dates, times and epochs. Source: transformations.md 2.5."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, ClassVar

from .formats import as_utc, formatted, parsed
from .utils import Listed
from .zones import UTC, zone

# An epoch of this size or more is in milliseconds, a smaller one in seconds.
_MILLISECONDS = 10**11

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

# Microseconds of each unit of a difference.
_UNITS = {
    "milliseconds": 1_000,
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": 86_400_000_000,
}


class TimeUtils(metaclass=Listed):
    """Conversions between text, dates, times and epochs.

    Formats have Java's letters (`yyyy-MM-dd HH:mm:ss`), or strftime's where there is a `%`. Everything is in UTC unless
    the text says otherwise. ``timezone`` is the zone that the answer is to be seen in; for `parseDateStringToDatetime`,
    whose answer is a moment in UTC, it is the zone of a text that names none. What cannot be read raises ValueError.
    """

    # Names that scripts may know these by.
    ALIASES: ClassVar[dict[str, str]] = {
        "convertDateStringToRequiredFormat": "convertDateStringToFormat",
        "convertDateToRequiredFormat": "convertDateToFormat",
        "convertDatetimeStringToRequiredFormat": "convertDatetimeStringToFormat",
        "convertDateTimeStringToRequiredFormat": "convertDatetimeStringToFormat",
        "convertDateTimeStringToFormat": "convertDatetimeStringToFormat",
        "convertEpochTimeToDate": "convertEpochToDate",
        "convertEpochTimeToDatetime": "convertEpochToDatetime",
        "convertEpochTimeToDateTime": "convertEpochToDatetime",
        "convertEpochToDateTime": "convertEpochToDatetime",
        "convertEpochToRequiredFormat": "convertEpochToFormat",
        "convertEpochTimeToFormat": "convertEpochToFormat",
        "convertEpochTimeToTime": "convertEpochToTime",
        "parseDateString": "parseDateStringToDate",
        "parseDateStringToDatetimeFormat": "parseDateStringToDatetime",
        "parseDateStringToDateTime": "parseDateStringToDatetime",
        "getDifference": "getTimeDifference",
    }

    @staticmethod
    def convertDateStringToFormat(
        dateString: str, inputFormat: str, outputFormat: str, timezone: str | None = None
    ) -> str:
        """A date's text in another format. Its day changes only where the text itself names a zone."""
        found = _read(dateString, inputFormat)
        return formatted(found if found.tzinfo is None else _at(found, timezone), outputFormat)

    @staticmethod
    def convertDateToFormat(date: Any, outputFormat: str, timezone: str | None = None) -> str:
        """A date or datetime as text. A date is the same in every zone."""
        return formatted(_at(date, timezone) if isinstance(date, dt.datetime) else _whole(date), outputFormat)

    @staticmethod
    def convertDatetimeStringToFormat(
        datetimeString: str, inputFormat: str, outputFormat: str, timezone: str | None = None
    ) -> str:
        """A datetime's text in another format."""
        return formatted(_at(_read(datetimeString, inputFormat), timezone), outputFormat)

    @staticmethod
    def convertEpochToDate(epoch: Any, timezone: str | None = None) -> dt.date:
        """The day of an epoch in milliseconds (from 10^11 on) or seconds."""
        return _at(_moment(epoch), timezone).date()

    @staticmethod
    def convertEpochToDatetime(epoch: Any, timezone: str | None = None) -> dt.datetime:
        """The moment of an epoch."""
        return _at(_moment(epoch), timezone)

    @staticmethod
    def convertEpochToFormat(epoch: Any, outputFormat: str, timezone: str | None = None) -> str:
        """The moment of an epoch as text."""
        return formatted(_at(_moment(epoch), timezone), outputFormat)

    @staticmethod
    def convertEpochToTime(epoch: Any, timezone: str | None = None) -> dt.time:
        """The time of day of an epoch."""
        return _at(_moment(epoch), timezone).time()

    @staticmethod
    def getTimeDifference(start: Any, end: Any, unit: str = "milliseconds") -> int | float:
        """From start to end, which are dates, datetimes, epochs or two times of day; whole where it is."""
        size = _UNITS.get(unit.lower())
        if size is None:
            raise ValueError(f"there is no unit {unit!r}; use {', '.join(_UNITS)}")
        if isinstance(start, dt.time) != isinstance(end, dt.time):
            raise TypeError("a time of day has a difference to another time of day only")
        micros = (_any(end) - _any(start)) // _MICROSECOND
        return micros // size if micros % size == 0 else micros / size

    @staticmethod
    def parseDateStringToDate(dateString: str, format: str, timezone: str | None = None) -> dt.date:
        """The day that a text says."""
        return _told(dateString, format, timezone).date()

    @staticmethod
    def parseDateStringToDatetime(dateString: str, format: str, timezone: str | None = None) -> dt.datetime:
        """The moment that a text says, in UTC."""
        return as_utc(_read(dateString, format), timezone)

    @staticmethod
    def parseDateStringToTime(dateString: str, format: str, timezone: str | None = None) -> dt.time:
        """The time of day that a text says."""
        return _told(dateString, format, timezone).time()


def _read(text: str, pattern: str) -> dt.datetime:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  scripts pass anything
        raise TypeError(f"the date must be text, not {type(text).__name__}")
    return parsed(text, pattern)


def _told(text: str, pattern: str, timezone: str | None) -> dt.datetime:
    """What a text says; where it names a zone, as seen in ``timezone`` or UTC."""
    found = _read(text, pattern)
    return found if found.tzinfo is None else _at(found, timezone)


def _at(moment: dt.datetime, timezone: str | None) -> dt.datetime:
    """The moment as seen in the zone, or in UTC; one without a zone is in UTC."""
    there = zone(timezone) if timezone else UTC
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(there)


def _moment(epoch: Any) -> dt.datetime:
    if isinstance(epoch, bool) or not isinstance(epoch, (int, float, Decimal, str)):
        raise TypeError(f"an epoch must be a number, not {type(epoch).__name__}")
    try:
        number = Decimal(epoch) if isinstance(epoch, str) else epoch
        size = 1_000 if abs(number) >= _MILLISECONDS else 1_000_000
        return _EPOCH + dt.timedelta(microseconds=round(number * size))
    except (ValueError, ArithmeticError):
        raise ValueError(f"{epoch!r} is no epoch of the years 1 to 9999") from None


def _whole(value: Any) -> dt.datetime:
    """A date or datetime as a datetime. Raises TypeError for anything else."""
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    raise TypeError(f"this must be a date or a datetime, not {type(value).__name__}")


def _any(value: Any) -> dt.datetime:
    """A datetime, a date, a time of day (of one and the same day), or an epoch, as a moment."""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return _moment(value)
    if isinstance(value, dt.time):
        return as_utc(dt.datetime.combine(_EPOCH.date(), value), None)
    return as_utc(_whole(value), None)
