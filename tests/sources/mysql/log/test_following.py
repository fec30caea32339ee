"""Changes of a real server's binary log reach the destination once, in their order, as they were."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from tests.mariadb import Database
from tests.sources.mysql.log.site import Site, shop, site

from millrace.connect.mysql.session import Session
from millrace.connect.source import Reading
from millrace.control.books import records
from millrace.control.running import runs
from millrace.errors import ConfigError, Transient
from millrace.sources.mysql.database import MySQL
from millrace.sources.mysql.log import history, log, presence, server
from millrace.sources.mysql.source import Source

__all__ = ["shop", "site"]


def test_columns_come_and_go_between_changes(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE wide (id int PRIMARY KEY, a int, b text)", "INSERT INTO wide VALUES (1, 1, 'b')")
    site.create()
    site.run()
    shop.run(
        "UPDATE wide SET a = 2",
        "ALTER TABLE wide ADD COLUMN c decimal(8, 2) AFTER a",
        "INSERT INTO wide (id, a, b, c) VALUES (2, 2, 'b', 2.5)",
        "ALTER TABLE wide MODIFY a bigint unsigned, ADD `odd, (name)` varchar(10) DEFAULT 'x,y)' FIRST",
        "INSERT INTO wide (id, a, b, c) VALUES (3, 18446744073709551615, 'b', 3.5)",
        "ALTER TABLE wide DROP COLUMN b, DROP COLUMN `odd, (name)`",
        "INSERT INTO wide VALUES (4, 4, 4.5)",
        "ALTER TABLE wide CHANGE c d decimal(8, 2), ADD INDEX (d)",
        "INSERT INTO wide VALUES (5, 5, 5.5)",
        "ALTER TABLE wide ADD COLUMN (m enum('sad', 'glad'), n set('x', 'y'))",
        "UPDATE wide SET m = 'glad', n = 'x,y' WHERE id = 5",
        "ALTER TABLE wide RENAME COLUMN m TO mood",
        "INSERT INTO wide VALUES (6, 6, 6.5, 'sad', '')",
    )
    site.run()
    assert site.rows("wide", "id, a::text, b, c::text, d::text, m, mood, n") == [
        (1, "2", "b", None, None, None, None, None),
        (2, "2", "b", "2.50", None, None, None, None),
        (3, "18446744073709551615", "b", "3.50", None, None, None, None),
        (4, "4", None, "4.50", None, None, None, None),
        (5, "5", None, None, "5.50", "glad", None, "x,y"),
        (6, "6", None, None, "6.50", None, "sad", ""),
    ]
    called = [
        note.message.partition(":")[0] for note in records.run_records(site.home)[0].notes if "called" in note.message
    ]
    assert called == ["wide.d was called c", "wide.mood was called m"]
    # The next run knows the columns by what the last one learned.
    shop.run(
        "UPDATE wide SET a = 7 WHERE id = 6", "ALTER TABLE wide DROP COLUMN n", "UPDATE wide SET a = 8 WHERE id = 6"
    )
    site.run()
    assert site.query("SELECT a::text, mood FROM wide WHERE id = 6") == [("8", "sad")]


def test_text_is_what_it_was_in_each_character_set_that_its_table_had(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE said (id int PRIMARY KEY, v varchar(20), t tinytext, x text, m mediumtext, "
        "l longtext, j json, b blob) CHARACTER SET latin1"
    )
    site.create()
    site.run()
    charsets = ("utf8mb4", "latin1", "utf8mb3", "ucs2", "utf8mb4", "utf16", "latin1")
    for number, charset in enumerate(charsets):
        shop.run(
            f"INSERT INTO said VALUES ({number}, 'Ü1', 'Ü2', 'Ü3', 'Ü4', 'Ü5', '[\"Ü\"]', x'dc')",
            f"ALTER TABLE said CONVERT TO CHARACTER SET {charset}",
        )
    site.run()
    texts = ("Ü1", "Ü2", "Ü3", "Ü4", "Ü5", '["Ü"]', b"\xdc")
    assert site.rows("said", "id, v, t, x, m, l, j, b") == [(number, *texts) for number in range(len(charsets))]


def test_tables_are_emptied_and_change_places(site: Site, shop: Database) -> None:
    for name in ("emptied", "swapped", "gone", "anew", "loose"):
        key = "" if name == "loose" else " PRIMARY KEY"
        shop.run(f"CREATE TABLE {name} (id int{key}, v text)", f"INSERT INTO {name} VALUES (1, 'a'), (2, 'b')")
    site.create()
    site.run()
    shop.run(
        "INSERT INTO emptied VALUES (3, 'c')",
        "TRUNCATE TABLE emptied",
        "INSERT INTO emptied VALUES (4, 'd')",
        # As tools do it that change large tables.
        "CREATE TABLE _new LIKE swapped",
        "ALTER TABLE _new ADD COLUMN w int AFTER id",
        "INSERT INTO _new (id, v) SELECT id, v FROM swapped",
        "RENAME TABLE swapped TO _old, _new TO swapped",
        "UPDATE swapped SET w = 7 WHERE id = 1",
        "DROP TABLE gone",
        "DROP TABLE anew",
        "CREATE TABLE anew (v varchar(9), id int unsigned PRIMARY KEY)",
        "INSERT INTO anew VALUES ('z', 7)",
        "UPDATE loose SET v = 'c' WHERE id = 1",
        "DELETE FROM loose WHERE id = 2",
    )
    site.run()
    assert site.rows("emptied", "id, v") == [(4, "d")]
    assert site.rows("emptied", "id, v", deleted=True) == [(1, "a"), (2, "b"), (3, "c")]
    assert site.rows("swapped", "id, v, w") == [(1, "a", 7), (2, "b", None)]
    assert site.rows("gone", "id, v") == [(1, "a"), (2, "b")]
    assert site.rows("anew", "id, v") == [(7, "z")]
    assert site.rows("loose", "id, v") == [(1, "a"), (1, "c"), (2, "b")]
    assert site.rows("loose", "id, v", deleted=True) == [(2, "b")]


def lost(site: Site) -> list[str]:
    """What the run had to say of rows, without the remedy."""
    notes = records.run_records(site.home)[0].notes
    return [note.message.partition(":")[0] for note in notes if note.code == "rows_lost"]


def test_rows_that_go_or_change_without_a_row_of_the_log_are_told(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run(
        "CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id) "
        "(PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (20), PARTITION c VALUES LESS THAN (30))",
        "CREATE TABLE plain (id int PRIMARY KEY)",
        "CREATE TABLE twin (id int PRIMARY KEY, v int)",
        "INSERT INTO parted VALUES (1, 1), (11, 11), (21, 21)",
        "INSERT INTO plain VALUES (1)",
    )
    site.create()
    site.run()
    shop.run(
        "ALTER TABLE parted TRUNCATE PARTITION a",
        "ALTER TABLE plain ADD n int DEFAULT 7, ADD m int",
        "INSERT INTO plain (id) VALUES (2)",
    )
    site.run()
    gone = "rows of parted went or came with a part of a table, of which the log tells none"
    filled = "plain.n came with values"
    assert lost(site) == [gone, filled]
    assert site.rows("parted", "id, v") == [(1, 1), (11, 11), (21, 21)]
    assert site.rows("plain", "id, n, m") == [(1, None, None), (2, 7, None)]
    shop.run("ALTER TABLE parted DROP PARTITION b")
    site.run()
    assert lost(site) == [gone]
    shop.run("ALTER TABLE parted EXCHANGE PARTITION c WITH TABLE twin")
    site.run()
    assert lost(site) == [gone, gone.replace("parted", "twin")]
    runs.resync(site.home, "followed", mode="drop-and-load")
    site.run()
    assert (lost(site), site.rows("parted", "id, v"), site.rows("twin", "id, v")) == ([], [], [(21, 21)])
    assert site.rows("plain", "id, n, m") == [(1, 7, None), (2, 7, None)]
    # What a history reads behind the statement it has.
    read, changes = Source.read, ["ALTER TABLE plain ADD o int NOT NULL"]

    def called(self: Source, reading: Reading) -> Any:
        if reading.lane == "historical" and changes:
            shop.run(changes.pop())
        return read(self, reading)

    monkeypatch.setattr(Source, "read", called)
    site.run(only=["plain"], forget=("historical",))
    assert (changes, lost(site)) == ([], [])
    site.run()
    assert (lost(site), site.rows("plain", "id, o")) == ([], [(1, 0), (2, 0)])


def test_columns_whose_values_may_be_others_by_another_type_are_told(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE priced (id int PRIMARY KEY, price decimal(9,2), note varchar(9), n int unsigned)",
        "INSERT INTO priced VALUES (1, 1.25, 'a', 7)",
        "CREATE TABLE other (id int PRIMARY KEY, price decimal(9,2))",
    )
    site.create()
    site.run()
    shop.run(
        "ALTER TABLE priced MODIFY price decimal(9,1), MODIFY note varchar(20), CHANGE n n bigint, ADD at datetime",
        "INSERT INTO priced VALUES (2, 2.5, 'b', 8, NULL)",
    )
    site.run()
    (note,) = records.run_records(site.home)[0].notes
    assert (note.code, note.message.partition(":")[0]) == (
        "column_changed",
        "priced.price is decimal(9,1) since it was decimal(9,2)",
    )
    # As the note says: the log tells of the new row alone.
    assert site.rows("priced", "id, price") == [(1, Decimal("1.25")), (2, Decimal("2.50"))]
    runs.resync(site.home, "followed")
    site.run()
    assert site.notes() == set()
    assert site.rows("priced", "id, price") == [(1, Decimal("1.30")), (2, Decimal("2.50"))]


@pytest.mark.parametrize(("image", "mode"), [("MINIMAL", "merge"), ("MINIMAL", "history"), ("NOBLOB", "append")])
def test_what_a_change_leaves_out_stays_as_it_was(site: Site, shop: Database, image: str, mode: Any) -> None:
    shop.run(
        "CREATE TABLE docs (id int PRIMARY KEY, v int DEFAULT 5, body text, side blob)",
        "INSERT INTO docs VALUES (1, 0, 'one', 'x'), (2, 0, 'two', 'x'), (3, 0, 'three', 'x'), (4, 0, 'four', 'x')",
        f"SET GLOBAL binlog_row_image = {image}",
    )
    try:
        site.create(mode)
        site.run()
        shop.run(
            "UPDATE docs SET v = 1 WHERE id = 1",
            "UPDATE docs SET id = 20 WHERE id = 2",
            "UPDATE docs SET body = 'B' WHERE id = 3",
            "UPDATE docs SET v = 3 WHERE id = 3",
            "UPDATE docs SET side = NULL WHERE id = 4",
            "INSERT INTO docs (id, body) VALUES (5, 'five')",
        )
        site.run()
    finally:
        shop.run("SET GLOBAL binlog_row_image = FULL")
    active = " AND __hevo__is_active" if mode == "history" else ""
    names = "id, v, body, decode(side)"
    found = site.query(f"SELECT {names} FROM docs WHERE NOT __hevo__marked_deleted{active} ORDER BY 1, 2, 3")
    wanted = [(1, 1, "one", "x"), (3, 3, "B", "x"), (4, 0, "four", None), (5, 5, "five", None), (20, 0, "two", "x")]
    if mode == "append":
        # Also what was there before; a version in between may show what came somewhat later.
        found = sorted({row for row in found if row in wanted})
    assert found == wanted


@pytest.mark.parametrize("when", ["before the run", "while its changes are read"])
def test_what_a_change_leaves_out_is_there_though_another_column_has_gone(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    shop.run(
        "CREATE TABLE docs (id int PRIMARY KEY, gone int, v int, body text)",
        "INSERT INTO docs VALUES (1, 6, 7, 'one'), (2, 6, 7, 'two')",
    )
    site.create()
    site.run()
    shop.run("SET SESSION binlog_row_image = MINIMAL", "UPDATE docs SET id = 20 WHERE id = 2")
    goes = "ALTER TABLE docs DROP COLUMN gone"
    if when == "before the run":
        shop.run(goes)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(log, "present", lambda *given: (shop.run(goes), presence.present(*given))[1])
            with pytest.raises(Transient, match="has changed while its changes were read"):
                site.run()
    site.run()
    assert site.rows("docs", "id, gone, v, body") == [(1, 6, 7, "one"), (20, None, 7, "two")]


def test_columns_that_the_server_computes_are_right_where_changes_leave_them_out(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE g (id int PRIMARY KEY, a int, b int AS (a * 2) VIRTUAL, c int AS (a * 3) PERSISTENT, d int)",
        "CREATE TABLE loose (a int, b int AS (a * 2) VIRTUAL)",
        "INSERT INTO g (id, a) VALUES (1, 1), (2, 2), (3, 3)",
        "INSERT INTO loose (a) VALUES (1)",
    )
    site.create()
    site.run()
    shop.run(
        "UPDATE g SET a = 5 WHERE id = 1",
        "SET SESSION binlog_row_image = MINIMAL",
        "UPDATE g SET a = 7 WHERE id = 2",
        "UPDATE g SET d = 8 WHERE id = 3",
        "INSERT INTO g (id, a) VALUES (4, 4)",
        "DELETE FROM g WHERE id = 1",
        "UPDATE loose SET a = 9",
    )
    site.run()
    assert site.rows("g", "id, a, b, c, d") == [(2, 7, 14, 21, None), (3, 3, 6, 9, 8), (4, 4, 8, 12, None)]
    assert site.rows("loose", "a, b") == [(1, 2), (9, 18)]


def test_a_table_with_system_versioning_is_followed_as_it_is_now(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE kept (id int PRIMARY KEY, v varchar(9)) WITH SYSTEM VERSIONING",
        "CREATE TABLE declared (id int PRIMARY KEY, v int, since TIMESTAMP(6) GENERATED ALWAYS AS ROW START, w int, "
        "till TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (since, till)) WITH SYSTEM VERSIONING",
        "INSERT INTO kept VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
        "INSERT INTO declared (id, v, w) VALUES (1, 1, 1), (2, 2, 2)",
    )
    site.create()
    site.run()
    shop.run(
        "UPDATE kept SET v = 'a2' WHERE id = 1",
        "UPDATE kept SET id = 20 WHERE id = 2",
        "REPLACE INTO kept VALUES (3, 'c2')",
        "INSERT INTO kept VALUES (3, 'x') ON DUPLICATE KEY UPDATE v = 'c3'",
        "DELETE FROM kept WHERE id = 4",
        "INSERT INTO kept VALUES (5, 'e'), (6, 'f')",
        "DELETE FROM kept WHERE id = 6",
        "INSERT INTO kept VALUES (6, 'again')",
        "DELETE HISTORY FROM kept",
        "UPDATE declared SET v = 10 WHERE id = 1",
        "DELETE FROM declared WHERE id = 2",
        "INSERT INTO declared (id, v, w) VALUES (3, 3, 3)",
    )
    site.run()
    assert site.notes() <= {"caught_up"}
    kept = [(1, "a2"), (3, "c3"), (5, "e"), (6, "again"), (20, "b")]
    assert site.rows("kept", "id, v") == kept
    assert site.rows("kept", "id", deleted=True) == [(2,), (4,)]
    assert site.rows("declared", "id, v, w") == [(1, 10, 1), (3, 3, 3)]
    assert site.rows("declared", "id", deleted=True) == [(2,)]
    assert [name for _, name in site.rows("declared", "id, typeof(since)")] == ["TIMESTAMP WITH TIME ZONE"] * 2
    # Columns come while it is followed, and the server leaves out what did not change.
    shop.run(
        "SET SESSION system_versioning_alter_history = KEEP",
        "ALTER TABLE kept ADD COLUMN z int",
        "SET SESSION binlog_row_image = MINIMAL",
        "UPDATE kept SET z = 7 WHERE id = 1",
        "UPDATE declared SET v = 30 WHERE id = 3",
        "DELETE FROM kept WHERE id = 5",
        "DELETE FROM declared WHERE id = 1",
    )
    site.run()
    assert site.rows("kept", "id, v, z")[:2] == [(1, "a2", 7), (3, "c3", None)]
    assert site.rows("kept", "id", deleted=True) == [(2,), (4,), (5,)]
    assert site.rows("declared", "id, v, w") == [(3, 30, 3)]


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_changes_while_system_versioning_comes_and_goes_are_those_of_rows_of_now(
    site: Site, shop: Database, mode: Any
) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    site.create(mode)
    site.run()
    shop.run(
        "UPDATE t SET v = 10 WHERE id = 1",
        "ALTER TABLE t ADD SYSTEM VERSIONING",
        "UPDATE t SET v = 11 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "INSERT INTO t VALUES (3, 3)",
    )
    site.run()
    if mode == "merge":
        assert site.rows("t", "id, v") == [(1, 11), (3, 3)]
        assert site.rows("t", "id", deleted=True) == [(2,)]
    else:
        assert site.query("SELECT id, v FROM t WHERE NOT __hevo__marked_deleted ORDER BY 1, 2") == [
            (1, 1), (1, 10), (1, 11), (2, 2), (3, 3),
        ]  # fmt: skip
    shop.run("ALTER TABLE t DROP SYSTEM VERSIONING", "UPDATE t SET v = 12 WHERE id = 1")
    site.run()
    assert (1, 12) in site.rows("t", "id, v")


def test_a_table_whose_log_has_statements_is_not_followed_and_a_change_of_it_is_told(
    site: Site, shop: Database
) -> None:
    shop.run(
        "CREATE TABLE by_number (id int PRIMARY KEY, a BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, "
        "b BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING",
        "CREATE TABLE other (id int PRIMARY KEY)",
    )
    site.create()
    site.run()
    shop.run("INSERT INTO other VALUES (1)")
    site.run()
    assert "not_in_log" in site.notes()
    assert site.query("SELECT id FROM other") == [(1,)]
    shop.run("INSERT INTO by_number (id) VALUES (1)")
    with pytest.raises(ConfigError, match="in the log in place of the rows"):
        site.run()


@pytest.mark.parametrize(
    ("goes", "comes", "changed"),
    [
        ("DROP TABLE docs", "DO 0", (2, "two")),
        ("RENAME TABLE docs TO kept", "DO 0", (2, "two")),
        ("RENAME TABLE docs TO kept", "RENAME TABLE kept TO docs", (20, "two")),
    ],
)
def test_what_changes_left_out_is_asked_for_again_when_the_table_goes_meanwhile(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch, goes: str, comes: str, changed: tuple[int, str]
) -> None:
    """One that stays away is as one that went before the run, whose last changes nobody can tell; of one that comes
    back nothing is lost."""
    shop.run("CREATE TABLE docs (id int PRIMARY KEY, body text)", "INSERT INTO docs VALUES (1, 'one'), (2, 'two')")
    shop.run("CREATE TABLE other (id int PRIMARY KEY)")
    site.create()
    site.run()
    shop.run("SET SESSION binlog_row_image = MINIMAL", "UPDATE docs SET id = 20 WHERE id = 2")
    shop.run("INSERT INTO other VALUES (1)")
    with monkeypatch.context() as patch:
        patch.setattr(log, "present", lambda *given: (shop.run(goes), presence.present(*given))[1])
        with pytest.raises(Transient, match="docs has changed while its changes were read"):
            site.run()
    shop.run(comes)
    site.run()
    assert site.query("SELECT id FROM other") == [(1,)]
    assert site.rows("docs", "id, body") == [(1, "one"), changed]


def test_a_table_that_is_gone_when_it_is_to_be_held_ends_alone(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MySQL holds it, which does not know the place of a state."""
    monkeypatch.setattr(server, "of_snapshot", lambda _: None)
    monkeypatch.setattr(history, "_knows_places", lambda _: False)
    shop.run("CREATE TABLE docs (id int PRIMARY KEY)", "CREATE TABLE other (id int PRIMARY KEY)")
    shop.run("INSERT INTO other VALUES (1)")
    site.create()
    read = history.read
    with monkeypatch.context() as patch:
        patch.setattr(history, "read", lambda *given: (shop.run("DROP TABLE IF EXISTS docs"), read(*given))[1])
        with pytest.raises(Transient, match="docs` is no longer there"):
            site.run()
    site.run()
    assert site.query("SELECT id FROM other") == [(1,)]


