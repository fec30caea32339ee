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
from millrace.control.alerting import log_watch
from millrace.control.books import records
from millrace.control.books.ledger import Books
from millrace.control.connecting import connections
from millrace.control.pipeline import object_actions
from millrace.control.running import runs
from millrace.errors import ConfigError
from millrace.sources.postgres.log.messages import Messages
from millrace.sources.postgres.log.wire import lsn

__all__ = ["shop", "site"]


@pytest.fixture(autouse=True)
def empty(shop: Database) -> None:
    shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


def test_a_moment_that_no_warehouse_has_is_refused(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE pets (id int PRIMARY KEY, born date)")
    site.create()
    site.run()
    shop.run("INSERT INTO pets VALUES (1, '2021-02-03')", "INSERT INTO pets VALUES (4, 'infinity')")
    record = site.run()
    assert site.rows("pets", "id, born::text") == [(1, "2021-02-03")]
    assert (record.balance.read, sum(record.balance.rejected.values())) == (2, 1)


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


def test_a_large_value_that_nobody_can_say_any_more_is_told(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int, big text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "INSERT INTO t VALUES (1, 1, repeat('x', 9000)), (2, 2, repeat('y', 9000))",
    )
    site.create("append")
    site.run()
    shop.run("UPDATE t SET v = 10 * v", "DELETE FROM t WHERE id = 1")
    site.run()
    changed = "SELECT id, left(big, 1) FROM t WHERE v >= 10 AND NOT __hevo__marked_deleted ORDER BY 1"
    assert site.query(changed) == [(1, None), (2, "y")]
    notes = records.run_records(site.home)[0].notes
    assert [one.message.partition(",")[0] for one in notes if one.code == "value_unknown"] == [
        "1 changes of public.t left out large values"
    ]


def test_a_large_transaction_comes_before_it_ends_and_leaves_nothing_when_it_is_taken_back(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run(f"ALTER DATABASE \"{shop.name}\" SET logical_decoding_work_mem = '64kB'")
    shop.run("CREATE TABLE much (id int PRIMARY KEY, v text)")
    site.create()
    site.run()
    streamed: list[int] = []
    kept = Messages._of_stream

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


def test_a_history_that_the_server_refuses_fails_alone_and_is_read_when_it_is_shown(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE a_odd (id int PRIMARY KEY)",
        "INSERT INTO a_odd VALUES (1)",
        "ALTER TABLE a_odd ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY odd ON a_odd USING (1 / (id - 1) = 1)",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE PUBLICATION mine FOR TABLE a_odd, t WITH (publish_via_partition_root = true)",
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'pw'",
        "GRANT USAGE ON SCHEMA public TO reader",
        "GRANT SELECT ON a_odd, t TO reader",
    )
    try:
        site.create(db_user="reader", db_password="pw", publication_name="mine")
        record = site.run()
        assert (record.status, site.rows("t", "id, 0")) == ("COMPLETED_WITH_FAILURES", [(1, 0)])
        (note,) = [one for one in record.notes if one.level == "error"]
        assert note.message.startswith("public.a_odd: ")
        assert "division by zero" in note.message
        assert {name: one.status for name, one in site.ended().items()} == {
            "public.a_odd": "FAILED",
            "public.t": "COMPLETED",
        }
        shop.run(
            "INSERT INTO t VALUES (2)", "INSERT INTO a_odd VALUES (2)", "ALTER TABLE a_odd DISABLE ROW LEVEL SECURITY"
        )
        assert site.run().status == "COMPLETED"
        assert site.rows("t", "id, 0") == site.rows("a_odd", "id, 0") == [(1, 0), (2, 0)]
    finally:
        shop.run("DROP PUBLICATION mine")


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
