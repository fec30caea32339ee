"""`TimeUtils` of scripts: dates, times and epochs. Source: transformations.md 2.5."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from .formats import as_utc, formatted, parsed, whole, zone
from .utils import _Listed  # pyright: ignore[reportPrivateUsage]  the two classes of the API are alike

_UTC = dt.timezone.utc  # noqa: UP017  `datetime.UTC` and this are one; this name is older

# An epoch of this size or more is in milliseconds, a smaller one in seconds.
_MILLISECONDS = 10**11

_UNITS = {"milliseconds": 0.001, "seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}


class TimeUtils(metaclass=_Listed):
    """Conversions between text, dates, times and epochs.

    Formats have Java's letters (`yyyy-MM-dd HH:mm:ss`), or strftime's where there is a `%`. Everything is UTC unless a
    ``timezone`` is named: text is read as being there, and moments are written as seen there. What cannot be read
    raises ValueError.
    """

    # Names that scripts may know these by.
    ALIASES: ClassVar[dict[str, str]] = {
        "convertDateStringToRequiredFormat": "convertDateStringToFormat",
        "convertDateToRequiredFormat": "convertDateToFormat",
        "convertDatetimeStringToRequiredFormat": "convertDatetimeStringToFormat",
        "convertDateTimeStringToFormat": "convertDatetimeStringToFormat",
        "convertEpochTimeToDate": "convertEpochToDate",
        "convertEpochTimeToDatetime": "convertEpochToDatetime",
        "convertEpochToDateTime": "convertEpochToDatetime",
        "convertEpochToRequiredFormat": "convertEpochToFormat",
        "convertEpochToTimeOfDay": "convertEpochToTime",
        "parseDateString": "parseDateStringToDate",
        "parseDateStringToDateTime": "parseDateStringToDatetime",
        "getDifference": "getTimeDifference",
    }

    @staticmethod
    def convertDateStringToFormat(
        dateString: str, inputFormat: str, outputFormat: str, timezone: str | None = None
    ) -> str:
        """A date's text in another format."""
        return _written(_read(dateString, inputFormat, timezone), outputFormat, timezone)

    @staticmethod
    def convertDateToFormat(date: Any, outputFormat: str, timezone: str | None = None) -> str:
        """A date or datetime as text."""
        return _written(whole(date, "the date"), outputFormat, timezone)

    @staticmethod
    def convertDatetimeStringToFormat(
        datetimeString: str, inputFormat: str, outputFormat: str, timezone: str | None = None
    ) -> str:
        """A datetime's text in another format."""
        return _written(_read(datetimeString, inputFormat, timezone), outputFormat, timezone)

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
        return _written(_moment(epoch), outputFormat, timezone)

    @staticmethod
    def convertEpochToTime(epoch: Any, timezone: str | None = None) -> dt.time:
        """The time of day of an epoch."""
        return _at(_moment(epoch), timezone).time()

    @staticmethod
    def getTimeDifference(start: Any, end: Any, unit: str = "milliseconds") -> int | float:
        """From start to end: whole where it is, in milliseconds, seconds, minutes, hours or days."""
        if unit.lower() not in _UNITS:
            raise ValueError(f"there is no unit {unit!r}; use {', '.join(_UNITS)}")
        seconds = (_any(end) - _any(start)).total_seconds()
        found = round(seconds * 1000, 3) if unit.lower() == "milliseconds" else seconds / _UNITS[unit.lower()]
        return int(found) if found == int(found) else found

    @staticmethod
    def parseDateStringToDate(dateString: str, format: str, timezone: str | None = None) -> dt.date:
        """The day that a text says."""
        del timezone
        return parsed(dateString, format).date()

    @staticmethod
    def parseDateStringToDatetime(dateString: str, format: str, timezone: str | None = None) -> dt.datetime:
        """The moment that a text says, in UTC."""
        return as_utc(parsed(dateString, format), timezone)

    @staticmethod
    def parseDateStringToTime(dateString: str, format: str, timezone: str | None = None) -> dt.time:
        """The time of day that a text says."""
        del timezone
        return parsed(dateString, format).time()


def _read(text: str, pattern: str, timezone: str | None) -> dt.datetime:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  scripts pass anything
        raise TypeError(f"the date must be text, not {type(text).__name__}")
    found = parsed(text, pattern)
    return found if found.tzinfo is not None or timezone is None else found.replace(tzinfo=zone(timezone))


def _written(moment: dt.datetime, pattern: str, timezone: str | None) -> str:
    return formatted(_at(moment, timezone) if moment.tzinfo is not None else moment, pattern)


def _at(moment: dt.datetime, timezone: str | None) -> dt.datetime:
    return moment.astimezone(zone(timezone)) if timezone else moment


def _moment(epoch: Any) -> dt.datetime:
    if isinstance(epoch, str):
        epoch = float(epoch) if "." in epoch else int(epoch)
    if isinstance(epoch, bool) or not isinstance(epoch, (int, float)):
        raise TypeError(f"an epoch must be a number, not {type(epoch).__name__}")
    span = dt.timedelta(milliseconds=epoch) if abs(epoch) >= _MILLISECONDS else dt.timedelta(seconds=epoch)
    return dt.datetime(1970, 1, 1, tzinfo=_UTC) + span


def _any(value: Any) -> dt.datetime:
    """A datetime, a date, or an epoch, as a moment."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _moment(value)
    return as_utc(whole(value, "a time"), None)
