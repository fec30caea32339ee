"""The least that can be done between two databases: the fastest bare loops that were found, each a process of its own.

    python -m tests.bench.database_floors postgres-duckdb|postgres-postgres|mysql-duckdb URL TABLE TARGET

None has a key, state, a stage or types of ours.
"""

from __future__ import annotations

import sys


def postgres_duckdb(url: str, table: str, target: str) -> None:
    """ADBC's stream in one statement."""
    import duckdb
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        rows = cursor.fetch_record_batch()
        with duckdb.connect(target) as warehouse:
            warehouse.register("incoming", rows)
            warehouse.execute(f"CREATE TABLE {table} AS SELECT * FROM incoming")


def postgres_postgres(url: str, table: str, target: str) -> None:
    """A pipe from binary COPY to binary COPY."""
    import psycopg
    from tests.bench.orders import POSTGRES_COLUMNS

    with psycopg.connect(url) as one, psycopg.connect(target, autocommit=True) as other:
        other.execute(f"CREATE TABLE {table} ({POSTGRES_COLUMNS.replace(' PRIMARY KEY', '')})".encode())
        with (
            one.cursor().copy(f"COPY {table} TO STDOUT (FORMAT BINARY)".encode()) as out,
            other.cursor().copy(f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()) as into,
        ):
            for part in out:
                into.write(part)


def mysql_duckdb(url: str, table: str, target: str) -> None:
    """ConnectorX's stream in one statement: its driver, in Rust, makes Arrow of the binary protocol."""
    import connectorx
    import duckdb

    rows = connectorx.read_sql(
        url, f"SELECT * FROM {table}", return_type="arrow_stream", protocol="binary", batch_size=50_000
    )
    with duckdb.connect(target) as warehouse:
        warehouse.register("incoming", rows)
        warehouse.execute(f"CREATE TABLE {table} AS SELECT * FROM incoming")


FLOORS = {
    "postgres-duckdb": postgres_duckdb,
    "postgres-postgres": postgres_postgres,
    "mysql-duckdb": mysql_duckdb,
}

if __name__ == "__main__":
    FLOORS[sys.argv[1]](*sys.argv[2:5])
