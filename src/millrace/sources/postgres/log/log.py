"""The log of one database as one pipeline follows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import field, replace

from millrace.connect.log import Following, expired, no_such_place
from millrace.connect.log import Log as AnyLog
from millrace.connect.source import Context, Note, Retention, Stream
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, Transient
from millrace.sources.postgres.catalog import Described, quoted
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.errors import translated
from millrace.sources.postgres.log import failover, publishing
from millrace.sources.postgres.log.messages import Begin, Change, Commit, Messages, Told, Truncate
from millrace.sources.postgres.log.publishing import Identity, Names, Side
from millrace.sources.postgres.log.rows import Changes, Key
from millrace.sources.postgres.log.wire import Patience, Wire, lsn, lsn_text
from millrace.sources.postgres.session import Server
from millrace.sources.postgres.types import Type, typed

# Rows, or bytes of them, that are brought into Arrow together, and the time after which fewer are.
ROWS = 20_000
_BYTES = 32 << 20
CHECKPOINT_S = 2.0
# A run follows for so long at most; the next one goes on.
FOLLOW_S = 900.0
# How often the server is asked how far it is when it is silent.
_SILENCE_S = 0.05
_SLOT_WAIT_S = 60.0
# After so long in which the server sends nothing of what is there, it is asked for whom it waits.
_STILL_S = 3.0

# SQLSTATE of a slot or a publication that is not there, and of a file of the log that was removed.
_GONE = ("42704", "58P01")
_IN_USE = "slot_in_use"
_LSN = re.compile("[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")

_BASES = """
WITH RECURSIVE below (id, modifier, top) AS (
  SELECT t.oid, -1, t.oid FROM pg_type AS t WHERE t.oid = ANY (%s::oid[])
  UNION ALL
  SELECT t.typbasetype, CASE WHEN b.modifier < 0 THEN t.typtypmod ELSE b.modifier END, b.top
  FROM below AS b JOIN pg_type AS t ON t.oid = b.id WHERE t.typtype = 'd'
)
SELECT b.top::int8, CASE WHEN n.nspname = 'pg_catalog' AND t.typtype = 'b' THEN t.typname ELSE '' END::text, b.modifier
FROM below AS b JOIN pg_type AS t ON t.oid = b.id AND t.typtype <> 'd'
JOIN pg_namespace AS n ON n.oid = t.typnamespace"""


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
            publishing.followable(side, self._names, failover=self._config.failover_slot)
            if following.cursor is not None:
                publishing.reachable(side, self._names, lsn(following.cursor["lsn"]))
            publishing.publish(side, self._names, tables)
            if following.cursor is None:
                yield Checkpoint(self._begin(side))
                return
            wished = self._config.failover_slot
            if failover.goes_on(side, self._names) != wished and not self._alter(side, goes_on=wished):
                return
            self._say(side, following, tables)
            fresh = (name for name, one in following.streams.items() if one.stream.historical and one.history is None)
            publishing.await_writers(side, [*tables.keys() & {*fresh}], self._context)
            yield from _Read(self, side, following, described, identities).changes()

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
        return {"lsn": lsn_text(at), "unseen": known[0]["unseen"]}

    def forget(self) -> None:
        self.close()
        try:
            with closing(Side(self._server.uri(), errors_of(self._config))) as side:
                publishing.drop_all(side, self._names, self._context.clock)
        except MillraceError as error:
            error.hint = f"Say at the server: SELECT pg_drop_replication_slot('{self._names.slot}')."
            raise

    def close(self) -> None:
        """No connection is open."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _begin(self, side: Side) -> JSON:
        """A slot is made; what was committed before it is in every snapshot that sees what its own does."""
        publishing.drop_slot(side, self._names, self._context.clock)
        with closing(self._wired()) as wire:
            # Servers of before version 15 know the older way to say it alone.
            how = "pgoutput (SNAPSHOT 'export', FAILOVER)" if self._config.failover_slot else "pgoutput EXPORT_SNAPSHOT"
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
            timeline = failover.reached(wire, 0, None)
            return {"lsn": point, "unseen": side.snapshot().missing(seen), "timeline": timeline}

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

    def opened(self, at: int, known: int | None) -> tuple[Wire, int | None]:
        """The server sends what was committed behind ``at``, of the timeline ``known``; with it the server's own.

        One that is just ending a connection of ours is waited for."""
        self.close()
        clock = self._context.clock
        until = clock.monotonic() + _SLOT_WAIT_S / 4
        while True:
            wire = self._wired()
            try:
                timeline = failover.reached(wire, at, known)
                wire.start(self._names.slot, at, self._options(wire))
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

    def _options(self, wire: Wire) -> dict[str, str]:
        names = ", ".join(quoted(name) for name in self._names.publications)
        version = int(wire.ask("SHOW server_version_num")[0][0] or 0)
        options = {"proto_version": "1", "publication_names": names.replace("'", "''")}
        if version >= 140_000:
            options |= {"proto_version": "2", "streaming": "on"}
        return options

    def _say(self, side: Side, following: Following, tables: Mapping[str, tuple[str, Identity]]) -> None:
        """What a person should know of the tables and the slot."""
        for name, (_, identity) in tables.items():
            if not identity.updates and self._names.own is None:
                text = f"updates and deletes of {name} are not seen, because they do not say which row they mean"
                hint = "give it a primary key, or ALTER TABLE … REPLICA IDENTITY FULL"
                self._context.note(Note("inserts_only", f"{text}: {hint}"))
        gone = sorted(following.streams.keys() - tables.keys())
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


