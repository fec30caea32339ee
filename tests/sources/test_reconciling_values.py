"""Values of databases beside values of tables: rows that differ are found, named, and read once more."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from tests.cli.asking import ask
from tests.mariadb import Database as MariaDB
from tests.mongodb import Deployment
from tests.postgres import Database as PostgreSQL

from millrace.connect.source import Context, Stream
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.mapper import mappings
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.reconciling import reconcile_values
from millrace.control.reconciling.reconcile import reconcile
from millrace.control.reconciling.reconciliation import Reconciliation, Values
from millrace.control.running import runs
from millrace.data.batch import Item
from millrace.errors import ConfigError
from millrace.sources.postgres.source import Source

TABLES = {"duckdb": "orders", "postgres": "warehouse.orders", "mysql": "orders"}


@dataclass
class Shop:
    """One source, and a pipeline from it into each destination, named like that."""

    home: Home

    def compared(self, name: str, *, fix: bool = False) -> Reconciliation:
        (found,) = reconcile(self.home, name, values=True, fix=fix)
        return found

    def values(self, name: str) -> Values:
        found = self.compared(name).values
        assert found is not None
        assert found.why_not == ""
        return found

    def unlike(self, name: str) -> list[tuple[str, int, str, str, dict[str, int]]]:
        return [(one.kind, one.rows, one.first, one.last, dict(one.columns)) for one in self.values(name).unlike]

    def change(self, name: str, *statements: str) -> None:
        """Changes of the destination's table that Millrace does not know of."""
        found = connections.find(self.home, "destination", name)
        with closing(connections.build_destination(self.home, found.id, Context())) as destination:
            changing: Any = destination
            with changing.connected():
                for sql in statements:
                    changing.execute(sql)


Made = Callable[..., Shop]


@pytest.fixture
def shop(tmp_path: Path, database: PostgreSQL, mariadb: MariaDB) -> Iterator[Made]:
    """Makes the pipelines from a source of that kind, with these settings, and runs them."""
    warehouse = replace(mariadb, name=f"test_{secrets.token_hex(6)}")
    mariadb.run(f"CREATE DATABASE {warehouse.name}")
    home = Home.open(tmp_path / "home", create=True, env={})

    def make(kind: str, config: dict[str, Any], *names: str, **wishes: Any) -> Shop:
        connections.create(home, "source", "shop", kind, config)
        places: dict[str, dict[str, Any]] = {
            "duckdb": {"path": str(tmp_path / "w.duckdb")},
            "postgres": database.settings(schema_name="warehouse"),
            "mysql": warehouse.settings(),
        }
        for name in names:
            connections.create(home, "destination", name, name, places[name])
            pipelines.create(home, Wish(name, "shop", name, **wishes))
            runs.run(home, name)
        return Shop(home)

    yield make
    for one in pipelines.listed(home):
        lifecycle.delete(home, one.name)
    home.close()
    mariadb.run(f"DROP DATABASE {warehouse.name}")


POSTGRES = (
    "CREATE TABLE orders (id int PRIMARY KEY, s text, i smallint, l bigint, f real, d double precision, "
    "n numeric(20,4), m numeric, b boolean, y bytea, day date, t time, tz timetz, ts timestamp, tstz timestamptz, "
    "u uuid, j json, jb jsonb, a int[], r int4range, p point, x xml, iv interval)",
    "INSERT INTO orders SELECT g, 'tëxt ' || g, g, g::bigint * 1000000007, g / 3.0, g / 7.0, g / 4.0, g * 1.10, "
    r"g % 2 = 0, '\x00ff', '2024-02-29', '23:59:59.999999', '12:00:00+02', '2024-01-01 00:00:00.000001', "
    "'2024-01-01 10:00:00+05', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{\"b\":1.50, \"a\":[1e2,null]}', "
    "'{\"z\":1.0,\"y\":\"é\"}', ARRAY[g, NULL], '[1,5)', '(1,2)', '<a>1</a>', '1 day' FROM generate_series(1, 100) g",
    "INSERT INTO orders (id) VALUES (101)",
    "INSERT INTO orders (id, f, d, s) VALUES (102, '-0', '-0', '')",
)
MYSQL = (
    "CREATE TABLE orders (id int PRIMARY KEY, s varchar(50), l bigint unsigned, f float, d double, n decimal(30,10), "
    "b tinyint(1), y varbinary(20), day date, t time(6), dt datetime(6), ts timestamp(6), j json, e enum('a','b'), "
    "yr year, bi bit(5), big text)",
    "INSERT INTO orders SELECT seq, concat('tëxt ', seq), 18446744073709551615 - seq, seq / 3, seq / 7, seq / 8, "
    "seq % 2, x'00ff', '2024-02-29', '23:59:59.999999', '2024-01-01 00:00:00.000001', '2024-01-01 10:00:00', "
    "'{\"b\": 1.50, \"a\": [100, null]}', 'b', 2024, b'101', repeat('x', 1000) FROM seq_1_to_100",
    "INSERT INTO orders (id, ts) VALUES (101, NULL)",
)


