"""What may be wrong with a server, a user, a table or a query: each is told, and harms nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.postgres import Database
from tests.sources.postgres.following import Follow, source
from tests.sources.postgres.log.site import Site
from tests.sources.postgres.test_pipeline import pipeline, run
from tests.sources.site import PIPELINE
from tests.sshd import SshServer, ssh_server

from millrace.connect.reach import WORLD, Walled
from millrace.connect.source import Context, Reading
from millrace.control.home import Home
from millrace.control.pipeline import object_actions
from millrace.errors import ConfigError, MillraceError, ObjectRefused, Transient

__all__ = ["ssh_server"]


def refused(database: Database, **settings: Any) -> MillraceError:
    """The error with which reading ends."""
    with closing(source(database, **settings)) as reader, pytest.raises(MillraceError) as raised:
        reader.streams()
    (*_, last) = reader.check()
    assert (last.state, last.message, last.hint) == ("fail", raised.value.message, raised.value.hint)
    assert raised.value.hint and database.password not in f"{raised.value.message} {raised.value.hint}"
    return raised.value


def test_a_wrong_password_is_1003(shop: Database) -> None:
    assert refused(replace(shop, password="wrong")).code == "postgres_1003"


def test_an_unknown_user_is_1003(shop: Database) -> None:
    assert refused(replace(shop, user="nobody_at_all")).code == "postgres_1003"


def test_an_unknown_host_is_1006(shop: Database) -> None:
    assert refused(replace(shop, host="no-such-host.invalid")).code == "postgres_1006"


def test_a_wrong_port_is_1006(shop: Database) -> None:
    assert refused(replace(shop, port=1)).code == "postgres_1006"


def test_an_unknown_database_is_1014(shop: Database) -> None:
    assert refused(replace(shop, name="no_such_database")).code == "postgres_1014"


def test_encryption_that_the_server_does_not_have_is_1017(shop: Database) -> None:
    assert refused(shop, use_ssl=True).code == "postgres_1017"


def test_a_server_that_says_nothing_is_1017(shop: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = refused(replace(shop, port=silent.getsockname()[1]), connect_timeout_s=2)
    assert (found.code, isinstance(found, Transient)) == ("postgres_1017", True)


def test_a_port_of_another_service_is_no_postgresql(shop: Database, ssh_server: SshServer) -> None:
    # What it says of encryption depends on how much it has said when it hangs up.
    for mode, codes in (("disable", ("postgres_1006",)), ("require", ("postgres_1006", "postgres_1017"))):
        there = source(replace(shop, port=ssh_server.port), connect_timeout_s=2, ssl_mode=mode)
        with closing(there) as reader, pytest.raises(MillraceError, match=str(ssh_server.port)) as raised:
            reader.streams()
        assert raised.value.code in codes and "db_port" in str(raised.value.hint)


@pytest.fixture
def strangers_kept_out(shop: Database) -> Iterator[None]:
    """The server lets in its own superuser alone."""
    ((file, before),) = shop.run("SELECT setting, pg_read_file(setting) FROM pg_settings WHERE name = 'hba_file'")
    only = f"host all {shop.user} all scram-sha-256"
    with shop.connect() as connection:
        try:
            _written(connection, file, only)
            yield
        finally:
            _written(connection, file, before)


def _written(connection: Any, file: str, text: str) -> None:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    rows = ", ".join(f"('{line}')" for line in lines)
    connection.execute(f"COPY (SELECT * FROM (VALUES {rows}) AS lines) TO '{file}'")
    connection.execute("SELECT pg_reload_conf(), pg_sleep(0.2)")


@pytest.mark.usefixtures("strangers_kept_out")
def test_an_address_that_pg_hba_does_not_know_is_1023(shop: Database) -> None:
    assert refused(replace(shop, user="stranger")).code == "postgres_1023"


def test_whoever_may_not_reach_this_machine_does_not(shop: Database) -> None:
    with closing(source(shop, Context(reach=WORLD))) as reader, pytest.raises(Walled):
        reader.streams()


def test_a_user_without_a_grant_sees_no_table_and_the_check_says_which_grant(shop: Database) -> None:
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer PRIMARY KEY)")
    shop.run("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN PASSWORD 'reader'")
    reader_user = replace(shop, user="reader", password="reader")
    try:
        with closing(source(reader_user)) as reader:
            assert reader.streams() == []
            assert reader.check()[-1].hint == "Grant the user USAGE on the schema and SELECT on its tables."
            shop.run("GRANT SELECT ON t TO reader")
            assert [stream.name for stream in reader.streams()] == ["public.t"]
            # Each right by itself is not enough.
            shop.run("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
            assert reader.streams() == []
            assert reader.check()[-1].hint == "Grant the user USAGE on the schema and SELECT on its tables."
            shop.run("GRANT USAGE ON SCHEMA public TO reader")
            assert [stream.name for stream in reader.streams()] == ["public.t"]
            shop.run("REVOKE SELECT ON t FROM reader", "GRANT USAGE ON SCHEMA public TO PUBLIC")
    finally:
        shop.run("DROP OWNED BY reader", "DROP ROLE reader")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 1 AS a; SELECT 2 AS a", "sql"),
        ("SELECT 1 AS a) AS q; DROP TABLE t; SELECT * FROM (SELECT 1 AS a", "sql"),
        ("SELECT 1 AS a, 2 AS a", "duplicate_columns"),
        ("DELETE FROM t RETURNING id", "sql"),
        ("SELECT nextval('numbers') AS id FROM t", "writes"),
        ("SELECT nothing FROM t", "sql"),
        ("SELECT id FROM nowhere", "sql"),
        ("SELECT id FROM nowhere.t", "sql"),
        ("SELEC 1", "sql"),
    ],
)
def test_a_query_that_is_not_one_that_reads_is_refused(shop: Database, sql: str, code: str) -> None:
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    shop.run("CREATE SEQUENCE IF NOT EXISTS numbers")
    with closing(source(shop, ingestion_mode="custom_sql", custom_sql=sql)) as reader:
        with pytest.raises(MillraceError) as raised:
            follow_whole(reader)
        assert raised.value.code == code
    assert shop.run("SELECT count(*) FROM t") == [(1,)]


def follow_whole(reader: Any) -> None:

    (stream,) = reader.streams()
    list(reader.read(Reading(stream, "historical")))


def test_a_query_is_an_object_and_its_columns_may_carry_the_position(shop: Database, follow: Follow) -> None:
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer, price numeric(5,2), at timestamptz)")
    shop.run("INSERT INTO t VALUES (1, 1.5, '2024-01-01'), (2, 2.5, '2024-01-02')")
    settings = {
        "ingestion_mode": "custom_sql",
        "custom_sql": "SELECT id, price * 2 AS twice, price, at FROM t -- all of it;",
        "custom_sql_name": "prices",
    }
    mode = {"mode": "timestamp+incrementing", "timestamp_column_name": "at", "incrementing_column_name": "id"}
    one = follow("prices", mode, settings=settings)
    assert sorted((row["id"], row["price"], row["twice"]) for row in one.run()) == [
        (1, "1.50", "3"),
        (2, "2.50", "5"),
    ]
    shop.run("INSERT INTO t VALUES (3, 1, '2024-01-03')", "UPDATE t SET price = 9, at = '2024-01-04' WHERE id = 1")
    assert sorted(row["id"] for row in one.run()) == [1, 3]
    assert one.run() == []


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ({"mode": "delta"}, "needs a column, timestamp_column_name"),
        ({"mode": "delta", "timestamp_column_name": "v"}, "cannot be the timestamp column"),
        ({"mode": "delta", "timestamp_column_name": "nothing"}, "has no column 'nothing'"),
        ({"mode": "increment_append_only", "incrementing_column_name": "b"}, "cannot be the incrementing column"),
        ({"mode": "sometimes"}, "there is no query mode"),
    ],
)
def test_a_query_mode_that_the_table_cannot_have_is_refused(
    shop: Database, follow: Follow, mode: dict[str, str], said: str
) -> None:
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer PRIMARY KEY, v text, b bytea)")
    with pytest.raises(MillraceError, match=said):
        follow("public.t", mode).run()


def test_a_table_that_is_gone_fails_alone(shop: Database, tmp_path: Path) -> None:
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    with closing(source(shop)) as reader:
        stream = next(one for one in reader.streams() if one.name == "public.t")
        shop.run("ALTER TABLE t RENAME TO u")

        with pytest.raises(MillraceError, match="no longer there"):
            list(reader.read(Reading(stream, "historical")))
    shop.run("DROP TABLE u")


def test_rows_that_policies_hide_from_the_user_are_told(database: Database, tmp_path: Path) -> None:
    name = f"hidden_{database.name}"
    database.run(
        "CREATE TABLE t (id integer PRIMARY KEY, who text)",
        "INSERT INTO t VALUES (1, current_user), (2, 'another')",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY one ON t USING (id = 1)",
        f"CREATE ROLE {name} LOGIN PASSWORD 'x'",
        f"GRANT SELECT ON t TO {name}",
    )
    try:
        reader = replace(database, user=name, password="x")
        with closing(source(reader)) as read:
            found = read.check()[-1]
        assert (found.state, "may hide rows of public.t" in found.message) == ("warn", True)
        with closing(Site(tmp_path, database)) as site:
            site.create(ingestion_mode="table", db_user=name, db_password="x")
            site.run()
            assert "rows_hidden" in site.notes()
            assert site.query("SELECT id FROM t") == [(1,)]
        # A policy that shows everything ends no warning, so no hint says it does; whoever sees all for sure is told
        # nothing.
        database.run(f"CREATE POLICY all_of_it ON t TO {name} USING (true)")
        with closing(source(reader)) as read:
            found = read.check()[-1]
        assert (found.state, "policy" in (found.hint or ""), "BYPASSRLS" in (found.hint or "")) == ("warn", False, True)
        database.run(f"ALTER ROLE {name} BYPASSRLS")
        for one in (reader, database):
            with closing(source(one)) as read:
                assert read.check()[-1].state == "pass"
    finally:
        database.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ("VIEW a_odd AS SELECT 1 / (id - 1) AS x FROM t", "division by zero"),
        ("MATERIALIZED VIEW a_odd AS SELECT id FROM t WITH NO DATA", "has not been populated"),
    ],
)
def test_an_object_that_the_server_refuses_fails_alone(database: Database, tmp_path: Path, odd: str, said: str) -> None:
    database.run("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1)", f"CREATE {odd}")
    with closing(Site(tmp_path, database)) as site:
        site.create(ingestion_mode="table")
        record = site.run()
        assert record.status == "COMPLETED_WITH_FAILURES"
        (note,) = record.notes
        assert (note.code, note.level) == ("sql", "error")
        assert re.match(f"public.a_odd: .*{said}", note.message)
        assert site.query("SELECT id FROM t") == [(1,)]


def test_a_query_mode_that_does_not_fit_any_more_fails_its_object_alone(database: Database, tmp_path: Path) -> None:
    database.run(
        "CREATE TABLE a_odd (id integer PRIMARY KEY, at timestamptz)",
        "CREATE TABLE t (id integer PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
    )
    with closing(Site(tmp_path, database)) as site:
        site.create(ingestion_mode="table")
        site.run()
        object_actions.set_query_mode(site.home, PIPELINE, "public.t", {"mode": "increment_append_only"})
        mode = {"mode": "delta", "timestamp_column_name": "at"}
        object_actions.set_query_mode(site.home, PIPELINE, "public.a_odd", mode)
        database.run("ALTER TABLE a_odd DROP at", "INSERT INTO t VALUES (2)")
        record = site.run()
        assert [(note.code, note.level) for note in record.notes if note.level == "error"] == [("query_mode", "error")]
        error = site.ended()["public.a_odd"].error
        assert error is not None
        assert error.path == "objects.public.a_odd.query_mode"
        assert site.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize("when", ["from the beginning", "by the second connection of a history"])
def test_a_server_that_lets_the_user_in_no_more_is_no_matter_of_one_object(database: Database, when: str) -> None:
    name = f"guest_{database.name}"
    database.run(
        "CREATE TABLE t (id integer PRIMARY KEY)",
        "INSERT INTO t SELECT generate_series(1, 3000)",
        "ANALYZE t",
        f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC",
        f"CREATE ROLE {name} LOGIN PASSWORD 'x'",
        f"GRANT SELECT ON t TO {name}",
        f"GRANT CONNECT ON DATABASE {database.name} TO {name}",
    )
    try:
        with closing(source(replace(database, user=name, password="x"))) as read:
            read.range_rows = 1000
            (stream,) = read.streams()
            database.run(f"REVOKE CONNECT ON DATABASE {database.name} FROM {name}")
            if when == "from the beginning":
                # Else the first one reads by the connection that is there.
                read.close()
            with pytest.raises(ConfigError) as error:
                list(read.read(Reading(stream, "historical")))
        assert (error.value.code, isinstance(error.value, ObjectRefused)) == ("PERMISSION_DENIED", False)
    finally:
        database.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_an_object_that_the_server_refuses_is_not_counted_and_is_named(database: Database) -> None:
    database.run("CREATE MATERIALIZED VIEW a_odd AS SELECT 1 AS id WITH NO DATA")
    with closing(source(database)) as read:
        (stream,) = read.streams()
        with pytest.raises(ObjectRefused, match=r"^public\.a_odd: "):
            read.totals(stream)
        with pytest.raises(ObjectRefused, match=r"^public\.a_odd: "):
            list(read.snapshot(stream))


def test_a_column_may_change_between_runs(shop: Database, tmp_path: Path) -> None:
    shop.run(
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (id integer PRIMARY KEY, v integer, w text)",
        "INSERT INTO t VALUES (1, 1, 'a')",
    )
    with Home.open(tmp_path / "home", create=True) as home:
        pipeline(home, shop, tmp_path, None, "objects: {public.t: {query_mode: increment_append_only}}")
        run(home)
        shop.run("ALTER TABLE t ALTER v TYPE text, DROP w, ADD x boolean DEFAULT true", "INSERT INTO t VALUES (2, 'b')")
        assert run(home).balance.loaded == 1, "an update is no new row"
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        assert warehouse.execute("SELECT id, v, w, x FROM t ORDER BY id").fetchall() == [
            (1, "1", "a", None),
            (2, "b", None, True),
        ]
