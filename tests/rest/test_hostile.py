"""Callers that are wrong, hostile, slow or many: a clear answer, nothing of the inside, and the server goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Route
from tests.control.people import joined
from tests.rest.conftest import Keys, served

from millrace.control.database.people_tables import api_keys
from millrace.control.home import Home
from millrace.control.people import keys as control_keys
from millrace.control.people import users
from millrace.rest import listening
from millrace.rest.app import Limits, application

API = "/api/public/v2.0"
INSIDE = ("Traceback", "sqlite", "sqlalchemy", "SELECT ", ".py", "/tmp/", "pydantic", "site-packages")


def fine(answer: httpx.Response) -> None:
    """It is an answer of ours: no fault, one shape, nothing of the inside."""
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        body = answer.json()
        assert body["success"] is False
        assert {"code", "message"} <= body["error"].keys()
    assert not [word for word in INSIDE if word in answer.text]


def raw(url: str, sent: bytes, *, timeout: float = 30.0) -> bytes:
    """What the server says to these bytes until it hangs up, or falls silent for a second after an answer."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(sent)
        said = b""
        try:
            while part := connection.recv(65536):
                said += part
                connection.settimeout(1.0)
        except (TimeoutError, ConnectionError):
            pass
        return said


def operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), path


BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"1e999",
    b"NaN",
    b"{",
    b"\xff\xfe{}",
    b"{}",
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b"[" * 100_000,
    b"1" * 10_000,
    json.dumps({"status": {"$ne": 1}, "state": ["ACTIVE"], "script": 1, "frequency": True, "roles": "x"}).encode(),
    b'{"script": "\\ud800", "source_name": "\\ud800", "name": "\\ud800", "type": "\\ud800", "email": "\\ud800"}',
    b'{"name": "a\\u0000b", "type": "DUCKDB", "config": {"path": "\\u0000"}}',
    b'{"name": "a", "type": "../../etc", "config": {}}',
    b'{"source_type": "__init__", "source_config": {"__class__": 1}, "destination_id": 1}',
]


@pytest.mark.parametrize("which", range(len(BODIES)))
def test_no_body_is_a_fault_of_ours(app: FastAPI, client: httpx.Client, which: int) -> None:
    for method, path in operations(app):
        if method in ("GET", "DELETE"):
            continue
        for name in ("pipeline_id", "destination_id", "id"):
            path = path.replace(f"{{{name}}}", "1")
        path = path.replace("{event_type}", "Charged").replace("{email}", "admin@example.com")
        fine(client.request(method, path, content=BODIES[which], headers={"Content-Type": "application/json"}))


IDS = [
    "0",
    "-1",
    "1.5",
    "abc",
    "9" * 30,
    "1;DROP TABLE pipelines",
    "%00",
    "%2e%2e",
    "１",
    "1%20OR%201=1",
    "%F0%28",
    "null",
]


