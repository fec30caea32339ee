"""Somebody who writes to a database at random, and the comparison of what came of it on both sides."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
from tests.postgres import Database
from tests.sources.site import Followed

# A table with large values, one with a key of two columns, one that says all of old rows, one without anything to
# tell rows apart, one in parts, and one that names its rows by an index.
TABLES = (
    "CREATE TABLE big (id int PRIMARY KEY, name text, large text, more text, n numeric(12, 3), j jsonb, b bytea)",
    "CREATE TABLE pair (a int, b text, v int, at timestamptz, l int[], PRIMARY KEY (a, b))",
    "CREATE TABLE loud (id int PRIMARY KEY, large text, v int)",
    "ALTER TABLE loud REPLICA IDENTITY FULL",
    "CREATE TABLE loose (v int, t text)",
    "CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (MINVALUE) TO (10)",
    "CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (MAXVALUE)",
    "CREATE TABLE indexed (id int NOT NULL, v text)",
    "CREATE UNIQUE INDEX by_id ON indexed (id)",
    "ALTER TABLE indexed REPLICA IDENTITY USING INDEX by_id",
    # Large values stay large.
    "ALTER TABLE big ALTER large SET STORAGE EXTERNAL, ALTER more SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL",
    "ALTER TABLE loud ALTER large SET STORAGE EXTERNAL",
)
KEYED = {"big": ("id",), "pair": ("a", "b"), "loud": ("id",), "parted": ("id",), "indexed": ("id",)}
IDS = 20
# A table has room for so many more of them, and who reads it has time for them.
COLUMNS = 50


class Writer:
    """Transactions of some statements each, some of which are taken back, some in part."""

    gone: tuple[type[Exception], ...] = (psycopg.OperationalError,)
    """What is raised when the server is gone."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.random = database, random.Random(seed)
        self.columns = 0
        self.count = 0

    def transaction(self, connection: psycopg.Connection[Any]) -> None:
        choose = self.random
        try:
            with connection.transaction(force_rollback=choose.random() < 0.15):
                for _ in range(choose.randint(1, 6)):
                    with connection.transaction(force_rollback=choose.random() < 0.1):
                        self.statement(connection)
        except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateColumn, psycopg.errors.UndefinedColumn):
            pass
        self.count += 1

    def statement(self, connection: psycopg.Connection[Any]) -> None:
        choose = self.random
        id_, v = choose.randrange(IDS), choose.randrange(1000)
        large = choose.choice("xyzäß") * choose.choice((10, 3_000, 9_000))
        roll = choose.random()
        if roll < 0.02:
            connection.execute(f"TRUNCATE {choose.choice(['big', 'pair', 'parted', 'loud'])}")
        elif roll < 0.05 and self.columns < COLUMNS:
            self.columns += 1
            connection.execute(f"ALTER TABLE big ADD COLUMN c{self.columns} int")
        elif 0.05 <= roll < 0.06 and self.columns:
            connection.execute(f"ALTER TABLE big DROP COLUMN c{choose.randint(1, self.columns)}")
        elif roll < 0.2:
            connection.execute(
                "INSERT INTO big (id, name, large, more, n, j, b) VALUES (%s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (id) DO UPDATE SET name = excluded.name, more = excluded.more",
                (id_, "né", large, large, Decimal(v) / 7 // 1, json.dumps({"v": [v, None]}), large.encode()),
            )
        elif roll < 0.4:
            part = choose.choice(("name = 'other'", "large = md5(random()::text)", "more = NULL", "n = n + 1.5"))
            connection.execute(f"UPDATE big SET {part} WHERE id = %s", (id_,))
        elif roll < 0.45:
            connection.execute("UPDATE big SET id = %s WHERE id = %s", (choose.randrange(IDS), id_))
        elif roll < 0.5:
            connection.execute("DELETE FROM big WHERE id BETWEEN %s AND %s", (id_, id_ + 1))
        elif roll < 0.6:
            connection.execute(
                "INSERT INTO pair VALUES (%s, %s, %s, now(), %s) ON CONFLICT (a, b) DO UPDATE SET v = excluded.v",
                (id_, choose.choice("ab"), v, [v, None, 3]),
            )
        elif roll < 0.65:
            connection.execute("UPDATE pair SET b = 'c' || v WHERE a = %s", (id_,))
        elif roll < 0.75:
            connection.execute(
                "INSERT INTO loud VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (id_, large, v)
            )
        elif roll < 0.78:
            connection.execute("DELETE FROM loud WHERE id = %s", (id_,))
        elif roll < 0.85:
            connection.execute("INSERT INTO loose VALUES (%s, %s)", (v, "t"))
        elif roll < 0.92:
            connection.execute(
                "INSERT INTO parted VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (id_, str(v))
            )
        elif roll < 0.95:
            connection.execute("UPDATE parted SET id = %s WHERE id = %s", (choose.randrange(IDS), id_))
        else:
            connection.execute(
                "INSERT INTO indexed VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (id_, str(v))
            )

    def some(self, count: int) -> None:
        """So many transactions."""
        with self.database.connect() as connection:
            for _ in range(count):
                self.transaction(connection)

    @contextmanager
    def beside(self, *, patient: bool = False) -> Generator[None]:
        """It writes while the block runs; ``patient``: to a server that may be gone for a while."""
        over, failed = threading.Event(), list[BaseException]()
        # As long as runs take, so much is written: it is read again each time that everything begins anew.
        pause_s = 0.05 if patient else 0.02

        def work() -> None:
            while not over.is_set():
                try:
                    with self.database.connect() as connection:
                        while not over.is_set():
                            self.transaction(connection)
                            over.wait(pause_s)
                except self.gone as error:
                    if not patient:
                        failed.append(error)
                        return
                    over.wait(0.1)
                except BaseException as error:
                    failed.append(error)
                    return

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert not failed, failed


def differences(database: Database, site: Followed) -> dict[str, Any]:
    """By table, rows of which one side has more than the other; every value counts."""
    found: dict[str, Any] = {}
    for table in ("big", "pair", "loud", "loose", "parted", "indexed"):
        names = [
            name
            for (name,) in database.run(
                "SELECT attname::text FROM pg_attribute "
                f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            )
        ]
        there = {name for (name,) in site.query(f"SELECT name FROM pragma_table_info('{table}')")}
        wanted = ", ".join(f'"{name}"' if name in there else f"NULL AS {name}" for name in names)
        ours = Counter(_plain(row) for row in site.rows(table, wanted))
        theirs = Counter(_plain(row) for row in database.run(f"SELECT {', '.join(map(_shown, names))} FROM {table}"))
        if ours != theirs:
            found[table] = {"more here": ours - theirs, "more there": theirs - ours}
    return found


def _shown(name: str) -> str:
    return f"{name}::text" if name in ("l", "j") else f'"{name}"'


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        json.dumps(json.loads(one)) if isinstance(one, str) and one[:1] == "{" and one[1:2] == '"' else one
        for one in row
    )
