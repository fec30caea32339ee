"""The control database: made, upgraded, refused when newer, and every trouble with it in words."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from tests.crash import tomorrow

from millrace.control.database import db
from millrace.control.database.column_types import Document, Free, Moment
from millrace.control.database.db import Database, Outdated, any_in, open_database
from millrace.control.database.people_tables import activity
from millrace.control.database.tables import metadata, settings
from millrace.errors import EnvironmentProblem, Transient

DIALECT = postgresql.dialect()


@pytest.fixture(autouse=True)
def none_is_a_copy(prepared: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "_create", prepared)


@pytest.fixture
def url(url: str) -> str:
    """The database has no schema of ours yet."""
    if not url.startswith("sqlite"):
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS millrace CASCADE")
    return url


def shape(database: Database) -> dict[str, object]:
    """All that can be told of the schema: columns, keys, indexes."""
    found: dict[str, object] = {}
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        for table in sorted(inspector.get_table_names()):
            found[table] = (
                [
                    (c["name"], str(c["type"]), c["nullable"], c.get("autoincrement"), bool(c.get("default")))
                    for c in inspector.get_columns(table)
                ],
                inspector.get_pk_constraint(table)["constrained_columns"],
                sorted(json.dumps(index, default=str, sort_keys=True) for index in inspector.get_indexes(table)),
                sorted(str(sorted(one.items(), key=str)) for one in inspector.get_unique_constraints(table)),
                sorted(
                    str((key["constrained_columns"], key["referred_table"], key["referred_columns"], key["options"]))
                    for key in inspector.get_foreign_keys(table)
                ),
            )
    return found


def test_migrations_and_tables_give_the_same_schema(url: str, tmp_path: Path) -> None:
    from millrace.control.database.migrations.upgrade import upgrade

    made = open_database(url)
    expected = shape(made)
    assert set(expected) == {*metadata.tables, "alembic_version"}
    if made.is_sqlite:
        made.close()
        migrated = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
    else:
        with made.transaction() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {db.SCHEMA} CASCADE")
            connection.exec_driver_sql(f"CREATE SCHEMA {db.SCHEMA}")
        made.close()
        migrated = Database(url)
    with migrated.transaction() as connection:
        upgrade(connection, db.HEAD)
    assert shape(migrated) == expected
    migrated.close()


def test_the_prepared_statements_are_those_of_the_tables() -> None:
    made: list[str] = []

    def keep(statement: Any, *_: object, **__: object) -> None:
        text = str(statement.compile(dialect=engine.dialect))
        made.append("\n".join(line.replace("\t", "    ").rstrip() for line in text.splitlines() if line.strip()))

    engine = sa.create_mock_engine("sqlite://", keep)
    assert activity.metadata is metadata
    metadata.create_all(engine, checkfirst=False)
    # A table keeps its indexes in no order.
    runs = groupby(made, lambda text: " INDEX " in text.splitlines()[0])
    written = "\n\n".join(text for index, run in runs for text in (sorted(run) if index else run)) + "\n"
    if os.environ.get("MILLRACE_GOLDEN") == "write":
        db.PREPARED.write_text(written)
    assert db.PREPARED.read_text() == written


def test_an_older_database_is_upgraded_on_opening(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Database(url)
    with made.transaction() as connection:
        if not made.is_sqlite:
            connection.exec_driver_sql(f"CREATE SCHEMA {db.SCHEMA}")
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0000')")
    made.close()

    from millrace.control.database.migrations import upgrade as upgrading

    real = upgrading.upgrade

    def from_nothing(connection: sa.Connection, revision: str) -> None:
        # There is no revision before the first; the row stands for one.
        connection.exec_driver_sql("DELETE FROM alembic_version")
        real(connection, revision)

    monkeypatch.setattr(upgrading, "upgrade", from_nothing)
    opened = open_database(url)
    with opened.reading() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == db.HEAD
        assert connection.execute(sa.select(settings.c.key)).scalars().all() == ["made_by"]
    opened.close()


def test_a_database_of_a_newer_version_is_refused_and_not_touched(url: str) -> None:
    made = open_database(url)
    with made.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
        connection.execute(sa.update(settings).values(value="9.9.9"))
        connection.exec_driver_sql("DROP TABLE marks")
    made.close()
    before = Path(url.removeprefix("sqlite:///")).read_bytes() if made.is_sqlite else b""
    with pytest.raises(EnvironmentProblem) as caught:
        open_database(url)
    problem = caught.value.problem
    assert problem.code == "newer_database"
    assert "schema 0999 (made by Millrace 9.9.9)" in problem.message
    assert f"up to {db.HEAD}" in problem.message
    assert "Upgrade Millrace" in str(problem.hint)
    assert caught.value.exit_code == 3
    if made.is_sqlite:
        assert Path(url.removeprefix("sqlite:///")).read_bytes() == before


def test_who_is_of_an_older_version_writes_nothing_after_an_upgrade(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    older = open_database(url)
    tomorrow.is_tomorrow(monkeypatch.setattr)
    open_database(url).close()
    with pytest.raises(Outdated, match="is of schema 9000"), older.transaction() as connection:
        connection.execute(sa.insert(settings).values(key="k", value=1, changed_at=datetime.now(UTC)))
    with pytest.raises(Outdated):
        older.check()
    with older.reading() as connection:
        assert connection.execute(sa.select(settings.c.key)).scalars().all() == ["made_by"]
    older.close()


def test_an_upgrade_waits_for_the_transactions_of_an_older_version(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    older = open_database(url)
    tomorrow.is_tomorrow(monkeypatch.setattr)
    upgrading = threading.Thread(target=lambda: open_database(url).close())
    with older.transaction() as connection:
        upgrading.start()
        until = time.monotonic() + 30
        while not older.is_sqlite and time.monotonic() < until:
            # It has come to our lock. SQLite tells nobody who waits.
            with older.reading() as looking:
                if looking.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar():
                    break
        connection.execute(sa.insert(settings).values(key="k", value=1, changed_at=datetime.now(UTC)))
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() != tomorrow.REVISION
    upgrading.join(60)
    with older.reading() as connection:
        assert "k" in connection.execute(sa.select(settings.c.key)).scalars().all()
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == tomorrow.REVISION
    older.close()


def test_the_schema_is_made_once_by_processes_that_start_together(url: str) -> None:
    program = "import sys; from millrace.control.database.db import open_database; open_database(sys.argv[1]).close()"
    children = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(4)]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
    open_database(url).close()


def test_making_and_opening_a_database_needs_no_alembic(tmp_path: Path) -> None:
    program = (
        "import sys; import millrace.control.database.db as db; import millrace.control.database.tables\n"
        "for _ in range(2): db.open_database(sys.argv[1]).close()\n"
        "print('alembic' in sys.modules)"
    )
    url = f"sqlite:///{tmp_path / 'm.db'}"
    told = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True).stdout
    assert told == "False\n"


def test_a_commit_is_durable_and_readers_do_not_wait(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'm.db'}")
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    with database.transaction() as writing:
        writing.execute(sa.insert(settings).values(key="k", value=1, changed_at=datetime.now(UTC)))
        started = time.perf_counter()
        with database.reading() as connection:
            assert connection.execute(sa.select(settings.c.key)).scalars().all() == ["made_by"]
        assert time.perf_counter() - started < db.BUSY_TIMEOUT_S / 2
    database.close()


def test_a_transaction_that_raises_leaves_nothing(control: Database) -> None:
    with pytest.raises(RuntimeError), control.transaction() as connection:
        connection.execute(sa.insert(settings).values(key="k", value=1, changed_at=datetime.now(UTC)))
        raise RuntimeError
    with control.reading() as connection:
        assert connection.execute(sa.select(settings.c.key)).scalars().all() == ["made_by"]


def test_a_locked_database_is_told_as_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "BUSY_TIMEOUT_S", 0.2)
    database = open_database(f"sqlite:///{tmp_path / 'm.db'}")
    other = sqlite3.connect(tmp_path / "m.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="was busy"), database.transaction():
        pass
    other.close()
    database.close()


def test_a_file_that_is_no_database_is_told_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "m.db").write_bytes(b"not a database, but long enough to have a header" * 100)
    with pytest.raises(EnvironmentProblem) as caught:
        open_database(f"sqlite:///{tmp_path / 'm.db'}")
    assert caught.value.code == "damaged_database"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        open_database(f"sqlite:///{tmp_path / 'gone' / 'm.db'}")
    assert caught.value.code == "database_unwritable"


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "nonsense", "sqlite+nonsense:///x"])
def test_a_url_that_cannot_be_is_told(url: str) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        open_database(url)
    assert caught.value.code == "database_url"


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(Transient) as caught:
        open_database("postgresql://user:topsecret@127.0.0.1:1/x")
    assert "topsecret" not in caught.value.message
    assert "127.0.0.1" in caught.value.message
    assert "MILLRACE_DATABASE_URL" in str(caught.value.hint)


def test_a_full_disk_is_told_and_what_was_committed_is_safe(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'm.db'}")
    with database.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(EnvironmentProblem) as caught, database.transaction() as connection:
        connection.execute(sa.insert(settings).values(key="k", value="x" * 100_000, changed_at=datetime.now(UTC)))
    assert caught.value.code == "disk_full"
    with database.reading() as connection:
        assert connection.execute(sa.select(settings.c.key)).scalars().all() == ["made_by"]
    database.close()


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_come_back_to_the_microsecond(moment: datetime) -> None:
    kept = Moment().process_bind_param(moment, DIALECT)
    assert isinstance(kept, int)
    assert Moment().process_result_value(kept, DIALECT) == moment
    later = Moment().process_bind_param(
        min(moment, datetime(9999, 1, 1, tzinfo=UTC)) + timedelta(microseconds=1), DIALECT
    )
    assert isinstance(later, int)


@given(st.text(st.characters()))
def test_text_from_outside_comes_back_and_is_plain_ascii(text: str) -> None:
    kept = Free().process_bind_param(text, DIALECT)
    assert kept is not None
    assert kept.isascii()
    assert "\x00" not in kept
    assert Free().process_result_value(kept, DIALECT) == text


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(), max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_comes_back(value: object) -> None:
    assert Document().process_result_value(Document().process_bind_param(value, DIALECT), DIALECT) == value


def test_pipelines_and_runs_of_before_the_service_have_schedules_and_job_ids_after_it(tmp_path: Path) -> None:
    from millrace.control.database.migrations.upgrade import upgrade

    database = Database(f"sqlite:///{tmp_path / 'older.db'}")
    with database.transaction() as connection:
        upgrade(connection, "0005")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0005'")
        team = connection.exec_driver_sql("SELECT id FROM teams").scalar_one()
        columns = "id, kind, name, type, config, secret_keys, created_at, changed_at, team_id, number"
        for number, kind in enumerate(("source", "destination"), 1):
            row = (f"c{number}", kind, kind, "none", "{}", "[]", 0, 0, team, number)
            connection.exec_driver_sql(f"INSERT INTO connections ({columns}) VALUES ({', '.join('?' * 10)})", row)
        columns = (
            "id, name, source_id, destination_id, load_mode, table_prefix, naming, auto_mapping, schedule, options, "
            "state, ingested_at_ms, created_at, changed_at, team_id, number"
        )
        kinds = (("p1", '{"every_s":3600}', "ACTIVE"), ("p2", '{"every_s":3600}', "PAUSED"), ("p3", "null", "ACTIVE"))
        for number, (name, schedule, state) in enumerate(kinds, 1):
            row = (name, name, "c1", "c2", "merge", "", "edge", 1, schedule, "{}", state, 0, 0, 0, team, number)
            connection.exec_driver_sql(f"INSERT INTO pipelines ({columns}) VALUES ({', '.join('?' * 16)})", row)
            connection.exec_driver_sql(
                "INSERT INTO runs (pipeline_id, kind, status, started_at, notes, error) "
                "VALUES (?, 'INCREMENTAL', 'COMPLETED', 0, '[]', 'null')",
                (name,),
            )
    database.close()
    opened = open_database(database.url)
    with opened.reading() as connection:
        slots = connection.execute(sa.text("SELECT pipeline_id, part, due_at IS NOT NULL FROM slots ORDER BY 1")).all()
        jobs = connection.execute(sa.text("SELECT count(DISTINCT job_id) FROM runs")).scalar_one()
    opened.close()
    assert [tuple(row) for row in slots] == [("p1", "run", 1), ("p2", "run", 0)]
    assert jobs == 3


def test_mail_to_all_addresses_of_a_channel_is_one_to_each_after_the_upgrade(url: str) -> None:
    from millrace.control.database.migrations.upgrade import upgrade

    def put(connection: sa.Connection, table: str, **values: Any) -> None:
        names = [f":{name}" for name in values]
        connection.execute(sa.text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(names)})"), values)

    older = Database(url)
    with older.transaction() as connection:
        if not older.is_sqlite:
            connection.exec_driver_sql(f"CREATE SCHEMA {db.SCHEMA}")
        upgrade(connection, "0050")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0050'")
        team = connection.exec_driver_sql("SELECT id FROM teams").scalar_one()
        said = {"team_id": team, "code": "X", "severity": "ERROR", "entity": "pipeline", "entity_name": "p"}
        said |= {"title": "t", "body": "b", "facts": "{}", "fingerprint": "f", "category": "pipeline", "state": "OPEN"}
        put(connection, "alerts", id=1, times=1, first_at=0, last_at=0, **said)
        row = {"team_id": team, "secret_keys": "[]", "enabled": True, "wanted": "{}", "created_at": 0, "changed_at": 0}
        for name, kind, config in (
            ("list", "email", {"to": ["a@x.org", "B@x.org", "A@x.org"]}),
            ("text", "email", {"to": "c@x.org, d@x.org"}),
            ("hook", "webhook", {}),
        ):
            put(connection, "alert_channels", id=name, name=name, kind=kind, config=json.dumps(config), **row)
        sent = {"team_id": team, "alert_id": 1, "occasion": "raised", "attempts": 3, "due_at": 7, "created_at": 0}
        for key, channel, recipient, state, nth in (
            ("k1", "list", "", "sent", 1),
            ("k2", "list", "b@x.org", "failed", 1),
            ("k3", "list", "", "waiting", 2),
            ("k4", "text", "", "failed", 1),
            ("k5", "hook", "", "sent", 1),
        ):
            own = {"key": key, "message": json.dumps({"key": key}), "recipient": recipient, "state": state, "nth": nth}
            put(connection, "alert_deliveries", channel_id=channel, **sent, **own)
    older.close()
    opened = open_database(url)
    with opened.reading() as connection:
        query = "SELECT channel_id, recipient, state, nth, attempts, due_at, key, message FROM alert_deliveries"
        found = connection.execute(sa.text(f"{query} ORDER BY channel_id, nth, lower(recipient)")).all()
    opened.close()
    assert [tuple(row)[:6] for row in found] == [
        ("hook", "", "sent", 1, 3, 7),
        ("list", "a@x.org", "sent", 1, 3, 7),
        ("list", "b@x.org", "failed", 1, 3, 7),
        ("list", "a@x.org", "waiting", 2, 3, 7),
        ("list", "B@x.org", "waiting", 2, 3, 7),
        ("text", "c@x.org", "failed", 1, 3, 7),
        ("text", "d@x.org", "failed", 1, 3, 7),
    ]
    assert [json.loads(row.message)["key"] for row in found] == [row.key for row in found]
    assert len({row.key for row in found}) == 7 and {f"k{n}" for n in range(1, 6)} < {row.key for row in found}


@pytest.mark.parametrize(("query", "timeout_ms"), [("", 60_000), ("?tcp_user_timeout=20000", 20_000)])
def test_a_server_that_is_gone_without_a_word_is_found_out_in_a_minute_or_as_the_url_says(
    server_url: str, query: str, timeout_ms: int
) -> None:
    database = Database(f"{server_url}{query}")
    with database.reading() as connection:
        own: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(own.pgconn.socket)) as wire:
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            told = [
                wire.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            ]
    database.close()
    assert told == [30, 10, 3, timeout_ms]


def test_whether_a_table_has_rows_is_asked_of_every_table(url: str) -> None:
    database = open_database(url)
    with database.transaction() as connection:
        for table in metadata.sorted_tables:
            one = connection.execute(sa.select(table).limit(1)).first()
            assert any_in(connection, table) is (one is not None)
        connection.execute(sa.delete(settings))
        assert not any_in(connection, settings)
        row = {"key": "a", "value": 1, "changed_at": datetime(2026, 1, 1, tzinfo=UTC)}
        connection.execute(sa.insert(settings).values(row))
        assert any_in(connection, settings)
    database.close()