def documents() -> list[dict[str, Any]]:
    moment = datetime(2024, 1, 1, 10, 0, 0, 123000, tzinfo=UTC)
    made: list[dict[str, Any]] = [
        {
            "_id": number, "s": f"tëxt {number}", "d": number / 3, "l": Int64(2**60 + number), "b": number % 2 == 0,
            "n": Decimal128(Decimal(number) / 8), "at": moment, "o": {"b": 1.5, "a": [1, None, {"c": "é"}]},
            "oid": ObjectId(f"{number:024x}"), "y": b"\x00\xff",
        }
        for number in range(1, 101)
    ]  # fmt: skip
    return [*made, {"_id": ObjectId("65" * 12), "s": "by its ObjectId"}, {"_id": "text", "s": "by text"}]


def test_rows_of_postgresql_that_differ_are_named_and_read_once_more(shop: Made, database: PostgreSQL) -> None:
    database.run(*POSTGRES)
    made = shop("postgres", database.settings(ingestion_mode="log", schemas=["public"]), *TABLES)
    for name, table in TABLES.items():
        before = made.values(name)
        assert (before.rows, before.unlike) == (102, ()), name
        made.change(
            name,
            f"UPDATE {table} SET s = 'changed', i = 0 WHERE id = 7",
            f"UPDATE {table} SET ts = '1999-01-01', n = NULL WHERE id = 99",
            f"DELETE FROM {table} WHERE id BETWEEN 52 AND 54",
            f"UPDATE {table} SET id = 1000 WHERE id = 55",
        )
        assert made.unlike(name) == [
            ("other", 1, "7", "7", {"s": 1, "i": 1}),
            ("missing", 4, "52", "55", {}),
            ("extra", 1, "1000", "1000", {}),
            ("other", 1, "99", "99", {"n": 1, "ts": 1}),
        ]
        fixed = made.compared(name, fix=True).values
        assert fixed is not None
        # What is not at the source cannot be read again.
        assert (fixed.read_again, [one.kind for one in fixed.unlike]) == (6, ["extra"])


def test_values_of_mysql_are_the_same_at_a_destination_and_a_changed_one_is_mended(
    shop: Made, mysql_database: MariaDB
) -> None:
    mysql_database.run(*MYSQL)
    made = shop("mysql", mysql_database.settings(ingestion_mode="log"), "duckdb", "mysql")
    for name in ("duckdb", "mysql"):
        table = TABLES[name]
        assert made.unlike(name) == [], name
        made.change(
            name, f"UPDATE {table} SET l = 1, j = '[]' WHERE id = 3", f"DELETE FROM {table} WHERE id IN (47, 48)"
        )
        assert made.unlike(name) == [("other", 1, "3", "3", {"l": 1, "j": 1}), ("missing", 2, "47", "48", {})]
        assert made.compared(name, fix=True).equal


@pytest.mark.parametrize(("mode", "names"), [("log", ("postgres", "mysql")), ("table", ("duckdb",))])
def test_values_of_mongodb_are_the_same_at_a_destination_and_a_changed_one_is_mended(
    shop: Made, mongo: Deployment, mode: str, names: tuple[str, ...]
) -> None:
    mongo.database.orders.insert_many(documents())
    made = shop("mongodb", mongo.settings(ingestion_mode=mode), *names)
    for name in names:
        table = TABLES[name]
        assert made.unlike(name) == [], name
        made.change(
            name,
            f"UPDATE {table} SET s = 'changed', o = '1' WHERE _id IN ('3', '{'65' * 12}')",
            f"DELETE FROM {table} WHERE _id IN ('text', '99')",
        )
        (one, two) = sorted(made.unlike(name))
        assert (one[:2], two) == (("missing", 2), ("other", 2, "3", "65" * 12, {"s": 2, "o": 2}))
        assert made.compared(name, fix=True).equal


