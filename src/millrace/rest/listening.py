"""The web server around the application: uvicorn, with an end to the patience for slow and many callers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from millrace.rest.hooks import at_once
from millrace.rest.hooks.answers import Answer
from millrace.rest.hooks.receiving import Receiving

# A caller that has not sent the head of a request after so long is cut off.
HEAD_TIMEOUT_S = 15.0

# A head that goes on for longer is cut off too.
HEAD_BYTES = 64 << 10

# A caller that takes less than so many bytes of an answer within so long is cut off.
READER_TIMEOUT_S = 60.0
READER_LEAST_BYTES = 4 << 10

# More connections than this are told to come back later, before anything is read of them.
MOST_CONNECTIONS = 4096


class Impatient(HttpToolsProtocol):
    """HTTP/1.1 whose callers must finish the head of a request within ``HEAD_TIMEOUT_S``, however often they send, and
    within ``HEAD_BYTES``: the parser itself would take a head of any length."""

    _receiving: Receiving | None = None
    _timer: asyncio.TimerHandle | None = None
    """One for the whole life of the connection: a timer for each request would cost as much as reading its head."""
    _until: float | None = None
    """When the time ends for what the caller is to send, by the clock of the loop; None while an answer is made."""
    _idle = False
    """Nothing of a next request is there."""
    _head_bytes: int | None = None
    """Of the head that is being received, without what came first; None where none is."""
    _reader: asyncio.TimerHandle | None = None
    """While an answer waits that the caller does not take."""
    _drained = False
    """Nearly all that waited was taken since the timer began; what waits now came later."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  the base class takes any transport
        super().connection_made(transport)
        state: Any = getattr(self.config.app, "state", None)
        self._receiving = getattr(state, "receiving", None)
        self._wait(HEAD_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")
                return
        super().data_received(data)
        if isinstance(taking := self._taking(), at_once.Taking) and taking.more_body:
            taking.wait()

    def on_message_begin(self) -> None:
        # What the base class makes for ASGI is made when it is needed.
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._head_bytes = 0
        if self._idle or self._until is None:
            self._wait(HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._until, self._idle = None, False
        self._drained |= not self._unread()
        # RFC 9112, 3.2; the parser does not look. What is raised here is answered with 400.
        if [name for name, _ in self.headers].count(b"host") != 1 and self._version() == "1.1":
            raise ValueError("one header Host is needed")
        if not self._begun():
            url, headers, expected = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.headers, self.expect_100_continue = url, headers, expected
            self.scope["headers"] = headers
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if isinstance(taking := self._taking(), at_once.Taking) and not taking.response_complete:
            taking.complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._drained = True

    def on_response_complete(self) -> None:
        self._watch()
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        if self._until is None:  # else the head of the next one has begun
            self._wait(self.timeout_keep_alive)
            self._idle = True

    def _begun(self) -> bool:
        """Whether this is a request that is answered at once, and is begun."""
        receiving, going = self._receiving, self._taking()
        if receiving is None or (going is not None and not going.response_complete):
            return False  # its turn comes after the one before it
        if len(self.connections) >= MOST_CONNECTIONS:
            return False
        taking: Any = at_once.begun(receiving, self.url, self.headers, self.parser, self._answered)
        if taking is not None:
            self.cycle = taking
        return taking is not None

    def _answered(self, answer: Answer, keep_alive: bool) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(at_once.written(answer, self.server_state.default_headers, keep_alive))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _taking(self) -> Any:
        return self.cycle

    def _version(self) -> str:
        parser: Any = self.parser  # None only once the connection is lost
        return parser.get_http_version()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._reader):
            if timer is not None:
                timer.cancel()
        if isinstance(taking := self._taking(), at_once.Taking):
            taking.gone()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        # The server waits for answers that are on their way; streams have no end of their own.
        app: Any = (self.scope or {}).get("app")
        if (streams := getattr(getattr(app, "state", None), "streams", None)) is not None:
            streams.stopping.set()
        super().shutdown()

    def _wait(self, seconds: float) -> None:
        """The caller has so long from now on."""
        self._until, self._idle = self.loop.time() + seconds, False
        if self._timer is None:
            self._look_after(seconds)

    def _look_after(self, seconds: float) -> None:
        # Never later than a head that begins right now has time.
        self._timer = self.loop.call_later(min(seconds, HEAD_TIMEOUT_S), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._until is None:
            return
        if (left := self._until - self.loop.time()) > 0:
            self._look_after(left)
        elif (cycle := self._taking()) is not None and not cycle.response_complete:
            self._wait(HEAD_TIMEOUT_S)  # it waits for an answer; what comes after that has its time then
        elif self._idle and self._unread():
            self._wait(self.timeout_keep_alive)  # it reads the last answer still
            self._idle = True
        else:
            self.transport.abort()

    def _watch(self) -> None:
        """The caller takes what waits for it, or is cut off."""
        if self._reader is None and (unread := self._unread()):
            self._drained = False
            self._reader = self.loop.call_later(READER_TIMEOUT_S, self._look_at_reader, unread)

    def _look_at_reader(self, before: int) -> None:
        self._reader = None
        if self._unread() and not self._drained and before - self._unread() < READER_LEAST_BYTES:
            self.transport.abort()
        else:
            self._watch()

    def _unread(self) -> int:
        return self.transport.get_write_buffer_size()


def config(app: FastAPI, host: str, port: int, *, proxies: Sequence[str] = (), **more: Any) -> uvicorn.Config:
    """How uvicorn serves the application; ``more`` are further settings of uvicorn's.

    ``proxies``: addresses and networks whose word counts for where a request came from, and whether by TLS
    (`X-Forwarded-For`, `X-Forwarded-Proto`).
    """
    settings: dict[str, Any] = {
        "http": Impatient,
        "ws": "none",
        "limit_concurrency": MOST_CONNECTIONS,
        "backlog": 2048,
        "timeout_keep_alive": 30,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "proxy_headers": bool(proxies),
        "forwarded_allow_ips": list(proxies),
    }
    return uvicorn.Config(app, host, port, **(settings | more))
