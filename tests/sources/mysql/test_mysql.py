"""Tables and queries of a real MariaDB, read by every query mode, value by value."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.mariadb import Database
from tests.sources.postgres.following import Follower as PostgresFollower

from millrace.connect.source import Context, Reading
from millrace.control.as_code.apply import apply
from millrace.control.as_code.document import parse
from millrace.control.failed import rejects, replay
from millrace.control.failed.rejects import Choice
from millrace.control.home import Home
from millrace.control.running import runs
from millrace.data import types
from millrace.errors import ConfigError, ObjectRefused
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.decoding import decoded
from millrace.sources.mysql.source import Source
from millrace.sources.mysql.types import typed


@pytest.fixture(scope="module")
def shop(mariadb: Database) -> Iterator[Database]:
    """A database of its own, on which the tests of a module work one after the other."""
    fresh = replace(mariadb, name=f"shop_{secrets.token_hex(6)}")
    mariadb.run(f'CREATE DATABASE "{fresh.name}"')
    yield fresh
    mariadb.run(f'DROP DATABASE "{fresh.name}"')


@dataclass
class Follower(PostgresFollower):
    """One object of MySQL, read again and again as the engine does it."""

    database: Any

    @cached_property
    def reader(self) -> Any:
        context = Context(queries={self.name: self.mode} if self.mode else {})
        made = Source(Config(**self.database.settings(**self.settings)), context)
        made.range_rows = self.range_rows or made.range_rows
        return made


TABLE = (
    "DROP TABLE IF EXISTS orders",
    "CREATE TABLE orders (id int PRIMARY KEY, price decimal(10,2), updated_at datetime(6) NOT NULL DEFAULT now(6), "
    "KEY (updated_at))",
    "INSERT INTO orders SELECT seq, seq, now(6) - INTERVAL 3600 + seq SECOND FROM seq_1_to_100",
)
DELTA = {"mode": "delta", "timestamp_column_name": "updated_at"}


@pytest.mark.parametrize(
    ("mode", "load_mode", "counts"),
    [
        (None, "merge", [100, 9, 0]),
        (DELTA, "merge", [100, 9, 0]),
        ("increment_append_only", "merge", [100, 5, 0]),
        (None, "append", [100, 9, 0]),
        (DELTA, "append", [100, 9, 0]),
        ("increment_append_only", "append", [100, 5, 0]),
    ],
)
def test_a_mode_reads_what_it_promises(shop: Database, mode: Any, load_mode: Any, counts: list[int]) -> None:
    shop.run(*TABLE)
    follower = Follower(shop, "orders", mode, load_mode=load_mode)
    first = len(follower.run())
    if mode != "increment_append_only":
        shop.run("UPDATE orders SET price = price + 1, updated_at = now(6) WHERE id <= 4")
    shop.run("INSERT INTO orders (id, price) SELECT seq, seq FROM seq_101_to_105")
    assert [first, len(follower.run()), len(follower.run())] == counts


@pytest.mark.parametrize(
    "change", ["MODIFY price varchar(20)", "ADD COLUMN note int DEFAULT 1", "DROP COLUMN price", "MODIFY id bigint"]
)
def test_rows_of_the_last_moment_are_not_appended_again_when_columns_change(shop: Database, change: str) -> None:
    shop.run(
        "DROP TABLE IF EXISTS orders",
        "CREATE TABLE orders (id int PRIMARY KEY, price decimal(10,2), updated_at datetime NOT NULL, KEY (updated_at))",
        "INSERT INTO orders SELECT seq, seq, '2024-01-01' FROM seq_1_to_5",
    )
    follower = Follower(shop, "orders", DELTA, load_mode="append")
    assert len(follower.run()) == 5
    shop.run(f"ALTER TABLE orders {change}", "INSERT INTO orders (id, updated_at) VALUES (6, '2024-01-01')")
    known = {"load_mode": "append", "cursors": follower.cursors, "marks": follower.marks}
    again = Follower(shop, "orders", DELTA, **known)
    if "id" in change.split():
        # The key itself is another one.
        with pytest.raises(ConfigError, match="another type"):
            again.run()
        return
    assert [row["id"] for row in again.run()] == [6]
    assert again.run() == []


def test_a_key_of_text_is_gone_on_from_where_a_run_was_ended(shop: Database) -> None:
    shop.run(
        "DROP TABLE IF EXISTS words",
        "CREATE TABLE words (a varchar(20), b int, c varchar(400), PRIMARY KEY (a, b)) "
        "CHARACTER SET latin1 COLLATE latin1_german1_ci",
        "INSERT INTO words SELECT concat(char(97 + seq % 7), if(seq % 2, 'ü\\\\', '''9')), seq, repeat('x', 400) "
        "FROM seq_1_to_60000",
    )
    follower = Follower(shop, "words", "full_load")
    first = follower.run(stop_after=2)
    rest = follower.run()
    assert 0 < len(first) < 60_000
    assert sorted(row["b"] for row in [*first, *rest]) == list(range(1, 60_001))


# Each type at its ends: the type, values as SQL, and what is at DuckDB.
VALUES: dict[str, tuple[str, tuple[str, str], tuple[str | None, str | None]]] = {
    "c_flag": ("tinyint(1)", ("0", "1"), ("false", "true")),
    "c_bit": ("bit(1)", ("0", "1"), ("false", "true")),
    "c_tiny": ("tinyint", ("-128", "127"), ("-128", "127")),
    "c_utiny": ("tinyint unsigned", ("0", "255"), ("0", "255")),
    "c_small": ("smallint", ("-32768", "32767"), ("-32768", "32767")),
    "c_usmall": ("smallint unsigned", ("0", "65535"), ("0", "65535")),
    "c_medium": ("mediumint unsigned", ("0", "16777215"), ("0", "16777215")),
    "c_int": ("int", ("-2147483648", "2147483647"), ("-2147483648", "2147483647")),
    "c_uint": ("int unsigned zerofill", ("0", "4294967295"), ("0", "4294967295")),
    "c_big": ("bigint", ("-9223372036854775808", "9223372036854775807"),
              ("-9223372036854775808", "9223372036854775807")),
    "c_ubig": ("bigint unsigned", ("0", "18446744073709551615"), ("0", "18446744073709551615")),
    "c_float": ("float", ("0.1", "-3.4028234e38"), ("0.1", "-3.4028235e+38")),
    "c_double": ("double", ("5e-324", "1.7976931348623157e308"), ("5e-324", "1.7976931348623157e+308")),
    "c_decimal": ("decimal(10,2)", ("-99999999.99", "0.01"), ("-99999999.99", "0.01")),
    "c_wide": ("decimal(65,30)", ("9" * 35 + "." + "9" * 30, "-" + "0." + "0" * 29 + "1"),
               ("9" * 35 + "." + "9" * 30, "-0." + "0" * 29 + "1")),
    "c_char": ("char(5)", ("'abc'", "''"), ("abc", "")),
    "c_latin": ("varchar(9) character set latin1", ("'Größe'", "'é'"), ("Größe", "é")),
    "c_text": ("longtext", ("'ünï\\n''\\\\\"💧'", "''"), ("ünï\n'\\\"💧", "")),
    "c_enum": ("enum('b','a,''x')", ("'b'", "'a,''x'"), ("b", "a,'x")),
    "c_set": ("set('x','y')", ("'x,y'", "''"), ("x,y", "")),
    "c_binary": ("binary(3)", ("x'00ff'", "''"), ("\\x00\\xFF\\x00", "\\x00\\x00\\x00")),
    "c_blob": ("longblob", ("x'00ff0a09'", "''"), ("\\x00\\xFF\\x0A\\x09", "")),
    "c_bits": ("bit(12)", ("b'101010101111'", "0"), ("\\x0A\\xAF", "\\x00\\x00")),
    "c_year": ("year", ("1901", "2155"), ("1901", "2155")),
    "c_date": ("date", ("'0001-01-01'", "'9999-12-31'"), ("0001-01-01", "9999-12-31")),
    "c_zero": ("date", ("'0000-00-00'", "'2024-02-00'"), (None, None)),
    "c_datetime": ("datetime(6)", ("'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"),
                   ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999")),
    "c_seconds": ("datetime", ("'2024-02-29 01:02:03'", "'0000-00-00 00:00:00'"), ("2024-02-29 01:02:03", None)),
    "c_timestamp": ("timestamp(6) null", ("'2038-01-19 03:14:07.999999'", "'1970-01-01 00:00:01'"),
                    ("2038-01-19 03:14:07.999999+00", "1970-01-01 00:00:01+00")),
    "c_time": ("time(6)", ("'00:00:00'", "'23:59:59.999999'"), ("00:00:00", "23:59:59.999999")),
    "c_json": ("json", ("'{\"b\": 1, \"a\": 9007199254740993}'", "'null'"),
               ('{"b": 1, "a": 9007199254740993}', "null")),
    "c_point": ("point", ("ST_GeomFromText('POINT(1 -2.5)')", "ST_GeomFromText('POINT(0 0)')"),
                ('{"type": "Point", "coordinates": [1, -2.5]}', '{"type": "Point", "coordinates": [0, 0]}')),
    "c_uuid": ("uuid", ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"),
               ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000")),
    "c_inet": ("inet6", ("'::1'", "'2001:db8::ff00:42:8329'"), ("::1", "2001:db8::ff00:42:8329")),
}  # fmt: skip

FILE = """
destinations:
  warehouse: {{type: duckdb, config: {{path: {path}}}}}
