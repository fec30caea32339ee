"""What became of tables that the log does not tell of is said by the next run, once, and only where it is sure."""

from __future__ import annotations

from typing import Any

import pytest
from tests.postgres import Database
from tests.sources.postgres.log.site import Site, site
from tests.sources.site import PIPELINE

from millrace.control.books import records
from millrace.control.pipeline import object_actions, positions
from millrace.control.running import runs
from millrace.sources.postgres.log import untold

__all__ = ["site"]


@pytest.fixture(autouse=True)
def empty(shop: Database) -> None:
    shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


PARTED = (
    "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE a PARTITION OF t FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE b PARTITION OF t FOR VALUES FROM (10) TO (20)",
    "CREATE TABLE old (id int PRIMARY KEY, v text)",
    "INSERT INTO t VALUES (1, 'a'), (11, 'b')",
    "INSERT INTO old VALUES (21, 'before')",
)


def lost(site: Site) -> list[str]:
    """What the run had to say of rows, without the remedy."""
    notes = records.run_records(site.home)[0].notes
    return [note.message.partition(":")[0] for note in notes if note.code == "rows_lost"]


def test_partitions_that_came_with_rows_or_went_are_told_once(site: Site, shop: Database) -> None:
    shop.run(*PARTED)
    site.create()
    site.run()
    shop.run("ALTER TABLE t ATTACH PARTITION old FOR VALUES FROM (20) TO (30)", "INSERT INTO t VALUES (22, 'new')")
    site.run()
    assert lost(site) == ["rows that were in public.old when that became a part of public.t are not in the log"]
    assert site.rows("t", "id, v") == [(1, "a"), (11, "b"), (22, "new")]
    site.run()
    assert lost(site) == []
    shop.run("ALTER TABLE t DETACH PARTITION a", "DROP TABLE b", "INSERT INTO t VALUES (23, 'x')")
    site.run()
    assert lost(site) == [
        "rows that went with public.a, public.b, no part of public.t any more, are not marked as deleted"
    ]
    site.run()
    assert lost(site) == []


def test_a_partition_that_was_away_for_a_while_is_told(site: Site, shop: Database) -> None:
    shop.run(*PARTED)
    site.create()
    site.run()
    shop.run("ALTER TABLE t DETACH PARTITION a", "UPDATE a SET v = 'unseen'")
    shop.run("ALTER TABLE t ATTACH PARTITION a FOR VALUES FROM (0) TO (10)")
    site.run()
    assert lost(site) == ["public.a was no part of public.t for a while"]


