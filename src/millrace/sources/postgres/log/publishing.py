"""What a pipeline has at the server: a slot, and two publications of the tables that it follows.

A table whose updates and deletes cannot say which row they mean must not publish them: the server would refuse the
statements of its users. Such tables are in a publication of their own, of inserts and truncations alone.
Sources: https://www.postgresql.org/docs/current/logical-replication-publication.html, view-pg-replication-slots.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from millrace.connect.log import expired
from millrace.connect.source import Clock, Context
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, Transient
from millrace.sources.postgres.catalog import PARTS, literal, quoted
from millrace.sources.postgres.errors import FAILOVER_HINT, STANDBY_HINT, no_failover, no_log_of_standby
from millrace.sources.postgres.locks import WAIT_MS, lock
from millrace.sources.postgres.log.snapshots import CURRENT, END, Snapshot
from millrace.sources.postgres.log.wire import lsn
from millrace.sources.postgres.types import SESSION

# Waits for others that are in the way: a reader that is just ending, writers of a table that joins.
_PATIENCE_S = 30.0
_PAUSE_S = 0.1
_FLUSH_S, _FLUSH_PAUSE_S = 2.0, 0.02


@dataclass(frozen=True, slots=True)
class Names:
    """Names at the server of what is the pipeline's. ``own``: a publication of the user's in place of ours."""

    slot: str
    all: str
    inserts: str
    own: str | None = None

    @staticmethod
    def of(pipeline: str, own: str | None) -> Names:
        name = f"millrace_{re.sub('[^a-z0-9]+', '_', pipeline.lower())}"[:50]
        return Names(name, name, f"{name}_inserts", own)

    @property
    def publications(self) -> Sequence[str]:
        return (self.own,) if self.own else (self.all, self.inserts)


@dataclass(frozen=True, slots=True)
class Identity:
    """How changes of a table say which row they mean. ``key``: the columns; empty where they say all of the row, or
    nothing. ``updates``: updates and deletes are published. ``whole``: they say all of the old row."""

    key: tuple[str, ...]
    updates: bool
    whole: bool


_IDENTITIES = f"""
SELECT n.nspname || '.' || c.relname, c.relreplident::text,
  (SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_index AS i,
     unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place), pg_attribute AS a
     WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.number
     AND k.place <= i.indnkeyatts),
  (SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_index AS i,
     unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place), pg_attribute AS a
     WHERE i.indrelid = c.oid AND i.indisreplident AND a.attrelid = c.oid AND a.attnum = k.number
     AND k.place <= i.indnkeyatts),
  p.loud, p.usual, c.relkind = 'p'
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (WITH RECURSIVE {PARTS}
  SELECT bool_and(l.relreplident = 'f') AS loud, bool_and(l.relreplident = 'd') AS usual
  FROM parts JOIN pg_class AS l ON l.oid = parts.id WHERE l.relkind <> 'p') AS p ON c.relkind = 'p'
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'"""


_PUBLISHED = """
SELECT n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_publication AS p JOIN pg_publication_rel AS r ON r.prpubid = p.oid
JOIN pg_class AS c ON c.oid = r.prrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE p.pubname = %s"""


