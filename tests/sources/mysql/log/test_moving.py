"""The log is read from another place on: one that the server has, and at which nothing is cut in two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
from tests.mariadb import Database
from tests.sources.mysql.log.site import Site, shop, site

from millrace.connect.log import LOG
from millrace.control.pipeline import positions
from millrace.control.running import crews
from millrace.errors import ConfigError, Transient
from millrace.sources.mysql.log import reading

__all__ = ["shop", "site"]


def end(shop: Database) -> tuple[str, int]:
    file, position, *_ = shop.run("SHOW MASTER STATUS")[0]
    return str(file), int(position)


def refused(site: Site, place: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        positions.move_log(site.home, "followed", place)
    assert caught.value.code == "log_position"
    return caught.value


def lose(site: Site, *ids: int) -> None:
    """Rows are gone at the destination, so that one sees which are read again."""
    with duckdb.connect(str(site.folder / "warehouse.duckdb")) as warehouse:
        warehouse.execute(f"DELETE FROM pets WHERE id IN ({', '.join(str(one) for one in ids)})")


def names(site: Site) -> Sequence[Any]:
    return site.rows("pets", "id, name")


def test_changes_are_read_again_from_any_place_that_the_server_has(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE pets (id int PRIMARY KEY, name varchar(9))", "INSERT INTO pets VALUES (1, 'a')")
    site.create()
    site.run()
    shop.run("INSERT INTO pets VALUES (2, 'b')")
    file, before = end(shop)
    # Rows of before and behind have other columns, and the log names none of them.
    shop.run("INSERT INTO pets VALUES (3, 'c')", "ALTER TABLE pets ADD COLUMN kind varchar(9) FIRST")
    _, behind = end(shop)
    shop.run("INSERT INTO pets VALUES ('cat', 4, 'd')")
    site.run()
    every = [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert names(site) == every

    lose(site, 1, 2, 3, 4)
    positions.move_log(site.home, "followed", f"{file}:{before}")
    site.run()
    assert names(site) == [(3, "c"), (4, "d")]

    # Forward: what lies between is passed over, and the columns are known all the same.
    lose(site, 3, 4)
    positions.move_log(site.home, "followed", f"{file}:{before}")
    moved = positions.move_log(site.home, "followed", f"{file}:{behind}")
    assert positions.log_text(positions.of_log(site.home, "followed")) == f"{file}:{behind}"
    assert moved.run is None
    site.run()
    assert names(site) == [(4, "d")]

    # By the number of a transaction: behind it.
    ((number,),) = shop.run(f"SELECT BINLOG_GTID_POS('{file}', {before})")
    lose(site, 4)
    positions.move_log(site.home, "followed", str(number).split(",")[-1])
    assert positions.log_text(positions.of_log(site.home, "followed")) == f"{file}:{before}"
    site.run()
    assert names(site) == [(3, "c"), (4, "d")]


def test_a_walk_of_many_reads_comes_to_the_place_and_a_stopped_one_says_so(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run("CREATE TABLE pets (id int PRIMARY KEY, name varchar(9))")
    site.create()
    site.run()
    shop.run("INSERT INTO pets VALUES (1, 'a')", "INSERT INTO pets VALUES (2, 'b')")
    file, middle = end(shop)
    shop.run("INSERT INTO pets VALUES (3, 'c')")
    _, last = end(shop)
    # Every read is late at once, and ends behind one transaction.
    monkeypatch.setattr(reading, "FOLLOW_S", -1.0)
    positions.move_log(site.home, "followed", f"{file}:{last}")
    known = [one.cursor["position"] for one in positions.history(site.home, "followed", LOG, "incremental")]
    latest, first = known[0], known[-1]
    wanted, newest = (str(shop.run(f"SELECT BINLOG_GTID_POS('{file}', {at})")[0][0]) for at in (middle, last))
    with crews.visit(site.home, "followed") as ours:
        log = ours.source().log()
        assert log is not None
        between = log.moved(wanted, [first])
        assert between["position"] == middle
        # The nearest known place is begun at: the other one cannot be read from.
        assert log.moved(newest, [between, {**first, "made": 1}])["position"] == last
        # Numbers were set back: it is found all the same.
        odd = {**latest, "gtid": f"{wanted.rpartition('-')[0]}-0"}
        assert log.moved(wanted, [odd, first])["position"] == middle
        ours.stopping.set()
        with pytest.raises(Transient, match="stopped") as caught:
            log.moved(f"{file}:{last}", [first])
        assert "within" not in caught.value.message
        with pytest.raises(Transient, match="stopped"):
            log.moved(wanted, [first])


def test_a_place_that_is_none_is_refused_and_nothing_moves(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE pets (id int PRIMARY KEY, name varchar(9))")
    file, first = end(shop)
    site.create()
    site.run()
    shop.run("INSERT INTO pets VALUES (1, 'a')")
    place = positions.of_log(site.home, "followed")["position"]
    events = shop.run(f"SHOW BINLOG EVENTS IN '{file}' FROM {place}")
    within = next(row[4] for row in events if str(row[2]).startswith("Annotate") or row[2] == "Table_map")
    site.run()
    held = positions.of_log(site.home, "followed")
    _, last = end(shop)
    assert "within a transaction" in refused(site, f"{file}:{within}").message
    assert "within" in refused(site, f"{file}:{last - 3}").message
    assert "ends at" in refused(site, f"{file}:{last + 1}").message
    assert "ends at" in refused(site, f"{file}9:4").message
    assert "ends at" in refused(site, "another.000001:4").message
    assert "not known" in refused(site, f"{file}:{first - 1}").message
    assert "no transaction" in refused(site, "9-9-99999").message
    assert "GTID" in str(refused(site, "yesterday").hint)
    server = "3E11FA47-71CA-11E1-9E33-C80AA9429562"
    assert "no transaction" in refused(site, f"{server}:1-77").message
    assert "no order" in refused(site, f"{server}:1-77:tag:1-3").message
    assert positions.of_log(site.home, "followed") == held


def test_changes_that_are_appended_come_again_only_where_somebody_says_so(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE pets (id int PRIMARY KEY, name varchar(9))", "INSERT INTO pets VALUES (1, 'a')")
    site.create("append")
    first = site.run()
    file, before = end(shop)
    shop.run("INSERT INTO pets VALUES (2, 'b')")
    site.run()
    _, read = end(shop)
    for back in (
        lambda: positions.move_log(site.home, "followed", f"{file}:{before}"),
        lambda: positions.back_to(site.home, "followed", first.id),
    ):
        with pytest.raises(ConfigError, match="pets is appended") as caught:
            back()
        assert (caught.value.code, "--append-again" in str(caught.value.hint)) == ("would_double", True)
    assert positions.log_text(positions.of_log(site.home, "followed")) == f"{file}:{read}"
    # Ahead nothing comes again, nor from where the last run ended.
    shop.run("INSERT INTO pets VALUES (3, 'c')")
    _, last = end(shop)
    positions.move_log(site.home, "followed", f"{file}:{last}")
    positions.move_log(site.home, "followed", f"{file}:{read}")
    site.run()
    assert names(site) == [(1, "a"), (2, "b"), (3, "c")]
    positions.move_log(site.home, "followed", f"{file}:{read}", append_again=True)
    site.run()
    assert names(site) == [(1, "a"), (2, "b"), (3, "c"), (3, "c")]


def test_of_tables_without_a_key_changes_do_not_come_again_either(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE pets (id int, name varchar(9))", "INSERT INTO pets VALUES (1, 'a')")
    site.create()
    site.run()
    file, before = end(shop)
    shop.run("INSERT INTO pets VALUES (2, 'b')")
    site.run()
    with pytest.raises(ConfigError, match="pets is appended"):
        positions.move_log(site.home, "followed", f"{file}:{before}")
