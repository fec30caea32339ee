"""Changes of a real server's log reach the destination once, in their order, as they were."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from tests.engine.kit import Killed
from tests.postgres import Database
from tests.sources.postgres.conftest import shop
from tests.sources.postgres.log.site import Site, site

from millrace.connect.source import Context
from millrace.connect.sql.reading import ranges
from millrace.control import connections, log_watch, object_actions, runs
from millrace.control.ledger import Books
from millrace.errors import ConfigError
from millrace.sources.postgres.log.messages import Messages
from millrace.sources.postgres.log.wire import lsn

__all__ = ["shop", "site"]


@pytest.fixture(autouse=True)
def empty(shop: Database) -> None:
    shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


@pytest.mark.spec("pipelines.22.6")
def test_rows_come_change_and_go(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE pets (id int PRIMARY KEY, name text, born date)",
        "INSERT INTO pets VALUES (1, 'Rex', '2020-01-01'), (2, 'Tom', NULL)",
    )
    site.create()
    site.run()
    assert site.rows("pets", "id, name") == [(1, "Rex"), (2, "Tom")]
    shop.run(
        "INSERT INTO pets VALUES (3, 'Ina', '2021-02-03')",
        "UPDATE pets SET name = 'Rexy' WHERE id = 1",
        "DELETE FROM pets WHERE id = 2",
        "UPDATE pets SET id = 30 WHERE id = 3",
        # No date of a warehouse.
        "INSERT INTO pets VALUES (4, 'Eon', 'infinity')",
    )
    record = site.run()
    assert site.rows("pets", "id, name, born::text") == [(1, "Rexy", "2020-01-01"), (30, "Ina", "2021-02-03")]
    assert site.rows("pets", "id, name", deleted=True) == [(2, "Tom"), (3, "Ina")]
    assert (record.balance.read, sum(record.balance.rejected.values())) == (6, 1)
    assert site.run().balance.read == 0


def test_every_way_to_say_which_row_is_meant(site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_watch, "MOST_BYTES", 0)
    shop.run(
        "CREATE TABLE loose (v int)",
        "CREATE TABLE loud (v int)",
        "ALTER TABLE loud REPLICA IDENTITY FULL",
        "CREATE TABLE silent (id int PRIMARY KEY, v int)",
        "ALTER TABLE silent REPLICA IDENTITY NOTHING",
        "CREATE TABLE known (id int PRIMARY KEY, code text NOT NULL UNIQUE, v int)",
        "ALTER TABLE known REPLICA IDENTITY USING INDEX known_code_key",
        "INSERT INTO loose VALUES (1)",
        "INSERT INTO loud VALUES (1)",
        "INSERT INTO silent VALUES (1, 1)",
        "INSERT INTO known VALUES (1, 'a', 1)",
    )
    site.create()
    site.run()
    # The server would refuse these, had the tables been published with updates.
    for table in ("loose", "loud", "silent", "known"):
        shop.run(f"UPDATE {table} SET v = 2")
    shop.run("INSERT INTO loose VALUES (3)", "DELETE FROM loud", "DELETE FROM loose", "DELETE FROM known")
    shop.run("INSERT INTO silent VALUES (2, 2)")
    site.run()
    assert site.rows("loose", "v, 0") == [(1, 0), (3, 0)]
    assert site.rows("loud", "v, 0") == [(1, 0), (2, 0)] and site.rows("loud", "v, 0", deleted=True) == [(2, 0)]
    assert site.rows("silent", "id, v") == [(1, 1), (2, 2)]
    assert site.rows("known", "code, v", deleted=True) == [("a", 2)]
    assert {"inserts_only", "log_retention_risk"} <= site.notes()


@pytest.mark.parametrize("mode", ["merge", "history"])
def test_large_values_that_did_not_change_stay_as_they_were(site: Site, shop: Database, mode: Any) -> None:
    shop.run(
        "CREATE TABLE docs (id int PRIMARY KEY, v int, body text, side bytea)",
        "ALTER TABLE docs ALTER body SET STORAGE EXTERNAL, ALTER side SET STORAGE EXTERNAL",
        "INSERT INTO docs SELECT n, 0, repeat(n::text, 5000), convert_to(repeat('x', 5000), 'UTF8') "
        "FROM generate_series(1, 4) AS n",
    )
    site.create(mode)
    site.run()
    shop.run(
        "UPDATE docs SET v = 1 WHERE id = 1",
        "UPDATE docs SET id = 20 WHERE id = 2",
        "UPDATE docs SET body = repeat('B', 6000) WHERE id = 3",
        "UPDATE docs SET v = 3 WHERE id = 3",
        "UPDATE docs SET side = NULL WHERE id = 4",
    )
    site.run()
    active = " AND __hevo__is_active" if mode == "history" else ""
    where = f"NOT __hevo__marked_deleted{active}"
    found = site.query(
        f"SELECT id, v, left(body, 2), length(body), octet_length(side) FROM docs WHERE {where} ORDER BY 1"
    )
    assert found == [
        (1, 1, "11", 5000, 5000),
        (3, 3, "BB", 6000, 5000),
        (4, 0, "44", 5000, None),
        (20, 0, "22", 5000, 5000),
    ]


def test_a_large_transaction_comes_before_it_ends_and_leaves_nothing_when_it_is_taken_back(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run(f"ALTER DATABASE \"{shop.name}\" SET logical_decoding_work_mem = '64kB'")
    shop.run("CREATE TABLE much (id int PRIMARY KEY, v text)")
    site.create()
    site.run()
    streamed: list[int] = []
    kept = Messages._of_stream  # pyright: ignore[reportPrivateUsage]

    def counted(self: Messages, kind: int, data: bytes) -> Any:
        streamed.append(kind)
        return kept(self, kind, data)

    monkeypatch.setattr(Messages, "_of_stream", counted)
    fill = "INSERT INTO much SELECT n, repeat('v', 100) FROM generate_series(%s::int, %s) AS n"
    with shop.connect() as one, shop.connect() as other:
        one.execute("BEGIN")
        other.execute("BEGIN")
        one.execute(fill, (1, 1000))
        other.execute(fill, (5000, 6000))
        one.execute("SAVEPOINT s")
        one.execute(fill, (1001, 2000))
        one.execute("ROLLBACK TO s")
        one.execute("UPDATE much SET v = 'x' WHERE id = 7")
        one.execute(fill, (2001, 2500))
        # What has not ended is not there, however much of it was sent.
        assert site.run().balance.read == 0
        other.execute("ROLLBACK")
        one.execute("COMMIT")
        one.execute("BEGIN")
        other.execute("BEGIN")
        one.execute(fill, (3001, 4000))
        other.execute(fill, (5000, 6000))
        one.execute("UPDATE much SET v = 'x' WHERE id = 3007")
        other.execute("ROLLBACK")
        one.execute("COMMIT")
    site.run()
    assert {*streamed} == {*b"SEAc"}
    assert site.query("SELECT count(*), max(id), count(*) FILTER (v = 'x') FROM much") == [(2500, 4000, 2)]


def test_columns_come_and_go_between_changes(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE wide (id int PRIMARY KEY, a int, b text)", "INSERT INTO wide VALUES (1, 1, 'b')")
    site.create()
    site.run()
    shop.run(
        "UPDATE wide SET a = 2",
        "ALTER TABLE wide ADD COLUMN c numeric(8, 2)",
        "INSERT INTO wide VALUES (2, 2, 'b', 2.5)",
        "ALTER TABLE wide ALTER a TYPE bigint",
        "INSERT INTO wide VALUES (3, 3000000000, 'b', 3.5)",
        "ALTER TABLE wide DROP COLUMN b",
        "INSERT INTO wide VALUES (4, 4, 4.5)",
        "ALTER TABLE wide RENAME c TO d",
        "INSERT INTO wide VALUES (5, 5, 5.5)",
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "ALTER TABLE wide ADD COLUMN m mood",
        "UPDATE wide SET m = 'glad' WHERE id = 5",
    )
    site.run()
    assert site.rows("wide", "id, a, b, c::text, d::text, m") == [
        (1, 2, "b", None, None, None),
        (2, 2, "b", "2.50", None, None),
        (3, 3_000_000_000, "b", "3.50", None, None),
        (4, 4, None, "4.50", None, None),
        (5, 5, None, None, "5.50", "glad"),
    ]


def test_odd_names_are_names(site: Site, shop: Database) -> None:
    shop.run(
        'CREATE SCHEMA "Odd % one"',
        'CREATE TABLE "Odd % one"."it\'s ""it""" ("a %s" text PRIMARY KEY, "b\\" text)',
        'ALTER TABLE "Odd % one"."it\'s ""it""" ALTER "b\\" SET STORAGE EXTERNAL',
        'INSERT INTO "Odd % one"."it\'s ""it""" VALUES (\'k\', repeat(\'x\', 4000))',
    )
    site.create()
    site.run()
    shop.run('UPDATE "Odd % one"."it\'s ""it""" SET "a %s" = \'new\'')
    site.run()
    ((table,),) = site.query("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'odd%'")
    ((first, second),) = site.query(
        f"SELECT COLUMNS(lambda c: c NOT LIKE '\\_\\_%' ESCAPE '\\') FROM \"{table}\" WHERE NOT __hevo__marked_deleted"
    )
    assert (first, second) == ("new", "x" * 4000)
    shop.run('DROP SCHEMA "Odd % one" CASCADE')


