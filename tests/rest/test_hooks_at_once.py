"""Plain requests to pipelines are answered at once, and just as all others are."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from tests.rest.conftest import MANY, served

from millrace.connect.intake import folder as intake_folder
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import hooks, intakes, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.rest.app import application
from millrace.rest.hooks import at_once, receiving
from millrace.rest.hooks.door import Door
from millrace.rest.hooks.receiving import Receiving, Room

ROOM = Room(body_bytes=100_000, backlog_bytes=4 << 20, body_timeout_s=0.5)
SOON_S = 60.0


@dataclass
class Site:
    """A home with one pipeline that is told things, a server over it, and the requests that came to its door."""

    home: Home
    app: FastAPI
    address: tuple[str, int]
    path: str
    at_the_door: list[str]

    @property
    def receiving(self) -> Receiving:
        return self.app.state.receiving

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=SOON_S)

    def asked(self, request: bytes) -> bytes:
        """All that is answered to these bytes, until the server closes."""
        with self.connect() as caller:
            caller.sendall(request)
            return caller.makefile("rb").read()

    def request(self, body: bytes, *headers: str, behind: str = "", start: str = "POST", close: bool = True) -> bytes:
        lines = [f"{start} {self.path}{behind} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers]
        lines += ["Connection: close"] * close
        return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("at-once")
    came: list[str] = []
    taken = Door._taken

    async def seen(self: Door, path: str, scope: object, receive: object) -> int:
        came.append(path)
        return await taken(self, path, scope, receive)

    with Home.open(folder / "home", create=True, env={}) as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Door, "_taken", seen)
        # What the first request found out holds for all the others, however slow the machine is.
        patch.setattr(hooks, "FRESH_S", 3600.0)
        patch.setattr(receiving, "MEASURED_S", 3600.0)
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
        connections.create(home, "source", "hook", "webhook", {})
        pipelines.create(home, Wish("p", "hook", "warehouse", schedule={"every_s": 3600}))
        app = application(home, limits=MANY, room=ROOM)
        with served(app) as url:
            host, port = url.removeprefix("http://").split(":")
            made = Site(home, app, (host, int(port)), hooks.rotate(home, "p").path, came)
            assert made.asked(made.request(b"{}")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert came == [made.path]
            came.clear()
            yield made


def plain(answer: bytes) -> bytes:
    """The answer without what differs between two answers to the same request."""
    answer = re.sub(rb"(?i)(date|x-request-id): [^\r]+", rb"\1: -", answer)
    return re.sub(rb'"request_id":"[0-9a-f]+"', b'"request_id":"-"', answer)


BODIES = [b'{"n":1}', b'[{"n":1},{"n":2}]', b"[]", b"", b"{", b"\xff", b'{"n":NaN}', b"7", b"[1]", b"[" * 5000]
REQUESTS: dict[str, Callable[[Site], bytes]] = {
    **{f"the body {body[:20]!r}": lambda site, body=body: site.request(body) for body in BODIES},
    "an id": lambda site: site.request(b"{}", "Idempotency-Key: a1"),
    "an event type": lambda site: site.request(b"{}", behind="/Paid"),
    "two that follow each other": lambda site: site.request(b"{}", close=False) + site.request(b"[{},{}]"),
    "a wrong one between two": lambda site: (
        site.request(b"{}", close=False) + site.request(b"{", close=False) + site.request(b"[{},{}]")
    ),
}
OTHERS: dict[str, Callable[[Site], bytes]] = {
    "an event type in escapes": lambda site: site.request(b"{}", behind="/Signed%20up"),
    "a query": lambda site: site.request(b"{}", behind="?a=b"),
    "an unknown token": lambda site: site.request(b"{}", behind="x"),
    "another method": lambda site: site.request(b"{}", start="GET"),
    "PUT": lambda site: site.request(b"{}", start="PUT"),
    "a large body": lambda site: site.request(b'{"s": "' + b"x" * (at_once.MOST_BYTES) + b'"}'),
    "a compressed body": lambda site: site.request(b"{}", "Content-Encoding: gzip"),
    "a body that waits to be asked for": lambda site: site.request(b"{}", "Expect: 100-continue"),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_a_plain_request_is_answered_at_once_and_like_any_other(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    request = REQUESTS[what](site)
    site.at_the_door.clear()
    answer = site.asked(request)
    # Of several in one piece, those behind the first wait for it, and go the way of all others.
    assert len(site.at_the_door) == request.count(b"POST ") - 1
    site.at_the_door.clear()
    monkeypatch.setattr(at_once, "MOST_BYTES", -1)
    assert plain(site.asked(request)) == plain(answer)
    assert len(site.at_the_door) == request.count(b"POST ")
    assert site.receiving.held_bytes == 0


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_not_plain_goes_the_way_of_all_others(site: Site, what: str) -> None:
    site.at_the_door.clear()
    assert site.asked(OTHERS[what](site)).startswith(b"HTTP/1.1 ")
    assert len(site.at_the_door) == 1
    assert site.receiving.held_bytes == 0


def test_requests_are_counted_whichever_way_they_go(site: Site) -> None:
    def counted() -> dict[tuple[str, str, str], float]:
        families = site.app.state.gauges.registry.collect()
        return {
            (one.labels["route"], one.labels["method"], one.labels["status"]): one.value
            for family in families
            for one in family.samples
            if one.name == "millrace_http_requests_total"
        }

    before = counted()
    site.at_the_door.clear()
    site.asked(site.request(b"{}"))
    site.asked(site.request(b"{"))
    assert site.at_the_door == []
    site.asked(site.request(b"{}", behind="?a=b"))
    site.asked(b"POST /track HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    more = {labels: n - before.get(labels, 0) for labels, n in counted().items() if n != before.get(labels, 0)}
    hooks = "/hooks/{token}"
    assert more == {(hooks, "POST", "200"): 2, (hooks, "POST", "400"): 1, ("/track", "POST", "401"): 1}


def test_a_body_in_pieces_is_waited_for_and_one_that_does_not_end_is_cut_off(site: Site) -> None:
    request = site.request(b'{"n": 1}')
    with site.connect() as caller:
        for at in range(len(request)):
            caller.sendall(request[at : at + 1])
        assert caller.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
    with site.connect() as caller:
        caller.sendall(request[:-2])
        answer = caller.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert site.receiving.held_bytes == 0


def test_whoever_goes_in_the_middle_of_a_body_holds_no_room(site: Site) -> None:
    with site.connect() as caller:
        caller.sendall(site.request(b'{"n": 1}')[:-2])
        _until(lambda: site.receiving.held_bytes == 8)
    _until(lambda: site.receiving.held_bytes == 0)


def test_what_was_answered_at_once_is_loaded_and_what_could_not_be_written_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run(site.home, "p")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    site.at_the_door.clear()
    assert site.asked(site.request(b'[{"n": 1}, {"n": 2}]', "X-Request-Id: r1")).startswith(b"HTTP/1.1 200 ")
    assert site.asked(site.request(b'[{"n": 1}, {"n": 2}]', "X-Request-Id: r1")).startswith(b"HTTP/1.1 200 ")
    with monkeypatch.context() as patch:
        patch.setattr(intake_folder.os, "fdatasync", full)
        refused = site.asked(site.request(b'{"n": 3}'))
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"space" not in refused
    assert site.asked(site.request(b'{"n": 4}')).startswith(b"HTTP/1.1 200 ")
    assert not site.at_the_door
    balance = runs.run(site.home, "p").balance
    assert (balance.read, balance.loaded) == (5, 5)
    runs.run(site.home, "p")
    assert not [file for file in intakes.place(site.home).files(pipelines.find(site.home, "p").id) if file.whole]


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