@pytest.mark.parametrize("id_", IDS)
def test_no_id_is_a_fault_of_ours(app: FastAPI, client: httpx.Client, id_: str) -> None:
    for method, path in operations(app):
        if "{" not in path or method != "GET":
            continue
        parts = [id_ if part.startswith("{") else part for part in path.split("/")]
        answer = client.request(method, "/".join(parts))
        fine(answer)
        assert answer.status_code in (400, 404, 501), (method, path, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/api/public/v2.0/../../../etc/passwd",
        "/api/public/v2.0/%2e%2e/%2e%2e/etc/passwd",
        "/api/public/v2.0/pipelines/1/../../destinations",
        "/api/public/v2.0//pipelines",
        "//pipelines",
        "/api/public/v2.0/pipelines/",
        "/api\\public\\v2.0\\pipelines",
        "/api/public/v2.0/pipelines%00",
        "/api/public/v2.0/mappings/%2e%2e%2fkey",
        "/healthz/../key",
        "/" + "a" * 10_000,
        "http://example.com/api/public/v2.0/pipelines/x",
        "*",
    ],
)
def test_no_path_leads_out(url: str, path: str) -> None:
    said = raw(url, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = int(said.split(b" ", 2)[1])
    assert status in (400, 401, 404), said
    assert b"root:" not in said


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"NOSUCH /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"POST /api/public/v2.0/pipelines HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
    ids=["tls", "version", "short", "method", "header", "no-host", "length", "two-lengths", "chunk"],
)
def test_what_is_no_http_is_refused_and_the_server_goes_on(url: str, sent: bytes) -> None:
    said = raw(url, sent)
    assert said == b"" or said.startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(url: str, keys: Keys, chunked: bool) -> None:
    large = b'{"name": "' + b"x" * (2 << 20) + b'"}'
    content: Any = (large[at : at + 65536] for at in range(0, len(large), 65536)) if chunked else large
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{url}{API}/destinations", auth=keys.admin, content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_LARGE")
    fine(answer)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"[" * 200_000, "INVALID_JSON", "nested too deep"),
        (b'{"status": "\xff"}', "INVALID_JSON", "not UTF-8"),
        (b'{"status": "\\ud800"}', "INVALID_PARAMETER", "half of a character"),
        (b'{"status":', "INVALID_JSON", "character 10"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(
    client: httpx.Client, body: bytes, code: str, said: str
) -> None:
    answer = client.put(f"{API}/pipelines/1/status", content=body, headers={"Content-Type": "application/json"})
    fine(answer)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert said in answer.json()["error"]["message"]


def test_a_method_that_is_not_there_is_told(client: httpx.Client) -> None:
    for method in ("PATCH", "TRACE", "OPTIONS", "HEAD"):
        answer = client.request(method, f"{API}/pipelines")
        assert answer.status_code == 405
        fine(answer)


def test_a_key_ends_when_it_expires_is_deleted_or_its_user_is_gone(url: str, home: Home) -> None:
    joined(home, "leaver@example.com", "TEAM_COLLABORATOR")
    soon = datetime.now(UTC) + timedelta(days=1)
    pairs = [control_keys.create(home, "leaver@example.com", expires_at=soon) for _ in range(3)]

    def status(number: int) -> int:
        return httpx.get(f"{url}{API}/pipelines", auth=(pairs[number].key, pairs[number].secret)).status_code

    assert [status(number) for number in range(3)] == [200, 200, 200]
    with home.database.transaction() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(sa.update(api_keys).where(api_keys.c.key == pairs[0].key).values(expires_at=past))
    control_keys.remove(home, pairs[1].key)
    assert [status(number) for number in range(3)] == [401, 401, 200]
    users.remove(home, "leaver@example.com")
    assert status(2) == 401


def test_a_key_with_a_scope_may_no_more_than_that(url: str, home: Home) -> None:
    pair = control_keys.create(home, "admin@example.com", scope=["view"])
    with httpx.Client(base_url=url, auth=(pair.key, pair.secret)) as client:
        assert client.get(f"{API}/destinations").status_code == 200
        answer = client.post(f"{API}/destinations", json={"name": "n", "type": "DUCKDB", "config": {}})
        assert answer.status_code == 403


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, tuple[str, str]]]:
    """A server that waits for nobody, and a key."""
    monkeypatch.setattr(listening, "HEAD_TIMEOUT_S", 0.3)
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        joined(home, "admin@example.com", "TEAM_ADMIN")
        pair = control_keys.create(home, "admin@example.com")
        with served(application(home, limits=Limits(body_timeout_s=0.3))) as url:
            yield url, (pair.key, pair.secret)


