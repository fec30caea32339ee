"""Whatever is written, and wherever a run dies: in the end both sides have the same rows with the same values."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.engine.kit import Killed
from tests.postgres import Database
from tests.sources.postgres.conftest import shop
from tests.sources.postgres.log.site import Site, site
from tests.sources.postgres.log.writer import TABLES, Writer, differences

from millrace.control.ledger import Books
from millrace.destinations.duckdb.destination import Destination
from millrace.engine import ingest as ingesting
from millrace.sources.postgres.log import log as following
from millrace.sources.postgres.log.wire import Wire

__all__ = ["shop", "site"]


def deadly(call: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    """The call, before or behind which the process dies when its number is up."""

    def called(*args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        result = call(*args, **more)
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return result

    return called


def run(site: Site, monkeypatch: pytest.MonkeyPatch, choose: random.Random) -> None:
    """A run that may die at a random place."""
    commits, loads, messages = [choose.randint(1, 12)], [choose.randint(1, 12)], choose.randint(1, 400)
    told = Wire.messages

    def cut(self: Wire, pause_s: float) -> Any:
        for number, message in enumerate(told(self, pause_s)):
            if number == messages:
                raise Killed
            yield message

    with monkeypatch.context() as patch:
        patch.setattr(Books, "commit", deadly(Books.commit, commits))
        patch.setattr(Destination, "load", deadly(Destination.load, loads))
        patch.setattr(Wire, "messages", cut)
        with suppress(Killed):
            site.run()


def killed(site: Site, after_s: float) -> bool:
    """A real process runs the pipeline and is killed; False when it was done before."""
    env = os.environ | {"MILLRACE_HOME": str(site.folder / "home")}
    words = [sys.executable, "-m", "millrace", "run", "followed", "--quiet"]
    process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0), said.decode()
    return process.returncode != 0


def test_both_sides_are_equal_when_real_processes_were_killed(site: Site, shop: Database, kills: int) -> None:
    shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", *TABLES)
    writer, choose = Writer(shop, 3), random.Random(3)
    writer.some(30)
    site.create()
    with writer.beside():
        died = [killed(site, 1.0 + 1.5 * choose.random()) for _ in range(min(kills, 3))]
        site.run()
    site.run()
    assert any(died)
    assert differences(shop, site) == {}


@pytest.mark.spec("pipelines.22.6")
@pytest.mark.parametrize("seed", [1, 2])
def test_both_sides_are_equal_in_the_end(
    site: Site, shop: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    shop.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", *TABLES)
    choose, writer = random.Random(seed), Writer(shop, seed)
    writer.some(30)
    monkeypatch.setattr(following, "ROWS", 50)
    monkeypatch.setattr(following, "CHECKPOINT_S", 0.05)
    monkeypatch.setattr(ingesting, "FLUSH_SECONDS", 0.0)
    site.create()
    with writer.beside():
        for _ in range(5):
            run(site, monkeypatch, choose)
    site.run()
    assert differences(shop, site) == {}
    assert writer.count > 60
