"""Millrace, the PostgreSQL that it follows, or the connection between them ends, while somebody writes; in the end
both sides have the same rows with the same values (I8)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import pytest
from tests.postgres import Server, binaries
from tests.proxy import Action, Pair, Proxy
from tests.sources.postgres.log.site import PIPELINE, Site
from tests.sources.postgres.log.writer import TABLES, Writer, differences

from millrace.control import runs
from millrace.errors import MillraceError
from millrace.sources.postgres.log import log as following

Effect: TypeAlias = Literal["cut", "reset", "delay", "server killed", "process killed"]

# Transactions before each run, beside those while it goes on; at first thrice as many, so that every table has rows.
BEFORE = 15
# Points of a run for each effect: in every test run, and by `make crash`.
FEW, MANY = 1, 12


@dataclass
class Mortal:
    """A server that loses nothing when its processes are killed, and comes back by itself then."""

    server: Server
    dead: threading.Event = field(default_factory=threading.Event)
    back: threading.Event = field(default_factory=threading.Event)
    over: bool = False

    def kill(self, _: Pair) -> None:
        self.server.kill()
        self.back.clear()
        self.dead.set()

    def watch(self) -> None:
        """To be called in a thread that lives as long as the server does: the kernel ends the one with the other."""
        while self.dead.wait() and not self.over:
            self.dead.clear()
            self.server.again()
            self.back.set()


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    made = Mortal(Server(binaries()))
    made.back.set()
    try:
        made.server.start(synchronous_commit="on")
        threading.Thread(target=made.watch, daemon=True).start()
        yield made
        made.over = True
        made.dead.set()
    finally:
        made.server.stop()


@pytest.fixture
def server(mortal: Mortal) -> Server:
    return mortal.server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: Path, server: Server) -> Iterator[Site]:
    database = server.database
    database.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", *TABLES)
    made = Site(tmp_path, database)
    yield made
    made.close()


def in_process(site: Site, *, fresh: bool) -> None:
    """A run, or one that reads every history anew. What it says of the connection is one of our errors."""
    with suppress(MillraceError):
        if fresh:
            runs.resync(site.home, PIPELINE, mode="drop-and-load")
        else:
            site.run()


def killed(site: Site, started: Callable[[subprocess.Popen[bytes]], None], *, fresh: bool) -> None:
    """The same by a real process, which may be killed."""
    words = ["resync", PIPELINE, "--mode", "drop-and-load", "--quiet"] if fresh else ["run", PIPELINE, "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "millrace", *words],
        env=os.environ | {"MILLRACE_HOME": str(site.folder / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    started(process)
    _, said = process.communicate()
    assert process.returncode in (-9, 0), said.decode()


def wait_for(writer: Writer) -> None:
    """It has written somewhat more."""
    wanted, until = writer.count + BEFORE, time.monotonic() + 120
    while writer.count < wanted:
        assert time.monotonic() < until
        time.sleep(0.01)


def disturbed(site: Site, mortal: Mortal, proxy: Proxy, effect: Effect, point: int, *, fresh: bool) -> None:
    """A run to which that happens at that byte of its connections."""
    process: list[subprocess.Popen[bytes]] = []
    actions: dict[Effect, Action] = {
        "cut": Pair.cut,
        "reset": Pair.reset,
        "delay": Pair.delay,
        "server killed": mortal.kill,
        "process killed": lambda _: process[0].kill(),
    }
    with proxy.at(point, actions[effect]):
        if effect == "process killed":
            killed(site, process.append, fresh=fresh)
        else:
            in_process(site, fresh=fresh)
    assert mortal.back.wait(120)


@pytest.mark.timeout(1800)
def test_both_sides_are_equal_whatever_ended_and_wherever(
    site: Site, mortal: Mortal, proxy: Proxy, every_point: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "ROWS", 20)
    database = mortal.server.database
    writer = Writer(database, 5)
    site.create(db_port=proxy.port)

    # How much comes over the wire when nothing happens to it: with histories, and without.
    measured: dict[bool, int] = {}
    for fresh in (True, False):
        with database.connect() as connection:
            for _ in range(3 * BEFORE):
                writer.transaction(connection)
        with proxy.at(1 << 60, Pair.cut):
            site.run()
        measured[fresh] = proxy.passed
    assert differences(database, site) == {}
    points = MANY if every_point else FEW
    number = 0
    with writer.beside(patient=True):
        for _ in range(points):
            for effect in get_args(Effect):
                number += 1
                fresh = number % 2 == 0
                wait_for(writer)
                # Somewhat before the end, and never twice the same share.
                point = int(measured[fresh] * (0.1 + 0.85 * ((number * 0.618) % 1.0)))
                disturbed(site, mortal, proxy, effect, max(point, 1), fresh=fresh)
    assert proxy.done >= number // 2
    site.run()
    site.run()
    assert differences(database, site) == {}