def test_slow_callers_are_cut_off(impatient: tuple[str, tuple[str, str]]) -> None:
    url, (key, secret) = impatient
    assert raw(url, b"") == b""
    assert raw(url, b"GET /healthz HTTP/1.1\r\nHost") == b""
    # The second request of a connection as well.
    said = raw(url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal")
    assert said.count(b"HTTP/1.1") == 1
    sign = httpx.BasicAuth(key, secret)._auth_header
    head = f"POST {API}/destinations HTTP/1.1\r\nHost: x\r\nAuthorization: {sign}\r\n"
    said = raw(url, f'{head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{"name"'.encode())
    assert said.startswith(b"HTTP/1.1 408")
    assert b'"TIMEOUT"' in said
    # Who sends now and then a byte has no more time than who sends none.
    parts, began = urlsplit(url), time.monotonic()
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(f'{head}Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{"name'.encode())
        connection.settimeout(0.1)
        said = b""
        while not said and time.monotonic() < began + 30:
            with contextlib.suppress(TimeoutError):
                said = connection.recv(65536)
            if not said:
                connection.sendall(b" ")
    assert said.startswith(b"HTTP/1.1 408")


def test_a_connection_on_which_no_other_request_comes_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HEAD_TIMEOUT_S", 0.5)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        Home.open(tmp_path / "home", create=True, env={}) as home,
        served(application(home), timeout_keep_alive=1.5) as url,
    ):
        parts = urlsplit(url)

        def closed_after(pauses: list[float], piece: bytes) -> float:
            """Seconds from the answer on; after each pause the piece is sent."""
            with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
                connection.sendall(request)
                while not connection.recv(65536).endswith(b'{"status":"ok"}'):
                    pass
                began = time.monotonic()
                with contextlib.suppress(ConnectionError):
                    for pause in pauses:
                        time.sleep(pause)
                        connection.sendall(piece)
                    while said := connection.recv(65536):
                        began = time.monotonic()
                        assert b"HTTP/1.1 4" not in said
                return time.monotonic() - began

        with ThreadPoolExecutor(4) as callers:
            closed = [
                callers.submit(closed_after, [], b""),
                # Lines without anything in them are no request, so no time begins with them.
                callers.submit(closed_after, [0.2] * 5, b"\r\n"),
                # A request that comes late has its own time for its head, and the time begins anew with its answer.
                callers.submit(closed_after, [1.1], request[:9]),
                callers.submit(closed_after, [1.1], request),
            ]
            assert all(1.3 < one.result() < 20 for one in closed)


def test_a_long_body_that_comes_steadily_is_waited_for(impatient: tuple[str, tuple[str, str]]) -> None:
    url, pair = impatient

    def steadily() -> Iterator[bytes]:
        yield b'{"name": "'
        for _ in range(8):
            time.sleep(0.1)
            yield b"a" * 1000
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{url}{API}/destinations", auth=pair, headers=headers, content=steadily(), timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_PARAMETER")


def test_callers_who_do_not_take_their_answer_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "READER_TIMEOUT_S", 3.0)
    # A connection is looked at no sooner than when its first head had to be there.
    monkeypatch.setattr(listening, "HEAD_TIMEOUT_S", 1.5)
    size, gone = 16 << 20, set[int]()
    lost = listening.Impatient.connection_lost

    def noted(connection: listening.Impatient, exc: Exception | None) -> None:
        gone.add(connection.client[1] if connection.client else 0)
        lost(connection, exc)

    monkeypatch.setattr(listening.Impatient, "connection_lost", noted)

    async def whole(_: Request) -> Response:
        return Response(bytes(size))

    async def pieces(_: Request) -> Response:
        return StreamingResponse(iter([bytes(1 << 20)] * 16))

    with Home.open(tmp_path / "home", create=True, env={}) as home:
        app = application(home)
        app.router.routes.insert(0, Route("/whole", whole))
        app.router.routes.insert(0, Route("/pieces", pieces))
        # While the answer is read, nothing else is expected of the caller.
        with served(app, timeout_keep_alive=0.2) as url, ThreadPoolExecutor(8) as callers:
            parts = urlsplit(url)

            def asking(way: str, connection: str) -> socket.socket:
                caller = socket.socket()
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                caller.settimeout(60)
                caller.connect((parts.hostname, parts.port))
                caller.sendall(f"GET {way} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n".encode())
                return caller

            def slow(way: str, connection: str) -> bool:
                """All of it comes, a megabyte at a time."""
                with asking(way, connection) as caller:
                    found, wanted = 0, 0
                    while part := caller.recv(65536):
                        found += len(part)
                        if found >= wanted:
                            wanted += 1 << 20
                            time.sleep(0.1)
                    return found > size

            def absent(way: str, connection: str) -> bool:
                """The server ends the connection, and most of the answer never comes."""
                with asking(way, connection) as caller:
                    until, port = time.monotonic() + 60, caller.getsockname()[1]
                    while port not in gone and time.monotonic() < until:
                        time.sleep(0.05)
                    return port in gone

            ways = [(way, connection) for way in ("/whole", "/pieces") for connection in ("keep-alive", "close")]
            for caller in [callers.submit(one, *way) for one in (slow, absent) for way in ways]:
                assert caller.result()