class Side:
    """A connection for questions beside the log."""

    def __init__(self, uri: str, translated: Callable[[str | None, str], MillraceError]) -> None:
        self._translated = translated
        with self.translated():
            self._connection = psycopg.connect(uri, autocommit=True, prepare_threshold=None)
        for name, value in SESSION.items():
            self.run(f"SET {name} = {literal(value)}")

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.translated(), self._connection.cursor() as cursor:
            cursor.execute(sql.encode(), values or None)
            return cursor.fetchall()

    def run(self, sql: str, *values: Any) -> None:
        with self.translated(), self._connection.cursor() as cursor:
            cursor.execute(sql.encode(), values or None)

    @contextmanager
    def translated(self) -> Generator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._translated(error.sqlstate, str(error)) from error

    def snapshot(self, name: str | None = None) -> Snapshot:
        """What is seen now, or by the exported snapshot of that name."""
        if name is None:
            return Snapshot.of(self.rows(CURRENT)[0][0])
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            self.run(f"SET TRANSACTION SNAPSHOT {literal(name)}")
            return Snapshot.of(self.rows(CURRENT)[0][0])
        finally:
            self.run("ROLLBACK")

    @property
    def standby(self) -> bool:
        return bool(self.rows("SELECT pg_is_in_recovery()")[0][0])

    def cancel(self, process: int) -> None:
        """What another connection of ours waits for ends. libpq's own way would wait in a thread that lets no other
        run, the tunnel's among them."""
        self.run("SELECT pg_cancel_backend(%s)", process)

    def flushed(self) -> int:
        """Up to here the log is on the server's disk, or has come to a standby: so far it can be followed."""
        standby = "pg_is_in_recovery()"
        sql = f"CASE WHEN {standby} THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END"
        return lsn(self.rows(f"SELECT ({sql})::text")[0][0])

    def end_of_log(self, clock: Clock) -> int:
        """Where the log ends: behind all that was committed until now, and on the server's disk.

        Commits with ``synchronous_commit = off`` come to the disk later, and are not sent before. A small commit of
        ours that waits for the disk takes them with it; where the user may make none, the server is waited for.
        """
        self.flush(clock)
        return self.flushed()

    def flush(self, clock: Clock) -> bool:
        """All that was written to the log until now is on the server's disk; False where that takes long."""
        for behind, missing, delay_ms, _ in self.rows(END):
            if not missing:
                break
            with suppress(MillraceError), self._waiting_for_disk():
                self.rows("SELECT pg_logical_emit_message(true, 'millrace', '')")
            # After three delays at most every commit is on the disk
            # (https://www.postgresql.org/docs/current/wal-async-commit.html); the rest is for a busy machine.
            until = clock.monotonic() + 3 * delay_ms / 1000 + _FLUSH_S
            while self.flushed() < lsn(behind):
                if clock.monotonic() > until:
                    return False
                clock.sleep(_FLUSH_PAUSE_S)
        return True

    def must_flush(self, clock: Clock) -> None:
        """All that the server shows until now outlasts a crash. Raises Transient where that takes long."""
        if not self.flush(clock):
            raise Transient("the server does not bring to its disk what it shows")

    @contextmanager
    def _waiting_for_disk(self) -> Generator[None]:
        """A transaction that may write, and whose commit waits for the server's own disk, and no standby's."""
        self.run("BEGIN READ WRITE")
        try:
            self.run("SET LOCAL synchronous_commit = local")
            yield
        except BaseException:
            self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    @contextmanager
    def reading(self, source: str, clock: Clock) -> Generator[None]:
        """A transaction that reads the table, with the locks that it needs."""
        self._tried(clock, "BEGIN READ ONLY", lock([source]))
        try:
            yield
        finally:
            with suppress(MillraceError):
                self.run("ROLLBACK")

    def alone(self, sql: str, clock: Clock) -> None:
        """One statement that needs several locks."""
        self._tried(clock, "BEGIN", sql)
        self.run("COMMIT")

    def _tried(self, clock: Clock, begin: str, sql: str) -> None:
        """Begins a transaction in which the statement has run: once all its locks are free. Raises Transient when that
        takes long."""
        until = clock.monotonic() + _PATIENCE_S
        ((most_ms,),) = self.rows(WAIT_MS)
        while True:
            self.run(begin)
            self.run(f"SET LOCAL lock_timeout = {int(most_ms)}")
            try:
                self.run(sql)
            except Transient as error:
                self.run("ROLLBACK")
                if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable) or clock.monotonic() > until:
                    raise
                clock.sleep(_PAUSE_S)
            except BaseException:
                with suppress(MillraceError):
                    self.run("ROLLBACK")
                raise
            else:
                return

    def identities(self) -> dict[str, Identity]:
        """Tables whose changes are in the log, by name."""
        return {name: _identity(*about) for name, *about in self.rows(_IDENTITIES)}

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()


def _identity(
    kind: str, primary: list[str] | None, index: list[str] | None, full: bool | None, usual: bool | None, parted: bool
) -> Identity:
    key = tuple(primary or ())
    if kind == "f" and (full or not parted):
        return Identity(key, updates=True, whole=True)
    if kind == "i" and index and not parted:
        return Identity(tuple(index), updates=True, whole=False)
    if kind == "d" and key and (usual or not parted):
        return Identity(key, updates=True, whole=False)
    return Identity(key, updates=False, whole=False)


