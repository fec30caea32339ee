"""Small requests to pipelines, answered without a task and without ASGI, which cost more than all the rest.

It takes what is plain: `POST /hooks/{token}` in HTTP/1.1 with a body of a known and small length, to a pipeline that is
known to take more. All else goes the way of `door.py`; the answers are the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from millrace.connect.intake.frames import Entry
from millrace.rest.hooks.answers import HEADERS, SLOW, Answer, kept, not_kept
from millrace.rest.hooks.receiving import Receiving
from millrace.rest.hooks.requests import HOOKS, HOOKS_ROUTE, checked, name_of, request_id

# uvicorn stops reading where more of a body waits than 64 KiB.
MOST_BYTES = 32 << 10

_STATUS = {
    200: b"HTTP/1.1 200 OK\r\n",
    400: b"HTTP/1.1 400 Bad Request\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}
_FOREIGN = frozenset({b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"})
_HOOKS = HOOKS.encode()
_HEADERS = b"".join(b"%b: %b\r\n" % one for one in HEADERS)


class _Unheard:
    """Stands where uvicorn wakes an application up; here nobody sleeps."""

    def set(self) -> None:
        """Nothing happens."""


class Taking:
    """One such request, from the end of its head to its answer. Stands where uvicorn has its own of a request, so it
    has the names that uvicorn asks for."""

    message_event = _Unheard()

    def __init__(
        self,
        receiving: Receiving,
        pipeline_id: str,
        name: str | None,
        sent: dict[bytes, bytes],
        length: int,
        keep_alive: bool,
        answered: Callable[[Answer, bool], None],
    ) -> None:
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self._receiving = receiving
        self._pipeline_id = pipeline_id
        self._name = name
        self._sent = sent
        self._length = length
        self._answered = answered
        self._events = 0
        self._began = time.perf_counter()
        self._late: asyncio.TimerHandle | None = None
        # All of it counts from the beginning: it is small.
        receiving.held_bytes += length

    def wait(self) -> None:
        """The rest of the body must come in time."""
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(self._receiving.room.body_timeout_s, self._slow)

    def complete(self) -> None:
        """The body is there."""
        if self._late is not None:
            self._late.cancel()
        body = bytes(self.body)
        try:
            self._events = checked("hook", body)
            if not self._events:
                self._told(None)
                return
            entry = Entry("hook", time.time_ns() // 1_000_000, body, self._name, request_id(self._sent))
            self._receiving.keep_soon(self._pipeline_id, entry, self._told)
        except Exception as error:
            self._told(error)

    def gone(self) -> None:
        """Whoever sent it is not there any more. What is on its way to the disk is kept all the same."""
        self.disconnected = True
        if self._late is not None:
            self._late.cancel()
        if self.more_body and not self.response_complete:
            self._finish()

    def _slow(self) -> None:
        self.keep_alive = False
        self._told(SLOW)

    def _told(self, error: BaseException | None) -> None:
        if self.response_complete:
            return
        self._finish()
        if not self.disconnected:
            answer = kept(self._events) if error is None else not_kept(error)
            self._receiving.count("POST", HOOKS_ROUTE, answer.status, time.perf_counter() - self._began)
            self._answered(answer, self.keep_alive)

    def _finish(self) -> None:
        self.response_complete = True
        self._receiving.held_bytes -= self._length


def begun(
    receiving: Receiving,
    url: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    parser: Any,
    answered: Callable[[Answer, bool], None],
) -> Taking | None:
    """The request whose head is there, where it is a plain one; else None.

    ``answered`` is called once, with whether the connection stays open; not at all when whoever asked has gone.
    """
    if not url.startswith(_HOOKS) or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
        return None
    sent = dict(headers)
    length = sent.get(b"content-length", b"")
    if not length.isdigit() or not int(length) <= min(MOST_BYTES, receiving.room.body_bytes):
        return None
    if b"%" in url or b"?" in url or not url.isascii() or not _FOREIGN.isdisjoint(sent):
        return None
    if receiving.held_bytes + int(length) > receiving.room.held_bytes:
        return None
    token, _, rest = url[len(_HOOKS) :].decode().partition("/")
    if (pipeline_id := receiving.taking(token)) is None:
        return None
    return Taking(receiving, pipeline_id, name_of(rest), sent, int(length), parser.should_keep_alive(), answered)


def written(answer: Answer, defaults: Sequence[tuple[bytes, bytes]], keep_alive: bool) -> bytes:
    """The answer as it goes to whoever sent the request. ``defaults``: headers of all answers of the server."""
    pieces = [_STATUS[answer.status]]
    for name, value in defaults:
        pieces += (name, b": ", value, b"\r\n")
    pieces.append(_HEADERS)
    for name, value in answer.own:
        pieces += (name, b": ", value, b"\r\n")
    if not keep_alive and not any(name == b"connection" for name, _ in answer.own):
        pieces.append(b"connection: close\r\n")
    pieces += (b"\r\n", answer.body)
    return b"".join(pieces)
