"""Real servers behind the loopback address of IPv6. Where a machine has no IPv6, it is told that nobody is reached."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.mariadb import Database as MariaDB
from tests.mongodb import Deployment
from tests.postgres import Database as PostgreSQL
from tests.proxy import Proxy
from tests.sshd import SshServer, ssh_server

from millrace.connect import registry
from millrace.connect.destination import Destination
from millrace.connect.http.client import Client
from millrace.connect.source import Source
from millrace.errors import Transient

__all__ = ["ssh_server"]


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


Door = Callable[[int], int]


@pytest.fixture
def door() -> Iterator[Door]:
    """A port of ::1 behind which is a port of 127.0.0.1; where there is no IPv6, one at which nobody is."""
    proxies: list[Proxy] = []

    def made(port: int) -> int:
        if not has_ipv6():
            return port
        proxies.append(Proxy(port, "::1"))
        return proxies[-1].port

    yield made
    for proxy in proxies:
        proxy.close()


def judge(found: Source[Any] | Destination[Any]) -> None:
    """The test of the connection passes where the machine has IPv6, and fails at the connection where it has not."""
    with closing(found):
        states = [(one.state, one.message) for one in found.check()]
    if has_ipv6():
        assert states
        assert {state for state, _ in states} <= {"pass", "warn"}, states
    else:
        assert states[-1][0] == "fail", states


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_postgresql_is_read_and_loaded_through_ipv6(host: str, database: PostgreSQL, door: Door) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    settings = database.settings(db_host=host, db_port=door(database.port))
    judge(source("postgres", settings | {"ingestion_mode": "log"}))
    judge(destination("postgres", settings))


def test_mariadb_is_read_and_loaded_through_ipv6(mysql_database: MariaDB, door: Door) -> None:
    mysql_database.run("CREATE TABLE t (id int PRIMARY KEY)")
    settings = mysql_database.settings(db_host="::1", db_port=door(mysql_database.port))
    judge(source("mysql", settings | {"ingestion_mode": "log"}))
    judge(destination("mysql", settings))


def test_mongodb_is_read_through_ipv6(mongo: Deployment, door: Door) -> None:
    mongo.database["t"].insert_one({"_id": 1})
    port = mongo.client.address
    assert port is not None
    uri = f"mongodb://[::1]:{door(port[1])}/?directConnection=true"
    judge(source("mongodb", mongo.settings(connection_string=uri, connect_timeout_s=5)))


def test_a_tunnel_goes_through_ipv6(database: PostgreSQL, ssh_server: SshServer, door: Door) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    through = ssh_server.settings() | {"ssh_host": "::1", "ssh_port": door(ssh_server.port)}
    judge(source("postgres", database.settings(**through)))


def test_http_goes_through_ipv6(door: Door) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://[::1]:{door(server.server_port)}")
        if has_ipv6():
            assert client.send("GET", "/").body == b"hello"
        else:
            with pytest.raises(Transient):
                client.send("GET", "/")
        client.close()
        server.shutdown()


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def source(kind: str, settings: dict[str, Any]) -> Source[Any]:
    family = registry.source(kind)
    return family(family.Config(**settings))


def destination(kind: str, settings: dict[str, Any]) -> Destination[Any]:
    family = registry.destination(kind)
    return family(family.Config(**settings))
