"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A stream says something now and then, so that nothing between takes it for dead. It ends when the server does, and after
a quarter of an hour: whoever comes back shows a key that is still good. Clients do so by themselves, with the id of the
last event that they have, and get what came after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from millrace.rest.shown import REFUSALS, Answers

MEDIA_TYPE = "text/event-stream"

_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT | {"contentMediaType": "application/json"}},
    "required": ["id", "event", "data"],
}
STREAMED: Answers = REFUSALS | {
    200: {"content": {MEDIA_TYPE: {"schema": _EVENT}}, "description": "Events."},
    204: {"description": "All of it was sent already; do not come back."},
}

# How often something is said when there is nothing to say.
BEAT_S = 15.0
LASTS_S = 900.0


class Streams:
    """The streams of one application: all of them end when it stops."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Whether the streams shall end; after so many seconds they shall not."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def event(name: str, data: bytes, id_: str | None = None) -> bytes:
    """One event. ``data`` is JSON, on one line."""
    head = f"event: {name}\n" if id_ is None else f"id: {id_}\nevent: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def last_seen(request: Request) -> str | None:
    """The id of the last event that the client has."""
    return request.headers.get("last-event-id") or None


def answer(request: Request, events: AsyncIterator[bytes | None], tick_s: float) -> Response:
    """A stream of those events; None where there is nothing new, and then it is asked again after ``tick_s``."""
    streams: Streams = request.app.state.streams

    async def sent() -> AsyncIterator[bytes]:
        began = said_at = time.monotonic()
        # The head of the answer is on its way before there is anything to tell.
        yield b": \n\n"
        async for one in events:
            now = time.monotonic()
            if one is not None:
                said_at = now
                yield one
                continue
            if now - said_at >= BEAT_S:
                said_at = now
                yield b": \n\n"
            if now - began > LASTS_S or await streams.wait(tick_s):
                return

    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(sent(), media_type=MEDIA_TYPE, headers=headers)
