"""Changes per second of a log, into the stage and into DuckDB, beside readers that throw everything away.

    python -m tests.bench.following [changes] [postgres | mysql]

The changes (half inserts, the rest updates and deletes, 12 mixed columns, transactions of 100) are in the log before
anything is timed. Each reader starts at the same place, of PostgreSQL from a slot of its own: `pg_recvlogical` into
/dev/null, a bare loop over the driver's messages, Millrace up to the stage, and Millrace into a DuckDB file. Of MySQL
the floor is the bare loop, over the driver's packets. CPU seconds are those of the reading process alone.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests import mariadb, postgres
from tests.postgres import Database

from millrace.connect.sql import libpq
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.log.log import errors_of
from millrace.sources.postgres.log.wire import Wire, lsn

TABLE = (
    "CREATE TABLE events (id int8 PRIMARY KEY, name text, kind int2, amount numeric(12, 2), ratio float8, ok bool, "
    "at timestamptz, day date, code varchar(20), props jsonb, number int4, note text)"
)
ROW = (
    "n, 'name ' || n, n %% 100, n * 0.25, n / 7.0, n %% 3 = 0, now(), current_date, md5(n::text)::varchar(20), "
    "jsonb_build_object('n', n), n %% 1000, repeat('x', 40)"
)
BATCH = 100


def write(database: Database, changes: int) -> None:
    """So many changes are in the log."""
    with database.connect() as connection:
        done = 0
        while done < changes:
            first = done
            half, quarter = BATCH // 2, BATCH // 4
            with connection.transaction():
                connection.execute(
                    f"INSERT INTO events SELECT {ROW} FROM generate_series(%s::int8, %s) AS n",
                    (first, first + half - 1),
                )
                connection.execute(
                    "UPDATE events SET number = number + 1 WHERE id >= %s AND id < %s", (first, first + quarter)
                )
                connection.execute("DELETE FROM events WHERE id >= %s AND id < %s", (first, first + quarter))
            done += BATCH


def timed(read: Callable[[], object], who: int = resource.RUSAGE_SELF) -> tuple[float, float]:
    """Seconds, and CPU seconds, of this process or of its children."""
    began, before = time.perf_counter(), resource.getrusage(who)
    read()
    after = resource.getrusage(who)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def recvlogical(server: postgres.Server, database: Database, slot: str, publication: str, end: str) -> None:
    """PostgreSQL's own reader, into nowhere."""
    subprocess.run(
        [
            str(server.programs.folder / "pg_recvlogical"), "--start", "--slot", slot, "-d", database.url,
            "-f", "/dev/null", "-o", "proto_version=1", "-o", f"publication_names={publication}", "--endpos", end,
            "--no-loop",
        ],
        check=True,
    )  # fmt: skip


def bare(database: Database, slot: str, publication: str, end: int) -> int:
    """Messages of the driver, counted."""
    config = Config.model_validate(database.settings())
    wire = Wire(libpq.uri(config), errors_of(config))
    wire.start(slot, 0, {"proto_version": "1", "publication_names": publication})
    count = 0
    for data in wire.messages(0.05):
        if data is None:
            wire.feedback(answer=True)
            continue
        count += 1
        place = data[1:9] if data[0] == 107 else data[9:17]
        if int.from_bytes(place, "big") >= end:
            break
    wire.close()
    return count


def site(folder: Path, database: Database | mariadb.Database, name: str, kind: str = "postgres") -> Home:
    """A home whose pipeline has taken its position."""
    home = Home.open(folder / name, create=True, env={})
    connections.create(home, "source", "source", kind, database.settings(ingestion_mode="log"))
    connections.create(home, "destination", "target", "duckdb", {"path": str(folder / f"{name}.duckdb")})
    pipelines.create(home, Wish("follow", "source", "target"))
    runs.run(home, "follow")
    return home


