"""How much a server takes of what systems send by themselves, over loopback: single events, and batches of 100.

    python -m tests.bench.push [seconds]

The real server with the real disk: what is counted was answered, so it is durable. Whoever sends uses raw sockets, one
request after the other on each connection, and needs a part of the same processors.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from millrace.control import connections, hooks, pipelines
from millrace.control.home import Home
from millrace.control.pipelines import Wish

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


class Sender(asyncio.Protocol):
    """A connection that sends the same request again as soon as it is answered, until the time is up."""

    def __init__(self, request: bytes, until: float) -> None:
        self.request = request
        self.until = until
        self.accepted = self.requests = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        found = _ACCEPTED.findall(data)
        if not found and b"HTTP/1.1 200" not in data:
            self.done.set_exception(RuntimeError(data.decode()[:500]))
            self.transport.close()
            return
        for count in found:
            self.accepted += int(count)
            self.requests += 1
            if time.monotonic() >= self.until:
                self.transport.close()
                return
            self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def sent(port: int, path: str, body: bytes, seconds: float) -> tuple[float, float]:
    """Requests and events that were accepted in a second."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    senders: list[Sender] = []
    for _ in range(CONNECTIONS):
        _, sender = await loop.create_connection(
            lambda: Sender(head.encode() + body, began + seconds), "127.0.0.1", port
        )
        senders.append(sender)
    await asyncio.gather(*(sender.done for sender in senders))
    took = time.monotonic() - began
    return sum(one.requests for one in senders) / took, sum(one.accepted for one in senders) / took


def used_s(pid: int) -> float:
    """Seconds of processors that a process has used, by proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(pid: int, port: int, path: str, body: bytes, seconds: float, what: str) -> None:
    """Prints how much is taken in a second, and in a second of one processor: other programs do not count in that."""
    before, began = used_s(pid), time.monotonic()
    requests, events = asyncio.run(sent(port, path, body, seconds))
    share = (used_s(pid) - before) / (time.monotonic() - began)
    print(f"{what:<16} {requests:>8,.0f} requests/s {events:>9,.0f} events/s"
          f"   in a second of one processor {requests / share:>8,.0f} requests")  # fmt: skip


def main(seconds: float = SECONDS) -> None:
    single, batch = orjson.dumps(EVENT), orjson.dumps([EVENT] * BATCH)
    with tempfile.TemporaryDirectory(prefix="millrace-push-") as folder, served(Path(folder)) as (pid, port, path):
        asyncio.run(sent(port, path, single, 1.0))  # everything is imported and open
        measured(pid, port, path, single, seconds, "single events")
        measured(pid, port, path, batch, seconds, f"batches of {BATCH}")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
