from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millrace.connect.http import client as http
from millrace.connect.http.client import Broken, Client, Unreachable, is_loopback
from millrace.connect.http.dialing import tls
from millrace.connect.http.guard import from_httpx
from millrace.errors import ConfigError, EnvironmentProblem


@contextmanager
def answering(answer: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """A server that hands each request's head to ``answer`` and then ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head and (chunk := connection.recv(65536)):
                        head += chunk
                    answer(connection, head)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def plain(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("headers", "target"),
    [({"X-Passcode": "s3cret\nX-Other: 1"}, "/"), ({}, "/1/events.json?passcode=s3cret&name=First Name")],
)
def test_what_cannot_be_sent_is_told_without_the_secrets_that_it_holds(headers: dict[str, str], target: str) -> None:
    with answering(lambda _connection, _head: None) as url:
        client = Client(url, headers)
        with pytest.raises(ConfigError, match="cannot be sent") as caught:
            client.send("GET", target)
        client.close()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_request_is_sent_byte_for_byte_with_the_products_name() -> None:
    heads: list[bytes] = []

    def answer(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(plain(b"fine", "404 Not Found", "X-Kind: odd\r\n"))

    with answering(answer) as url:
        client = Client(url + "/r/in1/", {"X-Secret": "s"})
        reply = client.send("GET", "/1/x.json?cursor=a%2Fb%2bc~+=/%3D")
        client.send("POST", "/y", content=b"{}")
        client.close()
        client.close()
    assert (reply.status, reply.body, reply.headers["x-kind"]) == (404, b"fine", "odd")
    assert heads[0].startswith(b"GET /r/in1/1/x.json?cursor=a%2Fb%2bc~+=/%3D HTTP/1.1\r\n")
    assert b"User-Agent: millrace/" in heads[0] and b"X-Secret: s" in heads[0]
    assert b"Accept-Encoding: identity" in heads[0], "this machine need not pack for itself"
    assert b"Content-Type: application/json" in heads[1] and b"Content-Type" not in heads[0]


def test_a_packed_body_is_unpacked() -> None:
    body = gzip.compress(b"x" * 5000)
    with answering(lambda connection, _: connection.sendall(plain(body, headers="Content-Encoding: gzip\r\n"))) as url:
        assert Client(url).send("GET", "/").body == b"x" * 5000


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"],
    ids=["nothing", "half", "nonsense", "bad-gzip"],
)  # fmt: skip
def test_a_reply_that_is_not_whole_is_a_broken_connection(answer: bytes) -> None:
    with answering(lambda connection, _: connection.sendall(answer)) as url, pytest.raises(Broken):
        Client(url).send("GET", "/")


@pytest.mark.parametrize("left", [5, -9], ids=["within its head", "within its tail"])
def test_a_packed_body_that_ends_too_soon_is_a_broken_connection(left: int) -> None:
    cut = gzip.compress(b"x" * 5000)[:left]
    with (
        answering(lambda c, _: c.sendall(plain(cut, headers="Content-Encoding: gzip\r\n"))) as url,
        pytest.raises(Broken),
    ):
        Client(url).send("GET", "/")


def test_a_body_in_chunks_is_whole_and_repeated_headers_are_one() -> None:
    body = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Of: a\r\nX-Of: b\r\n\r\n"
    with answering(lambda connection, _: connection.sendall(head + body)) as url:
        client = Client(url)
        reply = client.send("GET", "/")
        client.close()
    assert (reply.body, reply.headers["x-of"]) == (b"hello world", "a, b")
    with answering(lambda connection, _: connection.sendall(head + body[:12])) as url, pytest.raises(Broken):
        Client(url).send("GET", "/")


def kept(connection: socket.socket, head: bytes) -> None:
    """Answers on one connection until the client asks for the path /last, and says nothing of its end."""
    while True:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
        if head.startswith(b"GET /last ") or not (head := connection.recv(65536)):
            return


def test_a_connection_serves_many_requests_and_one_that_has_ended_is_not_used_again() -> None:
    heads: list[bytes] = []

    def answer(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        kept(connection, head)

    with answering(answer) as url:
        client = Client(url)
        for path in ("/a", "/b", "/last"):
            assert client.send("GET", path).body == b"fine"
        time.sleep(0.1)
        assert client.send("GET", "/c").body == b"fine"
        client.close()
    assert [head.split()[1] for head in heads] == [b"/a", b"/c"], "these opened a connection"


@pytest.mark.parametrize("secret", ["pass\nword", "pass\u2603word"])
def test_a_secret_that_no_header_can_hold_is_not_told(secret: str) -> None:
    with answering(kept) as url, pytest.raises(ConfigError) as refused:
        Client(url, {"X-Secret": secret}).send("GET", "/")
    assert "word" not in str(refused.value) and "header" in refused.value.message


def test_a_proxy_of_the_environment_asks_in_our_place(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    def answer(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(plain(b"fine"))

    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("//", "//me:s%40y@"))
        assert Client("http://api.example.org/r").send("GET", "/x?c=%2f").body == b"fine"
        with pytest.raises(Unreachable):
            monkeypatch.setenv("NO_PROXY", "millrace.invalid")
            Client("http://millrace.invalid").send("GET", "/")
    assert len(heads) == 1
    assert heads[0].startswith(b"GET http://api.example.org:80/r/x?c=%2f HTTP/1.1\r\nHost: api.example.org")
    assert b"Proxy-Authorization: Basic bWU6c0B5\r\n" in heads[0]


def test_a_way_through_a_proxy_is_encrypted_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = certificate(tmp_path, "api.example.org")
    heads: list[bytes] = []

    def answer(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        if b"denied" in head:
            connection.sendall(plain(b"", "407 Proxy Authentication Required"))
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            with ours.wrap_socket(connection, server_side=True) as inner:
                heads.append(inner.recv(65536))
                inner.sendall(plain(b"fine"))
        except OSError:
            heads.append(b"not trusted")

    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    tls.cache_clear()
    try:
        with answering(answer) as proxy:
            monkeypatch.setenv("https_proxy", proxy)
            assert Client("https://api.example.org").send("GET", "/x").body == b"fine"
            with pytest.raises(EnvironmentProblem, match="TLS"):
                Client("https://other.example.org").send("GET", "/x")
            with pytest.raises(Unreachable, match="407"):
                Client("https://denied.example.org").send("GET", "/x")
            monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
            with pytest.raises(ConfigError, match="proxy"):
                Client("https://api.example.org")
    finally:
        tls.cache_clear()
    assert heads[0].startswith(b"CONNECT api.example.org:443 HTTP/1.1\r\n") and heads[1].startswith(b"GET /x HTTP/1.1")
    assert heads[2].startswith(b"CONNECT other.example.org:443") and heads[3] == b"not trusted"


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A server's side of TLS under that name; who trusts it has `certificate.pem` of the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def test_a_refused_connection_and_an_unknown_name_are_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://millrace.invalid"):
        with pytest.raises(Unreachable) as refused:
            Client(url).send("GET", "/")
        assert refused.value.hint


def test_silence_and_endless_or_huge_bodies_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_S", 0.2)
    with answering(lambda *_: time.sleep(1)) as url, pytest.raises(Broken, match="silent"):
        Client(url).send("GET", "/")

    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(20):
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.05)

    monkeypatch.setattr(http, "WHOLE_S", 0.3)
    with answering(drip) as url, pytest.raises(Broken, match="not whole"):
        Client(url).send("GET", "/")
    monkeypatch.setattr(http, "LARGEST_BODY", 100)
    with answering(lambda c, _: c.sendall(plain(b"x" * 200))) as url, pytest.raises(Broken, match="larger"):
        Client(url).send("GET", "/")


def test_abort_wakes_a_thread_that_waits_for_an_answer() -> None:
    begun, ended = threading.Event(), threading.Event()
    caught: list[Exception] = []

    def silent(_: socket.socket, __: bytes) -> None:
        begun.set()
        ended.wait(60)

    with answering(silent) as url:
        client = Client(url)

        def work() -> None:
            try:
                client.send("GET", "/")
            except Broken as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(60)
        client.abort()
        thread.join(30)  # the server would say nothing for longer
        alive = thread.is_alive()
        ended.set()
    assert not alive and len(caught) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectTimeout("x"), Unreachable),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), EnvironmentProblem),
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.ReadTimeout("x"), Broken),
        (httpx.ProxyError("x"), Unreachable),
        (httpx.RemoteProtocolError("x"), Broken),
        (httpx.InvalidURL("x"), ConfigError),
    ],
)
def test_every_error_of_the_library_has_one_of_ours(error: Exception, kind: type[Exception]) -> None:
    found = from_httpx(error, "api.example.org")
    assert type(found) is kind and "api.example.org" in found.message


def test_tls_is_1_2_or_newer_and_loopback_is_told_apart() -> None:
    assert tls().minimum_version >= ssl.TLSVersion.TLSv1_2
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "a.localhost"))
    assert not any(is_loopback(host) for host in ("", "127.example.org", "example.org", "10.0.0.1"))
