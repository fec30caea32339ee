"""The CleverTap source: Events, read by name and days, and what else a project has, where a pipeline names it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from millrace.connect.frequency import Frequency
from millrace.connect.http.waits import Stopped
from millrace.connect.listed_names import ListedNames
from millrace.connect.source import Context, Count, Countable, Memory, Reading, Seen, Slice, Stream, Verdict
from millrace.connect.source import Source as AnySource
from millrace.data import columns
from millrace.data.batch import JSON, Checkpoint, Item, Lane, LoadMode, Mark
from millrace.errors import ConfigError
from millrace.sources.clevertap import campaigns, event_names, forgetting, listings, people, records, state
from millrace.sources.clevertap.client import CleverTap, Unanswered, as_error
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.known import Mode, history_part
from millrace.sources.clevertap.notes import Notes
from millrace.sources.clevertap.planner import (
    FREQUENCY,
    LEGACY_FREQUENCY,
    Unit,
    check_frequency,
    history,
    local_day,
    lookback,
    newest_first,
    windows,
    without,
)
from millrace.sources.clevertap.rows import OBJECTS, SCHEMA, STREAM, WHOLE_SCHEMA, event_type
from millrace.sources.clevertap.sweep import Outcome, Sweep

_LISTED = listings.STREAMS | campaigns.STREAMS


class Source(AnySource[Config]):
    """Events of a CleverTap project, as its Get Events API serves them.

    Rows are identified by what cannot change (name, device, time, properties), so days may be read again without
    doubling them. Source: https://developer.clevertap.com/docs/get-events-api
    """

    Config = Config
    title = "CleverTap"
    extras = OBJECTS

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._client: CleverTap | None = None
        self._notes = Notes(config, self.context)

    @classmethod
    def frequency(cls, *, legacy: bool = False) -> Frequency:
        return LEGACY_FREQUENCY if legacy else FREQUENCY

    @classmethod
    def check_frequency(cls, every_s: int, *, legacy: bool = False) -> None:
        check_frequency(every_s, legacy=legacy)

    def check(self) -> list[Verdict]:
        from millrace.sources.clevertap import checks

        with closing(CleverTap(self.config, self.context)) as client:
            return checks.verdicts(self.config, client, self._today())

    def listed_names(self) -> ListedNames:
        with closing(CleverTap(self.config, self.context)) as client:
            return event_names.preview(self.config, client)

    def streams(self) -> list[Stream]:
        return [
            Stream(
                STREAM,
                key=(columns.ID,),
                cursor_field="ts",
                schema=WHOLE_SCHEMA if self.config.include_profile_fields else SCHEMA,
                historical=True,
                table="events",
            ),
            Stream(people.PROFILES, key=(columns.ID,), schema=people.SCHEMA, historical=True),
            *_LISTED.values(),
        ]

    def read(self, reading: Reading) -> Iterator[Item]:
        names = [stream.name for stream in self.streams()]
        if reading.stream.name not in names:
            raise ConfigError(f"CleverTap has no stream {reading.stream.name!r}", hint=f"It has {', '.join(names)}.")
        if reading.stream.name in _LISTED:
            return self._list(reading)
        lanes: dict[Lane, Callable[[Reading], Iterator[Item]]] = {
            "incremental": self._follow,
            "historical": self._catch_up,
            "again": self._repeat,
        }
        return lanes[reading.lane](reading)

    def must_match(self, stream: Stream, cursor: JSON) -> None:
        if stream.name != STREAM or not isinstance(cursor, dict) or self._of_another_project(cursor):
            return
        if (was := cursor.get("tables", "one")) != self.config.tables:
            raise ConfigError(
                f"tables was {was} and is {self.config.tables} now: what was loaded would stay where it is, and what "
                "is read from now on would go elsewhere",
                hint=f"Set tables: {was} again, or fill the tables anew: millrace run PIPELINE --full.",
                path="tables",
            )
        identity = self.config.row_identity
        if (was := cursor.get("row_identity", identity)) != identity:
            raise ConfigError(
                f"row_identity was {was} and is {identity} now: rows that are read again would get other keys, and "
                "stand in the table twice",
                hint=f"Set row_identity: {was} again, or fill the table anew: millrace run PIPELINE --full.",
                path="row_identity",
            )

    def replay(self, reading: Reading, rows: Sequence[str]) -> Iterator[Item]:
        from millrace.sources.clevertap.retry import retried

        self.must_match(reading.stream, reading.followed)
        if (name := reading.stream.name) != STREAM:
            raws = [row.encode() for row in rows]
            found = people.rows_of(raws) if name == people.PROFILES else listings.rows_of(_LISTED[name], raws)
            which = records.mode(reading.lane, reading.load_mode)
            return records.retried(found, reading.memory, which, name, self.context.clock.now())
        mode = _mode(reading.lane, reading.load_mode)
        return retried(rows, self.config, memory=reading.memory, mode=mode, now=self.context.clock.now())

    def countable(self, stream: Stream) -> Countable | None:
        return Countable("event_name", "ts", self.config.timezone, event_type) if stream.name == STREAM else None

    def counts(self, stream: Stream, slices: Sequence[Slice], without: Collection[str] = ()) -> Iterator[Count]:
        del stream
        from millrace.sources.clevertap import counting

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
        from millrace.sources.clevertap import counting

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
        cursor = self._begun(reading)
        position = state.incremental(cursor, self.config.timezone)
        self._notes.another_zone(cursor)
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            names = self._names(client, warn=cursor is not None)
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
                        days=self.config.lookback_days,
                        every_hours=self.config.lookback_every_hours,
                        used_at=known.lookback_at,
                        deep_days=self.config.deep_lookback_days,
                        deep_on=known.deep_on,
                    )
                    tiers[name] = (short, deep)
                    first = min(local_day(known.mark, zone), today) - timedelta(days=back)
                    oldest = forgetting.oldest(reading, name)
                    if first < oldest:
                        gone.setdefault(oldest, []).append(name)
                        first = oldest
                    units += [Unit(name, *days) for days in windows(first, today, self.config.window_days)]
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

            sweep = self._sweep(client, reading, now, ends, lambda: self._cursor(reading, position), marks.get)
            yield from sweep.run(newest_first(units, names))
            told = self._notes.report(position.standings, sweep, today, reading.memory)
            pruned = forgetting.pruned(self.config, reading, position, now, sweep.holding)
            yield Checkpoint(self._cursor(reading, position), (*told, *pruned))

    def _catch_up(self, reading: Reading) -> Iterator[Item]:
        """The historical lane: the days before the pipeline began, window by window."""
        now = self.context.clock.now()
        today = local_day(now, self.config.zone)
        cursor = self._begun(reading)
        position = state.historical(cursor, self.config.timezone)
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            names = self._names(client)
            days = history(now, self.config.zone, self.config.historical_days)
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
                length = self.config.window_days
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
                    yield Checkpoint(self._cursor(reading, position), progress=1.0)
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

            sweep = self._sweep(client, reading, now, ends, lambda: self._cursor(reading, position), lambda _: None)
            yield from sweep.run(newest_first(units, names), done=done)
            told = self._notes.report(position.standings, sweep, today, reading.memory)
            yield Checkpoint(self._cursor(reading, position), tuple(told), progress=sweep.progress)

    def _repeat(self, reading: Reading) -> Iterator[Item]:
        """The lane "again": days that a person wants to have read once more."""
        self.must_match(reading.stream, reading.followed)
        now = self.context.clock.now()
        today = local_day(now, self.config.zone)
        appended = reading.load_mode == "append" and reading.stream.name == STREAM
        kept = today - timedelta(days=forgetting.kept_days(self.config)) if appended else date.min
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            wanted: dict[str, set[date]] = {}
            limits: dict[str, date] = {}
            gone: dict[date, list[str]] = {}
            for name, day in self._days(client, reading.slices):
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
            told = self._notes.report(standings, sweep, today, reading.memory)
            if told:
                yield Checkpoint(None, tuple(told))

    def _list(self, reading: Reading) -> Iterator[Item]:
        """What CleverTap lists: as a whole, or by days."""
        now, begun = self.context.clock.now(), self._begun(reading)
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            try:
                if reading.stream.name in listings.STREAMS:
                    yield from listings.catalogue(client, reading, now, {"v": state.VERSION} | self._project)
                else:
                    yield from campaigns.Campaigns(
                        client,
                        self.config,
                        reading,
                        now,
                        begun,
                        cursor=lambda position: self._cursor(reading, position),
                        say=self._notes.say,
                    ).read()
            except Unanswered as failure:
                raise (as_error(failure) or failure) from None
            except Stopped:
                return

    def _begun(self, reading: Reading) -> JSON:
        """The cursor to go on from; None where it tells of another project, whose past says nothing of this one's."""
        cursor = reading.cursor
        if isinstance(cursor, dict) and self._of_another_project(cursor):
            self._notes.another_project(cursor["project"])
            return None
        self.must_match(reading.stream, cursor)
        return cursor

    def _of_another_project(self, cursor: dict[str, Any]) -> bool:
        return cursor.get("project", self.config.project_id) != self.config.project_id

    def _cursor(self, reading: Reading, position: state.Incremental | state.Historical | campaigns.Position) -> JSON:
        own: dict[str, JSON] = {}
        if reading.stream.name == STREAM:
            # Cursors of earlier versions do not say it.
            each: dict[str, JSON] = {"tables": "each"} if self.config.tables == "each" else {}
            own = {"row_identity": self.config.row_identity} | each
        return position.as_json() | self._project | own

    @property
    def _project(self) -> dict[str, JSON]:
        return {"project": self.config.project_id}

    def _sweep(
        self,
        client: CleverTap,
        reading: Reading,
        now: datetime,
        ends: Callable[[Unit, Outcome, str], Sequence[Mark]],
        cursor: Callable[[], JSON],
        since: Callable[[str], datetime | None],
    ) -> Sweep:
        events = reading.stream.name == STREAM
        which = _mode if events else records.mode
        return (Sweep if events else people.PeopleSweep)(
            client,
            self.config,
            self.context,
            memory=reading.memory,
            mode=which(reading.lane, reading.load_mode),
            now=now,
            today=local_day(now, self.config.zone),
            since=since,
            ends=ends,
            cursor=cursor,
        )

    def _names(self, client: CleverTap, *, warn: bool = True) -> tuple[str, ...]:
        return event_names.to_read(self.config, client, self._notes.say, warn=warn)

    def _days(self, client: CleverTap, slices: Sequence[Slice]) -> Iterator[tuple[str, date]]:
        names = self._names(client, warn=False) if any(each.name is None for each in slices) else ()
        for each in slices:
            for name in (each.name,) if each.name is not None else names:
                for day in range((each.last - each.first).days + 1):
                    yield name, each.first + timedelta(days=day)

    def _today(self) -> date:
        return local_day(self.context.clock.now(), self.config.zone)


def _mode(lane: Lane, load_mode: LoadMode) -> Mode:
    """Which rows go on. What a person orders again is loaded again where that cannot double rows."""
    if load_mode == "append":
        return "copies"
    return "all" if lane == "again" else "changed"


def _tally(units: Sequence[Unit]) -> dict[str, int]:
    found: dict[str, int] = {}
    for unit in units:
        found[unit.event] = found.get(unit.event, 0) + 1
    return found