def test_what_cannot_be_compared_by_value_says_why(shop: Made, database: PostgreSQL) -> None:
    database.run("CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'x')")
    made = shop("postgres", database.settings(ingestion_mode="table"), "duckdb", load_mode="append")
    found = made.compared("duckdb").values
    assert found is not None
    assert "appended" in found.why_not


SPLIT = {"json_parsing_strategy": "SPLIT"}


def orders(many: int) -> list[dict[str, Any]]:
    """Orders with lines, and lines with tags."""
    return [
        {
            "_id": number,
            "at": datetime(2024, 1, 1, tzinfo=UTC),
            "lines": [
                {"sku": f"{number}-{line}", "n": line / 3, "tags": ["x", f"tëxt {line}"][: line % 3]}
                for line in range(number % 4)
            ],
        }
        for number in range(1, many + 1)
    ]


@pytest.mark.parametrize("name", ["duckdb", "postgres", "mysql"])
def test_items_of_arrays_are_compared_and_those_that_differ_are_mended_with_their_events(
    shop: Made, mongo: Deployment, name: str
) -> None:
    mongo.database.orders.insert_many(orders(40))
    made = shop("mongodb", mongo.settings(ingestion_mode="log"), name, options=SPLIT)
    # Items that come, change and go by the log.
    mongo.database.orders.update_one({"_id": 3}, {"$set": {"lines.1.sku": "other"}})
    mongo.database.orders.update_one({"_id": 3}, {"$push": {"lines": {"sku": "new"}}})
    mongo.database.orders.update_one({"_id": 7}, {"$set": {"lines": []}})
    mongo.database.orders.delete_one({"_id": 11})
    mongo.database.orders.insert_one({"_id": 12345, "lines": [{"sku": "late", "tags": ["y"]}]})
    runs.run(made.home, name)
    before = made.values(name)
    lines = sum(number % 4 for number in range(1, 41)) - 3 - 3 + 1 + 1
    tags = sum(line % 3 for number in range(1, 41) if number not in (7, 11) for line in range(number % 4)) + 1
    assert (before.rows, before.unlike, before.left_out) == (40, (), {})
    assert before.items == {"orders_lines": lines, "orders_lines_tags": tags}
    table = TABLES[name]
    made.change(
        name,
        f"UPDATE {table}_lines SET n = 5, sku = NULL WHERE sku IN ('2-1', '39-0')",
        f"DELETE FROM {table}_lines WHERE sku = '5-0'",
        f"UPDATE {table}_lines_tags SET value = 'changed' WHERE __hevo_ref_id = "
        f"(SELECT __hevo_id FROM {table}_lines WHERE sku = '10-1')",
    )
    found = {(one.name, one.kind, one.rows, one.first, one.last): dict(one.columns) for one in made.values(name).unlike}
    assert found == {
        ("orders_lines", "other", 2, "2", "39"): {"n": 2, "sku": 2},
        ("orders_lines", "missing", 1, "5", "5"): {},
        ("orders_lines_tags", "other", 1, "10", "10"): {"value": 1},
    }
    # What an event lacks with all its items is told once.
    made.change(name, f"DELETE FROM {table} WHERE _id = '6'", f"DELETE FROM {table}_lines WHERE sku LIKE '6-%'")
    assert [(one.name, one.rows) for one in made.values(name).unlike if one.kind == "missing"] == [
        ("all rows", 1), ("orders_lines", 1),
    ]  # fmt: skip
    fixed = made.compared(name, fix=True)
    assert (fixed.equal, fixed.values and fixed.values.read_again) == (True, 5)
    # An item that the source does not have goes with a fresh table.
    made.change(name, f"UPDATE {table}_lines SET __hevo_id = 'nobody' WHERE sku = '1-0'")
    assert {(one.name, one.kind, one.first) for one in made.values(name).unlike} == {
        ("orders_lines", "missing", "1"), ("orders_lines", "extra", "1"),
    }  # fmt: skip


def test_items_in_json_of_a_table_are_compared_too(shop: Made, database: PostgreSQL) -> None:
    database.run(
        "CREATE TABLE orders (a int, b text, lines jsonb, nums jsonb, PRIMARY KEY (a, b))",
        "INSERT INTO orders SELECT g, 'k|' || g, jsonb_build_array(jsonb_build_object('sku', g, 'p', 'x' || g)), "
        "jsonb_build_array(g, NULL, 3) FROM generate_series(1, 30) g",
    )
    made = shop("postgres", database.settings(ingestion_mode="table", schemas=["public"]), "duckdb", options=SPLIT)
    before = made.values("duckdb")
    assert (before.unlike, before.left_out) == ((), {})
    assert before.items == {"orders_lines": 30, "orders_nums": 90}
    made.change("duckdb", "UPDATE orders_nums SET value = 99 WHERE value = 7", "DELETE FROM orders_lines WHERE sku = 9")
    assert made.unlike("duckdb") == [
        ("missing", 1, "9, k|9", "9, k|9", {}),
        ("other", 1, "7, k|7", "7, k|7", {"value": 1}),
    ]
    assert made.compared("duckdb", fix=True).equal


