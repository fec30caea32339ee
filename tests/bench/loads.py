"""A load of Arrow rows into a large table: Millrace's destination beside the same statement in plain SQL.

Both start from the same Arrow data in memory, with a table of their own that began equal, and take turns. A load of
Millrace adds to the statement: exact types, the newest version of each key within the load, stale rows, refusals,
counts, and the note of what is held in the same transaction. Run as a process of its own; prints seconds as JSON.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.connect import registry
from millrace.connect.destination import Column, Load, Meta, Rereadable, Table

PIECE = 65_536
AT_MS = 1_790_000_000_000
JSON = pa.json_(pa.string())
FIELDS = {
    "objectid": pa.string(),
    "profiledata": JSON,
    "identity": pa.string(),
    "ts": pa.timestamp("us", "UTC"),
    "event_props": JSON,
    "session_props": JSON,
    "event_name": pa.string(),
    "ts_raw": pa.int64(),
    "__hevo_id": pa.string(),
    "__hevo__ingested_at": pa.int64(),
}
KEY = "__hevo_id"
LOADED_AT = "__hevo__loaded_at"
META = Meta(
    ingested_at="__hevo__ingested_at", sequence="__he__msg_seq_id", op_type="__hevo_op_type", loaded_at=LOADED_AT
)
TYPES = {
    "duckdb": {pa.string(): "VARCHAR", JSON: "JSON", FIELDS["ts"]: "TIMESTAMPTZ", pa.int64(): "BIGINT"},
    "postgres": {pa.string(): "text", JSON: "jsonb", FIELDS["ts"]: "timestamptz", pa.int64(): "bigint"},
}
_NAMES = ("App Launched", "Session Concluded", "Product Viewed", "Charged", "Searched", "Added To Cart")


class Rows(Rereadable):
    """Rows that lie in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    @property
    def count(self) -> int:
        return self._table.num_rows

    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        del columns
        return self._table.to_reader()


class Invented:
    """Event rows by number: number n always has the same key, and with another ``version`` other properties."""

    def __init__(self) -> None:
        chance = random.Random(7)
        words = ["kettle", "teapot", "lamp", "größe 42", "日本茶", "sock", "notebook", "card"]
        self._profiles = [
            json.dumps({"plan": chance.choice(("gold", "free")), "loyalty_points": number % 5000, "tags": ["a", "b"]})
            for number in range(20_000)
        ]
        self._properties = [
            '{"Order ID":%d,"Amount":%d.5,'
            + ",".join(f'"Property {n}":"{chance.choice(words)} {chance.randrange(99)}"' for n in range(8))
            + "}"
            for _ in range(4096)
        ]

    def table(self, numbers: range, version: int) -> pa.Table:
        parts = [self._batch(numbers[at : at + PIECE], version) for at in range(0, len(numbers), PIECE)]
        return pa.Table.from_batches(parts)

    def _batch(self, numbers: range, version: int) -> pa.RecordBatch:
        profiles, properties = self._profiles, self._properties
        marks = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
        moments = pa.array([1_790_000_000_000_000 + number * 100_000 for number in numbers], pa.int64())
        columns: list[pa.Array] = [
            pa.array([f"__{number % 20_000:032x}" for number in numbers]),
            pa.ExtensionArray.from_storage(JSON, pa.array([profiles[(n + version) % 20_000] for n in numbers])),
            pa.array([f"cust-{number % 20_000}" for number in numbers]),
            moments.cast(FIELDS["ts"]),
            pa.ExtensionArray.from_storage(
                JSON, pa.array([properties[(n * 31 + version) % 4096] % (n, n % 9973) for n in numbers])
            ),
            pa.ExtensionArray.from_storage(JSON, pa.array(['{"session_source":"Direct"}'] * len(numbers))),
            pa.array([_NAMES[number % len(_NAMES)] for number in numbers]),
            moments,
            pa.array(marks),
            pa.array([AT_MS + version] * len(numbers), pa.int64()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(FIELDS.items())))


