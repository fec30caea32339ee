"""Pipelines from PostgreSQL, as a file says them, into DuckDB and into PostgreSQL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from tests.postgres import Database
from tests.sources.postgres.following import source

from millrace.control.as_code.apply import apply
from millrace.control.as_code.document import parse
from millrace.control.as_code.export import export
from millrace.control.books.records import RunRecord
from millrace.control.failed import rejects, replay
from millrace.control.failed.rejects import Choice
from millrace.control.home import Home
from millrace.control.running import runs
from millrace.data.types import storage
from millrace.sources.postgres.decoding import read
from millrace.sources.postgres.types import SESSION

FILE = """
destinations:
  warehouse: {{type: {type}, config: {config}}}
pipelines:
  shop:
    source: {{type: postgres, config: {source}}}
    destination: warehouse
    {objects}
"""

# Each type at its ends: the type, values as the server reads them, and what is at DuckDB and at PostgreSQL.
VALUES: dict[str, tuple[str, Sequence[str], Sequence[str], Sequence[str]]] = {
    "c_bool": ("boolean", ["t", "f"], ["true", "false"], ["true", "false"]),
    "c_small": ("smallint", ["-32768", "32767"], ["-32768", "32767"], ["-32768", "32767"]),
    "c_whole": ("integer", ["-2147483648", "2147483647"], ["-2147483648", "2147483647"], ["-2147483648", "2147483647"]),
    "c_big": (
        "bigint", ["-9223372036854775808", "9223372036854775807"],
        ["-9223372036854775808", "9223372036854775807"], ["-9223372036854775808", "9223372036854775807"],
    ),
    "c_oid": ("oid", ["0", "4294967295"], ["0", "4294967295"], ["0", "4294967295"]),
    "c_real": ("real", ["1.1754944e-38", "NaN"], ["1.1754944e-38", "nan"], ["1.1754944e-38", "NaN"]),
    "c_double": (
        "double precision", ["5e-324", "-Infinity"], ["5e-324", "-inf"], ["5e-324", "-Infinity"],
    ),
    "c_numeric": ("numeric(10,2)", ["-99999999.99", "0.01"], ["-99999999.99", "0.01"], ["-99999999.99", "0.01"]),
    "c_wide": (
        "numeric(50,10)", ["1234567890123456789012345678901234567890.0123456789", "-1"],
        ["1234567890123456789012345678901234567890.0123456789", "-1.0000000000"],
        ["1234567890123456789012345678901234567890.0123456789", "-1.0000000000"],
    ),
    "c_huge": ("numeric(200,3)", ["1" * 190 + ".125", "NaN"], ["1" * 190 + ".125", "NaN"], ["1" * 190 + ".125", "NaN"]),
    "c_free": ("numeric", ["12345678901234567890.123", "0.000000000000001"],
               ["12345678901234567890.123000000000000", "0.000000000000001"],
               ["12345678901234567890.123000000000000", "0.000000000000001"]),
    "c_rounded": ("numeric(3,-2)", ["12345", "-99900"], ["12300", "-99900"], ["12300", "-99900"]),
    "c_money": ("money", ["-92233720368547758.08", "12.34"], ["-92233720368547758.08", "12.34"],
                ["-92233720368547758.08", "12.34"]),
    "c_text": ("text", ["", "ünï\n'\\\"💧"], ["", "ünï\n'\\\"💧"], ["", "ünï\n'\\\"💧"]),
    "c_varchar": ("varchar(5)", ["abcde", " x "], ["abcde", " x "], ["abcde", " x "]),
    "c_char": ("char(5)", ["abc", ""], ["abc  ", "     "], ["abc  ", "     "]),
    "c_name": ("name", ["n", ""], ["n", ""], ["n", ""]),
    "c_letter": ('"char"', ["c", "d"], ["c", "d"], ["c", "d"]),
    "c_bytea": ("bytea", ["\\x00ff", "\\x"], ["\\x00\\xFF", ""], ["\\x00ff", "\\x"]),
    "c_json": ("json", ['{"b": 1, "a": 1e400}', "null"], ['{"b": 1, "a": 1e400}', "null"],
               ['{"a": 1' + 400 * "0" + ', "b": 1}', "null"]),
    "c_jsonb": ("jsonb", ['{"b": [1, "x"]}', '"s"'], ['{"b": [1, "x"]}', '"s"'], ['{"b": [1, "x"]}', '"s"']),
    "c_date": ("date", ["0001-01-01", "9999-12-31"], ["0001-01-01", "9999-12-31"],
               ["0001-01-01", "9999-12-31"]),
    "c_time": ("time", ["00:00:00", "24:00:00"], ["00:00:00", "24:00:00"], ["00:00:00", "24:00:00"]),
    "c_timetz": ("timetz", ["12:30:00.5+05:30", "00:00-12"], ["12:30:00.5+05:30", "00:00:00-12"],
                 ["12:30:00.5+05:30", "00:00:00-12"]),
    "c_timestamp": ("timestamp", ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"],
                    ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"],
                    ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"]),
    "c_timestamptz": ("timestamptz", ["2024-02-29 12:00:00.000001+05:30", "0001-01-01 00:00:00+00"],
                      ["2024-02-29 06:30:00.000001+00", "0001-01-01 00:00:00+00"],
                      ["2024-02-29 06:30:00.000001+00", "0001-01-01 00:00:00+00"]),
    "c_interval": ("interval", ["1 year 2 mons -3 days 04:05:06.789", "-1 sec"],
                   ["P1Y2M-3DT4H5M6.789S", "PT-1S"], ["P1Y2M-3DT4H5M6.789S", "PT-1S"]),
    "c_uuid": ("uuid", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
               ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
               ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"]),
    "c_flag": ("bit(1)", ["1", "0"], ["true", "false"], ["true", "false"]),
    "c_bits": ("bit(12)", ["101010101111", "000000000000"], ["\\xAA\\xF0", "\\x00\\x00"], ["\\xaaf0", "\\x0000"]),
    "c_varbit": ("varbit", ["101", ""], ["\\x00\\x00\\x00\\x03\\xA0", "\\x00\\x00\\x00\\x00"],
                 ["\\x00000003a0", "\\x00000000"]),
    "c_array": ("integer[]", ["{1,NULL,3}", "{{1,2},{3,4}}"], ["{1,NULL,3}", "{{1,2},{3,4}}"],
                ["{1,NULL,3}", "{{1,2},{3,4}}"]),
    "c_range": ("int4range", ["[1,5)", "empty"], ["[1,5)", "empty"], ["[1,5)", "empty"]),
    "c_tsrange": ("tstzrange", ["[2024-01-01 00:00+00,)", "empty"], ['["2024-01-01 00:00:00+00",)', "empty"],
                  ['["2024-01-01 00:00:00+00",)', "empty"]),
    "c_enum": ("mood", ["good", "it's bad"], ["good", "it's bad"], ["good", "it's bad"]),
    "c_domain": ("amount", ["1.5", "9.99"], ["1.50", "9.99"], ["1.50", "9.99"]),
    "c_composite": ("pair", ["(1,\"a b\")", "(,)"], ["(1,\"a b\")", "(,)"], ["(1,\"a b\")", "(,)"]),
    "c_inet": ("inet", ["192.168.0.1/24", "::1"], ["192.168.0.1/24", "::1"], ["192.168.0.1/24", "::1"]),
    "c_point": ("point", ["(1,-2.5)", "(0,1e300)"], ['{"x":1,"y":-2.5}', '{"x":0,"y":1e+300}'],
                ['{"x": 1, "y": -2.5}', '{"x": 0, "y": 1' + 300 * "0" + "}"]),
    "c_polygon": ("polygon", ["((0,0),(1,1))", "((0,0))"], ["((0,0),(1,1))", "((0,0))"], ["((0,0),(1,1))", "((0,0))"]),
    "c_xml": ("xml", ["<a>1</a>", "<b/>"], ["<a>1</a>", "<b/>"], ["<a>1</a>", "<b/>"]),
    "c_tsvector": ("tsvector", ["'a':1 'b':2", ""], ["'a':1 'b':2", ""], ["'a':1 'b':2", ""]),
    "c_lsn": ("pg_lsn", ["16/B374D848", "0/0"], ["16/B374D848", "0/0"], ["16/B374D848", "0/0"]),
}  # fmt: skip


def pipeline(home: Home, database: Database, folder: Path, to: Any, objects: str = "", **source: Any) -> None:
    """The file's pipeline is there."""
    kind, config = ("duckdb", {"path": str(folder / "w.duckdb")}) if to is None else ("postgres", to)
    text = FILE.format(type=kind, config=config, source=database.settings(**source), objects=objects)
    apply(home, parse(text, folder / "pipelines.yaml", env={}))


