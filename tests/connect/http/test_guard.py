from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
from tests.connect.http.test_client import answering, plain

from millrace.connect.http.client import Client, Unreachable
from millrace.connect.http.guard import guarded
from millrace.connect.reach import NETWORK, WORLD, Walled


def fine(connection: socket.socket, head: bytes) -> None:
    del head
    connection.sendall(plain(b"fine"))


def test_a_client_with_limits_does_not_even_connect_to_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", reach=WORLD)
        with pytest.raises(Walled):
            client.send("GET", "/")
        client.close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_client_that_may_reach_this_machine_does() -> None:
    with answering(fine) as url:
        for host in (url, url.replace("127.0.0.1", "localhost")):
            client = Client(host, reach=NETWORK)
            assert client.send("GET", "/").body == b"fine"
            client.close()


def test_a_name_without_an_address_and_a_closed_port_are_unreachable_as_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for url in (closed, "http://nobody.invalid"):
        client = Client(url, reach=NETWORK)
        with pytest.raises(Unreachable):
            client.send("GET", "/")
        client.close()


def test_every_hop_of_a_redirect_is_looked_at() -> None:
    def lead_on(connection: socket.socket, head: bytes) -> None:
        del head
        connection.sendall(plain(b"", "302 Found", "Location: http://169.254.169.254/latest/meta-data/\r\n"))

    with (
        answering(lead_on) as url,
        httpx.Client(
            transport=guarded(httpx.HTTPTransport(), NETWORK.web), trust_env=False, follow_redirects=True
        ) as client,
        pytest.raises(Walled),
    ):
        client.get(url)


def test_the_address_that_was_looked_at_is_connected_to_whatever_the_name_means_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plainly, asked = socket.getaddrinfo, [0]

    def rebound(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebound.example":
            return plainly(host, port, *args, **kwargs)
        asked[0] += 1
        return plainly("127.0.0.1" if asked[0] == 1 else "127.0.0.2", port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    with answering(fine) as url:
        client = Client(url.replace("127.0.0.1", "rebound.example"), reach=NETWORK)
        assert client.send("GET", "/").body == b"fine"
        client.close()
    assert asked == [1]


def test_one_forbidden_address_among_allowed_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    plainly = socket.getaddrinfo

    def both(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return [*plainly("127.0.0.1", port, *args, **kwargs), *plainly("169.254.169.254", port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    client = Client("http://both.example", reach=NETWORK)
    with pytest.raises(Walled):
        client.send("GET", "/")
    client.close()


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(fine) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        client = Client("http://10.0.0.1", reach=WORLD)
        with pytest.raises(Walled):
            client.send("GET", "/")
        client.close()


def test_sockets_of_this_machine_are_not_reached() -> None:
    transport = guarded(httpx.HTTPTransport(uds="/run/some.sock"), NETWORK.web)
    with httpx.Client(transport=transport, trust_env=False) as client, pytest.raises(Walled):
        client.get("http://localhost/")
