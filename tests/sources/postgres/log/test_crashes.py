"""The server ends without a word between a history and the changes behind it: what it showed, and did not have on its
disk, is gone, and numbers of transactions come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import Database, Server, binaries
from tests.proxy import Pair, Proxy
from tests.sources.postgres.log.site import Site

from millrace.connect.sql import libpq
from millrace.errors import MillraceError, Transient
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.log import history, snapshots
from millrace.sources.postgres.log.log import Log, errors_of_log
from millrace.sources.postgres.log.reading import Read
from millrace.sources.postgres.log.wire import Wire

ASKED = "SELECT id, name FROM pets ORDER BY id"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that brings nothing to its disk for which nobody waits, until it is killed."""
    made = Server(binaries())
    try:
        made.start(wal_writer_delay="10s", synchronous_commit="on", autovacuum="off")
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("mode", ["merge", "append"])
@pytest.mark.parametrize("taken_back", [True, False], ids=["taken back", "not waited for"])
def test_what_a_history_has_seen_is_not_taken_back_by_a_crash(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any, taken_back: bool
) -> None:
    shop = server.database
    shop.run("CREATE TABLE pets (id int PRIMARY KEY, name text)", "INSERT INTO pets VALUES (1, 'Rex')")

    def behind_a_change(plan: Any) -> Iterator[Any]:
        with shop.connect() as connection, connection.transaction(force_rollback=taken_back):
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute("UPDATE pets SET name = 'Tom'")
        yield from read(plan)

    def before_a_crash(log: Log, following: Any) -> Iterator[Any]:
        if following.cursor is not None:
            server.kill()
        return follow(log, following)

    read, follow = history.read, Log.follow
    with closing(Site(tmp_path, shop)) as site:
        site.create(mode)
        with monkeypatch.context() as patched, suppress(MillraceError):
            patched.setattr(history, "read", behind_a_change)
            patched.setattr(Log, "follow", before_a_crash)
            site.run()
        server.again()
        history_read = [name for _, name in site.rows("pets", "id, name")]
        # Nobody wrote meanwhile: a number that the server has forgotten is given again.
        shop.run("UPDATE pets SET name = name || '!'", "INSERT INTO pets VALUES (2, 'Bob')")
        assert history_read == ["Rex" if taken_back else "Tom"]
        site.run()
        wanted = shop.run(ASKED)
        if mode == "append":
            wanted = sorted([(1, *history_read), *wanted])
        assert site.rows("pets", "id, name") == wanted


def test_a_value_that_was_asked_for_is_not_taken_back_by_a_crash(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = server.database
    shop.run(
        "CREATE TABLE docs (id int PRIMARY KEY, body text)",
        "ALTER TABLE docs ALTER body SET STORAGE EXTERNAL",
        "INSERT INTO docs VALUES (1, repeat('a', 5000))",
    )

    def behind_a_change(read: Read, *asked: Any) -> Any:
        shop.run("SET synchronous_commit = off", "UPDATE docs SET body = repeat('b', 5000)")
        return present(read, *asked)

    present = Read._present  # pyright: ignore[reportPrivateUsage]
    with closing(Site(tmp_path, shop)) as site:
        site.create()
        site.run()
        shop.run("UPDATE docs SET id = 2")
        with monkeypatch.context() as patched:
            patched.setattr(Read, "_present", behind_a_change)
            site.run()
        assert site.rows("docs", "id, left(body, 1)") == [(2, "b")]
        server.kill()
        server.again()
        site.run()
        assert site.rows("docs", "id, left(body, 1)") == shop.run("SELECT id, left(body, 1) FROM docs")


def test_a_server_that_goes_while_it_is_asked_is_waited_for(postgres: Database) -> None:
    proxy = Proxy(postgres.port)
    config = Config(**replace(postgres, port=proxy.port).settings())
    with closing(proxy), closing(Wire(libpq.uri(config), errors_of_log(config))) as wire:
        assert wire.ask("SHOW server_version_num")
        with proxy.at(1, Pair.cut), pytest.raises(Transient):
            wire.ask("IDENTIFY_SYSTEM")


def test_behind_the_head_of_a_new_file_of_the_log_nothing_is_missing_from_the_disk(server: Server) -> None:
    with server.database.connect() as connection:
        connection.execute("SELECT pg_switch_wal()")
        ((end, missing, *_),) = connection.execute(snapshots.END).fetchall()
        ((at, behind),) = connection.execute(
            "SELECT %s::pg_lsn - '0/0', pg_current_wal_insert_lsn() - %s", (end, end)
        ).fetchall()
    assert not missing and (at % (1 << 24), behind) == (0, 40), "the log stands right behind the head of a new file"
