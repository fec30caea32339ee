"""A home with people in it, and a real server over it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from millrace.control.actors import EVERYTHING, FIRST_TEAM, Actor
from millrace.control.home import Home
from millrace.errors import AuthError
from millrace.rest.app import Limits, application
from millrace.rest.listening import config

# Nobody of these tests is told to slow down, but where that is tested.
MANY = Limits(requests_a_minute=1_000_000, failures_a_minute=1_000_000)

KEYS = {
    ("admin", "s3cret"): Actor("key", "admin@example.com", FIRST_TEAM, "u-1", EVERYTHING),
    ("observer", "s3cret"): Actor("key", "observer@example.com", FIRST_TEAM, "u-2", frozenset({"view"})),
    ("stranger", "s3cret"): Actor("key", "stranger@example.com", "another-team", "u-3", EVERYTHING),
}


def by_table(home: Home, key: str, secret: str) -> Actor:
    if (key, secret) not in KEYS:
        raise AuthError("there is no such key")
    return KEYS[key, secret]


@contextmanager
def served(app: FastAPI) -> Generator[str]:
    """The application on a free port, by the server that serves it in earnest; its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        server = uvicorn.Server(config(app, "127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One for all tests of a file: a server takes longer to start than a test to run."""
    with Home.open(tmp_path_factory.mktemp("rest") / "home", create=True, env={}) as home:
        yield home


@pytest.fixture(scope="module")
def app(home: Home) -> FastAPI:
    return application(home, limits=MANY, authenticate=by_table)


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    """An administrator."""
    with httpx.Client(base_url=url, auth=("admin", "s3cret"), timeout=30) as client:
        yield client