def test_a_server_that_does_not_know_the_place_of_a_state_is_held_for_a_moment(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MySQL does not, and MariaDB does."""
    monkeypatch.setattr(server, "of_snapshot", lambda _: None)
    monkeypatch.setattr(history, "_knows_places", lambda _: False)
    shop.run("CREATE TABLE kept (id int PRIMARY KEY)", "CREATE TABLE loose (id int)", "INSERT INTO loose VALUES (1)")
    site.create()
    site.run()
    shop.run("CREATE TABLE late (id int)", "INSERT INTO late VALUES (1)", "INSERT INTO kept VALUES (1)")
    read = MySQL.session
    wrote: list[int] = []

    @contextmanager
    def beside(self: MySQL, snapshot: str | None = None) -> Generator[Any]:
        """Somebody wants to write while the state is taken, and is behind it."""
        writer = threading.Thread(target=lambda: (shop.run("INSERT INTO late VALUES (2)"), wrote.append(2)))
        writer.start()
        with read(self, snapshot) as reading:
            assert not wrote
            yield reading
        writer.join(60)

    monkeypatch.setattr(MySQL, "session", beside)
    real, limits = Session.execute, list[int]()

    def execute(session: Session, sql: str, *values: Any, **more: Any) -> int:
        if sql.startswith("LOCK TABLES"):
            limits.append(int(session.rows("SELECT @@session.wait_timeout")[0][0]))
        return real(session, sql, *values, **more)

    monkeypatch.setattr(Session, "execute", execute)
    site.run()
    assert wrote == [2]
    assert limits == [30], "no lock outlives this machine for long"
    assert site.rows("late", "id, 0") == [(1, 0), (2, 0)]
    assert site.rows("kept", "id, 0") == [(1, 0)]
