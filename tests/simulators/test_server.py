"""The HTTP server of simulators, with an app of three lines."""

from __future__ import annotations

import gzip
import http.client
import threading
from collections.abc import Iterator

import pytest

from millrace.simulators.server import Request, Response, Server, Wire

BODY = b"abcdefghij" * 100


def app(request: Request) -> Response:
    if request.path == "/silent":
        return Response(wire=Wire(never_s=60))
    if request.path == "/broken":
        return Response(body=BODY, wire=Wire(cut_at=0.5))
    text = f"{request.method} {request.path} {request.query} ".encode()
    return Response(200, text + request.body + BODY, {"X-Answer": "yes"})


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server(app)
    one.start()
    yield one
    one.stop()


def connected(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)


def test_a_connection_is_kept_for_many_requests(server: Server):
    connection = connected(server)
    ports: set[int] = set()
    for n in range(3):
        connection.request("POST", f"/path?n={n}", b"body")
        answer = connection.getresponse()
        assert answer.read() == f"POST /path n={n} body".encode() + BODY
        assert (answer.headers["X-Answer"], answer.headers["Connection"]) == ("yes", "keep-alive")
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_gzip_is_used_when_asked_and_worth_it(server: Server):
    connection = connected(server)
    connection.request("GET", "/", headers={"Accept-Encoding": "gzip, br"})
    answer = connection.getresponse()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.read()) == b"GET /  " + BODY
    connection.close()


def test_a_damaged_answer_closes_the_connection(server: Server):
    connection = connected(server)
    connection.request("GET", "/broken")
    with connection.getresponse() as answer:
        assert answer.headers["Connection"] == "close"
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
    assert cut.value.partial == BODY[:500]
    connection.close()


def test_stopping_does_not_wait_for_those_who_never_get_an_answer():
    server = Server(app)
    server.start()
    connection = connected(server)
    connection.request("GET", "/silent")
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    stopper.join(60)
    assert not stopper.is_alive()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        connection.getresponse()
    connection.close()


def test_a_body_without_length_is_refused(server: Server):
    connection = connected(server)
    # The headers alone: the server answers to them and hangs up, and a body may meet a connection that is gone.
    connection.putrequest("POST", "/")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    with connection.getresponse() as answer:
        assert answer.status == 411
    connection.close()


def test_a_query_is_decoded_once_and_plus_stays_plus():
    request = Request("GET", "/", "cursor=a%2Fb%253D+c&x=&y", {})
    assert request.params() == {"cursor": "a/b%3D+c", "x": "", "y": ""}
