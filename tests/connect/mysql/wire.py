"""Answers in the bytes of MySQL's protocol, and a driver that reads them from a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
from pymysql.connections import MySQLResult

Row = Sequence[bytes | None]
END = b"\xfe\x00\x00\x22\x00"
# The end of an answer as servers write it to those who ask for it so, which the driver does not.
OK_END = b"\xfe\x00\x00\x22\x00\x00\x00\x04done"


def packets(payload: bytes, sequence: int) -> bytes:
    """One payload, in as many packets as it takes."""
    made = bytearray()
    for start in range(0, len(payload) + 1, 0xFFFFFF):
        part = payload[start : start + 0xFFFFFF]
        made += len(part).to_bytes(3, "little") + bytes([sequence & 255]) + part
        sequence += 1
    return bytes(made)


def payload(row: Row) -> bytes:
    return b"".join(b"\xfb" if one is None else _length(len(one)) + one for one in row)


def _length(count: int) -> bytes:
    if count < 0xFB:
        return bytes([count])
    for mark, size in ((0xFC, 2), (0xFD, 3)):
        if count < 1 << 8 * size:
            return bytes([mark]) + count.to_bytes(size, "little")
    return b"\xfe" + count.to_bytes(8, "little")


def answer(rows: Sequence[Row], end: bytes = END, sequence: int = 5) -> bytes:
    """The rows, and the packet behind them."""
    return bodies([payload(row) for row in rows], end, sequence)


def bodies(rows: Sequence[bytes], end: bytes = END, sequence: int = 5) -> bytes:
    """The same of rows that are written already."""
    made = bytearray()
    for one in (*rows, end):
        made += packets(one, sequence)
        sequence += len(one) // 0xFFFFFF + 1
    return bytes(made)


@contextmanager
def reading(*sent: bytes, keeps_open: bool = False, sequence: int = 5) -> Generator[pymysql.Connection[Any]]:
    """A connection that has asked for rows, and the bytes that come, one after the other."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with suppress(OSError):
            for part in sent:
                theirs.sendall(part)
            if not keeps_open:
                theirs.close()

    connection: Any = pymysql.Connection(defer_connect=True, ssl_disabled=True)
    file = ours.makefile("rb")
    connection._sock, connection._rfile, connection._next_seq_id = ours, file, sequence
    connection._result = MySQLResult(connection)
    connection._result.unbuffered_active = True
    sender = threading.Thread(target=send)
    # A little fits into the socket, and needs nobody who waits.
    little = sum(map(len, sent)) < 50_000
    (sender.run if little else sender.start)()
    try:
        yield connection
    finally:
        # Nothing is to be read by whoever clears away.
        connection._result.unbuffered_active = False
        file.close()
        ours.close()
        theirs.close()
        if not little:
            sender.join()
