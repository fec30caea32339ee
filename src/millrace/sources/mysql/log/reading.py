"""One read of the log: events in their order, whole transactions, and what became of tables between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from millrace.connect.log import Following, expired
from millrace.connect.mysql.session import Session
from millrace.connect.source import Note
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Transient
from millrace.sources.mysql.catalog import Described
from millrace.sources.mysql.log import ddl, events
from millrace.sources.mysql.log.columns import Table
from millrace.sources.mysql.log.ddl import Altered, Dropped, Emptied, Made, Written
from millrace.sources.mysql.log.errors import wrong_format
from millrace.sources.mysql.log.events import ROWS, table_of
from millrace.sources.mysql.log.place import Place
from millrace.sources.mysql.log.recast import keeps
from millrace.sources.mysql.log.rows import Changes
from millrace.sources.mysql.log.tracking import Tracking
from millrace.sources.mysql.log.wire import HEAD, KIND, ends, when

if TYPE_CHECKING:
    from millrace.sources.mysql.log.log import Log

# Events with rows, or bytes of them, that are brought into Arrow together, and the time after which fewer are.
EVENTS = 20_000
_BYTES = 16 << 20
CHECKPOINT_S = 2.0
# A run follows for so long at most; the next one goes on.
FOLLOW_S = 900.0

_BODY = HEAD + 8
"""Where a table map says which table it is, behind the number that rows call it by."""

_ANEW = "read its history again into a fresh table (`millrace resync --mode drop-and-load`)"
_AGAIN = "read its history again (`millrace resync`)"


@dataclass(slots=True)
class Position:
    """How far the log was read. ``made``: when its file was begun. ``server``: whose log it is. ``gtid``: the last
    transaction. ``rows``: where the last transaction ended of which rows were told."""

    at: Place
    made: int
    server: str
    gtid: str = ""
    rows: Place | None = None

    @staticmethod
    def of(cursor: JSON) -> Position:
        told: Any = cursor
        rows = Place.of(told["rows"]) if told["rows"] else None
        return Position(Place.of([told["file"], told["position"]]), told["made"], told["server"], told["gtid"], rows)

    def to_json(self, tables: JSON) -> JSON:
        return {
            "v": 1,
            "file": self.at.file,
            "position": self.at.position,
            "made": self.made,
            "server": self.server,
            "gtid": self.gtid,
            "rows": self.rows.to_json() if self.rows is not None else None,
            "tables": tables,
        }


@dataclass(slots=True)
class Read:
    """Changes from ``position`` to ``target``."""

    log: Log
    session: Session
    following: Following
    described: Mapping[str, Described]
    tracking: Tracking
    position: Position
    target: Place
    until: str = ""
    """The number of a transaction behind which nothing more is read."""
    met: bool = False
    """The last transaction that was read is that one."""
    at_end: bool = False
    told_s: int = 0
    """When the last transaction was written, in seconds since 1970 at the server; 0 where none came."""
    _end: Place = field(init=False)
    """Behind the event that came last."""
    _start: Place = field(init=False)
    """Where the open transaction begins."""
    _inside: bool = False
    _given: bool = False
    """Rows of the open transaction were handed on."""
    _verified: bool = False
    """The file is the one that was read before."""
    _number: str = ""
    """Of the transaction that began last."""
    _maps: dict[int, bytes] = field(default_factory=dict[int, bytes])
    _tables: dict[str, tuple[bytes, Changes]] = field(default_factory=dict[str, "tuple[bytes, Changes]"])
    _by_number: dict[int, Changes | None] = field(default_factory=dict[int, "Changes | None"])
    _touched: dict[str, Changes] = field(default_factory=dict[str, Changes])
    _count: int = 0
    _size_bytes: int = 0

    def changes(self) -> Iterator[Item]:
        start = self._end = self._start = self.position.at
        stopping, monotonic = self.log.context.stopping.is_set, self.log.context.clock.monotonic
        began = told = monotonic()
        with self.log.dump(self.position.at) as dump:
            for event in dump.events():
                yield from self._take(event)
                if self._count >= EVENTS or self._size_bytes >= _BYTES:
                    yield from self._taken()
                # Nor is the place between the number of a transaction and what it does one to stop at.
                if self._inside or not self._verified or event[KIND] in events.BEGINNINGS:
                    continue
                now = monotonic()
                # Each read comes forward, however late it is.
                late = now - began > FOLLOW_S and self.position.at > start
                if self._met(event) or self._end >= self.target or late or stopping():
                    break
                if now - told > CHECKPOINT_S:
                    yield from self._checkpoint()
                    told = now
            else:
                self.at_end = True
        self.at_end = self.at_end or self.position.at >= self.target
        if self._inside:
            raise Transient("the log ended within a transaction; the next run goes on in front of it")
        yield from self._checkpoint()

    def _met(self, event: bytes) -> bool:
        self.met = bool(self.until) and self._number == self.until and event[KIND] not in events.BEGINNINGS
        return self.met

    def _take(self, event: bytes) -> Iterator[Item]:
        kind = event[KIND]
        if kind in ROWS:
            self._rows(event)
        elif kind == events.TABLE_MAP:
            yield from self._map(event)
        elif kind == events.PAYLOAD:
            for inner in events.payload(event):
                yield from self._take(inner)
        elif kind in events.BEGINNINGS:
            self._begin(events.gtid(event))
            if self.until:
                self._number = events.numbered(event)
        elif kind in (events.QUERY, events.QUERY_COMPRESSED):
            yield from self._query(events.query(event))
        elif kind == events.ROTATE:
            file, at = events.rotation(event)
            self._end = Place(at, file)
            self._settle()
            return
        else:
            self._rare(kind, event)
        if end := ends(event):
            self._end = Place(end, self._end.file)
        if kind == events.XID or (kind == events.PAYLOAD and not self._inside):
            self._commit(event)
        elif not self._inside:
            self._settle()

    def _rare(self, kind: int, event: bytes) -> None:
        if kind == events.FORMAT:
            if not self._verified and when(event) != self.position.made:
                raise expired("the log is another one: the server was restored, or began it anew")
            self._verified, self.position.made = True, when(event)
            if self._inside:
                # The server died while it wrote a transaction.
                self._take_back()
                self._inside = False
        elif kind == events.INCIDENT:
            raise expired("the server says that its log lacks something")
        elif kind == events.PARTIAL_UPDATE:
            raise wrong_format("the log has parts of JSON values alone (binlog_row_value_options = PARTIAL_JSON)")
        elif kind == events.XA_PREPARE:
            if self._touched:
                raise expired("rows were changed by XA, whose transactions may be taken back after they are in the log")
            self._inside = False

    def _begin(self, gtid: events.Gtid) -> None:
        # MySQL says with a statement that a transaction begins.
        self._start, self._inside = self._end, bool(gtid.text) and not gtid.alone
        self._given = False
        self._touched.clear()
        if gtid.text:
            self.position.gtid = gtid.text

    def _commit(self, event: bytes) -> None:
        if self._touched:
            self.position.rows = self._end
        # Of whichever database: so far the log was read.
        self.told_s = when(event)
        self._inside = False
        self._touched.clear()
        self._settle()

    def _settle(self) -> None:
        """Everything up to here is whole."""
        if not self._inside:
            self.position.at = self._end

    def _take_back(self) -> None:
        if self._given:
            raise expired("a transaction with very many rows was taken back after it was in the log")
        for table in self._touched.values():
            table.take_back()
        self._touched.clear()

    def _rows(self, event: bytes) -> None:
        table = self._by_number.get(table_of(event))
        if table is None:
            return
        if table.name not in self._touched:
            self._touched[table.name] = table
            table.begin(self._start)
        table.add(events.rows_of(event))
        self._count += 1
        self._size_bytes += len(event)

    def _map(self, event: bytes) -> Iterator[Item]:
        number, body = table_of(event), event[_BODY:]
        if self._maps.get(number) == body:
            return
        self._maps[number] = body
        told = events.table_map(body)
        followed = self.following.streams.get(told.table)
        if told.database != self.tracking.database or followed is None:
            self._by_number[number] = None
            return
        known = self._tables.get(told.table)
        if known is None or known[0] != body:
            if known is not None:
                yield from known[1].taken()
                self._given = self._given or self._touched.pop(told.table, None) is not None
            known = self._tables[told.table] = body, self._changes(told)
        self._by_number[number] = known[1]

    def _changes(self, told: events.TableMap) -> Changes:
        columns = self.tracking.columns_of(told)
        ended, hidden = self.tracking.past_of(told)
        for one in columns:
            if not one.readable:
                raise ConfigError(
                    f"{told.table}.{one.known.name} is of a type ({one.code}) that cannot be read from the log",
                    hint="Skip the object, or read it with ingestion_mode: table.",
                    code="unknown_type",
                )
        log, followed = self.log, self.following.streams[told.table]
        return Changes(
            followed,
            columns,
            followed.stream.key,
            self.tracking.charsets,
            log.present(self.session, self.described),
            log.config.special_values,
            log.context.clock.now,
            log.unknown,
            log.left_out,
            ended=ended,
            hidden=hidden,
            virtual=there.virtual if (there := self.described.get(told.table)) is not None else frozenset(),
        )

    def _query(self, query: events.Query) -> Iterator[Item]:
        word = query.text.lstrip()[:12].split(" ")[0].rstrip(";").upper()
        if word == "BEGIN":
            if not self._inside:
                self._start, self._inside, self._given = self._end, True, False
                self._touched.clear()
            return
        if word == "COMMIT" or (word == "ROLLBACK" and " TO " not in query.text.upper()):
            if word == "ROLLBACK":
                self._take_back()
            if self._touched:
                self.position.rows = self._end
            self._inside = False
            self._touched.clear()
            return
        if word == "ROLLBACK" and self._touched:
            raise expired("a part of a transaction was taken back after it was in the log")
        if word == "XA":
            # What begins with it ends with the event that prepares it; COMMIT and ROLLBACK come alone later.
            self._inside = query.text.split()[1].upper() in ("START", "BEGIN", "END")
            return
        if word in ("SAVEPOINT", "ROLLBACK"):
            return
        for effect in ddl.effects(query.text, query.database):
            yield from self._effect(effect)

    def _effect(self, effect: ddl.Effect) -> Iterator[Item]:
        database = self.tracking.database
        if isinstance(effect, Written):
            if effect.database == database or database.lower() in effect.text.lower():
                raise wrong_format("a statement that changes rows is in the log in place of the rows")
            return
        # What was read so far had the columns of before.
        self._maps.clear()
        for _, table in self._tables.values():
            yield from table.taken()
        if isinstance(effect, Emptied) and effect.table[0] == database:
            yield from self._emptied(effect.table[1], gone=effect.gone)
        elif isinstance(effect, Made) and effect.anew and effect.table[0] == database:
            yield from self._emptied(effect.table[1], gone=True)
        elif isinstance(effect, Dropped) and effect.database == database:
            for name in self.following.streams:
                yield from self._emptied(name, gone=True)
        before = dict(self.tracking.tables)
        self.tracking.follow(effect)
        if isinstance(effect, Altered) and effect.table[0] == database:
            self._untold(effect.table[1], effect, before.get(effect.table[1], ()))
        self._tables.clear()
        self._by_number.clear()

    def _emptied(self, name: str, *, gone: bool) -> Iterator[Item]:
        """All rows are deleted. A table that went for good keeps its rows at the destination."""
        followed = self.following.streams.get(name)
        if followed is None or (gone and not self.tracking.present(name)):
            return
        table = self._tables[name][1] if name in self._tables else self._bare(name)
        table.begin(self._start)
        self._touched[name] = table
        yield from table.truncate()

    def _untold(self, name: str, effect: Altered, before: Table) -> None:
        """A person hears what the statement did to rows, of which the log has none. ``before``: columns of then."""
        followed = self.following.streams.get(name)
        if followed is None:
            return
        if effect.lost:
            text = f"rows of {name} went or came with a part of a table, of which the log tells none"
            self.log.context.note(Note("rows_lost", f"{text}: {_ANEW}"))
        history: Any = followed.history
        if history and self._start < Place.of(history["snapshot"]):
            return
        for column in effect.filled if history else ():
            text = f"{name}.{column} came with values: rows that were there before have NULL in their place"
            self.log.context.note(Note("rows_lost", f"{text}: {_AGAIN}"))
        for old, new in effect.called if history else ():
            text = f"{name}.{new} was called {old}: rows that were read before have its values there"
            self.log.context.note(Note("column_changed", f"{text}: {_AGAIN}"))
        now = {one.name.lower(): one.type for one in self.tracking.tables.get(name, ())}
        for column in before if history else ():
            if not keeps(column.type, type_ := now.get(column.name.lower(), column.type)):
                text = f"{name}.{column.name} is {type_} since it was {column.type}: where that gave rows other values"
                note = f"{text}, those that were read before have the old ones: {_AGAIN}"
                self.log.context.note(Note("column_changed", note))

    def _bare(self, name: str) -> Changes:
        """The table without its columns, which are not needed to say that it has no rows."""
        log = self.log
        return Changes(
            self.following.streams[name], (), (), self.tracking.charsets, log.present(self.session, self.described),
            log.config.special_values, log.context.clock.now, log.unknown, log.left_out,
        )  # fmt: skip

    def _taken(self) -> Iterator[Item]:
        for _, table in self._tables.values():
            yield from table.taken()
        self._count = self._size_bytes = 0
        self._given = self._inside and bool(self._touched)

    def _checkpoint(self) -> Iterator[Item]:
        yield from self._taken()
        yield Checkpoint(self.position.to_json(self.tracking.to_json()))
