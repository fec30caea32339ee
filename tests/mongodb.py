"""A server that speaks MongoDB's protocol for tests, from the first of: a URL in MILLRACE_TEST_MONGODB (a real
replica set), SecantusDB from PyPI.

SecantusDB has change streams, an oplog, users with roles and TLS, and is one process with data in a temporary folder.
Each test process starts one on a free port; it is gone when the process ends. There is no way to skip it: a test that
asks for it fails where none can be had.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database as MongoDatabase
from pymongo.errors import PyMongoError
from tests.ports import free_port
from tests.postgres import end_with_parent

URL = "MILLRACE_TEST_MONGODB"


@dataclass(frozen=True)
class Deployment:
    """A deployment, and one database of it, as somebody who may do everything."""

    uri: str
    name: str = ""

    def settings(self, **more: Any) -> dict[str, Any]:
        """The configuration of a source that reads this database."""
        return {"connection_string": self.uri, "db_names": [self.name], "connect_timeout_s": 30} | more

    @cached_property
    def client(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(self.uri, serverSelectionTimeoutMS=30_000)

    @property
    def database(self) -> MongoDatabase[dict[str, Any]]:
        return self.client[self.name]


@dataclass
class Server:
    """One SecantusDB with a fresh data folder; ``options`` are of its command line."""

    options: tuple[str, ...] = ()
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="millrace-mongo-")))
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/"

    def start(self, *more: str, **client: Any) -> Server:
        """The server answers on its port. ``client``: how it is asked whether it does."""
        origin()
        words = [
            sys.executable, "-m", "secantus", f"--port={self.port}", f"--storage-path={self.folder / 'data'}",
            "--cache-size=128M", "--log-level=ERROR", *self.options, *more,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/", preexec_fn=end_with_parent)
        until = time.monotonic() + 120
        while True:
            try:
                with MongoClient[dict[str, Any]](self.uri, serverSelectionTimeoutMS=1_000, **client) as asking:
                    asking.admin.command("ping")
                return self
            except PyMongoError as error:
                if time.monotonic() > until or self._process.poll() is not None:
                    text = (self.folder / "log").read_text(errors="replace")
                    self.stop()
                    raise NoServer(f"the server did not start: {error}\n{text}") from error
                time.sleep(0.05)

    def kill(self) -> None:
        """The process ends without a word to anybody."""
        self.end()

    def again(self) -> Server:
        """A server that was killed answers again."""
        return self.start()

    def end(self, *, kindly: bool = False) -> None:
        """The process is gone, at once or when it has put everything in order; its data stay."""
        if self._process is not None:
            if kindly:
                self._process.terminate()
            else:
                self._process.kill()
            self._process.wait(120)
            self._process = None

    def stop(self) -> None:
        """The server and its folder are gone."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class NoServer(Exception):
    """No server can be had on this machine."""


@pytest.fixture(scope="session")
def mongodb() -> Iterator[Deployment]:
    """A deployment that lives as long as the tests do."""
    if uri := os.environ.get(URL):
        yield Deployment(uri)
        return
    server = Server().start()
    try:
        yield Deployment(server.uri)
    finally:
        server.stop()


@pytest.fixture
def mongo(mongodb: Deployment) -> Iterator[Deployment]:
    """A fresh, empty database of its own."""
    fresh = Deployment(mongodb.uri, f"test_{secrets.token_hex(6)}")
    yield fresh
    fresh.client.drop_database(fresh.name)
    fresh.client.close()


def pytest_report_header() -> str:
    """Says which MongoDB the tests will use."""
    if os.environ.get(URL):
        return f"MongoDB: the server named in {URL}"
    try:
        return f"MongoDB: {origin()}"
    except NoServer as error:
        return f"MongoDB: NONE ({error})"


def origin() -> str:
    """Where the server is from. Raises NoServer."""
    try:
        if find_spec("secantus") is not None:
            return f"SecantusDB {version('secantusdb')} from PyPI, started on a free port"
    except PackageNotFoundError:
        pass
    raise NoServer(f"install the package secantusdb, or set {URL} to the URL of a replica set")
