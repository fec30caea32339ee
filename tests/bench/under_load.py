"""How far behind a log is while somebody writes: throughput and lag under load.

    python -m tests.bench.under_load [seconds] [transactions a second] [postgres | mysql | mongodb]

A writer of its own process changes one table all the time: pgbench with four connections at PostgreSQL, one connection
at MySQL and at MongoDB. Each of its transactions adds a row and changes one of before, both with the time at which that
happened. Meanwhile runs of Millrace into a DuckDB file follow each other. The lag of a change is the time from then to
the end of the run that loaded it. At the end both sides have the same rows. Without a number of transactions the writer
writes as fast as it can.
"""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests import mariadb, mongodb, postgres
from tests.sources.site import Followed

_CLIENTS = 4
_NOTE = "x" * 60


@dataclass
class Site(Followed):
    """A pipeline from ``server``, of the source ``kind``."""

    kind: str = ""

    @property
    def type_(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  one class for three sources
        return self.kind


@dataclass(frozen=True)
class Written:
    """A server with a table. ``write`` changes it, as often a second as is said, for so many seconds."""

    server: Any
    table: str
    write: Callable[[int, int], None]
    count: Callable[[], int]


def _paced(seconds: int, rate: int) -> Generator[int]:
    """Numbers from 1, each when it is its turn."""
    began, number = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        if rate and number >= now * rate:
            time.sleep(0.001)
            continue
        number += 1
        yield number


def _write_postgres(programs: str, url: str, folder: str, seconds: int, rate: int) -> None:
    script = Path(folder) / "load.sql"
    script.write_text(
        "BEGIN;\n"
        f"INSERT INTO events (at, note) VALUES (clock_timestamp(), '{_NOTE}');\n"
        "UPDATE events SET at = clock_timestamp(), n = n + 1 WHERE id = "
        "(SELECT (random() * last_value)::int8 FROM events_id_seq);\n"
        "END;\n"
    )
    paced = ["-R", str(rate)] if rate else []
    asked = ["-n", "-c", str(_CLIENTS), "-T", str(seconds), *paced, "-f", str(script), url]
    subprocess.run([str(Path(programs) / "pgbench"), *asked], check=True, capture_output=True)


def _write_mysql(database: mariadb.Database, seconds: int, rate: int) -> None:
    with database.connect() as connection, connection.cursor() as cursor:
        for number in _paced(seconds, rate):
            cursor.execute("INSERT INTO events (id, at, note) VALUES (%s, utc_timestamp(6), %s)", (number, _NOTE))
            other = random.randint(1, number)
            cursor.execute("UPDATE events SET at = utc_timestamp(6), n = n + 1 WHERE id = %s", (other,))
            connection.commit()


def _write_mongodb(deployment: mongodb.Deployment, seconds: int, rate: int) -> None:
    events = deployment.database["events"]
    for number in _paced(seconds, rate):
        events.insert_one({"_id": number, "at": datetime.now(UTC), "n": 0, "note": _NOTE})
        change = {"$set": {"at": datetime.now(UTC)}, "$inc": {"n": 1}}
        events.update_one({"_id": random.randint(1, number)}, change)


@contextmanager
def _of_postgres(folder: Path) -> Generator[Written]:
    server = postgres.Server(postgres.binaries())
    database = server.start()
    try:
        database.run("CREATE TABLE events (id bigserial PRIMARY KEY, at timestamptz, n int DEFAULT 0, note text)")

        def write(seconds: int, rate: int) -> None:
            _write_postgres(str(server.programs.folder), database.url, str(folder), seconds, rate)

        yield Written(database, "events", write, lambda: database.run("SELECT count(*) FROM events")[0][0])
    finally:
        server.stop()


@contextmanager
def _of_mysql(_: Path) -> Generator[Written]:
    server = mariadb.Server()
    try:
        root = server.start()
        root.run("CREATE DATABASE bench")
        database = replace(root, name="bench")
        database.run("CREATE TABLE events (id bigint PRIMARY KEY, at datetime(6), n int DEFAULT 0, note text)")
        count = "SELECT count(*) FROM events"
        yield Written(database, "events", lambda *how: _write_mysql(database, *how), lambda: database.run(count)[0][0])
    finally:
        server.stop()


@contextmanager
def _of_mongodb(_: Path) -> Generator[Written]:
    server = mongodb.Server().start()
    deployment = mongodb.Deployment(server.uri, "bench")
    try:
        deployment.database.create_collection("events")
        events = deployment.database["events"]
        yield Written(
            deployment,
            "events",
            lambda *how: _write_mongodb(mongodb.Deployment(server.uri, "bench"), *how),
            lambda: events.count_documents({}),
        )
    finally:
        server.stop()


def measured(kind: str, made: Written, folder: Path, seconds: int, rate: int) -> str:
    """What was written and what arrived meanwhile, a second, and the lag of the changes. Raises where rows are lost."""
    site = Site(folder, made.server, kind=kind)
    site.create(load_historical_data=kind != "mongodb")
    site.run()
    writer = multiprocessing.get_context("fork").Process(target=made.write, args=(seconds, rate))
    began = time.monotonic()
    writer.start()
    lags: list[float] = []
    upto, count, arrived, inside = 0, 0, 0, 0
    while True:
        over = not writer.is_alive()
        site.run()
        now = datetime.now(UTC).replace(tzinfo=None)
        count += 1
        seen = f"FROM {made.table} WHERE __hevo__ingested_at > {upto}" if count > 1 else f"FROM {made.table}"
        there = site.query(f"SELECT count(*), max(__hevo__ingested_at), coalesce(sum(n), 0) {seen}")[0]
        if there[0]:
            at = """"at" AT TIME ZONE 'UTC'""" if kind != "mysql" else '"at"'
            lags += [(now - moment).total_seconds() for (moment,) in site.query(f"SELECT {at} {seen}")]
            upto = there[1]
        if not over:
            arrived += there[0]
            inside += 1
        else:
            break
    writer.join()
    took = time.monotonic() - began
    rows, wanted = site.query(f"SELECT count(*) FROM {made.table}")[0][0], made.count()
    site.close()
    if rows != wanted or writer.exitcode:
        raise AssertionError(f"{kind}: {rows:,} rows of {wanted:,} are there; the writer ended with {writer.exitcode}")
    lags.sort()
    middle, late = lags[len(lags) // 2], lags[min(len(lags) * 99 // 100, len(lags) - 1)]
    return (
        f"{kind:10} {wanted / seconds:7,.0f} transactions/s written, {arrived / took:7,.0f} rows/s arrived, "
        f"in {inside} runs; "
        f"lag {middle:.2f} s in the middle, {late:.2f} s of one in a hundred, {lags[-1]:.2f} s at most"
    )


def main(seconds: int, rate: int, which: str) -> None:
    for kind, server in {"postgres": _of_postgres, "mysql": _of_mysql, "mongodb": _of_mongodb}.items():
        if which in ("", kind):
            with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as made:
                print(measured(kind, made, Path(folder), seconds, rate), flush=True)


if __name__ == "__main__":
    numbers = [*(int(one) for one in sys.argv[1:] if one.isdigit()), 30, 0]
    pace = numbers[1] if len(numbers) > 3 else 0
    main(numbers[0], pace, next((one for one in sys.argv[1:] if not one.isdigit()), ""))
