"""The CleverTap source: Events, read by name and days, and what else a project has, where a pipeline names it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import Any

from millrace.connect.frequency import Frequency
from millrace.connect.http.waits import Stopped
from millrace.connect.listed_names import ListedNames
from millrace.connect.source import Context, Count, Countable, Memory, Reading, Seen, Slice, Stream, Verdict
from millrace.connect.source import Source as AnySource
from millrace.data import columns
from millrace.data.batch import JSON, Item
from millrace.errors import ConfigError
from millrace.sources.clevertap import campaigns, event_names, lanes, listings, people, records, state
from millrace.sources.clevertap.client import CleverTap, Unanswered, as_error
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.notes import Notes
from millrace.sources.clevertap.planner import (
    FREQUENCY,
    LEGACY_FREQUENCY,
    check_frequency,
    local_day,
)
from millrace.sources.clevertap.rows import OBJECTS, SCHEMA, STREAM, WHOLE_SCHEMA, event_type

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
        return self._walk(reading)

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
        mode = lanes.mode(reading.lane, reading.load_mode)
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
                days = [
                    each
                    for each in event_names.by_day(self.config, client, slices, self._notes.say)
                    if each[1] <= today and each[0] not in without
                ]
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

    def _walk(self, reading: Reading) -> Iterator[Item]:
        """Events, or people, by units."""
        if reading.lane == "again":
            self.must_match(reading.stream, reading.followed)
        cursor = None if reading.lane == "again" else self._begun(reading)
        with closing(CleverTap(self.config, self.context)) as client:
            self._client = client
            read = lanes.Lanes(
                client,
                self.config,
                self.context,
                self._notes,
                reading,
                cursor=lambda position: self._cursor(reading, position),
            )
            if reading.lane == "again":
                yield from read.repeat()
            else:
                yield from read.follow(cursor) if reading.lane == "incremental" else read.catch_up(cursor)

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

    def _today(self) -> date:
        return local_day(self.context.clock.now(), self.config.zone)
