"""How far each lane is, as one JSON document per lane. Counts of rows live in marks, not here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from datetime import date, datetime, timedelta
from typing import Literal

from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError
from millrace.sources.clevertap.planner import Days, day_from, joined, number

VERSION = 1
_RETRY_EXPORT = timedelta(days=7)

Trouble = Literal["invalid", "not_exportable"]
REASONS: dict[str, str] = {
    "invalid": "CleverTap does not know this event name (spelling and case must be exact)",
    "not_exportable": "CleverTap does not export this event by its API; use its S3 export and an S3 source",
}


@dataclass(slots=True)
class Standing:
    """What CleverTap said of a name that it did not serve."""

    status: Trouble
    since: datetime
    tried: datetime


@dataclass(slots=True)
class Standings:
    """Names that were not served, by name."""

    names: dict[str, Standing] = field(default_factory=dict[str, Standing])

    def refuse(self, name: str, status: Trouble, now: datetime) -> None:
        known = self.names.get(name)
        if known is not None and known.status == status:
            known.tried = now
        else:
            self.names[name] = Standing(status, now, now)

    def serve(self, name: str) -> None:
        self.names.pop(name, None)

    def rests(self, name: str, now: datetime) -> bool:
        """Whether a name is not worth a request now: exports that were refused are tried again after a week."""
        known = self.names.get(name)
        return known is not None and known.status == "not_exportable" and now - known.tried < _RETRY_EXPORT

    def as_json(self) -> JSON:
        return {
            name: {"status": known.status, "since": _moment(known.since), "tried": _moment(known.tried)}
            for name, known in self.names.items()
        }


@dataclass(slots=True)
class Followed:
    """How far an event is followed: all that CleverTap had at ``mark`` has been read."""

    mark: datetime
    lookback_at: datetime
    deep_on: date
    last_error: str | None = None


@dataclass(slots=True)
class Incremental:
    """State of the incremental lane."""

    timezone: str
    events: dict[str, Followed] = field(default_factory=dict[str, Followed])
    standings: Standings = field(default_factory=Standings)

    def as_json(self) -> JSON:
        deep = [known.deep_on for known in self.events.values()]
        return {
            "v": VERSION,
            "tz": self.timezone,
            "incremental": {
                name: {
                    "committed_run_start": _moment(known.mark),
                    "lookback_at": _moment(known.lookback_at),
                    "deep_done_on": number(known.deep_on),
                    "last_error": known.last_error,
                }
                for name, known in self.events.items()
            },
            "deep_done_on": number(min(deep)) if deep else None,
            "events": self.standings.as_json(),
        }


@dataclass(slots=True)
class Past:
    """The history of an event: which days it has, and which of them were read to the end."""

    days: Days
    done: list[Days] = field(default_factory=list[Days])

    def finish(self, days: Days) -> None:
        self.done = joined([*self.done, days])

    @property
    def complete(self) -> bool:
        return self.done == [self.days]


@dataclass(slots=True)
class Historical:
    """State of the historical lane."""

    timezone: str
    events: dict[str, Past] = field(default_factory=dict[str, Past])
    standings: Standings = field(default_factory=Standings)

    def as_json(self) -> JSON:
        pasts = self.events.values()
        return {
            "v": VERSION,
            "tz": self.timezone,
            "historical": {
                "from": number(min(past.days[0] for past in pasts)) if pasts else None,
                "to": number(max(past.days[1] for past in pasts)) if pasts else None,
                "ranges": {name: _written([past.days])[0] for name, past in self.events.items()},
                "done_units": {name: _written(past.done) for name, past in self.events.items() if past.done},
                "complete": all(past.complete or name in self.standings.names for name, past in self.events.items()),
            },
            "events": self.standings.as_json(),
        }


def incremental(cursor: JSON, timezone: str) -> Incremental:
    """The state that a cursor of the incremental lane holds; an empty one for None."""
    if cursor is None:
        return Incremental(timezone)
    try:
        same_version(cursor)
        return Incremental(
            timezone,
            {
                name: Followed(
                    datetime.fromisoformat(known["committed_run_start"]),
                    datetime.fromisoformat(known["lookback_at"]),
                    day_from(known["deep_done_on"]),
                    known["last_error"],
                )
                for name, known in cursor["incremental"].items()
            },
            _standings(cursor["events"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(error) from None


def historical(cursor: JSON, timezone: str) -> Historical:
    """The state that a cursor of the historical lane holds; an empty one for None."""
    if cursor is None:
        return Historical(timezone)
    try:
        same_version(cursor)
        done = cursor["historical"]["done_units"]
        return Historical(
            timezone,
            {
                name: Past(_read([days])[0], _read(done.get(name, ())))
                for name, days in cursor["historical"]["ranges"].items()
            },
            _standings(cursor["events"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(error) from None


def _standings(written: JSON) -> Standings:
    return Standings(
        {
            name: Standing(
                known["status"], datetime.fromisoformat(known["since"]), datetime.fromisoformat(known["tried"])
            )
            for name, known in written.items()
        }
    )


def same_version(cursor: JSON) -> None:
    if cursor["v"] != VERSION:
        raise ValueError(f"version {cursor['v']}")


def unreadable(error: Exception) -> ConfigError:
    return ConfigError(
        f"the saved position of this CleverTap pipeline cannot be read ({type(error).__name__}: {error})",
        hint="It was written by another version of Millrace. Use that one, or resync the pipeline.",
        code="cursor",
    )


def _moment(moment: datetime) -> str:
    return moment.isoformat()


def _written(days: Iterable[Days]) -> list[list[int]]:
    return [[number(first), number(last)] for first, last in days]


def _read(written: Iterable[list[int]]) -> list[Days]:
    return [(day_from(first), day_from(last)) for first, last in written]
