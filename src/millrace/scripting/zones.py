"""Time zones by name, offset or abbreviation."""

from __future__ import annotations

import datetime as dt
import re

UTC = dt.timezone.utc  # noqa: UP017  `datetime.UTC` and this are one; this name is older
UTC_NAME = "Coordinated Universal Time"

# Minutes east of UTC of abbreviations, as Java reads them in English; some mean something else elsewhere.
_ABBREVIATIONS = {
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 60, "BST": 60, "CET": 60, "CEST": 120, "EET": 120, "EEST": 180,
    "MSK": 180, "IST": 330, "SGT": 480, "HKT": 480, "AWST": 480, "JST": 540, "KST": 540, "ACST": 570, "AEST": 600,
    "ACDT": 630, "AEDT": 660, "NZST": 720, "NZDT": 780, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300,
    "MST": -420, "MDT": -360, "PST": -480, "PDT": -420, "AKST": -540, "AKDT": -480, "HST": -600,
}  # fmt: skip


def zone(name: str) -> dt.tzinfo:
    """The time zone of that IANA name, offset (`+05:30`, `GMT+5`) or abbreviation. Raises ValueError for another."""
    if (minutes := _ABBREVIATIONS.get(name.upper())) is not None:
        return _east(minutes)
    if (match := re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d?)(?::?(\d\d))?", name, re.IGNORECASE)) is not None:
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes < 24 * 60 and int(match[3] or 0) < 60:
            return _east(-minutes if match[1] == "-" else minutes)
    elif name.lower() == UTC_NAME.lower():
        return UTC
    elif (found := _of_database(name)) is not None:
        return found
    raise ValueError(f"there is no time zone {name!r}; use a name like Europe/Berlin")


def _of_database(name: str) -> dt.tzinfo | None:
    # Its import takes time that most scripts need not wait for.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _east(minutes: int) -> dt.tzinfo:
    return dt.timezone(dt.timedelta(minutes=minutes)) if minutes else UTC