pipelines:
  shop:
    source: {{type: mysql, config: {source}}}
    destination: warehouse
    objects: [{objects}]
"""


def pipeline(home: Home, database: Database, folder: Path, objects: str, **source: Any) -> None:
    text = FILE.format(path=folder / "w.duckdb", source=database.settings(**source), objects=objects)
    apply(home, parse(text, folder / "pipelines.yaml", env={}))


def test_every_type_reaches_duckdb_value_by_value(shop: Database, tmp_path: Path) -> None:
    columns = ", ".join(f"{name} {type_}" for name, (type_, _, _) in VALUES.items())
    shop.run(
        f"CREATE TABLE zoo (id int PRIMARY KEY, {columns}) CHARACTER SET utf8mb4",
        *(
            f"INSERT IGNORE INTO zoo VALUES ({row}, {', '.join(given[row] for _, given, _ in VALUES.values())})"
            for row in range(2)
        ),
        "INSERT INTO zoo (id) VALUES (2)",
    )
    with Home.open(tmp_path / "home", create=True) as home:
        pipeline(home, shop, tmp_path, "zoo")
        ran = runs.run(home, "shop")
        assert ran.balance.loaded == 3, [group.sample for group in rejects.listed(home)]
        assert "c_zero had 2 values" in str(ran)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute("SET TimeZone = 'UTC'")
        found = {
            name: [
                one for (one,) in warehouse.execute(f"SELECT CAST({name} AS VARCHAR) FROM zoo ORDER BY id").fetchall()
            ]
            for name in VALUES
        }
    assert found == {name: [*wanted, None] for name, (_, _, wanted) in VALUES.items()}


def test_a_value_that_its_type_cannot_say_is_refused_or_left_out(shop: Database, tmp_path: Path) -> None:
    shop.run(
        "CREATE TABLE odd (id int PRIMARY KEY, spent time, yes tinyint(1))",
        "INSERT INTO odd VALUES (1, '26:00:00', 1), (2, '-00:00:01', 5), (3, '12:00:00', 0), (4, '838:59:59', NULL)",
    )
    with Home.open(tmp_path / "home", create=True) as home:
        pipeline(home, shop, tmp_path, "odd")
        assert runs.run(home, "shop").balance.rejected == {"source/INCOMPATIBLE_TYPE": 3}
        assert [group.sample for group in rejects.listed(home)] == ["spent is 26:00:00, which its type cannot say"]
        pipeline(home, shop, tmp_path, "odd", special_values="null")
        assert replay.replay(home, Choice("shop")).balance.loaded == 3
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        found = warehouse.execute("SELECT id, CAST(spent AS VARCHAR), yes FROM odd ORDER BY id").fetchall()
    assert found == [(1, None, True), (2, None, None), (3, "12:00:00", False), (4, None, None)]


def test_text_that_is_no_utf_8_is_told_by_its_place() -> None:
    found = decoded([b"a", b"\xff\xfe", None, "é".encode()], typed("longtext"))
    assert (found.values.to_pylist(), found.bad) == (["a", None, None, "é"], (1,))


@pytest.mark.parametrize("name", ["int(11)", "decimal(65,30)", "varchar(9)", "bit(8)", "json", "geometry", "time(3)"])
def test_a_type_is_one_of_the_list(name: str) -> None:
    assert types.canonical(typed(name).logical) == typed(name).logical


def test_a_query_of_the_users_is_an_object(shop: Database) -> None:
    shop.run(*TABLE)
    sql = "SELECT id, price * 2 AS twice, updated_at, 'x' AS word FROM orders WHERE id > 90;"
    source = Source(Config(**shop.settings(ingestion_mode="custom_sql", custom_sql=sql)))
    (stream,) = source.streams()
    assert stream.schema is not None
    assert [str(field.type) for field in stream.schema] == [
        "int32", "decimal128(11, 2)", "timestamp[us]", "string",
    ]  # fmt: skip
    follower = Follower(shop, "query", settings={"ingestion_mode": "custom_sql", "custom_sql": sql})
    assert [row["twice"] for row in follower.run()][:2] == ["182.00", "184.00"]
    assert [verdict.state for verdict in source.check()] == ["pass", "pass"]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 1 AS a; DROP TABLE orders", "sql"),
        ("DELETE FROM orders", "sql"),
        ("SELECT 1 AS a, 2 AS a", "duplicate_columns"),
        ("SELECT * FROM nowhere", "sql"),
    ],
)
def test_what_is_not_one_query_is_refused(shop: Database, sql: str, code: str) -> None:
    shop.run(*TABLE)
    source = Source(Config(**shop.settings(ingestion_mode="custom_sql", custom_sql=sql)))
    with pytest.raises(ConfigError) as error:
        source.streams()
    assert error.value.code == code
    assert source.check()[-1].state == "fail"
    assert shop.run("SELECT count(*) FROM orders") == [(100,)]


def test_a_query_that_writes_by_a_function_is_refused(shop: Database) -> None:
    shop.run(*TABLE, "SET GLOBAL log_bin_trust_function_creators = 1")
    shop.run("CREATE FUNCTION emptied() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM orders; RETURN 1; END")
    with pytest.raises(ConfigError, match="only allows reading") as error:
        Source(Config(**shop.settings(ingestion_mode="custom_sql", custom_sql="SELECT emptied() AS a"))).streams()
    assert "Write a query that reads" in str(error.value.hint)
    assert shop.run("SELECT count(*) FROM orders") == [(100,)]


def test_a_user_who_may_not_read_a_table_hears_which_right_is_missing(shop: Database) -> None:
    name = f"writer_{shop.name}"
    shop.run(*TABLE, f"CREATE USER '{name}'@'%' IDENTIFIED BY 'p'", f'GRANT INSERT ON "{shop.name}".* TO "{name}"')
    try:
        source = Source(Config(**replace(shop, user=name, password="p").settings()))
        (stream,) = (one for one in source.streams() if one.name == "orders")
        with pytest.raises(ObjectRefused, match=r"orders: .*SELECT command denied") as error:
            list(source.read(Reading(stream, "historical")))
        assert error.value.hint == "Grant the user SELECT on it."
    finally:
        shop.run(f"DROP USER '{name}'@'%'")


def test_a_user_who_may_read_nothing_is_told(shop: Database) -> None:
    name = f"reader_{shop.name}"
    shop.run(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'p'", f'GRANT EXECUTE ON "{shop.name}".* TO "{name}"')
    try:
        source = Source(Config(**replace(shop, user=name, password="p").settings()))
        assert [verdict.state for verdict in source.check()] == ["pass", "fail"]
        shop.run(f'GRANT SELECT ON "{shop.name}".* TO "{name}"')
        assert [verdict.state for verdict in source.check()] == ["pass", "pass"]
    finally:
        shop.run(f"DROP USER '{name}'@'%'")
