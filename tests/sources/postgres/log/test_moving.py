"""The log is read from another LSN on, as far as the server keeps it for the slot."""

from __future__ import annotations

import pytest
from tests.postgres import Database
from tests.sources.postgres.conftest import shop
from tests.sources.postgres.log.site import Site, site

from millrace.control.pipeline import object_actions, positions
from millrace.errors import ConfigError

__all__ = ["shop", "site"]


def refused(site: Site, place: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        positions.move_log(site.home, "followed", place)
    assert caught.value.code == "log_position"
    return caught.value


def test_changes_are_passed_over_up_to_an_lsn_and_what_is_forgotten_is_refused(site: Site, shop: Database) -> None:
    shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "CREATE TABLE t (id int PRIMARY KEY)")
    site.create()
    site.run()
    held = positions.log_text(positions.of_log(site.home, "followed"))
    shop.run("INSERT INTO t VALUES (1)")
    ((between,),) = shop.run("SELECT pg_current_wal_insert_lsn()::text")
    shop.run("INSERT INTO t VALUES (2)")

    assert "it is no LSN" in refused(site, "yesterday").message
    assert "the log ends at" in refused(site, "FFFFFFFF/0").message
    assert "keeps its log from" in refused(site, "0/1").message
    assert positions.log_text(positions.of_log(site.home, "followed")) == held

    positions.move_log(site.home, "followed", between.lower())
    assert positions.log_text(positions.of_log(site.home, "followed")) == between
    # Nothing was confirmed yet, so that the way back is open.
    positions.move_log(site.home, "followed", held)
    positions.move_log(site.home, "followed", between)
    site.run()
    assert site.rows("t", "id, 0") == [(2, 0)]
    assert "durable" in refused(site, between).message

    # So is the way back to an earlier run.
    with pytest.raises(ConfigError, match="durable"):
        positions.back_to(site.home, "followed", 1)

    with pytest.raises(ConfigError) as caught:
        object_actions.change_position(site.home, "followed", "public.t", "incremental", None)
    assert (caught.value.code, "log-position followed --set" in str(caught.value.hint)) == ("log_based", True)
