"""The web server around the application: uvicorn, with an end to the patience for slow and many callers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

# A caller that has not sent the head of a request after so long is cut off.
HEAD_TIMEOUT_S = 15.0

# More connections than this are told to come back later, before anything is read of them.
MOST_CONNECTIONS = 4096


class Impatient(H11Protocol):
    """HTTP/1.1 whose callers must finish the head of a request within ``HEAD_TIMEOUT_S``, however often they send."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # h11 is IDLE until the whole head of the next request is there.
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        # The server waits for answers that are on their way; streams have no end of their own.
        app: Any = (self.scope or {}).get("app")
        if (streams := getattr(getattr(app, "state", None), "streams", None)) is not None:
            streams.stopping.set()
        super().shutdown()

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


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
