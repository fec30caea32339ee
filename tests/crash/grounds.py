"""The databases whose logs are followed while everything ends: each with a writer, and the comparison of both sides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from tests import mariadb as maria
from tests import mongodb as documents
from tests import postgres as servers
from tests.sources.mongodb import site as mongo_site
from tests.sources.mongodb import writer as mongo_writer
from tests.sources.mysql.log import site as mysql_site
from tests.sources.mysql.log import writer as mysql_writer
from tests.sources.postgres.log import site as postgres_site
from tests.sources.postgres.log import writer as postgres_writer

from millrace.sources.mongodb import log as mongo_log
from millrace.sources.mysql.log import reading as mysql_log
from millrace.sources.postgres.log import reading as postgres_reading


class Server(Protocol):
    """A server that loses nothing when its processes are killed."""

    port: int

    def kill(self) -> None: ...

    def again(self) -> Any: ...

    def stop(self) -> None: ...


@dataclass
class Ground:
    """A server that comes back by itself when it was killed, a pipeline that follows it, and somebody who writes.

    ``through``: settings with which the source is reached by another port of this machine. ``differences``: what the
    sides do not have in common. ``batch``: the module and the name of how many changes are handed on together.
    """

    server: Server
    site: Any
    writer: Any
    through: Callable[[int], dict[str, Any]]
    differences: Callable[[], dict[str, Any]]
    batch: tuple[ModuleType, str]
    close: Callable[[], object] = lambda: None
    dead: threading.Event = field(default_factory=threading.Event)
    back: threading.Event = field(default_factory=threading.Event)
    over: bool = False

    def __post_init__(self) -> None:
        self.back.set()

    def kill(self) -> None:
        self.server.kill()
        self.back.clear()
        self.dead.set()

    def watch(self) -> None:
        """To be called in a thread that lives as long as the server does: the kernel ends the one with the other."""
        while self.dead.wait() and not self.over:
            self.dead.clear()
            self.server.again()
            self.back.set()

    def stop(self) -> None:
        self.over = True
        self.dead.set()
        self.close()
        self.server.stop()


def _by_port(port: int) -> dict[str, Any]:
    return {"db_port": port}


def postgres(folder: Path) -> Ground:
    server = servers.Server(servers.binaries())
    database = server.start(synchronous_commit="on")
    database.run(*postgres_writer.TABLES)
    site = postgres_site.Site(folder, database)
    return Ground(
        server,
        site,
        postgres_writer.Writer(database, 5),
        _by_port,
        lambda: postgres_writer.differences(database, site),
        (postgres_reading, "ROWS"),
    )


def mysql(folder: Path) -> Ground:
    server = maria.Server()
    whole = server.start("--innodb-flush-log-at-trx-commit=2")
    whole.run("CREATE DATABASE shop")
    database = replace(whole, name="shop")
    database.run(*mysql_writer.TABLES)
    site = mysql_site.Site(folder, database)
    return Ground(
        server,
        site,
        mysql_writer.Writer(database, 5),
        _by_port,
        lambda: mysql_writer.differences(database, site),
        (mysql_log, "EVENTS"),
    )


def mongodb(folder: Path) -> Ground:
    server = documents.Server(("--sync-on-commit",)).start()
    deployment = documents.Deployment(server.uri, "shop")
    site = mongo_site.Site(folder, deployment)
    return Ground(
        server,
        site,
        mongo_writer.Writer(deployment, 5),
        lambda port: {"connection_string": f"mongodb://127.0.0.1:{port}/?directConnection=true"},
        lambda: mongo_writer.differences(deployment, site),
        (mongo_log, "ROWS"),
        deployment.client.close,
    )


ALL: Sequence[Callable[[Path], Ground]] = (postgres, mysql, mongodb)
