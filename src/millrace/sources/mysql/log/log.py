"""The binary log of one server as one pipeline follows it: of one database, up to where it ends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from millrace.connect.log import Following, expired
from millrace.connect.log import Log as AnyLog
from millrace.connect.mysql.server import opened
from millrace.connect.mysql.session import Session
from millrace.connect.source import Context, Note, Retention, Stream
from millrace.connect.sql.reading import objects
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.errors import Transient
from millrace.sources.mysql.catalog import Described
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.database import TITLE, connected
from millrace.sources.mysql.log import columns, moving, server
from millrace.sources.mysql.log.charsets import Charsets
from millrace.sources.mysql.log.place import Place
from millrace.sources.mysql.log.presence import present
from millrace.sources.mysql.log.reading import Position, Read
from millrace.sources.mysql.log.tracking import Tracking
from millrace.sources.mysql.log.wire import FORMAT, KIND, Dump, when

_TRIES = 20


def followed(described: Mapping[str, Described], streams: Sequence[Stream]) -> list[Stream]:
    """Those of the streams whose changes are in the log row by row: tables, not views."""
    return [
        replace(stream, key=described[stream.name].relation.identity, cursor_field=None, deletes=True)
        for stream in streams
        if not described[stream.name].view and described[stream.name].logged
    ]


class Log(AnyLog):
    """Changes of one database. ``described``: asks the catalogue for tables and their columns."""

    def __init__(self, config: Config, context: Context, described: Callable[[], Mapping[str, Described]]) -> None:
        self.config, self.context, self.described = config, context, described
        self.where = config.place(TITLE)
        self._behind_s: float | None = None
        self._kept_s: float | None = None

    def follow(self, following: Following) -> Iterator[Item]:
        with connected(self.config, self.context) as (session, _):
            if following.cursor is None:
                yield Checkpoint(self._begin(session))
                return
            position = Position.of(following.cursor)
            if server.identity(session) != position.server:
                raise expired(f"{self.where} is another server than the one that was followed")
            described = self.described()
            self._say(following, described)
            tracking = self.tracking(session, following.cursor)
            target = server.end(session, self.where, self.config.db_name)
            reading = Read(self, session, following, described, tracking, position, target)
            yield from reading.changes()
            self._kept_s = server.kept_s(session)
            self._behind_s = 0.0 if reading.at_end else None
            if not reading.at_end and reading.told_s:
                self._behind_s = float(server.now_s(session) - reading.told_s)

    def retention(self) -> Retention | None:
        """Of the read that was made last."""
        return None if self._behind_s is None else Retention(self._kept_s, self._behind_s)

    def confirm(self, cursor: JSON) -> None:
        """The server keeps its log by its own settings, whoever has read it."""

    def moved(self, wanted: str, known: Sequence[JSON]) -> JSON:
        with connected(self.config, self.context) as (session, _):
            return moving.moved(self, session, wanted, known)

    def reaches(self, cursor: JSON, read: JSON) -> bool:
        return cursor["server"] == read["server"] and Position.of(cursor).at >= Position.of(read).at

    def tracking(self, session: Session, cursor: JSON) -> Tracking:
        """The tables as they were at the cursor."""
        return Tracking(
            self.config.db_name,
            Charsets(lambda: session),
            lambda: columns.known(session, self.config.db_name),
            columns.keeping(session, self.config.db_name),
            Tracking.tables_of(cursor["tables"]),
        )

    def forget(self) -> None:
        """The server keeps nothing for a pipeline."""

    @contextmanager
    def dump(self, at: Place) -> Generator[Dump]:
        """The log from the place on."""
        number, name = server.replica(self.context.pipeline)
        connection = opened(self.config, self.context.reach, self.where)
        dump = Dump(connection, self.where, number, name)
        try:
            dump.start(at.file, at.position)
            yield dump
        finally:
            dump.close()

    def made(self, at: Place) -> int:
        """When the file of the place was begun, which tells it from another of its name."""
        with self.dump(at) as dump:
            for event in dump.events():
                if event[KIND] == FORMAT:
                    return when(event)
        raise expired(f"the server sends nothing of {at}")

    def _begin(self, session: Session) -> JSON:
        """The place from which changes are followed. Columns of the tables are those of the place: they were the same
        in front of it and behind."""
        for _ in range(_TRIES):
            before = columns.known(session, self.config.db_name)
            at = self._end(session)
            if columns.known(session, self.config.db_name) == before:
                break
        else:
            raise Transient(f"tables of {self.where} change all the time", hint="Run again in a while.")
        tracking = Tracking(self.config.db_name, Charsets(lambda: session), lambda: before, tables=dict(before))
        return Position(at, self.made(at), server.identity(session)).to_json(tracking.to_json())

    def _end(self, session: Session) -> Place:
        """Everything in front of it is seen by all that begin to read from now on."""
        end = server.end(session, self.where, self.config.db_name)
        session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        try:
            return server.of_snapshot(session) or end
        finally:
            session.execute("ROLLBACK")

    def _say(self, following: Following, described: Mapping[str, Described]) -> None:
        unlogged = sorted(name for name, one in described.items() if not one.logged)
        if unlogged:
            text = (
                f"{', '.join(unlogged)} have system versioning by transactions, of which the log has statements and no "
                "rows. They are not followed: read them by queries"
            )
            self.context.note(Note("not_in_log", text))
        keyless = sorted(name for name, one in following.streams.items() if not one.stream.key)
        if keyless:
            text = f"{', '.join(keyless)} have no key: every change is a row of its own"
            self.context.note(Note("keyless", text, level="info"))

    def present(self, session: Session, described: Mapping[str, Described]) -> Any:
        """What asks for rows as they are now."""

        def ask(table: str, key: Sequence[str], wanted: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> Any:
            return present(session, described.get(table), key, wanted, keys)

        return ask

    def left_out(self, column: str, count: int) -> None:
        objects.left_out(self.context, column, count)

    def unknown(self, table: str, count: int) -> None:
        text = f"{count} changes of {table} left out values, and their rows are gone by now; NULL is in their place"
        self.context.note(Note("value_unknown", text))
