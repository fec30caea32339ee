"""The log of one database as one pipeline follows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace

from millrace.connect.log import Following, expired, no_such_place
from millrace.connect.log import Log as AnyLog
from millrace.connect.source import Context, Note, Retention, Stream
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.errors import ConfigError, MillraceError, Transient
from millrace.sources.postgres.catalog import Described, quoted
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.errors import translated
from millrace.sources.postgres.log import failover, history, publishing, untold
from millrace.sources.postgres.log.publishing import Identity, Names, Side
from millrace.sources.postgres.log.reading import Read
from millrace.sources.postgres.log.wire import Patience, Wire, lsn, lsn_text
from millrace.sources.postgres.session import Server

_SLOT_WAIT_S = 60.0

# SQLSTATE of a slot or a publication that is not there, and of a file of the log that was removed.
_GONE = ("42704", "58P01")
_IN_USE = "slot_in_use"
_LSN = re.compile("[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")


def errors_of(config: Config) -> Callable[[str | None, str], MillraceError]:
    """Our error for the server's state and words."""

    def made(state: str | None, words: str) -> MillraceError:
        if state == "42501" and ("must be owner" in words or "permission denied for database" in words):
            return ConfigError(
                f"the user of {config.where} may not publish tables: {words.strip().splitlines()[0]}",
                hint="Let their owner CREATE PUBLICATION … FOR TABLE … WITH (publish_via_partition_root = true), "
                "and name it in publication_name.",
                path="publication_name",
                code="may_not_publish",
            )
        return translated(state, words, config.where, config.db_user, config.db_name)

    return made


def errors_of_log(config: Config) -> Callable[[str | None, str], MillraceError]:
    """The same for a connection that sends the log: what is gone there does not come back."""
    other = errors_of(config)

    def made(state: str | None, words: str) -> MillraceError:
        if state in _GONE or (state == "55000" and "wal_level" not in words):
            return expired(words.strip().split("\n")[0].partition(":")[2].strip())
        error = other(state, words)
        if state == "55006":
            error.code = _IN_USE
        return error

    return made


def followed(server: Server, streams: Sequence[Stream]) -> list[Stream]:
    """Those of the streams whose changes are in the log, with the key by which changes name their rows."""
    config = server.config
    with closing(Side(server.uri(), errors_of(config))) as side:
        identities = side.identities()
        own = publishing.published(side, config.publication_name) if config.publication_name else identities.keys()
    return [
        replace(stream, key=identities[stream.name].key, cursor_field=None, deletes=True)
        for stream in streams
        if stream.name in identities and stream.name in own
    ]


