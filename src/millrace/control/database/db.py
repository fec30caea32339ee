"""The control database, SQLite or PostgreSQL: transactions, the version of the schema, errors in words."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.util import LRUCache

from millrace.control.database import first_write
from millrace.errors import EnvironmentProblem, Transient
from millrace.version import VERSION

# The revision that `tables` describes. Revisions are four digits, so that a later one is a greater text.
HEAD = "0054"

# The statements that make this revision in SQLite, a blank line between two. A test holds it equal to the tables.
PREPARED = Path(__file__).with_name("migrations") / "prepared.sql"

# Our tables live in a schema of their own in PostgreSQL, so that the database may serve other things too.
SCHEMA = "millrace"

BUSY_TIMEOUT_S = 30.0

# A PostgreSQL server that is gone without a word is found out in about a minute: nobody waits for it for ever.
_REACHED = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

_READING = "millrace_reading"
_UNCHECKED = "millrace_unchecked"
_CREATING_LOCK = 0x6D696C6C


# An upgrade waits so long for transactions that others are in.
UPGRADE_WAIT_S = 60


class Outdated(EnvironmentProblem):
    """A newer Millrace has upgraded the control database: this one may read and write no more of it."""

    code = "newer_database"


class _Compiled(LRUCache[Any, Any]):
    """Statements that were compiled, by keys that begin with the dialect of an engine.

    Each engine has a dialect of its own; two that speak to the same version of the same kind of server compile alike.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_alike(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_alike(key), value)


