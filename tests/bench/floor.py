"""The raw floor: the fastest straightforward way from the same pages to a table. No state, types, identity or dedup.

Three variants for DuckDB and two for PostgreSQL; the benchmark tries all and measures against the fastest. Each fetches
three pages at a time with httpx, as Millrace may. Run as a process of its own, like everything that is measured.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import orjson
import pyarrow as pa
from tests.bench import pages
from tests.bench.server import PASSCODE, PROJECT

# Pages that are written by one statement: some 100,000 rows, a row group of DuckDB.
PAGES_AT_ONCE = 25
COLUMNS = ("event_name", "objectId", "identity", "ts", "profileData", "event_props", "session_props")
DUCKDB_TABLE = (
    'CREATE TABLE events (event_name VARCHAR, "objectId" VARCHAR, identity VARCHAR, ts BIGINT, '
    '"profileData" JSON, event_props JSON, session_props JSON)'
)
POSTGRES_TABLE = (
    'CREATE TABLE events (event_name text, "objectId" text, identity text, ts bigint, '
    '"profileData" jsonb, event_props jsonb, session_props jsonb)'
)


T = TypeVar("T")


def walked(base_url: str, folder: Path, parse: Callable[[str, bytes], T]) -> Iterator[T]:
    """Every page of every event and window, parsed by the thread that fetched it; three walks at a time."""
    found = pages.load(folder)
    walks = [(name, window) for window in found.windows() for name in found.names]
    out: queue.Queue[tuple[T] | Exception | None] = queue.Queue(PAGES_AT_ONCE)
    headers = {"X-CleverTap-Account-Id": PROJECT, "X-CleverTap-Passcode": PASSCODE}
    url = f"{base_url}/1/events.json"

    def walk(client: httpx.Client, name: str, first: int, last: int) -> None:
        opened = client.post(
            f"{url}?batch_size=5000&app=false&events=false&profile=true",
            content=orjson.dumps({"event_name": name, "from": first, "to": last}),
        )
        cursor = opened.json()["cursor"]
        while cursor:
            body = client.get(f"{url}?cursor={cursor}").content
            out.put((parse(name, body),))
            # The next cursor stands at the end of a page.
            _, found, tail = body[-4096:].rpartition(b'],"next_cursor":"')
            cursor = tail.removesuffix(b'"}').decode() if found else None

    def run() -> None:
        try:
            with httpx.Client(headers=headers, timeout=60) as client, ThreadPoolExecutor(3) as pool:
                for done in [
                    pool.submit(walk, client, name, int(f"{first:%Y%m%d}"), int(f"{last:%Y%m%d}"))
                    for name, (first, last) in walks
                ]:
                    done.result()
            out.put(None)
        except Exception as error:
            out.put(error)

    threading.Thread(target=run, daemon=True).start()
    while (item := out.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item[0]


def several(items: Iterator[T]) -> Iterator[list[T]]:
    """The pages, many at once."""
    while bunch := list(islice(items, PAGES_AT_ONCE)):
        yield bunch


class Profile(msgspec.Struct, gc=False):
    objectId: str
    identity: str | None = None
    profileData: msgspec.Raw = msgspec.Raw(b"{}")


class Record(msgspec.Struct, gc=False):
    profile: Profile
    ts: int
    event_props: msgspec.Raw = msgspec.Raw(b"{}")
    session_props: msgspec.Raw = msgspec.Raw(b"{}")


class Page(msgspec.Struct, gc=False):
    records: list[Record] = []


_PAGE = msgspec.json.Decoder(Page)


def with_msgspec(name: str, body: bytes) -> pa.Table:
    """Columns from records whose JSON properties stay bytes."""
    records = _PAGE.decode(body).records
    text = pa.string()
    return pa.table(
        {
            "event_name": pa.array([name] * len(records), text),
            "objectId": pa.array([r.profile.objectId for r in records], text),
            "identity": pa.array([r.profile.identity for r in records], text),
            "ts": pa.array([r.ts for r in records], pa.int64()),
            "profileData": pa.array([bytes(r.profile.profileData) for r in records], pa.binary()).cast(text),
            "event_props": pa.array([bytes(r.event_props) for r in records], pa.binary()).cast(text),
            "session_props": pa.array([bytes(r.session_props) for r in records], pa.binary()).cast(text),
        }
    )


def with_orjson(name: str, body: bytes) -> pa.Table:
    """Columns from dicts; properties are parsed and written again."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for record in orjson.loads(body).get("records", ()):
        profile = record["profile"]
        columns["event_name"].append(name)
        columns["objectId"].append(profile["objectId"])
        columns["identity"].append(profile.get("identity"))
        columns["ts"].append(record["ts"])
        columns["profileData"].append(orjson.dumps(profile.get("profileData", {})).decode())
        columns["event_props"].append(orjson.dumps(record.get("event_props", {})).decode())
        columns["session_props"].append(orjson.dumps(record.get("session_props", {})).decode())
    return pa.table(columns, schema=_SCHEMA)


