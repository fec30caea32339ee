"""Requests whose answer was lost on the way: what may be asked again is, and is carried out once all the same.

A request that only reads may always be asked again; one that changes something (POST) with a key, by which the server
knows it (`control/kept_answers.py`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from http import HTTPStatus

import httpx

HEADER = "Idempotency-Key"

# The server compares a request with the first one as a whole, up to that size.
MOST_BYTES = 1 << 20

# A server that was started anew is there again after so long, or is not asked any more.
WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)

# How long an answer is asked for that the server is still working on.
PATIENCE_S = 600.0

_LOST = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)
_NOT_NOW = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})


def key(method: str, size: int) -> str | None:
    """What a request with a body of that size is called; None where it needs no name, or can have none."""
    return str(uuid.uuid4()) if method == "POST" and size <= MOST_BYTES else None


def answered(ask: Callable[[], httpx.Response], *, again: bool) -> httpx.Response:
    """The answer to a request. With ``again`` it is asked for once more when it was lost, for some time.

    Raises httpx.TransportError: what the last attempt met, at once when the server was not even there at the first.
    """
    waits = iter(WAITS_S if again else ())
    until = time.monotonic() + PATIENCE_S
    lost = False
    while True:
        try:
            answer = ask()
        except _LOST:
            if not _waited(waits):
                raise
            lost = True
            continue
        except httpx.ConnectError:
            # It was there before, and may be on its way back.
            if not lost or not _waited(waits):
                raise
            continue
        if again and answer.status_code in _NOT_NOW and _waited(waits):
            lost = True
            continue
        if lost and _going_on(answer) and time.monotonic() < until:
            time.sleep(1.0)
            continue
        return answer


def _waited(waits: Iterator[float]) -> bool:
    wait_s = next(waits, None)
    if wait_s is not None:
        time.sleep(wait_s)
    return wait_s is not None


def _going_on(answer: httpx.Response) -> bool:
    """The first of the equal requests is still being carried out."""
    return answer.status_code in (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE) and (
        b"REQUEST_IN_PROGRESS" in answer.content
    )
