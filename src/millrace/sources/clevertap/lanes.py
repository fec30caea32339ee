"""The lanes of events and of people, by units: what is new, what was before, and what somebody wants once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

from millrace.connect.source import Context, Reading
from millrace.data.batch import JSON, Checkpoint, Item, Lane, LoadMode, Mark
from millrace.sources.clevertap import event_names, forgetting, people, records, state
from millrace.sources.clevertap.client import CleverTap
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.known import Mode, history_part
from millrace.sources.clevertap.notes import Notes
from millrace.sources.clevertap.planner import Unit, history, local_day, lookback, newest_first, windows, without
from millrace.sources.clevertap.rows import STREAM
from millrace.sources.clevertap.sweep import Outcome, Sweep


class Lanes:
    """Reads a stream of units. ``cursor`` gives a position the form in which it is kept."""

    def __init__(
        self,
        client: CleverTap,
        config: Config,
        context: Context,
        notes: Notes,
        reading: Reading,
        *,
        cursor: Callable[[state.Incremental | state.Historical], JSON],
    ) -> None:
        self._client = client
        self._config = config
        self._context = context
        self._notes = notes
        self._reading = reading
        self._cursor = cursor
        self._now = context.clock.now()
        self._today = local_day(self._now, config.zone)

    def follow(self, cursor: JSON) -> Iterator[Item]:
        """The incremental lane: since the last mark and somewhat before, up to now."""
        reading, now, today, zone = self._reading, self._now, self._today, self._config.zone
        position = state.incremental(cursor, self._config.timezone)
        self._notes.another_zone(cursor)
        names = self._names(warn=cursor is not None)
        units: list[Unit] = []
        tiers: dict[str, tuple[bool, bool]] = {}
        gone: dict[date, list[str]] = {}
        for name in names:
            known = position.events.get(name)
            if known is None:
                # Its history, which reaches up to now, is read by the other lane.
                position.events[name] = state.Followed(now, now, today)
            elif not position.standings.rests(name, now):
                back, short, deep = lookback(
                    now,
                    zone,
                    days=self._config.lookback_days,
                    every_hours=self._config.lookback_every_hours,
                    used_at=known.lookback_at,
                    deep_days=self._config.deep_lookback_days,
                    deep_on=known.deep_on,
                )
                tiers[name] = (short, deep)
                first = min(local_day(known.mark, zone), today) - timedelta(days=back)
                oldest = forgetting.oldest(reading, name)
                if first < oldest:
                    gone.setdefault(oldest, []).append(name)
                    first = oldest
                units += [Unit(name, *days) for days in windows(first, today, self._config.window_days)]
        self._notes.gone(gone)
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

        sweep = self._sweep(ends, lambda: self._cursor(position), marks.get)
        yield from sweep.run(newest_first(units, names))
        told = self._notes.report(position.standings, sweep, self._today, reading.memory)
        pruned = forgetting.pruned(self._config, reading, position, now, sweep.holding)
        yield Checkpoint(self._cursor(position), (*told, *pruned))

    def catch_up(self, cursor: JSON) -> Iterator[Item]:
        """The historical lane: the days before the pipeline began, window by window."""
        reading, now = self._reading, self._now
        position = state.historical(cursor, self._config.timezone)
        names = self._names()
        days = history(now, self._config.zone, self._config.historical_days)
        units: list[Unit] = []
        fresh: list[str] = []
        done = 0
        gone: dict[date, list[str]] = {}
        for name in names:
            past = position.events.get(name)
            if past is None:
                fresh.append(name)
                past = position.events[name] = state.Past(days)
            oldest = forgetting.oldest(reading, name)
            if past.days[0] < oldest:
                before = (past.days[0], min(past.days[1], oldest - timedelta(days=1)))
                if without(before, past.done):
                    gone.setdefault(oldest, []).append(name)
                    past.finish(before)
            length = self._config.window_days
            done += sum(len(windows(*stretch, length)) for stretch in past.done)
            if not position.standings.rests(name, now):
                for stretch in without(past.days, past.done):
                    units += [Unit(name, *window) for window in windows(*stretch, length)]
        self._notes.gone(gone)
        if cursor is not None:
            self._notes.new(fresh, days[0])
        if not units:
            # A cursor of an earlier version does not name its project yet.
            if cursor is None or not cursor["historical"]["complete"] or "project" not in cursor:
                yield Checkpoint(self._cursor(position), progress=1.0)
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

        sweep = self._sweep(ends, lambda: self._cursor(position), lambda _: None)
        yield from sweep.run(newest_first(units, names), done=done)
        told = self._notes.report(position.standings, sweep, self._today, reading.memory)
        yield Checkpoint(self._cursor(position), tuple(told), progress=sweep.progress)

    def repeat(self) -> Iterator[Item]:
        """The lane "again": days that a person wants to have read once more."""
        reading, now, today = self._reading, self._now, self._today
        appended = reading.load_mode == "append" and reading.stream.name == STREAM
        kept = today - timedelta(days=forgetting.kept_days(self._config)) if appended else date.min
        wanted: dict[str, set[date]] = {}
        limits: dict[str, date] = {}
        gone: dict[date, list[str]] = {}
        for name, day in event_names.by_day(self._config, self._client, reading.slices, self._notes.say):
            if day > today:
                continue
            if name not in limits:
                limits[name] = max(kept, forgetting.oldest(reading, name))
            if day < limits[name]:
                gone.setdefault(limits[name], []).append(name)
                continue
            wanted.setdefault(name, set()).add(day)
        self._notes.gone(gone)
        units = [
            Unit(name, *window)
            for name, days in wanted.items()
            for stretch in state.joined((day, day) for day in days)
            for window in windows(*stretch, self._config.window_days)
        ]
        standings = state.Standings()

        def ends(unit: Unit, outcome: Outcome, text: str) -> Sequence[Mark]:
            del text
            if outcome in ("invalid", "not_exportable"):
                standings.refuse(unit.event, outcome, now)
            return ()

        sweep = self._sweep(ends, lambda: None, lambda _: None)
        yield from sweep.run(newest_first(units, tuple(wanted)))
        told = self._notes.report(standings, sweep, self._today, reading.memory)
        if told:
            yield Checkpoint(None, tuple(told))

    def _sweep(
        self,
        ends: Callable[[Unit, Outcome, str], Sequence[Mark]],
        cursor: Callable[[], JSON],
        since: Callable[[str], datetime | None],
    ) -> Sweep:
        reading = self._reading
        events = reading.stream.name == STREAM
        which = mode if events else records.mode
        # Where each state of a person is a row, those rows must not depend on which of several answers comes first.
        at_once = {} if events or reading.load_mode == "merge" else {"max_concurrency": 1}
        return (Sweep if events else people.PeopleSweep)(
            self._client,
            self._config.model_copy(update=at_once),
            self._context,
            memory=reading.memory,
            mode=which(reading.lane, reading.load_mode),
            now=self._now,
            today=self._today,
            since=since,
            ends=ends,
            cursor=cursor,
        )

    def _names(self, *, warn: bool = True) -> tuple[str, ...]:
        return event_names.to_read(self._config, self._client, self._notes.say, warn=warn)


def mode(lane: Lane, load_mode: LoadMode) -> Mode:
    """Which rows go on. What a person orders again is loaded again where that cannot double rows."""
    if load_mode == "append":
        return "copies"
    return "all" if lane == "again" else "changed"


def _tally(units: Sequence[Unit]) -> dict[str, int]:
    found: dict[str, int] = {}
    for unit in units:
        found[unit.event] = found.get(unit.event, 0) + 1
    return found