def test_a_caller_who_took_one_answer_has_the_whole_time_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "READER_TIMEOUT_S", 4.0)
    made = listening.Impatient.connection_made

    def narrow(connection: listening.Impatient, transport: asyncio.Transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        made(connection, transport)

    monkeypatch.setattr(listening.Impatient, "connection_made", narrow)

    async def zeros(asked: Request) -> Response:
        return Response(bytes(asked.path_params["size"]))

    with Home.open(tmp_path / "home", create=True, env={}) as home:
        app = application(home)
        app.router.routes.insert(0, Route("/zeros/{size:int}", zeros))
        with served(app) as url, socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.settimeout(30)
            parts = urlsplit(url)
            caller.connect((parts.hostname, parts.port))
            for size, waiting in ((40_000, 1.0), (60_000, 4.5)):  # less than what a server pauses for
                caller.sendall(f"GET /zeros/{size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                time.sleep(waiting)
                found = caller.recv(65536)
                end = found.index(b"\r\n\r\n") + 4 + size
                while len(found) < end and (part := caller.recv(65536)):
                    found += part
                assert len(found) == end


def test_the_time_that_the_server_takes_for_itself_is_not_the_callers(tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        app = application(home, limits=Limits(body_timeout_s=0.3))

        async def late(request: Request) -> Response:
            await asyncio.sleep(0.5)
            body = await request.body()

            async def lines() -> AsyncIterator[bytes]:
                for _ in range(3):
                    await asyncio.sleep(0.3)
                    yield body + b"\n"

            return StreamingResponse(lines())

        async def unread(_: Request) -> Response:
            await asyncio.sleep(0.5)
            return StreamingResponse(iter([b"all ", b"of it"]))

        app.router.routes.insert(0, Route("/late", late, methods=["POST"]))
        app.router.routes.insert(0, Route("/unread", unread))
        with served(app) as url:
            answer = httpx.get(f"{url}/unread")
            assert (answer.status_code, answer.content) == (200, b"all of it")
            answer = httpx.post(f"{url}/late", content=b"0123456789")
            assert (answer.status_code, answer.content) == (200, b"0123456789\n" * 3)


def test_a_thousand_connections_are_held_and_served(url: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    parts = urlsplit(url)

    async def all_of_them() -> list[bytes]:
        opened = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(1000)]
        try:
            for _, writer in opened:
                writer.write(b"GET /healthz HTTP/1.1\r\n")
            # All of them hang in the middle of a request; others are served meanwhile.
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{url}/healthz")).status_code == 200
            for _, writer in opened:
                writer.write(b"Host: x\r\n\r\n")
            return [await reader.readline() for reader, _ in opened]
        finally:
            for _, writer in opened:
                writer.close()

    try:
        assert asyncio.run(all_of_them()) == [b"HTTP/1.1 200 OK\r\n"] * 1000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Who comes to these shows something else than a key or an open session: a password, a code, a link.
AT_THE_DOOR = {
    "/api/millrace/v1/first-administrator",
    "/api/millrace/v1/invitations/accept",
    "/api/millrace/v1/password-resets",
    "/api/millrace/v1/password-resets/accept",
    "/api/millrace/v1/session",
    "/hooks/{token}",  # its token is who asks
    "/hooks/{token}/{event_type}",
}


def test_every_route_of_the_apis_asks_who_asks(app: FastAPI, url: str) -> None:
    paths = [(method, path) for method, path in operations(app) if path not in AT_THE_DOOR]
    assert len(paths) > 40
    with httpx.Client(base_url=url) as nobody:
        for method, path in paths:
            answer = nobody.request(method, path.replace("{", "").replace("}", ""))
            # Whoever sends no cookie of a half-open session is told what is wrong with the body at most.
            half = path.startswith(("/api/millrace/v1/session/", "/api/millrace/v1/me/second-factor"))
            assert answer.status_code == 401 or (half and answer.status_code == 400), (method, path)
    listed = {path for _, path in operations(app)}
    open_ones = {route.path for route in app.routes if isinstance(route, APIRoute)} - listed
    assert {path for path in open_ones if not path.startswith("/api/")} == {"/healthz", "/readyz", "/metrics"}
    assert httpx.get(f"{url}/metrics").status_code == 401


def test_no_address_is_served_by_two_routes(app: FastAPI) -> None:
    found = [(context.path_format, context.original_route) for context in iter_route_contexts(app.routes)]
    served = Counter(
        (method, path) for path, route in found if isinstance(route, APIRoute) for method in route.methods or ()
    )
    assert [one for one, times in served.items() if times > 1] == []
