"""`kill -9` of everything while systems send: what was answered with 200 is there, once (I8)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import httpx
import pytest

from millrace.control.books.leases import AlreadyRunning
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import hooks, intakes, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs

SENDERS = 4
SOON_S = 60.0


@dataclass
class Sender:
    """Sends numbered events, one after the other. What is not answered it sends again with the same id, or, without
    ids, leaves: nobody knows of it then."""

    name: str
    with_ids: bool
    kept: list[str] = field(default_factory=list[str])
    unknown: list[str] = field(default_factory=list[str])

    def send(self, where: list[str], stopping: threading.Event) -> None:
        number = 0
        with httpx.Client(timeout=5) as client:
            while not stopping.is_set():
                event = f"{self.name}-{number}"
                headers = {"Idempotency-Key": event} if self.with_ids else {}
                try:
                    kept = client.post(where[0], json={"event": event}, headers=headers).status_code == 200
                except httpx.TransportError:
                    kept = False
                    time.sleep(0.1)
                if kept:
                    self.kept.append(event)
                elif self.with_ids:
                    continue
                else:
                    self.unknown.append(event)
                number += 1


@contextmanager
def serving(home: Path, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The service with its workers in a group of their own, and its address."""
    command = [sys.executable, "-m", "millrace", "serve", "--port", "0", "--workers", "1"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=os.environ | {"MILLRACE_HOME": str(home)},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + SOON_S
        while (found := re.search(r"http://[\d.:]+", log.read_text())) is None:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield server, found[0]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.timeout(1200)
def test_whatever_is_killed_what_was_accepted_is_there_once(tmp_path: Path, kills: int) -> None:
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        connections.create(home, "source", "hook", "webhook", {})
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
        pipelines.create(home, Wish("p", "hook", "warehouse", load_mode="append"))
        path = hooks.rotate(home, "p").path
    senders = [Sender(f"s{n}", with_ids=n % 2 == 0) for n in range(SENDERS)]
    where, stopping = ["http://127.0.0.1:1"], threading.Event()
    threads = [threading.Thread(target=one.send, args=(where, stopping)) for one in senders]
    for one in threads:
        one.start()
    try:
        for number in range(max(2, kills - 1)):
            with serving(tmp_path / "home", tmp_path / f"log{number}") as (_, address):
                where[0] = address + path
                before = [len(one.kept) for one in senders]
                deadline = time.monotonic() + SOON_S
                # Until each was heard, and, every other time, until a run is at work or was.
                while any(len(one.kept) < had + 20 for one, had in zip(senders, before, strict=True)) or (
                    number % 2 and not _has_run(tmp_path / "home")
                ):
                    assert time.monotonic() < deadline, (tmp_path / f"log{number}").read_text()
                    time.sleep(0.2)
    finally:
        stopping.set()
        for one in threads:
            one.join()
    with Home.open(tmp_path / "home") as home:
        _run(home)
        runs.run(home, "p")
        assert not intakes.place(home).files(pipelines.find(home, "p").id)
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
        found = Counter(row for (row,) in connection.execute("SELECT event FROM events").fetchall())
    for one in senders:
        assert {event: found[event] for event in one.kept} == dict.fromkeys(one.kept, 1)
        assert all(found[event] <= 1 for event in one.unknown)
    sent = {event for one in senders for event in (*one.kept, *one.unknown)}
    # The last event of a sender with ids may have been kept though nobody heard that.
    assert len(found.keys() - sent) <= SENDERS
    assert set(found.values()) == {1}


def _run(home: Home) -> None:
    """Everything is loaded, as soon as the worker that was killed last is gone."""
    deadline = time.monotonic() + SOON_S
    while True:
        try:
            runs.run(home, "p")
            return
        except AlreadyRunning:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _has_run(path: Path) -> bool:
    with Home.open(path) as home:
        return pipelines.has_history(home, "p")
