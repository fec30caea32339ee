"""A server that only hands out rendered pages, over loopback, by CleverTap's protocol: POST opens, GET walks.

One process, a thread for each connection. A cursor says all that there is to know, so that nothing is kept. It adds no
latency, throttle or fault: what is measured is the client. Ends with its standard input.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from tests.bench import pages

SHARDS = 23
PASSCODE = "bench-passcode"
PROJECT = "BEN-CHM-0001"
_PADDING = "x+/" * 100


def page_size(batch_size: int) -> int:
    """Records of a full page: as many whole shards as fit into ``batch_size``."""
    return min(batch_size, 5000) // SHARDS * SHARDS


def _cursor(number: int, begin: int, end: int, size: int) -> str:
    text = base64.b64encode(f"{number}:{begin}:{end}:{size}:{_PADDING}".encode() + b"\xff\xfe\xfd").decode()
    return quote(text, safe="")


def _position(cursor: str) -> tuple[int, int, int, int]:
    parts = base64.b64decode(unquote(cursor)).split(b":")
    return int(parts[0]), int(parts[1]), int(parts[2]), int(parts[3])


class Site:
    """Answers requests from a shelf of rendered records."""

    def __init__(self, shelf: pages.Shelf) -> None:
        self._shelf = shelf

    def answer(self, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, memoryview | bytes, bytes]:
        """Status, and the body in three parts."""
        if headers.get("x-clevertap-passcode") != PASSCODE:
            return 401, b'{"status":"fail","error":"Invalid Credentials","code":401}', b"", b""
        path, _, query = target.partition("?")
        if path != "/1/events.json":
            return 200, b"", b"", b""
        given = dict(pair.partition("=")[::2] for pair in query.split("&"))
        if "cursor" in given:
            return self._page(*_position(given["cursor"]))
        asked = json.loads(body)
        number = self._shelf.numbers.get(asked["event_name"])
        if number is None:
            error = json.dumps({"status": "fail", "error": json.dumps([f"Invalid event : {asked['event_name']}"])})
            return 400, error.encode(), b"", b""
        begin, end = self._shelf.span(number, _date(asked["from"]), _date(asked["to"]))
        cursor = _cursor(number, begin, end, page_size(int(given.get("batch_size", 5000))))
        return 200, b'{"status":"success","cursor":"%b"}' % cursor.encode(), b"", b""

    def _page(self, number: int, begin: int, end: int, size: int) -> tuple[int, bytes, memoryview | bytes, bytes]:
        if begin >= end:
            return 200, b'{"status":"success"}', b"", b""
        upto = min(begin + size, end)
        # Both ends are real: a last page without a cursor, and a bare answer after a page that had one.
        last = upto == end and number % 2 == 0
        tail = b"]}" if last else b'],"next_cursor":"%b"}' % _cursor(number, upto, end, size).encode()
        return 200, b'{"status":"success","records":[', self._shelf.slice(number, begin, upto), tail


def _date(digits: int) -> date:
    return datetime.strptime(str(digits), "%Y%m%d").date()


_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized"}


def _talk(connection: socket.socket, site: Site) -> None:
    """Requests of one connection, one after the other, until the client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in received:
                if not (more := connection.recv(65_536)):
                    return
                received += more
            head, _, received = received.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", 0))
            while len(received) < length:
                received += connection.recv(65_536)
            body, received = received[:length], received[length:]
            status, start, middle, end = site.answer(first.split(" ")[1], headers, body)
            connection.sendall(
                b"HTTP/1.1 %d %b\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: %d\r\n\r\n%b"
                % (status, _REASONS[status], len(start) + len(middle) + len(end), start),
                socket.MSG_MORE if middle else 0,
            )
            if middle:
                connection.sendall(middle, socket.MSG_MORE)
                connection.sendall(end)


def _accept(listener: socket.socket, site: Site) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_guarded, args=(connection, site), daemon=True).start()


def _guarded(connection: socket.socket, site: Site) -> None:
    try:
        _talk(connection, site)
    except (ConnectionResetError, BrokenPipeError):
        return


def main(folder: str) -> None:
    site = Site(pages.Shelf(pages.load(Path(folder))))
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(listener, site), daemon=True).start()
    sys.stdin.read()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The base URL of a server process for the data set in ``folder``; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.server", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    main(sys.argv[1])