def _alike(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *statement = key
    return (dialect.name, dialect.server_version_info, *statement)


# Statements that were compiled stay so for all homes that a process opens: to compile one takes longer than to run it.
_compiled = _Compiled(1000)


class Database:
    """Connections to the control database. May be used by several threads.

    ``known``: the revision that the caller knows; every transaction raises Outdated where the schema is of a later one.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.known: str | None = None
        self.engine = _engine(url)
        self._mine = threading.local()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Generator[sa.Connection]:
        """One transaction that is durable when the block ends, or nothing when it raises (I1).

        SQLite takes its one write lock at the start, so that what is read here is still true at the commit. Raises
        Outdated, with nothing written, where another version has upgraded the schema meanwhile.
        """
        with self._translated(), self.engine.begin() as connection:
            self._check(connection)
            outer, self._mine.connection = self._mine_now(), connection
            try:
                first_write.check(connection)
                yield connection
            finally:
                self._mine.connection = outer
        first_write.committed()

    def check(self) -> None:
        """The schema is still the one that this version knows. Raises Outdated."""
        with self.reading() as connection:
            self._check(connection)

    def _check(self, connection: sa.Connection) -> None:
        # In PostgreSQL the read keeps a lock on the table until the transaction ends, and an upgrade waits for it.
        if self.known is not None:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
            if found > self.known:
                raise _newer(self, found)

    @contextmanager
    def joining(self) -> Generator[sa.Connection]:
        """The transaction in which this thread is already, else one of its own."""
        if (connection := self._mine_now()) is not None:
            yield connection
        else:
            with self.transaction() as connection:
                yield connection

    def _mine_now(self) -> sa.Connection | None:
        return getattr(self._mine, "connection", None)

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A consistent view for reading. It never waits for a writer and none waits for it."""
        with self._translated(), self.engine.connect() as plain:
            connection = plain.execution_options(**{_READING: True})
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def rebuilding(self) -> Generator[sa.Connection]:
        """One transaction in which tables may be made anew.

        SQLite can change a table only by making another in its place, and must not take the rows that refer to the
        old one along with it. What refers to nothing in the end is an error.
        """
        with self._translated(), self.engine.connect() as plain:
            connection = plain.execution_options(**{_UNCHECKED: True})
            with connection.begin():
                yield connection
                if self.is_sqlite and (loose := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()):
                    raise EnvironmentProblem(
                        f"rows of the control database {self.shown} refer to rows that are not there: {loose[:3]}",
                        hint="Restore it from a backup. Nothing was changed.",
                        code="damaged_database",
                    )
            connection.invalidate()  # it does not check what refers to what

    def now(self) -> datetime:
        """The moment by the clock that all users of this database share: the server's, or this machine's."""
        if self.is_sqlite:
            return datetime.now(UTC)
        with self.reading() as connection:
            return connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)

    def close(self) -> None:
        """Connections end. May be called twice."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except SQLAlchemyError as cause:
            raise _in_words(cause, self.shown) from cause

    @property
    def shown(self) -> str:
        """Where it is, without a password (I7)."""
        return self.engine.url.database or "" if self.is_sqlite else self.engine.url.render_as_string()


def open_database(url: str) -> Database:
    """The database with its schema as of this version; made when it has none, upgraded when it is older.

    An upgrade waits for transactions that go on; what older versions begin after it raises Outdated, so they may be at
    work meanwhile. Raises Outdated when a newer Millrace made it; nothing is touched then.
    """
    database = Database(url)
    try:
        found = _revision(database)
        if found is None:
            found = _create(database)
        if found > HEAD:
            raise _newer(database, found)
        if found < HEAD:
            # Imported here: only an upgrade needs Alembic, and it takes as long to import as a small sync.
            from millrace.control.database.migrations.upgrade import upgrade

            with database.rebuilding() as connection:
                _alone(connection)
                _quiet(connection)
                upgrade(connection, HEAD)
                _sign(connection)
        database.known = HEAD
    except BaseException:
        database.close()
        raise
    return database


def moment_ms(value: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def any_in(connection: sa.Connection, table: sa.Table) -> bool:
    """Whether the table has a row at all. Of tables that mostly have none this is asked first: it takes a tenth of what
    it takes to compile and execute the statement that then is not needed."""
    return bool(connection.exec_driver_sql(f"SELECT EXISTS (SELECT 1 FROM {table.name})").scalar_one())


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    add: Sequence[str] = (),
) -> None:
    """The rows are in the table; where a key is there already, other columns are replaced, those of ``add`` added."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        insert = sqlite.insert(table)
    else:
        # Imported here: a home on SQLite, the usual one, starts sooner without.
        from sqlalchemy.dialects import postgresql

        insert = postgresql.insert(table)
    changed = {
        name: table.c[name] + insert.excluded[name] if name in add else insert.excluded[name]
        for name in rows[0]
        if name not in key
    }
    connection.execute(insert.on_conflict_do_update(index_elements=list(key), set_=changed), list(rows))


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise EnvironmentProblem(
                f"the control database cannot be a {parsed.get_backend_name()} database",
                hint="Use sqlite:///<file> or postgresql://<user>:<password>@<host>/<database>.",
                path="MILLRACE_DATABASE_URL",
                code="database_url",
            )
        if parsed.get_backend_name() == "sqlite":
            engine = sa.create_engine(
                parsed, connect_args={"timeout": BUSY_TIMEOUT_S}, execution_options={"compiled_cache": _compiled}
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            engine = sa.create_engine(
                parsed,
                pool_pre_ping=True,
                connect_args={name: value for name, value in _REACHED.items() if name not in parsed.query},
                execution_options={"compiled_cache": _compiled},
            )
            if "options" not in parsed.query:
                # Before SQLAlchemy asks for the default schema, so that it finds ours.
                event.listen(engine, "connect", _prepare_postgresql, insert=True)
        return engine
    except SQLAlchemyError as cause:
        raise EnvironmentProblem(
            "the URL of the control database cannot be understood",
            hint="Use sqlite:///<file> or postgresql://<user>:<password>@<host>/<database>.",
            path="MILLRACE_DATABASE_URL",
            code="database_url",
        ) from cause


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # SQLAlchemy's `begin` event opens transactions; the driver must not.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
    _write_ahead(connection)
    # In WAL mode only FULL syncs the log at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous): I1.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """The journal is a write-ahead log. The change of mode does not wait for locks by itself, so it is tried again."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode in ("wal", "memory"):
                return
        except sqlite3.OperationalError as locked:
            if "locked" not in str(locked) or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get(_READING, False)
    if connection.get_execution_options().get(_UNCHECKED, False):
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_postgresql(connection: Any, _: object) -> None:
    connection.autocommit = True
    connection.execute(f"SET search_path TO {SCHEMA}")
    connection.autocommit = False


def _revision(database: Database) -> str | None:
    """The revision that the database is at; None when it has no schema of ours yet."""
    try:
        with database.engine.connect() as plain, plain.execution_options(**{_READING: True}).begin():
            # Asked first: of an error SQLAlchemy wants to know whether it is one of asyncio's, and imports that.
            if (
                database.is_sqlite
                and not plain.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").first()
            ):
                return None
            return plain.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    except DBAPIError as cause:
        if getattr(cause.orig, "sqlstate", None) in ("42P01", "3F000"):
            return None
        raise _in_words(cause, database.shown) from cause


def _create(database: Database) -> str:
    """The schema is there, made by us or by another process in the same moment; its revision."""
    from millrace.control.database.migrations.first_team import add_first_team

    with database.transaction() as connection:
        _alone(connection)
        if not database.is_sqlite:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        if found is not None:
            return found
        if database.is_sqlite:
            # To compile it from the tables takes four times as long as to run it.
            for statement in PREPARED.read_text(encoding="utf-8").split("\n\n"):
                connection.exec_driver_sql(statement)
        else:
            _make(connection)
        add_first_team(connection)
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        _sign(connection)
    return HEAD


def _make(connection: sa.Connection) -> None:
    from millrace.control.database.tables import metadata

    known_tables()
    metadata.create_all(connection, checkfirst=False)


def known_tables() -> Mapping[str, sa.Table]:
    """All tables of this schema, by name."""
    from millrace.control.database import people_tables, telling_tables
    from millrace.control.database.tables import metadata

    del people_tables, telling_tables  # their tables are in `metadata` now
    return metadata.tables


def _alone(connection: sa.Connection) -> None:
    """No other process changes the schema until this transaction ends. SQLite's write lock says so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATING_LOCK})


def _quiet(connection: sa.Connection) -> None:
    """No transaction of another process goes on, and none begins until this one ends."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{UPGRADE_WAIT_S}s'")
        connection.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")


