"""A control database of each kind, a pipeline in it, and books in the hands of a run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from millrace.control import connections, leases, pipelines, records, tables
from millrace.control.actors import FIRST_TEAM
from millrace.control.db import Database, open_database
from millrace.control.home import Home
from millrace.control.ledger import Books
from millrace.control.numbers import following
from millrace.data.batch import Segment
from millrace.engine.ledger import Commit, RejectFile
from millrace.engine.mapping import Mapping

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)


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
    """The URL of an empty control database; each test runs on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'millrace.db'}"
        return
    url: str = request.getfixturevalue("server_url")
    yield url
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        # A test may have left a connection open.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute("DROP SCHEMA IF EXISTS millrace CASCADE")


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
    return replace(Commit("Events", "incremental", cursor, read, mappings=(MAPPING,)), **more)  # type: ignore[arg-type]


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
