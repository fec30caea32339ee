"""A client whose answers are lost on the way asks again, and what it asked for is done once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.control.people import cheap
from tests.rest.conftest import MANY, issued, served

from millrace.cli import repeating
from millrace.cli.remote import Remote
from millrace.control import activity
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.operations import connections as operations
from millrace.errors import ConfigError, EnvironmentProblem
from millrace.rest.app import application

DESTINATIONS = operations.DESTINATIONS
DUCK = {"path": "/tmp/never-opened.duckdb"}


@dataclass
class Relay:
    """Hands requests on to a server. ``losing``: so many answers more are read to their end and go nowhere; then, with
    ``refuse``, so many connections are closed at once."""

    server: tuple[str, int]
    losing: int = 0
    refuse: int = 0
    lost: list[bytes] = field(default_factory=list[bytes])

    def __enter__(self) -> Relay:
        self.heard = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heard.shutdown(socket.SHUT_RDWR)
        self.heard.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.heard.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self.heard.accept()
                threading.Thread(target=self._relay, args=(caller,), daemon=True).start()

    def _relay(self, caller: socket.socket) -> None:
        if not self.losing and self.refuse:
            self.refuse -= 1
            caller.close()
            return
        with caller, socket.create_connection(self.server, timeout=60) as server, suppress(OSError):
            while asked := _message(caller):
                server.sendall(asked)
                answer = _message(server)
                if self.losing:
                    self.losing -= 1
                    self.lost.append(asked.partition(b"\r\n")[0])
                    return
                caller.sendall(answer)


def _message(end: socket.socket) -> bytes:
    """A whole request or answer; nothing when no more comes."""
    found = b""
    while (head := found.find(b"\r\n\r\n")) < 0 or len(found) < head + 4 + _length(found[:head]):
        if not (piece := end.recv(1 << 20)):
            return b""
        found += piece
    return found


def _length(head: bytes) -> int:
    named = [line.partition(b":") for line in head.lower().splitlines()]
    return next((int(value) for name, _, value in named if name == b"content-length"), 0)


@dataclass
class Site:
    home: Home
    relay: Relay
    remote: Remote


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        Home.open(tmp_path_factory.mktemp("repeating") / "home", create=True, env={}) as home,
        pytest.MonkeyPatch.context() as patch,
        served(application(home, limits=MANY)) as url,
    ):
        patch.setattr(repeating, "WAITS_S", (0.01,) * 5)
        host, port = url.removeprefix("http://").split(":")
        with Relay((host, int(port))) as relay:
            remote = Remote(relay.url, ":".join(issued(cheap(home)).admin))
            yield Site(home, relay, remote)
            remote.close()


def made(home: Home, name: str) -> list[Any]:
    """What the activity log has on a destination of that name."""
    return [line for line in activity.listed(home).items if name in line.message]


@pytest.mark.parametrize(("losing", "refuse"), [(1, 0), (3, 0), (2, 2)])
def test_what_was_asked_for_is_done_once_however_often_its_answer_is_lost(site: Site, losing: int, refuse: int) -> None:
    name = f"lost-{losing}-{refuse}"
    site.relay.losing, site.relay.refuse = losing, refuse
    site.relay.lost.clear()
    assert site.remote.ask(DESTINATIONS.add, name, "duckdb", DUCK).name == name
    assert (site.relay.losing, site.relay.refuse) == (0, 0)
    assert set(site.relay.lost) == {b"POST /api/millrace/v1/destinations HTTP/1.1"}
    assert [one.name for one in connections.listed(site.home, "destination")].count(name) == 1
    assert len(made(site.home, name)) == 1


def test_what_only_reads_is_asked_again(site: Site) -> None:
    site.relay.losing = 2
    site.remote.ask(DESTINATIONS.list)
    assert site.relay.losing == 0


def test_what_has_no_key_is_not_asked_again_and_nobody_knows_of_it(site: Site) -> None:
    site.remote.ask(DESTINATIONS.add, "removed", "duckdb", DUCK)
    site.relay.losing = 1
    with pytest.raises(EnvironmentProblem) as lost:
        site.remote.ask(DESTINATIONS.remove, "removed")
    assert lost.value.code == "answer_lost"
    assert "removed" not in [one.name for one in connections.listed(site.home, "destination")]


def test_answers_that_are_lost_again_and_again_are_told(site: Site) -> None:
    site.relay.losing = 100
    with pytest.raises(EnvironmentProblem) as lost:
        site.remote.ask(DESTINATIONS.add, "never-heard", "duckdb", DUCK)
    site.relay.losing = 0
    assert lost.value.code == "answer_lost"
    assert len(made(site.home, "never-heard")) == 1


def test_what_is_refused_is_refused_once(site: Site) -> None:
    site.remote.ask(DESTINATIONS.add, "taken", "duckdb", DUCK)
    with pytest.raises(ConfigError) as refused:
        site.remote.ask(DESTINATIONS.add, "taken", "duckdb", DUCK)
    assert refused.value.code == "name_taken"