def run(home: Home) -> RunRecord:
    return runs.run(home, "shop")


def refusals(home: Home) -> list[str]:
    """What the pipeline's rejects say."""
    return [group.sample for group in rejects.listed(home)]


@pytest.fixture(scope="module")
def zoo(shop: Database) -> Database:
    columns = ", ".join(f'"{name}" {type_}' for name, (type_, *_) in VALUES.items())
    shop.run(
        "CREATE TYPE mood AS ENUM ('good', 'it''s bad')",
        "CREATE DOMAIN amount AS numeric(10,2) CHECK (VALUE > 0)",
        "CREATE TYPE pair AS (a integer, b text)",
        f"CREATE TABLE zoo (id integer PRIMARY KEY, {columns})",
        "CREATE SCHEMA other",
    )
    with shop.connect() as connection:
        for row in range(2):
            marks = ", ".join(f"CAST(%s AS {type_})" for type_, *_ in VALUES.values())
            values = [given[row] for _, given, *_ in VALUES.values()]
            connection.execute(f"INSERT INTO zoo VALUES ({row}, {marks})".encode(), values)
        connection.execute("INSERT INTO zoo (id) VALUES (2)")
    return shop


def test_every_type_reaches_duckdb_value_by_value(zoo: Database, tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", create=True) as home:
        pipeline(home, zoo, tmp_path, None, "objects: [public.zoo]")
        assert run(home).balance.loaded == 3, refusals(home)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute("SET TimeZone = 'UTC'")
        found = {
            name: [one for (one,) in warehouse.execute(_texts("zoo", name, "VARCHAR")).fetchall()] for name in VALUES
        }
    assert found == {name: [*wanted, None] for name, (_, _, wanted, _) in VALUES.items()}


def test_every_type_reaches_postgres_value_by_value(zoo: Database, tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", create=True) as home:
        pipeline(home, zoo, tmp_path, zoo.settings(schema_name="other"), "objects: [public.zoo]")
        assert run(home).balance.loaded == 3, refusals(home)
    found = {
        name: [one for (one,) in zoo.run("SET TimeZone = 'UTC'", _texts("other.zoo", name, "text"))] for name in VALUES
    }
    assert found == {name: [*wanted, None] for name, (_, _, _, wanted) in VALUES.items()}


def test_text_and_binary_of_a_value_are_the_same(zoo: Database) -> None:
    with closing(source(zoo)) as reader:
        described = reader._one("public.zoo")
        with reader._server.session() as session:
            session.begin([described])
            session.described({"public.zoo": described}, lambda _column, _count: None)
            (part,) = session.parts(described.relation, "ORDER BY id", ())
    with zoo.connect() as connection:
        for name, value in SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        # As the server writes it, and as the log has it.
        out = io.BytesIO()
        with connection.cursor().copy(
            "COPY (SELECT * FROM zoo ORDER BY id) TO STDOUT (FORMAT csv, NULL '<none>')"
        ) as copy:
            for block in copy:
                out.write(block)
    rows = list(csv.reader(io.StringIO(out.getvalue().decode(), newline="")))
    for place, (name, type_) in enumerate(described.types.items()):
        texts = pa.array([None if row[place] == "<none>" else row[place] for row in rows], pa.string())
        from_text = read(texts, type_).values
        assert from_text.type == part.rows.column(name).type, name
        # Not by equality, for NaN.
        assert repr(storage(from_text).to_pylist()) == repr(storage(part.rows.column(name)).to_pylist()), name


def _texts(table: str, name: str, type_: str) -> str:
    return f'SELECT CAST("{name}" AS {type_}) FROM {table} ORDER BY id'


def test_a_value_that_no_warehouse_has_is_refused_or_left_out(zoo: Database, tmp_path: Path) -> None:
    zoo.run(
        "DROP TABLE IF EXISTS odd",
        "CREATE TABLE odd (id integer PRIMARY KEY, until timestamptz, since date, price numeric(5,2))",
        "INSERT INTO odd VALUES (1, 'infinity', '2024-01-01', 1), (2, '2024-01-01', '-infinity', 'NaN')",
        "INSERT INTO odd VALUES (3, NULL, NULL, 3)",
    )
    with Home.open(tmp_path / "home", create=True) as home:
        pipeline(home, zoo, tmp_path, None, "objects: [public.odd]")
        assert run(home).balance.rejected == {"source/INCOMPATIBLE_TYPE": 2}
        assert refusals(home) == ["until is infinity, which no type of a warehouse has"]
        pipeline(home, zoo, tmp_path, None, "objects: [public.odd]", special_values="null")
        assert replay.replay(home, Choice("shop")).balance.loaded == 2
        assert refusals(home) == []
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        found = warehouse.execute("SELECT id, until IS NULL, since, price FROM odd ORDER BY id").fetchall()
    assert found == [
        (1, True, date(2024, 1, 1), Decimal("1.00")),
        (2, False, None, None),
        (3, True, None, Decimal("3.00")),
    ]


def test_a_file_says_how_objects_are_queried(zoo: Database, tmp_path: Path) -> None:
    zoo.run(
        "DROP TABLE IF EXISTS events",
        "CREATE TABLE events (id serial PRIMARY KEY, at timestamptz)",
        "INSERT INTO events (at) SELECT now() FROM generate_series(1, 10)",
    )
    mode = {"mode": "delta", "timestamp_column_name": "at", "timestamp_delay_interval_ms": 0}
    objects = f"objects: {{public.events: {{query_mode: {json.dumps(mode)}}}}}"
    with Home.open(tmp_path / "home", create=True) as home:
        pipeline(home, zoo, tmp_path, None, objects)
        assert run(home).balance.read == 10
        zoo.run("INSERT INTO events (at) VALUES (now()), (now() - interval '1 day')")
        assert run(home).balance.read == 2
        assert run(home).balance.read == 0
        exported = export(home).text
        assert json.dumps(mode["timestamp_column_name"])[1:-1] in exported
        # Another mode begins anew: its rows merge into those that are there.
        pipeline(home, zoo, tmp_path, None, "objects: {public.events: {query_mode: increment_append_only}}")
        assert run(home).balance.read == 12
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        assert warehouse.execute("SELECT count(*), count(DISTINCT id) FROM events").fetchall() == [(12, 12)]
