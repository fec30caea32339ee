"""How much a server takes of what systems send by themselves, over loopback: single events, and batches of 100.

    python -m tests.bench.push [seconds]

The real server with the real disk: what is counted was answered, so it is durable. Whoever sends uses raw sockets, one
request after the other on each connection, and needs a part of the same processors.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson

from millrace.connect.intake.frames import entries
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import hooks, intakes, pipelines
from millrace.control.pipeline.pipelines import Wish

SECONDS = 10.0
CONNECTIONS = 64
BATCH = 100
EVENT = {"event": "Charged", "identity": "customer-88213", "amount": 129.9, "currency": "EUR", "items": ["a", "b"]}

_ACCEPTED = re.compile(rb'"accepted":(\d+)\}')


@contextmanager
def served(folder: Path) -> Generator[tuple[int, int, str]]:
    """A server without workers, as `millrace serve` starts it: its process, its port, the address of a pipeline."""
    home = folder / "home"
    with Home.open(home, create=True, env={}) as opened:
        connections.create(opened, "source", "app", "webhook", {})
        connections.create(opened, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
        pipelines.create(opened, Wish("app", "app", "warehouse"))
        path = hooks.rotate(opened, "app").path
    command = [sys.executable, "-m", "millrace", "serve", "--home", str(home), "--port", "0", "--workers", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if (found := re.search(r"serves at .*:(\d+)", line)) is not None:
                    yield server.pid, int(found[1]), path
                    return
            raise RuntimeError("the server did not start")
        finally:
            server.terminate()


def sent(port: int, path: str, body: bytes, seconds: float) -> tuple[int, int, float]:
    """Requests and events that were accepted, and the seconds that it took. Each connection sends the same request
    again as soon as it is answered, until the time is up."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    requests = events = 0
    began = time.monotonic()
    with ExitStack() as open_ones, select.epoll() as ready:
        callers: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            caller = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            callers[caller.fileno()] = caller
            ready.register(caller, select.EPOLLIN)
            caller.sendall(request)
        while callers:
            for number, _ in ready.poll():
                caller = callers[number]
                data = caller.recv(65536)
                found = _ACCEPTED.findall(data)
                if not found and b"HTTP/1.1 200" not in data:
                    raise RuntimeError(data.decode()[:500] or "the server closed the connection")
                for count in found:
                    requests, events = requests + 1, events + int(count)
                    if time.monotonic() < began + seconds:
                        caller.sendall(request)
                    else:
                        ready.unregister(caller)
                        del callers[number]
    return requests, events, time.monotonic() - began


def used_s(pid: int) -> float:
    """Seconds of processors that a process has used, by proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(pid: int, port: int, path: str, body: bytes, seconds: float, what: str) -> int:
    """Prints how much is taken in a second, and what it costs the server: other programs count little in that. How many
    requests were accepted."""
    before = used_s(pid)
    requests, events, took = sent(port, path, body, seconds)
    cost = used_s(pid) - before
    print(f"{what:<16} {requests / took:>8,.0f} requests/s {events / took:>9,.0f} events/s"
          f"   {1e6 * cost / requests:>7,.1f} CPU us of the server for each request")  # fmt: skip
    return requests


def kept(home: Path) -> int:
    """How many requests lie in the intake."""
    with Home.open(home) as opened:
        place, id_ = intakes.place(opened), pipelines.find(opened, "app").id
        return sum(isinstance(one, tuple) for file in place.files(id_) for one in entries(place.read(file, 0), 0))


def main(seconds: float = SECONDS) -> None:
    single, batch = orjson.dumps(EVENT), orjson.dumps([EVENT] * BATCH)
    with tempfile.TemporaryDirectory(prefix="millrace-push-") as folder:
        with served(Path(folder)) as (pid, port, path):
            accepted, _, _ = sent(port, path, single, 1.0)  # everything is imported and open
            accepted += measured(pid, port, path, single, seconds, "single events")
            accepted += measured(pid, port, path, batch, seconds, f"batches of {BATCH}")
        print(f"{accepted:,} requests were accepted, {kept(Path(folder) / 'home'):,} are kept")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