def test_what_is_compared_of_items_of_arrays_is_told(shop: Made, mongo: Deployment) -> None:
    mongo.database.orders.insert_one({"_id": 1, "lines": [{"sku": "a", "tags": ["x"]}, {"sku": "b", "tags": []}]})
    made = shop("mongodb", mongo.settings(ingestion_mode="table"), "duckdb", options=SPLIT)
    assert made.compared("duckdb").equal
    told = ask("reconcile", "duckdb", "--values", home=made.home.path)
    assert "And rows of items of arrays: orders_lines 2, orders_lines_tags 1." in told.out
    # Rows that are skipped are in no table; those below them are.
    lines = f"{mongo.name}.orders_lines"
    mappings.skip(made.home, "duckdb", lines)
    assert made.values("duckdb").items == {"orders_lines_tags": 1}
    made.change("duckdb", "DROP TABLE orders_lines_tags")
    assert (
        "Not compared: orders_lines_tags is not at the destination."
        in ask("reconcile", "duckdb", "--values", home=made.home.path).out
    )
    mappings.skip(made.home, "duckdb", f"{lines}_tags")
    assert (made.values("duckdb").items, made.values("duckdb").left_out) == ({}, {})


def test_an_event_with_an_item_that_does_not_fit_is_in_no_table_and_does_not_count(
    shop: Made, mongo: Deployment
) -> None:
    mongo.database.orders.insert_many(orders(10))
    made = shop("mongodb", mongo.settings(ingestion_mode="log"), "duckdb", options=SPLIT)
    mappings.change_type(made.home, "duckdb", f"{mongo.name}.orders_lines", "n", "DOUBLE")
    mongo.database.orders.insert_one({"_id": 11, "lines": [{"n": 1.5}, {"n": "no number"}]})
    runs.run(made.home, "duckdb")
    found = made.compared("duckdb")
    assert found.equal
    assert found.values is not None
    assert found.values.rows == 10


def test_rows_of_a_table_with_another_key_are_not_read_again_by_it(shop: Made, database: PostgreSQL) -> None:
    # The number of each order is the id of another one.
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, order_no int, v text)",
        "INSERT INTO orders SELECT g, 11 - g, 'x' || g FROM generate_series(1, 10) g",
    )
    made = shop("postgres", database.settings(ingestion_mode="table"), "duckdb")
    made.change("duckdb", "DROP TABLE orders")
    mappings.set_key(made.home, "duckdb", "public.orders", ["order_no"])
    runs.resync(made.home, "duckdb")
    assert made.unlike("duckdb") == []
    made.change("duckdb", "UPDATE orders SET v = 'changed' WHERE order_no = 3")
    told = ask("reconcile", "duckdb", "--values", home=made.home.path)
    assert "the table tells rows apart by order_no, the source by id" in told.out
    assert "millrace resync duckdb --object public.orders" in told.out
    with pytest.raises(ConfigError, match="by order_no, the source by id") as refused:
        made.compared("duckdb", fix=True)
    assert "millrace resync duckdb --object public.orders" in str(refused.value.hint)
    assert made.unlike("duckdb") == [("other", 1, "3", "3", {"v": 1})]
    with pytest.raises(ConfigError, match="keys of 2 values"):
        runs.reread(made.home, "duckdb", (), keys={"public.orders": [("1", "2")]})