_SCHEMA = pa.schema([(name, pa.int64() if name == "ts" else pa.string()) for name in COLUMNS])


def duckdb_arrow(parse: Callable[[str, bytes], pa.Table]) -> Callable[[str, Path, str], None]:
    """Arrow tables inserted into DuckDB."""

    def into(base_url: str, folder: Path, target: str) -> None:
        import duckdb

        connection = duckdb.connect(target)
        connection.execute(DUCKDB_TABLE)
        for tables in several(walked(base_url, folder, parse)):
            connection.register("rows_in", pa.concat_tables(tables))
            connection.execute("INSERT INTO events SELECT * FROM rows_in")
        connection.close()

    return into


def duckdb_json(base_url: str, folder: Path, target: str) -> None:
    """Bodies handed to DuckDB, which takes them apart itself."""
    import duckdb

    connection = duckdb.connect(target)
    connection.execute(DUCKDB_TABLE)
    shape = (
        '{"profile":{"objectId":"VARCHAR","identity":"VARCHAR","profileData":"JSON"},"ts":"BIGINT",'
        '"event_props":"JSON","session_props":"JSON"}'
    )
    for bodies in several(walked(base_url, folder, lambda name, body: (name, body.decode()))):
        rows = pa.table({"name": [name for name, _ in bodies], "body": [body for _, body in bodies]})
        connection.register("rows_in", rows)
        connection.execute(
            "INSERT INTO events SELECT name, r.profile.objectId, r.profile.identity, r.ts, r.profile.profileData, "
            "r.event_props, r.session_props FROM (SELECT name, unnest(from_json(body::JSON -> 'records', "
            f"'[{shape}]')) AS r FROM rows_in)"
        )
    connection.close()


def lines(name: str, body: bytes) -> bytes:
    """A page as lines of COPY's text format."""
    return b"".join(
        [
            b"%b\t%b\t%b\t%d\t%b\t%b\t%b\n"
            % (
                name.encode(),
                r.profile.objectId.encode(),
                rb"\N" if r.profile.identity is None else r.profile.identity.encode(),
                r.ts,
                bytes(r.profile.profileData).replace(b"\\", b"\\\\"),
                bytes(r.event_props).replace(b"\\", b"\\\\"),
                bytes(r.session_props).replace(b"\\", b"\\\\"),
            )
            for r in _PAGE.decode(body).records
        ]
    )


def postgres_text(base_url: str, folder: Path, target: str) -> None:
    """COPY in text format, its lines joined from the bytes of the page."""
    import psycopg

    with psycopg.connect(target) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS events")
        cursor.execute(POSTGRES_TABLE)
        connection.commit()
        statement = f"COPY events ({', '.join(_quoted(name) for name in COLUMNS)}) FROM STDIN"
        with cursor.copy(statement) as copy:
            for text in walked(base_url, folder, lines):
                copy.write(text)


def postgres_binary(base_url: str, folder: Path, target: str) -> None:
    """Arrow through ADBC's binary COPY into text columns, then one INSERT … SELECT that casts to jsonb."""
    import adbc_driver_postgresql.dbapi as adbc

    with adbc.connect(target) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS events")
        cursor.execute(POSTGRES_TABLE)
        connection.commit()
        for tables in several(walked(base_url, folder, with_msgspec)):
            cursor.adbc_ingest("rows_in", pa.concat_tables(tables), mode="create", temporary=True)
            cursor.execute(
                'INSERT INTO events SELECT event_name, "objectId", identity, ts, "profileData"::jsonb, '
                "event_props::jsonb, session_props::jsonb FROM rows_in"
            )
            cursor.execute("DROP TABLE rows_in")
        connection.commit()


def fetched(base_url: str, folder: Path, target: str) -> None:
    """Pages fetched and thrown away: what the client costs alone."""
    del target
    for _ in walked(base_url, folder, lambda _, body: len(body)):
        pass


def _quoted(name: str) -> str:
    return f'"{name}"'


VARIANTS: dict[str, dict[str, Callable[[str, Path, str], None]]] = {
    "fetch": {"httpx": fetched},
    "duckdb": {
        "msgspec, properties kept as bytes, Arrow": duckdb_arrow(with_msgspec),
        "orjson, Arrow": duckdb_arrow(with_orjson),
        "DuckDB's own JSON reader": duckdb_json,
    },
    "postgres": {
        "msgspec, text COPY by psycopg": postgres_text,
        "msgspec, binary COPY by ADBC": postgres_binary,
    },
}


if __name__ == "__main__":
    _, to, variant, base, data, into = sys.argv
    VARIANTS[to][variant](base, Path(data), into)
