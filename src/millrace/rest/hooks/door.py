"""`POST /hooks/{token}` and `POST /track`, answered when what came is durable.

This is beside the framework, which would take several times as long for a small request as all the rest.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.connect.intake.frames import Entry, Kind
from millrace.errors import AuthError, ConfigError, Forbidden, MillraceError
from millrace.rest.asking import address, pair
from millrace.rest.envelope import REQUEST_ID, SECURITY
from millrace.rest.hooks.receiving import Receiving
from millrace.rest.problems import Unauthenticated, status_of
from millrace.rest.rates import Rates

HOOKS, TRACK = "/hooks/", "/track"

# What a sender may call a request, so that the same one is known again.
_IDS = (b"idempotency-key", b"x-request-id")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

_HEADERS = [(b"content-type", b"application/json")] + [
    (name.lower().encode(), value.encode()) for name, value in SECURITY.items()
]
_log = logging.getLogger("millrace.hooks")


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    status: int
    code: str
    message: str
    hint: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


_UNKNOWN = _Refused(404, "NOT_FOUND", "there is nothing at this address")
_LARGE = _Refused(413, "TOO_LARGE", "the body of the request is too large", "Send at most 16 MB at once.")
_SLOW = _Refused(408, "TIMEOUT", "the body of the request came too slowly", headers=((b"connection", b"close"),))
_CLOSED = _Refused(
    503, "UNAVAILABLE", "it could not be kept now", "Send it again, with the same id.", ((b"retry-after", b"5"),)
)


class Door:
    """Takes requests to these addresses; all others go on to the application."""

    def __init__(self, app: ASGIApp, receiving: Receiving, failures: Rates) -> None:
        self.app = app
        self.receiving = receiving
        self.failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not (path.startswith(HOOKS) or path == TRACK):
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        headers = [(b"x-request-id", request_id.encode())]
        try:
            count = await self._taken(path, scope, receive)
            status, body = 200, b'{"success":true,"accepted":%d}' % count
        except _Refused as refused:
            status, body = refused.status, _told(refused, request_id)
            headers += refused.headers
        except (OSError, MillraceError) as error:
            # Its words stay in here: they name places of this machine.
            _log.error("request %s could not be kept: %s", request_id, error)
            status, body = _CLOSED.status, _told(_CLOSED, request_id)
            headers += _CLOSED.headers
        except Exception:
            _log.exception("request %s could not be kept", request_id)
            status, body = _CLOSED.status, _told(_CLOSED, request_id)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": _HEADERS + headers})
        await send({"type": "http.response.body", "body": body})

    async def _taken(self, path: str, scope: Scope, receive: Receive) -> int:
        """How many events were kept."""
        kind: Kind = "track" if path == TRACK else "hook"
        sent = dict(scope["headers"])
        name = None
        if kind == "track" and sent.get(b"authorization", b"")[:6].lower() == b"basic ":
            pipeline_id = await self._by_key(scope)
        else:
            if kind == "track":
                token = _bearer(sent)
            else:
                token, _, rest = path.removeprefix(HOOKS).partition("/")
                name = _name(rest)
            pipeline_id = await self.receiving.pipeline_id(token)
        if pipeline_id is None:
            raise _UNKNOWN if kind == "hook" else _unauthorized()
        if scope["method"] not in ("POST", "PUT") or (kind == "track" and scope["method"] != "POST"):
            raise _Refused(405, "METHOD_NOT_ALLOWED", "this address takes POST", headers=((b"allow", b"POST, PUT"),))
        if await self.receiving.full(pipeline_id):
            raise _busy(30)
        body = await self._body(sent, receive)
        try:
            count = _checked(kind, body)
            entry = Entry(kind, time.time_ns() // 1_000_000, body, name, _request_id(sent))
            if count:
                await self.receiving.keep(pipeline_id, entry)
            return count
        finally:
            self.receiving.held_bytes -= len(body)

    async def _by_key(self, scope: Scope) -> str:
        """The pipeline that an API key may tell things. Raises _Refused."""
        request = Request(scope)
        if self.failures.look(address(request)).over:
            raise _busy(60)
        if not (name := request.query_params.get("pipeline", "")) or "\0" in name:
            raise _Refused(400, "INVALID_PARAMETER", "with an API key, `pipeline` in the query says which one is told")
        try:
            return await self.receiving.by_key(pair(request), name, address(request))
        except (Unauthenticated, AuthError) as error:
            self.failures.count(address(request))
            raise _Refused(
                401, "UNAUTHENTICATED", "key or secret is not valid", error.hint,
                ((b"www-authenticate", b'Basic realm="Millrace", charset="UTF-8"'),),
            ) from None  # fmt: skip
        except Forbidden as error:
            raise _Refused(403, error.code.upper(), error.message, error.hint) from None
        except ConfigError as error:
            raise _Refused(status_of(error), error.code.upper(), error.message, error.hint) from None

    async def _body(self, sent: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, whose size counts as held from here on."""
        room = self.receiving.room
        length = sent.get(b"content-length", b"")
        if length.isdigit() and int(length) > room.body_bytes:
            raise _LARGE
        if sent.get(b"content-encoding", b"identity") != b"identity":
            raise _Refused(415, "UNSUPPORTED_ENCODING", "the body must not be compressed")
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(room.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _SLOW
                    piece: bytes = message.get("body", b"")
                    if piece:
                        pieces.append(piece)
                        size += len(piece)
                        self.receiving.held_bytes += len(piece)
                        if size > room.body_bytes:
                            raise _LARGE
                        if self.receiving.held_bytes > room.held_bytes:
                            raise _busy(1)
                    if not message.get("more_body", False):
                        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except BaseException as error:
            self.receiving.held_bytes -= size
            if isinstance(error, TimeoutError):
                raise _SLOW from error
            raise


def _checked(kind: Kind, body: bytes) -> int:
    """How many events the body has. Raises _Refused for what is no JSON or has none."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Refused(400, "INVALID_JSON", f"the body is no JSON: {error.msg} (character {error.pos})") from None
    if kind == "track":
        payload = payload.get("events") if isinstance(payload, dict) else payload
        if not isinstance(payload, list):
            raise _Refused(400, "INVALID_PARAMETER", "the body has no array `events`")
        _each(payload, "event")
        for number, one in enumerate(payload):
            if not isinstance(one.get("name"), str) or not one["name"].strip():
                raise _Refused(400, "INVALID_PARAMETER", f"event {number} has no `name`")
        return len(payload)
    if isinstance(payload, dict):
        return 1
    if not isinstance(payload, list):
        raise _Refused(400, "INVALID_PARAMETER", "the body must be a JSON object or an array of objects")
    _each(payload, "item")
    return len(payload)


def _each(payload: Iterable[object], what: str) -> None:
    for number, one in enumerate(payload):
        if not isinstance(one, dict):
            raise _Refused(400, "INVALID_PARAMETER", f"{what} {number} of the array is no object")


def _name(rest: str) -> str | None:
    """The event name that a URL gives behind the token."""
    found = unquote(rest).strip("/ ")
    return found[:255] or None


def _bearer(sent: dict[bytes, bytes]) -> str:
    scheme, _, token = sent.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _request_id(sent: dict[bytes, bytes]) -> str | None:
    for name, form in zip(_IDS, (_IDEMPOTENCY_KEY, REQUEST_ID), strict=True):
        text = sent.get(name, b"").decode("latin-1")
        if form.fullmatch(text):
            return text
    return None


def _busy(seconds: int) -> _Refused:
    return _Refused(
        429,
        "TOO_MANY_REQUESTS",
        "more has come than could be read so far",
        "Send it again later.",
        ((b"retry-after", b"%d" % seconds),),
    )


def _unauthorized() -> _Refused:
    return _Refused(
        401,
        "UNAUTHORIZED",
        "the token is missing or not good",
        "Send Authorization: Bearer with the token of a webhook address, or an API key with ?pipeline=NAME.",
        ((b"www-authenticate", b'Bearer realm="Millrace"'),),
    )


def _told(refused: _Refused, request_id: str) -> bytes:
    error = {"code": refused.code, "message": refused.message, "hint": refused.hint, "request_id": request_id}
    return orjson.dumps({"success": False, "error": {key: one for key, one in error.items() if one is not None}})
