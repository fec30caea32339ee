"""The CleverTap source: one stream, Events, read by name and days."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta

from millrace.connect.http.waits import Stopped
from millrace.connect.source import Context, Count, Countable, Memory, Note, Reading, Seen, Slice, Stream, Verdict
from millrace.connect.source import Source as AnySource
from millrace.data import columns
from millrace.data.batch import JSON, Checkpoint, Item, Lane, LoadMode, Mark
from millrace.errors import ConfigError, Transient
from millrace.sources.clevertap import checks, counting, events_file, state
from millrace.sources.clevertap.client import CleverTap, Unanswered, as_error
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.known import Mode, day_of, forgotten_before, forgotten_part, history_part
from millrace.sources.clevertap.planner import (
    Unit,
    check_frequency,
    day_from,
    history,
    local_day,
    lookback,
    newest_first,
    number,
    windows,
    without,
)
from millrace.sources.clevertap.retry import retried
from millrace.sources.clevertap.rows import SCHEMA, STREAM, WHOLE_SCHEMA
from millrace.sources.clevertap.sweep import Outcome, Sweep

# Days of marks that are kept beyond those that may be read again.
_SLACK_DAYS = 2


class Source(AnySource[Config]):
    """Events of a CleverTap project, as its Get Events API serves them.

    Rows are identified by what cannot change (name, device, time, properties), so days may be read again without
    doubling them. Source: https://developer.clevertap.com/docs/get-events-api
    """

    Config = Config
    title = "CleverTap"

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._client: CleverTap | None = None
        self._noted: set[tuple[str, str]] = set()

    @classmethod
    def check_frequency(cls, every_s: int, *, legacy: bool = False) -> None:
        check_frequency(every_s, legacy=legacy)

    def check(self) -> list[Verdict]:
        with closing(CleverTap(self.config, self.context)) as client:
            return checks.verdicts(self.config, client, self._today())

    def streams(self) -> list[Stream]:
        return [
            Stream(
                STREAM,
                key=(columns.ID,),
                cursor_field="ts",
                schema=WHOLE_SCHEMA if self.config.include_profile_fields else SCHEMA,
                historical=True,
                table="events",
            )
        ]

    def read(self, reading: Reading) -> Iterator[Item]:
        if reading.stream.name != STREAM:
            raise ConfigError(f"CleverTap has no stream {reading.stream.name!r}", hint=f"It has one: {STREAM}.")
        lanes: dict[Lane, Callable[[Reading], Iterator[Item]]] = {
            "incremental": self._follow,
            "historical": self._catch_up,
            "again": self._repeat,
        }
        return lanes[reading.lane](reading)

    def replay(self, reading: Reading, rows: Sequence[str]) -> Iterator[Item]:
        mode = _mode(reading.lane, reading.load_mode)
        return retried(rows, self.config, memory=reading.memory, mode=mode, now=self.context.clock.now())

    def countable(self, stream: Stream) -> Countable:
        del stream
        return Countable("event_name", "ts", self.config.timezone)

    def counts(self, stream: Stream, slices: Sequence[Slice], without: Collection[str] = ()) -> Iterator[Count]:
        del stream
        far = ""

        def awaiting(text: str) -> None:
            self.context.awaiting("; ".join(part for part in (text or (far and "counts"), far) if part))

        def tell(done: int, total: int) -> None:
            nonlocal far
            far = f"{done:,} of {total:,} counted" if done < total else ""
            awaiting("")

        with closing(CleverTap(self.config, replace(self.context, awaiting=awaiting))) as client:
            today = self._today()
            try:
                days = [each for each in self._days(client, slices) if each[1] <= today and each[0] not in without]
            except Stopped:
                return
            yield from counting.counts(client, self.config, days, tell)

    def seen(self, stream: Stream, memory: Memory, slices: Sequence[Slice]) -> Iterator[Seen]:
        del stream
        return counting.seen(memory, slices)

    def uncounted(self, stream: Stream, cursor: JSON) -> dict[str, str]:
        del stream
        if not isinstance(cursor, dict):
            return {}
        return {name: state.REASONS[known["status"]] for name, known in cursor.get("events", {}).items()}

    def close(self) -> None:
        if self._client is not None:
            self._client.abort()
            self._client.close()

    def _follow(self, reading: Reading) -> Iterator[Item]:
        """The incremental lane: since the last mark and somewhat before, up to now."""
        now = self.context.clock.now()
        today, zone = local_day(now, self.config.zone), self.config.zone
        position = state.incremental(reading.cursor, self.config.timezone)
        self._warn_of_another_zone(reading.cursor)
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            names = self._names(client, warn=reading.cursor is not None)
            units: list[Unit] = []
            fresh: list[str] = []
            tiers: dict[str, tuple[bool, bool]] = {}
            gone: dict[date, list[str]] = {}
            for name in names:
                known = position.events.get(name)
                if known is None:
                    fresh.append(name)
                    # Its history, which reaches up to now, is read by the other lane.
                    position.events[name] = state.Followed(now, now, today)
                elif not position.standings.rests(name, now):
                    back, short, deep = lookback(
                        now,
                        zone,
                        days=self.config.lookback_days,
                        every_hours=self.config.lookback_every_hours,
                        used_at=known.lookback_at,
                        deep_days=self.config.deep_lookback_days,
                        deep_on=known.deep_on,
                    )
                    tiers[name] = (short, deep)
                    first = min(local_day(known.mark, zone), today) - timedelta(days=back)
                    oldest = _oldest(reading, name)
                    if first < oldest:
                        gone.setdefault(oldest, []).append(name)
                        first = oldest
                    units += [Unit(name, *days) for days in windows(first, today, self.config.window_days)]
            self._note_gone(gone)
            if fresh and reading.cursor is not None:
                self._note("new_events", f"event names that are new to this pipeline: {_some(fresh)}", level="info")
            marks = {name: position.events[name].mark for name in tiers}
            left = _tally(units)

            def ends(unit: Unit, outcome: Outcome, text: str) -> Sequence[Mark]:
                known = position.events[unit.event]
                if outcome in ("invalid", "not_exportable"):
                    position.standings.refuse(unit.event, outcome, now)
                elif outcome in ("failed", "shortened"):
                    known.last_error = text
                elif outcome == "done":
                    position.standings.serve(unit.event)
                    left[unit.event] -= 1
                    if not left[unit.event]:
                        short, deep = tiers[unit.event]
                        position.events[unit.event] = state.Followed(
                            max(now, known.mark), now if short else known.lookback_at, today if deep else known.deep_on
                        )
                return ()

            sweep = self._sweep(client, reading, now, ends, lambda: position.as_json(), marks.get)
            yield from sweep.run(newest_first(units, names))
            self._report(position.standings, sweep, today, reading.memory)
            yield Checkpoint(position.as_json(), tuple(self._pruned(reading.memory, position, now)))

    def _catch_up(self, reading: Reading) -> Iterator[Item]:
        """The historical lane: the days before the pipeline began, window by window."""
        now = self.context.clock.now()
        today = local_day(now, self.config.zone)
        position = state.historical(reading.cursor, self.config.timezone)
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            names = self._names(client)
            days = history(now, self.config.zone, self.config.historical_days)
            units: list[Unit] = []
            done = 0
            gone: dict[date, list[str]] = {}
            for name in names:
                past = position.events.get(name)
                if past is None or name in position.standings.names:
                    # Where CleverTap has served nothing yet, the past is the one before this run.
                    past = position.events[name] = state.Past(days)
                oldest = _oldest(reading, name)
                if past.days[0] < oldest:
                    before = (past.days[0], min(past.days[1], oldest - timedelta(days=1)))
                    if without(before, past.done):
                        gone.setdefault(oldest, []).append(name)
                        past.finish(before)
                length = self.config.window_days
                done += sum(len(windows(*stretch, length)) for stretch in past.done)
                if not position.standings.rests(name, now):
                    for stretch in without(past.days, past.done):
                        units += [Unit(name, *window) for window in windows(*stretch, length)]
            self._note_gone(gone)
            if not units:
                if reading.cursor is None or not reading.cursor["historical"]["complete"]:
                    yield Checkpoint(position.as_json(), progress=1.0)
                return

            def ends(unit: Unit, outcome: Outcome, text: str) -> Sequence[Mark]:
                del text
                if outcome in ("invalid", "not_exportable"):
                    position.standings.refuse(unit.event, outcome, now)
                elif outcome == "done":
                    position.standings.serve(unit.event)
                    past = position.events[unit.event]
                    past.finish((unit.first, unit.last))
                    if past.complete:
                        return (Mark(history_part(unit.event), b"1", replace=True),)
                return ()

            sweep = self._sweep(client, reading, now, ends, lambda: position.as_json(), lambda _: None)
            yield from sweep.run(newest_first(units, names), done=done)
            self._report(position.standings, sweep, today, reading.memory)
            yield Checkpoint(position.as_json(), progress=sweep.progress)

    def _repeat(self, reading: Reading) -> Iterator[Item]:
        """The lane "again": days that a person wants to have read once more."""
        now = self.context.clock.now()
        today = local_day(now, self.config.zone)
        kept = today - timedelta(days=self._kept_days) if reading.load_mode == "append" else date.min
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            wanted: dict[str, set[date]] = {}
            limits: dict[str, date] = {}
            gone: dict[date, list[str]] = {}
            for name, day in self._days(client, reading.slices):
                if day > today:
                    continue
                if name not in limits:
                    limits[name] = max(kept, _oldest(reading, name))
                if day < limits[name]:
                    gone.setdefault(limits[name], []).append(name)
                    continue
                wanted.setdefault(name, set()).add(day)
            self._note_gone(gone)
            units = [
                Unit(name, *window)
                for name, days in wanted.items()
                for stretch in state.joined((day, day) for day in days)
                for window in windows(*stretch, self.config.window_days)
            ]
            standings = state.Standings()

            def ends(unit: Unit, outcome: Outcome, text: str) -> Sequence[Mark]:
                del text
                if outcome in ("invalid", "not_exportable"):
                    standings.refuse(unit.event, outcome, now)
                return ()

            sweep = self._sweep(client, reading, now, ends, lambda: None, lambda _: None)
            yield from sweep.run(newest_first(units, tuple(wanted)))
            self._report(standings, sweep, today, reading.memory)

    def _sweep(
        self,
        client: CleverTap,
        reading: Reading,
        now: datetime,
        ends: Callable[[Unit, Outcome, str], Sequence[Mark]],
        cursor: Callable[[], JSON],
        since: Callable[[str], datetime | None],
    ) -> Sweep:
        return Sweep(
            client,
            self.config,
            self.context,
            memory=reading.memory,
            mode=_mode(reading.lane, reading.load_mode),
            now=now,
            today=local_day(now, self.config.zone),
            since=since,
            ends=ends,
            cursor=cursor,
        )

    def _names(self, client: CleverTap, *, warn: bool = True) -> tuple[str, ...]:
        """The names to read now, in order: those of the file, then those of the schema."""
        names: dict[str, None] = {}
        discarded: list[str] = []
        if self.config.event_source != "schema" and self.config.events_file:
            listed = events_file.load(self.config.events_file)
            names.update(dict.fromkeys(listed.names))
            discarded += listed.discarded
        if self.config.event_source != "file":
            try:
                catalogue = client.schema()
            except (Unanswered, Transient) as failure:
                error = as_error(failure) or failure
                if self.config.event_source == "schema":
                    raise error from None
                self._note("schema_unread", f"CleverTap's list of events could not be read: {error}")
                catalogue = []
            discarded += [entry["name"] for entry in catalogue if str(entry.get("status")).lower() == "discarded"]
            names.update(dict.fromkeys(entry["name"] for entry in catalogue))
        if warn and discarded:
            self._note("discarded", f"discarded in CleverTap, so nothing new comes: {_some(dict.fromkeys(discarded))}")
        return tuple(names)

    def _days(self, client: CleverTap, slices: Sequence[Slice]) -> Iterator[tuple[str, date]]:
        names = self._names(client, warn=False) if any(each.name is None for each in slices) else ()
        for each in slices:
            for name in (each.name,) if each.name is not None else names:
                for day in range((each.last - each.first).days + 1):
                    yield name, each.first + timedelta(days=day)

    @property
    def _kept_days(self) -> int:
        """How many days back marks are kept: those of the history and those that a look-back reads before them."""
        deepest = max(self.config.lookback_days, self.config.deep_lookback_days)
        return self.config.historical_days + deepest + _SLACK_DAYS

    def _pruned(self, memory: Memory, position: state.Incremental, now: datetime) -> Iterator[Mark]:
        """Marks that forget days which no read will see again. Days of a history not yet complete are kept.

        With them goes, for each event, the day before which they are gone: changed settings may ask for those days.
        """
        oldest = local_day(now, self.config.zone) - timedelta(days=self._kept_days)
        deepest = timedelta(days=max(self.config.lookback_days, self.config.deep_lookback_days) + 1)
        parts = memory.parts()
        complete = set(parts)
        limits: dict[str, int] = {}
        for part in parts:
            found = day_of(part)
            if found is None or history_part(found[0]) not in complete:
                continue
            known = position.events.get(found[0])
            limit = min(oldest, local_day(known.mark, self.config.zone) - deepest) if known else oldest
            if found[1] < number(limit):
                limits[found[0]] = number(limit)
                yield Mark(part, None, replace=True)

        for event, day in limits.items():
            if day > forgotten_before(event, memory):
                yield Mark(forgotten_part(event), b"%08d" % day, replace=True)

    def _note_gone(self, gone: dict[date, list[str]]) -> None:
        """Says which days are left out because their marks are gone: events by the first day that may be read."""
        for oldest, names in sorted(gone.items()):
            self._note(
                "too_old_to_repeat",
                f"days before {oldest} are not read again of {_some(dict.fromkeys(names))}: what was loaded of them "
                "is no longer known, so rows would be doubled in append mode",
            )

    def _report(self, standings: state.Standings, sweep: Sweep, today: date, memory: Memory) -> None:
        """Notes of a run, once all of it was read."""
        by_cause: dict[str, list[Unit]] = {}
        for unit, text in sweep.tally.failures.items():
            by_cause.setdefault(text, []).append(unit)
        for text, units in by_cause.items():
            names = dict.fromkeys(unit.event for unit in units)
            first, last = min(unit.first for unit in units), max(unit.last for unit in units)
            self._note(
                "unit_failed",
                f"{_some(names)}, {first} to {last}, not read to the end: {text}. The next run reads it again.",
                level="error",
            )
        if any("future" in text for text in by_cause):
            self._note(
                "today_refused",
                f"CleverTap takes {today} for the future: check the clock of this machine, and set `timezone` to the "
                "time zone of the project",
            )
        if refused := standings.unreported("not_exportable", today):
            self._note(
                "not_exportable",
                "CleverTap does not export these events by its API (use its S3 export and an S3 source): "
                + _some(sorted(refused)),
            )
        if unknown := standings.unreported("invalid", today):
            if self.config.on_invalid_event == "fail":
                raise ConfigError(
                    f"CleverTap does not know these event names: {_some(unknown)}",
                    hint="Spelling and case must be exact. Correct the file, or set on_invalid_event: skip.",
                    path="events_file",
                    code="invalid_event",
                )
            self._note(
                "invalid_event",
                "CleverTap does not know these event names (spelling and case must be exact): "
                + _some(sorted(unknown)),
            )
        tally = sweep.tally
        seen_before = any(day_of(part) for part in memory.parts())
        if tally.served and not (tally.read or tally.failures or tally.stopped or seen_before):
            self._note(
                "nothing_read",
                f"CleverTap served no event at all, and no error either. It does so for a wrong project ID too: check "
                f"{self.config.project_id!r} and the region {self.config.place.label}",
            )

    def _warn_of_another_zone(self, cursor: JSON) -> None:
        if cursor is not None and cursor.get("tz") != self.config.timezone:
            self._note(
                "timezone_changed",
                f"the time zone was {cursor.get('tz')} and is {self.config.timezone} now: rows that were loaded before "
                "keep their times; a resync corrects them",
            )

    def _note(self, code: str, message: str, *, level: str = "warning") -> None:
        if (code, message) not in self._noted:
            self._noted.add((code, message))
            self.context.note(Note(code, message, level))

    def _today(self) -> date:
        return local_day(self.context.clock.now(), self.config.zone)


def _mode(lane: Lane, load_mode: LoadMode) -> Mode:
    """Which rows go on. What a person orders again is loaded again where that cannot double rows."""
    if load_mode == "append":
        return "copies"
    return "all" if lane == "again" else "changed"


def _oldest(reading: Reading, event: str) -> date:
    """The first day of an event that may be read without doubling rows. A new event has forgotten nothing."""
    before = forgotten_before(event, reading.memory) if reading.load_mode == "append" else 0
    return day_from(before) if before else date.min


def _tally(units: Sequence[Unit]) -> dict[str, int]:
    found: dict[str, int] = {}
    for unit in units:
        found[unit.event] = found.get(unit.event, 0) + 1
    return found


def _some(names: Iterator[str] | Sequence[str] | dict[str, None]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
