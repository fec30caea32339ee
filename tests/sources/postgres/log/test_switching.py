"""A pipeline whose tables were queried follows the log from now on, or the other way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.postgres import Database
from tests.sources.postgres.log.site import Site, site
from tests.sources.site import PIPELINE

from millrace.control.connecting import connections
from millrace.control.pipeline import object_actions
from millrace.control.running import runs
from millrace.data.batch import LoadMode
from millrace.errors import ConfigError

__all__ = ["site"]

BOTH = pytest.mark.parametrize("load_mode", ["merge", "append"])


@pytest.fixture
def switched(site: Site, shop: Database) -> Callable[[str, LoadMode], Site]:
    """A site that reads in one way, and, where it was made before, in the other."""
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id int PRIMARY KEY, v text)")
    shop.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")

    def to(way: str, load_mode: LoadMode) -> Site:
        if not connections.listed(site.home, "source"):
            return site.create(load_mode, ingestion_mode=way)
        site.change(ingestion_mode=way)
        return site

    return to


@BOTH
def test_what_changed_between_the_last_query_and_the_log_is_read(
    switched: Callable[[str, LoadMode], Site], shop: Database, load_mode: LoadMode
) -> None:
    switched("table", load_mode).run()
    shop.run("INSERT INTO t VALUES (3, 'c')", "UPDATE t SET v = 'x' WHERE id = 1")
    site = switched("log", load_mode)
    assert "history_again" in {note.code for note in site.run().notes}
    assert site.rows("t", "id, v") == [(1, "x"), (2, "b"), (3, "c")]
    shop.run("DELETE FROM t WHERE id = 3")
    site.run()
    gone = [(3, "c")] if load_mode == "merge" else [(3, None)]
    assert site.rows("t", "id, v", deleted=True) == gone


def test_a_log_that_was_not_followed_for_a_while_is_followed_behind_a_new_history(
    switched: Callable[[str, LoadMode], Site], shop: Database
) -> None:
    switched("log", "merge").run()
    assert "log_left" in {note.code for note in switched("table", "merge").run().notes}
    assert "log_left" not in {note.code for note in switched("table", "merge").run().notes}
    shop.run("INSERT INTO t VALUES (3, 'c')")
    site = switched("log", "merge")
    assert "history_again" in {note.code for note in site.run().notes}
    shop.run("INSERT INTO t VALUES (4, 'd')")
    site.run()
    assert site.rows("t", "id") == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize("runs_again", [True, False])
def test_nothing_is_kept_at_the_server_for_a_log_that_is_not_followed_any_more(
    switched: Callable[[str, LoadMode], Site], shop: Database, *, runs_again: bool
) -> None:
    site = switched("log", "merge")
    site.run()
    kept = (
        f"SELECT slot_name::text FROM pg_replication_slots WHERE slot_name LIKE 'millrace_{site.id}%' "
        f"UNION ALL SELECT pubname FROM pg_publication WHERE pubname LIKE 'millrace_{site.id}%'"
    )
    assert len(shop.run(kept)) == 3
    switched("table", "merge")
    if runs_again:
        site.run()
    else:
        site.delete()
    assert shop.run(kept) == []


def test_what_the_server_keeps_for_a_log_that_was_left_and_cannot_be_taken_away_is_told(
    switched: Callable[[str, LoadMode], Site], shop: Database
) -> None:
    site = switched("log", "merge")
    site.run()
    shop.run("DROP ROLE IF EXISTS asker", "CREATE ROLE asker LOGIN PASSWORD 'pw'", "GRANT SELECT ON t TO asker")
    site.change(ingestion_mode="table", db_user="asker", db_password="pw")
    (left,) = (note.message for note in site.run().notes if note.code == "log_left")
    assert "may still be there" in left and f"pg_drop_replication_slot('{site.slots()[0]}')" in left


def test_publications_of_ours_go_where_the_user_brings_one(
    switched: Callable[[str, LoadMode], Site], shop: Database
) -> None:
    site = switched("log", "merge")
    site.run()
    ours = f"SELECT count(*) FROM pg_publication WHERE pubname LIKE 'millrace_{site.id}%'"
    shop.run("INSERT INTO t VALUES (3, 'c')")
    shop.run("CREATE PUBLICATION own FOR TABLE t WITH (publish_via_partition_root = true)")
    try:
        shop.run("INSERT INTO t VALUES (4, 'd')")
        site.change(publication_name="own")
        site.run()
        shop.run("INSERT INTO t VALUES (5, 'e')")
        site.run()
        assert shop.run(ours) == [(0,)]
        site.change(publication_name=None)
        shop.run("INSERT INTO t VALUES (6, 'f')")
        site.run()
        assert site.rows("t", "id") == [(1,), (2,), (3,), (4,), (5,), (6,)] and shop.run(ours) == [(2,)]
    finally:
        shop.run("DROP PUBLICATION own")


def test_rows_of_the_log_are_not_appended_once_more_by_queries(
    switched: Callable[[str, LoadMode], Site], shop: Database
) -> None:
    switched("log", "append").run()
    site = switched("table", "append")
    with pytest.raises(ConfigError, match="otherwise than before") as refused:
        site.run()
    assert refused.value.code == "cannot_tell_apart"
    assert site.rows("t", "id") == [(1,), (2,)]
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    assert site.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_rows_are_not_appended_once_more_in_another_query_mode(
    switched: Callable[[str, LoadMode], Site], shop: Database
) -> None:
    site = switched("table", "append")
    site.run()

    def queried(**mode: Any) -> None:
        object_actions.set_query_mode(site.home, PIPELINE, "public.t", mode)

    queried(mode="incrementing", incrementing_column_name="id")
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    queried(mode="full_load")
    with pytest.raises(ConfigError, match="otherwise than before"):
        site.run()
    queried(mode="incrementing", incrementing_column_name="id")
    shop.run("INSERT INTO t VALUES (3, 'c')")
    site.run()
    assert site.query("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]
