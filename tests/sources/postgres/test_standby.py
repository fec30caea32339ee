"""A replica that spares the primary: read by queries as the primary is, and its log where the version has one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import Database, Server, binaries, newer
from tests.sources.postgres.following import Follower, source
from tests.sources.postgres.log.site import Site
from tests.sources.site import PIPELINE

from millrace.connect.sql import libpq
from millrace.control.books.records import RunRecord
from millrace.control.connecting import connections
from millrace.control.running import runs
from millrace.engine.meter import Meter
from millrace.errors import ConfigError, Transient
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.log import history, log, reading
from millrace.sources.postgres.log.log import errors_of
from millrace.sources.postgres.log.wire import Wire

TABLE = (
    "DROP TABLE IF EXISTS orders",
    "CREATE TABLE orders (id bigint PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())",
    "CREATE INDEX ON orders (updated_at)",
    "INSERT INTO orders SELECT g, now() - make_interval(hours => 1, secs => g) FROM generate_series(1, 3000) AS g",
    "ANALYZE orders",
)

# The primary sends nothing of a slot that goes on at a standby which that standby does not have.
AWAITED = ("ALTER SYSTEM SET synchronized_standby_slots = 'standby'", "SELECT pg_reload_conf()")

LOG: dict[str, Any] = {"ingestion_mode": "log", "failover_slot": True}


@pytest.fixture(scope="module")
def replica(shop: Database) -> Iterator[Database]:
    """The module's database as a standby shows it."""
    server = Server(binaries())
    try:
        yield replace(server.follow(shop), name=shop.name)
    finally:
        server.stop()


def caught_up(primary: Database, replica: Database) -> None:
    """The replica shows all that the primary has now."""
    ((at,),) = primary.run("SELECT pg_current_wal_insert_lsn()::text")
    until = time.monotonic() + 60
    while not replica.run(f"SELECT pg_last_wal_replay_lsn() >= '{at}'")[0][0]:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(("mode", "counts"), [(None, [3000, 2, 0]), ("increment_append_only", [3000, 1, 0])])
def test_a_replica_is_read_by_queries_as_the_primary_is(
    shop: Database, replica: Database, mode: str | None, counts: list[int]
) -> None:
    shop.run(*TABLE)
    caught_up(shop, replica)
    with closing(Follower(replica, "public.orders", mode, range_rows=1000)) as one:
        found = [len(one.run())]
        shop.run("INSERT INTO orders VALUES (3001)", "UPDATE orders SET updated_at = now() WHERE id = 7")
        caught_up(shop, replica)
        found += [len(one.run()), len(one.run())]
    assert found == counts


def test_a_replica_that_has_no_log_is_told_with_what_to_do(shop: Database, replica: Database, tmp_path: Path) -> None:
    shop.run(*TABLE)
    caught_up(shop, replica)
    with closing(source(replica, ingestion_mode="log")) as reader:
        found = reader.check()[-1]
    assert (found.step, found.state) == ("log", "fail")
    assert "standby" in found.message
    assert found.hint is not None
    assert "primary" in found.hint
    with closing(Site(tmp_path, replica)) as site:
        site.create(objects={"public.orders": None})
        with pytest.raises(ConfigError, match="standby") as raised:
            site.run()
    assert raised.value.code == "postgres_1012"


def test_the_log_of_a_replica_is_followed_from_version_16_on(tmp_path: Path) -> None:
    programs = newer(16)
    primary, standby, told = Server(programs), Server(programs), threading.Event()
    try:
        shop = primary.start()
        shop.run(*TABLE, "CREATE PUBLICATION mine FOR TABLE orders WITH (publish_via_partition_root = true)")
        replica = standby.follow(shop, hot_standby_feedback="on")
        # A primary at which nothing happens would leave the slot waiting for its next word of open transactions.
        telling = threading.Thread(target=tell, args=(shop, told))
        telling.start()
        with closing(Site(tmp_path, replica)) as site:
            site.create(objects={"public.orders": None}, publication_name="mine")
            assert site.run().balance.loaded == 3000
            shop.run("INSERT INTO orders VALUES (3001)", "DELETE FROM orders WHERE id = 7")
            caught_up(shop, replica)
            assert site.run().balance.read == 2
            assert site.query("SELECT count(*) FROM orders WHERE NOT __hevo__marked_deleted") == [(3000,)]
            assert site.query("SELECT id FROM orders WHERE __hevo__marked_deleted") == [(7,)]
    finally:
        told.set()
        standby.stop()
        primary.stop()


