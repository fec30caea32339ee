"""Millrace, the database that it follows, or the connection between them ends, while somebody writes; in the end both
sides have the same rows with the same values (I8)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import pytest
from tests.crash import grounds
from tests.crash.grounds import Ground
from tests.proxy import Action, Pair, Proxy
from tests.sources.site import PIPELINE

from millrace.control.running import runs
from millrace.errors import MillraceError

# A cut is within a message, of which the rest never comes.
Effect: TypeAlias = Literal["cut", "reset", "delay", "server killed", "process killed"]

# Transactions before each run, beside those while it goes on; at first thrice as many, so that every table has rows.
BEFORE = 15
# In every test run, once each; the death of a process is among the tests of each source. By `make crash` all of them,
# at so many points of a run.
FEW: tuple[Effect, ...] = ("cut", "server killed")
MANY = 12


# The laws of logs kill runs of each system; a server and a connection that end are met by the engine as one.
LONG = pytest.mark.long("PostgreSQL is tried, and whatever system it is, what ends is met by the engine")


@pytest.fixture(
    params=[
        pytest.param(make, id=make.__name__, marks=LONG if number else ()) for number, make in enumerate(grounds.ALL)
    ]
)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A server of its own, whose end is survived by what it has said to be written."""
    made: Ground = request.param(tmp_path)
    try:
        # The kernel ends the server with the thread that began it.
        threading.Thread(target=made.watch, daemon=True).start()
        yield made
        made.site.close()
    finally:
        made.stop()


@pytest.fixture
def proxy(ground: Ground) -> Iterator[Proxy]:
    made = Proxy(ground.server.port)
    yield made
    made.close()


def in_process(site: Any, *, fresh: bool) -> None:
    """A run, or one that reads every history anew. What it says of the connection is one of our errors."""
    with suppress(MillraceError):
        if fresh:
            runs.resync(site.home, PIPELINE, mode="drop-and-load")
        else:
            site.run()


def killed(site: Any, started: Callable[[subprocess.Popen[bytes]], None], *, fresh: bool) -> None:
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


def wait_for(writer: Any) -> None:
    """It has written somewhat more."""
    wanted, until = writer.count + BEFORE, time.monotonic() + 120
    while writer.count < wanted:
        assert time.monotonic() < until
        time.sleep(0.01)


def disturbed(ground: Ground, proxy: Proxy, effect: Effect, point: int, *, fresh: bool) -> None:
    """A run to which that happens at that byte of its connections."""
    process: list[subprocess.Popen[bytes]] = []
    actions: dict[Effect, Action] = {
        "cut": Pair.cut,
        "reset": Pair.reset,
        "delay": Pair.delay,
        "server killed": lambda _: ground.kill(),
        "process killed": lambda _: process[0].kill(),
    }
    with proxy.at(point, actions[effect]):
        if effect == "process killed":
            killed(ground.site, process.append, fresh=fresh)
        else:
            in_process(ground.site, fresh=fresh)
    assert ground.back.wait(120)


@pytest.mark.timeout(1800)
def test_both_sides_are_equal_whatever_ended_and_wherever(
    ground: Ground, proxy: Proxy, every_point: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*ground.batch, 20)
    site, writer = ground.site, ground.writer
    site.create(**ground.through(proxy.port))

    # How much comes over the wire when nothing happens to it: with histories, and without.
    measured: dict[bool, int] = {}
    for fresh in (True, False):
        writer.some(3 * BEFORE)
        with proxy.at(1 << 60, Pair.cut):
            site.run()
        measured[fresh] = proxy.passed
    assert ground.differences() == {}
    effects: Sequence[Effect] = get_args(Effect) * MANY if every_point else FEW
    number = 0
    with writer.beside(patient=True):
        for number, effect in enumerate(effects, 1):
            fresh = number % 2 == 0
            wait_for(writer)
            # Somewhat before the end, and never twice the same share.
            point = int(measured[fresh] * (0.1 + 0.85 * ((number * 0.618) % 1.0)))
            disturbed(ground, proxy, effect, max(point, 1), fresh=fresh)
    assert proxy.done >= number // 2
    site.run()
    site.run()
    assert ground.differences() == {}
