"""One read of the log: from a place on, up to where it ended when the read began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from millrace.connect.log import Following
from millrace.connect.source import Note
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.dataclass import dataclass
from millrace.sources.postgres.catalog import Described, quoted
from millrace.sources.postgres.log import failover, history, untold
from millrace.sources.postgres.log.messages import Begin, Change, Commit, Messages, Told, Truncate
from millrace.sources.postgres.log.publishing import Identity, Side
from millrace.sources.postgres.log.rows import Changes, Key
from millrace.sources.postgres.log.untold import Emptied
from millrace.sources.postgres.log.wire import Wire, lsn, lsn_text
from millrace.sources.postgres.types import Type, typed

if TYPE_CHECKING:
    from millrace.sources.postgres.log.log import Log

# Rows, or bytes of them, that are brought into Arrow together, and the time after which fewer are.
ROWS = 20_000
_BYTES = 32 << 20
CHECKPOINT_S = 2.0
# A run follows for so long at most; the next one goes on.
FOLLOW_S = 900.0
# How often the server is asked how far it is when it is silent.
_SILENCE_S = 0.05
# After so long in which the server sends nothing of what is there, it is asked for whom it waits.
_STILL_S = 3.0
# After so long in which it waits for standbys the run ends: its worker has other work, and the next run goes on.
AWAITED_S = 60.0

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


@dataclass(slots=True)
class Read:
    """One read of the log."""

    log: Log
    side: Side
    following: Following
    described: Mapping[str, Described]
    identities: Mapping[str, Identity]
    seen: JSON
    """The tables in the catalogue, as the position recalls them (`untold.kept`)."""
    emptied: Sequence[Emptied]
    """Partitions that were emptied: by themselves, where the log does not tell of it up to its end."""
    publications: Sequence[str]
    """Whose changes are read; up to the end of the log, from where on it is read by those that are wished."""
    messages: Messages = field(default_factory=Messages)
    tables: dict[int, Changes | None] = field(default_factory=dict[int, "Changes | None"])
    bases: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    truncated: set[int] = field(default_factory=set[int])
    touched: set[int] = field(default_factory=set[int])
    """Tables of the open transaction."""
    begun: Begin = Begin(0, 0)
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
            if self.emptied or [*self.publications] != [*self.log.names.publications]:
                self.timeline = self.following.cursor.get("timeline")
                yield from self._last()
            return
        try:
            place = (self.at, self.following.cursor.get("timeline"))
            wire, self.timeline = self.log.opened(self.at, self.publications, place, *history.seen(self.following))
            yield from self._until(target, wire)
        finally:
            self._nobody()
            self.messages.close()

    def _until(self, target: int, wire: Wire) -> Iterator[Item]:
        stopping, monotonic = self.log.context.stopping.is_set, self.log.context.clock.monotonic
        began = told = moved = asked = monotonic()
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
                        inside, self.begun = True, message
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
            elif now - max(moved, asked) > _STILL_S:
                asked = now
                self._await_standbys(target)
            in_vain = self.awaited and now - moved > AWAITED_S
            if self.at >= target or in_vain or now - began > FOLLOW_S or stopping():
                break
            if now - told > CHECKPOINT_S:
                yield from self._checkpoint()
                told = now
        yield from self._last() if self.at >= target else self._checkpoint()

    def _last(self) -> Iterator[Item]:
        """The log has told all; a person hears of partitions whose end it did not tell."""
        for one in self.emptied:
            if one.root not in self.truncated:
                self.log.context.note(untold.note_of(one))
        self.emptied, self.publications = (), self.log.names.publications
        yield from self._checkpoint()

    def _await_standbys(self, target: int) -> None:
        """A person hears for whom the server waits before it sends the log, where it does."""
        if not (lacking := failover.behind(self.side, self.log.names, target)):
            return
        awaited = f"standbys that synchronized_standby_slots names: {', '.join(lacking)}"
        self.awaited = True
        self.log.context.awaiting(awaited)
        text = f"the server sends no change that is not yet at {awaited}"
        hint = "start them, or take them out of that setting; with failover_slot: false changes come without them"
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
            table.begin(self.begun)
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
        self.truncated.update(message.tables)
        for id_ in message.tables:
            table = self.tables.get(id_)
            if table is not None:
                if id_ not in self.touched:
                    self.touched.add(id_)
                    table.begin(self.begun)
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
        seen = untold.settled(self.seen, self.following.cursor.get("tables", {}), self.emptied, self.truncated)
        place = {"lsn": lsn_text(self.at), "unseen": self.over, "timeline": self.timeline}
        yield Checkpoint({**place, "tables": seen, "publications": [*self.publications]})

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
        # The log does not tell of what a crash takes back.
        self.side.must_flush(self.log.context.clock)
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
