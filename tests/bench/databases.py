"""`make bench-databases`: PostgreSQL into DuckDB and into PostgreSQL, beside raw floors and dlt, in one run.

    python -m tests.bench.databases [--rows 5000000] [--repeats 3] [--without-dlt] [--only duckdb|postgres]

A table of 12 mixed columns with a key. The floor into DuckDB is ADBC's stream in one statement; the floor into
PostgreSQL a pipe from binary COPY to binary COPY. Neither has a key, state, types of ours or a stage; Millrace has, and
starts from nothing, its process included. Every party is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import measure, product
from tests.bench.measure import Ran
from tests.postgres import Database, Server, binaries

# Text, numbers with and without a point, moments, a flag, JSON, a UUID: some 200 bytes a row.
COLUMNS = (
    "id bigint PRIMARY KEY, customer integer NOT NULL, price numeric(12,2) NOT NULL, weight double precision, "
    "paid boolean NOT NULL, status varchar(20) NOT NULL, note text, ref uuid NOT NULL, details jsonb, "
    "ordered_on date NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL"
)
ROWS = """
INSERT INTO orders SELECT g, (g * 7919) % 100000, ((g * 31) % 1000000) / 100.0,
  CASE WHEN g % 10 > 0 THEN (g % 1000) * 1.7 END, g % 3 = 0, (ARRAY['new', 'paid', 'shipped', 'returned'])[g % 4 + 1],
  CASE WHEN g % 5 > 0 THEN repeat(md5(g::text), 2) END, md5(g::text)::uuid,
  CASE WHEN g % 2 = 0 THEN jsonb_build_object('channel', 'web', 'items', g % 9) END,
  date '2020-01-01' + (g % 1800)::int, timestamptz '2020-01-01' + g * interval '17 seconds',
  timestamptz '2020-01-02' + g * interval '17 seconds'
FROM generate_series(1::bigint, {rows}) AS g"""

GOALS = {"duckdb": 0.8, "postgres": 0.7}
PEERS = {"duckdb": 2, "postgres": 4}


def floor_duckdb(url: str, target: str) -> None:
    """ADBC → DuckDB."""
    import duckdb
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM orders")
        rows = cursor.fetch_record_batch()
        with duckdb.connect(target) as warehouse:
            warehouse.register("incoming", rows)
            warehouse.execute("CREATE TABLE orders AS SELECT * FROM incoming")


def floor_postgres(url: str, target: str) -> None:
    """COPY BINARY → COPY BINARY."""
    import psycopg

    with psycopg.connect(url) as one, psycopg.connect(target, autocommit=True) as other:
        other.execute(f"CREATE TABLE orders ({COLUMNS.replace(' PRIMARY KEY', '')})".encode())
        with (
            one.cursor().copy("COPY orders TO STDOUT (FORMAT BINARY)") as out,
            other.cursor().copy("COPY orders FROM STDIN (FORMAT BINARY)") as into,
        ):
            for part in out:
                into.write(part)


def dlt(url: str, target: str) -> None:
    """dlt's `sql_database` by pyarrow; into DuckDB a file, into PostgreSQL a database."""
    import os

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    import dlt
    from dlt.sources.sql_database import sql_table

    destination = dlt.destinations.postgres(target) if "://" in target else dlt.destinations.duckdb(target)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=destination, dataset_name="peer")
        table = sql_table(url.replace("://", "+psycopg://"), table="orders", backend="pyarrow", chunk_size=50_000)
        pipeline.run(table, write_disposition="replace").raise_on_failed_jobs()