def test_a_partition_that_the_user_may_not_read_by_itself_is_told(site: Site, shop: Database) -> None:
    shop.run(*PARTED)
    reader = f"reader_{shop.name}"
    shop.run(
        f"CREATE ROLE {reader} LOGIN REPLICATION PASSWORD 'secret'",
        f"GRANT USAGE ON SCHEMA public TO {reader}",
        f"GRANT SELECT ON t TO {reader}",
        "CREATE PUBLICATION mine FOR TABLE t WITH (publish_via_partition_root = true)",
    )
    try:
        site.create(db_user=reader, db_password="secret", publication_name="mine", schemas=["public"])
        site.run()
        shop.run("ALTER TABLE t ATTACH PARTITION old FOR VALUES FROM (20) TO (30)", "INSERT INTO t VALUES (22, 'new')")
        site.run()
        assert lost(site) == ["rows that were in public.old when that became a part of public.t are not in the log"]
    finally:
        site.delete()
        shop.run(f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")


def test_partitions_of_which_the_log_tells_all_are_no_news(site: Site, shop: Database) -> None:
    shop.run(*PARTED)
    site.create()
    # Attached before the history is read, so that it has the rows.
    shop.run("ALTER TABLE t ATTACH PARTITION old FOR VALUES FROM (20) TO (30)")
    site.run()
    shop.run(
        "CREATE TABLE c PARTITION OF t FOR VALUES FROM (30) TO (40)",
        "CREATE TABLE bare (id int PRIMARY KEY, v text)",
        "ALTER TABLE t ATTACH PARTITION bare FOR VALUES FROM (40) TO (50)",
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (50) TO (90) PARTITION BY RANGE (id)",
        "CREATE TABLE lower PARTITION OF low FOR VALUES FROM (50) TO (60)",
        "INSERT INTO t VALUES (31, 'c'), (41, 'bare'), (51, 'lower')",
    )
    site.run()
    assert lost(site) == []
    assert [id_ for id_, _ in site.rows("t", "id, v")] == [1, 11, 21, 31, 41, 51]


EMPTIED = "public.a was truncated or written anew by itself"


def test_a_partition_that_was_truncated_by_itself_is_told_once(site: Site, shop: Database) -> None:
    shop.run(*PARTED)
    site.create()
    site.run()
    shop.run("BEGIN; TRUNCATE a; INSERT INTO t VALUES (2, 'new'), (12, 'more'); COMMIT")
    site.run()
    assert lost(site) == [EMPTIED]
    # The row of before is there still, as the note says.
    assert site.rows("t", "id, v") == [(1, "a"), (2, "new"), (11, "b"), (12, "more")]
    site.run()
    assert lost(site) == []
    shop.run("TRUNCATE a")
    site.run()
    assert lost(site) == [EMPTIED]
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    site.run()
    assert (lost(site), site.rows("t", "id, v")) == ([], [(11, "b"), (12, "more")])


def test_a_partition_that_is_truncated_while_a_run_looks_is_told_by_the_next(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run(*PARTED)
    site.create()
    site.run()
    looked = untold.tables

    def tables(*words: Any) -> Any:
        found = looked(*words)
        for sql in happening:
            shop.run(sql)
        return found

    monkeypatch.setattr(untold, "tables", tables)
    happening = ["TRUNCATE a"]
    site.run()
    happening = []
    assert lost(site) == []
    site.run()
    assert lost(site) == [EMPTIED]
    site.run()
    assert lost(site) == []
    # Of the whole table the log tells, whichever run sees it first.
    shop.run("INSERT INTO t VALUES (3, 'x')")
    site.run()
    happening = ["TRUNCATE t"]
    site.run()
    happening = []
    assert site.rows("t", "id, v") == []
    site.run()
    assert lost(site) == []


@pytest.mark.parametrize(
    "changes",
    [
        ("TRUNCATE t", "INSERT INTO t VALUES (4, 'd')"),
        ("VACUUM FULL a", "DELETE FROM t WHERE id = 11", "VACUUM FULL c"),
        ("TRUNCATE c", "INSERT INTO t VALUES (25, 'c')"),
        ("ALTER TABLE t ALTER v TYPE varchar(9)",),
        ("ALTER TABLE t ADD n int DEFAULT 7", "UPDATE t SET n = 8"),
        ("GRANT SELECT ON a TO PUBLIC", "CREATE INDEX ON a (v)", "ANALYZE a"),
    ],
    ids=lambda changes: changes[0],
)
def test_partitions_whose_rows_are_there_or_whose_end_the_log_tells_are_not_taken_for_truncated(
    site: Site, shop: Database, changes: tuple[str, ...]
) -> None:
    shop.run(*PARTED, "CREATE TABLE c PARTITION OF t FOR VALUES FROM (20) TO (30)")
    site.create()
    site.run()
    for change in changes:
        shop.run(change)
    site.run()
    assert not [one for one in lost(site) if "truncated" in one]
    assert site.rows("t", "id, v") == shop.run("SELECT id, v FROM t ORDER BY 1")
    site.run()
    assert lost(site) == []


def test_what_is_read_with_a_history_anew_is_no_news(site: Site, shop: Database) -> None:
    shop.run(*PARTED)
    site.create()
    site.run()
    shop.run("ALTER TABLE t ATTACH PARTITION old FOR VALUES FROM (20) TO (30)", "DROP TABLE a")
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    site.run()
    assert (lost(site), site.rows("t", "id, v")) == ([], [(11, "b"), (21, "before")])


def test_another_name_and_another_table_of_a_name_are_told(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE x (id int PRIMARY KEY)",
        "CREATE TABLE y (id int PRIMARY KEY)",
        "INSERT INTO x VALUES (1)",
        "INSERT INTO y VALUES (1)",
    )
    site.create()
    site.run()
    shop.run("ALTER TABLE x RENAME TO z", "DROP TABLE y", "CREATE TABLE y (id int PRIMARY KEY)")
    shop.run("INSERT INTO y VALUES (2)")
    site.run()
    assert sorted(lost(site)) == [
        "public.x is called public.z now",
        "public.y is another table than before",
    ]
    site.run()
    assert lost(site) == []


def test_a_table_that_was_dropped_is_told_once_and_one_that_is_left_out_is_not(site: Site, shop: Database) -> None:
    for name in "xyz":
        shop.run(f"CREATE TABLE {name} (id int PRIMARY KEY)", f"INSERT INTO {name} VALUES (1)")
    site.create()
    site.run()
    shop.run("INSERT INTO x VALUES (2)", "DROP TABLE x", "INSERT INTO z VALUES (2)")
    object_actions.skip(site.home, PIPELINE, "public.y")
    site.run()
    assert lost(site) == ["public.x was dropped"]
    assert [site.rows(name, "id, 0") for name in "xz"] == [[(1, 0)], [(1, 0), (2, 0)]]
    site.run()
    assert lost(site) == []


def test_a_default_of_a_new_column_is_told_where_rows_were_there(site: Site, shop: Database) -> None:
    shop.run(
        *PARTED[:3], PARTED[4], "CREATE TABLE full_ (id int PRIMARY KEY)", "CREATE TABLE bare (id int PRIMARY KEY)"
    )
    shop.run("INSERT INTO full_ VALUES (1)", "CREATE TABLE empty (id int PRIMARY KEY)")
    site.create()
    site.run()
    for table in ("t", "full_", "bare"):
        shop.run(f"ALTER TABLE {table} ADD COLUMN n int DEFAULT 7", f"ALTER TABLE {table} ADD COLUMN m int")
        shop.run(f"INSERT INTO {table} (id) VALUES (2)")
    site.run()
    assert sorted(lost(site)) == ["public.full_.n came with a default", "public.t.n came with a default"]
    # A default that is another for each row has all of them written anew.
    for table in ("t", "full_", "empty"):
        shop.run(f"ALTER TABLE {table} ADD COLUMN r float DEFAULT random(), ADD COLUMN s serial, ADD COLUMN o int")
        shop.run(f"ALTER TABLE {table} ADD COLUMN g int GENERATED ALWAYS AS (id + 1) STORED")
    site.run()
    assert sorted(lost(site)) == [f"public.{name} came with a default" for name in ("full_.r", "full_.s", "t.r", "t.s")]
    assert site.rows("full_", "id, n") == [(1, None), (2, 7)]
    site.run()
    assert lost(site) == []


def changed(site: Site) -> list[str]:
    """What the run had to say of columns whose rows were all written anew, up to the reason."""
    notes = records.run_records(site.home)[0].notes
    return sorted(note.message.partition(" since ")[0] for note in notes if note.code == "column_changed")


def test_a_column_with_another_name_is_told_once(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE people (id int PRIMARY KEY, a text, b text, gone int)",
        "INSERT INTO people VALUES (1, 'x', 'y', 1)",
        "CREATE TABLE empty (id int PRIMARY KEY, v text)",
    )
    site.create()
    site.run()
    shop.run(
        "ALTER TABLE people RENAME a TO first",
        "ALTER TABLE people DROP gone, ADD came int",
        "ALTER TABLE empty RENAME v TO w",
        "INSERT INTO empty VALUES (1, 'x')",
        "INSERT INTO people VALUES (2, 'p', 'q')",
    )
    site.run()
    notes = [note.message.partition(":")[0] for note in records.run_records(site.home)[0].notes]
    assert [one for one in notes if "called" in one] == ["public.people.first was called a"]
    # As the note says: rows that were read before have it there.
    assert site.rows("people", "id, a, first") == [(1, "x", None), (2, None, "p")]
    shop.run("ALTER TABLE people RENAME b TO last", "INSERT INTO people VALUES (3, 'r', 's')")
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    site.run()
    assert changed(site) == []
    assert site.rows("people", "id, first, last")[0] == (1, "x", "y")


def test_a_column_that_using_gave_other_values_is_told_once(site: Site, shop: Database) -> None:
    shop.run(
        *PARTED[:3],
        PARTED[4],
        "CREATE TABLE cents (id int PRIMARY KEY, price numeric(9, 2), n int, note varchar(5), u text)",
        "INSERT INTO cents VALUES (1, 1.50, 2, 'abc', 'x'), (2, 2.25, 3, 'def', 'y')",
        "CREATE TABLE empty (id int PRIMARY KEY, v text)",
    )
    site.create()
    site.run()
    assert changed(site) == []
    shop.run(
        "ALTER TABLE cents ALTER price TYPE bigint USING price * 100, ALTER u SET DEFAULT 'z'",
        "INSERT INTO cents VALUES (3, 375, 4, 'ghi', 'z')",
        "ALTER TABLE empty ALTER v TYPE int USING length(v)",
        "INSERT INTO empty VALUES (1, 1)",
        "ALTER TABLE t ALTER v TYPE int USING length(v)",
        # It is changed once more, which writes nothing.
        "ALTER TABLE t ALTER v SET NOT NULL",
    )
    site.run()
    assert changed(site) == ["public.cents.price is bigint", "public.t.v is integer"]
    # As the note says: the log tells of the new row alone.
    assert [str(price) for (price,) in site.rows("cents", "price")] == ["1.50", "2.25", "375.00"]
    site.run()
    assert changed(site) == []
    # Another value of the same type, and two after one another.
    shop.run("ALTER TABLE cents ALTER n TYPE int USING n * 2")
    site.run()
    assert changed(site) == ["public.cents.n is integer"]
    shop.run("ALTER TABLE cents ALTER n TYPE bigint USING n * 2", "ALTER TABLE cents ALTER note TYPE varchar(4)")
    site.run()
    assert changed(site) == ["public.cents.n is bigint", "public.cents.note is character varying(4)"]
    runs.resync(site.home, PIPELINE)
    site.run()
    assert changed(site) == []
    assert site.rows("cents", "id, price, n") == shop.run("SELECT id, price, n FROM cents ORDER BY 1")


@pytest.mark.parametrize(
    "changes",
    [
        ("ALTER TABLE x ALTER v TYPE text", "VACUUM FULL x"),
        ("ALTER TABLE x ALTER v SET NOT NULL", "VACUUM FULL x"),
        ("ALTER TABLE x ALTER v TYPE varchar(50)",),
        ("ALTER TABLE x ADD r float DEFAULT random(), ALTER v SET DEFAULT 'a'",),
        ("TRUNCATE x", "ALTER TABLE x ALTER v TYPE int USING length(v)", "INSERT INTO x VALUES (2, 5)"),
        ("ALTER TABLE x DROP v", "VACUUM FULL x", "INSERT INTO x VALUES (2)"),
    ],
    ids=lambda changes: changes[0],
)
def test_columns_whose_rows_have_the_values_of_before_are_no_news(
    site: Site, shop: Database, changes: tuple[str, ...]
) -> None:
    shop.run("CREATE TABLE x (id int PRIMARY KEY, v varchar(9))", "INSERT INTO x VALUES (1, 'a')")
    site.create()
    site.run()
    for change in changes:
        shop.run(change)
    site.run()
    assert changed(site) == []
    site.run()
    assert changed(site) == []


def test_what_an_earlier_version_recalled_of_columns_is_understood(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE x (id int PRIMARY KEY, v text)", "INSERT INTO x VALUES (1, 'a')")
    site.create()
    site.run()
    found = positions.in_log(site.home, PIPELINE)
    assert found is not None
    types = found.cursor["position"]["tables"]["public.x"][1]
    assert len(types) == 2
    found.cursor["position"]["tables"]["public.x"][1] = 2
    positions.put(site.home, PIPELINE, found.stream, found.lane, found.cursor, memory=True)
    shop.run("ALTER TABLE x ALTER v TYPE int USING length(v)", "ALTER TABLE x ADD n int DEFAULT 7")
    site.run()
    assert (changed(site), lost(site)) == (["public.x.v is integer"], ["public.x.n came with a default"])
