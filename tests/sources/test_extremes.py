"""Names of any length and kind, very large values, two pipelines with one table: from databases to destinations."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.mariadb import Database as MariaDB
from tests.mongodb import Deployment
from tests.postgres import Database as PostgreSQL

from millrace.connect.source import Context
from millrace.control.books.records import RunRecord
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.reconciling.reconcile import reconcile
from millrace.control.running import runs

PLACES = ("duckdb", "postgres", "mysql", "folder")


@dataclass
class Ground:
    """Sources and destinations of every kind, and a home for pipelines between them."""

    home: Home
    places: dict[str, dict[str, Any]]

    def run(self, name: str, kind: str, config: dict[str, Any], place: str) -> RunRecord:
        if not any(one.name == place for one in connections.listed(self.home, "destination")):
            connections.create(self.home, "destination", place, place, self.places[place])
        connections.create(self.home, "source", name, kind, config)
        pipelines.create(self.home, Wish(name, name, place, load_mode="append" if place == "folder" else "merge"))
        return runs.run(self.home, name)

    def query(self, place: str, sql: str) -> list[tuple[Any, ...]]:
        found = connections.find(self.home, "destination", place)
        with closing(connections.build_destination(self.home, found.id, Context())) as destination:
            return [tuple(row.values()) for row in destination.query(sql).to_pylist()]

    def alike(self, name: str) -> list[int]:
        """How many rows of each object are alike at both ends, value by value; all of them are."""
        found = reconcile(self.home, name, values=True)
        assert all(one.equal and one.values is not None and not one.values.why_not for one in found), found
        return [one.values.rows for one in found if one.values is not None]


@pytest.fixture
def ground(tmp_path: Path, database: PostgreSQL, mariadb: MariaDB) -> Iterator[Ground]:
    warehouse = replace(mariadb, name=f"test_{secrets.token_hex(6)}")
    mariadb.run(f"CREATE DATABASE {warehouse.name}")
    places: dict[str, dict[str, Any]] = {
        "duckdb": {"path": str(tmp_path / "w.duckdb")},
        "postgres": database.settings(schema_name="warehouse"),
        "mysql": warehouse.settings(),
        "folder": {"path": str(tmp_path / "files"), "format": "parquet"},
    }
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        yield Ground(home, places)
        for one in pipelines.listed(home):
            lifecycle.delete(home, one.name)
    mariadb.run(f"DROP DATABASE {warehouse.name}")


# Names that are one after they were made fit for a warehouse, words of SQL, and the longest; MySQL has no characters
# beyond the first 65,536 in names, and no space at an end.
COLUMNS = ("it's", 'say "hi"', "two  words", "two_words", "Two Words", "select", "né 名前", "a.b", "%s ? $1", "__x")
LONGEST = "ö" * 31 + "x"  # 63 bytes, as many as PostgreSQL has


def created(table: str, columns: Sequence[str]) -> Sequence[str]:
    """Statements for a table with such names, in which each row tells them apart."""
    q = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in (table, *columns)]
    listed = ", ".join(f"{name} varchar(20)" for name in q[1:])
    values = ", ".join(f"'v{number}'" for number in range(len(columns)))
    return (
        f"CREATE TABLE {q[0]} (id int PRIMARY KEY, {listed})",
        f"INSERT INTO {q[0]} VALUES (1, {values})",
        f"INSERT INTO {q[0]} (id) VALUES (2)",
    )


@pytest.mark.parametrize("place", PLACES)
def test_names_of_every_kind_reach_every_destination(
    ground: Ground, database: PostgreSQL, mysql_database: MariaDB, mongo: Deployment, place: str
) -> None:
    table = 'Größe: "it\'s" 名前'
    database.run(*created(f"P {table} 🙂", (*COLUMNS, "🙂", "🙃", " at both ends ", LONGEST)))
    mysql_database.run(*created(f"M {table}", (*COLUMNS, "ö" * 64)))
    fields = [name for name in (*COLUMNS, "🙂", LONGEST) if "." not in name and not name.startswith("%")]
    mongo.database[f"D {table} 🙂"].insert_many(
        [{"_id": 1} | {name: f"v{number}" for number, name in enumerate(fields)}, {"_id": 2}]
    )
    settings = {
        "postgres": database.settings(schemas=["public"]),
        "mysql": mysql_database.settings(),
        "mongodb": mongo.settings(),
    }
    for kind, config in settings.items():
        record = ground.run(f"from {kind}", kind, config | {"ingestion_mode": "table"}, place)
        assert (record.balance.loaded, sum(record.balance.rejected.values())) == (2, 0), kind
        if place != "folder":
            assert ground.alike(f"from {kind}") == [2], kind


def test_two_pipelines_load_into_one_table_of_mysql(
    ground: Ground, database: PostgreSQL, mysql_database: MariaDB
) -> None:
    create = "CREATE TABLE orders (id int PRIMARY KEY, v varchar(20), more varchar(20))"
    database.run(create, "INSERT INTO orders VALUES (1, 'a', 'x'), (2, 'b', 'x')")
    mysql_database.run(create.replace("more", "other"), "INSERT INTO orders VALUES (11, 'k', 'y')")
    ground.run("one", "postgres", database.settings(schemas=["public"], ingestion_mode="log"), "mysql")
    ground.run("other", "mysql", mysql_database.settings(ingestion_mode="log"), "mysql")
    for round_ in (3, 4):
        database.run(f"INSERT INTO orders VALUES ({round_}, 'c', NULL)", "UPDATE orders SET v = v || '!' WHERE id = 1")
        mysql_database.run(f"INSERT INTO orders VALUES (1{round_}, 'm', NULL)", "DELETE FROM orders WHERE id = 11")
        for name in ("other", "one"):
            runs.run(ground.home, name)
    found = ground.query("mysql", "SELECT id, v, more, other FROM orders WHERE NOT __hevo__marked_deleted ORDER BY id")
    assert found == [
        (1, "a!!", "x", None), (2, "b", "x", None), (3, "c", None, None), (4, "c", None, None),
        (13, "m", None, None), (14, "m", None, None),
    ]  # fmt: skip
    assert ground.query("mysql", "SELECT id, other FROM orders WHERE __hevo__marked_deleted") == [(11, "y")]


@pytest.mark.parametrize("place", PLACES)
def test_a_very_large_value_arrives_or_is_refused_by_its_row(
    ground: Ground, database: PostgreSQL, mysql_database: MariaDB, place: str, every_point: bool
) -> None:
    # More than MariaDB takes at once unless it is told to.
    size = 100_000_000 if every_point else 20_000_000
    rows = f"INSERT INTO h VALUES (1, repeat('x', {size})), (2, 'small')"
    database.run("CREATE TABLE h (id int PRIMARY KEY, v text)", rows)
    ((usual,),) = mysql_database.run("SELECT @@global.max_allowed_packet")
    mysql_database.run("SET GLOBAL max_allowed_packet = 1073741824")
    mysql_database.run("CREATE TABLE h2 (id int PRIMARY KEY, v longtext)", rows.replace(" h ", " h2 "))
    mysql_database.run(f"SET GLOBAL max_allowed_packet = {usual}")
    settings = {"postgres": database.settings(schemas=["public"]), "mysql": mysql_database.settings()}
    for kind, config in settings.items():
        record = ground.run(kind, kind, config | {"ingestion_mode": "table"}, place)
        refused = place == "mysql"
        assert dict(record.balance.rejected) == ({"load/ROW_TOO_LARGE": 1} if refused else {})
        assert record.balance.loaded == 2 - refused
        if not refused and place != "folder":
            assert ground.alike(kind) == [2]