def test_the_server_may_forget_what_is_durable_and_nothing_else(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    site.create()
    site.run()

    def confirmed() -> int:
        ((text,),) = shop.run(
            f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{site.slots()[0]}'"
        )
        return lsn(text)

    before = confirmed()
    shop.run("INSERT INTO t VALUES (1)")

    def dies(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Books, "commit", dies)
        site.run()
    assert confirmed() == before
    site.run()
    assert confirmed() > before and site.rows("t", "id, 0") == [(1, 0)]


def test_a_log_that_is_lost_is_told_and_mended_by_one_command(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    site.create()
    site.run()
    shop.run(f"SELECT pg_drop_replication_slot('{site.slots()[0]}')", "DELETE FROM t WHERE id = 1")
    with pytest.raises(ConfigError, match="slot") as lost:
        site.run()
    assert lost.value.code == "log_expired" and lost.value.hint and "millrace resync" in lost.value.hint
    runs.resync(site.home, "followed", mode="drop-and-load")
    assert site.rows("t", "id, v") == [(2, 2)]
    shop.run("UPDATE t SET v = 3")
    site.run()
    assert site.rows("t", "id, v") == [(2, 3)]


def test_a_history_that_is_read_again_misses_no_delete(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
    site.create()
    site.run()
    object_actions.pause(site.home, "followed", "public.t")
    site.run()
    object_actions.resume(site.home, "followed", "public.t")
    shop.run("UPDATE t SET v = 20 WHERE id = 2", "DELETE FROM t WHERE id = 3")
    site.run()
    assert site.rows("t", "id, v") == [(1, 1), (2, 20), (3, 3)], "what went while nobody looked is not known"
    runs.resync(site.home, "followed", mode="drop-and-load")
    assert site.rows("t", "id, v") == [(1, 1), (2, 20)]


@pytest.mark.parametrize("mode", ["merge", "history"])
def test_rows_that_a_truncation_took_between_the_log_and_a_history_that_is_read_again_do_not_stay(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    site.create(mode)
    site.run()
    read = ranges.read

    def emptied(*words: Any) -> Any:
        shop.run("TRUNCATE t", "INSERT INTO t VALUES (2, 20), (9, 9)")
        return read(*words)

    with monkeypatch.context() as patch:
        patch.setattr(ranges, "read", emptied)
        site.run(only=["public.t"], forget=("historical",))
    site.run()
    active = " AND __hevo__is_active" if mode == "history" else ""
    wanted = "SELECT id, v FROM t WHERE NOT __hevo__marked_deleted"
    assert site.query(f"{wanted}{active} ORDER BY id") == [(2, 20), (9, 9)]


def test_a_deleted_pipeline_leaves_nothing_at_the_server(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    site.create()
    site.run()
    ours = f"SELECT count(*) FROM pg_publication WHERE pubname LIKE 'millrace_{site.id}%'"
    name = site.slots()[0]
    assert shop.run(ours) == [(2,)]
    site.delete()
    assert shop.run(ours) == [(0,)]
    assert shop.run(f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{name}'") == [(0,)]


def test_a_user_without_the_right_is_told_before_and_when_it_is_tried(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN PASSWORD 'pw'",
        "GRANT USAGE ON SCHEMA public TO reader",
        "GRANT SELECT ON t TO reader",
    )
    site.create(db_user="reader", db_password="pw")
    found = connections.find(site.home, "source", "shop")
    with closing(connections.build_source(site.home, found.id, Context())) as source:
        assert [(one.step, one.state) for one in source.check()][-1] == ("log", "fail")
    with pytest.raises(ConfigError) as refused:
        site.run()
    assert refused.value.code == "may_not_publish"
    shop.run("CREATE PUBLICATION mine FOR TABLE t WITH (publish_via_partition_root = true)")
    config = shop.settings(ingestion_mode="log", db_user="reader", db_password="pw", publication_name="mine")
    connections.change(site.home, "source", "shop", config=config)
    with pytest.raises(ConfigError) as refused:
        site.run()
    assert refused.value.code == "postgres_1011"
    shop.run("ALTER ROLE reader REPLICATION")
    site.run()
    shop.run("INSERT INTO t VALUES (1)")
    site.run()
    assert site.rows("t", "id, 0") == [(1, 0)]
    shop.run("DROP PUBLICATION mine")
