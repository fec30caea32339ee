"""A real MariaDB for tests, from the first of: a URL in MILLRACE_TEST_MYSQL (MySQL or MariaDB), Debian's package.

Each test process starts a server of its own on a free port, with its data in a temporary folder; it is gone when the
process ends. There is no way to skip it: a test that asks for it fails where none can be had.
"""

from __future__ import annotations

import atexit
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
import pytest
from tests import debian
from tests.certificates import Certificates, certificates
from tests.ports import free_port
from tests.postgres import end_with_parent

URL = "MILLRACE_TEST_MYSQL"
SERVER = Path("/usr/sbin/mariadbd")
INSTALLER = Path("/usr/bin/mariadb-install-db")


@dataclass(frozen=True, slots=True)
class Database:
    """How to reach one database, as somebody who may do everything unless said otherwise."""

    host: str
    port: int
    name: str
    user: str
    password: str

    def settings(self, **more: Any) -> dict[str, Any]:
        """The configuration of a MySQL destination or source for this database, without encryption."""
        return {
            "db_host": self.host,
            "db_port": self.port,
            "db_name": self.name,
            "db_user": self.user,
            "db_password": self.password,
            "ssl_mode": "disabled",
        } | more

    def connect(self) -> pymysql.Connection[Any]:
        """A connection of which nothing is kept until it says COMMIT; it ends with its block."""
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=self.name or None,
            charset="utf8mb4", ssl_disabled=True,
        )  # fmt: skip

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs the statements, each a transaction of its own, with names in double quotes; rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        connection = pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=self.name or None,
            charset="utf8mb4", autocommit=True, sql_mode="ANSI_QUOTES,STRICT_ALL_TABLES", ssl_disabled=True,
        )  # fmt: skip
        try:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    rows = [tuple(row) for row in cursor.fetchall()]
        finally:
            connection.close()
        return rows


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Database]:
    """The server without a database, on a server that runs as long as the tests do."""
    if url := os.environ.get(URL):
        parts = urlsplit(url)
        yield Database(
            parts.hostname or "127.0.0.1",
            parts.port or 3306,
            "",
            unquote(parts.username or "root"),
            unquote(parts.password or ""),
        )
        return
    server = Server()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def mysql_database(mariadb: Database) -> Iterator[Database]:
    """A fresh, empty database of its own."""
    fresh = replace(mariadb, name=f"test_{secrets.token_hex(6)}")
    mariadb.run(f'CREATE DATABASE "{fresh.name}"')
    yield fresh
    mariadb.run(f'DROP DATABASE IF EXISTS "{fresh.name}"')


def pytest_report_header() -> str:
    """Says which MySQL or MariaDB the tests will use."""
    if os.environ.get(URL):
        return f"MariaDB: the server named in {URL}"
    try:
        return f"MariaDB: {origin()}"
    except NoServer as error:
        return f"MariaDB: NONE ({error})"


class NoServer(Exception):
    """No MariaDB server can be had on this machine."""


@cache
def origin() -> str:
    """Where the server is from; installs Debian's package when root and it is missing."""
    if not debian.bring("mariadb-server", _installed):
        raise NoServer(f"install Debian's package mariadb-server, or set {URL} to the URL of a server")
    return f"Debian's server {SERVER}, started on a free port"


def _installed() -> bool:
    """Debian's server is there with its user, who comes last: another process may be installing it right now."""
    return SERVER.exists() and INSTALLER.exists() and any(entry.pw_name == "mysql" for entry in pwd.getpwall())


class Server:
    """One MariaDB server with a fresh data folder, TLS with a certificate of the tests', a row-based binary log,
    and no sync to disk."""

    def __init__(self) -> None:
        origin()
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-maria-"))
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._user = "mysql" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._options: list[str] = []

    def start(self, *more: str) -> Database:
        """The server answers on its port. ``more``: options of the server's own."""
        data, first, scratch = self.folder / "data", self.folder / "first.sql", self.folder / "scratch"
        scratch.mkdir()
        keys: Certificates = certificates()
        first.write_text(
            f"CREATE USER 'millrace'@'%' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO 'millrace'@'%' WITH GRANT OPTION;\n"
        )
        tls = [self.folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
        for place, text in zip(tls, (keys.authority, keys.server, keys.server_key), strict=True):
            place.write_bytes(text)
        if self._user:
            owner = pwd.getpwnam(self._user)
            for path in (self.folder, first, scratch, *tls):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._run(
            str(INSTALLER), "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=socket",
            "--skip-test-db",
        )  # fmt: skip
        self._options = [
            "--no-defaults",
            f"--datadir={data}",
            # A server that starts removes what it takes for temporary tables left behind, other servers' too.
            f"--tmpdir={scratch}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--ssl-ca={tls[0]}",
            f"--ssl-cert={tls[1]}",
            f"--ssl-key={tls[2]}",
            "--log-bin=binlog",
            "--binlog-format=ROW",
            "--server-id=1",
            "--sync-binlog=0",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
            "--innodb-buffer-pool-size=128M",
            "--innodb-log-file-size=64M",
            "--skip-name-resolve",
            *more,
        ]
        database = self._launch(f"--init-file={first}")
        atexit.register(self.stop)
        return database

    def restart(self, *more: str, kill: bool = False) -> Database:
        """The server has ended, or was killed, and answers again; its data are there. ``more``: other options."""
        if kill:
            self.kill()
        else:
            assert self._process is not None
            self._process.terminate()
            self._process.wait(60)
        return self._launch(*more)

    def kill(self) -> None:
        """The server ends without a word to anybody."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def again(self) -> Database:
        """A server that was killed answers again."""
        return self._launch()

    def _launch(self, *more: str) -> Database:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen[bytes](
                [str(SERVER), *self._options, *more], stdout=log, stderr=log, cwd="/", preexec_fn=end_with_parent,
                **self._as_user(),
            )  # fmt: skip
        self._wait(self.database)
        return self.database

    @property
    def database(self) -> Database:
        """The server without a database."""
        return Database("127.0.0.1", self.port, "", "millrace", self.password)

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

    def _wait(self, database: Database) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                database.run("SELECT 1")
                return
            except pymysql.Error as error:
                assert self._process is not None
                if time.monotonic() > until or self._process.poll() is not None:
                    text = (self.folder / "log").read_text(errors="replace")
                    self.stop()
                    raise NoServer(f"the server did not start: {error}\n{text}") from error
                time.sleep(0.05)

    def _run(self, *words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, cwd="/", check=False, **self._as_user())
        if done.returncode:
            raise NoServer(f"{words[0]} failed: {done.stdout}{done.stderr}")

    def _as_user(self) -> dict[str, Any]:
        if not self._user:
            return {}
        owner = pwd.getpwnam(self._user)
        return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