class Contender(ABC):
    """A table that takes loads. ``seed`` happens outside the clock, ``take`` is measured."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def seed(self, parts: Iterator[pa.Table]) -> None: ...

    @abstractmethod
    def take(self, rows: pa.Table) -> None: ...

    @abstractmethod
    def count(self) -> tuple[int, int]:
        """Rows in the table, and those that carry the last version."""

    def ready(self) -> None:
        """Nothing of an earlier load is still to be done by the system."""
        return


class Millrace(Contender):
    """The destination's own `load`."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        kind: str,
        table: str,
        count: Callable[[], Any],
        copy: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name)
        self._make = make
        self._count = count
        self._copy = copy
        columns = tuple(Column(field, type_) for field, type_ in FIELDS.items())
        if kind == "merge":
            self._table = Table(table, columns, META, key=(KEY,), mode="merge")
        else:
            self._table = Table(table, columns, META, mode="append")
        self._held = 0

    def seed(self, parts: Iterator[pa.Table]) -> None:
        if self._copy is not None:
            self._copy()
            destination = self._make()
            destination.ensure(self._table)
            destination.close()
            return
        for part in parts:
            self.take(part)

    def take(self, rows: pa.Table) -> None:
        destination = self._make()
        destination.ensure(self._table)
        done = destination.load(self._table, Load("bench:1", self._held, self._held + 1, AT_MS, Rows(rows)))
        assert done.rows == rows.num_rows, done
        self._held += 1
        destination.close()

    def count(self) -> tuple[int, int]:
        return self._count()


class PlainDuckDB(Contender):
    """One statement, or two, by hand. ``how``: append, MERGE, or DELETE and INSERT."""

    def __init__(self, name: str, path: Path, how: str) -> None:
        super().__init__(name)
        self._path = path
        self._how = how

    def seed(self, parts: Iterator[pa.Table]) -> None:
        import duckdb

        with duckdb.connect(str(self._path)) as connection:
            types = TYPES["duckdb"]
            columns = ", ".join(f'"{name}" {types[type_]}' for name, type_ in FIELDS.items())
            connection.execute(f"CREATE TABLE events ({columns}, {LOADED_AT} BIGINT)")
            for part in parts:
                connection.register("rows_in", part)
                connection.execute(f"INSERT INTO events SELECT *, {AT_MS} FROM rows_in")

    def take(self, rows: pa.Table) -> None:
        import duckdb

        with duckdb.connect(str(self._path)) as connection:
            connection.register("rows_in", rows)
            if self._how == "MERGE":
                sets = ", ".join(f'"{name}" = r."{name}"' for name in FIELDS)
                values = ", ".join(f'r."{name}"' for name in FIELDS)
                connection.execute(
                    f"MERGE INTO events AS t USING rows_in AS r ON t.{KEY} = r.{KEY} "
                    f"WHEN MATCHED THEN UPDATE SET {sets}, {LOADED_AT} = {AT_MS} "
                    f"WHEN NOT MATCHED THEN INSERT VALUES ({values}, {AT_MS})"
                )
                return
            connection.execute("BEGIN")
            if self._how == "DELETE and INSERT":
                connection.execute(f"DELETE FROM events WHERE {KEY} IN (SELECT {KEY} FROM rows_in)")
            connection.execute(f"INSERT INTO events SELECT *, {AT_MS} FROM rows_in")
            connection.execute("COMMIT")

    def count(self) -> tuple[int, int]:
        return counted_duckdb(self._path)


def counted_duckdb(path: Path) -> tuple[int, int]:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        last = "SELECT count(*), count(*) FILTER (__hevo__ingested_at = (SELECT max(__hevo__ingested_at) FROM events))"
        return connection.execute(f"{last} FROM events").fetchall()[0]


class PlainPostgres(Contender):
    """COPY into a temporary table and one statement by hand. ``how``: append, ON CONFLICT, or DELETE and INSERT."""

    def __init__(self, name: str, url: str, table: str, how: str, like: str | None = None) -> None:
        super().__init__(name)
        self._url = url
        self._table = table
        self._how = how
        self._like = like

    def seed(self, parts: Iterator[pa.Table]) -> None:
        import psycopg

        types = TYPES["postgres"]
        columns = ", ".join(f'"{name}" {types[type_]}' for name, type_ in FIELDS.items())
        with psycopg.connect(self._url, autocommit=True) as connection:
            if self._like:
                copy_table(self._url, self._like, self._table)
            else:
                connection.execute(f"CREATE TABLE {self._table} ({columns}, {LOADED_AT} bigint)")
                for part in parts:
                    self._copy(part, "append")
            if self._how != "append":
                connection.execute(f"CREATE UNIQUE INDEX ON {self._table} ({KEY})")

    def take(self, rows: pa.Table) -> None:
        self._copy(rows, self._how)

    def _copy(self, rows: pa.Table, how: str) -> None:
        import adbc_driver_postgresql.dbapi as adbc

        plain = pa.table(
            [
                pa.chunked_array([chunk.storage for chunk in column.chunks], pa.string())
                if column.type == JSON
                else column
                for column in rows.columns
            ],
            names=rows.schema.names,
        )
        values = ", ".join(f'"{n}"::jsonb' if type_ == JSON else f'"{n}"' for n, type_ in FIELDS.items())
        with adbc.connect(self._url) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("rows_in", plain, mode="create", temporary=True)
            if how == "DELETE and INSERT":
                cursor.execute(f"DELETE FROM {self._table} t USING rows_in r WHERE t.{KEY} = r.{KEY}")
            conflict = ""
            if how == "ON CONFLICT":
                sets = ", ".join(f'"{name}" = excluded."{name}"' for name in (*FIELDS, LOADED_AT))
                conflict = f" ON CONFLICT ({KEY}) DO UPDATE SET {sets}"
            cursor.execute(f"INSERT INTO {self._table} SELECT {values}, {AT_MS} FROM rows_in{conflict}")
            connection.commit()

    def count(self) -> tuple[int, int]:
        return counted_postgres(self._url, self._table)

    def ready(self) -> None:
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")