class Log(AnyLog):
    """Changes from the slot of one pipeline. ``described``: asks the catalogue for tables and their columns."""

    def __init__(self, server: Server, described: Callable[[], Mapping[str, Described]]) -> None:
        self._server, self._described = server, described
        self._config, self._context = server.config, server.context
        self._names = Names.of(self._context.pipeline, self._config.publication_name)
        self._wire: Wire | None = None
        self.retention: Retention | None = None
        """What the server kept when the last read began."""

    def follow(self, following: Following) -> Iterator[Item]:
        described = self._described()
        with closing(Side(self._server.uri(), errors_of(self._config))) as side:
            identities = side.identities()
            tables = {
                name: (described[name].relation.source, identities[name])
                for name in following.streams
                if name in described and name in identities
            }
            publishing.followable(side, self._names, failover=bool(self._config.failover_slot))
            if following.cursor is not None:
                publishing.reachable(side, self._names, lsn(following.cursor["lsn"]), history.seen(following))
            publishing.publish(side, self._names, tables)
            now, publications = untold.tables(side, [*tables]), [*self._names.publications]
            if following.cursor is None:
                yield Checkpoint({**self._begin(side), "tables": untold.kept(now), "publications": publications})
                return
            # Others may not have been there yet where the log is read from on, for which the server would refuse it.
            read = following.cursor.get("publications", publications)
            if self._names.own is not None and read == publications:
                with suppress(MillraceError):  # they go with the pipeline at the latest
                    publishing.drop_ours(side, self._names, self._context.clock)
            wished = self._wished(side)
            if failover.goes_on(side, self._names) != wished and not self._alter(side, goes_on=wished):
                return
            self._say(side, following, tables, described, identities)
            before = following.cursor.get("tables", {})
            for note in untold.notes(side, self._context.clock, before, now, following.streams):
                self._context.note(note)
            fresh = (name for name, one in following.streams.items() if one.stream.historical and one.history is None)
            publishing.await_writers(side, [*tables.keys() & {*fresh}], self._context)
            seen = untold.kept(now) | untold.awaiting(before, following.streams)
            gone = untold.emptied(side, self._context.clock, before, now, following.streams)
            yield from Read(self, side, following, described, identities, seen, gone, read).changes()

    def confirm(self, cursor: JSON) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            with suppress(MillraceError):
                wire.confirm(lsn(cursor["lsn"]))
            wire.finish()

    def moved(self, wanted: str, known: Sequence[JSON]) -> JSON:
        """``wanted`` is an LSN. Behind the slot there is no way: the server forgets what was confirmed."""
        if not _LSN.fullmatch(wanted):
            raise no_such_place(wanted, "it is no LSN", "Write it like 16/B374D848.")
        at = lsn(wanted)
        with closing(Side(self._server.uri(), errors_of(self._config))) as side:
            kept, end = publishing.kept_from(side, self._names), side.end_of_log(self._context.clock)
        if at < kept:
            raise no_such_place(
                wanted,
                f"the server keeps its log from {lsn_text(kept)} on, because all before was read and is durable",
                "Restart the objects: their histories have all rows as they are now.",
            )
        if at > end:
            raise no_such_place(wanted, f"the log ends at {lsn_text(end)}")
        # The place is one of the server as it is now, whatever timeline was read before.
        kept = ("unseen", "tables", "publications")
        return {"lsn": lsn_text(at), **{name: known[0][name] for name in kept if name in known[0]}}

    def reaches(self, cursor: JSON, read: JSON) -> bool:
        return lsn(cursor["lsn"]) >= lsn(read["lsn"])

    def forget(self) -> None:
        self.close()
        try:
            with closing(Side(self._server.uri(), errors_of(self._config))) as side:
                publishing.drop_slot(side, self._names, self._context.clock)
                publishing.drop_ours(side, self._names, self._context.clock)
        except MillraceError as error:
            ours = f"{quoted(self._names.all)}, {quoted(self._names.inserts)}"
            drop = f"SELECT pg_drop_replication_slot('{self._names.slot}'); DROP PUBLICATION IF EXISTS {ours};"
            error.hint = f"Say at the server: {drop}"
            raise

    def close(self) -> None:
        """No connection is open."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _begin(self, side: Side) -> JSON:
        """A slot is made; what was committed before it is in every snapshot that sees what its own does."""
        goes_on = self._wished(side)
        publishing.drop_slot(side, self._names, self._context.clock)
        with closing(self._wired()) as wire:
            # Servers of before version 15 know the older way to say it alone.
            how = "pgoutput (SNAPSHOT 'export', FAILOVER)" if goes_on else "pgoutput EXPORT_SNAPSHOT"
            command = f'CREATE_REPLICATION_SLOT "{self._names.slot}" LOGICAL {how}'
            ((_, point, exported, *_),) = self._asked(
                wire,
                side,
                command,
                "transactions at the server that are open",
                "Look for them in pg_stat_activity; the run is tried again.",
            )
            assert point is not None and exported is not None
            seen = side.snapshot(exported)
            timeline = failover.reached(wire)
            return {"lsn": point, "unseen": side.snapshot().missing(seen), "timeline": timeline}

    def _wished(self, side: Side) -> bool:
        """The slot shall go on at a standby: as a person said, else as it does."""
        said = self._config.failover_slot
        return failover.goes_on(side, self._names) if said is None else said

    def _alter(self, side: Side, *, goes_on: bool) -> bool:
        """The slot goes on at a standby, or does not; False where the run shall stop first."""
        command = f'ALTER_REPLICATION_SLOT "{self._names.slot}" (FAILOVER {str(goes_on).lower()})'
        awaited = f"whoever reads from the replication slot {self._names.slot}"
        hint = "Look for it in pg_stat_replication; the run is tried again."
        try:
            with closing(self._wired()) as wire:
                self._asked(wire, side, command, awaited, hint)
        except Transient:
            if self._context.stopping.is_set():
                return False
            raise
        return True

    def _asked(self, wire: Wire, side: Side, command: str, awaited: str, hint: str) -> Sequence[tuple[str | None, ...]]:
        """Rows of a command for which the server waits for others, as long as may be."""
        late = Transient(f"the server waits for {awaited}", hint=hint)
        self._context.awaiting(awaited)
        try:
            return wire.ask(command, Patience(_SLOT_WAIT_S, self._context.stopping.is_set, side.cancel, late))
        finally:
            self._context.awaiting("")

    def _wired(self) -> Wire:
        return Wire(self._server.uri(), errors_of_log(self._config), self._config.connect_timeout_s)

    def opened(self, at: int, publications: Sequence[str], *places: tuple[int, int | None]) -> tuple[Wire, int | None]:
        """The server, which has all in front of the ``places``, sends what was committed behind ``at`` and is in the
        publications; with it the server's timeline.

        One that is just ending a connection of ours is waited for."""
        self.close()
        clock = self._context.clock
        until = clock.monotonic() + _SLOT_WAIT_S / 4
        while True:
            wire = self._wired()
            try:
                timeline = failover.reached(wire, *places)
                wire.start(self._names.slot, at, _options(wire, publications))
            except Transient as error:
                wire.close()
                if error.code != _IN_USE or clock.monotonic() > until:
                    raise
                clock.sleep(0.1)
            except BaseException:
                wire.close()
                raise
            else:
                self._wire = wire
                return wire, timeline

    def _say(
        self,
        side: Side,
        following: Following,
        tables: Mapping[str, tuple[str, Identity]],
        described: Mapping[str, Described],
        identities: Mapping[str, Identity],
    ) -> None:
        """What a person should know of the tables and the slot."""
        generated = [f"{name}.{column}" for name in tables for column in described[name].generated]
        if generated:
            text = "are computed by the server, which does not write them into its log: they are left out"
            self._context.note(Note("not_in_log", f"{', '.join(generated)} {text}"))
        for name, (_, identity) in tables.items():
            if not identity.updates and self._names.own is None:
                text = f"updates and deletes of {name} are not seen, because they do not say which row they mean"
                hint = "give it a primary key, or ALTER TABLE … REPLICA IDENTITY FULL"
                self._context.note(Note("inserts_only", f"{text}: {hint}"))
        unlogged = {name for name, one in described.items() if one.table and name not in identities}
        gone = sorted((following.streams.keys() - tables.keys()) | unlogged)
        if gone:
            self._context.note(Note("not_in_log", f"nothing of {', '.join(gone)} is in the log"))
        if (kept := publishing.retained(side, self._names)) is not None:
            held, room = kept
            self.retention = Retention(held_bytes=held, most_bytes=None if room is None else held + max(room, 0))

    @property
    def names(self) -> Names:
        return self._names

    @property
    def context(self) -> Context:
        return self._context

    @property
    def config(self) -> Config:
        return self._config


def _options(wire: Wire, publications: Sequence[str]) -> dict[str, str]:
    names = ", ".join(quoted(name) for name in publications)
    version = int(wire.ask("SHOW server_version_num")[0][0] or 0)
    options = {"proto_version": "1", "publication_names": names.replace("'", "''")}
    if version >= 140_000:
        options |= {"proto_version": "2", "streaming": "on"}
    return options
