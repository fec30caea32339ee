"""What a run tells people about CleverTap: each thing once, names gathered by cause."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date

from millrace.connect.source import Context, Memory, Note
from millrace.data.batch import JSON, Mark
from millrace.errors import ConfigError
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.known import SEPARATOR, day_of
from millrace.sources.clevertap.planner import Unit, number
from millrace.sources.clevertap.state import Standings
from millrace.sources.clevertap.sweep import Sweep

# Parts, of no event, that all lanes share: the names of which it was told that they cannot be exported, a JSON array;
# and those of which it was told that CleverTap does not know them, each with the local day, a JSON object.
_TOLD = f"{SEPARATOR}not_exportable"
_TOLD_UNKNOWN = f"{SEPARATOR}invalid"


class Notes:
    """The notes of one source, for as long as it is there."""

    def __init__(self, config: Config, context: Context) -> None:
        self._config = config
        self._context = context
        self._said: set[tuple[str, str]] = set()

    def say(self, code: str, message: str, *, level: str = "warning") -> None:
        """The run has the note, once."""
        if (code, message) not in self._said:
            self._said.add((code, message))
            self._context.note(Note(code, message, level))

    def gone(self, days: dict[date, list[str]]) -> None:
        """Says which days are left out because their marks are gone: events by the first day that may be read."""
        for oldest, names in sorted(days.items()):
            self.say(
                "too_old_to_repeat",
                f"days before {oldest} are not read again of {some(dict.fromkeys(names))}: what was loaded of them "
                "is no longer known, so rows would be doubled in append mode",
            )

    def new(self, names: Sequence[str], first: date) -> None:
        """Says which events the pipeline does not know yet, or not any more, and from which day on they are read."""
        if names:
            self.say(
                "new_events",
                f"event names that are new to this pipeline, read from {first} on: {some(names)}. After a resync or a "
                "run with --full that is also a name that was not in the file then; `--since DAY` reads earlier days",
                level="info",
            )

    def another_zone(self, cursor: JSON) -> None:
        """Says that the time zone is another than that of the cursor, if it is."""
        if cursor is not None and cursor.get("tz") != self._config.timezone:
            self.say(
                "timezone_changed",
                f"the time zone was {cursor.get('tz')} and is {self._config.timezone} now: rows that were loaded "
                "before keep their times; a resync corrects them",
            )

    def another_project(self, was: str) -> None:
        """Says that the project is another than that of the cursor, so that all of its history is read."""
        self.say(
            "project_changed",
            f"the project was {was} and is {self._config.project_id} now: its history is read whole; rows of {was} "
            "stay in the table, unless a run with --full fills it anew",
        )

    def report(self, standings: Standings, sweep: Sweep, today: date, memory: Memory) -> Sequence[Mark]:
        """Notes of a lane, once all of it was read; the marks that say what was told.

        Raises ConfigError for names that CleverTap does not know, where the settings want that.
        """
        self._failures(sweep.tally.failures, today)
        marks = [*self._not_exportable(standings, sweep, memory), *self._unknown(sweep, today, memory)]
        tally = sweep.tally
        seen_before = any(day_of(part) for part in memory.parts())
        if tally.served and not (tally.read or tally.failures or tally.stopped or seen_before):
            self.say(
                "nothing_read",
                f"CleverTap served no event at all, and no error either. It does so for a wrong project ID too: check "
                f"{self._config.project_id!r} and the region {self._config.place.label}",
            )
        return marks

    def _failures(self, failures: dict[Unit, str], today: date) -> None:
        by_cause: dict[str, list[Unit]] = {}
        for unit, text in failures.items():
            by_cause.setdefault(text, []).append(unit)
        for text, units in by_cause.items():
            names = dict.fromkeys(unit.event for unit in units)
            first, last = min(unit.first for unit in units), max(unit.last for unit in units)
            self.say(
                "unit_failed",
                f"{some(names)}, {first} to {last}, not read to the end: {text}. The next run reads it again.",
                level="error",
            )
        if any("future" in text for text in by_cause):
            self.say(
                "today_refused",
                f"CleverTap takes {today} for the future: check the clock of this machine, and set `timezone` to the "
                "time zone of the project",
            )

    def _unknown(self, sweep: Sweep, today: date, memory: Memory) -> Sequence[Mark]:
        """Names that CleverTap does not know are asked for in each run, and told once a day."""
        unknown = sorted(sweep.tally.unknown)
        if unknown and self._config.on_invalid_event == "fail":
            raise ConfigError(
                f"CleverTap does not know these event names: {some(unknown)}",
                hint="Spelling and case must be exact. Correct the file, or set on_invalid_event: skip.",
                path="events_file",
                code="invalid_event",
            )
        before = {name: day for data in memory.recall(_TOLD_UNKNOWN) for name, day in json.loads(data).items()}
        told = {name for name, day in before.items() if day == number(today)}
        if new := [name for name in unknown if name not in told]:
            self.say(
                "invalid_event",
                f"CleverTap does not know these event names (spelling and case must be exact): {some(new)}",
            )
        now = dict.fromkeys(sorted(told.union(unknown) - sweep.tally.exported), number(today))
        data = json.dumps(now).encode() if now else None
        return () if now == before else (Mark(_TOLD_UNKNOWN, data, replace=True),)

    def _not_exportable(self, standings: Standings, sweep: Sweep, memory: Memory) -> Sequence[Mark]:
        """All lanes share what was told, so that a name is told once, and again only after it was served meanwhile."""
        told = {name for data in memory.recall(_TOLD) for name in json.loads(data)}
        refused = {name for name, known in standings.names.items() if known.status == "not_exportable"}
        if new := sorted(refused - told):
            self.say(
                "not_exportable",
                f"CleverTap does not export these events by its API (use its S3 export and an S3 source): {some(new)}",
            )
        now = (told | refused) - sweep.tally.exported
        return () if now == told else (Mark(_TOLD, json.dumps(sorted(now)).encode() if now else None, replace=True),)


def some(names: Iterable[str]) -> str:
    """The first twenty names, quoted, and how many more there are."""
    listed = [repr(name) for name in names]
    return ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