@dataclass(slots=True)
class _Read:
    """One read of the log."""

    log: Log
    side: Side
    following: Following
    described: Mapping[str, Described]
    identities: Mapping[str, Identity]
    messages: Messages = field(default_factory=Messages)
    tables: dict[int, Changes | None] = field(default_factory=dict[int, "Changes | None"])
    bases: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    touched: set[int] = field(default_factory=set[int])
    """Tables of the open transaction."""
    transaction: int = 0
    over: list[int] = field(default_factory=list[int])
    """Transactions that are over, and that not everybody may see yet."""
    count: int = 0
    size_bytes: int = 0
    at: int = 0
    timeline: int | None = None
    """The one of ``at``; None where it is not known."""
    awaited: bool = False
    """It is told that standbys are awaited."""

    def changes(self) -> Iterator[Item]:
        self.at = lsn(self.following.cursor["lsn"])
        self.over = list(self.following.cursor["unseen"])
        target = self.side.end_of_log(self.log.context.clock)
        if self.at >= target:
            return
        try:
            wire, self.timeline = self.log.opened(self.at, self.following.cursor.get("timeline"))
            yield from self._until(target, wire)
        finally:
            self._nobody()
            self.messages.close()

    def _until(self, target: int, wire: Wire) -> Iterator[Item]:
        stopping, monotonic = self.log.context.stopping.is_set, self.log.context.clock.monotonic
        began = told = moved = monotonic()
        inside, reached = False, self.at
        for data in wire.messages(_SILENCE_S):
            if data is None:
                wire.feedback(answer=True)
            elif data[0] == 119:  # w, a message of the output plugin
                if (change := self.messages.change(data, 25)) is not None:
                    if self.add(change):
                        yield from self._taken()
                    continue
                for message in self.messages.of(bytes(data[25:])):
                    if isinstance(message, Change):
                        if self.add(message):
                            yield from self._taken()
                    elif isinstance(message, Begin):
                        inside, self.transaction = True, message.transaction
                        self.touched.clear()
                    elif isinstance(message, Commit):
                        inside, self.at = False, message.end
                        self.over.append(message.transaction)
                    else:
                        yield from self._other(message)
            elif data[0] == 107:  # k, how far the server is
                end = int.from_bytes(data[1:9], "big")
                if not inside:
                    # All that was committed before has been sent.
                    self.at = max(self.at, end)
                if data[17]:
                    wire.feedback()
            if inside:
                continue
            now = monotonic()
            if self.at > reached:
                reached, moved = self.at, now
                self._nobody()
            elif now - moved > _STILL_S:
                moved = now
                self._await_standbys(target)
            if self.at >= target or now - began > FOLLOW_S or stopping():
                break
            if now - told > CHECKPOINT_S:
                yield from self._checkpoint()
                told = now
        yield from self._checkpoint()

    def _await_standbys(self, target: int) -> None:
        """A person hears for whom the server waits before it sends the log, where it does."""
        if not (lacking := failover.behind(self.side, self.log.names, target)):
            return
        awaited = f"standbys that synchronized_standby_slots names: {', '.join(lacking)}"
        self.awaited = True
        self.log.context.awaiting(awaited)
        text = f"the server sends no change that is not yet at {awaited}"
        hint = "start them, or take them out of that setting; with failover_slot off changes come without them"
        self.log.context.note(Note("standby_awaited", f"{text}: {hint}"))

    def _nobody(self) -> None:
        """Standbys are not awaited any more; what others may have said of theirs stays."""
        if self.awaited:
            self.awaited = False
            self.log.context.awaiting("")

    def add(self, change: Change) -> bool:
        """The change is among the rows of its table; True when there are enough of them."""
        table = self.tables.get(change.table)
        if table is None:
            return False
        if change.table not in self.touched:
            self.touched.add(change.table)
            table.begin(self.transaction)
        table.add(change)
        self.count += 1
        self.size_bytes += len(change.rows)
        return self.count >= ROWS or self.size_bytes >= _BYTES

    def _other(self, message: Told | Truncate) -> Iterator[Item]:
        if isinstance(message, Told):
            known = self.tables.get(message.id)
            if known is not None:
                yield from known.taken()
            self.touched.discard(message.id)
            self.tables[message.id] = self._changes_of(message)
            return
        for id_ in message.tables:
            table = self.tables.get(id_)
            if table is not None:
                if id_ not in self.touched:
                    self.touched.add(id_)
                    table.begin(self.transaction)
                yield from table.truncate()

    def _taken(self) -> Iterator[Item]:
        for table in self.tables.values():
            if table is not None:
                yield from table.taken()
        self.count = self.size_bytes = 0

    def _checkpoint(self) -> Iterator[Item]:
        yield from self._taken()
        if self.over:
            now = self.side.snapshot()
            self.over = [one for one in self.over if not now.sees(one)]
        yield Checkpoint({"lsn": lsn_text(self.at), "unseen": self.over, "timeline": self.timeline})

    def _changes_of(self, told: Told) -> Changes | None:
        """The table as it is from here on; None for one that is not followed."""
        followed = self.following.streams.get(told.name)
        identity = self.identities.get(told.name)
        if followed is None or identity is None:
            return None
        context, config = self.log.context, self.log.config
        # What the log says of the key is as old as the rows that come; the catalogue may be newer.
        key = followed.stream.key
        if identity.whole and not {*key} <= {one.name for one in told.fields}:
            key = ()
        return Changes(
            followed,
            Identity(key, identity.updates, identity.whole),
            told,
            self._types(told),
            self._present,
            config.special_values,
            context.clock.now,
            self._unknown,
        )

    def _types(self, told: Told) -> list[Type]:
        wanted = [one.type for one in told.fields if one.type not in self.bases]
        if wanted:
            found = {top: (name, modifier) for top, name, modifier in self.side.rows(_BASES, wanted)}
            # Of a type that is gone by now nobody knows more than its text.
            self.bases |= {id_: found.get(id_, ("", -1)) for id_ in wanted}
        scale = 2
        if any(self.bases[one.type][0] == "money" for one in told.fields):
            scale = int(self.side.rows("SELECT scale(CAST(CAST('0' AS money) AS numeric))")[0][0])
        return [
            typed(name, one.modifier if one.modifier >= 0 else modifier, money_scale=scale)
            for one in told.fields
            for name, modifier in (self.bases[one.type],)
        ]

    def _present(
        self, table: str, key: Sequence[str], wanted: Sequence[str], keys: Sequence[Key]
    ) -> Mapping[Key, Sequence[bytes | None]]:
        described = self.described.get(table)
        if described is None or not keys:
            return {}
        known = {one.name: one.type for one in described.relation.columns}
        if not {*key, *wanted} <= known.keys():
            return {}
        listed = ", ".join(f"k{place}" for place in range(len(key)))
        same = " AND ".join(f"t.{quoted(name)} = CAST(k.k{place} AS {known[name]})" for place, name in enumerate(key))
        asked = ", ".join(f"CAST(t.{quoted(name)} AS pg_catalog.text)" for name in (*key, *wanted))
        # A percent sign of a name is none of a placeholder's.
        front = f"SELECT {asked} FROM {described.relation.source} AS t JOIN unnest(".replace("%", "%%")
        behind = f") AS k ({listed}) ON {same}".replace("%", "%%")
        arrays = ", ".join(["%s::text[]"] * len(key))
        values = [[_text(one[place]) for one in keys] for place in range(len(key))]
        with self.side.reading(described.relation.source, self.log.context.clock):
            rows = self.side.rows(f"{front}{arrays}{behind}", *values)
        return {tuple(_bytes(one) for one in row[: len(key)]): [_bytes(one) for one in row[len(key) :]] for row in rows}

    def _unknown(self, table: str, count: int) -> None:
        self.log.context.note(
            Note(
                "value_unknown",
                f"{count} changes of {table} left out large values, and their rows are gone by now; NULL is in their "
                "place",
            )
        )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode()