_COPY = "SELECT 1 FROM pg_replication_slots AS s WHERE slot_name = %s AND to_jsonb(s) ->> 'synced' = 'true'"


def followable(side: Side, names: Names, *, failover: bool) -> None:
    """A standby has a log of its own from version 16 on, in which is what the primary publishes. One that keeps a copy
    of our slot has to take the primary's place before it can be followed.

    Raises ConfigError "postgres_1012" where there is none, or nobody publishes, and "no_failover" where a slot cannot
    be as it is wished; Transient where a standby is not a primary yet.
    """
    ((standby, version),) = side.rows("SELECT pg_is_in_recovery(), current_setting('server_version_num')::int4")
    if standby and side.rows(_COPY, names.slot):
        raise Transient(
            f"the server is a standby with a copy of the replication slot {names.slot}",
            hint="Promote it, or name the primary in db_host; the run is tried again.",
        )
    if why := no_failover(version, standby=standby) if failover else None:
        raise ConfigError(f"failover_slot: {why}", hint=FAILOVER_HINT, path="failover_slot", code="no_failover")
    if why := no_log_of_standby(version, own=names.own is not None) if standby else None:
        raise ConfigError(f"the server cannot be followed: {why}", hint=STANDBY_HINT, code="postgres_1012")


def publish(side: Side, names: Names, tables: Mapping[str, tuple[str, Identity]]) -> None:
    """The publications are there and have exactly these tables; of each the qualified name, and its identity."""
    if names.own is not None:
        if not side.rows("SELECT 1 FROM pg_publication WHERE pubname = %s", names.own):
            raise ConfigError(
                f"there is no publication {names.own!r}",
                hint="Make it, with publish_via_partition_root, or leave publication_name out.",
                path="publication_name",
                code="no_publication",
            )
        return
    ((version,),) = side.rows("SELECT current_setting('server_version_num')::int4")
    # Truncations since version 11; parts of a table under its own name since 13.
    whole = ", publish_via_partition_root = true" if version >= 130_000 else ""
    emptied = ", truncate" if version >= 110_000 else ""
    gone: list[tuple[str, str]] = []
    for name, kinds, updates in ((names.all, "insert, update, delete", True), (names.inserts, "insert", False)):
        wanted = {table: sql for table, (sql, identity) in tables.items() if identity.updates == updates}
        if not side.rows("SELECT 1 FROM pg_publication WHERE pubname = %s", name):
            side.run(f"CREATE PUBLICATION {quoted(name)} WITH (publish = '{kinds}{emptied}'{whole})")
        there = dict(side.rows(_PUBLISHED, name))
        gone += [(name, sql) for table, sql in there.items() if table not in wanted]
        for table in sorted(wanted.keys() - there.keys()):
            _alter(side, name, f"ADD TABLE ONLY {wanted[table]}")
    # A table that changes from one publication to the other is in one of them at any time.
    for name, sql in gone:
        _alter(side, name, f"DROP TABLE ONLY {sql}")


def _alter(side: Side, name: str, change: str) -> None:
    """One change of a publication, of one table: whoever waits for a table must hold no other, or a transaction of
    its users may have to end."""
    side.run(f"SET lock_timeout = '{int(_PATIENCE_S)} s'")
    try:
        side.run(f"ALTER PUBLICATION {quoted(name)} {change}")
    except Transient as error:
        error.hint = error.hint or "Look for who has the table locked in pg_locks; the run is tried again."
        raise
    finally:
        side.run("RESET lock_timeout")


def published(side: Side, name: str) -> frozenset[str]:
    """Tables of a publication."""
    sql = "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = %s"
    return frozenset(table for (table,) in side.rows(sql, name))


