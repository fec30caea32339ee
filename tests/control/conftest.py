"""A control database of each kind, a pipeline in it, and books in the hands of a run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from millrace.control.books import leases, records
from millrace.control.books.ledger import Books
from millrace.control.connecting import connections
from millrace.control.database import tables
from millrace.control.database.db import Database, open_database
from millrace.control.database.numbers import following
from millrace.control.home import Home
from millrace.control.people.actors import FIRST_TEAM
from millrace.control.pipeline import pipelines
from millrace.data.batch import Segment
from millrace.engine.ledger import Commit, RejectFile
from millrace.engine.mapping import Mapping

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)


# What makes a schema: its columns, and the numbers of all else, which are new where something was made anew. A test
# that changed it leaves none behind. To have the server write out each rule would take longer than to bring rows back.
SHAPE = """
SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
    SELECT concat_ws(' ', attrelid, attnum, attname, atttypid, atttypmod, attnotnull, atthasdef) AS line
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'millrace'::regnamespace AND relkind = 'r' AND attnum > 0
    UNION ALL SELECT concat('default ', pg_attrdef.oid)
    FROM pg_attrdef JOIN pg_class ON pg_class.oid = adrelid WHERE relnamespace = 'millrace'::regnamespace
    UNION ALL SELECT concat_ws(' ', oid, conname) FROM pg_constraint WHERE connamespace = 'millrace'::regnamespace
    UNION ALL SELECT concat_ws(' ', relkind, oid, relname) FROM pg_class WHERE relnamespace = 'millrace'::regnamespace
    UNION ALL SELECT concat_ws(' ', pg_trigger.oid, tgname, tgenabled)
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = 'millrace'::regnamespace AND NOT tgisinternal
) AS lines
"""

# Rows that were there from the beginning are kept beside, and come back; numbers begin at 1 again.
KEEP = """
DO $$ DECLARE one text; BEGIN
    DROP SCHEMA IF EXISTS kept CASCADE;
    CREATE SCHEMA kept;
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'millrace' LOOP
        EXECUTE format('CREATE TABLE kept.%1$I AS TABLE millrace.%1$I', one);
    END LOOP;
END $$
"""
BRING_BACK = """
DO $$ DECLARE one text; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'millrace' LOOP
        EXECUTE format('DELETE FROM millrace.%1$I', one);
        EXECUTE format('INSERT INTO millrace.%1$I SELECT * FROM kept.%1$I', one);
    END LOOP;
    FOR one IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'millrace' AND last_value IS NOT NULL LOOP
        EXECUTE format('ALTER SEQUENCE millrace.%I RESTART', one);
    END LOOP;
END $$
"""


class AsNew:
    """The control database of a PostgreSQL server, in which a test finds what a new one holds.

    To make its schema takes longer than most tests, so it stays, unless a test has changed it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._shape: str | None = None
        # Held: a connection costs the server a process, and both sides a proof of the password.
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def used(self) -> Generator[None]:
        """By one test."""
        connection = self._connection
        if self._shape is None:
            open_database(self.url).close()
            connection.execute(KEEP)
            self._shape = self._found(connection)
        yield
        # A test may have left a connection open.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        if self._found(connection) == self._shape:
            connection.execute(BRING_BACK)
        else:
            self._shape = None
            connection.execute("DROP SCHEMA IF EXISTS millrace CASCADE")

    def _found(self, connection: psycopg.Connection[Any]) -> str | None:
        if connection.execute("SELECT to_regnamespace('millrace')").fetchone() == (None,):
            return None
        row = connection.execute(SHAPE).fetchone()
        return row[0] if row else None


@pytest.fixture(scope="session")
def server_url(postgres: Any) -> Iterator[str]:
    """The URL of a PostgreSQL database that tests of the control database use one after the other."""
    name = f"control_{uuid.uuid4().hex}"
    postgres.run(f"CREATE DATABASE {name}")
    parsed = sa.make_url(postgres.url).set(drivername="postgresql+psycopg", database=name)
    yield parsed.render_as_string(hide_password=False)
    postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a control database as new, on PostgreSQL with its schema; each test runs on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'millrace.db'}"
        return
    new: AsNew = request.getfixturevalue("as_new")
    with new.used():
        yield new.url


@pytest.fixture(scope="session")
def as_new(server_url: str) -> Iterator[AsNew]:
    new = AsNew(server_url)
    yield new
    new.close()