def millrace(source: Database, destination: dict[str, Any]) -> Ran:
    folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    try:
        file = {
            "destinations": {"warehouse": destination},
            "pipelines": {
                "orders": {
                    "source": {"type": "postgres", "config": source.settings()},
                    "destination": "warehouse",
                    "objects": ["public.orders"],
                }
            },
        }
        (folder / "pipelines.yaml").write_text(json.dumps(file))
        return measure.run(
            [product.COMMAND, "run", "pipelines.yaml", "--json"],
            folder=folder,
            environment={"MILLRACE_HOME": str(folder / "home")},
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Bench:
    """A server with the table, and places to load it into."""

    def __init__(self, postgres: Database, place: Path, rows: int) -> None:
        self.postgres, self.place, self.rows = postgres, place, rows
        self.target = place / "target.duckdb"
        say(f"making {rows:,} rows")
        postgres.run(f"CREATE TABLE orders ({COLUMNS})", ROWS.format(rows=rows), "VACUUM ANALYZE orders")

    def into(self, to: str, party: Callable[[str], Ran]) -> Ran:
        """One load into an empty target; its rows are counted."""
        if to == "duckdb":
            self.target.unlink(missing_ok=True)
            ran, count = party(str(self.target)), 0
            if self.target.exists():
                count = self._counted()
        else:
            fresh = replace(self.postgres, name="target")
            self.postgres.run("DROP DATABASE IF EXISTS target WITH (FORCE)", "CREATE DATABASE target", "CHECKPOINT")
            ran = party(fresh.url)
            found = fresh.run("SELECT schemaname FROM pg_tables WHERE tablename = 'orders'")
            count = fresh.run(f"SELECT count(*) FROM {found[0][0]}.orders")[0][0] if found else 0
        if count != self.rows:
            raise measure.Failed(f"{count:,} rows, not {self.rows:,}: {ran.output[:1000]}")
        return ran

    def _counted(self) -> int:
        question = (
            f"import duckdb; c = duckdb.connect({str(self.target)!r}); "
            "s = c.execute(\"SELECT schema_name FROM duckdb_tables() WHERE table_name = 'orders'\").fetchall()[0][0]; "
            "print(c.execute(f'SELECT count(*) FROM {s}.orders').fetchall()[0][0])"
        )
        return int(measure.run([sys.executable, "-c", question]).output)

    def parties(self, to: str, *, peer: bool) -> dict[str, Callable[[], Ran]]:
        url = self.postgres.url

        def ours(target: str) -> Ran:
            if to == "duckdb":
                return millrace(self.postgres, {"type": "duckdb", "config": {"path": target}})
            settings = replace(self.postgres, name="target").settings()
            return millrace(self.postgres, {"type": "postgres", "config": settings})

        found: dict[str, Callable[[], Ran]] = {
            "floor": lambda: self.into(to, lambda target: measure.module("databases", f"floor_{to}", url, target)),
            "Millrace": lambda: self.into(to, ours),
        }
        if peer:
            found["dlt"] = lambda: self.into(to, lambda target: measure.module("databases", "dlt", url, target))
        return found

    def measure(self, to: str, repeats: int, *, peer: bool) -> None:
        say(f"PostgreSQL → {to}, {self.rows:,} rows")
        ran = measure.turns(self.parties(to, peer=peer), repeats)
        floor = self.rows / measure.seconds(ran["floor"])
        for name, runs in ran.items():
            rate = self.rows / measure.seconds(runs)
            cpu = measure.cpu_s(runs) / self.rows * 1e6
            each = " ".join(f"{one.seconds:.2f}" for one in runs)
            peak = measure.peak_bytes(runs) / 2**20
            say(
                f"  {name:9} {rate:10,.0f} rows/s  {rate / floor:5.0%} of the floor  {cpu:5.1f} CPU-s per million  "
                f"{peak:6.0f} MiB  ({each})"
            )
        rate = self.rows / measure.seconds(ran["Millrace"])
        say(f"  goal: {GOALS[to]:.0%} of the floor: {'met' if rate >= GOALS[to] * floor else 'not met'}")
        if peer:
            times = rate / (self.rows / measure.seconds(ran["dlt"]))
            say(f"  goal: {PEERS[to]} × dlt: {times:.1f} ×, {'met' if times >= PEERS[to] else 'not met'}")


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    if sys.argv[1:2] in (["floor_duckdb"], ["floor_postgres"], ["dlt"]):
        {"floor_duckdb": floor_duckdb, "floor_postgres": floor_postgres, "dlt": dlt}[sys.argv[1]](*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without-dlt", action="store_true")
    parser.add_argument("--only", choices=("duckdb", "postgres"))
    wanted = parser.parse_args()
    server = Server(binaries())
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as place:
        try:
            bench = Bench(server.start(), Path(place), wanted.rows)
            for to in ("duckdb", "postgres"):
                if wanted.only in (None, to):
                    bench.measure(to, wanted.repeats, peer=not wanted.without_dlt)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