def copy_table(url: str, old: str, new: str) -> None:
    """``new`` is a copy of ``old``, without its indexes: a table is parsed from Arrow only once."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {new} AS TABLE {old}")


def counted_postgres(url: str, table: str) -> tuple[int, int]:
    import psycopg

    with psycopg.connect(url) as connection:
        latest = f"(SELECT max(__hevo__ingested_at) FROM {table})"
        found = connection.execute(
            f"SELECT count(*), count(*) FILTER (WHERE __hevo__ingested_at = {latest}) FROM {table}"
        ).fetchone()
        assert found is not None
        return found[0], found[1]


def contenders(to: str, kind: str, place: Path, settings: dict[str, Any]) -> list[Contender]:
    """Millrace, and plain SQL in each way; in the order in which they can be seeded."""
    type_ = registry.destination(to)
    if to == "duckdb":
        ways = ["append"] if kind == "append" else ["MERGE", "DELETE and INSERT"]
        plain: list[Contender] = [
            PlainDuckDB(f"plain {w}", place / f"{kind}-{n}.duckdb", w) for n, w in enumerate(ways)
        ]
        file = place / f"{kind}-millrace.duckdb"
        config = type_.Config.model_validate({"path": str(file)})
        return [Millrace("Millrace", lambda: type_(config), kind, "events", lambda: counted_duckdb(file)), *plain]
    ways = ["append"] if kind == "append" else ["ON CONFLICT", "DELETE and INSERT"]
    url = settings["url"]
    names = [f"events_{kind}_{number}" for number in range(len(ways))]
    plain = [
        PlainPostgres(f"plain {way}", url, name, way, like=names[0] if name != names[0] else None)
        for way, name in zip(ways, names, strict=True)
    ]
    config = type_.Config.model_validate(settings["config"])
    own = f"events_{kind}_millrace"
    counted = lambda: counted_postgres(url, own)  # noqa: E731  one line, used at once
    copy = lambda: copy_table(url, names[0], own)  # noqa: E731  one line, used at once
    return [*plain, Millrace("Millrace", lambda: type_(config), kind, own, counted, copy)]


def measure(to: str, kind: str, base: int, rows: int, repeats: int, place: Path, settings: dict[str, Any]) -> Any:
    """Seconds of each contender's loads, and CPU seconds of this process (DuckDB's are in it).

    Of a merge, every other row has a key that the table holds.
    """
    invented = Invented()
    # Half a million rows at a time, so that seeding does not need the memory for all.
    step = 500_000
    parties = contenders(to, kind, place, settings)
    for party in parties:
        party.seed(invented.table(range(at, min(at + step, base)), 0) for at in range(0, base, step))
    seconds: dict[str, list[float]] = {party.name: [] for party in parties}
    cpu_s: dict[str, list[float]] = {party.name: [] for party in parties}
    size = base
    for turn in range(1, repeats + 1):
        first = size - rows // 2 if kind == "merge" else size
        batch = invented.table(range(first, first + rows), turn)
        size = first + rows
        for party in parties:
            for other in parties:
                other.ready()
            started, started_cpu = time.perf_counter(), time.process_time()
            party.take(batch)
            seconds[party.name].append(time.perf_counter() - started)
            cpu_s[party.name].append(time.process_time() - started_cpu)
        found = {party.name: party.count() for party in parties}
        assert set(found.values()) == {(size, rows)}, found
    return {"seconds": seconds, "cpu_s": cpu_s, "base": base, "rows": rows}


if __name__ == "__main__":
    _, to_, kind_, base_, rows_, repeats_, place_, settings_ = sys.argv
    found_ = measure(to_, kind_, int(base_), int(rows_), int(repeats_), Path(place_), json.loads(settings_))
    print(json.dumps(found_))