def test_where_too_many_rows_differ_the_remedy_is_to_read_the_object_anew(
    shop: Made, database: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run("CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'x'), (2, 'y')")
    made = shop("postgres", database.settings(ingestion_mode="table"), "duckdb")
    made.change("duckdb", "UPDATE orders SET v = 'changed'")
    assert made.compared("duckdb").by_keys
    monkeypatch.setattr(reconcile_values, "MOST_KEYS", 1)
    with pytest.raises(ConfigError, match="more than 1 row") as refused:
        made.compared("duckdb", fix=True)
    assert refused.value.hint == "Read the whole object anew: `millrace resync duckdb --object public.orders`."


def test_what_differs_though_it_was_read_once_more_is_to_be_read_anew_as_a_whole(
    shop: Made, database: PostgreSQL
) -> None:
    database.run("CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'x'), (2, 'y')")
    made = shop("postgres", database.settings(ingestion_mode="log", schemas=["public"]), "postgres")
    # Somebody's own code changes what is loaded.
    database.run(
        "CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v = upper(NEW.v); RETURN NEW; END $$",
        "CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON warehouse.orders FOR EACH ROW EXECUTE FUNCTION loud()",
        "UPDATE warehouse.orders SET v = v WHERE id = 1",
    )
    before = made.compared("postgres")
    assert before.by_keys
    assert before.remedy == "millrace reconcile postgres --values --fix"
    after = made.compared("postgres", fix=True)
    assert after.values is not None
    assert (after.values.read_again, len(after.values.unlike)) == (1, 1)
    assert not after.by_keys
    assert after.remedy == "millrace resync postgres --object public.orders --mode drop-and-load"
    runs.resync(made.home, "postgres", only=["public.orders"], mode="drop-and-load")
    assert made.compared("postgres").equal
    # So it is with rows that are in the table alone.
    made.change("postgres", "INSERT INTO warehouse.orders (id, v) VALUES (9, 'z')")
    assert made.compared("postgres").remedy.endswith("--mode drop-and-load")


def test_a_file_is_free_for_others_while_the_source_is_read(
    shop: Made, database: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run("CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'x')")
    made = shop("postgres", database.settings(ingestion_mode="table"), "duckdb")
    opened: list[int] = []
    snapshot = Source.snapshot

    def watched(source: Source, stream: Stream) -> Iterator[Item]:
        opening = "import duckdb, sys; duckdb.connect(sys.argv[1]).close()"
        opened.append(subprocess.run([sys.executable, "-c", opening, tmp_path / "w.duckdb"], check=False).returncode)
        yield from snapshot(source, stream)

    monkeypatch.setattr(Source, "snapshot", watched)
    assert made.unlike("duckdb") == []
    assert opened == [0]


def test_the_command_names_rows_columns_and_the_remedy(shop: Made, database: PostgreSQL) -> None:
    database.run(
        "CREATE TABLE orders (a int, b text, v text, PRIMARY KEY (a, b))",
        "INSERT INTO orders SELECT g, 'it''s ' || g, 'x' FROM generate_series(1, 10) g",
    )
    made = shop("postgres", database.settings(ingestion_mode="table"), "duckdb")
    made.change("duckdb", "UPDATE orders SET v = 'y' WHERE a = 3")
    told = ask("reconcile", "duckdb", "--values", home=made.home.path)
    assert told.code == 1
    assert "Compared value by value: 10 rows." in told.out
    assert "3, it's 3" in told.out
    assert "v 1" in told.out
    assert "millrace reconcile duckdb --values --fix" in told.out
    mended = ask("reconcile", "duckdb", "--values", "--fix", home=made.home.path)
    assert (mended.code, "Read once more: 1 row." in mended.out) == (0, True)
    with pytest.raises(ConfigError, match="no days"):
        made.change("duckdb", "DELETE FROM orders WHERE a = 3")
        reconcile(made.home, "duckdb", fix=True)


def test_numbers_that_became_text_are_those_of_the_source_whatever_came_beside_them(
    shop: Made, database: PostgreSQL
) -> None:
    # A number of 80 digits makes the column text; later ones come in batches of their own.
    database.run("CREATE TABLE orders (id int PRIMARY KEY, m numeric, n numeric(6,2))")
    database.run("INSERT INTO orders VALUES (1, 10::numeric ^ 79, 1), (2, 1.10, 2)")
    made = shop("postgres", database.settings(ingestion_mode="log", schemas=["public"]), "duckdb")
    database.run("INSERT INTO orders VALUES (3, 1.2857142857142857, 3), (6, 2.50, 6)")
    runs.run(made.home, "duckdb")
    database.run("INSERT INTO orders VALUES (4, 1.50000000000000000001, 4), (5, -0.5, 5)")
    runs.run(made.home, "duckdb")
    found = connections.find(made.home, "destination", "duckdb")
    with closing(connections.build_destination(made.home, found.id, Context())) as destination:
        held = [row["m"] for row in destination.query("SELECT m FROM orders ORDER BY id").to_pylist()]
    assert held[2:] == ["1.2857142857142857", "1.50000000000000000001", "-0.5", "2.5"]
    assert made.unlike("duckdb") == []
