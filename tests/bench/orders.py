"""The table of `make bench-databases`, on PostgreSQL and on MariaDB: 12 mixed columns with a key, 200 bytes a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

# Text, numbers with and without a point, moments, a flag, JSON, a UUID.
POSTGRES_COLUMNS = (
    "id bigint PRIMARY KEY, customer integer NOT NULL, price numeric(12,2) NOT NULL, weight double precision, "
    "paid boolean NOT NULL, status varchar(20) NOT NULL, note text, ref uuid NOT NULL, details jsonb, "
    "ordered_on date NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL"
)
_POSTGRES_ROWS = """
INSERT INTO {table} SELECT g, (g * 7919) % 100000, ((g * 31) % 1000000) / 100.0,
  CASE WHEN g % 10 > 0 THEN (g % 1000) * 1.7 END, g % 3 = 0, (ARRAY['new', 'paid', 'shipped', 'returned'])[g % 4 + 1],
  CASE WHEN g % 5 > 0 THEN repeat(md5(g::text), 2) END, md5(g::text)::uuid,
  CASE WHEN g % 2 = 0 THEN jsonb_build_object('channel', 'web', 'items', g % 9) END,
  date '2020-01-01' + (g % 1800)::int, timestamptz '2020-01-01' + g * interval '17 seconds',
  timestamptz '2020-01-02' + g * interval '17 seconds'
FROM generate_series(1::bigint, {rows}) AS g"""

_MYSQL_COLUMNS = (
    "id bigint PRIMARY KEY, customer int NOT NULL, price decimal(12,2) NOT NULL, weight double, "
    "paid tinyint(1) NOT NULL, status varchar(20) NOT NULL, note text, ref char(36) NOT NULL, details json, "
    "ordered_on date NOT NULL, created_at timestamp(6) NOT NULL DEFAULT '2020-01-01 00:00:00', "
    "updated_at datetime(6) NOT NULL"
)
_MYSQL_ROWS = """
INSERT INTO {table} SELECT seq, (seq * 7919) % 100000, ((seq * 31) % 1000000) / 100,
  CASE WHEN seq % 10 > 0 THEN (seq % 1000) * 1.7 END, seq % 3 = 0,
  ELT(seq % 4 + 1, 'new', 'paid', 'shipped', 'returned'), CASE WHEN seq % 5 > 0 THEN repeat(md5(seq), 2) END,
  INSERT(INSERT(INSERT(INSERT(md5(seq), 21, 0, '-'), 17, 0, '-'), 13, 0, '-'), 9, 0, '-'),
  CASE WHEN seq % 2 = 0 THEN JSON_OBJECT('channel', 'web', 'items', seq % 9) END,
  date '2020-01-01' + INTERVAL seq % 1800 DAY, timestamp '2020-01-01 00:00:00' + INTERVAL seq * 17 SECOND,
  timestamp '2020-01-02 00:00:00' + INTERVAL seq * 17 SECOND
FROM seq_1_to_{rows}"""


class Database(Protocol):
    """What both kinds of test databases have."""

    def run(self, *statements: str) -> list[tuple[Any, ...]]: ...

    def settings(self, **more: Any) -> dict[str, Any]: ...


@dataclass(slots=True)
class Orders:
    """A database that makes tables of orders when they are asked for. ``prefix``: what objects of Millrace have before
    the name of their table."""

    type: str
    database: Database
    url: str
    prefix: str
    made: set[int] = field(default_factory=set[int])

    def table(self, rows: int) -> str:
        """The name of a table of so many rows."""
        table = f"orders_{rows}"
        if rows not in self.made:
            self.database.run(*self._making(table, rows))
            self.made.add(rows)
        return table

    def drop(self, rows: int) -> None:
        """The table takes no place any more."""
        self.made.discard(rows)
        self.database.run(f"DROP TABLE IF EXISTS orders_{rows}")

    def _making(self, table: str, rows: int) -> list[str]:
        if self.type == "postgres":
            made = f"CREATE TABLE {table} ({POSTGRES_COLUMNS})"
            return [made, _POSTGRES_ROWS.format(table=table, rows=rows), f"VACUUM ANALYZE {table}"]
        # Moments of a zone with summer time would have hours that are not.
        session = ["SET time_zone = '+00:00'", "SET sql_log_bin = 0"]
        made = f"CREATE TABLE {table} ({_MYSQL_COLUMNS})"
        return [*session, made, _MYSQL_ROWS.format(table=table, rows=rows), f"ANALYZE TABLE {table}"]
