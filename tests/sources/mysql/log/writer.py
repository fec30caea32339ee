"""Somebody who writes to a database at random, and the comparison of what came of it on both sides."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

import pymysql
from tests.mariadb import Database
from tests.sources.postgres.log.writer import COLUMNS, IDS
from tests.sources.postgres.log.writer import Writer as PostgresWriter
from tests.sources.site import Followed

# A table with every sort of value, one with a key of two columns, one without anything to tell rows apart, and one that
# names its rows by an index.
TABLES = (
    "CREATE TABLE big (id int PRIMARY KEY, name varchar(50) CHARACTER SET latin1, large mediumtext, n decimal(12, 3), "
    "j json, b blob, u bigint unsigned, e enum('a','é'), s set('x','y'), d datetime(6), at timestamp(3) NULL, "
    "f double, y bit(9))",
    "CREATE TABLE pair (a int, b varchar(20), v int, PRIMARY KEY (a, b))",
    "CREATE TABLE loose (v int, t text)",
    "CREATE TABLE named (code varchar(10) NOT NULL UNIQUE, v smallint unsigned)",
)
_PASSING = (1060, 1062, 1091, 1054, 1205, 1213)


class Writer(PostgresWriter):
    """Transactions of some statements each, some of which are taken back, some in part, with images of any size."""

    gone = (pymysql.err.OperationalError, pymysql.err.InterfaceError)

    def __init__(self, database: Any, seed: int) -> None:
        super().__init__(database, seed)

    def transaction(self, connection: Any) -> None:
        choose = self.random
        with connection.cursor() as cursor:
            try:
                cursor.execute(f"SET SESSION binlog_row_image = {choose.choice(['FULL', 'FULL', 'MINIMAL', 'NOBLOB'])}")
                cursor.execute("BEGIN")
                for number in range(choose.randint(1, 6)):
                    cursor.execute(f"SAVEPOINT s{number}")
                    self.change(cursor)
                    if choose.random() < 0.1:
                        cursor.execute(f"ROLLBACK TO s{number}")
                cursor.execute("ROLLBACK" if choose.random() < 0.15 else "COMMIT")
            except pymysql.MySQLError as error:
                # A savepoint is gone behind a statement that commits.
                if error.args[0] not in (*_PASSING, 1305):
                    raise
                cursor.execute("ROLLBACK")
        self.count += 1

    def change(self, cursor: Any) -> None:
        choose = self.random
        id_, v = choose.randrange(IDS), choose.randrange(1000)
        large = choose.choice("xyzäß") * choose.choice((10, 3_000, 9_000))
        roll = choose.random()
        if roll < 0.02:
            cursor.execute(f"TRUNCATE {choose.choice(['big', 'pair', 'named'])}")
        elif roll < 0.05 and self.columns < COLUMNS:
            self.columns += 1
            where = choose.choice(("", " FIRST", " AFTER name"))
            cursor.execute(f"ALTER TABLE big ADD COLUMN c{self.columns}_ int{where}, COMMENT = 'a, b'")
        elif 0.05 <= roll < 0.06 and self.columns:
            cursor.execute(f"ALTER TABLE big DROP COLUMN c{choose.randint(1, self.columns)}_")
        elif roll < 0.25:
            cursor.execute(
                "INSERT INTO big (id, name, large, n, j, b, u, e, s, d, at, f, y) VALUES (%s, %s, %s, %s, %s, %s, %s, "
                "%s, %s, now(6), now(3), %s, %s) ON DUPLICATE KEY UPDATE name = 'né', large = VALUES(large)",
                (id_, "né", large, Decimal(v) / 8 - 50, json.dumps({"v": [v, None]}), large.encode(), 2**64 - 1 - v,
                 choose.choice("aé"), "x,y", v / 7, v % 512),
            )  # fmt: skip
        elif roll < 0.45:
            parts = ("name = 'other'", "large = md5(rand())", "j = NULL", "n = n + 1.5", "e = 'a', s = ''", "u = u - 1")
            cursor.execute(f"UPDATE big SET {choose.choice(parts)} WHERE id = %s", (id_,))
        elif roll < 0.5:
            cursor.execute("UPDATE big SET id = %s WHERE id = %s", (choose.randrange(IDS), id_))
        elif roll < 0.55:
            cursor.execute("DELETE FROM big WHERE id BETWEEN %s AND %s", (id_, id_ + 1))
        elif roll < 0.7:
            cursor.execute(
                "INSERT INTO pair VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE v = VALUES(v)",
                (id_, choose.choice("ab"), v),
            )
        elif roll < 0.75:
            cursor.execute("UPDATE pair SET b = CONCAT('c', v) WHERE a = %s", (id_,))
        elif roll < 0.85:
            cursor.execute("INSERT INTO loose VALUES (%s, 'tü')", (v,))
        elif roll < 0.95:
            cursor.execute(
                "INSERT INTO named VALUES (%s, %s) ON DUPLICATE KEY UPDATE v = VALUES(v)", (f"n{id_}", 64000 + v)
            )
        else:
            cursor.execute("DELETE FROM named WHERE code = %s", (f"n{id_}",))


def differences(database: Database, site: Followed) -> dict[str, Any]:
    """By table, rows of which one side has more than the other; every value counts."""
    found: dict[str, Any] = {}
    for table in ("big", "pair", "loose", "named"):
        names = [
            name
            for (name,) in database.run(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = database() "
                f"AND table_name = '{table}' ORDER BY ordinal_position"
            )
        ]
        there = {name for (name,) in site.query(f"SELECT name FROM pragma_table_info('{table}')")}
        wanted = ", ".join(f'"{name}"' if name in there else f"NULL AS {name}" for name in names)
        ours = Counter(map(_plain, site.rows(table, wanted)))
        rows = database.run("SET time_zone = '+00:00'", f"SELECT {', '.join(names)} FROM {table}")
        theirs = Counter(map(_plain, rows))
        if ours != theirs:
            found[table] = {"more here": ours - theirs, "more there": theirs - ours}
    return found


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.replace(tzinfo=None) if isinstance(one, datetime) else one for one in row)
