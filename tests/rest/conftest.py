"""A home with people in it, and a real server over it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from tests.control.people import PASSWORD, cheap, joined
from tests.control.sources import Script

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.people import keys as control_keys
from millrace.control.people import teams
from millrace.control.pipeline import simulation
from millrace.control.running import tasks, worker
from millrace.engine import ingest
from millrace.rest.app import Limits, application
from millrace.rest.listening import config

# Nobody of these tests is told to slow down or to wait, but where that is tested.
MANY = Limits(requests_a_minute=1_000_000, failures_a_minute=1_000_000, refusal_s=0.0)


@pytest.fixture(autouse=True)
def nobody_simulates(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of these tests keeps a simulator running, so none is waited for."""
    monkeypatch.setattr(simulation, "PATIENCE_S", 0.0)


@dataclass(frozen=True)
class Keys:
    """Pairs of people with different roles; the stranger is an administrator of another team."""

    admin: tuple[str, str]
    observer: tuple[str, str]
    stranger: tuple[str, str]


@contextmanager
def served(app: FastAPI, *, proxies: Sequence[str] = (), port: int = 0, **more: Any) -> Generator[str]:
    """The application on that port or a free one, by the server that serves it in earnest; its URL. ``more``: settings
    of uvicorn's."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
        server = uvicorn.Server(config(app, "127.0.0.1", 0, proxies=proxies, **more))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def issued(home: Home) -> Keys:
    """Keys of an administrator and an observer of the first team, and of a stranger."""
    joined(home, "admin@example.com", "TEAM_ADMIN")
    joined(home, "observer@example.com", "OBSERVER")
    other = teams.create(home, "others", "stranger@example.org", PASSWORD)
    pairs = [
        control_keys.create(at, email)
        for at, email in (
            (home, "admin@example.com"),
            (home, "observer@example.com"),
            (home.acting(home.actor.of(other.id)), "stranger@example.org"),
        )
    ]
    return Keys(*((pair.key, pair.secret) for pair in pairs))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One for all tests of a file: a server takes longer to start than a test to run."""
    with Home.open(tmp_path_factory.mktemp("rest") / "home", create=True, env={}) as home:
        yield cheap(home)


@pytest.fixture(scope="module")
def keys(home: Home) -> Keys:
    return issued(home)


@pytest.fixture(scope="module")
def app(home: Home) -> FastAPI:
    return application(home, limits=MANY)


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str, keys: Keys) -> Iterator[httpx.Client]:
    """An administrator."""
    with httpx.Client(base_url=url, auth=keys.admin, timeout=30) as client:
        yield client


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"row {number}"} for number in range(first, last)]


@pytest.fixture
def script(home: Home) -> Iterator[Script]:
    """What every source of the tests holds: two streams of two pages."""
    found = Script({"Orders": [rows(0, 5), rows(5, 10)], "Users": [rows(0, 3), rows(3, 4)]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "build_source", found.build)
        patch.setattr(ingest, "FLUSH_SECONDS", 0.0)
        patch.setattr(tasks, "BEAT_S", 0.02)
        yield found


def work(home: Home) -> None:
    """A worker does the next task, which may still be on its way here."""
    until = time.monotonic() + 60
    while (task := tasks.take(home.database, ("HIGH", "NORMAL"))) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    worker.perform(home, task, threading.Event())