def _sign(connection: sa.Connection) -> None:
    """The database says which Millrace made its schema, for the error text of an older one."""
    from millrace.control.database.tables import settings

    row = {"key": "made_by", "value": VERSION, "changed_at": datetime.now(UTC)}
    upsert(connection, settings, [row], key=["key"])


def _newer(database: Database, found: str) -> Outdated:
    try:
        with database.reading() as connection:
            made_by = connection.execute(sa.text("SELECT value FROM settings WHERE key = 'made_by'")).scalar()
    except (EnvironmentProblem, Transient):
        made_by = None
    by = f" (made by Millrace {made_by.strip(chr(34))})" if made_by else ""
    return Outdated(
        f"the control database {database.shown} is of schema {found}{by}; this Millrace {VERSION} knows schemas "
        f"up to {HEAD}",
        hint="Upgrade Millrace: pip install --upgrade millrace. Nothing was changed.",
    )


def _in_words(cause: SQLAlchemyError, where: str) -> Exception:
    """An error of the driver as one of ours. Statements and their values are left out: they may hold secrets (I7)."""
    original = getattr(cause, "orig", None)
    text = str(original or cause)
    if "database or disk is full" in text or getattr(original, "sqlstate", None) == "53100":
        return EnvironmentProblem(
            f"no space is left for the control database {where}",
            hint="Free some space; what was committed is safe.",
            code="disk_full",
        )
    if "database is locked" in text:
        return Transient(
            f"the control database {where} was busy for {BUSY_TIMEOUT_S:.0f} s",
            hint="Another process holds it; try again.",
        )
    if "not a database" in text or "malformed" in text:
        return EnvironmentProblem(
            f"the control database {where} is damaged: {text}",
            hint="Restore it from a backup. Tables at the destinations are not touched.",
            code="damaged_database",
        )
    if "unable to open" in text or "readonly database" in text or "disk I/O" in text:
        return EnvironmentProblem(
            f"the control database {where} cannot be opened for writing: {text}",
            hint="Check that the file and its folder belong to the user who runs Millrace.",
            code="database_unwritable",
        )
    state = getattr(original, "sqlstate", None) or ""
    if state == "55P03":
        return Transient(
            f"the control database {where} was in use for {UPGRADE_WAIT_S} s, and could not be upgraded",
            hint="Another process is in the middle of something; try again.",
        )
    if state in ("42501", "28000", "28P01", "3D000"):
        return EnvironmentProblem(
            f"the control database {where} refused: {text.strip()}",
            hint=f"The user needs the right to connect and to create the schema {SCHEMA!r}.",
            path="MILLRACE_DATABASE_URL",
            code="database_refused",
        )
    if isinstance(cause, OperationalError):
        return Transient(
            f"the control database {where} cannot be reached: {text.strip()}",
            hint="Check that its server runs, and MILLRACE_DATABASE_URL, which says where it is.",
        )
    return cause
