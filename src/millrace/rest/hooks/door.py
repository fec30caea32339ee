"""`POST /hooks/{token}` and `POST /track`, answered when what came is durable.

This is beside the framework, which would take several times as long for a small request as all the rest.
"""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.connect.intake.frames import Entry, Kind
from millrace.errors import AuthError, ConfigError, Forbidden
from millrace.rest.asking import address, pair
from millrace.rest.hooks.answers import HEADERS, LARGE, SLOW, UNKNOWN, Refused, busy, kept, not_kept, unauthorized
from millrace.rest.hooks.receiving import Receiving
from millrace.rest.hooks.requests import HOOKS, HOOKS_ROUTE, TRACK, bearer, checked, name_of, request_id
from millrace.rest.problems import Unauthenticated, status_of
from millrace.rest.rates import Rates


class Door:
    """Takes requests to these addresses, and counts them; all others go on to the application."""

    def __init__(self, app: ASGIApp, receiving: Receiving, failures: Rates) -> None:
        self.app = app
        self.receiving = receiving
        self.failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not (path.startswith(HOOKS) or path == TRACK):
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        try:
            answer = kept(await self._taken(path, scope, receive))
        except Exception as error:
            answer = not_kept(error)
        route = TRACK if path == TRACK else HOOKS_ROUTE
        self.receiving.count(scope["method"], route, answer.status, time.perf_counter() - began)
        await send({"type": "http.response.start", "status": answer.status, "headers": [*HEADERS, *answer.own]})
        await send({"type": "http.response.body", "body": answer.body})

    async def _taken(self, path: str, scope: Scope, receive: Receive) -> int:
        """How many events were kept."""
        kind: Kind = "track" if path == TRACK else "hook"
        sent = dict(scope["headers"])
        name = None
        if kind == "track" and sent.get(b"authorization", b"")[:6].lower() == b"basic ":
            pipeline_id = await self._by_key(scope)
        else:
            if kind == "track":
                token = bearer(sent)
            else:
                token, _, rest = path.removeprefix(HOOKS).partition("/")
                name = name_of(rest)
            pipeline_id = await self.receiving.pipeline_id(token)
        if pipeline_id is None:
            raise UNKNOWN if kind == "hook" else unauthorized()
        if scope["method"] not in ("POST", "PUT") or (kind == "track" and scope["method"] != "POST"):
            raise Refused(405, "METHOD_NOT_ALLOWED", "this address takes POST", headers=((b"allow", b"POST, PUT"),))
        if await self.receiving.full(pipeline_id):
            raise busy(30)
        body = await self._body(sent, receive)
        try:
            count = checked(kind, body)
            entry = Entry(kind, time.time_ns() // 1_000_000, body, name, request_id(sent))
            if count:
                await self.receiving.keep(pipeline_id, entry)
            return count
        finally:
            self.receiving.held_bytes -= len(body)

    async def _by_key(self, scope: Scope) -> str:
        """The pipeline that an API key may tell things. Raises Refused."""
        request = Request(scope)
        if self.failures.look(address(request)).over:
            raise busy(60)
        if not (name := request.query_params.get("pipeline", "")) or "\0" in name:
            raise Refused(400, "INVALID_PARAMETER", "with an API key, `pipeline` in the query says which one is told")
        try:
            return await self.receiving.by_key(pair(request), name, address(request))
        except (Unauthenticated, AuthError) as error:
            self.failures.count(address(request))
            raise Refused(
                401, "UNAUTHENTICATED", "key or secret is not valid", error.hint,
                ((b"www-authenticate", b'Basic realm="Millrace", charset="UTF-8"'),),
            ) from None  # fmt: skip
        except Forbidden as error:
            raise Refused(403, error.code.upper(), error.message, error.hint) from None
        except ConfigError as error:
            raise Refused(status_of(error), error.code.upper(), error.message, error.hint) from None

    async def _body(self, sent: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, whose size counts as held from here on."""
        room = self.receiving.room
        length = sent.get(b"content-length", b"")
        if length.isdigit() and int(length) > room.body_bytes:
            raise LARGE
        if sent.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "UNSUPPORTED_ENCODING", "the body must not be compressed")
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(room.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise SLOW
                    piece: bytes = message.get("body", b"")
                    if piece:
                        pieces.append(piece)
                        size += len(piece)
                        self.receiving.held_bytes += len(piece)
                        if size > room.body_bytes:
                            raise LARGE
                        if self.receiving.held_bytes > room.held_bytes:
                            raise busy(1)
                    if not message.get("more_body", False):
                        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except BaseException as error:
            self.receiving.held_bytes -= size
            if isinstance(error, TimeoutError):
                raise SLOW from error
            raise
