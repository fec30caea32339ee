"""Which alerts somebody wants to hear of, and when not: of a channel, and of a user (pipelines.md 16.1)."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from millrace.control.alerting.alert_events import CATEGORIES, SEVERITIES, Category, Severity
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of every day, by the clocks of a time zone, in which only CRITICAL alerts are sent. Others wait.

    ``start`` and ``end`` are HH:MM; where the end comes before the start, it is that of the next day.
    """

    start: str
    end: str
    time_zone: str = "UTC"

    def until(self, now: datetime) -> datetime | None:
        """When they end, if it is quiet now."""
        zone = ZoneInfo(self.time_zone)
        here = now.astimezone(zone)
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        at = here.time()
        inside = start <= at < end if start < end else at >= start or at < end
        if not inside:
            return None
        day = here.date() if at < end else here.date() + timedelta(days=1)
        return datetime.combine(day, end, zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Alerts of these ``categories`` and of the severity ``least`` and above. None: all but those of every load."""

    categories: tuple[Category, ...] | None = None
    least: Severity = "INFO"
    quiet: Quiet | None = None

    def wants(self, category: Category, severity: Severity) -> bool:
        """Whether it is sent at all."""
        chosen = category != "load" if self.categories is None else category in self.categories
        return chosen and SEVERITIES.index(severity) >= SEVERITIES.index(self.least)

    def due(self, severity: Severity, now: datetime) -> datetime:
        """When it is sent: now, or when the quiet hours end."""
        if self.quiet is None or severity == "CRITICAL":
            return now
        return self.quiet.until(now) or now

    def to_json(self) -> dict[str, Any]:
        quiet = self.quiet
        return {
            "categories": None if self.categories is None else list(self.categories),
            "least": self.least,
            "quiet": None if quiet is None else {"start": quiet.start, "end": quiet.end, "time_zone": quiet.time_zone},
        }


EVERYTHING = Wanted()


def from_json(value: Any) -> Wanted:
    """What `Wanted.to_json` wrote. Categories that are no more are left out."""
    if not value:
        return EVERYTHING
    chosen = value.get("categories")
    quiet = value.get("quiet")
    return Wanted(
        categories=None if chosen is None else tuple(one for one in CATEGORIES if one in chosen),
        least=value.get("least", "INFO"),
        quiet=Quiet(**quiet) if quiet else None,
    )


def checked(wanted: Wanted) -> Wanted:
    """The wish, when it can be one. Raises ConfigError."""
    quiet = wanted.quiet
    if quiet is None:
        return wanted
    for name, text in (("start", quiet.start), ("end", quiet.end)):
        try:
            moment = time.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or text != f"{moment:%H:%M}":
            raise ConfigError(f"{text[:20]!r} is no time of a day", hint="Write it like 22:00.", path=f"quiet.{name}")
    if quiet.start == quiet.end:
        raise ConfigError("quiet hours cannot begin and end at the same time", path="quiet")
    try:
        ZoneInfo(quiet.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"there is no time zone {quiet.time_zone[:60]!r}",
            hint="Write it like Europe/Berlin.",
            path="quiet.time_zone",
        ) from None
    return wanted
