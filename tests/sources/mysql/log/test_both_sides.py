"""Whatever is written, and wherever a run dies: in the end both sides have the same rows with the same values."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from tests.engine.kit import Killed
from tests.mariadb import Database
from tests.sources.mysql.log.site import Site, shop, site
from tests.sources.mysql.log.writer import TABLES, Writer, differences
from tests.sources.postgres.log.test_both_sides import deadly, killed

from millrace.control.ledger import Books
from millrace.destinations.duckdb.destination import Destination
from millrace.engine import ingest as ingesting
from millrace.sources.mysql.log import reading
from millrace.sources.mysql.log.wire import Dump

__all__ = ["shop", "site"]


def run(site: Site, monkeypatch: pytest.MonkeyPatch, choose: random.Random) -> None:
    """A run that may die at a random place."""
    commits, loads, events = [choose.randint(1, 12)], [choose.randint(1, 12)], choose.randint(1, 400)
    told = Dump.events

    def cut(self: Dump) -> Any:
        for number, event in enumerate(told(self)):
            if number == events:
                raise Killed
            yield event

    with monkeypatch.context() as patch:
        patch.setattr(Books, "commit", deadly(Books.commit, commits))
        patch.setattr(Destination, "load", deadly(Destination.load, loads))
        patch.setattr(Dump, "events", cut)
        with suppress(Killed):
            site.run()


def test_both_sides_are_equal_when_a_real_process_was_killed(site: Site, shop: Database, kills: int) -> None:
    shop.run(*TABLES)
    writer, choose = Writer(shop, 3), random.Random(3)
    writer.some(30)
    site.create()
    with writer.beside():
        for _ in range(min(kills, 3)):
            killed(site, 1.0 + 1.5 * choose.random())
        site.run()
    site.run()
    assert differences(shop, site) == {}


def test_both_sides_are_equal_in_the_end(site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run(*TABLES)
    choose, writer = random.Random(1), Writer(shop, 1)
    writer.some(30)
    monkeypatch.setattr(reading, "EVENTS", 50)
    monkeypatch.setattr(reading, "CHECKPOINT_S", 0.05)
    monkeypatch.setattr(ingesting, "FLUSH_SECONDS", 0.0)
    site.create()
    with writer.beside():
        for _ in range(4):
            run(site, monkeypatch, choose)
    site.run()
    assert differences(shop, site) == {}
    assert writer.count > 60
