"""What may be wrong with a log or with whoever follows it is told, by its number, and mended by one command."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
from tests.mariadb import Database, Server
from tests.sources.mysql.log.site import Site, database_of, site

from millrace.connect.log import Followed, Following
from millrace.connect.source import Context, Note, Retention, Verdict
from millrace.control.alerting import log_watch
from millrace.control.running import runs
from millrace.data.batch import Checkpoint
from millrace.errors import ConfigError, MillraceError, Transient
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.source import Source

__all__ = ["site"]


@pytest.fixture
def shop(own: Server) -> Iterator[Database]:
    with database_of(own.database) as fresh:
        yield fresh


def finding(database: Database) -> Verdict:
    """The last finding of the test of the connection."""
    return Source(Config(**database.settings(ingestion_mode="log"))).check()[-1]


def refused(site: Site) -> MillraceError:
    with pytest.raises(MillraceError) as raised:
        site.run()
    return raised.value


def recovers(site: Site, shop: Database) -> None:
    """One command mends it."""
    runs.resync(site.home, "followed", mode="drop-and-load")
    shop.run("INSERT INTO pets VALUES (9, 'new')")
    site.run()
    assert site.rows("pets", "id, name") == shop.run("SELECT id, name FROM pets ORDER BY 1")


@pytest.fixture
def following(site: Site, shop: Database) -> Site:
    """A pipeline that follows one table."""
    shop.run("CREATE TABLE pets (id int PRIMARY KEY, name varchar(9))", "INSERT INTO pets VALUES (1, 'a'), (2, 'b')")
    site.create()
    site.run()
    return site


def test_a_log_that_was_begun_anew_is_told_though_it_has_the_same_names(following: Site, shop: Database) -> None:
    ((file, place, *_),) = shop.run("SHOW MASTER STATUS")
    shop.run("SELECT SLEEP(1.1)", "RESET MASTER")
    while shop.run("SHOW MASTER STATUS")[0][:2] < (file, place):
        shop.run(*["INSERT INTO pets VALUES (3, repeat('x', 9))", "DELETE FROM pets WHERE id = 3"] * 20)
        if shop.run("SHOW MASTER STATUS")[0][0] < file:
            shop.run("FLUSH BINARY LOGS")
    assert refused(following).code == "log_expired"
    recovers(following, shop)


def test_a_log_goes_on_in_new_files_and_behind_the_end_of_its_server(
    following: Site, shop: Database, own: Server
) -> None:
    shop.run("INSERT INTO pets VALUES (3, 'c')", "FLUSH BINARY LOGS", "INSERT INTO pets VALUES (4, 'd')")
    own.restart("--innodb-flush-log-at-trx-commit=1")
    shop.run("INSERT INTO pets VALUES (5, 'e')")
    own.restart(kill=True)
    shop.run("DELETE FROM pets WHERE id = 1", "INSERT INTO pets VALUES (6, 'f')")
    record = following.run()
    assert following.rows("pets", "id, name") == shop.run("SELECT id, name FROM pets ORDER BY 1")
    assert record.balance.read == 5


def test_statements_in_the_log_in_place_of_rows_are_1027(following: Site, shop: Database) -> None:
    shop.run("SET GLOBAL binlog_format = 'STATEMENT'")
    try:
        assert "1027" in finding(shop).message
        shop.run("UPDATE pets SET name = 'z'")
    finally:
        shop.run("SET GLOBAL binlog_format = 'ROW'")
    assert refused(following).code == "mysql_1027"
    recovers(following, shop)


def test_a_transaction_that_may_be_taken_back_later_is_told(following: Site, shop: Database) -> None:
    with shop.connect() as connection, connection.cursor() as cursor:
        for sql in ("XA START 'x'", "DELETE FROM pets", "XA END 'x'", "XA PREPARE 'x'"):
            cursor.execute(sql)
        cursor.execute("XA ROLLBACK 'x'")
    shop.run("INSERT INTO pets VALUES (3, 'c')")
    assert refused(following).code == "log_expired"
    recovers(following, shop)
    # Of tables that are not followed it is no matter.
    shop.run("CREATE DATABASE IF NOT EXISTS other", "CREATE TABLE IF NOT EXISTS other.t (id int)")
    with shop.connect() as connection, connection.cursor() as cursor:
        for sql in ("XA START 'y'", "INSERT INTO other.t VALUES (1)", "XA END 'y'", "XA PREPARE 'y'", "XA COMMIT 'y'"):
            cursor.execute(sql)
    assert following.run().balance.read == 0


@pytest.mark.parametrize(
    ("grants", "number"),
    [
        ("SELECT ON *.*", "1012"),
        ("SELECT, BINLOG MONITOR ON *.*", "1012"),
        ("SELECT, REPLICATION SLAVE ON *.*", "1012"),
        ("SELECT, REPLICATION SLAVE, BINLOG MONITOR ON *.*", ""),
    ],
)
def test_a_right_that_is_missing_is_1012(shop: Database, tmp_path: Path, grants: str, number: str) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE USER 'reader'@'%' IDENTIFIED BY 'p'")
    try:
        shop.run(f"GRANT {grants} TO 'reader'@'%'")
        found = finding(replace(shop, user="reader", password="p"))
        assert found.state == ("fail" if number else "pass")
        assert number in found.message
        made = Site(tmp_path, replace(shop, user="reader", password="p")).create()
        if number:
            error = refused(made)
            assert (error.code, "REPLICATION SLAVE" in str(error.hint)) == (f"mysql_{number}", True)
        else:
            made.run()
        made.close()
    finally:
        shop.run("DROP USER 'reader'@'%'")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"db_password": "wrong"}, "mysql_1011"),
        ({"db_user": "nobody_at_all"}, "mysql_1011"),
        ({"db_name": "nowhere"}, "mysql_1026"),
        ({"db_host": "no-such-host.invalid"}, "mysql_1006"),
        ({"db_port": 1}, "mysql_1003"),
        ({"ssl_mode": "verify_identity"}, "mysql_1017"),
    ],
)
def test_a_connection_that_fails_has_its_number(shop: Database, wrong: dict[str, Any], code: str) -> None:
    source = Source(Config(**(shop.settings(ingestion_mode="log") | wrong)))
    with pytest.raises(MillraceError) as raised:
        source.streams()
    assert raised.value.code == code
    assert code.removeprefix("mysql_") in raised.value.message
    found = source.check()[-1]
    assert (found.message, found.hint) == (raised.value.message, raised.value.hint) and found.hint


def test_a_server_that_says_nothing_is_1017(shop: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = shop.settings(ingestion_mode="log", db_port=silent.getsockname()[1], connect_timeout_s=1)
        with pytest.raises(Transient, match="1017") as raised:
            Source(Config(**settings)).streams()
    assert raised.value.code == "mysql_1017" and raised.value.hint


def test_a_server_without_a_log_and_a_database_that_is_not_in_it_are_told(
    own: Server, shop: Database, tmp_path: Path
) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    try:
        own.restart(f"--binlog-ignore-db={shop.name}")
        assert finding(shop).message.startswith(f"Schema '{shop.name}' is not tracked via bin logs")
        with pytest.raises(ConfigError, match="is not tracked") as raised:
            Site(tmp_path / "first", shop).create().run()
        assert raised.value.code == "mysql_not_tracked"
        own.restart("--skip-log-bin")
        assert finding(shop).message.startswith("Failed to determine binlog filename/position")
        with pytest.raises(ConfigError) as raised:
            Site(tmp_path, shop).create().run()
        assert raised.value.code == "mysql_binlog_position"
    finally:
        own.restart()


class Asked(Signal):
    """A wish to stop that comes when it has been asked for so often; never, where that is None."""

    left: int | None = None

    def is_set(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0


def test_how_far_behind_a_log_is_read_is_told_before_the_server_takes_it_away(shop: Database) -> None:
    shop.run("CREATE TABLE pets (id int PRIMARY KEY)")
    (kept,) = shop.run("SELECT @@global.expire_logs_days")
    shop.run("SET GLOBAL expire_logs_days = 1")
    stopping = Asked()
    source = Source(Config(**shop.settings(ingestion_mode="log")), Context(stopping=stopping))
    log = source.log()
    assert log is not None
    try:
        (stream,) = source.streams()
        streams = {stream.name: Followed(stream, "merge")}
        (begun,) = log.follow(Following(streams))
        assert isinstance(begun, Checkpoint)
        assert source.retention() is None
        # Written 20 hours ago, and another one today.
        hours = "SET timestamp = UNIX_TIMESTAMP() - 20 * 3600"
        shop.run(hours, "INSERT INTO pets VALUES (1)", "SET timestamp = DEFAULT", "INSERT INTO pets VALUES (2)")
        # As long as no change was met nobody knows; then it is read up to the first one.
        items, times = [], 0
        while source.retention() is None:
            stopping.left, times = times, times + 1
            items = [*log.follow(Following(streams, begun.cursor))]
        found = source.retention()
        assert isinstance(found, Retention)
        assert found.behind_s is not None
        assert (found.kept_s, round(found.behind_s / 3600)) == (86_400, 20)
        note = log_watch.risk(found)
        assert isinstance(note, Note)
        assert (note.code, note.level) == ("log_retention_risk", "error")
        # Read to its end, there is nothing to lose.
        stopping.left = None
        last = items[-1]
        assert isinstance(last, Checkpoint)
        assert [*log.follow(Following(streams, last.cursor))]
        assert source.retention() == Retention(86_400, 0.0)
        assert log_watch.risk(source.retention()) is None
    finally:
        source.close()
        shop.run(f"SET GLOBAL expire_logs_days = {kept[0]}")