def await_writers(side: Side, tables: Collection[str], context: Context) -> None:
    """Transactions that wrote to the tables before they were published are over.

    Their changes are not in the log for us, so a history must see them. Raises Transient where they take too long.
    """
    if not tables:
        return
    names = ", ".join(literal(one) for one in tables)
    holders = (
        "SELECT DISTINCT l.virtualtransaction FROM pg_locks AS l WHERE l.granted AND l.locktype = 'relation' "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') "
        "AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.relation IN (SELECT t.id FROM pg_class AS c "
        f"JOIN pg_namespace AS n ON n.oid = c.relnamespace, LATERAL (WITH RECURSIVE {PARTS} SELECT id FROM parts) AS t "
        f"WHERE n.nspname || '.' || c.relname IN ({names}))"
    )
    if side.standby:
        # Its locks are those of its readers: all that was open at the primary, as far as is known here, is waited for.
        ((open_,),) = side.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        holders = f"SELECT 1 WHERE pg_snapshot_xmin(pg_current_snapshot()) < {literal(open_)}::xid8"
    left = {one for (one,) in side.rows(holders)}
    clock = context.clock
    until = clock.monotonic() + _PATIENCE_S
    while left:
        if context.stopping.is_set() or clock.monotonic() > until:
            raise Transient(
                f"transactions that write to {', '.join(sorted(tables))} have been open for long",
                hint="Look for them in pg_stat_activity; the run is tried again.",
            )
        clock.sleep(_PAUSE_S)
        left &= {one for (one,) in side.rows(holders)}


def reachable(side: Side, names: Names, at: int, seen: Sequence[tuple[int, int]]) -> None:
    """The log still has all that lies behind ``at``, and all in front of that and of the places that are ``seen``.
    Raises ConfigError "log_expired" where it has not."""
    if kept_from(side, names) > at:
        raise expired(f"the replication slot {names.slot} was moved on behind our back")
    if side.flushed() < max([at, *(place for place, _ in seen)]):
        raise expired("the server is another one, or was restored from a copy of earlier")


def kept_from(side: Side, names: Names) -> int:
    """From where on the server keeps its log for the slot. Raises ConfigError "log_expired" where it keeps none."""
    found = side.rows(
        "SELECT confirmed_flush_lsn::text, to_jsonb(s) ->> 'wal_status', to_jsonb(s) ->> 'conflicting', plugin::text "
        "FROM pg_replication_slots AS s WHERE slot_name = %s AND database = current_database()",
        names.slot,
    )
    if not found:
        raise expired(f"the replication slot {names.slot} is gone")
    confirmed, status, conflicting, plugin = found[0]
    if plugin != "pgoutput":
        raise expired(f"the replication slot {names.slot} was made by somebody else, for {plugin}")
    if status == "lost" or conflicting == "true" or confirmed is None:
        raise expired(f"the server removed log that the replication slot {names.slot} needs")
    return lsn(confirmed)


def retained(side: Side, names: Names) -> tuple[int, int | None] | None:
    """Bytes of log that the server keeps for the slot, and how many more it may; None where it has no slot."""
    found = side.rows(
        "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::int8, "
        "(to_jsonb(s) ->> 'safe_wal_size')::int8 FROM pg_replication_slots AS s "
        "WHERE slot_name = %s AND NOT pg_is_in_recovery()",
        names.slot,
    )
    return (int(found[0][0] or 0), found[0][1]) if found else None


def drop_slot(side: Side, names: Names, clock: Clock) -> None:
    """There is no slot of this name. Whoever reads from it is waited for."""
    until = clock.monotonic() + _PATIENCE_S
    while found := side.rows("SELECT active FROM pg_replication_slots WHERE slot_name = %s", names.slot):
        if not found[0][0]:
            with suppress(Transient):  # somebody else may be faster
                side.run("SELECT pg_drop_replication_slot(%s)", names.slot)
            continue
        if clock.monotonic() > until:
            raise Transient(f"the replication slot {names.slot} is read by somebody else")
        clock.sleep(_PAUSE_S)


def drop_ours(side: Side, names: Names, clock: Clock) -> None:
    """The publications that Millrace made are gone; one of the user's is not touched."""
    sql = "SELECT pubname::text FROM pg_publication WHERE pubname = ANY(%s)"
    for (name,) in side.rows(sql, [names.all, names.inserts]):
        side.alone(f"DROP PUBLICATION IF EXISTS {quoted(name)}", clock)