@dataclass(frozen=True)
class Pair:
    """A primary of version 18, and a standby that copies its slots. ``site`` reads 3,000 orders of the primary."""

    primary: Server
    shop: Database
    standby: Server
    replica: Database
    site: Site

    def copied(self) -> None:
        """The standby has a slot of the pipeline that goes on there."""
        (slot,) = self.site.slots()
        until = time.monotonic() + 60
        # The copy counts once the slot has come past what the standby had when it began to copy.
        while not self.replica.run(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{slot}' AND NOT temporary"):
            assert time.monotonic() < until
            self.shop.run("UPDATE orders SET updated_at = now() WHERE id = 1", "SELECT pg_log_standby_snapshot()")
            self.site.run()

    def cut(self) -> None:
        """The standby hears no more of the primary."""
        self.replica.run("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        until = time.monotonic() + 60
        while self.shop.run("SELECT 1 FROM pg_stat_replication WHERE application_name = 'walreceiver'"):
            assert time.monotonic() < until
            time.sleep(0.05)

    def fail(self) -> None:
        """The primary is gone, and the pipeline is led to the standby, which is none yet that could be read."""
        self.primary.kill()
        self.site.server = self.replica
        connections.change(self.site.home, "source", "shop", config=self.replica.settings(**LOG))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    programs = newer(18)
    primary, standby = Server(programs), Server(programs)
    try:
        shop = primary.start()
        shop.run(*TABLE, "SELECT pg_create_physical_replication_slot('standby', true)")
        replica = standby.follow(
            shop, hot_standby_feedback="on", primary_slot_name="standby", sync_replication_slots="on"
        )
        with closing(Site(tmp_path, shop)) as site:
            yield Pair(primary, shop, standby, replica, site)
    finally:
        standby.stop()
        primary.stop()


@pytest.mark.parametrize("when", ["from the beginning", "later"])
def test_a_slot_goes_on_at_a_standby_that_takes_the_place_of_its_primary(pair: Pair, when: str) -> None:
    shop, replica, site = pair.shop, pair.replica, pair.site
    shop.run(*AWAITED)
    site.create(objects={"public.orders": None}, failover_slot=when == "from the beginning")
    assert site.run().balance.loaded == 3000
    if when == "later":
        connections.change(site.home, "source", "shop", config=shop.settings(**LOG))
    shop.run("INSERT INTO orders VALUES (3001)")
    assert site.run().balance.read == 1
    pair.copied()
    shop.run("INSERT INTO orders VALUES (3002)", "DELETE FROM orders WHERE id = 7")
    caught_up(shop, replica)
    pair.fail()
    with pytest.raises(Transient, match="is a standby with a copy"):
        site.run()
    replica.run("SELECT pg_promote()", "INSERT INTO orders VALUES (3003)")
    assert site.run().balance.read == 3
    assert site.query("SELECT count(*) FROM orders WHERE NOT __hevo__marked_deleted") == [(3002,)]
    assert site.query("SELECT id FROM orders WHERE __hevo__marked_deleted") == [(7,)]
    # What comes of the new timeline is followed as what came of the old one.
    replica.run("INSERT INTO orders VALUES (3004)")
    assert site.run().balance.read == 1


def test_a_standby_that_lacks_what_was_read_is_not_followed_however_long_its_log_has_become(pair: Pair) -> None:
    """Its own changes are at places that were read at the primary."""
    shop, replica, site = pair.shop, pair.replica, pair.site
    site.create(objects={"public.orders": None}, failover_slot=True)
    site.run()
    pair.copied()
    caught_up(shop, replica)
    pair.cut()
    shop.run("INSERT INTO orders SELECT g FROM generate_series(10001, 20000) AS g")
    assert site.run().balance.read == 10_000
    ((read_to,),) = shop.run("SELECT pg_current_wal_flush_lsn()::text")
    pair.fail()
    replica.run("SELECT pg_promote()", "INSERT INTO orders VALUES (3003)")
    replica.run("INSERT INTO orders SELECT g FROM generate_series(30001, 60000) AS g")
    assert replica.run(f"SELECT pg_current_wal_flush_lsn() > '{read_to}'") == [(True,)]
    with pytest.raises(ConfigError, match="did not have all that was read") as raised:
        site.run()
    assert raised.value.code == "log_expired"
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    site.run()
    assert site.query("SELECT count(*) FROM orders") == [(33_001,)]


def test_a_standby_that_lacks_what_a_history_has_seen_is_not_followed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history was read behind the place of the log, and the primary went before that was read on."""
    shop, replica, site = pair.shop, pair.replica, pair.site
    shop.run("CREATE TABLE others (id int PRIMARY KEY)")
    site.create(objects={"public.orders": None, "public.others": None}, failover_slot=True)
    site.run()
    pair.copied()
    caught_up(shop, replica)

    def behind_a_change(plan: Any) -> Iterator[Any]:
        pair.cut()
        shop.run("INSERT INTO orders VALUES (4000)")
        yield from read(plan)

    def before_a_failure(followed: log.Log, following: Any) -> Iterator[Any]:
        one = following.streams["public.orders"]
        if one.history and one.history.get("done"):
            pair.fail()
            raise Transient("the primary is gone")
        return follow(followed, following)

    read, follow = history.read, log.Log.follow
    with monkeypatch.context() as patched, pytest.raises(Transient):
        patched.setattr(history, "read", behind_a_change)
        patched.setattr(log.Log, "follow", before_a_failure)
        runs.resync(site.home, PIPELINE, only=["public.orders"])
    assert site.query("SELECT count(*) FROM orders WHERE id = 4000") == [(1,)]
    replica.run("SELECT pg_promote()", "INSERT INTO orders SELECT g FROM generate_series(30001, 60000) AS g")
    with pytest.raises(ConfigError, match="did not have all that was read") as raised:
        site.run()
    assert raised.value.code == "log_expired"
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    site.run()
    assert site.query("SELECT count(*) FROM orders") == [(33_000,)]


def test_a_server_that_cannot_tell_where_its_timeline_began_is_not_followed(pair: Pair) -> None:
    shop, replica, site = pair.shop, pair.replica, pair.site
    site.create(objects={"public.orders": None}, failover_slot=True)
    site.run()
    pair.copied()
    caught_up(shop, replica)
    pair.fail()
    replica.run("SELECT pg_promote()", "INSERT INTO orders VALUES (3003)")
    told = pair.standby.folder / "data" / "pg_wal" / "00000002.history"
    kept = told.rename(told.with_suffix(".kept"))
    with pytest.raises(ConfigError) as raised:
        site.run()
    why = "a server took the place of the one that was followed, and cannot tell whether it had all that was read"
    assert (raised.value.code, raised.value.message) == ("log_expired", f"changes are lost, because {why}")
    assert "millrace resync" in str(raised.value.hint)
    # A reason may be written in any alphabet.
    with kept.open("ab") as history:
        history.write(b"# promu par Andr\xe9\n")
    kept.rename(told)
    assert site.run().balance.read == 1


def test_a_standby_without_which_nothing_is_sent_is_told_and_without_failover_not_awaited(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, site = pair.shop, pair.site
    site.create(objects={"public.orders": None}, failover_slot=True)
    site.run()
    pair.copied()
    shop.run(*AWAITED)
    pair.standby.kill()
    shop.run("INSERT INTO orders VALUES (3001)")
    stopping, meter, ended = threading.Event(), Meter(), list[RunRecord]()
    run = threading.Thread(target=lambda: ended.append(site.run(stopping=stopping, meter=meter)))
    run.start()
    until = time.monotonic() + 60
    while meter.awaiting != "standbys that synchronized_standby_slots names: standby":
        assert time.monotonic() < until
        time.sleep(0.01)
    stopping.set()
    run.join(60)
    assert [(one.status, one.balance.read) for one in ended] == [("CANCELLED", 0)]
    assert "standby_awaited" in site.notes()
    assert meter.awaiting == ""
    # Nor is it awaited for long.
    monkeypatch.setattr(reading, "AWAITED_S", 5.0)
    stopping, meter = threading.Event(), Meter()
    late = threading.Timer(60, stopping.set)
    late.start()
    record = site.run(stopping=stopping, meter=meter)
    late.cancel()
    assert (record.status, record.balance.read, meter.awaiting) == ("COMPLETED", 0, "")
    assert "standby_awaited" in site.notes()
    connections.change(site.home, "source", "shop", config=shop.settings(ingestion_mode="log", failover_slot=False))
    assert site.run().balance.read == 1
    assert "standby_awaited" not in site.notes()
    assert shop.run("SELECT failover FROM pg_replication_slots WHERE slot_name LIKE 'millrace%'") == [(False,)]


def test_a_slot_goes_on_at_a_standby_until_somebody_says_that_it_shall_not(tmp_path: Path) -> None:
    primary = Server(newer(18))
    try:
        shop = primary.start()
        shop.run(*TABLE)
        with closing(Site(tmp_path, shop)) as site:
            site.create(objects={"public.orders": None})

            def goes_on(**said: bool) -> bool:
                connections.change(site.home, "source", "shop", config=shop.settings(ingestion_mode="log", **said))
                site.run()
                ((found,),) = shop.run("SELECT failover FROM pg_replication_slots WHERE slot_name LIKE 'millrace%'")
                return found

            assert not goes_on()
            assert goes_on(failover_slot=True)
            assert goes_on()
            # Also a slot that takes the place of one that was lost to whoever reads it.
            runs.resync(site.home, PIPELINE, mode="drop-and-load")
            assert goes_on()
            assert not goes_on(failover_slot=False)
            assert site.query("SELECT count(*) FROM orders") == [(3000,)]
    finally:
        primary.stop()


def test_a_slot_that_somebody_reads_is_waited_for_a_while_and_until_the_run_shall_stop(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server tells a slot that it goes on at a standby once nobody reads from it."""
    shop, site = pair.shop, pair.site
    site.create(objects={"public.orders": None})
    site.run()
    (slot,) = site.slots()
    config = Config(**shop.settings(**LOG))
    connections.change(site.home, "source", "shop", config=shop.settings(**LOG))
    with closing(Wire(libpq.uri(config), errors_of(config))) as reader:
        reader.start(slot, 0, {"proto_version": "1", "publication_names": slot})
        stopping, meter, ended = threading.Event(), Meter(), list[str]()
        run = threading.Thread(target=lambda: ended.append(site.run(stopping=stopping, meter=meter).status))
        run.start()
        until = time.monotonic() + 60
        while "whoever reads from the replication slot" not in meter.awaiting:
            assert time.monotonic() < until
            time.sleep(0.01)
        stopping.set()
        run.join(60)
        assert ended == ["CANCELLED"]
        monkeypatch.setattr(log, "_SLOT_WAIT_S", 0.5)
        with pytest.raises(Transient, match="waits for whoever reads from the replication slot"):
            site.run()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'ALTER_REPLICATION_SLOT%' AND state = 'active'"
        while shop.run(waiting):
            assert time.monotonic() < until
            time.sleep(0.01)
    monkeypatch.undo()
    site.run()
    assert shop.run("SELECT failover FROM pg_replication_slots WHERE slot_name LIKE 'millrace%'") == [(True,)]


def test_a_slot_that_cannot_go_on_at_a_standby_is_told_in_front(shop: Database, tmp_path: Path) -> None:
    """Of versions before 17, as Debian's."""
    shop.run(*TABLE)
    with closing(source(shop, **LOG)) as reader:
        found = reader.check()[-1]
    assert (found.step, found.state) == ("log", "fail")
    with closing(Site(tmp_path, shop)) as site:
        site.create(objects={"public.orders": None}, failover_slot=True)
        with pytest.raises(ConfigError, match="cannot go on at a standby") as raised:
            site.run()
        assert (raised.value.code, raised.value.path) == ("no_failover", "failover_slot")
        assert site.slots() == []


def tell(primary: Database, until: threading.Event) -> None:
    while not until.wait(0.3):
        primary.run("SELECT pg_log_standby_snapshot()")
