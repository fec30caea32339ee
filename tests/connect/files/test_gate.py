"""Clients of buckets reach what their user may reach, wherever a service sends them, and tell nobody else's secrets."""

from __future__ import annotations

import http.client
import secrets
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest

from millrace.connect.destination import Context
from millrace.connect.files import gate
from millrace.connect.files.store import Store
from millrace.connect.reach import ANYWHERE, NETWORK, SIMULATOR, WORLD, Kind, Reach
from millrace.destinations.folder.destination import Config, Destination
from millrace.errors import ConfigError, MillraceError

HERE: frozenset[Kind] = frozenset({"loopback"})


def own(endpoint: str) -> dict[str, str]:
    return {"endpoint": endpoint, "region": "us-east-1", "access_key_id": "mine", "secret_access_key": "own-secret"}


def aimed(endpoint: str) -> Config:
    return Config.model_validate({"path": "s3://bucket/x", "endpoint": endpoint})


@dataclass
class Service:
    """Speaks as much S3 as a read needs. ``sends_to``: where it redirects to."""

    sends_to: str | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    port: int = 0

    @contextmanager
    def serving(self) -> Generator[str]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(200 if service.sends_to is None else 302)
                if service.sends_to is not None:
                    self.send_header("Location", service.sends_to)
                self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
                self.send_header("ETag", '"x"')
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"hi")

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def test_a_redirect_leads_nowhere_that_its_user_may_not_reach() -> None:
    secret, service = Service(), Service()
    with secret.serving() as inside, service.serving() as endpoint:
        service.sends_to = f"{inside}/latest"
        # Whoever reaches everything is led there: the service does redirect.
        assert Store.at("s3://bucket/x", own(endpoint)).read("foo") == b"hi"
        assert [path for path, _ in secret.asked] == ["/latest"]
        for aim in (
            service.sends_to,
            "http://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/",
            "http://[fd00::1]/",
        ):
            service.sends_to = aim
            with pytest.raises(MillraceError) as refused:
                Store.at("s3://bucket/x", own(endpoint), allowed=HERE).read("foo")
            assert "own-secret" not in str(refused.value)
    assert len(secret.asked) == 1


def test_the_first_way_is_looked_at_too_and_not_only_when_it_was_named() -> None:
    with Service().serving() as endpoint, pytest.raises(MillraceError):
        Store.at("s3://bucket/x", own(endpoint), allowed=WORLD.web).read("foo")


def test_nothing_of_the_servers_environment_is_sent_beside_keys_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-servers-own")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-servers-key")
    service = Service()
    with service.serving() as endpoint:
        for allowed in (None, HERE):
            assert Store.at("s3://bucket/x", own(endpoint), allowed=allowed).read("foo") == b"hi"
    assert len(service.asked) == 2
    for path, headers in service.asked:
        assert path == "/bucket/x/foo"
        assert "the-servers" not in str(headers)
        assert "Credential=mine/" in headers["authorization"]


@pytest.mark.parametrize("reach", [NETWORK, WORLD, SIMULATOR])
def test_whoever_is_not_the_operator_brings_keys_for_a_service_of_ones_own(reach: Reach) -> None:
    config = aimed("https://192.0.2.1" if reach is NETWORK else "https://8.8.8.8")
    with pytest.raises(ConfigError) as refused:
        Destination(config, Context(reach=reach)).ready()
    assert refused.value.code in ("own_keys", "private_address")
    assert Destination(config, Context(reach=ANYWHERE)).catalog


@pytest.mark.parametrize(
    "endpoint", ["minio:9000", "ftp://minio", "http://", "http://a b", "http://u:p@h", "http://h?x", "http://h:99999"]
)
def test_an_endpoint_is_a_url_of_http(endpoint: str) -> None:
    with pytest.raises(ValueError, match="an endpoint is like"):
        aimed(endpoint)


@pytest.mark.parametrize("region", ["@127.0.0.1:9443/#", "x.127.0.0.1:9443/", ""])
def test_a_region_is_no_address(region: str) -> None:
    with pytest.raises(ValueError, match="a region is a name"):
        Config.model_validate({"path": "s3://bucket/x", "region": region})


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket/x", "az://bucket/x"])
def test_who_brings_keys_goes_through_the_gate_wherever_the_client_would_go(url: str) -> None:
    """Names that make another address are refused in front of this; whatever comes through is looked at here."""
    keys = {
        "s3": {"region": "@%s/#", "access_key_id": "mine", "secret_access_key": "own-secret"},
        "gs": {"google_service_account_key": '{"private_key": "x", "gcs_base_url": "http://%s"}'},
        "az": {"azure_storage_account_name": "%s#", "azure_storage_account_key": "QUFB"},
    }[url[:2]]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        there = f"127.0.0.1:{server.getsockname()[1]}"
        options = {name: value.replace("%s", there) for name, value in keys.items()}
        with pytest.raises(MillraceError):
            Store.at(url, options, allowed=WORLD.stores).read("foo")
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_gate_is_for_its_own_process_and_tunnels_to_where_it_may() -> None:
    service = Service()
    with service.serving() as endpoint:
        there, proxy = urlsplit(endpoint), urlsplit(gate.through(HERE))
        assert proxy.password is not None
        stranger = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        stranger.request("GET", f"{endpoint}/x")
        assert stranger.getresponse().status == 407
        stranger.close()
        token = gate.base64.b64encode(f"gate:{proxy.password}".encode()).decode()
        for host, status in ((there.netloc, b"200"), ("169.254.169.254:80", b"403"), ("127.0.0.1:1", b"502")):
            with socket.create_connection(("127.0.0.1", proxy.port or 0), timeout=30) as caller:
                caller.sendall(f"CONNECT {host} HTTP/1.1\r\nProxy-Authorization: Basic {token}\r\n\r\n".encode())
                assert caller.recv(1000).split()[1] == status
                if status == b"200":
                    caller.sendall(b"GET /tunnelled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    with suppress(OSError):
                        assert b"hi" in caller.makefile("rb").read()
    assert [path for path, _ in service.asked] == ["/tunnelled"]


def test_a_bucket_is_written_read_and_emptied_through_the_gate(s3: str) -> None:
    name = f"gate-{secrets.token_hex(6)}"
    assert httpx.put(f"{s3}/{name}").status_code == 200
    store = Store.at(f"s3://{name}/below", own(s3), allowed=HERE)
    content = secrets.token_bytes(3 << 20)
    assert store.create("a/one", content)
    assert not store.create("a/one", b"another")
    assert store.read("a/one") == content
    assert store.read("a/none") is None
    assert store.keys("a/") == ["a/one"]
    store.delete(["a/one"])
    assert store.keys("a/") == []