@pytest.fixture
def control(url: str) -> Iterator[Database]:
    """The control database with its schema."""
    database = open_database(url)
    yield database
    database.close()


@dataclass
class Desk:
    """A pipeline, and books for as many runs as a test asks for."""

    database: Database
    pipeline: str

    def books(self) -> tuple[Books, int]:
        """Books of a new run, which takes the lease from whoever of this test has it."""
        for token in list(leases._ours):
            leases._ours.discard(token)
        lease = leases.acquire(self.database, f"pipeline {self.pipeline}")
        run = records.begin_run(self.database, self.pipeline, "INCREMENTAL")
        return Books(self.database, self.pipeline, run, lease), run

    def scalar(self, query: sa.Select[Any]) -> Any:
        with self.database.reading() as connection:
            return connection.execute(query).scalar()


def add_pipeline(database: Database, name: str = "events") -> str:
    """A pipeline with its two connections, straight into the tables; its id."""
    ids = [str(uuid.uuid4()) for _ in range(3)]
    with database.transaction() as connection:
        for id_, kind in zip(ids[:2], ("source", "destination"), strict=True):
            connection.execute(
                sa.insert(tables.connections).values(
                    id=id_,
                    kind=kind,
                    name=f"{name} {kind}",
                    type="none",
                    config={},
                    secret_keys=[],
                    created_at=NOW,
                    changed_at=NOW,
                    team_id=FIRST_TEAM,
                    number=following(connection, "connection"),
                )
            )
        connection.execute(
            sa.insert(tables.pipelines).values(
                id=ids[2],
                name=name,
                source_id=ids[0],
                destination_id=ids[1],
                load_mode="merge",
                table_prefix="",
                naming="edge",
                auto_mapping=True,
                schedule=None,
                options={},
                state="ACTIVE",
                ingested_at_ms=0,
                created_at=NOW,
                changed_at=NOW,
                team_id=FIRST_TEAM,
                number=following(connection, "pipeline"),
            )
        )
    return ids[2]


@pytest.fixture
def desk(control: Database) -> Desk:
    return Desk(control, add_pipeline(control))


@pytest.fixture
def segment() -> Callable[..., Segment]:
    """A staged file that nobody wrote: books keep names of files, not files."""

    def make(rows: int = 10, table: str = "events", stream: str = "Events") -> Segment:
        return Segment(stream, table, f"x/{uuid.uuid4().hex}.arrow", rows, rows * 100, "0" * 64)

    return make


@pytest.fixture
def rejects() -> Callable[..., RejectFile]:
    def make(
        rows: int = 1, code: str = "NULL_PRIMARY_KEY", stage: str = "mapping", stream: str = "Events"
    ) -> RejectFile:
        group = (stream, stage, code)
        return RejectFile(f"r/{uuid.uuid4().hex}.arrow", "1" * 64, 100, {group: rows}, {group: "no key"})

    return make


MAPPING = Mapping(stream="Events", table="events", key=("id",))


def commit(*, cursor: object = "c1", read: int = 0, **more: object) -> Commit:
    """A commit of the stream Events with its mapping."""
    return replace(Commit("Events", "incremental", cursor, read, mappings=(MAPPING,)), **more)


EVENTS_CSV = "Event Name,Type\nCharged,Custom\n"


@pytest.fixture
def home(url: str, tmp_path: Path) -> Iterator[Home]:
    """A home of its own, on each kind of database; deaf to the environment."""
    with Home.open(tmp_path / "home", create=True, env={"MILLRACE_DATABASE_URL": url}) as home:
        yield home


@pytest.fixture
def clevertap(tmp_path: Path) -> dict[str, Any]:
    """Settings of a source, with a secret among them."""
    (tmp_path / "events.csv").write_text(EVENTS_CSV)
    return {
        "project_id": "AAA-BBB-CCCC",
        "passcode": "hunter2-not-for-you",
        "region": "EU",
        "events_file": str(tmp_path / "events.csv"),
    }


@pytest.fixture
def saved(home: Home, clevertap: dict[str, Any], tmp_path: Path) -> Desk:
    """The pipeline `events` from a CleverTap project into a DuckDB file, saved in the home."""
    connections.create(home, "source", "project", "clevertap", clevertap)
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    pipeline = pipelines.create(home, pipelines.Wish("events", "project", "warehouse"))
    return Desk(home.database, pipeline.id)
