"""A destination that speaks SQL: one load is one transaction, with the note of what is held inside it (I3)."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pyarrow as pa

from millrace.connect.config import DestinationConfig
from millrace.connect.destination import (
    Change,
    Column,
    Destination,
    Held,
    Load,
    Loaded,
    Meta,
    Rereadable,
    Table,
    Unloadable,
)
from millrace.connect.source import Verdict
from millrace.connect.sql import arrays, counting, finding, statements, unchanged
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.incoming import Incoming
from millrace.connect.sql.refusals import RowsRefused, culprits
from millrace.connect.sql.statements import GONE, Found, temporary
from millrace.data import types
from millrace.data.columns import UNCHANGED
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, SchemaError, Stale

if TYPE_CHECKING:
    from millrace.connect.local_days import LocalDays
    from millrace.connect.sql.history import Record

D = TypeVar("D", bound=DestinationConfig)

# The column of the notes for `Held.staged_file`; notes from before it was kept get it with the next `ensure`.
STAGED_FILE = "staged_file"


class _TakenBack(Exception):
    """Ends a trial that went well."""


class SqlDestination(Destination[D]):
    """What is the same in every SQL system. A subclass brings a dialect, a connection and its fastest road for Arrow.

    All methods of the connection translate the driver's errors: values that the system refuses become `RowsRefused`.
    """

    dialect: Dialect
    keeps_unchanged: ClassVar[bool] = True
    takes_nul: ClassVar[bool] = True

    # What a system provides.

    @abstractmethod
    def connected(self, *, keep: bool = False) -> AbstractContextManager[None]:
        """A connection is there, and this process's other writers wait. It may end afterwards unless ``keep``."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Commits at the end, rolls back on any exception."""

    @abstractmethod
    def execute(self, sql: str, *values: Any) -> int:
        """Rows that the statement changed (-1 where that is unknown). ``values`` are bound to `?` or `$1` …"""

    @abstractmethod
    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement."""

    @abstractmethod
    def take(self, name: str, rows: pa.RecordBatchReader) -> None:
        """A temporary table ``name`` holds the rows."""

    @abstractmethod
    def offered(self, incoming: Incoming) -> AbstractContextManager[str]:
        """A relation with all columns of the rows and the sequence, to be read by the statements inside.

        May be a stream that is read anew by every statement, or a temporary table.
        """

    @abstractmethod
    def found(self, table: str) -> dict[str, Found] | None:
        """Columns of the table as it is, by the name as asked for; None when there is none."""

    @abstractmethod
    def target(self, table: str) -> str:
        """The qualified, quoted name of a table."""

    @abstractmethod
    def lock(self, table: str) -> None:
        """Nobody else changes the table until the transaction ends."""

    @abstractmethod
    def marker(self, number: int) -> str:
        """The placeholder of the bound value ``number``, from 1."""

    def prepared(self) -> None:
        """Tables can be made: their schema is there, and nobody else makes one meanwhile."""

    @abstractmethod
    def indexed(self, table: Table) -> None:
        """The table has the indexes that its mode needs, and no key that forbids it.

        Raises SchemaError where the table has another key.
        """

    def analyzed(self, *names: str) -> None:
        """The system knows how large the load's temporary tables are, where it plans by that."""

    def merging(
        self, table: Table, target: str, *, rows: str, at_ms: int, filled: Sequence[str] = ()
    ) -> statements.Merge:
        """The statements of a merge; ``filled``: columns that some rows leave as they were."""
        return statements.merge(self.dialect, table, target, rows=rows, at_ms=at_ms, filled=filled)

    def filling(self, table: Table, target: str, lacking: Sequence[Column], rows: str) -> Sequence[str]:
        """The statements that find the values of columns that some ``rows`` leave as they were."""
        return unchanged.Filling(self.dialect, table, target, lacking).statements(rows)

    def recording(self, table: Table, target: str, *, at_ms: int) -> Record:
        """The statements of history."""
        from millrace.connect.sql import history  # a mode of few tables

        return history.record(self.dialect, table, target, at_ms=at_ms)

    # Shape.

    def schema(self, table: str) -> dict[str, pa.DataType] | None:
        with self.connected(keep=True):
            found = self.found(table)
        if found is None:
            return None
        return {column.name: column.type or types.VARCHAR for column in found.values()}

    def ensure(self, table: Table) -> list[Change]:
        self._fit(table)
        with self.connected(keep=True), self.transaction():
            self.prepared()
            self._notes(table)
            self.must_be_table(table.name)
            target, found = self.target(table.name), self.found(table.name)
            changes = self._changes(table, target, found)
            if found is not None:
                self._keep_exact(table, target, found)
            for change in changes:
                self.changed(table, change)
            if table.key:
                self.indexed(table)
        return changes

    def must_be_table(self, table: str) -> None:
        """Raises SchemaError where something else has the name."""
        if (kind := self.instead(table)) is not None:
            raise SchemaError(
                f"{table!r} is a {kind} at the destination, which cannot be loaded into.",
                hint=f"Drop or rename the {kind}, and the table is made with the next load; rows that were loaded "
                "before need `millrace resync`. Or give the table another name in the mapping.",
                code="not_a_table",
            )

    def instead(self, table: str) -> str | None:
        """What has the name that is no table, as people call it; None where nothing is in the way."""
        del table
        return None

    def planned(self, table: Table) -> list[Change]:
        self._fit(table)
        with self.connected(keep=True):
            return self._changes(table, self.target(table.name), self.found(table.name))

    def stretch(self, table: Table, names: Sequence[str]) -> list[Change]:
        with self.connected(keep=True), self.transaction():
            found = self.found(table.name) or {}
            present = [found[name] for name in names if name in found]
            changes = statements.stretch(self.dialect, table, self.target(table.name), present)
            for change in changes:
                self.changed(table, change)
        return changes

    def changed(self, table: Table, change: Change) -> None:
        """The change is made."""
        del table
        self.execute(change.statement)

    def _changes(self, table: Table, target: str, found: Mapping[str, Found] | None) -> list[Change]:
        if found is None:
            return [Change("create", table.name, None, statements.create(self.dialect, table, target))]
        return statements.alter(self.dialect, table, target, list(found.values()))

    def _keep_exact(self, table: Table, target: str, found: Mapping[str, Found]) -> None:
        """No value is rounded when a column of integers becomes one of floats (I6)."""
        for column, query in statements.inexact(self.dialect, table, target, list(found.values())):
            self.lock(table.name)
            if count := self._one(query)[0]:
                raise SchemaError(
                    f"The column {column!r} of {table.name!r} shall become a DOUBLE, but holds {count} values that no "
                    "DOUBLE is equal to.",
                    hint="Mend the table by hand, or rebuild it with `millrace resync`.",
                )

    def _fit(self, table: Table) -> None:
        if table.mode not in self.limits.modes:
            raise ConfigError(f"{self.title} cannot load in the mode {table.mode}", code="mode")
        self.loads = table.meta.loads
        seen: dict[str, str] = {}
        for column in statements.columns(table):
            if (other := seen.setdefault(self.dialect.fold(column.name), column.name)) != column.name:
                raise SchemaError(
                    f"The columns {other!r} and {column.name!r} of {table.name!r} are one name to {self.title}.",
                    hint="Give one of them another name in the mapping.",
                    code="NAME_CONFLICT",
                )

    def _notes(self, table: Table) -> None:
        text, number = self.dialect.types["VARCHAR"], self.dialect.types["LONG"]
        self.execute(
            f"CREATE TABLE IF NOT EXISTS {self.target(table.meta.loads)} "
            f"(feed {text} NOT NULL, table_name {text} NOT NULL, segment {number} NOT NULL, "
            f"loaded_at {number} NOT NULL, {STAGED_FILE} {text})"
        )
        if STAGED_FILE not in (self.found(table.meta.loads) or {}):
            self.execute(f"ALTER TABLE {self.target(table.meta.loads)} ADD COLUMN {STAGED_FILE} {text}")

    # Loading.

    def load(self, table: Table, load: Load) -> Loaded:
        with self.connected():
            try:
                return self._loaded(table, load)
            except RowsRefused as refused:
                self._diagnose(table, load, refused)
                raise  # never reached: a diagnosis raises

    def _loaded(self, table: Table, load: Load) -> Loaded:
        with self.transaction():
            incoming = self._incoming(table, load)
            self.lock(table.name)
            self._claim(table, load)
            try:
                counts = self._publish(table, load, incoming)
            except Exception:
                if incoming.failure is not None:
                    raise incoming.failure from None
                self._raise_refusals(incoming)
                raise
            self._raise_refusals(incoming)
            self._note(table, load)  # I3
        return replace(counts, rows=load.rows.count, refused=len(load.refused))

    def _incoming(self, table: Table, load: Load, *, thorough: bool = False) -> Incoming:
        found = self.found(table.name)
        if found is None:
            raise SchemaError(
                f"The table {table.name!r} is gone from the destination.",
                hint="Run the load again; it makes the table anew. Rows loaded before need `millrace resync`.",
                code="TABLE_MISSING",
            )
        lacking = [column.name for column in statements.columns(table) if column.name not in found]
        if lacking:
            raise SchemaError(
                f"The table {table.name!r} has no column {lacking[0]!r} any more.",
                hint="Run the load again; it adds the column.",
                code="COLUMN_MISSING",
            )
        return Incoming(table, load, found, nul=self.takes_nul, nan=self.limits.nan, thorough=thorough)

    def _raise_refusals(self, incoming: Incoming) -> None:
        if incoming.refusals:
            raise Unloadable(incoming.refusals)

    def _claim(self, table: Table, load: Load) -> None:
        """I4: only who goes on exactly where the destination stands may load."""
        held = self._holding(load.feed, table.name, table.meta.loads)
        holds = held.segment if held else 0
        if holds != load.after:
            raise Stale(f"{table.name} holds segment {holds} of {load.feed}, not {load.after}")

    def _note(self, table: Table, load: Load) -> None:
        notes = self.target(table.meta.loads)
        one, two, three, four, five = (self.marker(n) for n in range(1, 6))
        self.execute(f"DELETE FROM {notes} WHERE feed = {one} AND table_name = {two}", load.feed, table.name)
        self.execute(
            f"INSERT INTO {notes} (feed, table_name, segment, loaded_at, {STAGED_FILE}) "
            f"VALUES ({one}, {two}, {three}, {four}, {five})",
            load.feed,
            table.name,
            load.upto,
            load.at_ms,
            load.staged_file,
        )

    def _publish(self, table: Table, load: Load, incoming: Incoming) -> Loaded:
        target = self.target(table.name)
        if not incoming.count:
            return Loaded(0)
        if load.truncated_at_ms is not None:
            return self._truncated(table, target, load)
        if table.mode == "append" or not table.key:
            self.append(table, target, load, incoming)
            return Loaded(0, inserted=incoming.count - incoming.empty, empty=incoming.empty)
        if table.mode == "history":
            return self._recorded(table, target, load, incoming)
        return self._merged(table, target, load, incoming)

    def _truncated(self, table: Table, target: str, load: Load) -> Loaded:
        """The rows that the table holds are marked deleted; those that were appended stay as they are."""
        marked = 0
        if table.mode != "append" and table.key and table.meta.marked_deleted:
            select, update = statements.truncation(self.dialect, table, target, load)
            marked = self._one(select)[0]
            self.execute(update)
        return Loaded(0, unchanged=1, marked=marked)

    def append(self, table: Table, target: str, load: Load, incoming: Incoming) -> None:
        """All rows are in the table."""
        with self.offered(incoming) as rows:
            self.execute(statements.append(self.dialect, table, target, rows=rows, at_ms=load.at_ms))

    def _merged(self, table: Table, target: str, load: Load, incoming: Incoming) -> Loaded:
        partial = UNCHANGED in load.rows.schema.names
        names = ("keys", "newest", "met", "chosen", *arrays.TEMPORARIES, *unchanged.TEMPORARIES)
        with self.offered(incoming) as rows, self._temporaries(*names):
            self.narrow(incoming, rows, (*arrays.needed(table), *((UNCHANGED,) if partial else ())))
            self._raise_refusals(incoming)
            lacking = unchanged.columns_of(table, self._texts(unchanged.query(self.dialect))) if partial else ()
            filled = [column.name for column in lacking]
            merge = self.merging(table, target, rows=rows, at_ms=load.at_ms, filled=filled)
            items = self._items(table, load)
            if items is not None:
                items.sifted()
            self.analyzed("keys")
            keys = temporary(self.dialect, "keys")
            total, deletes = self._one(
                f"SELECT count(*), count(CASE WHEN {self.dialect.quoted(GONE)} THEN 1 END) FROM {keys}"
            )
            newest, gone = total, deletes
            repeated = self._one(merge.repeated)[0]
            self.execute(merge.newest if repeated else merge.all_newest)
            if repeated:
                newest, gone = self._one(
                    f"SELECT count(*), count(CASE WHEN {self.dialect.quoted(GONE)} THEN 1 END) "
                    f"FROM {temporary(self.dialect, 'newest')}"
                )
                self.analyzed("newest")
            self.execute(merge.met)
            self.analyzed("met")
            met, stale, stale_gone = self._one(merge.counts)
            alive = newest - gone - stale
            for statement in self.filling(table, target, lacking, rows) if lacking else ():
                self.execute(statement)
            if met > stale:
                self.execute(merge.clear)
            if alive == incoming.count:
                self.execute(merge.insert)
            else:
                self.execute(merge.chosen)
                if gone:
                    self.execute(merge.flag)
                if alive:
                    self.execute(merge.insert_chosen)
                if gone:
                    self.execute(merge.insert_gone)
            marked = items.settled(repeated=bool(repeated)) if items is not None else 0
            if items is not None:
                items.clear()
        return Loaded(
            0,
            inserted=alive - (met - stale),
            updated=met - stale,
            deleted=gone - stale_gone,
            duplicates=total - newest,
            stale=stale + stale_gone + (items.bygone if items is not None else 0),
            empty=items.empty if items is not None else 0,
            marked=marked,
        )

    def _texts(self, sql: str, *values: Any) -> list[str]:
        return [str(row[0]) for row in self.rows(sql, *values)]

    def _items(self, table: Table, load: Load) -> arrays.Arrays | None:
        if table.nest is None or not arrays.has_ends(table):
            return None
        return arrays.Arrays(self, self.dialect, table, table.nest, load.at_ms, first=load.after == 0)

    def narrow(self, incoming: Incoming, rows: str, names: Sequence[str]) -> None:
        """The temporary table `keys` holds the columns ``names``, the sequence and whether a row is a delete."""
        del rows
        self.take("__mr_keys", incoming.reader(names, gone=True))

    def _recorded(self, table: Table, target: str, load: Load, incoming: Incoming) -> Loaded:
        from millrace.connect.sql import history  # a mode of few tables

        with self._temporaries(*history.TEMPORARIES):
            self.take("__mr_rows", incoming.reader(gone=True))
            self._raise_refusals(incoming)
            self.analyzed("rows")
            plan = self.recording(table, target, at_ms=load.at_ms)
            for statement in plan.statements:
                self.execute(statement)
            counts = self._one(plan.counts)
            for statement in plan.effects:
                self.execute(statement)
        inserted, updated, deleted, duplicates, stale = (int(count) for count in counts)
        rest = incoming.count - incoming.empty - inserted - updated - deleted - duplicates - stale
        return Loaded(
            0,
            inserted,
            updated=updated,
            deleted=deleted,
            duplicates=duplicates,
            stale=stale,
            unchanged=rest,
            empty=incoming.empty,
        )

    @contextmanager
    def _temporaries(self, *names: str) -> Generator[None]:
        """Temporary tables and views of a load are gone before and after it."""
        self._clear_temporaries(names)
        yield
        self._clear_temporaries(names)

    def _clear_temporaries(self, names: Sequence[str]) -> None:
        kinds = {name: kind for name, kind in self.temporaries() if name.startswith("__mr_")}
        for name in reversed(names):
            if kind := kinds.get(f"__mr_{name}"):
                self.execute(f"DROP {kind} {temporary(self.dialect, name)}")

    @abstractmethod
    def temporaries(self) -> list[tuple[str, str]]:
        """(name, TABLE or VIEW) of this connection's temporary relations."""

    def _one(self, sql: str, *values: Any) -> tuple[Any, ...]:
        return self.rows(sql, *values)[0]

    # Rows that cannot go in.

    def _diagnose(self, table: Table, load: Load, refused: RowsRefused) -> None:
        """Raises Unloadable with the rows that made the system refuse the load, or SchemaError when none did."""
        with self.transaction():
            incoming = self._incoming(table, load, thorough=True)
        for _ in incoming.reader():
            pass
        self._raise_refusals(incoming)
        if found := culprits(load, lambda part: self._attempt(table, part)):
            raise Unloadable(found) from refused
        raise SchemaError(
            f"{self.title} refuses the rows for {table.name!r}: {refused.message}",
            hint="Look at the constraints and triggers of the table.",
        ) from refused

    def _attempt(self, table: Table, part: Load) -> None:
        """The part goes in, or RowsRefused is raised; either way nothing has changed afterwards."""
        with suppress(_TakenBack), self.transaction():
            self._publish(table, part, self._incoming(table, part))
            raise _TakenBack

    # What is held.

    def holding(self, feed: str, table: str) -> Held | None:
        with self.connected(keep=True):
            return self._holding(feed, table, self.loads)

    def _holding(self, feed: str, table: str, loads: str) -> Held | None:
        columns = self.found(loads)
        if columns is None:
            return None
        one, two = self.marker(1), self.marker(2)
        file = STAGED_FILE if STAGED_FILE in columns else "NULL"
        found = self.rows(
            f"SELECT segment, {file} FROM {self.target(loads)} WHERE feed = {one} AND table_name = {two}", feed, table
        )
        return Held(int(found[0][0]), found[0][1]) if found else None

    def feeds(self, table: str) -> Collection[str]:
        with self.connected(keep=True):
            if self.found(self.loads) is None:
                return ()
            return self._texts(f"SELECT feed FROM {self.target(self.loads)} WHERE table_name = {self.marker(1)}", table)

    def forget(self, feed: str, table: str) -> None:
        with self.connected(keep=True), self.transaction():
            if self.found(self.loads) is not None:
                one, two = self.marker(1), self.marker(2)
                self.execute(
                    f"DELETE FROM {self.target(self.loads)} WHERE feed = {one} AND table_name = {two}", feed, table
                )

    def swap(self, fresh: str, table: str) -> None:
        with self.connected(keep=True), self.transaction():
            if self.found(fresh) is None:
                raise SchemaError(f"There is no table {fresh!r} to take the place of {table!r}.", code="TABLE_MISSING")
            self.must_be_table(table)
            self.lock(fresh)
            self.execute(f"DROP TABLE IF EXISTS {self.target(table)}")
            self.execute(f"ALTER TABLE {self.target(fresh)} RENAME TO {self.dialect.quoted(table)}")
            if self.found(self.loads) is not None:
                notes, one, two = self.target(self.loads), self.marker(1), self.marker(2)
                self.execute(f"DELETE FROM {notes} WHERE table_name = {one}", table)
                self.execute(f"UPDATE {notes} SET table_name = {one} WHERE table_name = {two}", table, fresh)

    def drop(self, table: str) -> None:
        with self.connected(keep=True), self.transaction():
            self.must_be_table(table)
            self.execute(self._drop(table))
            if self.found(self.loads) is not None:
                self.execute(f"DELETE FROM {self.target(self.loads)} WHERE table_name = {self.marker(1)}", table)

    def dropping(self, table: str) -> list[Change]:
        with self.connected(keep=True):
            return [Change("drop", table, None, self._drop(table))] if self.found(table) is not None else []

    def _drop(self, table: str) -> str:
        return f"DROP TABLE IF EXISTS {self.target(table)}"

    def having(self, table: str, values: Mapping[str, str], *, limit: int) -> pa.Table | None:
        where = finding.condition(self.dialect, self.schema(table) or {}, values)
        return None if where is None else self.query(f"SELECT * FROM {self.target(table)} WHERE {where}", limit=limit)

    def tally(
        self, table: str, name: str, at: str, days: LocalDays, only: Mapping[str, bool]
    ) -> Sequence[tuple[str, str, int]]:
        text = f"CAST({{c}} AS {self.dialect.types['VARCHAR']})"
        with self.connected():
            found = self.rows(counting.tally(self.dialect, self.target(table), name, at, days, only, text=text))
        return [(str(group), str(day), int(rows)) for group, day, rows in found]

    def sizes(
        self, table: str, key: str, ranges: Sequence[tuple[int | None, int | None]], only: Mapping[str, bool]
    ) -> tuple[int | None, list[int]]:
        with self.connected():
            sql = counting.statement(self.dialect.quoted, self.target(table), key, ranges, only)
            ((highest, *found),) = self.rows(sql)
        return (int(highest) if highest is not None else None), [int(rows) for rows in found]

    # The test of the connection.

    def check(self) -> list[Verdict]:
        verdicts: list[Verdict] = []
        scratch = f"__hevo_test_{secrets.token_hex(4)}"
        meta = Meta(ingested_at="at", sequence="__he__msg_seq_id", op_type="op", loads=f"{scratch}_loads")
        table = Table(scratch, (Column("id", types.LONG), Column("at", types.LONG)), meta, key=("id",))
        wider = replace(table, columns=(*table.columns, Column("more", types.VARCHAR)))
        before, self.loads = self.loads, meta.loads
        try:
            steps: list[tuple[str, str, Callable[[], Any]]] = [
                ("connect", "The connection stands.", self._probe),
                ("create", "Tables can be made.", lambda: self.ensure(table)),
                ("alter", "Columns can be added.", lambda: self.ensure(wider)),
                ("load", "Rows can be merged in.", lambda: self.load(wider, Load("check", 0, 1, 0, One(wider)))),
                ("read", "Rows can be read.", lambda: self.query(f"SELECT * FROM {self.target(scratch)}")),
                ("drop", "Tables can be dropped.", lambda: self._drop_scratch(scratch)),
            ]
            for step, message, run in steps:
                try:
                    run()
                except MillraceError as error:
                    verdicts.append(Verdict(step, "fail", error.message, error.hint))
                    if step not in ("connect", "create"):
                        with suppress(MillraceError):
                            self._drop_scratch(scratch)
                    break
                verdicts.append(Verdict(step, "pass", message))
        finally:
            self.loads = before
            self.close()
        return verdicts

    def _probe(self) -> None:
        with self.connected(keep=True):
            self.rows("SELECT 1")

    def _drop_scratch(self, scratch: str) -> None:
        self.drop(scratch)
        self.drop(f"{scratch}_loads")


def other_key(table: Table, found: Sequence[str]) -> SchemaError:
    """The error that a table has a primary key of other columns than the stream."""
    return SchemaError(
        f"The table {table.name!r} has the primary key ({', '.join(found)}), not ({', '.join(table.key)}).",
        hint="Drop that key, or rebuild the table with `millrace resync`.",
    )


@dataclass(frozen=True, slots=True)
class One(Rereadable):
    """A single row for the test of a connection."""

    table: Table

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(column.name, column.type) for column in self.table.columns])

    @property
    def count(self) -> int:
        return 1

    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        del columns
        row = {column.name: "x" if column.type == types.VARCHAR else 1 for column in self.table.columns}
        batch = pa.RecordBatch.from_pylist([row], schema=self.schema)
        return pa.RecordBatchReader.from_batches(self.schema, [batch])
