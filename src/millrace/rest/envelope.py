"""What goes around every request and answer: an id, security headers, and patience that ends with slow bodies."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace.control.observing import logs
from millrace.rest.problems import too_large, unforeseen

# A body may take longer than the patience lasts as long as so many of its bytes come in a second.
LEAST_BYTES_S = 1000

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# An API needs nothing of a browser. Pages that do say so themselves.
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Envelope:
    """Gives each request an id (its own ``X-Request-Id`` where that is a sane one), and each answer its headers."""

    def __init__(self, app: ASGIApp, body_timeout_s: float) -> None:
        self.app = app
        self.body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = _asked_id(scope) or uuid.uuid4().hex
        answered = replaced = whole = False
        waited_s, received = 0.0, 0

        async def patient() -> Message:
            nonlocal whole, waited_s, received
            # Whoever has sent all, or has been answered, may keep the connection open as long as the answer lasts.
            if whole or answered:
                return await receive()
            # Only the caller's time counts: what came while nobody looked is here, however long that was.
            left_s = self.body_timeout_s + received / LEAST_BYTES_S - waited_s
            began = time.monotonic()
            try:
                if left_s <= 0:
                    raise TimeoutError
                message = await asyncio.wait_for(receive(), min(self.body_timeout_s, left_s))
            except TimeoutError as slow:
                raise HTTPException(408, headers={"Connection": "close"}) from slow
            waited_s += time.monotonic() - began
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            return message

        async def sealed(message: Message) -> None:
            nonlocal answered, replaced
            if replaced:
                return
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                if message["status"] == 413 and "json" not in headers.get("content-type", ""):
                    # The framework refuses a body by its length before our words are asked for.
                    await too_large(Request(scope))(scope, receive, sealed)
                    replaced = True
                    return
                headers["X-Request-Id"] = state["request_id"]
                for name, value in (SECURITY | state.get("headers", {})).items():
                    headers.setdefault(name, value)
            await send(message)

        with logs.about(request=state["request_id"]):
            try:
                await self.app(scope, patient, sealed)
            except Exception as error:  # whatever it is, its words stay in here
                refused = await unforeseen(Request(scope), error)
                if not answered:
                    await refused(scope, receive, sealed)


def _asked_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            return text if REQUEST_ID.fullmatch(text) else None
    return None