def of_postgres(folder: Path, changes: int) -> dict[str, tuple[float, float]]:
    server = postgres.Server(postgres.binaries())
    database = server.start()
    try:
        database.run(TABLE, "CREATE PUBLICATION bench FOR TABLE events")
        staged, loaded = site(folder, database, "staged"), site(folder, database, "loaded")
        for slot in ("one", "two"):
            database.run(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        write(database, changes)
        ((end,),) = database.run("SELECT pg_current_wal_flush_lsn()::text")
        return {
            "pg_recvlogical": timed(
                lambda: recvlogical(server, database, "one", "bench", end), resource.RUSAGE_CHILDREN
            ),
            "bare loop": timed(lambda: bare(database, "two", "bench", lsn(end))),
            "millrace, staged": timed(lambda: runs.run(staged, "follow", loading=False)),
            "millrace, loaded": timed(lambda: runs.run(loaded, "follow")),
        }
    finally:
        server.stop()


MYSQL_TABLE = (
    "CREATE TABLE events (id bigint PRIMARY KEY, name varchar(40), kind smallint, amount decimal(12, 2), ratio double, "
    "ok tinyint(1), at timestamp(6) NULL, day date, code varchar(20), props json, number int, note text)"
)
MYSQL_ROW = (
    "seq, CONCAT('name ', seq), seq % 100, seq * 0.25, seq / 7.0, seq % 3 = 0, now(6), current_date, "
    "LEFT(md5(seq), 20), JSON_OBJECT('n', seq), seq % 1000, repeat('x', 40)"
)


def write_mysql(database: mariadb.Database, changes: int, *, single: bool) -> None:
    """The same in a binary log. ``single``: inserts are statements of one row each, as an application writes them."""
    with database.connect() as connection, connection.cursor() as cursor:
        half, quarter = BATCH // 2, BATCH // 4
        for first in range(0, changes, BATCH):
            for low, high in [(n, n) for n in range(half)] if single else [(0, half - 1)]:
                rows = f"seq_{first + low}_to_{first + high}"
                cursor.execute(f"INSERT INTO events SELECT {MYSQL_ROW} FROM {rows}")
            where = f"WHERE id >= {first} AND id < {first + quarter}"
            cursor.execute(f"UPDATE events SET number = number + 1 {where}")
            cursor.execute(f"DELETE FROM events {where}")
            connection.commit()


def bare_mysql(database: mariadb.Database, file: str, position: int) -> int:
    """Packets of the driver, counted."""
    wire: Any = database.connect()
    wire.query("SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @mariadb_slave_capability = 4")
    wire._execute_command(0x12, position.to_bytes(4, "little") + b"\1\0" + (99).to_bytes(4, "little") + file.encode())
    count = 0
    while not (packet := wire._read_packet()).is_eof_packet():
        count += packet.get_all_data()[0] == 0
    wire.close()
    return count


def of_mysql(folder: Path, changes: int, *, single: bool) -> dict[str, tuple[float, float]]:
    server = mariadb.Server()
    try:
        root = server.start("--max-binlog-size=1G")
        root.run("CREATE DATABASE bench")
        database = replace(root, name="bench")
        database.run(MYSQL_TABLE)
        staged, loaded = site(folder, database, "staged", "mysql"), site(folder, database, "loaded", "mysql")
        ((file, position, *_),) = database.run("SHOW MASTER STATUS")
        write_mysql(database, changes, single=single)
        return {
            "bare loop": timed(lambda: bare_mysql(database, file, position)),
            "millrace, staged": timed(lambda: runs.run(staged, "follow", loading=False)),
            "millrace, loaded": timed(lambda: runs.run(loaded, "follow")),
        }
    finally:
        server.stop()


def main(changes: int, which: str) -> None:
    cases = {
        "postgres": of_postgres,
        "mysql": partial(of_mysql, single=False),
        "mysql, single rows": partial(of_mysql, single=True),
    }
    for title, measured in cases.items():
        if which and not title.startswith(which):
            continue
        with tempfile.TemporaryDirectory() as folder:
            told = measured(Path(folder), changes)
        floor = next(iter(told.values()))[0]
        print(f"{title}: {changes:,} changes on {os.cpu_count()} cores")
        for name, (seconds, cpu) in told.items():
            print(
                f"{name:18} {seconds:7.2f} s  {changes / seconds:10,.0f} changes/s  {floor / seconds:5.0%} of the floor"
                f"  {cpu / changes * 1e6:6.2f} CPU-s per million"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000, sys.argv[2] if len(sys.argv) > 2 else "")
